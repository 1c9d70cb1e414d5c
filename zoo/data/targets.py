"""Stored truths as numbers to be estimated: their names, and their values for some images."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.truth import OFFSET, PREFIX
from zoo.errors import UsageError, nearest
from zoo.lensing.cosmology import einstein_radius

COUNT_ABOVE = "substructure_count_above"
"""Number of masses above a limit in solar masses, which stands behind a colon."""
CONVERGENCE = "substructure_convergence"
"""Mean convergence of the masses in a ring around the lens, whose radii in arcsec stand behind a colon."""
_TURNING = ("x", "y", "gamma_1", "gamma_2")
_RAGGED = ("points", "truncated_haloes")
_RING = re.compile(r"(\d+\.?\d*|\.\d+)-(\d+\.?\d*|\.\d+)")
_MASS = re.compile(r"(\d+\.?\d*|\.\d+)(e\+?\d+)?", re.IGNORECASE)
Columns = Mapping[str, NDArray[Any]]


def truth_names(parameters: Columns, truth: Columns) -> list[str]:
    """Return the names of the truths that are stored beside some images, of those that can be estimated.

    Args:
        parameters: Scene parameters: name -> [N].
        truth: Arrays of `zoo.data.truth.truth_arrays`, or none.
    """
    own = [name.removeprefix(PREFIX) for name, values in truth.items() if np.ndim(values) == 1]
    fields = [name for name in own if name.split(".")[0] not in _RAGGED and not name.startswith("exposure.scaling")]
    counts = [f"{COUNT_ABOVE}:1e8"] if _countable(parameters, truth) else []
    rings = [f"{CONVERGENCE}:0.5-1.5"] if OFFSET in truth else []
    return [name for name in [*parameters, *fields] if not turns(name)] + counts + rings


def one_spelling(name: str) -> str:
    """Return the name of a truth with its limit or radii in their shortest spelling; one that states none, as it is."""
    kind, _, option = name.partition(":")
    if kind == CONVERGENCE and (found := _RING.fullmatch(option)):
        return f"{kind}:{'-'.join(f'{float(radius):.16g}' for radius in found.groups())}"
    if kind == COUNT_ABOVE and _MASS.fullmatch(option):
        mantissa, exponent = f"{float(option):.15e}".split("e")
        scientific = f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
        return f"{kind}:{min(scientific, f'{float(option):.16g}', key=len)}"
    return name


def turns(name: str) -> bool:
    """Whether a truth changes when the image is turned, such as an angle or a position."""
    last = name.rpartition(".")[2]
    return last in _TURNING or "angle" in last or last.endswith(("_x", "_y"))


def target_values(names: Sequence[str], *, parameters: Columns, truth: Columns, data: str = "") -> NDArray[np.float64]:
    """Return the values of stored truths [N, T], NaN where one is undefined for an image.

    Args:
        names: T names of scene parameters, such as "shear", of fields of the scenes, such as "halo.axis_ratio",
            `COUNT_ABOVE` with a mass, such as "substructure_count_above:1e8", or `CONVERGENCE` with two radii, such as
            "substructure_convergence:0.5-1.5".
        parameters, truth: Arguments of `truth_names`.
        data: Data set for the message.

    Raises:
        UsageError: No such truth is stored, or it changes when the image is turned.
    """
    return np.stack([_values(name, parameters, truth, data) for name in names], 1)


def _values(name: str, parameters: Columns, truth: Columns, data: str) -> NDArray[np.float64]:
    if turns(name):
        raise UsageError(
            f"{name} cannot be estimated: it changes when an image is turned or mirrored, and networks and "
            "augmentation turn images.",
            hint=f"Choose one of {', '.join(truth_names(parameters, truth))}",
        )
    kind, _, option = name.partition(":")
    if kind == COUNT_ABOVE and _countable(parameters, truth):
        return _count_above(option, parameters, truth)
    if kind == CONVERGENCE and OFFSET in truth:
        return _convergence(option, truth)
    known = truth_names(parameters, truth)
    if name not in known:
        fields = [one for one in known if one.rpartition(".")[2] == name]  # "snr" for "exposure.snr"
        near = f" Did you mean '{fields[0]}'?" if fields else nearest(name, known)
        raise UsageError(
            f"No truth '{name}' is stored beside the images{f' of {data}' if data else ''}.{near}",
            hint=f"Stored are {', '.join(known)}" if known else "Nothing that can be estimated is stored there.",
        )
    values = parameters[name] if name in parameters else truth[PREFIX + name]
    return np.asarray(values, np.float64)


def _countable(parameters: Columns, truth: Columns) -> bool:
    return OFFSET in truth and {"lens_redshift", "source_redshift"} <= set(parameters)


def _count_above(limit: str, parameters: Columns, truth: Columns) -> NDArray[np.float64]:
    """Return the number of masses of each image above a limit.

    Raises:
        UsageError: The limit is not a positive mass.
    """
    try:
        mass = float(limit)
    except ValueError:
        mass = np.nan
    if not 0 < mass < np.inf:
        raise UsageError(
            f"{COUNT_ABOVE}:{limit} states no mass in solar masses.", hint=f"For example: {COUNT_ABOVE}:1e8"
        )
    least = einstein_radius(mass, parameters["lens_redshift"], parameters["source_redshift"])
    total = np.zeros(len(least))
    for part, image in _masses(truth):
        above = truth[f"{part}.einstein_radius"] > least[image]
        total += np.bincount(image[above], minlength=len(least))
    return total


def _convergence(option: str, truth: Columns) -> NDArray[np.float64]:
    """Return the mean convergence of the masses of each image in a ring around its halo's centre.

    A mass of the Einstein radius t has the share t^2 / (high^2 - low^2) in it; a truncated halo counts as a whole,
    where its centre is.

    Raises:
        UsageError: The option does not state two radii.
    """
    found = _RING.fullmatch(option)
    low, high = (float(radius) for radius in found.groups()) if found else (0.0, 0.0)
    if not low < high:
        raise UsageError(
            f"{CONVERGENCE}:{option} does not state the inner and the outer radius of a ring in arcsec.",
            hint=f"For example: {CONVERGENCE}:0.5-1.5",
        )
    x, y = truth[f"{PREFIX}halo.x"], truth[f"{PREFIX}halo.y"]
    total = np.zeros(len(x))
    for part, image in _masses(truth):
        radius = np.hypot(truth[f"{part}.x"] - x[image], truth[f"{part}.y"] - y[image])
        area = np.where((low <= radius) & (radius < high), truth[f"{part}.einstein_radius"] ** 2, 0)
        total += np.bincount(image, weights=area, minlength=len(total))
    return total / (high**2 - low**2)


def _masses(truth: Columns) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yield the prefix of each kind of masses that is stored, and the image of each mass."""
    for part in _RAGGED:
        if (offset := truth.get(f"{PREFIX}{part}.offset")) is not None:
            yield f"{PREFIX}{part}", np.repeat(np.arange(len(offset) - 1), np.diff(offset))
