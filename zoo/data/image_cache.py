"""Existing images, read once into one file of the cache, which later calls map."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from zoo.data.content import content_digest
from zoo.data.recipe import short_hash
from zoo.errors import DataError
from zoo.locks import lock_held
from zoo.paths import cache_dir, make_dir, read_json, regular_file, write_text, written_whole
from zoo.plurals import counted

logger = logging.getLogger(__name__)

_IMAGES, _INDEX = "images.npy", "index.json"

Report = Callable[[int, int], None]
_report: ContextVar[Report | None] = ContextVar("report", default=None)


@dataclass(frozen=True)
class CachedImages:
    """Images in the cache.

    Args:
        images: [N, C, H, W], mapped.
        index: Values that the reader returned about them.
        index_file: Path of the JSON file that holds the index.
    """

    images: NDArray[np.float32]
    index: dict[str, Any]
    index_file: Path


class ImageFile:
    """A .npy file that images of one shape are written to, one after the other.

    Args:
        path: Path of the file.
        file: The same, open for writing.
        expected: Number of images that will be written, or a larger one.
    """

    def __init__(self, path: Path, file: BinaryIO, *, expected: int) -> None:
        self._path, self._file, self._expected = path, file, expected
        self._report = _report.get()
        self.count = 0
        self.shape: tuple[int, ...] = ()

    def add(self, image: NDArray[np.float32]) -> None:
        """Write the next image [C, H, W]; the first one sets the shape.

        Raises:
            ValueError: The shape differs from that of the first image.
            DataError: The disk is too small for all images.
        """
        if not self.count:
            self.shape = image.shape
            self._check_disk(4 * image.size * self._expected)
            self._write_header()
        elif image.shape != self.shape:
            raise ValueError(f"its shape is {image.shape}, that of the first image {self.shape}")
        self._file.write(np.ascontiguousarray(image, "<f4").tobytes())
        self.count += 1
        if self._report is not None:
            self._report(self.count, self._expected)

    def finish(self) -> None:
        """State the number of images in the header."""
        self._file.seek(0)
        self._write_header()

    def _check_disk(self, need: int) -> None:
        free = shutil.disk_usage(self._path.parent).free
        if need > free:
            raise DataError(
                f"{counted(self._expected, 'image')} need {need / 1e9:.1f} GB in {self._path.parent}, where "
                f"{free / 1e9:.1f} GB are free.",
                hint="Choose another folder with the variable ZOO_CACHE.",
            )

    def _write_header(self) -> None:
        # NumPy pads the header for any length of the first axis, so that it can be written over.
        header = {"descr": "<f4", "fortran_order": False, "shape": (self.count, *self.shape)}
        np.lib.format.write_array_header_1_0(self._file, header)


@contextlib.contextmanager
def reading_reported(report: Report) -> Iterator[None]:
    """Call a function with the images read and those expected, after each image that is read into the cache."""
    token = _report.set(report)
    try:
        yield
    finally:
        _report.reset(token)


def cached_images(key: Sequence[Any], read: Callable[[ImageFile], Mapping[str, Any]], *, expected: int) -> CachedImages:
    """Return images from the cache; where they are missing or damaged, they are read first.

    One process at a time reads. What is interrupted leaves no file behind.

    Args:
        key: Everything that the images depend on, as JSON can hold it, such as the digest of their files
            (`zoo.data.content.content_digest`).
        read: Function that adds every image to the file and returns an index of them, which JSON can hold. An OSError
            that it raises is taken for one of the cache.
        expected: Number of images, or a larger one, for the progress and the space on the disk.

    Raises:
        DataError: There are no images, or the cache cannot be written or is too small; or the errors of `read`.
    """
    folder = make_dir(cache_dir() / "folders" / short_hash(list(key)))
    images, index_file = folder / _IMAGES, folder / _INDEX
    with lock_held(folder / ".lock"):
        index = _kept(images, index_file)
        if index is None:
            for stale in folder.glob(".*.part"):
                stale.unlink(missing_ok=True)
            with written_whole(images) as temporary, temporary.open("wb") as out:
                file = ImageFile(images, out, expected=expected)
                index = dict(read(file))
                if not file.count:
                    raise DataError("There are no images.")
                file.finish()
            index["content"] = content_digest(images)
            write_text(index_file, json.dumps({**index, "checksum": _checksum(index)}))
    return CachedImages(np.load(regular_file(images), mmap_mode="r"), index, index_file)


def _kept(images: Path, index_file: Path) -> dict[str, Any] | None:
    """Return the index of cached images, or None where one of the two is missing, damaged or of other images."""
    try:
        index: dict[str, Any] = read_json(index_file)
        whole = index.pop("checksum") == _checksum(index) and index["content"] == content_digest(images)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, DataError):
        return None
    if not whole:
        logger.warning("%s is damaged or older, and is made again from the files", images.parent)
    return index if whole else None


def _checksum(index: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()
