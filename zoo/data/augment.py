"""Augmentation on the device: the exact symmetries of the square, or rotations by any angle."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zoo.data.part import BatchPart
from zoo.data.rotation import rotate, transform_d4
from zoo.errors import UsageError, nearest

AUGMENTATIONS = ("none", "d4", "rotate")


def augment(images: Tensor, kind: str, *, generator: torch.Generator, part: BatchPart | None = None) -> Tensor:
    """Return each image under a random transformation of its own.

    Args:
        images: [n, C, H, W], square.
        kind: "none"; "d4", one of the eight rotations by 90 degrees and reflections, which moves pixels and
            interpolates nothing; "rotate", any angle and reflection, bilinear.
        generator: Generator on the CPU.
        part: Part of a batch that the images are; they are changed as in the whole batch.

    Raises:
        UsageError: The kind of augmentation is unknown.
    """
    if kind == "none":
        return images
    part = part or BatchPart(start=0, stop=len(images), whole=len(images))
    if kind == "d4":
        return _random_d4(images, generator, part)
    if kind == "rotate":
        return _random_rotation(images, generator, part)
    raise UsageError(f"augment={kind!r} is not one of {', '.join(AUGMENTATIONS)}.{nearest(kind, AUGMENTATIONS)}")


def _random_d4(images: Tensor, generator: torch.Generator, part: BatchPart) -> Tensor:
    elements = part.take(torch.randint(8, (part.whole,), generator=generator))
    # Sorted here, so that a GPU gets one small tensor and is not waited for.
    order = elements.argsort(stable=True).to(images.device, non_blocking=True)
    counts = elements.bincount(minlength=8).tolist()
    parts = [transform_d4(some, element) for element, some in enumerate(images[order].split(counts))]
    return torch.empty_like(images).index_copy_(0, order, torch.cat(parts))


def _random_rotation(images: Tensor, generator: torch.Generator, part: BatchPart) -> Tensor:
    angle = part.take(torch.rand(part.whole, generator=generator)) * 2 * math.pi
    mirror = part.take(torch.randint(2, (part.whole,), generator=generator)) * 2.0 - 1.0
    # The sense does not matter here; this sign keeps the images of a seed what they have always been.
    return rotate(images, -angle, mirrored=mirror, padding="border")
