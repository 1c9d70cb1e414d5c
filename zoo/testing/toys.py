"""Small images, scenes and a population that the checks show to plugins: labels are drawn apart from the pixels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zoo.data.images import ImageSet
from zoo.lensing.draws import Draws
from zoo.lensing.instrument import Instrument
from zoo.lensing.observe import Rendered
from zoo.lensing.scenes import Exposure, Isothermal, PointMasses, Scenes, Sersic, Shear
from zoo.plurals import counted
from zoo.specs import DatasetSpec, ModelSpec, SimulatorSpec, Spec

if TYPE_CHECKING:
    from torch import nn

    from zoo.host import Host

NAMESPACE = "zoo_testing"
IMAGES, SKY, PAINTER = f"{NAMESPACE}/images", f"{NAMESPACE}/sky", f"{NAMESPACE}/painter"
TRUTH = "example"
"""Stored truth of the toy images and of the toy population, drawn apart from the pixels; regressions estimate it."""
SKY_TRUTHS = ("halo.einstein_radius", "halo.axis_ratio")
"""Stored truths of the toy population that differ between images."""
LINEAR = f"{NAMESPACE}/linear"


def with_toys(host: Host, *specs: Spec, classes: int = 3) -> Host:
    """Return plugins together with the toys and some more specs.

    Args:
        host: The plugins, which stay as they are.
        specs: Specs that replace those of the same id.
        classes: Number of classes of the toys.
    """
    names = class_names(classes)
    toys: tuple[Spec, ...] = (
        DatasetSpec(
            id=IMAGES,
            target=f"{__name__}:noise_images",
            classes=names,
            normal=names[:1],
            params={"count": 300, "image_size": 32, "planes": 1, "classes": classes},
        ),
        DatasetSpec(
            id=SKY,
            target=f"{__name__}:Sky",
            classes=names,
            normal=names[:1],
            simulated=True,
            params={"image_size": 32, "pixel_scale": 0.15, "classes": classes},
        ),
        SimulatorSpec(id=PAINTER, target=f"{__name__}:paint"),
    )
    found: dict[type[Spec], dict[str, Spec]] = {kind: dict(entries) for kind, entries in host.specs.items()}
    for spec in (*toys, *specs):
        found.setdefault(type(spec), {})[spec.id] = spec
    return dataclasses.replace(host, specs=found)


def linear_model(tasks: tuple[str, ...]) -> ModelSpec:
    """Return a linear network that answers some tasks."""
    return ModelSpec(id=LINEAR, target=f"{__name__}:linear", tasks=tasks)


def linear(*, in_chans: int, num_classes: int, image_size: int) -> nn.Module:
    """Return a linear network on coarse pixels."""
    from torch import nn

    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * in_chans, num_classes))


def class_names(count: int) -> tuple[str, ...]:
    """Return names of classes."""
    return tuple(f"class_{k}" for k in range(count))


def noise_images(*, count: int, image_size: int, planes: int, classes: int) -> ImageSet:
    """Return smooth images with noise; labels and truth are drawn, so that no honest network can learn them."""
    from zoo.scores.equivariance import blob_images

    generator = np.random.default_rng(1)
    images = blob_images(count, planes, image_size).numpy()
    images = 5 + images + 0.3 * generator.normal(size=images.shape)
    return ImageSet(
        images=images.astype(np.float32),
        labels=generator.permutation(np.arange(count) % classes),
        ids=[f"image-{i}" for i in range(count)],
        metadata={TRUTH: generator.uniform(1, 3, count)},
    )


class Sky:
    """A population of round lenses whose class changes nothing."""

    def __init__(self, *, image_size: int, pixel_scale: float, classes: int) -> None:
        self.instrument = Instrument(image_size=image_size, pixel_scale=pixel_scale, psf="none", over_sampling=1)
        self.classes = classes

    def sample(self, indices: NDArray[np.int64], seed: str) -> Scenes:
        """Return scenes; label and truth of each are drawn."""
        draws = Draws(seed, indices)
        label = np.floor(draws.unit("label")[:, 0] * self.classes)
        truth = 1 + 2 * draws.unit(TRUTH)[:, 0]
        return dataclasses.replace(lenses(indices, seed), label=label.astype(np.int64), parameters={TRUTH: truth})


def lenses(indices: NDArray[np.int64], seed: str) -> Scenes:
    """Return scenes that every simulator must render: an elliptical halo, shear, a point mass and a Sersic source."""
    draws = Draws(seed, indices)
    one = np.ones(len(indices))

    def drawn(name: str, low: float, high: float) -> NDArray[np.float64]:
        return low + (high - low) * draws.unit(name)[:, 0]

    return Scenes(
        label=np.asarray(indices) % 2,
        halo=Isothermal(
            einstein_radius=drawn("radius", 1.0, 1.3), axis_ratio=drawn("ratio", 0.7, 0.95), angle=drawn("angle", 0, 3),
            x=0 * one, y=0 * one,
        ),
        shear=Shear(gamma_1=0.03 * one, gamma_2=-0.02 * one),
        points=PointMasses(
            x=drawn("point x", 0.8, 1.2)[:, None], y=drawn("point y", -0.3, 0.3)[:, None],
            einstein_radius=0.1 * one[:, None],
        ),
        source=Sersic(
            x=drawn("source x", -0.2, 0.2), y=drawn("source y", -0.2, 0.2), axis_ratio=0.8 * one,
            angle=drawn("source angle", 0, 3), index=one, effective_radius=0.3 * one, intensity=one,
        ),
        exposure=Exposure(seconds=1000 * one, sky=0.1 * one, snr=25 * one, peak=np.nan * one),
    )  # fmt: skip


def paint(scenes: Scenes, instrument: Instrument, *, device: str, expected_images: int) -> Rendered:
    """Return rings in place of lensed light; fast, and no physics."""
    import torch

    axis = (torch.arange(instrument.image_size) - (instrument.image_size - 1) / 2) * instrument.pixel_scale
    y, x = torch.meshgrid(axis, axis, indexing="ij")

    def column(values: NDArray[np.float64]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32)[:, None, None]

    radius = torch.hypot(x - column(scenes.source.x), y - column(scenes.source.y))
    return Rendered(source=torch.exp(-((radius - column(scenes.halo.einstein_radius)) ** 2) / 0.1))


@dataclass(frozen=True)
class Shape:
    """Images and classes that a network is built for.

    Args:
        size: Pixels on a side.
        channels: Number of channels.
        classes: Number of classes; a task with one number for an image ignores it.
    """

    size: int
    channels: int
    classes: int

    def __str__(self) -> str:
        shape = f"{self.size} x {self.size} pixels"
        return f"{shape}, {counted(self.channels, 'channel')}, {counted(self.classes, 'class')}"
