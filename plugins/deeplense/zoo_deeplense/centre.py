"""Moves lenses off the middle of their images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from zoo.lensing.scenes import Array, Scenes


def moved(scenes: Scenes, x: Array, y: Array) -> Scenes:
    """Return scenes whose images are shifted by [n] arcsec: everything moves, and nothing else changes.

    The shear deflects by gamma theta from the image's middle, so the source does not move as far as the lens.
    """
    shear, masses, light = scenes.shear, scenes.truncated_haloes, scenes.lens_light

    def at(part: Any) -> Any:
        by = (x[:, None], y[:, None]) if np.ndim(part.x) == 2 else (x, y)
        return replace(part, x=part.x + by[0], y=part.y + by[1])

    return replace(
        scenes,
        halo=at(scenes.halo),
        points=at(scenes.points),
        truncated_haloes=None if masses is None else at(masses),
        lens_light=None if light is None else at(light),
        source=replace(
            scenes.source,
            x=scenes.source.x + x - shear.gamma_1 * x - shear.gamma_2 * y,
            y=scenes.source.y + y - shear.gamma_2 * x + shear.gamma_1 * y,
        ),
    )
