"""Images whose brightness rises or falls from left to right."""

import numpy as np

from zoo.data.images import ImageSet

COUNT = 600


def gradients(*, image_size: int, noise: float) -> ImageSet:
    """Return noisy ramps of both signs."""
    generator = np.random.default_rng(5)
    labels = np.arange(COUNT) % 2
    ramp = np.linspace(-1, 1, image_size)[None, :] * np.where(labels == 0, 1, -1)[:, None]
    images = ramp[:, None, None, :] + noise * generator.normal(size=(COUNT, 1, image_size, image_size))
    return ImageSet(
        images=images.astype(np.float32),
        labels=labels,
        ids=[f"ramp-{i}" for i in range(COUNT)],
        metadata={"sign": 1.0 - 2.0 * labels},
    )
