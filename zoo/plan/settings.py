"""The training settings: their defaults, and what values they may have."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from zoo.errors import UsageError, nearest

CHOICES = {
    "augment": ("none", "d4", "rotate"),
    "schedule": ("one-cycle", "cosine", "constant"),
}
RULES = ("val_auc", "last")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a network is trained.

    Args:
        epochs: passes over the training images.
        batch_size: images a step.
        lr: AdamW's highest learning rate.
        weight_decay: AdamW's.
        schedule: "one-cycle" (rises for three tenths of the steps, then falls to 0), "cosine" (rises for a
            twentieth), "constant".
        clip: largest norm of the gradient; 0 switches clipping off.
        ema: decay of the moving average of the weights, which is what is validated, tested and saved;
            0 switches it off.
        augment: "none", "d4" or "rotate"; see `zoo.data.augment`.
        label_smoothing: of the cross entropy.
        patience: stop after so many epochs without a better validation AUC; 0 never stops early.
        init: weights to start from, as the plan resolved them ("sha256:..."); empty: at random. See
            `zoo.weights.start`.
        stream: render the training images as they are needed, every epoch new ones; see `zoo.data.stream`.
    """

    epochs: int = 10
    batch_size: int = 64
    lr: float = 1e-3
    weight_decay: float = 1e-4
    schedule: str = "one-cycle"
    clip: float = 1.0
    ema: float = 0.998
    augment: str = "d4"
    label_smoothing: float = 0.0
    patience: int = 0
    init: str = ""
    stream: bool = False

    def __post_init__(self) -> None:
        for name, lowest, highest in (
            ("epochs", 1, 100_000), ("batch_size", 1, 1_000_000), ("patience", 0, 100_000),
        ):  # fmt: skip
            value = getattr(self, name)
            if type(value) is not int or not lowest <= value <= highest:
                raise UsageError(f"{name}={value!r} must be a whole number from {lowest} to {highest}.")
        for name, low, high in (
            ("lr", 0.0, 1e6), ("weight_decay", 0.0, 1e6), ("clip", 0.0, math.inf),
            ("ema", 0.0, 0.999999), ("label_smoothing", 0.0, 0.999),
        ):  # fmt: skip
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
                raise UsageError(f"{name}={value!r} must be a number from {low:g} to {high:g}.")
        if not isinstance(self.init, str) or (self.init and not self.init.startswith("sha256:")):
            raise UsageError(f"init={self.init!r} must be the 'sha256:...' of a file of weights, or empty.")
        if not isinstance(self.stream, bool):
            raise UsageError(f"stream={self.stream!r} must be true or false.")
        for name, allowed in CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise UsageError(f"{name}={value!r} is not one of {', '.join(allowed)}.{nearest(str(value), allowed)}")


SETTING_NAMES = tuple(field.name for field in fields(TrainingSettings))
