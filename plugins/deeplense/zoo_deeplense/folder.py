"""The data set `deeplense/deeplense-folder`: images that exist already, read once into one file that is mapped."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.content import content_digest
from zoo.data.image_cache import ImageFile, cached_images
from zoo.data.images import ImageSet, ListedImages
from zoo.errors import DataError, UsageError
from zoo.lensing.draws import stable_hash
from zoo.lensing.scenes import SCALINGS
from zoo.remote import readable_path
from zoo_deeplense.array_file import BrokenFile, read_image
from zoo_deeplense.layout import Found, find_files

logger = logging.getLogger(__name__)


def check(
    *, root: str | None, scaling: str, skip_broken: bool, pixel_scale: float | None = None
) -> ListedImages | None:
    """Refuse impossible parameters; see `build`.

    Returns:
        Names of the images; None where broken files are left out, which shows when they are read.

    Raises:
        UsageError: No folder is named, it is not that of one set, or a value is impossible.
        DataError: The folder does not contain arrays of every class.
    """
    if not isinstance(root, str) or not root:
        raise UsageError(f"data.root={root!r} must name a folder of images.", hint="Write: --set data.root=DIR")
    if scaling not in SCALINGS:
        raise UsageError(f"data.scaling={scaling!r} is not one of {', '.join(SCALINGS)}.")
    if not isinstance(skip_broken, bool):
        raise UsageError(f"data.skip_broken={skip_broken!r} must be true or false.")
    number = isinstance(pixel_scale, (int, float)) and not isinstance(pixel_scale, bool)
    if pixel_scale is not None and not (number and 0 < pixel_scale < math.inf):
        raise UsageError(f"data.pixel_scale={pixel_scale!r} must be a positive number of arcsec.")
    files = find_files(readable_path(root).absolute())
    return None if skip_broken else ListedImages(ids=_ids(files), split=_splits(files))


def build(*, root: str | None, scaling: str, skip_broken: bool, pixel_scale: float | None = None) -> ImageSet:
    """Return the images below a folder.

    Files are read one at a time into one array in the cache, which later calls map; it is made again when a file
    was added, removed or changed. Images stand in an order that their classes do not decide, and an id is a hash of
    the file's path: neither reveals a class. `index.json` beside the array lists the file of each image.

    Args:
        root: Folder in a layout of `zoo_deeplense.layout`.
        scaling: "none", or "minmax" to map each image to [0, 1].
        skip_broken: Whether files that cannot be read or have another shape are left out and named.
        pixel_scale: Arcsec per pixel, which weights keep: files of another scale are resampled to it.

    Raises:
        UsageError: The root is not a folder of one set, or a value is impossible.
        DataError: A file is broken and `skip_broken` is false, or the cache cannot be written.
    """
    check(root=root, scaling=scaling, skip_broken=skip_broken, pixel_scale=pixel_scale)
    assert root is not None
    folder = readable_path(root).absolute()
    files = sorted(find_files(folder), key=lambda file: stable_hash(file.key))
    cached = cached_images(
        [content_digest(folder), scaling, skip_broken],
        lambda out: _read_all(out, folder, files, scaling=scaling, skip_broken=skip_broken),
        expected=len(files),
    )
    index = cached.index
    if index["skipped"]:
        shown = "; ".join(index["skipped"][:5])
        logger.warning(
            "%d of %d files in %s were skipped (all of them: %s): %s",
            len(index["skipped"]), len(files), folder, cached.index_file, shown,
        )  # fmt: skip
    by_path = {file.key: file for file in files}
    kept = [by_path[path] for path in index["files"]]
    return ImageSet(
        images=cached.images,
        labels=np.array([file.label for file in kept], dtype=np.int64),
        ids=_ids(kept),
        split=_splits(kept),
        metadata={"axion_mass": np.array([np.nan if mass is None else mass for mass in index["axion_mass"]])},
    )


def _ids(files: Sequence[Found]) -> list[str]:
    return [f"{stable_hash(file.key):016x}" for file in files]


def _splits(files: Sequence[Found]) -> list[str] | None:
    return [file.split for file in files] if files[0].split else None


def _read_all(out: ImageFile, root: Path, files: list[Found], *, scaling: str, skip_broken: bool) -> dict[str, Any]:
    """Write all images into one file, one after the other, and return the index.

    Raises:
        BrokenFile: A file is broken or of another shape, and `skip_broken` is false.
        DataError: Every file is broken.
    """
    kept: list[str] = []
    masses: list[float | None] = []
    skipped: list[str] = []
    for file in files:
        try:
            image, mass = read_image(root / file.path, row=file.row)
            mass = mass if np.isnan(file.mass) else file.mass
            if kept and image.shape != out.shape:
                raise BrokenFile(f"{root / file.key}: its shape is {image.shape}, that of {kept[0]} {out.shape}")
        except BrokenFile as error:
            if not skip_broken:
                raise BrokenFile(
                    f"{error}.", hint="To leave such files out and have them counted: --set data.skip_broken=true"
                ) from error
            skipped.append(str(error))
            continue
        out.add(_scaled(image, scaling))
        kept.append(file.key)
        masses.append(None if np.isnan(mass) else mass)
    if not kept:
        raise DataError(f"No file in {root} can be read; {len(files)} tried. The first: {skipped[0]}")
    return {"files": kept, "axion_mass": masses, "skipped": skipped}


def _scaled(image: NDArray[np.float32], scaling: str) -> NDArray[np.float32]:
    if scaling == "none":
        return image
    low, high = image.min(), image.max()
    return (image - low) / max(high - low, np.float32(1e-30))
