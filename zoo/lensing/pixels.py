"""From a simulator's images on sub-pixels to the pixels of the camera, and to the pixel that SNR and peak refer to."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.errors import DataError
from zoo.isolation import plugin_code
from zoo.lensing.observe import Brightest, Rendered, brightest
from zoo.lensing.scenes import check_masses

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.lensing.instrument import Instrument
    from zoo.lensing.scenes import Scenes


SIDES_IN_TURN = (2, 3, 4, 8)
"""Sub-pixels per pixel and axis that are added one after the other, columns first, and divided by their number: several
times as fast as `mean` over both axes, which rounds in the same way for these only. Images keep their bits."""


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """Result of `render_pixels`.

    Args:
        rendered: Surface brightness averaged over each pixel.
        brightest: Surface brightness in the reference pixel where the lensed source is brightest.
    """

    rendered: Rendered
    brightest: Brightest


def render_pixels(
    render: Callable[..., Rendered],
    scenes: Scenes,
    instrument: Instrument,
    *,
    simulator: str,
    masses: Collection[str] = (),
    **options: Any,
) -> Pixels:
    """Render scenes on sub-pixels, where the PSF is convolved, and average them over each pixel; see `render_fine`."""
    rendered = render_fine(render, scenes, instrument, simulator=simulator, masses=masses, **options)
    return to_pixels(rendered, instrument, sub_pixels=instrument.sub_pixels)


def render_fine(
    render: Callable[..., Rendered],
    scenes: Scenes,
    instrument: Instrument,
    *,
    simulator: str,
    masses: Collection[str] = (),
    **options: Any,
) -> Rendered:
    """Render scenes on the sub-pixels of a camera, where the PSF is convolved.

    Every simulator is as accurate as `Instrument.sub_pixels` requires, although it computes pixels only.

    Args:
        render: Target of a `SimulatorSpec`.
        scenes: Scenes of n images.
        instrument: Camera of the images.
        simulator: Name of the simulator, for the message.
        masses: `SimulatorSpec.masses` of the simulator.
        options: Further arguments of `render`.

    Raises:
        UsageError: The scenes contain masses that the simulator does not render.
        DataError: The simulator returned something else than images of the requested shape.
    """
    check_masses(scenes, simulator=simulator, known=masses)
    fine = instrument.divided()
    own = deepcopy(scenes)  # a simulator that works in place changes its copy
    with plugin_code(simulator, "render", may_take_long=True):
        rendered = render(own, fine, **options)
    if not isinstance(rendered, Rendered):
        raise DataError(f"Simulator {simulator} returned a {type(rendered).__name__}, not Rendered.")
    wanted = (len(scenes), fine.image_size, fine.image_size)
    for name, light in (("source", rendered.source), ("lens light", rendered.lens_light)):
        if light is not None and tuple(light.shape) != wanted:
            raise DataError(
                f"Simulator {simulator} returned a {name} of shape {tuple(light.shape)} where {wanted} was requested."
            )
    light = rendered.lens_light
    return Rendered(source=rendered.source.detach(), lens_light=None if light is None else light.detach())


def to_pixels(rendered: Rendered, instrument: Instrument, *, sub_pixels: int) -> Pixels:
    """Average images on sub-pixels over the camera's pixels and over reference pixels.

    Args:
        rendered: [n, H * sub_pixels, W * sub_pixels].
        instrument: Camera of the images.
        sub_pixels: Sub-pixels per pixel and axis.
    """
    reference = instrument.reference_sub_pixels(sub_pixels)
    return Pixels(
        rendered=_averaged(rendered, sub_pixels),
        brightest=brightest(_averaged(rendered, reference), area=instrument.area_in_reference_pixels),
    )


def _averaged(rendered: Rendered, side: int) -> Rendered:
    """Return the means over squares of `side` sub-pixels; an incomplete last row or column is left out."""
    import torch

    def mean(light: Tensor | None) -> Tensor | None:
        if light is None or side == 1:
            return light
        rows, columns = light.shape[1] // side, light.shape[2] // side
        squares = light[:, : rows * side, : columns * side].unflatten(2, (columns, side)).unflatten(1, (rows, side))
        if side not in SIDES_IN_TURN:
            means: Tensor = squares.mean((2, 4))
            return means
        of_rows = functools.reduce(torch.add, squares.unbind(4))
        sums: Tensor = functools.reduce(torch.add, of_rows.unbind(2))
        return sums / side**2

    source = mean(rendered.source)
    assert source is not None
    return Rendered(source=source, lens_light=mean(rendered.lens_light))
