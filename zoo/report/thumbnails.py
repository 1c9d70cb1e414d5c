"""Images inside a page: small PNGs as data addresses, made with the standard library."""

from __future__ import annotations

import base64
import struct
import zlib
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST_RESIDUAL = 5.0
"""Residual over the noise at the ends of the colours."""


def to_png(image: NDArray[Any]) -> bytes:
    """Return an image [H, W] as a PNG with 256 colours, row 0 below as on the sky.

    A square-root stretch from the sky up shows the faint arcs beside the bright ones.
    """
    stretched = np.sqrt(np.clip(np.nan_to_num(image.astype(np.float64)), 0, None))
    levels = np.round(255 * stretched / (stretched.max() or 1.0)).astype(np.uint8)[::-1]
    return _as_png(levels, "inferno")


def residual_address(residual: NDArray[Any]) -> str:
    """Return residuals over the noise [H, W] as the source of an <img>: blue to red from -5 to 5, white at 0."""
    share = np.clip(np.nan_to_num(residual.astype(np.float64)) / LARGEST_RESIDUAL, -1, 1)
    return _address(_as_png(np.round(127.5 * (1 + share)).astype(np.uint8)[::-1], "bwr"))


def _as_png(levels: NDArray[np.uint8], palette: str) -> bytes:
    """Return levels [H, W] as a PNG, with the first row on top."""
    height, width = levels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), levels], axis=1).tobytes()  # filter type 0 before each row
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"PLTE", _palette(palette)), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def data_address(image: NDArray[Any]) -> str:
    """Return an image [H, W] as the source of an <img>."""
    return _address(to_png(image))


def _address(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


@cache
def _palette(name: str) -> bytes:
    from matplotlib import colormaps

    return bytes((colormaps[name](np.arange(256))[:, :3] * 255).round().astype(np.uint8))
