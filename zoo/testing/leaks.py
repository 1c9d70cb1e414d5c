"""Leaks between splits and of labels, as functions of arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SEPARATED = 0.999
"""Area under the ROC curve from which a single number gives a class away."""
FEWEST = 10
"""Images of a class below which nothing is said of it: few values are separated by chance."""
SAME = 0.9999
"""Correlation of the pixels from which two images count as the same."""
_AT_A_TIME = 4096


def separating_column(values: NDArray[np.floating], labels: NDArray[np.integer]) -> int | None:
    """Return the first column that separates a class from all others, in either direction, or None.

    Args:
        values: [N, F].
        labels: [N].
    """
    for start in range(0, values.shape[1], _AT_A_TIME):
        some = values[:, start : start + _AT_A_TIME]
        varying = np.flatnonzero(some.max(0) > some.min(0))
        if not len(varying):
            continue
        ranks = _mean_ranks(some[:, varying])
        for k in np.unique(labels):
            own = labels == k
            n, m = int(own.sum()), int((~own).sum())
            if min(n, m) < FEWEST:
                continue
            areas = (ranks[own].sum(0) - n * (n + 1) / 2) / (n * m)
            areas = np.maximum(areas, 1 - areas)
            if areas.max() >= SEPARATED:
                return int(start + varying[np.argmax(areas)])
    return None


def _mean_ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the ranks of each column from 1; equal values share their mean rank."""
    from scipy.stats import rankdata

    ranks: NDArray[np.float64] = rankdata(values, axis=0)
    return ranks


def equal_images(images: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Return pairs of places with equal images: the first of its kind, and each copy."""
    seen: dict[bytes, int] = {}
    pairs = []
    for place, image in enumerate(images):
        first = seen.setdefault(image.tobytes(), place)
        if first != place:
            pairs.append((first, place))
    return pairs


def near_copy(first: NDArray[np.float32], second: NDArray[np.float32]) -> tuple[int, int] | None:
    """Return places of an image of each set that are the same up to turns, mirrors, a factor and a constant, or None.

    Images that are shifted by a pixel count as the same, too. Images without structure are left out.

    Args:
        first, second: [n, C, H, H] and [m, C, H, H].
    """
    one, places = _standardised(first)
    for mirrored in (second, second[..., ::-1]):
        for quarter in range(4):
            if (pair := _closest(one, places, np.rot90(mirrored, quarter, axes=(2, 3)))) is not None:
                return pair
    side = second.shape[-1] - 2
    if side < FEWEST:
        return None
    one, places = _standardised(first[..., 1:-1, 1:-1])
    for row, column in np.ndindex(3, 3):
        shifted = second[..., row : row + side, column : column + side]
        if (row, column) != (1, 1) and (pair := _closest(one, places, shifted)) is not None:
            return pair
    return None


def _closest(
    one: NDArray[np.float64], places: NDArray[np.int64], second: NDArray[np.float32]
) -> tuple[int, int] | None:
    """Return places of an image of each set that are the same up to a factor and a constant, or None."""
    other, others = _standardised(second)
    if not len(one) or not len(other):
        return None
    correlation = np.abs(one @ other.T)  # of a negative, a factor of -1
    if correlation.max() < SAME:
        return None
    row, column = np.unravel_index(int(correlation.argmax()), correlation.shape)
    return int(places[row]), int(others[column])


def _standardised(images: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return images [n, P] of mean 0 and length 1 and their places, without those that are constant."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    flat = flat - flat.mean(1, keepdims=True)
    length = np.sqrt((flat**2).sum(1))
    kept = np.flatnonzero(length > 1e-6 * (1 + np.abs(images.reshape(len(images), -1)).max(1)))
    return flat[kept] / length[kept, None], kept
