"""From a file of weights to a classifier that answers as it did when the file was written, or to an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo import registry
from zoo.data.channels import open_channels
from zoo.devices import in_float32
from zoo.errors import DataError, MissingError, UsageError
from zoo.models.about import About
from zoo.models.classifier import build_classifier
from zoo.models.copies import copy_of
from zoo.models.trained import TrainedClassifier
from zoo.models.weights_file import Weights, read_weights
from zoo.plurals import counted
from zoo.specs import ModelSpec

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.host import Host

GOLDEN_TOLERANCE = 1e-3
"""Largest difference of a golden logit, as a share of the largest golden logit (or of 1): float32 on another
processor or in another torch differs by some 1e-5; a changed layer by far more."""


def load_weights(host: Host, path: Path) -> TrainedClassifier:
    """Build the network that a file belongs to, fill it, and compare its answers with the golden ones.

    Args:
        host: The plugins.
        path: Path of the weights file; `zoo.weights.find` finds it by name.

    Returns:
        In evaluation mode, on the CPU.

    Raises:
        DataError: The file is damaged or altered; the installed network is of another version, symmetry group
            or shape; or it gives other answers.
        MissingError: The plugin of the network is absent or broken.
    """
    return fill_classifier(host, read_weights(path))


def fill_classifier(host: Host, weights: Weights) -> TrainedClassifier:
    """Return what `load_weights` returns, from a file's content, and raise what it raises."""
    path, about = weights.path, weights.header.about
    if not {"images", "logits"} <= weights.golden.keys():
        raise DataError(f"{path} has no golden predictions.", hint=_AGAIN)
    try:
        spec = registry.find(host, ModelSpec, about.model)
    except UsageError as error:  # the file's word, not the user's
        raise MissingError(
            f"{path} holds weights of {about.model}, which is not provided by an installed plugin. They were made with "
            f"{_made_with(about)}.",
            hint=_provide(about),
        ) from error
    _check_spec(about, spec, path)
    classifier = build_classifier(
        host,
        about.model,
        hparams_for_loading(spec, about.hparams),
        image_shape=about.image_shape,
        num_classes=about.columns,
    )
    problems = differences(weights.state, classifier.state_dict())
    if problems:
        raise DataError(f"{path} does not fit the installed {about.model}: {'; '.join(problems)}.", hint=_AGAIN)
    channels = None
    if about.camera is not None:
        channels = open_channels(host, about.recipe.channels, about.camera, of=str(path))
    trained = TrainedClassifier(classifier.network, about=about, channels=channels)
    trained.load_state_dict(weights.state)
    trained.detector = weights.detector
    trained.estimate(about.targets, standardised=not spec.fits_itself)
    trained.eval()
    _check_golden(trained, weights)
    return trained


def hparams_for_loading(spec: ModelSpec, hparams: Mapping[str, Any]) -> dict[str, Any]:
    """Return hyper-parameters that fetch no initial weights: the weights come from the file."""
    return {**spec.defaults, **hparams, **spec.initialisers}


def differences(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """Return in words which tensors are missing, too many, or of another shape; nothing where all fit."""
    lists = {
        "missing": [name for name in expected if name not in state],
        "too many": [name for name in state if name not in expected],
        "of another shape": [
            f"{name} {list(state[name].shape)} for {list(tensor.shape)}"
            for name, tensor in expected.items()
            if name in state and state[name].shape != tensor.shape
        ],
    }
    return [
        f"{counted(len(names), 'tensor')} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in lists.items()
        if names
    ]


def golden_predictions(classifier: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Return "images" and the "logits" that the classifier gives for them on the CPU in float32.

    Args:
        classifier: Classifier on any device.
        images: [n, C, H, W], a few.
    """
    # A copy: the run goes on with the classifier where it is.
    on_cpu = copy_of(classifier).cpu().float().eval()
    with torch.no_grad(), in_float32():
        return {"images": images.cpu(), "logits": on_cpu(images.cpu())}


_AGAIN = "Install the versions that the file names (zoo weights list --json), or train again: zoo rerun RUN"


def _check_spec(about: About, spec: ModelSpec, path: Path) -> None:
    """Refuse weights of a network that has changed since.

    Raises:
        DataError: Versions, symmetry groups or hyper-parameters differ; the error states both.
    """
    problems = []
    if spec.version != about.model_version:
        problems.append(f"they are of version {about.model_version}, installed is version {spec.version}")
    if spec.group != about.group:
        problems.append(f"its symmetry group was {about.group}, now it is {spec.group}")
    gone = [name for name in about.hparams if name not in spec.defaults]
    if gone:
        problems.append(f"it no longer has the hyper-parameters {', '.join(gone)}")
    if problems:
        raise DataError(
            f"{path} holds weights of {about.model}, which has changed since: {'; '.join(problems)}. "
            f"They were made with {_made_with(about)}.",
            hint=_AGAIN,
        )


def _provide(about: About) -> str:
    """Return the step that provides the network of a file of weights."""
    if not (files := about.files):
        return "Install that."
    options = " ".join(f"--plugin {name}" for name in files)
    return f"Name its file: zoo {options} ...; in Python: host=zoo.host.load_plugins(files={list(files)})"


def _made_with(about: About) -> str:
    return ", ".join(f"{name} {version}" for name, version in about.versions.items())


def _check_golden(trained: TrainedClassifier, weights: Weights) -> None:
    """Compare the golden predictions.

    Raises:
        DataError: The predictions differ by more than `GOLDEN_TOLERANCE`.
    """
    expected = weights.golden["logits"]
    with torch.no_grad(), in_float32():
        found = trained(weights.golden["images"])
    scale = max(1.0, float(expected.abs().max()))
    error = float((found - expected).abs().max()) / scale if found.shape == expected.shape else float("inf")
    if not error <= GOLDEN_TOLERANCE:
        raise DataError(
            f"{weights.path}: {trained.about.model} as installed gives other predictions than when these weights were "
            f"written: the logits of {counted(len(expected), 'stored image')} differ by {error:.1e}, allowed are "
            f"{GOLDEN_TOLERANCE:g} (of the largest logit).",
            hint=_AGAIN,
        )
