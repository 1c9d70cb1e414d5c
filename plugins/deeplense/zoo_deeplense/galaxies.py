"""Cuts galaxies out of a picture of the sky: one stack of equal squares, cleaned of their neighbours."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zoo.data.content import content_digest
from zoo.data.image_file import Unreadable, check_size, read_npy
from zoo.errors import DataError, UsageError
from zoo.lensing.scenes import Array
from zoo.paths import user_path

CUT_SIZE = 64
LEAST_AREA = 80  # pixels above the threshold: smaller ones show no structure
THRESHOLD = 4.0  # above the sky, in units of its scatter after smoothing
SMOOTHING = 1.0  # pixels
SATURATED, MOST_SATURATED = 0.98, 0.08  # of the brightest value; a larger share of such pixels is a star
LEAST_SOLIDITY = 0.8  # of a region in its convex hull: groups, and stars with spikes, fill less of it
MARGIN = 1.3  # of a cut-out's half side over the galaxy's largest extent


@dataclass(frozen=True, kw_only=True)
class Galaxies:
    """Pictures of galaxies.

    Args:
        pixels: [m, CUT_SIZE, CUT_SIZE] with sum 1 each and no negative value.
        half_light_radius: [m] pixels, around the centre of the light.
    """

    pixels: Array
    half_light_radius: Array

    def __len__(self) -> int:
        return len(self.pixels)


def load_galaxies(pictures: str | None) -> Galaxies:
    """Return the galaxies of a file, or of the Hubble picture that scikit-image ships.

    That picture is the Hubble eXtreme Deep Field; NASA has put it into the public domain.

    Args:
        pictures: Path of a .npy with a picture of the sky, [H, W], [H, W, 1] or [H, W, 3], which is cut up, or with
            cut-outs [m, h, w]; None for the Hubble picture.

    Raises:
        UsageError: The file does not hold this array.
        DataError: The file cannot be read or does not contain galaxies.
    """
    return _load(pictures, "" if pictures is None else content_digest(user_path(pictures)))


@functools.lru_cache(maxsize=8)
def _load(pictures: str | None, digest: str) -> Galaxies:
    """Return the galaxies of a file whose content has this digest: it may change while this process runs."""
    if pictures is None:
        from skimage.data import hubble_deep_field

        return cut_out(hubble_deep_field())
    try:
        array = read_npy(user_path(pictures)).array
        check_size(array.shape)
    except (OSError, Unreadable, ValueError) as error:
        raise DataError(f"Cannot read pictures of galaxies from {pictures}: {error}.") from error
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise UsageError(f"{pictures} must hold finite numbers.")
    if array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3)):
        return cut_out(array)
    if array.ndim != 3 or min(array.shape) < 1:
        raise UsageError(f"{pictures} of shape {array.shape} is neither [H, W], [H, W, 1], [H, W, 3] nor [m, h, w].")
    return _finished([_resized(np.clip(cut, 0, None).astype(float)) for cut in array], where=pictures)


def cut_out(picture: NDArray[np.generic]) -> Galaxies:
    """Return the galaxies that stand out of a picture's background.

    Args:
        picture: [H, W] or [H, W, 3]; colours are averaged.
    """
    from skimage.filters import gaussian
    from skimage.measure import label, regionprops

    grey = np.asarray(picture, dtype=np.float64)
    grey = grey.mean(2) if grey.ndim == 3 else grey
    smooth = gaussian(grey, SMOOTHING)
    sky = np.median(smooth)
    scatter = 1.4826 * np.median(np.abs(smooth - sky))
    regions = label(smooth > sky + THRESHOLD * scatter)
    brightest = grey.max()
    cuts = []
    for region in regionprops(regions, intensity_image=grey):
        saturated = (region.image_intensity > SATURATED * brightest).sum() / region.area
        if region.area < LEAST_AREA or saturated > MOST_SATURATED or region.solidity < LEAST_SOLIDITY:
            continue
        row, column = region.centroid_weighted
        extent = np.hypot(*(region.coords - (row, column)).T).max()
        half = int(np.ceil(MARGIN * extent)) + 1
        top, left = round(row) - half, round(column) - half
        bottom, right = top + 2 * half + 1, left + 2 * half + 1
        if top < 0 or left < 0 or bottom > grey.shape[0] or right > grey.shape[1]:
            continue
        own = np.isin(regions[top:bottom, left:right], (0, region.label))
        light = np.where(own, grey[top:bottom, left:right] - sky, 0)
        # Soft edges: what lies beyond the galaxy is sky, and a box of sky would be seen in the image.
        weight = gaussian((regions[top:bottom, left:right] == region.label).astype(float), 2 * SMOOTHING)
        cuts.append(_resized(np.clip(light, 0, None) * np.clip(2 * weight, 0, 1)))
    return _finished(cuts, where="the picture")


def _resized(cut: Array) -> Array:
    from skimage.transform import resize

    spare = [max(cut.shape) - length for length in cut.shape]  # a galaxy is not squeezed
    cut = np.pad(cut, [(length // 2, length - length // 2) for length in spare])
    resized: Array = resize(cut, (CUT_SIZE, CUT_SIZE), order=1, anti_aliasing=cut.shape[0] > CUT_SIZE)
    return resized


def _finished(cuts: list[Array], *, where: str) -> Galaxies:
    pixels = np.stack([cut / cut.sum() for cut in cuts if cut.sum() > 0]) if cuts else np.zeros((0, 1, 1))
    if len(pixels) < 2:
        raise DataError(f"{where}: galaxies found: {len(pixels)}; at least 2 are needed.")
    return Galaxies(pixels=pixels, half_light_radius=np.array([_half_light_radius(cut) for cut in pixels]))


def _half_light_radius(cut: Array) -> float:
    rows, columns = np.indices(cut.shape)
    distance = np.hypot(rows - (cut * rows).sum(), columns - (cut * columns).sum()).ravel()
    order = np.argsort(distance)
    inside = np.cumsum(cut.ravel()[order])
    return float(max(1.0, distance[order][np.searchsorted(inside, 0.5 * inside[-1])]))
