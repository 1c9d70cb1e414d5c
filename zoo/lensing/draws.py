"""Random numbers that depend on (seed, name, image index) alone, for a million images at once.

A generator object hands out numbers in the order of the calls, so an image would depend on the batch it came
in. Here every number is a hash of its own address: seed, name of the quantity, image index, slot. Changing one
prior leaves all other quantities of the same images as they were, which makes comparisons paired.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit words: the output function of splitmix64 (Steele, Lea & Flood 2014)."""
    value = (value ^ (value >> np.uint64(30))) * _MIX_1
    value = (value ^ (value >> np.uint64(27))) * _MIX_2
    return value ^ (value >> np.uint64(31))


def stable_hash(text: str) -> int:
    """Return a 64-bit integer that depends on the text only, on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


class Draws:
    """The random numbers of some images of one stream.

    Args:
        seed: Text that names the stream, such as "modelB/0/train".
        indices: [n] image indices in the stream.
    """

    def __init__(self, seed: str, indices: ArrayLike) -> None:
        self.seed = seed
        self.indices = np.asarray(indices, dtype=np.uint64)

    def __len__(self) -> int:
        return len(self.indices)

    def bits(self, name: str, *, slots: int = 1) -> NDArray[np.uint64]:
        """Return [n, slots] random 64-bit words for the quantity `name`."""
        with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is meant
            stream = np.uint64(stable_hash(f"{self.seed}\0{name}"))
            image = _mix(stream + (self.indices + np.uint64(1)) * _GOLDEN)
            return _mix(image[:, None] + np.arange(1, slots + 1, dtype=np.uint64) * _GOLDEN)

    def unit(self, name: str, *, slots: int = 1) -> NDArray[np.float64]:
        """Return [n, slots] numbers uniform in the open interval (0, 1)."""
        # 52 bits: with 53 the added half would round the largest word up to 1.
        return ((self.bits(name, slots=slots) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
