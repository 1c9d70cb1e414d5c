"""Point groups of the plane: their names, and whether their elements move pixels onto pixels.

A name is "c8" (rotations by multiples of 45 degrees), "d8" (with mirrors), "so2" (all rotations) or "o2" (all, with
mirrors). Imports nothing heavy: a plugin module uses it to list its networks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

NAMES = ("c4", "c8", "c16", "d4", "d8", "so2", "o2")
MOST = 32  # a filter of 7x7 pixels cannot distinguish more directions


@dataclass(frozen=True)
class Symmetry:
    """A group of rotations, with or without mirrors.

    Args:
        order: Number of rotations, or 0 for all rotations.
        mirrors: Whether the group also contains mirrors.
    """

    order: int
    mirrors: bool

    @property
    def name(self) -> str:
        """The group's name."""
        if self.order:
            return f"{'d' if self.mirrors else 'c'}{self.order}"
        return "o2" if self.mirrors else "so2"

    @property
    def size(self) -> int:
        """The number of elements; 0 for infinitely many."""
        return self.order * (2 if self.mirrors else 1)

    @property
    def exact(self) -> bool:
        """Whether every element moves the pixels of a square image onto pixels."""
        return self.order in (1, 2, 4)


def parse(name: str) -> Symmetry | None:
    """Return the group of this name, or None if the name is unknown."""
    if name in ("so2", "o2"):
        return Symmetry(0, name == "o2")
    match = re.fullmatch(r"([cd])([1-9]\d?)", name)
    if match is None or int(match[2]) > MOST:
        return None
    return Symmetry(int(match[2]), match[1] == "d")
