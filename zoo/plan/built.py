"""Networks that are built while planning, so that impossible arguments stop the plan and not its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.data.recipe import Recipe
from zoo.errors import MissingError, TrainingError, UsageError, ZooError
from zoo.plan.parts import check_brought
from zoo.plan.settings import TrainingSettings
from zoo.plurals import counted
from zoo.results.cell import Cell
from zoo.specs import REFERENCE_SHAPE, DatasetSpec, ModelSpec
from zoo.tasks.find import task_of_cell
from zoo.tasks.task import Task
from zoo.weights.start import check_start

if TYPE_CHECKING:
    from torch import nn

    from zoo.host import Host


SMALLEST = 32
"""Height and width in pixels of the smallest images that any network takes: those of budget smoke."""


def check_arguments(
    host: Host,
    model: ModelSpec,
    hparams: Mapping[str, Any],
    *,
    recipe: Recipe,
    sizes: Mapping[str, int],
    task: Task,
    settings: TrainingSettings | None,
    store: Path,
) -> None:
    """Build a network of this repository whose arguments a request states, and refuse what its builder refuses.

    Its defaults are possible on images of `SMALLEST` pixels and more: there, a network with all of them is not built,
    unless it fits itself to truths, of which it may answer one or several, starts from weights, or brings parts of its
    training.

    Args:
        host: The plugins.
        model: Spec of the network.
        hparams: Its hyper-parameters.
        recipe: Images.
        sizes: Number of images of each split.
        task: Task of the cell.
        settings: Settings of the training; None of a network that fits itself.
        store: Searched for the weights that it starts from.

    Raises:
        UsageError: The builder refuses an argument by this error or a ValueError, or the network brings what the
            settings ask for, has no features for auxiliary truths, or does not take the weights that it starts from.
    """
    parts = settings is not None and (
        settings.loss or settings.optimizer or settings.auxiliary or settings.init or settings.label_smoothing
    )
    stated = dict(hparams) != dict(model.defaults) or (model.fits_itself and task.question.targets)
    if not (stated or parts or _has_small_images(host, recipe, sizes)):
        return

    def build(outputs: int) -> nn.Module | None:
        return _network_of(host, model, hparams, recipe=recipe, sizes=sizes, outputs=outputs)

    network = build(task.outputs)
    if network is not None and settings is not None:
        check_brought(network, settings, model=model.id)
        if settings.auxiliary:
            _check_features(network, outputs=task.outputs, model=model.id)
        if settings.init:
            check_start(host, model.id, settings.init, network=network, outputs=task.outputs, build=build, store=store)


def _check_features(network: nn.Module, *, outputs: int, model: str) -> None:
    """Refuse auxiliary truths of a network that has no features from which they could be estimated.

    Raises:
        UsageError: The network does not end with a linear layer.
    """
    from zoo.models.auxiliary import AuxiliaryHead

    try:
        AuxiliaryHead(network, outputs=outputs, truths=1, weight=1.0, seed=0)
    except TrainingError as error:
        raise UsageError(f"{model}: {error.args[0]}", hint=error.hint) from error


def _has_small_images(host: Host, recipe: Recipe, sizes: Mapping[str, int]) -> bool:
    """Whether simulated images are smaller than all networks take; images that exist may take long to open."""
    from zoo.data.open import Dataset

    if not registry.find(host, DatasetSpec, recipe.dataset).simulated:
        return False
    try:
        return Dataset(host, recipe, sizes).image_shape[-1] < SMALLEST
    except ZooError:
        return False


def check_turns(host: Host, cells: Sequence[Cell], processes: int) -> None:
    """Refuse networks that are trained in turns where several processes train a network together.

    Args:
        host: The plugins.
        cells: Cells of a plan.
        processes: Processes that train a network.

    Raises:
        UsageError: A network is trained in turns.
    """
    if processes == 1:
        return
    from zoo.models.own_training import trains_in_turns

    for model, cell in {cell.model: cell for cell in cells if not cell.fits_itself}.items():
        task = task_of_cell(host, registry.find(host, DatasetSpec, cell.data), cell.task)
        spec = registry.find(host, ModelSpec, model)
        network = _network_of(host, spec, cell.hparams, recipe=cell.recipe, sizes=cell.sizes, outputs=task.outputs)
        if network is not None and trains_in_turns(network):
            raise UsageError(
                f"{counted(processes, 'process')} cannot train {model}, whose optimisers take turns.",
                hint="Leave out --devices, or this model.",
            )


def _network_of(
    host: Host,
    model: ModelSpec,
    hparams: Mapping[str, Any],
    *,
    recipe: Recipe,
    sizes: Mapping[str, int],
    outputs: int,
) -> nn.Module | None:
    """Return the network of a cell.

    Only networks of this repository are built: code of others may end the process, so it runs in that of a cell. Images
    that exist already may take long to open: a network is built for others first, and for these if it refuses.

    Args:
        host, model, hparams, recipe, sizes: Arguments of `check_arguments`.
        outputs: Number of predictions for an image.

    Returns:
        The network; None for one of others, or where it cannot be built for a reason that its cell will state.

    Raises:
        UsageError: The builder refuses an argument.
    """
    from zoo.data.open import Dataset

    if not host.records[model.namespace].first_party:
        return None
    if not registry.find(host, DatasetSpec, recipe.dataset).simulated:
        try:
            return _built(model, hparams, (REFERENCE_SHAPE["in_chans"], REFERENCE_SHAPE["image_size"]), outputs)
        except UsageError:
            pass
    try:
        channels, _, size = Dataset(host, recipe, sizes).image_shape
    except ZooError:
        return None
    return _built(model, hparams, (channels, size), outputs)


def _built(model: ModelSpec, hparams: Mapping[str, Any], shape: tuple[int, int], outputs: int) -> nn.Module | None:
    import torch

    from zoo.models.load import hparams_for_loading
    from zoo.models.network import build_network
    from zoo.models.size_limit import size_limit

    try:
        # Not on "meta", which libraries of filters would keep in their own caches.
        with torch.device("cpu"), torch.random.fork_rng(devices=[]), size_limit(model.id):
            return build_network(
                model,
                in_chans=shape[0],
                num_classes=outputs,
                image_size=shape[1],
                hparams=hparams_for_loading(model, hparams),
            )
    except TrainingError as error:
        if isinstance(error.__cause__, ValueError):
            raise UsageError(str(error.args[0]), hint=f"See: zoo show {model.id}") from error
    except MissingError:
        pass
    return None
