"""Temperature of a trained classifier: one number that its logits are divided by, fitted on the validation split.

Guo et al. 2017, ICML, arXiv:1706.04599. The most probable class of an image stays the same. So does the order of the
images in a problem of two classes, and their AUC. With more classes, two images may change places in the order by the
probability of one class, because the other classes share the rest differently: their AUCs can change a little.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import cross_entropy

from zoo.scores.schema import Calibration
from zoo.scores.score import score

LOWEST, HIGHEST = 0.05, 20.0
"""Limits of the temperature: without one, logits that are right for every validation image would be divided by 0."""


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature with the lowest log loss, within the limits.

    Args:
        logits: [N, K] of the validation split, on the CPU.
        labels: [N].
    """
    from scipy.optimize import minimize_scalar

    answers = logits.double()

    def log_loss(log_temperature: float) -> float:
        return float(cross_entropy(answers / math.exp(log_temperature), labels))

    # The log loss is convex in 1 / T, so it has one minimum in log T.
    bounds = (math.log(LOWEST), math.log(HIGHEST))
    found = minimize_scalar(log_loss, bounds=bounds, method="bounded", options={"xatol": 1e-7})
    return math.exp(float(found.x))


def calibrated_scores(logits: Tensor, labels: Tensor, classes: Sequence[str], *, temperature: float) -> Calibration:
    """Return the scores of calibrated probabilities.

    Args:
        logits: [N, K] of the test split, on the CPU.
        labels: [N].
        classes: K names.
        temperature: Temperature that was fitted on the validation split.
    """
    scores = score(logits.double() / temperature, labels, classes)
    return Calibration(
        temperature=temperature, log_loss=scores.log_loss, ece=scores.ece, brier=scores.brier, macro_auc=scores.macro
    )
