"""Checks of simulators: images of scenes that every simulator must render, and of masses that it declares."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo import registry
from zoo.budgets import BUDGETS
from zoo.isolation import contained
from zoo.lensing.instrument import Instrument
from zoo.plan.overrides import data_params
from zoo.specs import DatasetSpec, SimulatorSpec
from zoo.testing.outcome import ConformanceError, NotApplicable, at, named, require
from zoo.testing.scenes import arrays_of
from zoo.testing.surroundings import left_as_they_are
from zoo.testing.toys import lenses

if TYPE_CHECKING:
    from zoo.host import Host
    from zoo.lensing.scenes import Scenes

IMAGES = 4
INSTRUMENTS = (
    Instrument(image_size=32, pixel_scale=0.12),
    Instrument(image_size=33, pixel_scale=0.1, over_sampling=1, psf="none"),
)


@dataclass
class SimulatorSubject:
    """A simulator with the scenes that it renders.

    Args:
        host: The plugins.
        spec: Spec of the simulator.
        dataset: Id or name of a population whose scenes it renders as well; "" for the kit's own only.
        cached: Values that the checks share.
        number: Number of the case that `cases` has yielded last.
    """

    host: Host
    spec: SimulatorSpec
    dataset: str = ""
    cached: dict[str, Any] = field(default_factory=dict)
    number: int = 0

    def cases(self) -> Iterator[tuple[Instrument, Scenes]]:
        """Yield instruments and scenes."""
        for self.number, instrument in enumerate(INSTRUMENTS):
            at(f"{instrument.image_size} x {instrument.image_size} pixels, PSF {instrument.psf}")
            yield instrument, lenses(np.arange(IMAGES), "conformance")
        if self.dataset:
            spec = registry.find(self.host, DatasetSpec, self.dataset)
            population = registry.load_target(spec)(**data_params(spec, BUDGETS["smoke"], {}))
            at(spec.id)
            self.number = len(INSTRUMENTS)
            yield population.instrument, population.sample(np.arange(IMAGES), "conformance")

    def render(self, scenes: Scenes, instrument: Instrument, *, expected_images: int = IMAGES) -> NDArray[np.floating]:
        """Return images [n, H, W] as the target makes them."""
        target = registry.load_target(self.spec)
        found = target(scenes, instrument, device="cpu", expected_images=expected_images)
        pixels: NDArray[np.floating] = found.source.detach().cpu().numpy().copy()
        return pixels

    def images(self, scenes: Scenes, instrument: Instrument, *, time: int = 1) -> NDArray[np.floating]:
        """Return the images of the case that `cases` has yielded last, rendered once (or twice) for all checks."""
        key = f"images {self.number}, {time}"
        if key not in self.cached:
            self.cached[key] = self.render(scenes, instrument)
        found: NDArray[np.floating] = self.cached[key]
        return found

    def works(self) -> None:
        """Leave a check out where the target fails.

        Raises:
            NotApplicable: It fails, which the check 'renders' reports.
        """
        if "works" not in self.cached:
            try:
                with contained():
                    renders(self)
            except Exception:
                self.cached["works"] = False
        if not self.cached["works"]:
            raise NotApplicable("it renders nothing, see the check 'renders'")


def signature(subject: SimulatorSubject) -> None:
    """The target is called as render(scenes, instrument, *, device, expected_images)."""
    target = registry.load_target(subject.spec)
    try:
        form = inspect.signature(target)
    except (TypeError, ValueError):
        raise NotApplicable("its signature cannot be read") from None
    try:
        form.bind(None, None, device="cpu", expected_images=1)
    except TypeError as error:
        raise ConformanceError(
            f"{subject.spec.target}{form} does not take the arguments of the contract: {error}.",
            hint="Write: def render(scenes, instrument, *, device, expected_images)",
        ) from error


def renders(subject: SimulatorSubject) -> None:
    """Images have the shape of the instrument, one for each scene, and hold light."""
    from zoo.lensing.observe import Rendered

    for instrument, scenes in subject.cases():
        target = registry.load_target(subject.spec)
        found = target(scenes, instrument, device="cpu", expected_images=IMAGES)
        require(isinstance(found, Rendered), f"It returns a {type(found).__name__}, not a Rendered.")
        images = subject.cached[f"images {subject.number}, 1"] = found.source.detach().cpu().numpy().copy()
        shape = (IMAGES, instrument.image_size, instrument.image_size)
        require(images.shape == shape, f"Images of shape {images.shape}, not {shape}.")
        require(not (images == 0).all((1, 2)).any(), "An image is empty.")
    subject.cached["works"] = True


def finite(subject: SimulatorSubject) -> None:
    """Images are finite, and nowhere negative beyond rounding."""
    subject.works()
    for instrument, scenes in subject.cases():
        images = subject.images(scenes, instrument)
        require(bool(np.isfinite(images).all()), "Images are not finite.")
        require(bool(images.min() >= -1e-3 * images.max()), "Images hold negative light.", hint="Add no noise or sky.")


def noiseless(subject: SimulatorSubject) -> None:
    """The same scenes give the same images twice: the core adds sky and noise."""
    subject.works()
    for instrument, scenes in subject.cases():
        same = np.array_equal(subject.images(scenes, instrument), subject.images(scenes, instrument, time=2))
        require(same, "The same scenes give other images the second time.", hint="Draw no random numbers.")


def batch_independence(subject: SimulatorSubject) -> None:
    """An image does not depend on the other scenes of its batch, on their order, nor on how many more are expected."""
    subject.works()
    for instrument, scenes in subject.cases():
        together = subject.images(scenes, instrument)
        for some in (np.array([2]), np.array([3, 0, 1])):
            alone = subject.render(scenes[some], instrument, expected_images=IMAGES + 1)
            require(np.array_equal(together[some], alone), "An image depends on its batch.")


def scenes_kept(subject: SimulatorSubject) -> None:
    """Rendering leaves the scenes as they are."""
    subject.works()
    for instrument, scenes in subject.cases():
        before = copy.deepcopy(dict(arrays_of(scenes)))
        subject.cached[f"images {subject.number}, 2"] = subject.render(scenes, instrument)
        for name, values in arrays_of(scenes):
            require(np.array_equal(values, before[name], equal_nan=True), f"It changes {name} of the scenes.")


def linear(subject: SimulatorSubject) -> None:
    """A source of twice the brightness gives images of twice the brightness."""
    subject.works()
    instrument, scenes = INSTRUMENTS[0], lenses(np.arange(2), "conformance")
    source: Any = scenes.source
    brighter = dataclasses.replace(scenes, source=dataclasses.replace(source, intensity=2 * source.intensity))
    once, twice = subject.render(scenes, instrument), subject.render(brighter, instrument)
    require(
        bool(np.allclose(twice, 2 * once, rtol=1e-3, atol=1e-4 * once.max())),
        "A source of twice the brightness does not give images of twice the brightness.",
        hint="Return noiseless counts without a scaling; the core scales them.",
    )


def place(subject: SimulatorSubject) -> None:
    """Without a lens, light is where its source is: x to the columns, y to the rows, both from the centre."""
    subject.works()
    instrument, x, y = INSTRUMENTS[0], np.array([0.5, -0.3]), np.array([-0.2, 0.6])
    scenes = lenses(np.arange(2), "conformance")
    zero = np.zeros(2)
    source: Any = scenes.source
    scenes = dataclasses.replace(
        scenes,
        halo=dataclasses.replace(scenes.halo, einstein_radius=zero + 1e-3),
        shear=dataclasses.replace(scenes.shear, gamma_1=zero, gamma_2=zero),
        points=dataclasses.replace(scenes.points, einstein_radius=zero[:, None] + 1e-3),
        source=dataclasses.replace(source, x=x, y=y, axis_ratio=zero + 1, effective_radius=zero + 0.25),
    )
    images = subject.render(scenes, instrument)
    axis = (np.arange(instrument.image_size) - (instrument.image_size - 1) / 2) * instrument.pixel_scale
    light = images.sum((1, 2))
    found = (images.sum(1) * axis).sum(1) / light, (images.sum(2) * axis).sum(1) / light
    for number in range(2):
        at = f"x={found[0][number]:.2f}, y={found[1][number]:.2f} arcsec"
        wanted = f"x={x[number]:.2f}, y={y[number]:.2f}"
        off = np.hypot(found[0][number] - x[number], found[1][number] - y[number])
        require(
            bool(off < 0.5 * instrument.pixel_scale),
            f"The light of a source at {wanted} that no mass deflects is at {at}.",
            hint="images[i, row, column] is at x of the column and y of the row; the centre of the image is 0, 0.",
        )


def psf(subject: SimulatorSubject) -> None:
    """Images are convolved with the PSF of the instrument, which lowers their peak."""
    subject.works()
    instrument, scenes = INSTRUMENTS[0], lenses(np.arange(2), "conformance")
    without = dataclasses.replace(instrument, psf="none")
    peaks = [subject.render(scenes, one).max((1, 2)) for one in (instrument, without)]
    require(
        bool((peaks[0] < (1 - 1e-3) * peaks[1]).all()),
        f"The PSF does not lower the peak of an image: {peaks[0][0]:.4g} with it, {peaks[1][0]:.4g} without.",
        hint="Convolve with instrument.psf_kernel(); the core adds no PSF.",
    )


def masses(subject: SimulatorSubject) -> None:
    """Every kind of mass that its spec declares changes the images."""
    if not subject.spec.masses:
        raise NotApplicable("its spec declares no masses beside halo, shear and point masses")
    subject.works()
    for instrument, scenes in subject.cases():
        some = np.arange(2)
        together = subject.images(scenes, instrument)[some]
        for name in subject.spec.masses:
            with_mass = subject.render(_with_mass(scenes[some], name), instrument)
            require(bool(np.isfinite(with_mass).all()), f"Images of scenes with {name} are not finite.")
            seen = np.abs(with_mass - together).max((1, 2)) > 1e-3 * together.max((1, 2))
            require(bool(seen.all()), f"its spec declares masses={name!r}, but it renders the same images without them")


def global_state(subject: SimulatorSubject) -> None:
    """Rendering leaves settings that all code shares and the working folder as they are."""
    with left_as_they_are():
        subject.works()
        subject.render(lenses(np.arange(2), "conformance"), INSTRUMENTS[0])


def _with_mass(scenes: Scenes, name: str) -> Scenes:
    """Return scenes with a mass that `SimulatorSpec.masses` names, large enough to be seen."""
    from zoo.lensing.scenes import Multipoles, TruncatedHaloes

    one = np.ones(len(scenes))
    if name == "multipoles":
        bent = Multipoles(amplitude_3=0.1 * one, angle_3=one, amplitude_4=0.1 * one, angle_4=one)
        return dataclasses.replace(scenes, multipoles=bent)
    column = one[:, None]
    haloes = TruncatedHaloes(
        # Off the centres of pixels: profiles may be 0/0 where a ray meets the scale radius exactly (PyAutoLens).
        x=1.0123 * column, y=0.9871 * column, einstein_radius=0.5 * column, scale_radius=0.5 * column,
        truncation_radius=2 * column,
    )  # fmt: skip
    return dataclasses.replace(scenes, truncated_haloes=haloes)


CHECKS = named(
    signature, renders, finite, scenes_kept, noiseless, batch_independence, linear, place, psf, masses,
    global_state,
)  # fmt: skip
