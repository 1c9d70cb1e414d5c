"""About fifty numbers of an image that say how much light there is, where, and how uneven it is.

A classifier on these numbers is a baseline: a network that does not beat it has learnt nothing that they miss.

All are computed in float64 on the light L: the sum over the channels, minus the median of the image's border. The
noise n is 1.4826 times the median absolute deviation of the border. P is the light above the noise, max(L - n, 0).
Positions are in pixels from the image's centre, which is the lens: x, y, distance r and angle phi. A mean <q> is
weighted with P. Numbers that compare light with light do not change where an image is multiplied by a factor; no
number but rounding changes where it is turned by 90 degrees or mirrored.

Gini and M20: Lotz et al. 2004, AJ 128, 163. Asymmetry: Conselice 2003, ApJS 147, 1.
"""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import one_hot

ORDERS = range(1, 9)
"""Orders m of the azimuthal moments."""
BANDS = 8
SECTORS = 16
_TINY = 1e-300
_ENTRIES = 2**24
"""Entries of a matrix of pixels and rings; that of an image of 256 x 256 pixels has half as many."""


class Light:
    """The light of images and what several scalars share.

    Args:
        images: [n, C, H, W].
    """

    def __init__(self, images: Tensor) -> None:
        # MPS has no float64.
        images = images.cpu() if images.device.type == "mps" else images
        light = images.double().sum(1)
        height, width = light.shape[1:]
        y, x = (torch.arange(size, device=light.device, dtype=light.dtype) - (size - 1) / 2 for size in (height, width))
        self.x, self.y = x.expand(height, width), y[:, None].expand(height, width)
        self.r, self.phi = torch.hypot(self.x, self.y), torch.atan2(self.y, self.x)
        self.half = min(height, width) / 2
        edge = max(1, min(height, width) // 16)
        border = torch.ones(height, width, dtype=torch.bool, device=light.device)
        if min(height, width) > 2 * edge:
            border[edge:-edge, edge:-edge] = False
        margin = light[:, border]
        level = _median(margin)
        self.light = light - level[:, None, None]
        self.noise = 1.4826 * _median((margin - level[:, None]).abs())
        self.above = (self.light - self.noise[:, None, None]).clamp_min(0)
        self.total = self.above.sum((1, 2)).clamp_min(_TINY)
        self.peak = self.light.amax((1, 2)).clamp_min(_TINY)

    def mean(self, values: Tensor) -> Tensor:
        """Return <values>, [n], of values [H, W] or [n, H, W]."""
        weighted: Tensor = self.above * values
        return weighted.sum((1, 2)) / self.total

    @cached_property
    def radius(self) -> Tensor:
        """<r>."""
        return self.mean(self.r)

    @cached_property
    def centroid(self) -> tuple[Tensor, Tensor]:
        """<x>, <y>."""
        return self.mean(self.x), self.mean(self.y)

    @cached_property
    def quadrupole(self) -> tuple[Tensor, Tensor, Tensor]:
        """<xx>, <yy>, <xy> about the centroid."""
        x, y = (self.x - self.centroid[0][:, None, None]), (self.y - self.centroid[1][:, None, None])
        return self.mean(x * x), self.mean(y * y), self.mean(x * y)


DEFINITIONS: dict[str, str] = {
    "flux": "sum of L",
    "flux above noise": "sum of P",
    "peak": "largest L",
    "noise": "n",
    "peak over noise": "peak / n",
    "centre": "mean of L within a sixteenth of the image's width from the centre",
    "radius": "<r>",
    "width": "root of <(r - <r>)^2>",
    "radius 20": "distance within which 20 % of P lie",
    "radius 50": "distance within which 50 % of P lie",
    "radius 80": "distance within which 80 % of P lie",
    "ring radius": "distance of the brightest ring of one pixel's width",
    "ring amplitude": "mean of L in this ring",
    "ring contrast": "ring amplitude over peak",
    "ring width": "number of rings with more than half of its amplitude",
    "offset": "distance of the centroid (<x>, <y>) from the centre",
    "size": "root of <xx> + <yy> about the centroid",
    "ellipticity": "length of (<xx> - <yy>, 2 <xy>) over <xx> + <yy>",
    **{f"light m={m}": f"modulus of <exp(i {m} phi)>" for m in ORDERS},
    **{f"ring m={m}": f"modulus of <(r - <r>) exp(i {m} phi)>, over <r>" for m in ORDERS},
    "gap": "smallest P of a sector of 22.5 degrees, over the mean of the sectors",
    "arc": "largest P of a sector, over the mean of the sectors",
    "roughness": "root mean square of the change of P from sector to sector, over the mean of the sectors",
    "waviness": "root mean square of the change of <r> from sector to sector, over that of the image",
    "asymmetry 180": "sum |P - P turned by 180 degrees| over 2 sum P",
    "asymmetry 90": "the same for 90 degrees; 0 where the image is not square",
    "Gini": "Gini coefficient of P",
    "M20": "log10 of the share of <r r> about the centroid that belongs to the brightest 20 % of P",
    "filled": "(sum P)^2 over sum P^2, over the number of pixels",
    "area half": "share of pixels above half the peak",
    "area noise": "share of pixels above 5 n",
    "spots": "number of pixels above 5 n that are brighter than their eight neighbours",
    "median": "median of L over peak",
    "quantile 90": "90 % quantile of L over peak",
    "quantile 99": "99 % quantile of L over peak",
    "skewness": "third standardised moment of L",
    "kurtosis": "fourth standardised moment of L",
    "gradient": "sum of the modulus of L's gradient, over sum P",
    "Laplacian": "sum |D| over sum P; D is the sum of the four neighbours minus four times the pixel",
    "Laplacian rms": "root mean square of D, over peak",
    "Laplacian dip": "largest D over peak",
    "Laplacian spike": "smallest D over peak",
    **{f"band {k}": f"log10 of the share of power from {k}/16 to {k + 1}/16 cycles per pixel" for k in range(BANDS)},
}
"""Name of each scalar -> its definition."""

NAMES = tuple(DEFINITIONS)


def scalars_of(images: Tensor) -> Tensor:
    """Return all scalars of images, [n, len(NAMES)] in float64; those of an image do not depend on the others.

    Args:
        images: [n, C, H, W] of at least 4 x 4 pixels, as they were stored; channels are added up.
    """
    light = Light(images)
    found: dict[str, Tensor] = {}
    for family in (_amount, _radial, _azimuthal, _symmetry, _distribution, _detail):
        found |= family(light)
    return torch.stack([found[name] for name in NAMES], 1).nan_to_num(0, 0, 0).to(images.device)


def _amount(image: Light) -> dict[str, Tensor]:
    return {
        "flux": image.light.sum((1, 2)),
        "flux above noise": image.above.sum((1, 2)),
        "peak": image.light.amax((1, 2)),
        "noise": image.noise,
        "peak over noise": _over(image.peak, image.noise),
        "centre": image.light[:, image.r <= max(1.0, image.half / 8)].mean(1),
    }


def _radial(image: Light) -> dict[str, Tensor]:
    distances = image.r.flatten().sort(stable=True).values
    within = image.above.flatten(1)[:, image.r.flatten().argsort(stable=True)].cumsum(1) / image.total[:, None]
    held = {
        f"radius {share}": distances[(within < share / 100).sum(1).clamp_max(len(distances) - 1)]
        for share in (20, 50, 80)
    }
    ring_of, light = image.r.round().long().flatten(), image.light.flatten(1)
    rings = torch.arange(int(image.half) + 1, device=light.device)  # out to the image's edge
    sums, counts = light.new_zeros(len(light), len(rings)), light.new_zeros(len(rings))
    # Sums over groups of pixels are matrix products, which are fast; block by block, since the matrix of all pixels of
    # a large image would need the memory of thousands of such images.
    at_a_time = max(1, _ENTRIES // len(rings))
    for start in range(0, len(ring_of), at_a_time):
        of_ring = (ring_of[start : start + at_a_time, None] == rings).double()
        sums += light[:, start : start + at_a_time] @ of_ring
        counts += of_ring.sum(0)
    profile = sums / counts.clamp_min(1)
    amplitude, ring = profile.max(1)
    xx, yy, xy = image.quadrupole
    return held | {
        "radius": image.radius,
        "width": image.mean((image.r - image.radius[:, None, None]) ** 2).sqrt(),
        "ring radius": ring.double(),
        "ring amplitude": amplitude,
        "ring contrast": amplitude / image.peak,
        "ring width": (profile > amplitude[:, None] / 2).sum(1).double(),
        "offset": torch.hypot(*image.centroid),
        "size": (xx + yy).sqrt(),
        "ellipticity": _over(torch.hypot(xx - yy, 2 * xy), xx + yy),
    }


def _azimuthal(image: Light) -> dict[str, Tensor]:
    # The centre of an image with an odd number of pixels has no direction.
    turned = (image.r > 0).double()
    waves = [turned * wave(m * image.phi) for wave in (torch.cos, torch.sin) for m in ORDERS]
    basis = torch.stack(waves).flatten(1).T
    away = image.above * (image.r - image.radius[:, None, None])
    light, ring = (
        torch.hypot(*(weight.flatten(1) @ basis / image.total[:, None]).chunk(2, dim=1))
        for weight in (image.above, away)
    )
    found = {f"light m={m}": light[:, k] for k, m in enumerate(ORDERS)}
    found |= {f"ring m={m}": _over(ring[:, k], image.radius) for k, m in enumerate(ORDERS)}
    # The sectors' borders miss the centres of all pixels, and a quarter turn moves borders to borders.
    which = (image.phi / (2 * math.pi) * SECTORS + 0.5).floor().long() % SECTORS
    sectors = (one_hot(which, SECTORS) * turned[:, :, None]).flatten(0, 1)
    inside = image.above.flatten(1) @ sectors
    radius = _over((image.above * image.r).flatten(1) @ sectors, inside) / image.radius[:, None].clamp_min(_TINY)
    flux = inside / image.total[:, None] * SECTORS
    return found | {
        "gap": flux.amin(1),
        "arc": flux.amax(1),
        "roughness": (flux - flux.roll(1, 1)).square().mean(1).sqrt(),
        "waviness": (radius - radius.roll(1, 1)).square().mean(1).sqrt(),
    }


def _symmetry(image: Light) -> dict[str, Tensor]:
    light = image.above

    def change(quarters: int) -> Tensor:
        return (light - light.rot90(quarters, (1, 2))).abs().sum((1, 2)) / (2 * image.total)

    square = light.shape[1] == light.shape[2]
    return {"asymmetry 180": change(2), "asymmetry 90": change(1) if square else torch.zeros_like(image.total)}


def _distribution(image: Light) -> dict[str, Tensor]:
    pixels, above = image.light.flatten(1), image.above.flatten(1)
    count = pixels.shape[1]
    ordered, order = pixels.sort(dim=1, descending=True, stable=True)  # the order of P, too
    descending = above.gather(1, order)
    rank = count + 1 - 2 * torch.arange(1, count + 1, device=above.device, dtype=above.dtype)
    x, y = (centre[:, None, None] for centre in image.centroid)
    moments = (image.above * ((image.x - x) ** 2 + (image.y - y) ** 2)).flatten(1)
    bright = descending.cumsum(1) <= 0.2 * image.total[:, None]
    centred = pixels - pixels.mean(1, keepdim=True)
    variance = centred.square().mean(1)
    return {
        "Gini": (descending * rank).sum(1) / (image.total * (count - 1)),
        "M20": _log(_over((moments.gather(1, order) * bright).sum(1), moments.sum(1))),
        "filled": _over(above.sum(1) ** 2, above.square().sum(1) * count),
        "area half": (pixels > image.peak[:, None] / 2).double().mean(1),
        "area noise": (pixels > 5 * image.noise[:, None]).double().mean(1),
        "median": ordered[:, count // 2] / image.peak,
        "quantile 90": ordered[:, count // 10] / image.peak,
        "quantile 99": ordered[:, count // 100] / image.peak,
        "skewness": _over((centred**3).mean(1), variance**1.5),
        "kurtosis": _over((centred**4).mean(1), variance**2),
    }


def _detail(image: Light) -> dict[str, Tensor]:
    light = image.light
    height, width = light.shape[1:]
    inner = light[:, 1:-1, 1:-1]
    around = {
        (row, column): light[:, row : row + height - 2, column : column + width - 2]
        for row in range(3)
        for column in range(3)
        if (row, column) != (1, 1)
    }
    spots = inner > 5 * image.noise[:, None, None]
    for neighbour in around.values():
        spots &= inner > neighbour
    up, down, left, right = around[0, 1], around[2, 1], around[1, 0], around[1, 2]
    second = up + down + left + right - 4 * inner
    power = torch.fft.fft2(light).abs().square().flatten(1)
    rows, columns = (torch.fft.fftfreq(size, device=power.device, dtype=power.dtype) for size in (height, width))
    band = (torch.hypot(rows[:, None], columns) / 0.5 * BANDS).floor().long().clamp_max(BANDS - 1).flatten()
    power[:, 0] = 0  # the mean
    shares = power @ one_hot(band, BANDS).double() / power.sum(1, keepdim=True).clamp_min(_TINY)
    return {
        "spots": spots.sum((1, 2)).double(),
        "gradient": torch.hypot(down - up, right - left).sum((1, 2)) / (2 * image.total),
        "Laplacian": second.abs().sum((1, 2)) / image.total,
        "Laplacian rms": second.square().mean((1, 2)).sqrt() / image.peak,
        "Laplacian dip": second.amax((1, 2)) / image.peak,
        "Laplacian spike": second.amin((1, 2)) / image.peak,
        **{f"band {k}": _log(shares[:, k]) for k in range(BANDS)},
    }


def _median(values: Tensor) -> Tensor:
    """Return [n], the mean of the two middle values where their number is even."""
    ordered = values.sort(1).values
    count = ordered.shape[1]
    return (ordered[:, (count - 1) // 2] + ordered[:, count // 2]) / 2


def _over(above: Tensor, below: Tensor) -> Tensor:
    """Return a quotient; 0 where the denominator is 0."""
    return torch.where(below > _TINY, above / below.clamp_min(_TINY), 0.0)


def _log(values: Tensor) -> Tensor:
    return values.clamp_min(1e-12).log10()
