"""Images inside a page: small PNGs as data addresses, made with the standard library."""

from __future__ import annotations

import base64
import struct
import zlib
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray


def to_png(image: NDArray[Any]) -> bytes:
    """Return an image [H, W] as a PNG with 256 colours, row 0 below as on the sky.

    A square-root stretch from the sky up shows the faint arcs beside the bright ones.
    """
    stretched = np.sqrt(np.clip(np.nan_to_num(image.astype(np.float64)), 0, None))
    levels = np.round(255 * stretched / (stretched.max() or 1.0)).astype(np.uint8)[::-1]
    height, width = levels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), levels], axis=1).tobytes()  # filter type 0 before each row
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"PLTE", _palette()), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def data_address(image: NDArray[Any]) -> str:
    """Return an image [H, W] as the source of an <img>."""
    return "data:image/png;base64," + base64.b64encode(to_png(image)).decode()


@cache
def _palette() -> bytes:
    from matplotlib import colormaps

    return bytes((colormaps["inferno"](np.arange(256))[:, :3] * 255).round().astype(np.uint8))
