"""Equivariant filters, derived by the libraries and stored in a cache.

A steerable convolution is an ordinary one whose filter is a combination of basis filters (Weiler & Cesa 2019,
arXiv:1911.08251). escnn and e2cnn need seconds to minutes to derive them; the result is a tensor of a few megabytes. It
is derived once for each pair of an input and an output field and stored in zoo's cache folder. With a cached basis,
neither library is imported.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.errors import DataError
from zoo.paths import cache_dir, make_dir, regular_file, written_whole
from zoo_steerable.libraries import VERSIONS, load, quiet
from zoo_steerable.symmetry import Symmetry

logger = logging.getLogger(__name__)

LAYOUT = 3  # increased when the layout of the cached files changes
WARNING_SECONDS = 1.0
# Two fields of frequency 8, the highest allowed, couple to frequency 16. escnn uses the irreps that the process has
# requested so far and fails if these are too few, so the same number is always requested.
IRREPS_OF_INFINITE_GROUPS = 16


@dataclass(frozen=True)
class Field:
    """The type of a feature at each point of a map: a vector space that the group acts on.

    Args:
        kind: Kind of the field. "scalar": one invariant number. "regular": one number for each element of a finite
            group, permuted by the group. "irreps": a scalar, then two numbers for each frequency k from 1 to
            `frequency`, which rotate k times as fast as the image. "gated": the same with one more scalar, a gate, for
            each frequency after the first scalar.
        frequency: Highest frequency; 0 for "scalar" and "regular".
    """

    kind: str
    frequency: int = 0

    def dimension(self, symmetry: Symmetry) -> int:
        """The number of channels of one field."""
        if self.kind == "scalar":
            return 1
        if self.kind == "regular":
            return symmetry.size
        return 1 + 2 * self.frequency + (self.frequency if self.kind == "gated" else 0)

    def __str__(self) -> str:
        return f"{self.kind}{self.frequency or ''}"


@dataclass(frozen=True, kw_only=True)
class FilterQuery:
    """Everything that determines a filter basis.

    Args:
        library: Library that derives the basis, "escnn" or "e2cnn".
        symmetry: Symmetry group of the filters.
        incoming, outgoing: Fields before and after the convolution.
        kernel_size: Edge length in pixels, odd.
        frequency_cutoff: Highest angular frequency of a filter on a ring, per pixel of the ring's radius; None for the
            rule of the libraries, which is twice the radius and less near the edge.
    """

    library: str
    symmetry: Symmetry
    incoming: Field
    outgoing: Field
    kernel_size: int
    frequency_cutoff: float | None

    @property
    def path(self) -> Path:
        """The file in the cache."""
        cutoff = "default" if self.frequency_cutoff is None else repr(float(self.frequency_cutoff))
        name = f"{self.symmetry.name}-{self.incoming}-{self.outgoing}-{self.kernel_size}-{cutoff}.safetensors"
        return cache_dir() / "steerable" / f"{self.library}-{VERSIONS[self.library]}-{LAYOUT}" / name


@dataclass(frozen=True)
class FilterBasis:
    """Basis filters from one field to one field.

    Args:
        filters: Filters [B, outgoing, incoming, k, k].
        deviation: Standard deviations [B] of the initial weights for one input field, by He's rule as generalised by
            Weiler & Cesa.
    """

    filters: Tensor
    deviation: Tensor

    @cached_property
    def fingerprint(self) -> Tensor:
        """Four weighted means of the filters, which differ between bases."""
        values = self.filters.detach().double().flatten()
        places = torch.arange(len(values), dtype=torch.float64)
        waves = torch.stack([(places * step + step).cos() for step in (0.7, 1.3, 2.1, 2.9)])
        return (waves @ values / values.norm().clamp_min(1e-12)).float()


@lru_cache(maxsize=64)
def filter_basis(query: FilterQuery) -> FilterBasis:
    """Return basis filters, from the cache if possible.

    Raises:
        MissingError: The filters are not in the cache, and the library is not installed.
    """
    path = query.path
    try:
        return _read(path)
    except Exception as error:  # safetensors raises many types; an unreadable file is replaced
        if path.exists():
            logger.warning("%s cannot be read and is derived again: %s", path, error)
    from safetensors.torch import save_file

    started = time.perf_counter()
    basis = _derive(query)
    seconds = time.perf_counter() - started
    try:
        make_dir(path.parent)
        with written_whole(path) as temporary:
            tensors = {"filters": basis.filters, "deviation": basis.deviation}
            save_file(tensors, temporary, metadata={"checksum": _checksum(path, tensors)})
        stored = f"stored in {path.parent}"
    except DataError as error:
        stored = f"not stored: {str(error).splitlines()[0]}"
    logger.log(
        logging.WARNING if seconds > WARNING_SECONDS else logging.INFO,
        "%s: filters of %dx%d pixels under %s from %s to %s derived in %.1f s (%s)",
        query.library, query.kernel_size, query.kernel_size, query.symmetry.name, query.incoming,
        query.outgoing, seconds, stored,
    )  # fmt: skip
    return basis


def _read(path: Path) -> FilterBasis:
    """Return the basis in a file of the cache.

    Raises:
        ValueError: The file is damaged, or of another query; an unreadable one raises many other types.
    """
    from safetensors import safe_open

    with safe_open(regular_file(path), "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the file is not a mapping
        stated = (file.metadata() or {}).get("checksum")
    if stated != _checksum(path, tensors):
        raise ValueError("its checksum does not fit its content or its name")
    return FilterBasis(**tensors)


def _checksum(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of tensors and of the name of their file, which states the query."""
    digest = hashlib.sha256(path.name.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _derive(query: FilterQuery) -> FilterBasis:
    """Derive the basis with the library."""
    library = load(query.library)
    space = gspace(library, query.symmetry)
    with quiet(), _preserved_numpy_state():
        convolution = library.nn.R2Conv(
            *(field_type(library, space, field, 1) for field in (query.incoming, query.outgoing)),
            query.kernel_size,
            frequencies_cutoff=query.frequency_cutoff,
            bias=False,
            initialize=False,
        )
        expansion = convolution.basisexpansion
        (block,) = expansion.children()
        deviation = library.nn.init._generalized_he_init_variances(expansion)
    filters = block.sampled_basis.unflatten(-1, (query.kernel_size, query.kernel_size))
    if query.library == "escnn":
        filters = _with_fixed_signs(filters)
    return FilterBasis(filters.contiguous(), deviation.float().contiguous())


@contextlib.contextmanager
def _preserved_numpy_state() -> Iterator[None]:
    """Restore numpy's global generator, from which escnn draws, so that the user's random numbers are unaffected."""
    state = np.random.get_state()  # noqa: NPY002 - escnn draws from the global generator
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002 - escnn draws from the global generator


def _with_fixed_signs(filters: Tensor) -> Tensor:
    """Return basis filters [B, ...] with signs chosen so that the first large number of each is positive.

    For o2, escnn searches its filters from a random point and finds them with either sign, so the same weights would
    give different filters in another process.
    """
    flat = filters.flatten(1)
    # A fraction that is not the sine of a simple angle, so that rounding does not decide which number is the first.
    large = flat.abs() > 0.37 * flat.abs().amax(1, keepdim=True)
    first = flat.gather(1, large.int().argmax(1, keepdim=True))
    return (flat * first.sign()).view(filters.shape)


def gspace(library: Any, symmetry: Symmetry) -> Any:
    """Return the library's object for the action of a group on the plane."""
    make = {
        ("escnn", False): "rot2dOnR2",
        ("escnn", True): "flipRot2dOnR2",
        ("e2cnn", False): "Rot2dOnR2",
        ("e2cnn", True): "FlipRot2dOnR2",
    }[library.__name__, symmetry.mirrors]
    more = {} if symmetry.order else {"maximum_frequency": IRREPS_OF_INFINITE_GROUPS}
    return getattr(library.gspaces, make)(N=symmetry.order or -1, **more)


def field_type(library: Any, space: Any, field: Field, count: int) -> Any:
    """Return the library's type of a map with `count` equal fields."""
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
