"""The learning rate at each step of a training."""

from __future__ import annotations

import math


def learning_rate_factor(step: int, total: int, schedule: str) -> float:
    """Return the share of the highest learning rate at a step from 0 to total - 1."""
    if schedule == "constant":
        return 1.0
    rise = (0.3 if schedule == "one-cycle" else 0.05) * total
    if step < rise:
        start = 0.04  # of the highest rate, as in Smith & Topin's one-cycle policy (arXiv:1708.07120)
        return start + (1 - start) * 0.5 * (1 - math.cos(math.pi * step / rise))
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1.0, total - rise)))
