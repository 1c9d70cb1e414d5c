"""The point groups of p4m as integer matrices, and index tables that transform filters by group elements.

An element is a 2x2 integer matrix that acts on (row, column) coordinates measured from the centre of the
image. It acts on a function by [L_r f](x) = f(r^-1 x), so `ROTATION` acts on an image as
`torch.rot90(image, 1, (-2, -1))` and `MIRROR` as `image.flip(-1)`. Everything else here is derived.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

Matrix = tuple[tuple[int, int], tuple[int, int]]

IDENTITY: Matrix = ((1, 0), (0, 1))
ROTATION: Matrix = ((0, -1), (1, 0))
MIRROR: Matrix = ((1, 0), (0, -1))


def multiply(a: Matrix, b: Matrix) -> Matrix:
    """Return the matrix product a b: first b acts, then a."""
    (a00, a01), (a10, a11) = a
    (b00, b01), (b10, b11) = b
    return (
        (a00 * b00 + a01 * b10, a00 * b01 + a01 * b11),
        (a10 * b00 + a11 * b10, a10 * b01 + a11 * b11),
    )


def powers(generator: Matrix) -> tuple[Matrix, ...]:
    """Return the cyclic group of a matrix of finite order, the identity first."""
    elements = [IDENTITY]
    while (product := multiply(generator, elements[-1])) != IDENTITY:
        elements.append(product)
    return tuple(elements)


@dataclass(frozen=True)
class PointGroup:
    """A finite group of integer matrices; an element is identified by its position in `elements`.

    Args:
        name: Name of the plane group that it forms together with the translations.
        elements: Matrices of the group, the identity first; closed under multiplication.
    """

    name: str
    elements: tuple[Matrix, ...]

    @property
    def order(self) -> int:
        """The number of elements |G|."""
        return len(self.elements)

    @cached_property
    def composition(self) -> tuple[tuple[int, ...], ...]:
        """Table t with elements[t[a][b]] = elements[a] elements[b]."""
        position = {element: index for index, element in enumerate(self.elements)}
        return tuple(tuple(position[multiply(a, b)] for b in self.elements) for a in self.elements)

    @cached_property
    def inverse(self) -> tuple[int, ...]:
        """Table t with elements[t[a]] elements[a] = identity."""
        return tuple(row.index(0) for row in self.composition)

    def moved_pixels(self, element: int, size: int) -> list[int]:
        """Return where each pixel of a square is moved.

        Args:
            element: Index of the group element that acts.
            size: Edge length in pixels, odd or even.

        Returns:
            The flat index of (element x) for every flat pixel index x, row by row.
        """
        (a, b), (c, d) = self.elements[element]
        # Twice the coordinate, so that the centre of an even square is an integer too.
        coordinates = range(1 - size, size, 2)
        return [
            (a * row + b * column + size - 1) // 2 * size + (c * row + d * column + size - 1) // 2
            for row in coordinates
            for column in coordinates
        ]

    def grid_offset(self, element: int) -> tuple[int, int]:
        """Return where an element moves the grid of every second pixel of an even square.

        The identity's grid is 0, 2, 4, ... on both axes, half a pixel before the centre of the square; an element
        moves it to 0, 2, 4, ... or 1, 3, 5, ... Grids of an odd square contain its centre and do not move.

        Returns:
            First row and first column, 0 or 1 each.
        """
        (a, b), (c, d) = self.elements[element]
        return (1 - a - b) // 2, (1 - c - d) // 2

    def lifting_table(self, kernel_size: int) -> list[list[int]]:
        """Index the taps of a planar filter: table[r][x] = r^-1 x.

        Returns:
            Flat tap indices [|G|, k*k]; row r reads the filter psi as L_r psi.
        """
        return [self.moved_pixels(inverse, kernel_size) for inverse in self.inverse]

    def regular_table(self, kernel_size: int) -> list[list[int]]:
        """Index the taps of a filter on the group: table[r][(s, x)] = (r^-1 s, r^-1 x).

        Returns:
            Flat tap indices [|G|, |G|*k*k]; row r reads the filter psi as L_r psi.
        """
        taps = kernel_size**2
        return [
            [self.composition[inverse][s] * taps + x for s in range(self.order) for x in moved]
            for inverse, moved in zip(self.inverse, self.lifting_table(kernel_size), strict=True)
        ]


Z2 = PointGroup("z2", (IDENTITY,))
P4 = PointGroup("p4", powers(ROTATION))
P4M = PointGroup("p4m", tuple(multiply(r, m) for m in powers(MIRROR) for r in powers(ROTATION)))
GROUPS = {group.name: group for group in (Z2, P4, P4M)}
