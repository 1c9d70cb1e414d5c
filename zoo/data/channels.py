"""Derived channels: what a plugin computes from each image alone and a network gets beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo import provenance, registry
from zoo.devices import in_float32
from zoo.errors import DataError, MissingError, UsageError, nearest
from zoo.isolation import plugin_code
from zoo.plurals import counted
from zoo.schema import Record
from zoo.specs import ChannelSpec

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.host import Host
    from zoo.lensing.population import Population

SETTING = "data.channels"
IMAGE = "image"
_REPEATED = 2  # images of a shard whose derived channels are computed again
_SCENES = 256
"""Scenes that are drawn to find what all images of a population have in common; none of them is rendered."""


class Camera(Record):
    """Facts about all images of a population, as a derived channel gets them; nothing of a single image is among them.

    Args:
        image_size: Pixels per side.
        pixel_scale: Arcsec per pixel.
        psf: One of `zoo.lensing.instrument.PSFS`.
        psf_width: Sigma of the Gaussian, or radius of the Airy disk's first zero, in arcsec.
        exposure_seconds: Exposure; None where it differs between images, or pixels are not counts per second.
        sky: Background in counts per second and pixel; None where it differs between images.
        round_haloes: Whether every halo is a sphere.
        lens_light: Whether the lens galaxies shine.
    """

    image_size: int
    pixel_scale: float
    psf: str
    psf_width: float
    exposure_seconds: float | None
    sky: float | None
    round_haloes: bool
    lens_light: bool


@dataclass(frozen=True, kw_only=True)
class Channels:
    """Derived channels, ready to be computed.

    Args:
        names: Ids of the channels in their order.
        functions: Targets of their specs, with fixed arguments.
        camera: Camera of the images.
    """

    names: Sequence[str]
    functions: Sequence[Callable[[Tensor, Camera], Tensor]]
    camera: Camera

    def __len__(self) -> int:
        return len(self.names)

    def beside(self, images: Tensor) -> Tensor:
        """Return images [n, C, H, W] with the derived channels after their own, on the same device.

        Raises:
            DataError: A channel fails, or is not one number for each pixel; the error names it.
        """
        import torch

        planes = [images]
        for name, function in zip(self.names, self.functions, strict=True):
            try:
                with plugin_code(name, f"the channel {name}", may_take_long=True), torch.no_grad(), in_float32():
                    plane = function(images.clone(), self.camera)  # one that works in place changes its copy
            except (DataError, UsageError, torch.OutOfMemoryError, MemoryError):
                raise
            except Exception as error:
                raise DataError(f"The channel {name} failed: {type(error).__name__}: {error}") from error
            if not isinstance(plane, torch.Tensor):
                raise DataError(f"The channel {name} is a {type(plane).__name__}; it must be a tensor.")
            wanted = (len(images), *images.shape[2:])
            if tuple(plane.shape) != wanted or plane.device != images.device:
                raise DataError(
                    f"The channel {name} has the shape {tuple(plane.shape)} and is on {plane.device}; it must "
                    f"have {wanted} and be on the same device as the images, {images.device}."
                )
            planes.append(plane[:, None].to(images.dtype))
        return torch.cat(planes, dim=1)

    def require_finite(self, images: Tensor) -> None:
        """Check images with their derived channels: of a data set, every one must be scored.

        Raises:
            DataError: A channel is not finite; the error names it.
        """
        derived = images[:, -len(self) :].isfinite().all((2, 3))
        if not derived.all():
            counts = (~derived).sum(0).tolist()
            name, count = next((name, count) for name, count in zip(self.names, counts, strict=True) if count)
            raise DataError(
                f"The channel {name} is not finite for {count} of {counted(len(images), 'image')}.",
                hint=f"See: zoo check {name}",
            )

    def require_repeatable(self, complete: Tensor) -> None:
        """Check that the derived channels are the same when they are computed again, for copies of the first images.

        Code of a plugin leaves the global random numbers as they are, so a channel that draws from them gives the same
        numbers in every call, but others for each place in a batch.

        Args:
            complete: [n, C, H, W] images with their derived channels, from `beside`.

        Raises:
            DataError: A channel differs for both of the first two images; the error names it.
        """
        some = complete[:_REPEATED]
        if len(some) < _REPEATED:
            return  # for a single image a fit may end elsewhere by rounding
        found = some[:, -len(self) :]
        copies = self.beside(some[:, : -len(self)].repeat(2, 1, 1, 1))[:, -len(self) :].chunk(2)
        wrong = [name for number, name in enumerate(self.names) if any(unlike(found, copy)[number] for copy in copies)]
        if wrong:
            raise DataError(
                f"The channel {wrong[0]} differs when it is computed again for the same images.",
                hint=f"It must depend on the image and the camera only. See: zoo check {wrong[0]}",
            )


def unlike(found: Tensor, again: Tensor) -> Tensor:
    """Return for each of C channels [n, C, H, W] whether every image differs by more than a tenth of the spread."""
    spread = found.std((0, 2, 3)).clamp_min(1e-5 * found.abs().amax((0, 2, 3)))
    return ((found - again).abs().amax((2, 3)) > 0.1 * spread).all(0)


def read_channels(host: Host, value: Any) -> dict[str, str]:
    """Return what `Recipe.channels` holds of the derived channels that a setting names.

    Args:
        host: The plugins.
        value: "image,residual", or a list of the names; the image itself comes first.

    Raises:
        UsageError: The image is not the first of them, or a name is unknown or given twice.
        MissingError: The plugin of a channel is absent.
    """
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"channels={value!r} must be names such as image,residual.", hint=_known(host))
    names = [name.strip() for name in names]
    if names[:1] != [IMAGE]:
        near = nearest(names[0], [IMAGE]) if names else ""
        raise UsageError(f"channels={value!r} must begin with '{IMAGE}', the image itself.{near}", hint=_known(host))
    if len(set(names)) < len(names):
        raise UsageError(f"channels={value!r} names a channel twice.")
    specs = [registry.find(host, ChannelSpec, name) for name in names[1:]]
    found = {
        spec.id: " ".join([str(spec.version), *map(" ".join, provenance.image_code(host, spec.id).items())])
        for spec in specs
    }
    if len(found) < len(specs):
        raise UsageError(f"channels={value!r} names a channel twice.")
    return dict(sorted(found.items()))


def _known(host: Host) -> str:
    names = ", ".join([IMAGE, *(spec.name for spec in registry.listed(host, ChannelSpec))])
    return f"Known are: {names}"


def camera_of(population: Population, stream: str) -> Camera:
    """Return what all images of a population have in common.

    Args:
        population: Population of the images.
        stream: Name of the training images' random numbers (`Recipe.stream`).
    """
    import numpy as np

    from zoo.data.truth import common_truth, truth_arrays

    instrument = population.instrument
    common = common_truth(truth_arrays(population.sample(np.arange(_SCENES), stream)))
    return Camera(
        image_size=instrument.image_size,
        pixel_scale=instrument.pixel_scale,
        psf=instrument.psf,
        psf_width=instrument.psf_width,
        exposure_seconds=common.exposure_seconds,
        sky=common.sky,
        round_haloes=bool(common.round_haloes),
        lens_light=bool(common.lens_light),
    )


def open_channels(host: Host, versions: Mapping[str, str], camera: Camera, *, of: str) -> Channels:
    """Return derived channels, ready to be computed.

    Args:
        host: The plugins.
        versions: Id -> version, as in `Recipe.channels`. Code of others' plugins is not compared here; that of a run is
            (`Cell.versions`).
        camera: Camera of the images.
        of: Name of what needs them for an error, such as "modelB" or a file of weights.

    Raises:
        MissingError: The plugin of a channel is absent.
        DataError: The installed channel is of another version.
    """
    names, functions = sorted(versions), []
    for name in names:
        try:
            spec = registry.find(host, ChannelSpec, name)
        except UsageError as error:  # the word of a file
            raise MissingError(
                f"{of} needs the channel {name}, which is not provided by an installed plugin.", hint="See: zoo plugins"
            ) from error
        needed = versions[name].partition(" ")[0]
        if str(spec.version) != needed:
            raise DataError(f"{of} needs version {needed} of the channel {name}; installed is version {spec.version}.")
        functions.append(_with_arguments(registry.load_target(spec), spec))
    return Channels(names=names, functions=functions, camera=camera)


def _with_arguments(target: Callable[..., Tensor], spec: ChannelSpec) -> Callable[[Tensor, Camera], Tensor]:
    return lambda images, camera: target(images, camera, **spec.arguments)


def describe_channels(versions: Mapping[str, str]) -> str:
    """Return "image, residual" for readers of `Recipe.channels`, with versions above the first; "" without any."""
    names = [
        " ".join([name.rpartition("/")[2], *([number] if number != "1" else [])])
        for name, number in sorted((name, version.partition(" ")[0]) for name, version in versions.items())
    ]
    return ", ".join([IMAGE, *names]) if names else ""
