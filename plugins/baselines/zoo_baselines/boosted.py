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
SHRINKAGE = 10.0
"""L2 regularisation of the values of leaves."""
IMAGES_IN_LEAF = 20
"""Smallest number of images in a leaf; of fewer than 500 images, 4 %."""
DEEPEST = 8
"""Largest number of splits on the way to a leaf."""


class Trees(nn.Module):
    """Sum of decision trees over stages, for each logit; the nodes of all trees are tensors of a fixed size.

    Args:
        stages: Number of stages.
        logits: Trees of a stage: K, or 1 for two classes.
        leaves: Largest number of leaves of a tree.
        rate: Learning rate: factor of each tree.

    Raises:
        UsageError: One of them is impossible.
    """

    column: Tensor
    left: Tensor
    right: Tensor

    def __init__(self, stages: int, logits: int, *, leaves: int, rate: float) -> None:
        super().__init__()
        for name, value, least, most in (("trees", stages, 1, 10_000), ("leaves", leaves, 2, 2**DEEPEST)):
            if type(value) is not int or not least <= value <= most:
                raise UsageError(f"{name}={value!r} must be a whole number from {least} to {most}.")
        if not 0 < rate <= 1:
            raise UsageError(f"rate={rate!r} must be a number above 0, at most 1.")
        self.logits, self.steps = logits, min(leaves - 1, DEEPEST)
        self.settings = {
            "max_iter": stages, "max_leaf_nodes": leaves, "learning_rate": rate, "max_depth": DEEPEST,
            "max_features": COLUMNS_A_SPLIT, "l2_regularization": SHRINKAGE, "early_stopping": False,
        }  # fmt: skip
        shape = (stages * logits, 2 * leaves - 1)
        for name in ("column", "left", "right"):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.int32))
        self.threshold = nn.Parameter(torch.zeros(shape), requires_grad=False)
        self.value = nn.Parameter(torch.zeros(shape), requires_grad=False)

    def forward(self, columns: Tensor) -> Tensor:
        """Return the sums [n, logits] in float64 of columns [n, F]."""
        columns = columns.float()  # as in `fit`
        tree = torch.arange(len(self.column), device=columns.device)
        node = torch.zeros(len(columns), len(tree), dtype=torch.int64, device=columns.device)
        for _ in range(self.steps):
            below = columns.gather(1, self.column[tree, node].long()) <= self.threshold[tree, node]
            node = torch.where(below, self.left[tree, node], self.right[tree, node]).long()
        found = self.value[tree, node].double()
        return found.unflatten(1, (-1, self.logits)).sum(1)

    def fit(self, kind: Any, columns: Any, truth: Any, *, seed: int) -> Any:
        """Fit to columns [n, F] and labels or values [n], take the trees over, and return scikit-learn's model.

        Args:
            kind: HistGradientBoostingClassifier or HistGradientBoostingRegressor.
            columns: Numbers of the images.
            truth: Labels or values.
            seed: Seed of the columns that a split chooses from.
        """
        from threadpoolctl import threadpool_limits

        # One thread: several add gradients in an order that may differ from run to run.
        in_leaf = min(IMAGES_IN_LEAF, max(1, len(columns) // 25))
        with threadpool_limits(1):
            model = kind(**self.settings, min_samples_leaf=in_leaf, random_state=seed)
            model.fit(np.asarray(columns, np.float32), truth)
        # Attributes of scikit-learn without a promise; a test compares the sums with its predictions.
        trees = [tree for stage in model._predictors for tree in stage]
        start = np.ravel(model._baseline_prediction)
        for number, tree in enumerate(trees):
            nodes = tree.nodes
            count, leaf = len(nodes), nodes["is_leaf"].astype(bool)
            itself = np.arange(count)
            first = start[number] if number < len(start) else 0.0  # what all trees are added to
            self.column[number, :count] = torch.from_numpy(np.where(leaf, 0, nodes["feature_idx"]))
            self.left[number, :count] = torch.from_numpy(np.where(leaf, itself, nodes["left"]))
            self.right[number, :count] = torch.from_numpy(np.where(leaf, itself, nodes["right"]))
            self.threshold[number, :count] = torch.from_numpy(_rounded_down(np.where(leaf, 0, nodes["num_threshold"])))
            self.value[number, :count] = torch.from_numpy(nodes["value"] + first)
        return model


class ScalarsBoosted(nn.Module):
    """Gradient-boosted trees on the scalars.

    Args:
        classes: K.
        trees: Number of stages, of one tree for each class.
        leaves: Largest number of leaves of a tree.
        rate: Learning rate: factor of each tree.
        most_images: Largest number of training images.
    """

    def __init__(self, classes: int, *, trees: int, leaves: int, rate: float, most_images: int) -> None:
        super().__init__()
        self.stages, self.most_images = trees, checked_most(most_images)
        self.trees = Trees(trees, classes if classes > 2 else 1, leaves=leaves, rate=rate)

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
        from sklearn.ensemble import HistGradientBoostingClassifier

        model = self.trees.fit(HistGradientBoostingClassifier, columns, labels, seed=splits.seed)
        splits.progress(self.stages, self.stages, "boost")
        return model


def scalars_boosted(
    *,
    in_chans: int,
    num_classes: int,
    image_size: int,
    trees: int,
    leaves: int,
    rate: float,
    most_images: int,
) -> ScalarsBoosted:
    """Return gradient-boosted trees on the scalars."""
    return ScalarsBoosted(num_classes, trees=trees, leaves=leaves, rate=rate, most_images=most_images)


def _rounded_down(values: Any) -> Any:
    """Return the largest float32 that is not above each value: a float32 is below both or above both."""
    rounded = values.astype(np.float32)
    return np.where(rounded > values, np.nextafter(rounded, np.float32(-np.inf)), rounded)
