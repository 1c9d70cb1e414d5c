"""Regression on scalars of the image: ridge, and gradient-boosted trees; the width is one number for all images.

The answers are normal distributions, in the form that the task asks for: mean and width, quantiles, or a flow whose
spline is the identity.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.models.own_fit import SplitsToFit
from zoo.scores.distributions import FORMS, Form
from zoo.scores.scalars import NAMES, scalars_of
from zoo_baselines.boosted import Trees
from zoo_baselines.columns import checked_most, columns_of, mean_and_inverse, standardised


def form_and_targets(outputs: int) -> tuple[Form, int]:
    """Return the form of answers and the number of targets for a number of outputs.

    Of several forms, the one with the most numbers a target: 22 outputs are two truths by quantiles, not eleven by
    Gaussians.

    Raises:
        UsageError: No form has such a number.
    """
    for form in sorted(FORMS.values(), key=lambda form: -form.columns):
        if outputs % form.columns == 0:
            return form, outputs // form.columns
    if outputs != 1:  # networks are tried with one number, too
        raise UsageError(f"The regression on scalars answers distributions of truths, not {outputs} numbers.")
    return FORMS["gaussian"], 1


class ScalarRegression(nn.Module, ABC):
    """Means from the scalars, and for each target the root mean square error of validation images as its width.

    Args:
        outputs: Numbers of an answer: those of a distribution for each target.
        most_images: Largest number of training images.
    """

    centre: Tensor
    scale: Tensor
    log_width: Tensor

    def __init__(self, outputs: int, *, most_images: int) -> None:
        super().__init__()
        self.form, self.targets = form_and_targets(outputs)
        self.outputs, self.most_images = outputs, checked_most(most_images)
        for name in ("centre", "log_width"):
            self.register_buffer(name, torch.zeros(self.targets))
        self.register_buffer("scale", torch.ones(self.targets))

    def forward(self, images: Tensor) -> Tensor:
        """Return distributions [n, outputs] of images [n, C, H, W], in the units of the truths."""
        mean = self._mean(scalars_of(images))
        answers = self.form.of_gaussian(mean, self.log_width.double().expand_as(mean)).flatten(1)
        return answers[:, : self.outputs].float()

    def fit_splits(self, splits: SplitsToFit) -> None:
        """Fit to the training images, and measure the errors on the validation images.

        Raises:
            UsageError: The numbers of an answer belong to another number of truths.
        """
        columns, labels = columns_of(scalars_of, splits, most=self.most_images)
        truth = labels.reshape(len(labels), -1).double()
        if self.targets != truth.shape[1]:
            raise UsageError(
                f"The regression on scalars takes {self.outputs} numbers for {self.targets} truths with answers of the "
                f"form {self.form.name}, not for {truth.shape[1]}.",
                hint="Name fewer truths, or leave this model out.",
            )
        self.centre.copy_(truth.mean(0))
        self.scale.copy_(truth.std(0, correction=0).clamp_min(1e-30))
        self.fit(columns.double(), (truth - self.centre.double()) / self.scale.double(), splits=splits)
        errors = torch.cat(
            [
                self._mean(scalars_of(images)) - labels.reshape(len(labels), -1).double()
                for images, labels in splits.val.batches()
            ]
        )
        self.log_width.copy_(errors.square().mean(0).clamp_min(1e-300).log() / 2)

    def _mean(self, columns: Tensor) -> Tensor:
        return self.centre.double() + self.scale.double() * self.standardised(columns.double())

    @abstractmethod
    def standardised(self, columns: Tensor) -> Tensor:
        """Return standardised means [n, T] in float64 of scalars [n, F]."""

    @abstractmethod
    def fit(self, columns: Tensor, truth: Tensor, *, splits: SplitsToFit) -> None:
        """Fit to scalars [n, F] and standardised truths [n, T], both in float64."""


class ScalarsRidge(ScalarRegression):
    """Ridge regression (Hoerl & Kennard 1970, Technometrics 12, 55).

    Args:
        outputs, most_images: Arguments of `ScalarRegression`.
        strength: Inverse of the penalty of squared weights, in units of the number of images.
    """

    middle: Tensor
    inverse: Tensor

    def __init__(self, outputs: int, *, strength: float, most_images: int) -> None:
        super().__init__(outputs, most_images=most_images)
        if not strength > 0:
            raise UsageError(f"strength={strength!r} must be a positive number.")
        self.strength = strength
        self.register_buffer("middle", torch.zeros(len(NAMES)))
        self.register_buffer("inverse", torch.ones(len(NAMES)))
        self.weight = nn.Parameter(torch.zeros(self.targets, len(NAMES)), requires_grad=False)

    def standardised(self, columns: Tensor) -> Tensor:
        """Return a linear map of the standardised scalars."""
        return self._seen(columns) @ self.weight.double().T

    def fit(self, columns: Tensor, truth: Tensor, *, splits: SplitsToFit) -> None:
        """Solve the normal equations."""
        mean, inverse = mean_and_inverse(columns)
        self.middle.copy_(mean)
        self.inverse.copy_(inverse)
        seen = self._seen(columns)
        penalty = torch.eye(seen.shape[1], dtype=seen.dtype, device=seen.device) / self.strength
        self.weight.copy_(torch.linalg.solve(seen.T @ seen + penalty, seen.T @ truth).T)

    def _seen(self, columns: Tensor) -> Tensor:
        return standardised(columns, self.middle, self.inverse)


class ScalarsBoostedRegression(ScalarRegression):
    """Gradient-boosted trees on the scalars, for each target.

    Args:
        outputs, most_images: Arguments of `ScalarRegression`.
        trees: Number of trees of a target.
        leaves: Largest number of leaves of a tree.
        rate: Learning rate: factor of each tree.
    """

    def __init__(self, outputs: int, *, trees: int, leaves: int, rate: float, most_images: int) -> None:
        super().__init__(outputs, most_images=most_images)
        self.trees = nn.ModuleList(Trees(trees, 1, leaves=leaves, rate=rate) for _ in range(self.targets))

    def standardised(self, columns: Tensor) -> Tensor:
        """Return the sums of the trees."""
        return torch.cat([trees(columns) for trees in self.trees], 1)

    def fit(self, columns: Tensor, truth: Tensor, *, splits: SplitsToFit) -> None:
        """Fit the trees of one target after the other."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        seen = columns.cpu().numpy()
        for k, trees in enumerate(self.trees):
            assert isinstance(trees, Trees)
            trees.fit(HistGradientBoostingRegressor, seen, truth[:, k].cpu().numpy(), seed=splits.seed)
            splits.progress(k + 1, self.targets, "boost")


def scalars_ridge(
    *, in_chans: int, num_classes: int, image_size: int, strength: float, most_images: int
) -> ScalarsRidge:
    """Return a ridge regression on the scalars."""
    return ScalarsRidge(num_classes, strength=strength, most_images=most_images)


def scalars_boosted_regression(
    *,
    in_chans: int,
    num_classes: int,
    image_size: int,
    trees: int,
    leaves: int,
    rate: float,
    most_images: int,
) -> ScalarsBoostedRegression:
    """Return gradient-boosted trees on the scalars."""
    return ScalarsBoostedRegression(num_classes, trees=trees, leaves=leaves, rate=rate, most_images=most_images)
