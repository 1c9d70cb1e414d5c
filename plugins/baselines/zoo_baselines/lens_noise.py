"""Noise of observed images: variance = floor + shot * light, from the recipe or from the images themselves."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class NoiseLaw:
    """Variance of a pixel as a function of its light.

    Args:
        floor: [n] variance of a dark pixel.
        shot: [n] further variance per unit of light.
        floor_known, shot_known: Whether the recipe states them; otherwise `measured` changes them.
    """

    floor: Tensor
    shot: Tensor
    floor_known: bool
    shot_known: bool

    def __getitem__(self, chosen: Tensor) -> NoiseLaw:
        """Return the law of some images."""
        return NoiseLaw(
            floor=self.floor[chosen], shot=self.shot[chosen], floor_known=self.floor_known, shot_known=self.shot_known
        )

    def variance(self, light: Tensor, *, bins: int = 1) -> Tensor:
        """Return the variance of pixels.

        Args:
            light: [n, N, N].
            bins: Camera pixels per side of a pixel, over which it is a mean.
        """
        return (self.floor[:, None, None] + self.shot[:, None, None] * light.clamp_min(0)) / bins**2

    def measured(self, residual: Tensor, model: Tensor) -> NoiseLaw:
        """Return the law with what the recipe does not state measured in residuals.

        Second differences along both axes leave the noise of independent pixels and remove smooth residuals, so that
        a bad fit does not look like noise.

        Args:
            residual: [n, H, W] image minus model.
            model: [n, H, W].
        """
        if self.floor_known and self.shot_known:
            return self
        rough = second_differences(residual) ** 2
        light = model[:, 1:-1, 1:-1].clamp_min(0)
        floor, shot = self.floor, self.shot
        for _ in range(3):
            weight = 1 / (floor[:, None, None] + shot[:, None, None] * light) ** 2
            s0, s1, s2 = (weight.sum((1, 2)), (weight * light).sum((1, 2)), (weight * light * light).sum((1, 2)))
            r0, r1 = (weight * rough).sum((1, 2)), (weight * rough * light).sum((1, 2))
            if self.shot_known:
                new_floor, new_shot = (r0 - shot * s1) / s0, shot
            else:
                determinant = (s0 * s2 - s1 * s1).clamp_min(1e-30)
                new_floor, new_shot = (r0 * s2 - r1 * s1) / determinant, (r1 * s0 - r0 * s1) / determinant
            smallest = 0.1 * r0 / s0  # neither may vanish by chance
            floor = floor if self.floor_known else torch.maximum(new_floor, smallest)
            shot = shot if self.shot_known else new_shot.clamp_min(0)
        return NoiseLaw(floor=floor, shot=shot, floor_known=self.floor_known, shot_known=self.shot_known)

    def where(self, chosen: Tensor, other: NoiseLaw) -> NoiseLaw:
        """Return this law for chosen images [n], and another one for the rest."""
        return NoiseLaw(
            floor=torch.where(chosen, self.floor, other.floor),
            shot=torch.where(chosen, self.shot, other.shot),
            floor_known=self.floor_known,
            shot_known=self.shot_known,
        )


def second_differences(images: Tensor) -> Tensor:
    """Return second differences along both axes over 6, [n, H - 2, W - 2]: white noise keeps its rms."""
    rows = images[:, 2:] - 2 * images[:, 1:-1] + images[:, :-2]
    both: Tensor = (rows[:, :, 2:] - 2 * rows[:, :, 1:-1] + rows[:, :, :-2]) / 6
    return both


@dataclass(frozen=True, kw_only=True)
class Observation:
    """Images in units of their own brightness.

    Args:
        images: [n, H, W].
        scale: [n] the unit in the unit of the original images.
        law: Noise.
    """

    images: Tensor
    scale: Tensor
    law: NoiseLaw


def observed(images: Tensor, *, seconds: float = 0.0, sky: float = 0.0) -> Observation:
    """Return images scaled, with a first estimate of their noise.

    Args:
        images: [n, H, W], counts per second where an exposure is given.
        seconds: Exposure, where all images have the same; 0 stands for unknown.
        sky: Background in counts per second and pixel, where all images have the same; 0 stands for unknown.
    """
    width = images.shape[-1]
    small = torch.nn.functional.avg_pool2d(images[:, None], 2)[:, 0] if width >= 16 else images
    scale = small.flatten(1).quantile(0.995, dim=1).clamp_min(1e-12)
    scaled = images / scale[:, None, None]
    light = torch.nn.functional.avg_pool2d(scaled[:, None], 3, stride=1)[:, 0]
    faint = light <= light.flatten(1).median(1).values[:, None, None]
    faint_count = faint.sum((1, 2))
    dark = (second_differences(scaled) ** 2 * faint).sum((1, 2)) / faint_count
    dim = (light * faint).sum((1, 2)) / faint_count
    shot = 1 / (seconds * scale) if seconds > 0 else dark * 0
    if seconds > 0 and sky > 0:
        floor = sky / (seconds * scale**2)
    else:
        floor = torch.maximum(dark - shot * dim.clamp_min(0), 0.1 * dark)
    law = NoiseLaw(
        floor=floor.clamp_min(1e-12), shot=shot, floor_known=seconds > 0 and sky > 0, shot_known=seconds > 0
    )  # fmt: skip
    return Observation(images=scaled, scale=scale, law=law)
