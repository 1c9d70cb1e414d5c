"""The filters that commute with a group, as the libraries derive them, and the cache in which they are kept.

A steerable convolution is an ordinary one whose filter is a combination of basis filters (Weiler & Cesa 2019,
arXiv:1911.08251). Their derivation takes escnn or e2cnn seconds to minutes; the result is a tensor of a few megabytes.
It is asked for once, for one field in and one field out, and kept in zoo's cache folder; after that neither library is
even imported.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from zoo.errors import DataError
from zoo.paths import cache_dir, make_dir, written_whole
from zoo_steerable.libraries import VERSIONS, load, quiet
from zoo_steerable.symmetry import Symmetry

logger = logging.getLogger(__name__)

LAYOUT = 2  # raised when the files of the cache change
WORTH_TELLING_SECONDS = 1.0
# Two fields of frequency 8, the highest that is allowed, couple to 16. escnn takes the irreps that a process happens to
# have asked for, and fails where these are too few; so it is always the same number.
IRREPS_OF_INFINITE_GROUPS = 16


@dataclass(frozen=True)
class Field:
    """What a feature is at each point of a map: a vector that the group acts on.

    Args:
        kind: "scalar", which does not change; "regular", one number for each element of a finite group, which it
            permutes; "irreps", a scalar and then two numbers for each frequency 1 to `frequency`, which turn that
            many times as fast as the image; "gated", the same with one more scalar, a gate, for each frequency
            after the first scalar.
        frequency: the highest one; 0 for "scalar" and "regular".
    """

    kind: str
    frequency: int = 0

    def dimension(self, symmetry: Symmetry) -> int:
        """How many channels one field takes."""
        if self.kind == "scalar":
            return 1
        if self.kind == "regular":
            return symmetry.size
        return 1 + 2 * self.frequency + (self.frequency if self.kind == "gated" else 0)

    def __str__(self) -> str:
        return f"{self.kind}{self.frequency or ''}"


@dataclass(frozen=True, kw_only=True)
class FilterQuestion:
    """Which basis is wanted; everything that decides it.

    Args:
        library: "escnn" or "e2cnn".
        symmetry: the group.
        incoming, outgoing: the fields before and after the convolution.
        kernel_size: edge length in pixels, odd.
        frequency_cutoff: highest angular frequency of a filter on a ring, for each pixel of the ring's radius; None is
            the libraries' own rule, which is twice the radius and less near the edge.
    """

    library: str
    symmetry: Symmetry
    incoming: Field
    outgoing: Field
    kernel_size: int
    frequency_cutoff: float | None

    @property
    def path(self) -> Path:
        """Where the answer is kept."""
        cutoff = "default" if self.frequency_cutoff is None else f"{self.frequency_cutoff:g}"
        name = f"{self.symmetry.name}-{self.incoming}-{self.outgoing}-{self.kernel_size}-{cutoff}.safetensors"
        return cache_dir() / "steerable" / f"{self.library}-{VERSIONS[self.library]}-{LAYOUT}" / name


@dataclass(frozen=True)
class FilterBasis:
    """Basis filters from one field to one field.

    Args:
        filters: [B, outgoing, incoming, k, k].
        deviation: [B], of the weights at the start for one field in: He's rule, generalised by Weiler & Cesa.
    """

    filters: Tensor
    deviation: Tensor


@lru_cache(maxsize=64)
def filter_basis(question: FilterQuestion) -> FilterBasis:
    """Return basis filters, from the cache where they are there.

    Raises:
        MissingError: they are not in the cache, and the library is not installed.
    """
    from safetensors.torch import load_file, save_file

    path = question.path
    try:
        return FilterBasis(**load_file(path))
    except Exception as error:  # safetensors raises many kinds; an unreadable file is made again
        if path.exists():
            logger.warning("%s cannot be read and is made again: %s", path, error)
    started = time.perf_counter()
    basis = _derive(question)
    seconds = time.perf_counter() - started
    try:
        make_dir(path.parent)
        with written_whole(path) as temporary:
            save_file({"filters": basis.filters, "deviation": basis.deviation}, temporary)
        kept = f"kept in {path.parent}"
    except DataError as error:
        kept = f"not kept: {str(error).splitlines()[0]}"
    logger.log(
        logging.WARNING if seconds > WORTH_TELLING_SECONDS else logging.INFO,
        "%s: filters of %dx%d pixels under %s from %s to %s derived in %.1f s (%s)",
        question.library, question.kernel_size, question.kernel_size, question.symmetry.name, question.incoming,
        question.outgoing, seconds, kept,
    )  # fmt: skip
    return basis


def _derive(question: FilterQuestion) -> FilterBasis:
    """Ask the library."""
    library = load(question.library)
    space = gspace(library, question.symmetry)
    with quiet(), _numpys_random_state_kept():
        convolution = library.nn.R2Conv(
            *(field_type(library, space, field, 1) for field in (question.incoming, question.outgoing)),
            question.kernel_size,
            frequencies_cutoff=question.frequency_cutoff,
            bias=False,
            initialize=False,
        )
        expansion = convolution.basisexpansion
        (block,) = expansion.children()
        deviation = library.nn.init._generalized_he_init_variances(expansion)
    filters = block.sampled_basis.unflatten(-1, (question.kernel_size, question.kernel_size))
    if question.library == "escnn":
        filters = _with_fixed_signs(filters)
    return FilterBasis(filters.contiguous(), deviation.float().contiguous())


@contextlib.contextmanager
def _numpys_random_state_kept() -> Iterator[None]:
    """Leave numpy's global generator as it was: escnn draws from it, and a user's numbers must not depend on that."""
    state = np.random.get_state()  # noqa: NPY002 - escnn draws from the global generator
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002 - escnn draws from the global generator


def _with_fixed_signs(filters: Tensor) -> Tensor:
    """Return basis filters [B, ...] of which the first large number is positive.

    For o2, escnn searches its filters from a random point and finds them with either sign, so weights of one process
    would mean other filters in the next.
    """
    flat = filters.flatten(1)
    # A share that no sine of a simple angle has, lest rounding decide which number is the first.
    large = flat.abs() > 0.37 * flat.abs().amax(1, keepdim=True)
    first = flat.gather(1, large.int().argmax(1, keepdim=True))
    return (flat * first.sign()).view(filters.shape)


def gspace(library: Any, symmetry: Symmetry) -> Any:
    """Return the library's group, which acts on the plane."""
    make = {
        ("escnn", False): "rot2dOnR2",
        ("escnn", True): "flipRot2dOnR2",
        ("e2cnn", False): "Rot2dOnR2",
        ("e2cnn", True): "FlipRot2dOnR2",
    }[library.__name__, symmetry.mirrors]
    more = {} if symmetry.order else {"maximum_frequency": IRREPS_OF_INFINITE_GROUPS}
    return getattr(library.gspaces, make)(N=symmetry.order or -1, **more)


def field_type(library: Any, space: Any, field: Field, count: int) -> Any:
    """Return the library's type of a map with so many fields of one kind."""
    if field.kind == "scalar":
        representation = space.trivial_repr
    elif field.kind == "regular":
        representation = space.regular_repr
    else:
        mirrors = space.fibergroup.name == "O(2)"
        scalars = 1 + (field.frequency if field.kind == "gated" else 0)
        turning = [space.irrep(1, k) if mirrors else space.irrep(k) for k in range(1, field.frequency + 1)]
        representation = library.group.directsum([space.trivial_repr] * scalars + turning, name=str(field))
    return library.nn.FieldType(space, [representation] * count)
