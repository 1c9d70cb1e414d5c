"""Detectors of PyOD on scalars of the image."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.models.own_fit import SplitsToFit
from zoo.scores.scalars import NAMES, scalars_of
from zoo_anomaly.closed import FARTHEST
from zoo_anomaly.fitting import check_most_images, columns_of

DETECTORS: dict[str, tuple[str, dict[str, Any]]] = {
    "gmm": ("gmm.GMM", {"n_components": 8}),
    "hbos": ("hbos.HBOS", {}),
    "iforest": ("iforest.IForest", {}),
    "inne": ("inne.INNE", {}),
    "kde": ("kde.KDE", {}),
    "knn": ("knn.KNN", {"n_neighbors": 5}),
    "lof": ("lof.LOF", {"n_neighbors": 20}),
    "ocsvm": ("ocsvm.OCSVM", {}),
}
"""Name -> class below `pyod.models`, and arguments that differ from its defaults.

Left out are detectors whose score of an image depends on the other images of the batch, such as ECOD and COPOD.
"""


class PyODDetector(nn.Module):
    """Score images by a detector of PyOD on 64 standardised scalars.

    A detector of PyOD can be stored as a pickle only, which executes code when it is read. Stored are the scalars of
    the training images, and the detector is fitted to them again, with the same seed, when it is first needed.

    Source: Zhao, Nasrullah & Li 2019, Journal of Machine Learning Research 20(96), 1.

    Args:
        detector: Name, a key of `DETECTORS`.
        most_images: Largest number of training images; this many lines of scalars are stored.

    Raises:
        UsageError: An argument is out of range.
    """

    mean: Tensor
    scale: Tensor
    columns: Tensor
    count: Tensor
    seed: Tensor

    def __init__(self, detector: str, *, most_images: int) -> None:
        super().__init__()
        if detector not in DETECTORS:
            raise UsageError(f"detector={detector!r} must be one of {', '.join(DETECTORS)}.")
        check_most_images(most_images)
        self.detector = detector
        self.most_images = most_images
        self.register_buffer("mean", torch.zeros(len(NAMES)))
        self.register_buffer("scale", torch.ones(len(NAMES)))
        self.register_buffer("columns", torch.zeros(most_images, len(NAMES)))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.register_buffer("seed", torch.zeros((), dtype=torch.long))
        self._fitted: Any = None
        self._fitted_to: tuple[int, int] = (0, 0)

    def forward(self, images: Tensor) -> Tensor:
        """Return the anomaly score [n] of images [n, C, H, W]; 0 for all images before a fit."""
        if not int(self.count):
            return torch.zeros(len(images), device=images.device)
        columns = self._standardised(scalars_of(images)).cpu().double().numpy()
        scores = torch.from_numpy(self._detector().decision_function(columns))
        return scores.to(images.device, torch.float32)

    def fit_splits(self, splits: SplitsToFit) -> None:
        """Store standardised scalars of the training images, and fit the detector to them."""
        columns = columns_of(scalars_of, splits, most=self.most_images, what="scalars")
        mean, deviation = columns.mean(0), columns.std(0)
        constant = deviation <= 1e-6 * abs(mean) + 1e-30
        deviation[constant] = 1.0
        self.mean.copy_(torch.from_numpy(mean))
        self.scale.copy_(torch.from_numpy((1 / deviation) * ~constant))
        self.columns.zero_()
        self.columns[: len(columns)] = self._standardised(torch.from_numpy(columns).to(self.columns.device))
        self.count.fill_(len(columns))
        self.seed.fill_(splits.seed)
        self._detector()

    def _standardised(self, columns: Tensor) -> Tensor:
        standard = (columns.double() - self.mean.double()) * self.scale.double()
        return standard.clamp(-FARTHEST, FARTHEST).float()

    def _detector(self) -> Any:
        """Return the detector, fitted again where the stored scalars are others than those of its last fit."""
        state = (id(self.columns), self.columns._version)
        if self._fitted is None or self._fitted_to != state:
            place, arguments = DETECTORS[self.detector]
            module, _, name = place.partition(".")
            made = getattr(importlib.import_module(f"pyod.models.{module}"), name)
            most = {"n_components": int(self.count), "n_neighbors": int(self.count) - 1}
            arguments = {key: min(value, most.get(key, value)) for key, value in arguments.items()}
            if "random_state" in inspect.signature(made).parameters:
                arguments["random_state"] = int(self.seed)
            fitted = made(**arguments)
            fitted.fit(self.columns[: int(self.count)].cpu().double().numpy())
            self._fitted, self._fitted_to = fitted, state
        return self._fitted


def build_pyod(*, in_chans: int, num_classes: int, image_size: int, detector: str, most_images: int) -> PyODDetector:
    """Build a detector of PyOD."""
    return PyODDetector(detector, most_images=most_images)
