"""The training settings: their defaults, and what values they may have."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from zoo.errors import UsageError, nearest

PART = r"[^@/\s]+/[^@/\s]+@[1-9][0-9]*"
"""Pattern of a plugin's part of a training, as a cell keeps it: id and version of its spec."""
BUILT_IN = {"augment": ("none", "d4", "rotate"), "optimizer": ("adamw",), "loss": ("task",)}
"""Setting that plugins can extend -> names that the core has. "adamw" and "task" are kept as an empty text."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Settings of a training.

    Args:
        epochs: Passes over the training images.
        batch_size: Images a step.
        lr: AdamW's highest learning rate.
        weight_decay: AdamW's.
        schedule: "one-cycle" (rises for three tenths of the steps, then falls to 0), "cosine" (rises for a
            twentieth), "constant".
        clip: Largest norm of the gradient; 0 switches clipping off.
        ema: Decay of the moving average of the weights, which is what is validated, tested and saved;
            0 switches it off.
        augment: "none", "d4" or "rotate" (`zoo.data.augment`), or a plugin's augmentation as "ID@VERSION"; the plan
            resolves names (`zoo.plan.parts`).
        label_smoothing: Label smoothing of the cross entropy.
        patience: Epochs of the last phase without a better validation AUC before training stops; 0 never stops early.
        init: Weights to start from, as the plan resolved them ("sha256:..."); empty: at random. See
            `zoo.weights.start`.
        stream: Render the training images as they are needed, every epoch new ones; see `zoo.data.stream`.
        new_noise: Whether the training images are kept without noise and exposed anew in every epoch; see
            `zoo.data.new_noise`.
        optimizer: Optimiser of a plugin, as "ID@VERSION"; empty: AdamW, or those of a network that trains in turns.
        loss: Loss of a plugin, as "ID@VERSION"; empty: that of the task, or of a network that brings its own.
        auxiliary: Stored truths, separated by commas, that the network estimates beside its task while it trains;
            see `zoo.models.auxiliary`.
        auxiliary_weight: Weight of their loss.
    """

    epochs: Annotated[int, Meta(ge=1, le=100_000)] = 10
    batch_size: Annotated[int, Meta(ge=1, le=1_000_000)] = 64
    lr: Annotated[float, Meta(ge=0, le=1e6)] = 1e-3
    weight_decay: Annotated[float, Meta(ge=0, le=1e6)] = 1e-4
    schedule: Literal["one-cycle", "cosine", "constant"] = "one-cycle"
    clip: Annotated[float, Meta(ge=0)] = 1.0
    ema: Annotated[float, Meta(ge=0, le=0.999999)] = 0.998
    augment: Annotated[str, Meta(pattern=f"^(none|d4|rotate|{PART})$")] = "d4"
    label_smoothing: Annotated[float, Meta(ge=0, le=0.999)] = 0.0
    patience: Annotated[int, Meta(ge=0, le=100_000)] = 0
    init: Annotated[str, Meta(pattern="^(sha256:.*)?$")] = ""
    stream: bool = False
    new_noise: bool = False
    optimizer: Annotated[str, Meta(pattern=f"^({PART})?$")] = ""
    loss: Annotated[str, Meta(pattern=f"^({PART})?$")] = ""
    auxiliary: Annotated[str, Meta(pattern=r"^([^,\s]+(,[^,\s]+)*)?$")] = ""
    auxiliary_weight: Annotated[float, Meta(ge=0, le=1e6)] = 0.5

    def __post_init__(self) -> None:
        for name, kind in _kinds().items():
            value = getattr(self, name)
            try:
                typed = msgspec.convert(value, kind)
            except msgspec.ValidationError as error:
                raise UsageError(_explain(name, value, kind)) from error
            # One spelling of equal numbers: 1.0 for 1, and 0.0 for -0.0.
            object.__setattr__(self, name, typed + 0.0 if isinstance(typed, float) else typed)

    @property
    def auxiliary_names(self) -> tuple[str, ...]:
        """Names of the auxiliary truths."""
        return tuple(self.auxiliary.split(",")) if self.auxiliary else ()

    def recorded(self) -> dict[str, Any]:
        """Return the settings as a cell keeps them: without those that came later, where they are the defaults."""
        return {name: value for name, value in asdict(self).items() if name not in LATER or value != LATER[name]}


@cache
def _kinds() -> dict[str, Any]:
    return get_type_hints(TrainingSettings, include_extras=True)


def _explain(name: str, value: Any, kind: Any) -> str:
    """Return the message for a value that its annotation does not allow."""
    if get_origin(kind) is Literal:
        allowed = get_args(kind)
        return f"{name}={value!r} is not one of {', '.join(allowed)}.{nearest(str(value), allowed)}"
    if kind is bool:
        return f"{name}={value!r} must be true or false."
    base, limits = get_args(kind)
    if base is str and name in BUILT_IN:
        allowed = BUILT_IN[name]
        return f"{name}={value!r} is not one of {', '.join(allowed)}, or of a plugin.{nearest(str(value), allowed)}"
    if name == "auxiliary":
        return f"auxiliary={value!r} must be names of stored truths, separated by commas."
    if base is str:
        return f"{name}={value!r} must be the 'sha256:...' of a file of weights, or empty."
    if base is int:
        return f"{name}={value!r} must be a whole number from {limits.ge} to {limits.le}."
    return f"{name}={value!r} must be a number from {limits.ge:g} to {math.inf if limits.le is None else limits.le:g}."


LATER: dict[str, Any] = {"new_noise": False, "optimizer": "", "loss": "", "auxiliary": "", "auxiliary_weight": 0.5}
"""Settings that came later, with their defaults: run ids of trainings without them still hold."""
SETTING_NAMES = tuple(field.name for field in fields(TrainingSettings))
CHOICES = {name: get_args(kind) for name, kind in _kinds().items() if get_origin(kind) is Literal}
CHOICES |= BUILT_IN
