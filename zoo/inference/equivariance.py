"""Equivariance error of a network and of each of its layers: trained, on the images it is for, or untrained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo import registry
from zoo.data.recipe import SPLITS
from zoo.errors import DataError, TrainingError
from zoo.inference.evaluate import evaluation_recipe, open_evaluation
from zoo.inference.prepare import Preparation, prepare_image
from zoo.inference.read import Picture, Skipped
from zoo.models.classifier import Classifier, build_classifier
from zoo.models.size_limit import size_limit
from zoo.models.trained import TrainedClassifier
from zoo.plurals import counted
from zoo.schema import Count, Record
from zoo.scores.equivariance import blob_images, declared_symmetry, measure_equivariance
from zoo.scores.layer_equivariance import measure_layers
from zoo.scores.schema import Invariance, LayerError
from zoo.specs import ModelSpec
from zoo.tasks.find import example_task, tasks_by_name

if TYPE_CHECKING:
    from zoo.host import Host

BLOB_IMAGES = 8
"""Images that an untrained network, and the layers of any network, are measured on."""
LEAST_IMAGES = 2
"""One image has no spread."""


class Measured(Record):
    """Equivariance error of one network on some images.

    Args:
        model: Id of the network.
        run_id: Run id of its training; None for an untrained network.
        images: Kind of the images in words, such as "test images of deeplense/modelA".
        number: Number of images.
        image_size: Their height and width in pixels.
        group: Group that was measured: the network's own one, or another one on request; None without any.
        quality: Declared quality of the equivariance under the group: "exact", "approximate" or None.
        error: Error of the logits.
        layers: Error of each layer under the group; without a group, under d4.
    """

    model: str
    run_id: str | None
    images: str
    number: Count
    image_size: Count
    group: str | None
    quality: str | None
    error: Invariance
    layers: tuple[LayerError, ...]


def measure_untrained(
    host: Host,
    spec: ModelSpec,
    hparams: Mapping[str, Any],
    *,
    size: int,
    group: str | None = None,
    seed: int = 0,
    layers: bool = True,
) -> Measured:
    """Return the error of an untrained network on smooth random images.

    Args:
        host: The plugins.
        spec: Spec of the network.
        hparams: Resolved hyper-parameters.
        size: Height and width of the images in pixels.
        group: Group to measure under; default: the network's own.
        seed: Seed of weights and images.
        layers: Whether each layer is measured, too.

    Raises:
        UsageError: The network refuses the size.
        TrainingError: The network cannot take the images, or a logit is not finite.
    """
    torch.manual_seed(seed)
    task = example_task(spec.tasks[0], tasks_by_name(host))
    with size_limit(spec.id):
        classifier = build_classifier(host, spec.id, hparams, image_shape=(1, size, size), num_classes=task.outputs)
    images = blob_images(BLOB_IMAGES, 1, size, seed=seed)
    try:
        with torch.no_grad():
            classifier.eval()(images[:1])
    except Exception as error:  # the network's own code
        raise TrainingError(
            f"{spec.id} cannot take images of {size} x {size} pixels: {type(error).__name__}: {error}"
        ) from error
    return _measured(
        spec,
        classifier,
        images,
        about="smooth random images",
        run_id=None,
        group=group,
        layers=layers,
        classes=not task.targets,
    )


def measure_trained(
    host: Host,
    trained: TrainedClassifier,
    images: NDArray[np.float32],
    *,
    about: str,
    group: str | None = None,
    layers: bool = True,
) -> Measured:
    """Return the error of a trained network.

    Args:
        host: The plugins.
        trained: The weights, on the device to compute on.
        images: [n, C, H, W] as the network takes them, from `own_test_images` or `images_of_files`.
        about: Kind of the images in words.
        group: Group to measure under; default: the network's own.
        layers: Whether each layer is measured, too.

    Raises:
        DataError: Fewer than two images.
        TrainingError: A logit is not finite.
    """
    if len(images) < LEAST_IMAGES:
        least = counted(LEAST_IMAGES, "image")
        raise DataError(f"{len(images)} of the {about}: the error is measured on at least {least}.")
    spec = registry.find(host, ModelSpec, trained.about.model)
    on_device = torch.from_numpy(images).to(trained.mean.device)
    return _measured(
        spec,
        trained,
        on_device,
        about=about,
        run_id=trained.about.run_id,
        group=group,
        layers=layers,
        classes=not trained.about.targets,
    )


def own_test_images(
    host: Host,
    trained: TrainedClassifier,
    number: int,
    *,
    device: str = "cpu",
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[NDArray[np.float32], str]:
    """Return test images of the data set that a network was trained for, and their kind in words.

    Args:
        host: The plugins.
        trained: The weights.
        number: Number of images; a data set of existing images may have fewer.
        device: "cpu" or "cuda", to render on.
        progress: Function called with split, images made, images to be made while it simulates.

    Raises:
        DataError: The images have another shape than the training images.
        MissingError: A plugin is absent.
    """
    recipe = evaluation_recipe(host, trained, device=device)
    sizes = dict.fromkeys(SPLITS, number)
    split = open_evaluation(host, trained, recipe, sizes=sizes, progress=progress).split("test")
    return split.images[:number], f"test images of {recipe.dataset}"


def images_of_files(
    trained: TrainedClassifier, pictures: Iterable[Picture | Skipped]
) -> tuple[NDArray[np.float32], list[Skipped]]:
    """Return images of files in the form of the training images, and what was left out.

    Args:
        trained: The weights.
        pictures: Images from `zoo.inference.read.read_pictures`.
    """
    images, skipped = [], []
    for picture in pictures:
        item = picture if isinstance(picture, Skipped) else prepare_image(picture, trained, Preparation())
        if isinstance(item, Skipped):
            skipped.append(item)
        else:
            images.append(item.pixels)
    if not images:
        return np.zeros((0, *trained.image_shape), np.float32), skipped
    return trained.complete(torch.from_numpy(np.stack(images))).numpy(), skipped


def _measured(
    spec: ModelSpec,
    classifier: Classifier,
    images: Tensor,
    *,
    about: str,
    run_id: str | None,
    group: str | None,
    layers: bool,
    classes: bool,
) -> Measured:
    own_group, quality = declared_symmetry(spec, classifier.network)
    group = group or own_group
    found = measure_layers(classifier, images[:BLOB_IMAGES], group) if layers else []
    return Measured(
        model=spec.id,
        run_id=run_id,
        images=about,
        number=len(images),
        image_size=images.shape[-1],
        group=group,
        quality=quality if group == own_group else None,
        error=measure_equivariance(classifier, images, group, classes=classes),
        # The classifier is measured, whose pixels are those of the images; its one child is the network.
        layers=tuple(msgspec.structs.replace(layer, name=layer.name.removeprefix("network.")) for layer in found),
    )
