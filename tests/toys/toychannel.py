"""A plugin file with derived channels: one that counts its images, and some that fail."""

from __future__ import annotations

from zoo.hookspecs import hookimpl
from zoo.specs import ChannelSpec

COMPUTED: list[int] = []
"""Number of images of each call."""


@hookimpl
def zoo_channels():
    return [
        ChannelSpec(
            id=f"toychannel/{name}",
            target=f"toychannel:{name}",
            arguments=arguments,
            limits="Of no use on dark lenses." if name == "doubled" else "",
        )
        for name, arguments in (
            ("doubled", {"factor": 2.0}),
            ("of_camera", {}),
            ("of_batch", {}),
            ("fixed", {}),
            ("raises", {}),
            ("too_few", {}),
            ("no_tensor", {}),
            ("turns_nan", {}),
            ("overflows", {}),
            ("random", {}),
        )
    ]


def doubled(images, camera, *, factor):
    COMPUTED.append(len(images))
    return factor * images[:, 0]


def of_camera(images, camera):
    return images[:, 0] * 0 + camera.pixel_scale


def raises(images, camera):
    raise RuntimeError("no such luck")


def too_few(images, camera):
    return images[:1, 0]


def no_tensor(images, camera):
    return images[:, 0].tolist()


def turns_nan(images, camera):
    return images[:, 0].where(images[:, :1, 0, 0, None] < images[0, 0, 0, 0], float("nan"))


def overflows(images, camera):
    return images[:, 0].double() * 1e60


def random(images, camera):
    import torch

    return images[:, 0] + torch.randn_like(images[:, 0])


def of_batch(images, camera):
    return images[:, 0] * len(images)


def fixed(images, camera):
    ramp = images.new_ones(images.shape[-1]).cumsum(0)
    return images[:, 0] * 0 + ramp
