"""Results of fits that are kept: of every image in memory, and of batches of training images on disk as well."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.errors import ZooError
from zoo.lensing import instrument
from zoo.paths import cache_dir, regular_file, written_whole

logger = logging.getLogger(__name__)
_MOST = 1 << 17
"""Images whose results are kept in memory, some 100 MB; the oldest are dropped first."""
_CHECKSUM = 32
"""Bytes of a SHA-256."""


def image_keys(images: Tensor, settings: Sequence[Any]) -> list[bytes]:
    """Return a digest of each image [n, H, W], its type and its device, and of the settings of its fit."""
    start = json.dumps([*settings, str(images.dtype), images.device.type]).encode()
    pixels = images.cpu().contiguous().numpy()
    return [hashlib.blake2b(image.tobytes() + start, digest_size=16).digest() for image in pixels]


class InMemory:
    """Results of images by their keys; the last number of a result is 1 where the fit failed, else 0."""

    def __init__(self) -> None:
        self.fitted = 0
        """Number of images that were put in."""
        self.failed = 0
        """Number of these whose fit failed."""
        self._rows: dict[bytes, bytes] = {}

    def missing(self, keys: Sequence[bytes]) -> list[int]:
        """Return the place of each key that has no result; of equal keys, one place."""
        return list({key: place for place, key in enumerate(keys) if key not in self._rows}.values())

    def put(self, keys: Sequence[bytes], rows: NDArray[np.float64]) -> None:
        """Keep the results [n, F] of new keys."""
        self.fitted += len(keys)
        self.failed += int(np.count_nonzero(rows[:, -1]))
        self._rows.update(zip(keys, (row.tobytes() for row in rows), strict=True))

    def take(self, keys: Sequence[bytes]) -> NDArray[np.float64]:
        """Return the results [n * F] of keys that all have one, and drop the oldest if there are too many."""
        found = np.frombuffer(b"".join([self._rows[key] for key in keys]), np.float64)
        while len(self._rows) > _MOST:
            del self._rows[next(iter(self._rows))]
        return found


def file_of(keys: Sequence[bytes]) -> Path:
    """Return the path of the results of these images in their order, made by today's code."""
    digest = hashlib.sha256(_code().encode() + b"".join(keys))
    return cache_dir() / "fitted_lens" / f"{digest.hexdigest()[:32]}.features"


def read(path: Path, *, rows: int) -> NDArray[np.float64] | None:
    """Return results [rows, F], or None where there are none or the SHA-256 at the end of the file does not fit."""
    try:
        content = regular_file(path).read_bytes()
    except (OSError, ZooError):
        return None
    content, checksum = content[:-_CHECKSUM], content[-_CHECKSUM:]
    if _checksum(path, content) != checksum or not content:
        return None
    return np.frombuffer(content, "<f8").reshape(rows, -1)


def write(path: Path, rows: NDArray[np.float64]) -> None:
    """Write results with their SHA-256; without room or permission they are computed again next time."""
    content = rows.astype("<f8").tobytes()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as temporary:
            temporary.write_bytes(content + _checksum(path, content))
    except (OSError, ZooError) as error:
        logger.warning("the fits are not stored: %s", error)


def _checksum(path: Path, content: bytes) -> bytes:
    """Return the SHA-256 of results and of the name of their file, which stands for their images."""
    return hashlib.sha256(path.name.encode() + content).digest()


@functools.cache
def _code() -> str:
    """Return a digest of the code that decides the features: of this package, the PSF, and the version of torch."""
    digest = hashlib.sha256(torch.__version__.encode())
    for path in [*sorted(Path(__file__).parent.glob("*.py")), Path(instrument.__file__)]:
        digest.update(regular_file(path).read_bytes())
    return digest.hexdigest()
