"""Checks of derived channels: one finite number for each pixel, which depends on its image and the camera only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo import registry
from zoo.budgets import BUDGETS
from zoo.data.channels import IMAGE, Camera, read_channels, unlike
from zoo.data.open import Dataset
from zoo.plan.overrides import data_params
from zoo.plan.recipes import make_recipe
from zoo.specs import ChannelSpec, DatasetSpec
from zoo.testing.outcome import NotApplicable, at, named, require
from zoo.testing.surroundings import left_as_they_are

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.host import Host

SIZES = (32, 33)


@dataclass
class ChannelSubject:
    """A derived channel.

    Args:
        host: The plugins.
        spec: Spec of the channel.
        dataset: Id or name of a population of whose images it is computed as well; "" for the kit's own only.
    """

    host: Host
    spec: ChannelSpec
    dataset: str = ""
    cached: dict[str, Any] = field(default_factory=dict)

    def cases(self) -> Iterator[tuple[Camera, Tensor]]:
        """Yield cameras and images of blurred rings with noise."""
        import torch

        for size in SIZES:
            generator = torch.Generator().manual_seed(0)
            axis = torch.arange(size) - (size - 1) / 2
            radius = torch.hypot(axis[:, None], axis[None, :])
            rings = torch.stack([300 * torch.exp(-((radius - size / 4 - k) ** 2) / 8) for k in range(4)])
            images = (rings + 100 + 10 * torch.randn(4, size, size, generator=generator))[:, None]
            camera = Camera(
                image_size=size, pixel_scale=3.2 / size, psf="gaussian", psf_width=0.1, exposure_seconds=1000.0,
                sky=0.1, round_haloes=False, lens_light=False,
            )  # fmt: skip
            at(f"{size} x {size} pixels")
            yield camera, images
        if self.dataset:
            at(self.dataset)
            yield self._images_of_population()

    def _images_of_population(self) -> tuple[Camera, Tensor]:
        """Return the camera and four images of the population, as the harness renders them."""
        spec = registry.find(self.host, DatasetSpec, self.dataset)
        recipe = make_recipe(
            self.host, spec, params=data_params(spec, BUDGETS["smoke"], {}), simulator="", device="cpu",
            channels=read_channels(self.host, [IMAGE, self.spec.id]),
        )  # fmt: skip
        simulation = Dataset(self.host, recipe, {}).simulation(expected_images=4)
        _, observed = simulation.expose("conformance", np.arange(4))
        assert simulation.channels is not None  # the recipe names one
        return simulation.channels.camera, observed.image[:, None]

    def plane(self, images: Tensor, camera: Camera) -> Tensor:
        """Return the channel [n, H, W] of images."""
        import torch

        with torch.no_grad():
            found: Tensor = registry.load_target(self.spec)(images, camera, **self.spec.arguments)
        return found

    def works(self) -> None:
        """Leave a check out where the target fails.

        Raises:
            NotApplicable: It fails, which the check 'plane' reports.
        """
        if "works" not in self.cached:
            try:
                plane(self)
                self.cached["works"] = True
            except Exception:
                self.cached["works"] = False
        if not self.cached["works"]:
            raise NotApplicable("it computes nothing, see the check 'plane'")


def plane(subject: ChannelSubject) -> None:
    """It gives one finite number for each pixel."""
    for camera, images in subject.cases():
        found = subject.plane(images, camera)
        shape = (len(images), *images.shape[2:])
        require(tuple(found.shape) == shape, f"It has the shape {tuple(found.shape)}, not {shape}.")
        require(bool(found.isfinite().all()), "It is not finite.")
        varies = float(found.std()) > 1e-6 * float(found.abs().max())
        require(varies, "It is the same number everywhere.", hint="Is the right function named as the target?")


def repetition(subject: ChannelSubject) -> None:
    """It is the same when it is computed again, for two copies of the images."""
    subject.works()
    for camera, images in subject.cases():
        found = subject.plane(images, camera)[:, None]
        for copy in subject.plane(images.repeat(2, 1, 1, 1), camera)[:, None].chunk(2):
            same = not bool(unlike(found, copy).any())
            hint = "It must depend on the image and the camera only, not on random numbers."
            require(same, "It differs when it is computed again for the same images.", hint=hint)


def batch_independence(subject: ChannelSubject) -> None:
    """The channel of an image does not depend on the other images of its batch."""
    subject.works()
    for camera, images in subject.cases():
        alone, together = subject.plane(images[2:3], camera), subject.plane(images, camera)[2:3]
        _close(alone, together, "It depends on the other images of its batch")


def turns_with_the_image(subject: ChannelSubject) -> None:
    """Where the image is turned or mirrored, the channel turns with it."""
    subject.works()
    for camera, images in subject.cases():
        found = subject.plane(images, camera)
        _close(
            subject.plane(images.rot90(1, (2, 3)), camera), found.rot90(1, (1, 2)), "It does not turn with the image"
        )
        _close(subject.plane(images.flip(3), camera), found.flip(2), "It is not mirrored with the image")


def images_kept(subject: ChannelSubject) -> None:
    """Computing it leaves the images as they are."""
    subject.works()
    for camera, images in subject.cases():
        given = images.clone()
        subject.plane(given, camera)
        require(bool((given == images).all()), "It changes the images that it gets.", hint="Work on a copy of them.")


def global_state(subject: ChannelSubject) -> None:
    """Computing it leaves settings that all code shares and the working folder as they are."""
    with left_as_they_are():
        subject.works()
        for camera, images in subject.cases():
            subject.plane(images, camera)


def _close(found: Tensor, expected: Tensor, problem: str) -> None:
    """Compare channels, relative to the spread of the numbers."""
    error = float((found - expected).abs().max() / expected.std().clamp_min(1e-12))
    require(error <= 0.1, f"{problem}: by {error:.1e} of its spread.")


CHECKS = named(plane, repetition, batch_independence, turns_with_the_image, images_kept, global_state)
