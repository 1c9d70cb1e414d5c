"""Lenses in an HDF5 file of the challenge: `images/strong_lens_<uid>/exposure_<uid>_<band>`.

An attribute is a pair of texts, its value and its description, as mejiro's export writes it; a bare value is read, too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from zoo.data.image_file import Unreadable, check_size
from zoo.errors import DataError, UsageError
from zoo.paths import regular_file

BANDS = ("F106", "F129", "F158")
LABEL = "substructure"
_PREFIX = "strong_lens_"


class ChallengeFile:
    """An open file of the challenge.

    Args:
        path: Path of the file.
        images: Its group of lenses.
    """

    def __init__(self, path: Path, images: h5py.Group) -> None:
        self.path, self._images = path, images
        self.uids = sorted(name.removeprefix(_PREFIX) for name in images if name.startswith(_PREFIX))
        """Of all lenses; sorted, as those of the challenge's answer key."""

    def lens(self, uid: str) -> h5py.Group:
        """Return the group of a lens.

        Raises:
            DataError: It is not a group, or cannot be read.
        """
        with _named(self.path, uid):
            group = self._images[_PREFIX + uid]
        if not isinstance(group, h5py.Group):
            raise DataError(f"{self.path}: {_PREFIX}{uid} is not a group.")
        return group

    def image(self, uid: str, bands: tuple[str, ...]) -> NDArray[np.float32]:
        """Return the image of a lens [C, H, W].

        Raises:
            DataError: A band is missing, has another shape than the others or no numbers, or a pixel is not finite.
        """
        group, exposures = self.lens(uid), []
        for band in bands:
            name = f"exposure_{uid}_{band}"
            with _named(self.path, uid):
                if name not in group:
                    there = [one for one in BANDS if f"exposure_{uid}_{one}" in group]
                    has = ", ".join(there) or "no band"
                    raise DataError(
                        f"{self.path}: {_PREFIX}{uid} has no exposure in {band}; it has {has}.",
                        hint=f"For a training: --set data.bands={','.join(there)}" if there else "",
                    )
                exposures.append(group[name])
        first = exposures[0]
        for band, data in zip(bands, exposures, strict=True):
            if not isinstance(data, h5py.Dataset) or data.dtype.kind not in "iuf" or len(data.shape) != 2:
                raise DataError(
                    f"{self.path}: the exposure of {_PREFIX}{uid} in {band} is not an array [H, W] of numbers."
                )
            if data.shape != first.shape:
                raise DataError(
                    f"{self.path}: {_PREFIX}{uid} has the shape {data.shape} in {band} and {first.shape} in {bands[0]}."
                )
        try:
            check_size((len(bands), *first.shape))
        except Unreadable as error:
            raise DataError(f"{self.path}: the image of {_PREFIX}{uid} {error}.") from error
        with _named(self.path, uid), np.errstate(over="ignore"):
            image = np.stack([data[()] for data in exposures]).astype(np.float32)
        if not np.isfinite(image).all():
            raise DataError(f"{self.path}: {_PREFIX}{uid} has pixels that are not finite.")
        return image

    def attribute(self, uid: str, group: h5py.Group, name: str) -> str | None:
        """Return the value of an attribute of a lens as text; None where the lens lacks it."""
        with _named(self.path, uid):
            value: Any = group.attrs.get(name)
        if value is None:
            return None
        if isinstance(value, np.ndarray):  # value and description
            value = value.ravel()[0] if value.size else ""
        return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


@contextlib.contextmanager
def open_challenge_file(path: Path) -> Iterator[ChallengeFile]:
    """Open a file of the challenge, labelled or not.

    Raises:
        UsageError: There is no such file.
        DataError: It is not an HDF5 file, or holds no lens.
    """
    with contextlib.ExitStack() as closing:
        try:
            regular_file(path)
            if not h5py.is_hdf5(path):
                raise DataError(f"{path} is not an HDF5 file, or only a part of one.")
            images = closing.enter_context(h5py.File(path, "r")).get("images")
            found = ChallengeFile(path, images) if isinstance(images, h5py.Group) else None
        except FileNotFoundError as error:
            raise UsageError(f"{path} was not found.") from error
        except (OSError, RuntimeError) as error:  # of a damaged file, HDF5 raises either
            raise DataError(f"{path} cannot be read: {error}.") from error
        if found is None or not found.uids:
            raise DataError(
                f"{path} holds no lens images/{_PREFIX}<uid>.",
                hint="Files of other layouts: docs/tutorials/your_own_data.md",
            )
        yield found


@contextlib.contextmanager
def _named(path: Path, uid: str) -> Iterator[None]:
    """Name the file and the lens in errors of a damaged file, of which HDF5 raises several kinds."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise DataError(f"{path}: {_PREFIX}{uid} cannot be read: {error}.") from error


def read_bands(text: Any) -> tuple[str, ...]:
    """Return the bands that a parameter names.

    Raises:
        UsageError: One is unknown or named twice, or the order is another.
    """
    names = tuple(text.split(",")) if isinstance(text, str) else ()
    chosen = tuple(band for band in BANDS if band in names)
    if not names or chosen != names:
        raise UsageError(
            f"data.bands={text!r} must name some of {', '.join(BANDS)}, in this order.",
            hint=f"Write: --set data.bands={','.join(chosen or BANDS)}",
        )
    return names
