"""The whole truth of scenes as flat arrays beside their images, and the scenes again from these arrays.

An array is called `truth.` and the path of its field, such as `truth.halo.angle` [n]. Masses are ragged: the values of
all images one after the other, [all masses], and `truth.points.offset` [n + 1] where each image's begin. A part that
scenes need not have is left out where they have none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import DataError
from zoo.lensing.scenes import (
    SCALINGS,
    Exposure,
    Isothermal,
    Multipoles,
    PixelSource,
    PointMasses,
    Scenes,
    Sersic,
    Shear,
    TruncatedHaloes,
)

PREFIX = "truth."
OFFSET = "truth.points.offset"
_RAGGED: dict[str, type] = {"points": PointMasses, "truncated_haloes": TruncatedHaloes}
_SCALING = "truth.exposure.scaling"
# The name of a part describes it, so that a file can be read without other files.
_PARTS: dict[str, tuple[str, type]] = {
    "halo": ("halo", Isothermal), "shear": ("shear", Shear), "sersic": ("source", Sersic),
    "picture": ("source", PixelSource), "lens_light": ("lens_light", Sersic), "exposure": ("exposure", Exposure),
    "multipoles": ("multipoles", Multipoles),
}  # fmt: skip

Arrays = Mapping[str, NDArray[Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommonTruth:
    """Facts that hold for all of some images, by the truth that is stored beside them; None where they do not, or are
    unknown.

    Args:
        exposure_seconds: Exposure of every image.
        sky: Background of every image, in counts per second and pixel; read noise and other noise of the same variance
            are part of it.
        round_haloes: Whether every halo is a sphere; False where one is an ellipsoid.
        lens_light: Whether the lens galaxies shine.
    """

    exposure_seconds: float | None = None
    sky: float | None = None
    round_haloes: bool | None = None
    lens_light: bool | None = None


UNKNOWN = CommonTruth()


def common_truth(arrays: Arrays) -> CommonTruth:
    """Return what the scenes of some images have in common, whatever their population calls its parameters.

    Args:
        arrays: Arrays of `truth_arrays`, such as `Split.truth`; empty for images that were not simulated.
    """
    if OFFSET not in arrays:
        return UNKNOWN

    def one(name: str) -> float | None:
        values = np.unique(arrays[f"{PREFIX}exposure.{name}"])
        return float(values[0]) if len(values) == 1 else None

    stretched = bool((arrays[_SCALING] != SCALINGS.index("none")).any())  # such pixels are not counts
    return CommonTruth(
        exposure_seconds=None if stretched else one("seconds"),
        sky=None if stretched else one("sky"),
        round_haloes=bool((arrays[f"{PREFIX}halo.axis_ratio"] == 1).all()),
        lens_light=f"{PREFIX}lens_light.intensity" in arrays,
    )


def truth_arrays(scenes: Scenes) -> dict[str, NDArray[Any]]:
    """Return the arrays of some scenes; label and parameters are stored by others.

    A picture is kept as float32, which is the precision that images are rendered with.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for part, (name, kind) in _PARTS.items():
        value: Any = getattr(scenes, name)
        if not isinstance(value, kind):
            continue
        for field in dataclasses.fields(kind):
            content = getattr(value, field.name)
            if isinstance(content, np.ndarray):
                dtype = np.float32 if field.name == "pixels" else np.float64
                arrays[f"{PREFIX}{part}.{field.name}"] = content.astype(dtype)
    arrays[_SCALING] = np.full(len(scenes), SCALINGS.index(scenes.exposure.scaling), np.int64)
    for part, kind in _RAGGED.items():
        masses = getattr(scenes, part)
        if masses is None:
            continue
        present = masses.einstein_radius != 0
        for field in dataclasses.fields(kind):  # a mask selects in the order of the rows
            arrays[f"{PREFIX}{part}.{field.name}"] = getattr(masses, field.name)[present]
        arrays[_offset(part)] = np.concatenate([[0], np.cumsum(present.sum(1))]).astype(np.int64)
    return arrays


def joined(batches: Sequence[Arrays], *, count: int | None = None) -> dict[str, NDArray[Any]]:
    """Return the arrays of scenes one after the other; `count` keeps the first ones."""
    whole: dict[str, NDArray[Any]] = {}
    ends: dict[str, int | None] = {}
    for part in _RAGGED:
        name = _offset(part)
        if name in batches[0]:
            lengths = np.concatenate([np.diff(batch[name]) for batch in batches])[:count]
            whole[name] = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
            ends[part] = int(whole[name][-1])
    for name in batches[0]:
        if name not in whole:
            whole[name] = np.concatenate([batch[name] for batch in batches])[: ends.get(name.split(".")[1], count)]
    return whole


def scenes_of(arrays: Arrays, index: NDArray[np.int64], *, label: NDArray[np.int64], parameters: Arrays) -> Scenes:
    """Return the scenes that `truth_arrays` was given, without the empty places among their masses.

    Args:
        arrays: Arrays of N scenes.
        index: [n] which of them.
        label, parameters: Labels and parameters of all N.

    Raises:
        DataError: The arrays are not those of scenes.
    """
    try:
        parts: dict[str, Any] = {"lens_light": None}
        for part, (name, kind) in _PARTS.items():
            start = f"{PREFIX}{part}."
            values: dict[str, Any] = {
                key.removeprefix(start): column[index] for key, column in arrays.items() if key.startswith(start)
            }
            if not values:
                continue
            if kind is Exposure:
                [scaling] = np.unique(values["scaling"]) if len(index) else [0]
                values["scaling"] = SCALINGS[int(scaling)]
            parts[name] = kind(**values)
        for part, kind in _RAGGED.items():
            if part == "points" or _offset(part) in arrays:
                parts[part] = _masses(arrays, part, kind, index)
        return Scenes(
            label=np.asarray(label)[index],
            parameters={name: np.asarray(values)[index] for name, values in parameters.items()},
            **parts,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            "These images were stored without the truth of their scenes, by an earlier version.",
            hint="Make them again with `zoo simulate`, in another folder.",
        ) from error


def _masses(arrays: Arrays, part: str, kind: type, index: NDArray[np.int64]) -> Any:
    """Return the masses of some scenes, padded to a common count."""
    offset = arrays[_offset(part)]
    starts, counts = offset[:-1][index], np.diff(offset)[index]
    place = np.arange(counts.max(initial=0))
    present = place < counts[:, None]
    rows = np.where(present, starts[:, None] + place, 0)

    def padded(name: str) -> NDArray[np.float64]:
        values = arrays[f"{PREFIX}{part}.{name}"]
        taken = values[rows] if len(values) else np.zeros(rows.shape)
        result: NDArray[np.float64] = np.where(present, taken, 0.0)
        return result

    return kind(**{field.name: padded(field.name) for field in dataclasses.fields(kind)})


def _offset(part: str) -> str:
    return f"{PREFIX}{part}.offset"
