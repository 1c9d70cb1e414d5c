"""Forms of a predictive distribution: Gaussian, quantiles, flow. Losses, intervals, the CRPS and the PIT of each.

The CRPS (continuous ranked probability score) is the integral of the squared difference between the distribution
function of a prediction and the step at the truth; it has the unit of the truth, and of a prediction without width it
is the absolute error (Gneiting & Raftery 2007, J. Am. Stat. Assoc. 102, 359). The PIT (probability integral transform)
is the distribution function at the truth: uniform for calibrated predictions.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from zoo.errors import MissingError, UsageError
from zoo.models.target import FLOW_BINS, FLOW_COLUMNS

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]
LEVELS = (0.025, 0.08, 0.16, 0.25, 0.375, 0.5, 0.625, 0.75, 0.84, 0.92, 0.975)
"""Levels of the quantiles that a network answers, symmetric about the median."""
LEAST_SPREAD, MOST_SPREAD = 0.05, 20.0
FLOW_LEVELS = (np.arange(200) + 0.5) / 200
"""Levels of the quantiles that the CRPS of a flow is summed over: for a Gaussian an error below 0.1 %."""


class Form(ABC):
    """Form of a distribution. Predictions are [N, T, columns] for T targets; all results are [N, T] or [T]."""

    name: ClassVar[str]
    columns: ClassVar[int]
    library: ClassVar[tuple[str, str] | None] = None
    """Library that the form needs, and the extra that installs it; None for one that needs nothing."""
    chance: ClassVar[float | None] = None
    """Loss of the mean and the standard deviation of the training images; None where it depends on their values."""

    @abstractmethod
    def loss(self, answers: Tensor, truth: Tensor, scale: Tensor) -> Tensor:
        """Return the mean loss, in units of scales [T]."""

    @abstractmethod
    def middle(self, answers: Array) -> Array:
        """Return the mean, or the median, that stands for a prediction."""

    @abstractmethod
    def interval(self, answers: Array, level: float) -> tuple[Array, Array]:
        """Return the low and high ends of the central interval of a level.

        Raises:
            UsageError: The prediction does not state such an interval.
        """

    @abstractmethod
    def crps(self, answers: Array, truth: Array) -> Array:
        """Return the continuous ranked probability score."""

    @abstractmethod
    def pit(self, answers: Array, truth: Array) -> Array:
        """Return the distribution function at the truth."""

    @abstractmethod
    def spread(self, answers: Array, truth: Array) -> Array:
        """Return the factor of the widths [T] with the lowest loss."""

    @abstractmethod
    def of_gaussian(self, mean: Tensor, log_width: Tensor) -> Tensor:
        """Return the answers [..., columns] of normal distributions, given by mean and logarithm of the deviation."""


class Gaussian(Form):
    """Mean and logarithm of the standard deviation, trained by the negative log likelihood."""

    name = "gaussian"
    columns = 2
    chance = 0.5

    def loss(self, answers: Tensor, truth: Tensor, scale: Tensor) -> Tensor:
        """Return the negative log likelihood less its constant, ln(2 pi) / 2."""
        mean, log = answers[..., 0], answers[..., 1]
        return (log - scale.log() + 0.5 * ((truth - mean) * (-log).exp()).square()).mean()

    def middle(self, answers: Array) -> Array:
        """Return the mean."""
        return answers[..., 0]

    def interval(self, answers: Array, level: float) -> tuple[Array, Array]:
        """Return the mean less and plus a multiple of the standard deviation."""
        from scipy.special import ndtri

        reach = ndtri(0.5 + level / 2) * np.exp(answers[..., 1])
        return answers[..., 0] - reach, answers[..., 0] + reach

    def crps(self, answers: Array, truth: Array) -> Array:
        """Return the closed form (Gneiting et al. 2005, Mon. Weather Rev. 133, 1098, eq. 5)."""
        from scipy.special import ndtr

        width = np.exp(answers[..., 1])
        z = (truth - answers[..., 0]) / width
        density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
        return np.asarray(width * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / math.sqrt(math.pi)))

    def pit(self, answers: Array, truth: Array) -> Array:
        """Return the normal distribution function."""
        from scipy.special import ndtr

        return np.asarray(ndtr((truth - answers[..., 0]) * np.exp(-answers[..., 1])))

    def spread(self, answers: Array, truth: Array) -> Array:
        """Return the root mean square of the standardised errors, which has the highest likelihood."""
        squares = ((truth - answers[..., 0]) * np.exp(-answers[..., 1])) ** 2
        return np.asarray(np.clip(np.sqrt(squares.mean(0)), LEAST_SPREAD, MOST_SPREAD))

    def of_gaussian(self, mean: Tensor, log_width: Tensor) -> Tensor:
        """Return the two numbers."""
        import torch

        return torch.stack([mean, log_width], -1)


class Quantiles(Form):
    """Quantiles at `LEVELS`, trained by the pinball loss (Koenker & Bassett 1978, Econometrica 46, 33)."""

    name = "quantiles"
    columns = len(LEVELS)

    def loss(self, answers: Tensor, truth: Tensor, scale: Tensor) -> Tensor:
        """Return the pinball loss."""
        import torch

        levels = torch.tensor(LEVELS, dtype=answers.dtype, device=answers.device)
        error = (truth[..., None] - answers) / scale[:, None]
        return torch.maximum(levels * error, (levels - 1) * error).mean()

    def middle(self, answers: Array) -> Array:
        """Return the median."""
        return answers[..., len(LEVELS) // 2]

    def interval(self, answers: Array, level: float) -> tuple[Array, Array]:
        """Return quantiles, those between two levels by interpolation."""
        ends = (0.5 - level / 2, 0.5 + level / 2)
        if ends[0] < LEVELS[0] - 1e-9:
            raise UsageError(
                f"level={level:g} is above {LEVELS[-1] - LEVELS[0]:g}, the widest interval of the quantiles."
            )
        place = np.interp(ends, LEVELS, np.arange(len(LEVELS)))
        low, high = (
            (1 - at % 1) * answers[..., int(at)] + (at % 1) * answers[..., min(int(at) + 1, len(LEVELS) - 1)]
            for at in place.tolist()
        )
        return low, high

    def crps(self, answers: Array, truth: Array) -> Array:
        """Return twice the pinball loss, integrated over the levels by trapezia; the tails are those of the ends."""
        error = truth[..., None] - answers
        pinball = np.maximum(np.multiply(LEVELS, error), np.multiply(np.subtract(LEVELS, 1), error))
        edges = np.concatenate([[0.0], (np.array(LEVELS[1:]) + LEVELS[:-1]) / 2, [1.0]])
        return np.asarray(2 * (pinball * np.diff(edges)).sum(-1))

    def pit(self, answers: Array, truth: Array) -> Array:
        """Return the level at the truth, interpolated; beyond the ends, the middle of what is left."""
        below = (answers < truth[..., None]).sum(-1)
        left = np.clip(below - 1, 0, len(LEVELS) - 2)
        low, high = (np.take_along_axis(answers, (left + k)[..., None], -1)[..., 0] for k in (0, 1))
        share = np.clip((truth - low) / np.maximum(high - low, 1e-300), 0, 1)
        levels = np.array(LEVELS)
        inside = levels[left] + share * (levels[left + 1] - levels[left])
        ends = np.where(below == 0, LEVELS[0] / 2, (1 + LEVELS[-1]) / 2)
        return np.where((below == 0) | (below == len(LEVELS)), ends, inside)

    def spread(self, answers: Array, truth: Array) -> Array:
        """Return the factor with the lowest CRPS."""
        from scipy.optimize import minimize_scalar

        median = self.middle(answers)[..., None]

        def lost(log_factor: float, k: int) -> float:
            wide = median[:, k : k + 1] + math.exp(log_factor) * (answers[:, k : k + 1] - median[:, k : k + 1])
            return float(self.crps(wide, truth[:, k : k + 1]).mean())

        bounds = (math.log(LEAST_SPREAD), math.log(MOST_SPREAD))
        found = [minimize_scalar(lost, bounds=bounds, args=(k,), method="bounded") for k in range(answers.shape[1])]
        return np.asarray(np.exp([float(one.x) for one in found]))

    def of_gaussian(self, mean: Tensor, log_width: Tensor) -> Tensor:
        """Return the quantiles."""
        import torch

        levels = torch.tensor(LEVELS, dtype=torch.float64, device=mean.device)
        reach: Tensor = torch.special.ndtri(levels).to(mean.dtype)
        return mean[..., None] + log_width.exp()[..., None] * reach


class Flow(Form):
    """Normalising flow of one dimension for each target: a neural spline, trained by the negative log likelihood.

    The answers are a location, the logarithm of a width, and a monotonic rational-quadratic spline that maps the
    standardised truth to a normal variable (Durkan et al. 2019, arXiv:1906.04032; `zuko.transforms`). So the density
    may be skewed, bounded or have several peaks. Outside of 5 widths the spline is the identity.
    """

    name = "flow"
    columns = FLOW_COLUMNS
    library = ("zuko", "flow")
    chance = 0.5

    def loss(self, answers: Tensor, truth: Tensor, scale: Tensor) -> Tensor:
        """Return the negative log likelihood less the constant ln(2 pi) / 2."""
        log = answers[..., 1]
        normal, log_slope = _spline(answers).call_and_ladj((truth - answers[..., 0]) * (-log).exp())
        lost: Tensor = log - scale.log() + 0.5 * normal.square() - log_slope
        return lost.mean()

    def quantiles(self, answers: Array, levels: Array) -> Array:
        """Return the quantiles [N, T, L] at levels [L]."""
        import torch
        from scipy.special import ndtri

        given = torch.from_numpy(np.ascontiguousarray(answers))[:, :, None]
        normal = torch.from_numpy(ndtri(levels)).expand(*given.shape[:2], len(levels))
        standard = _spline(given).inv(normal)
        return np.asarray((given[..., 0] + given[..., 1].exp() * standard).numpy())

    def middle(self, answers: Array) -> Array:
        """Return the median."""
        return self.quantiles(answers, np.array([0.5]))[..., 0]

    def interval(self, answers: Array, level: float) -> tuple[Array, Array]:
        """Return the quantiles that leave as much below as above."""
        ends = self.quantiles(answers, np.array([0.5 - level / 2, 0.5 + level / 2]))
        return ends[..., 0], ends[..., 1]

    def crps(self, answers: Array, truth: Array) -> Array:
        """Return twice the mean pinball loss over `FLOW_LEVELS`."""
        error = truth[..., None] - self.quantiles(answers, FLOW_LEVELS)
        return np.asarray(2 * np.maximum(FLOW_LEVELS * error, (FLOW_LEVELS - 1) * error).mean(-1))

    def pit(self, answers: Array, truth: Array) -> Array:
        """Return the normal distribution function of the truth, mapped by the flow."""
        import torch
        from scipy.special import ndtr

        given = torch.from_numpy(np.ascontiguousarray(answers))
        standard = (torch.from_numpy(np.ascontiguousarray(truth)) - given[..., 0]) * (-given[..., 1]).exp()
        return np.asarray(ndtr(_spline(given)(standard).numpy()))

    def spread(self, answers: Array, truth: Array) -> Array:
        """Return the factor with the highest likelihood; the location stays."""
        import torch
        from scipy.optimize import minimize_scalar

        given, true = torch.from_numpy(np.ascontiguousarray(answers)), torch.from_numpy(np.ascontiguousarray(truth))

        def lost(log_factor: float, k: int) -> float:
            one = given[:, k : k + 1].clone()
            one[..., 1] += log_factor
            return float(self.loss(one, true[:, k : k + 1], torch.ones(1, dtype=one.dtype)))

        bounds = (math.log(LEAST_SPREAD), math.log(MOST_SPREAD))
        found = [minimize_scalar(lost, bounds=bounds, args=(k,), method="bounded") for k in range(answers.shape[1])]
        return np.asarray(np.exp([float(one.x) for one in found]))

    def of_gaussian(self, mean: Tensor, log_width: Tensor) -> Tensor:
        """Return location and width with the spline that is the identity, whose parameters are 0."""
        import torch
        from torch.nn.functional import pad

        return pad(torch.stack([mean, log_width], -1), (0, FLOW_COLUMNS - 2))


def _spline(answers: Tensor) -> Any:
    """Return the spline of answers [..., FLOW_COLUMNS], from the standardised truth to a normal variable.

    Raises:
        MissingError: zuko is absent.
    """
    try:
        from zuko.transforms import MonotonicRQSTransform
    except ImportError as error:
        raise MissingError(
            "Answers of the form 'flow' need zuko, which is not installed.",
            hint='Install it: pip install "lens-zoo[flow]"',
        ) from error
    return MonotonicRQSTransform(*answers[..., 2:].split([FLOW_BINS, FLOW_BINS, FLOW_BINS - 1], -1))


FORMS: dict[str, Form] = {form.name: form for form in (Gaussian(), Quantiles(), Flow())}


def form_of(columns: int) -> Form:
    """Return the form whose predictions have this number of columns for a target."""
    return next(form for form in FORMS.values() if form.columns == columns)


def climatology(truth: Array) -> Array:
    """Return the CRPS of each truth [N, T] for the distribution of all of them: a prediction that sees no image.

    Its mean over the images is half their mean distance from each other.
    """
    order = np.argsort(truth, 0)
    ranked = np.take_along_axis(truth, order, 0)
    count = len(truth)
    left = np.cumsum(ranked, 0) - ranked  # sum of the lower ones
    right = ranked.sum(0) - left - ranked
    rank = np.arange(count)[:, None]
    distance = (rank * ranked - left + right - (count - 1 - rank) * ranked) / count
    mean = np.zeros_like(truth)
    np.put_along_axis(mean, order, distance, 0)
    return np.asarray(mean - mean.mean(0) / 2)
