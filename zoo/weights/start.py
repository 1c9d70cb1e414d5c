"""Training that starts from trained weights (`--set init=WEIGHTS`): to continue, or to fine-tune on other data.

A cell must name the weights by their content, not by a path: the plan replaces what the user typed by their SHA-256
and keeps a copy in the cache, from which any process can run the cell.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.errors import DataError, TrainingError, UsageError
from zoo.models.about import About, Init
from zoo.models.weights_file import digest_of, read_header
from zoo.paths import cache_dir, make_dir, written_whole
from zoo.specs import ModelSpec
from zoo.weights.find import find_weights, packaged_weights, stored_weights

if TYPE_CHECKING:
    from torch import Tensor, nn

    from zoo.host import Host
    from zoo.models.classifier import Classifier
    from zoo.models.weights_file import Weights
    from zoo.results.cell import Cell

logger = logging.getLogger(__name__)

PREFIX = "sha256:"
_ADDRESS = re.compile(PREFIX + "[0-9a-f]{64}")


def resolve_init(host: Host, value: Any, *, store: Path) -> str:
    """Return the address "sha256:..." of weights, and keep a copy of them in the cache; an address stays as it is.

    Args:
        host: The plugins.
        value: Anything that `zoo.weights.find.find_weights` takes, an address, or "" for a random start.
        store: Store that is searched for run ids.

    Raises:
        UsageError: The address is not a text, or is unknown.
        DataError: The weights are damaged.
    """
    if not isinstance(value, str):
        raise UsageError(
            f"init={value!r} must name weights: a file, a run, p4m.modelA or hf://owner/name.",
            hint="See: zoo weights list. A network's own hyper-parameter of this name is model.init.",
        )
    if not value or _ADDRESS.fullmatch(value):
        return value
    path = find_weights(host, value, store=store)
    header = read_header(path)
    if digest_of(path) != header.sha256:
        raise DataError(f"{path} has been altered or damaged: its tensors do not fit the SHA-256 in its header.")
    kept = _cached(header.sha256)
    make_dir(kept.parent)
    with written_whole(kept) as temporary:  # again even where it is, so that a damaged copy heals
        shutil.copyfile(path, temporary)
    return PREFIX + header.sha256


def start_from(
    host: Host,
    classifier: Classifier,
    *,
    cell: Cell,
    image_shape: tuple[int, int, int],
    classes: tuple[str, ...],
    outputs: int,
    store: Path,
) -> Init:
    """Fill a fresh classifier's network with the weights that a cell starts from.

    They must load as they stand, as for `zoo.load`: the network that they belong to is of the same version and gives
    the golden predictions. Then everything must fit the new network, with one exception: where the weights are for
    another number of classes, the layers whose shape depends on that number start at random, and the log names them.
    The normalisation stays that of the new training images.

    Args:
        host: The plugins.
        classifier: Freshly built for the cell.
        cell: Cell whose setting `init` is an address.
        image_shape, classes: Shape and classes of the new data.
        outputs: Number of predictions for an image.
        store: Searched for the weights where the cache no longer has them.

    Returns:
        The weights that the training starts from.

    Raises:
        DataError: The weights are missing, damaged, or of a network that has changed since.
        MissingError: The plugin of their network is absent.
        TrainingError: The weights do not fit; the error names the tensors.
    """
    import torch

    from zoo.models.load import fill_classifier
    from zoo.models.weights_file import read_weights

    weights = read_weights(_find_address(host, str(cell.training["init"]), store=store))
    about = weights.header.about
    with torch.random.fork_rng(
        devices=[]
    ):  # building draws random numbers; those of the training are independent of them
        fill_classifier(host, weights)
    state, expected = _network_state(weights), classifier.network.state_dict()
    head: set[str] = set()
    if about.columns != outputs:
        head = _head(host, classifier, cell=cell, image_shape=image_shape, num_classes=about.columns)
    _check_fit(cell.model, about, state, expected, head)
    kept = {name: tensor for name, tensor in state.items() if name not in head}
    classifier.network.load_state_dict({**expected, **kept})
    if head:
        logger.warning(
            "init: the weights are for %d predictions, the task has %d: %s start at random",
            about.columns, outputs, ", ".join(sorted(head)),
        )  # fmt: skip
    elif about.classes != classes:
        logger.warning("init: the weights are for the classes %s", ", ".join(about.classes))
    return Init(sha256=weights.header.sha256, model=about.model, run_id=about.run_id, new=tuple(sorted(head)))


def check_start(
    host: Host,
    model: str,
    address: str,
    *,
    network: nn.Module,
    outputs: int,
    build: Callable[[int], nn.Module | None],
    store: Path,
) -> None:
    """Refuse weights that do not fit a network, while a training is planned.

    Args:
        host: The plugins.
        model: Id of the network.
        address: Address of the weights, from `resolve_init`.
        network: The network that is to start from them.
        outputs: Number of its predictions for an image.
        build: Function that returns the network for another number of predictions.
        store: Searched for the weights where the cache does not have them.

    Raises:
        DataError: The weights are missing or damaged.
        UsageError: They do not fit; the error names the tensors.
    """
    from zoo.models.weights_file import read_weights

    weights = read_weights(_find_address(host, address, store=store))
    about, expected = weights.header.about, network.state_dict()
    other = build(about.columns) if about.columns != outputs else None
    head = set() if other is None else _of_other_shape(expected, other.state_dict())
    try:
        _check_fit(model, about, _network_state(weights), expected, head)
    except TrainingError as error:
        raise UsageError(str(error.args[0]), hint=error.hint) from error


def _network_state(weights: Weights) -> dict[str, Tensor]:
    prefix = "network."
    return {name.removeprefix(prefix): tensor for name, tensor in weights.state.items() if name.startswith(prefix)}


def _check_fit(
    model: str, about: About, state: Mapping[str, Tensor], expected: Mapping[str, Tensor], head: Container[str]
) -> None:
    """Refuse tensors that are missing, too many or of another shape, but for those of the head.

    Raises:
        TrainingError: The weights do not fit; the error names the tensors.
    """
    from zoo.models.load import differences

    problems = differences(
        {name: tensor for name, tensor in state.items() if name not in head},
        {name: tensor for name, tensor in expected.items() if name not in head},
    )
    if problems:
        raise TrainingError(
            f"{model} cannot start from the weights of {about.model} (run {about.run_id}): {'; '.join(problems)}.",
            hint="Use the network, hyper-parameters and image size that they were trained with.",
        )


def _of_other_shape(state: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> set[str]:
    shapes = {name: tensor.shape for name, tensor in other.items()}
    return {name for name, tensor in state.items() if shapes.get(name) != tensor.shape}


def _head(
    host: Host, classifier: Classifier, *, cell: Cell, image_shape: tuple[int, int, int], num_classes: int
) -> set[str]:
    """Return the tensors whose shape depends on the number of classes: those that differ between two builds."""
    import torch

    from zoo.models.classifier import build_classifier
    from zoo.models.load import hparams_for_loading

    spec = registry.find(host, ModelSpec, cell.model)
    with torch.random.fork_rng():
        other = build_classifier(
            host,
            cell.model,
            hparams_for_loading(spec, cell.hparams),
            image_shape=image_shape,
            num_classes=num_classes,
        )
    return _of_other_shape(classifier.network.state_dict(), other.network.state_dict())


def _cached(digest: str) -> Path:
    return cache_dir() / "weights" / f"{digest}.safetensors"


def _find_address(host: Host, address: str, *, store: Path) -> Path:
    """Return the file with this content.

    Raises:
        DataError: The file was not found in the cache, in the store or in a plugin.
    """
    digest = address.removeprefix(PREFIX)
    if (kept := _cached(digest)).is_file():
        return kept
    for entry in [*packaged_weights(host), *stored_weights(store)]:
        try:
            if entry.path.is_file() and read_header(entry.path).sha256 == digest:
                return entry.path
        except DataError:
            continue
    raise DataError(
        f"The weights {address} that this training starts from are neither in the cache nor in {store}.",
        hint="Plan it again where the weights are available: zoo bench ... --set init=WEIGHTS",
    )
