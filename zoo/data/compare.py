"""Difference between two simulators: the same scenes, noiseless, image by image."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo import registry
from zoo.data.accuracy import ALL_CLASSES
from zoo.data.drawn import first_scenes
from zoo.errors import DataError
from zoo.lensing.pixels import render_pixels
from zoo.specs import SimulatorSpec

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.host import Host
    from zoo.lensing.instrument import Instrument
    from zoo.lensing.observe import Rendered
    from zoo.lensing.scenes import Scenes


@dataclass(frozen=True, kw_only=True)
class ClassDifference:
    """Difference between two simulators on some scenes. Differences are in units of each image's own peak.

    Args:
        light: "source" or "lens_light".
        of: Name of a class, or "all".
        images: Number of scenes.
        largest: Largest difference of any pixel.
        rms: Root mean square of the differences of all pixels of all images.
        worst_image: Index, in the training split, of the image that holds the largest difference.
    """

    light: str
    of: str
    images: int
    largest: float
    rms: float
    worst_image: int


@dataclass(frozen=True, kw_only=True)
class SimulatorDifference:
    """Result of `compare_simulators`.

    Args:
        dataset: Id of the data set.
        params: Parameters that differ from the data set's own.
        simulators: Ids of the simulators.
        images: Number of scenes.
        seed: Seed of the scenes.
        device: Device that was requested; a simulator that cannot use it ran on the CPU.
        differences: Those of the source, then of the lens light, if any; each over all scenes, then class by class.
        seconds_per_image: Time of either simulator, imports and the first image left out.
    """

    dataset: str
    params: Mapping[str, Any] = field(default_factory=dict)
    simulators: tuple[str, str]
    images: int
    seed: int
    device: str
    differences: tuple[ClassDifference, ...]
    seconds_per_image: tuple[float, float]

    @property
    def largest(self) -> float:
        """The largest difference of any pixel of any image, source or lens light, in units of its image's peak."""
        return max(difference.largest for difference in self.differences)

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat row a difference: names for a heading -> text or number."""
        return [
            {
                "light": difference.light.replace("_", " "),
                "class": difference.of,
                "images": difference.images,
                "max |d|/peak": difference.largest,
                "rms d/peak": difference.rms,
                "worst image": difference.worst_image,
            }
            for difference in self.differences
        ]

    def to_json(self) -> dict[str, Any]:
        """Return plain values, `largest` among them."""
        return asdict(self) | {"params": dict(self.params), "largest": self.largest}


def compare_simulators(
    host: Host,
    dataset: str,
    simulators: tuple[str, str],
    *,
    images: int = 24,
    params: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> SimulatorDifference:
    """Render the first images of a data set's training split with two simulators and compare them pixel by pixel.

    Args:
        host: The plugins.
        dataset: Id or name of a simulated data set.
        simulators: Ids or names of the simulators.
        images: Number of scenes.
        params: Parameters that differ from the data set's own.
        seed: Seed of the images, as in a recipe.
        device: "cpu" or "cuda"; simulators that cannot use it run on the CPU.

    Raises:
        UsageError: A name, parameter or number is impossible, or a simulator cannot render these scenes.
        MissingError: A plugin or library is absent.
        DataError: A simulator returned images of another shape, or not finite.
    """
    spec, population, scenes = first_scenes(host, dataset, images=images, params=params, seed=seed)
    engines = [registry.find(host, SimulatorSpec, name) for name in simulators]
    (first, first_seconds), (second, second_seconds) = (
        _timed(engine, scenes, population.instrument, device=device) for engine in engines
    )
    differences = _differences("source", first.source, second.source, scenes.label, spec.classes)
    if first.lens_light is not None and second.lens_light is not None:
        differences += _differences("lens_light", first.lens_light, second.lens_light, scenes.label, spec.classes)
    return SimulatorDifference(
        dataset=spec.id,
        params=dict(params or {}),
        simulators=(engines[0].id, engines[1].id),
        images=images,
        seed=seed,
        device=device,
        differences=tuple(differences),
        seconds_per_image=(first_seconds, second_seconds),
    )


def differences(first: Tensor, second: Tensor) -> NDArray[np.float64]:
    """Return [n, H, W] the differences of images, each over its own peak (the larger of the two; 0 where both are)."""
    one, other = (light.detach().cpu().numpy().astype(np.float64) for light in (first, second))
    peak = np.maximum(one.max((1, 2)), other.max((1, 2)))[:, None, None]
    return (one - other) / np.where(peak == 0, 1.0, peak)


def _timed(engine: SimulatorSpec, scenes: Scenes, instrument: Instrument, *, device: str) -> tuple[Rendered, float]:
    """Return the images of one simulator, and its seconds per image.

    Raises:
        DataError: The values do not meet the contract of a simulator.
    """
    target = registry.load_target(engine)
    options = {"device": device if engine.device == "any" else "cpu", "expected_images": len(scenes)}

    def render(some: Scenes) -> Rendered:
        return render_pixels(target, some, instrument, simulator=engine.id, masses=engine.masses, **options).rendered

    render(scenes[:1])  # imports and caches
    start = time.perf_counter()
    rendered = render(scenes)
    lights = {"source": rendered.source, "lens light": rendered.lens_light}
    # Copying to the CPU waits for the device, so it belongs to the time.
    on_cpu = {name: None if light is None else light.cpu() for name, light in lights.items()}
    seconds = (time.perf_counter() - start) / len(scenes)
    for name, light in on_cpu.items():
        if light is None:
            if name == "lens light" and scenes.lens_light is not None:
                raise DataError(f"Simulator {engine.id} returned no lens light, though the scenes have it.")
        elif not bool(light.isfinite().all()):
            raise DataError(f"Simulator {engine.id} returned a {name} that is not finite everywhere.")
    return rendered, seconds


def _differences(
    light: str, first: Tensor, second: Tensor, label: NDArray[np.int64], classes: tuple[str, ...]
) -> list[ClassDifference]:
    """Return the difference over all images, then over each class that occurs."""
    apart = np.abs(differences(first, second))
    largest, squares = apart.max((1, 2)), (apart**2).mean((1, 2))
    groups = {ALL_CLASSES: np.arange(len(label))}
    groups |= {name: np.flatnonzero(label == number) for number, name in enumerate(classes)}
    return [
        ClassDifference(
            light=light,
            of=name,
            images=len(chosen),
            largest=float(largest[chosen].max()),
            rms=float(np.sqrt(squares[chosen].mean())),
            worst_image=int(chosen[largest[chosen].argmax()]),
        )
        for name, chosen in groups.items()
        if len(chosen)
    ]
