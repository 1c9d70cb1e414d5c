"""Gradient-boosted trees on scalars of the image, fitted by scikit-learn and evaluated in torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.models.own_fit import SplitsToFit
from zoo.scores.scalars import scalars_of
from zoo_baselines.columns import checked_most, columns_of

COLUMNS_A_SPLIT = 0.3
"""Share of the columns that a split of a tree chooses from; fewer are faster and make the trees differ."""


class Trees(nn.Module):
    """Sum of decision trees over stages, for each logit; the nodes of all trees are tensors of a fixed size.

    Args:
        stages: Number of stages.
        logits: Trees of a stage: K, or 1 for two classes.
        depth: Largest depth of a tree.
    """

    column: Tensor
    left: Tensor
    right: Tensor

    def __init__(self, stages: int, logits: int, *, depth: int) -> None:
        super().__init__()
        self.depth = depth
        shape = (stages * logits, 2 ** (depth + 1) - 1)
        for name in ("column", "left", "right"):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.int32))
        self.threshold = nn.Parameter(torch.zeros(shape), requires_grad=False)
        self.value = nn.Parameter(torch.zeros(shape), requires_grad=False)
        self.logits = logits

    def forward(self, columns: Tensor) -> Tensor:
        """Return the sums [n, logits] in float64 of columns [n, F]."""
        columns = columns.float()  # as scikit-learn compares them
        tree = torch.arange(len(self.column), device=columns.device)
        node = torch.zeros(len(columns), len(tree), dtype=torch.int64, device=columns.device)
        for _ in range(self.depth):
            below = columns.gather(1, self.column[tree, node].long()) <= self.threshold[tree, node]
            node = torch.where(below, self.left[tree, node], self.right[tree, node]).long()
        found = self.value[tree, node].double()
        return found.unflatten(1, (-1, self.logits)).sum(1)

    def take(self, estimators: Any, *, rate: float) -> None:
        """Copy the trees of scikit-learn, whose attribute `estimators_` is an array [stages, logits]."""
        for number, estimator in enumerate(estimators.ravel()):
            tree = estimator.tree_
            count, leaf = tree.node_count, tree.children_left < 0
            itself = np.arange(count)
            self.column[number, :count] = torch.from_numpy(np.where(leaf, 0, tree.feature))
            self.left[number, :count] = torch.from_numpy(np.where(leaf, itself, tree.children_left))
            self.right[number, :count] = torch.from_numpy(np.where(leaf, itself, tree.children_right))
            self.threshold[number, :count] = torch.from_numpy(_rounded_down(np.where(leaf, 0.0, tree.threshold)))
            self.value[number, :count] = torch.from_numpy(rate * tree.value[:, 0, 0])


class ScalarsBoosted(nn.Module):
    """Gradient-boosted trees on the scalars.

    Args:
        classes: K.
        trees: Number of stages, of one tree for each class.
        depth: Largest depth of a tree.
        rate: Learning rate: factor of each tree.
        subsample: Share of the images that a tree is fitted to.
        most_images: Largest number of training images.
    """

    def __init__(
        self, classes: int, *, trees: int, depth: int, rate: float, subsample: float, most_images: int
    ) -> None:
        super().__init__()
        for name, value, most in (("trees", trees, 10_000), ("depth", depth, 12)):
            if type(value) is not int or not 1 <= value <= most:
                raise UsageError(f"{name}={value!r} must be a whole number from 1 to {most}.")
        for name, share in (("rate", rate), ("subsample", subsample)):
            if not 0 < share <= 1:
                raise UsageError(f"{name}={share!r} must be a number above 0, at most 1.")
        self.stages, self.rate, self.subsample = trees, rate, subsample
        self.most_images = checked_most(most_images)
        self.trees = Trees(trees, classes if classes > 2 else 1, depth=depth)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [n, K] of images [n, C, H, W]."""
        return self.logits_of(scalars_of(images)).float()

    def logits_of(self, columns: Tensor) -> Tensor:
        """Return logits [n, K] of scalars [n, F]."""
        sums: Tensor = self.trees(columns)
        return torch.cat([-sums / 2, sums / 2], 1) if self.trees.logits == 1 else sums

    def fit_splits(self, splits: SplitsToFit) -> None:
        """Fit to the training images."""
        columns, labels = columns_of(scalars_of, splits, most=self.most_images)
        self.fit(columns.cpu().numpy(), labels.cpu().numpy(), splits=splits)

    def fit(self, columns: Any, labels: Any, *, splits: SplitsToFit) -> Any:
        """Fit to columns [n, F] and labels [n]; return scikit-learn's classifier."""
        from sklearn.ensemble import GradientBoostingClassifier

        def ended(stage: int, *_: Any) -> bool:
            splits.progress(stage + 1, self.stages, "boost")
            return False

        model = GradientBoostingClassifier(
            n_estimators=self.stages,
            max_depth=self.trees.depth,
            learning_rate=self.rate,
            subsample=self.subsample,
            max_features=COLUMNS_A_SPLIT,
            init="zero",
            random_state=splits.seed,
        ).fit(columns, labels, monitor=ended)
        self.trees.take(model.estimators_, rate=self.rate)
        return model


def scalars_boosted(
    *,
    in_chans: int,
    num_classes: int,
    image_size: int,
    trees: int,
    depth: int,
    rate: float,
    subsample: float,
    most_images: int,
) -> ScalarsBoosted:
    """Return gradient-boosted trees on the scalars."""
    return ScalarsBoosted(
        num_classes, trees=trees, depth=depth, rate=rate, subsample=subsample, most_images=most_images
    )


def _rounded_down(values: Any) -> Any:
    """Return the largest float32 that is not above each value: a float32 is below both or above both."""
    rounded = values.astype(np.float32)
    return np.where(rounded > values, np.nextafter(rounded, np.float32(-np.inf)), rounded)
