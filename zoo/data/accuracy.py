"""Accuracy of the images of a population: their error against far finer rays, over the noise of each pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo import registry
from zoo.data.drawn import first_scenes
from zoo.errors import UsageError
from zoo.lensing.observe import brightness_scale
from zoo.lensing.pixels import Pixels, render_pixels, to_pixels
from zoo.specs import SimulatorSpec

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.host import Host
    from zoo.lensing.instrument import Instrument
    from zoo.lensing.scenes import Scenes

MOST_ALLOWED, LARGEST_ALLOWED = 0.2, 1.0
"""Bounds of an accurate population: of the errors of 99 % of its pixels, and of all of them, in units of the noise."""
FINE = 16
"""Fewest rays per pixel and axis of the reference, whose PSF is convolved on the rays."""
ALL_CLASSES = "all"
_SCENES_AT_A_TIME = 4  # a reference image of 150 x 150 pixels has six million sub-pixels


@dataclass(frozen=True, kw_only=True)
class ClassError:
    """Errors of some images, in units of the noise of the same pixel.

    Args:
        of: Name of a class, or "all".
        images: Number of images.
        rms: Root mean square over all pixels.
        most: 99 % of the pixels have smaller ones.
        largest: Largest error of any pixel.
        worst_image: Index, in the training split, of the image that holds the largest.
    """

    of: str
    images: int
    rms: float
    most: float
    largest: float
    worst_image: int


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Result of `measure_accuracy`.

    Args:
        dataset, simulator: Ids of the data set and the simulator.
        params: Parameters that differ from the data set's own.
        seed: Seed of the scenes.
        over_sampling, sub_pixels: Numbers of rays and sub-pixels, per pixel and axis.
        reference_over_sampling: Number of rays of the reference, per pixel and axis.
        errors: Errors over all images, then class by class.
    """

    dataset: str
    simulator: str
    params: Mapping[str, Any] = field(default_factory=dict)
    seed: int
    over_sampling: int
    sub_pixels: int
    reference_over_sampling: int
    errors: tuple[ClassError, ...]

    @property
    def accurate(self) -> bool:
        """Whether the errors of all images together are within `MOST_ALLOWED` and `LARGEST_ALLOWED`."""
        overall = self.errors[0]
        return overall.most < MOST_ALLOWED and overall.largest < LARGEST_ALLOWED

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat row for each group of images: headings -> text or number."""
        return [
            {
                "class": error.of,
                "images": error.images,
                "rms": error.rms,
                "99 % below": error.most,
                "largest": error.largest,
                "worst image": error.worst_image,
            }
            for error in self.errors
        ]

    def to_json(self) -> dict[str, Any]:
        """Return plain values, the bounds and `accurate` among them."""
        bounds = {"most_allowed": MOST_ALLOWED, "largest_allowed": LARGEST_ALLOWED}
        return asdict(self) | {"params": dict(self.params), **bounds, "accurate": self.accurate}


def measure_accuracy(
    host: Host,
    dataset: str,
    simulator: str,
    *,
    images: int,
    params: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> Accuracy:
    """Render the first images of a data set's training split as usual and with the rays of the reference.

    Args:
        host: The plugins.
        dataset: Id or name of a simulated data set.
        simulator: Id or name of the simulator.
        images: Number of images.
        params: Parameters that differ from the data set's own.
        seed: Seed of the images, as in a recipe.
        device: "cpu" or "cuda"; a simulator that cannot use it runs on the CPU.

    Raises:
        UsageError: A name or parameter is impossible, an image has no sky, or the simulator cannot render these
            scenes.
        MissingError: A plugin or library is absent.
        DataError: The simulator returned images of another shape.
    """
    spec, population, scenes = first_scenes(host, dataset, images=images, params=params, seed=seed)
    engine = registry.find(host, SimulatorSpec, simulator)
    render, instrument = registry.load_target(engine), population.instrument
    if not bool((np.asarray(scenes.exposure.sky) > 0).all()):
        raise UsageError(
            "Some images have no sky, so their dark pixels have no noise that an error could be compared with.",
            hint="For example: --set data.sky=0.1",
        )
    options = {"device": device if engine.device == "any" else "cpu", "expected_images": images}
    rays = reference_rays(instrument.over_sampling)
    errors = []
    for start in range(0, images, _SCENES_AT_A_TIME):
        some = scenes[start : start + _SCENES_AT_A_TIME]
        usual = render_pixels(render, some, instrument, simulator=engine.id, masses=engine.masses, **options)
        errors.append(_error_over_noise(usual, _finest(render, some, instrument, rays=rays, **options), some))
    return Accuracy(
        dataset=spec.id,
        simulator=engine.id,
        params=dict(params or {}),
        seed=seed,
        over_sampling=instrument.over_sampling,
        sub_pixels=instrument.sub_pixels,
        reference_over_sampling=rays,
        errors=tuple(_by_class(np.concatenate(errors), scenes.label, spec.classes)),
    )


def reference_rays(over_sampling: int) -> int:
    """Return the rays of the reference, per pixel and axis: at least twice as many as those that are measured."""
    return max(FINE, 2 * over_sampling)


def _finest(render: Any, scenes: Scenes, instrument: Instrument, *, rays: int, **options: Any) -> Pixels:
    return to_pixels(render(scenes, instrument.divided(rays, rays=1), **options), instrument, sub_pixels=rays)


def _error_over_noise(usual: Pixels, finest: Pixels, scenes: Scenes) -> NDArray[np.float64]:
    """Return [n, H, W]: the difference of the mean counts, over the standard deviation of the finest image's counts.

    Both are scaled as they would be stored, so that an error of the peak counts as one.
    """
    exposure = scenes.exposure
    light, wanted = (_counts_per_second(pixels, scenes) for pixels in (usual, finest))
    sky, seconds = (np.asarray(values)[:, None, None] for values in (exposure.sky, exposure.seconds))
    errors: NDArray[np.float64] = (light - wanted) / np.sqrt((wanted + sky) / seconds)
    return errors


def _counts_per_second(pixels: Pixels, scenes: Scenes) -> NDArray[np.float64]:
    rendered = pixels.rendered
    light: Tensor = rendered.source.double()
    if rendered.lens_light is not None:
        light = light + rendered.lens_light.double()
    scaled = light * brightness_scale(scenes.exposure, pixels.brightest)[:, None, None]
    counts: NDArray[np.float64] = scaled.cpu().numpy()
    return counts


def _by_class(errors: NDArray[np.float64], label: NDArray[np.int64], classes: tuple[str, ...]) -> list[ClassError]:
    apart = np.abs(errors)
    largest = apart.max((1, 2))
    groups = {ALL_CLASSES: np.arange(len(label))}
    groups |= {name: np.flatnonzero(label == number) for number, name in enumerate(classes)}
    return [
        ClassError(
            of=name,
            images=len(chosen),
            rms=float(np.sqrt((errors[chosen] ** 2).mean())),
            most=float(np.quantile(apart[chosen], 0.99)),
            largest=float(largest[chosen].max()),
            worst_image=int(chosen[largest[chosen].argmax()]),
        )
        for name, chosen in groups.items()
        if len(chosen)
    ]
