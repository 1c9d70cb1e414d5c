"""The checkpoint of a training: one file that checks itself, from which training goes on to the same bits.

From a damaged one nothing is taken, and training starts again from its first epoch.
"""

from __future__ import annotations

import functools
import json
import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from zoo.errors import DataError
from zoo.models.copies import tensors_for_file
from zoo.paths import parse_json, regular_file, written_whole
from zoo.results.schema import Epoch
from zoo.results.store import CHECKPOINT as CHECKPOINT  # also from here
from zoo.schema import json_text, plain, read_record
from zoo.train.average import MovingAverage
from zoo.train.optimizers import set_state, state_of

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass
class Position:
    """The part of an epoch that was trained before a stop.

    Args:
        step: Number of its complete steps.
        rate: Learning rate of the last one.
        waited_seconds: Time in which the network waited for images.
        seconds: Time of these steps.
    """

    step: int = 0
    rate: float = 0.0
    waited_seconds: float = 0.0
    seconds: float = 0.0


@dataclass
class TrainingState:
    """State that changes from epoch to epoch beside the tensors of the training; kept in the checkpoint's header.

    Args:
        epoch: Number of complete epochs.
        step: Number of steps.
        best_epoch: Best epoch so far.
        micro_batches: Parts that each batch is computed in.
        history: An entry for each complete epoch.
        position: Position in the next epoch, where the training was stopped within it.
    """

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    micro_batches: int = 1
    history: list[Epoch] = field(default_factory=list)
    position: Position | None = None


class Checkpoint(NamedTuple):
    """Content of a checkpoint.

    Args:
        state: State of the training.
        tensors: Tensors of network, average, optimisers, best weights and the epoch in hand.
        values: What the optimisers keep beside tensors.
    """

    state: TrainingState
    tensors: dict[str, Tensor]
    values: dict[str, Any]


def write_checkpoint(
    path: Path,
    state: TrainingState,
    classifier: nn.Module,
    average: MovingAverage,
    optimizers: Sequence[torch.optim.Optimizer],
    best: dict[str, Tensor],
    within: Mapping[str, Tensor] | None = None,
) -> None:
    """Write everything that training goes on from.

    Args:
        path: Path of the file.
        state: State of the training.
        classifier, average: Network, and the moving average of its weights.
        optimizers: One for each turn.
        best: Weights of the best epoch.
        within: Tensors of an epoch that was stopped at `state.position`.

    Raises:
        DataError: The file cannot be written, or an optimiser keeps what no file can hold.
    """
    tensors = weights_of(classifier, average) | {f"best.{name}": tensor for name, tensor in best.items()}
    tensors |= {f"{_WITHIN}{name}": tensor for name, tensor in (within or {}).items()}
    values: dict[str, Any] = {}
    for turn, optimizer in enumerate(optimizers):
        of_optimizer, other = state_of(optimizer)
        tensors |= {f"{_prefix(turn)}{name}": tensor for name, tensor in of_optimizer.items()}
        values |= {f"{_prefix(turn)}{name}": value for name, value in other.items()}
    on_cpu = tensors_for_file(tensors)
    texts = {"state": json_text(plain(state), what=path.name), "optimizers": json.dumps(values)}
    with written_whole(path) as temporary:
        save_file(on_cpu, temporary, metadata={**texts, "checksum": _checksum(path, texts, on_cpu)})


def read_checkpoint(path: Path, weights: dict[str, Tensor]) -> Checkpoint | None:
    """Return a checkpoint that fits the weights, or None; a damaged one is logged."""
    try:
        return _read(path, weights)
    except FileNotFoundError:
        return None
    except DataError as error:
        logger.warning("%s Training starts again from the first epoch.", error)
        return None


def check_checkpoint(run_dir: Path) -> str:
    """Return what is wrong with the checkpoint of a run, or "" if it is sound or there is none."""
    try:
        _open(run_dir / CHECKPOINT)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{CHECKPOINT} cannot be read: {error.strerror or error}"
    except DataError as error:
        return str(error.args[0]).replace(str(run_dir / CHECKPOINT), CHECKPOINT).removesuffix(".")
    return ""


def _read(path: Path, weights: dict[str, Tensor]) -> Checkpoint:
    """Return a checkpoint.

    Raises:
        FileNotFoundError: The file was not found.
        DataError: The checkpoint is damaged, of another run, or of a network that was built differently.
    """
    found = _open(path)
    if {name: tensor.shape for name, tensor in found.tensors.items() if name.startswith(("model.", "average."))} != {
        name: tensor.shape for name, tensor in weights.items()
    }:
        raise DataError(f"{path} holds other weights than the network has now.")
    return found


def _open(path: Path) -> Checkpoint:
    """Return a checkpoint, whose network may be another one now.

    Raises:
        FileNotFoundError: The file was not found.
        DataError: The checkpoint is damaged, or of another run.
    """
    try:
        with safe_open(regular_file(path), framework="pt") as file:
            metadata = file.metadata() or {}
            names = file.keys()  # no dictionary: the file itself cannot be iterated
            tensors = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise DataError(f"{path} is damaged: {error}.") from error
    texts = {name: metadata.get(name, "") for name in ("state", "optimizers")}  # earlier versions wrote the first
    if metadata.get("checksum") != _checksum(path, texts, tensors):
        raise DataError(f"{path} is damaged, or of another run: its checksum does not fit.")
    try:
        content, values = parse_json(texts["state"]), parse_json(texts["optimizers"] or "{}")
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged: {error}.") from error
    return Checkpoint(read_record(content, TrainingState, what=str(path)), tensors, values)


def take_checkpoint(
    checkpoint: Checkpoint,
    classifier: nn.Module,
    average: MovingAverage,
    optimizers: Sequence[torch.optim.Optimizer],
) -> tuple[TrainingState, dict[str, Tensor]]:
    """Fill everything from a checkpoint; return the state and the best weights."""
    part = functools.partial(_part, checkpoint.tensors)
    classifier.load_state_dict(part("model."))
    average.module.load_state_dict(part("average."))
    for turn, optimizer in enumerate(optimizers):
        set_state(optimizer, part(_prefix(turn)) | _part(checkpoint.values, _prefix(turn)))
    return checkpoint.state, part("best.")


def tensors_within(checkpoint: Checkpoint | None) -> dict[str, Tensor]:
    """Return the tensors of the epoch in which a training was stopped; none where it was stopped between two."""
    return {} if checkpoint is None else _part(checkpoint.tensors, _WITHIN)


_WITHIN = "within."


def _part(content: Mapping[str, T], prefix: str) -> dict[str, T]:
    """Return what has names that begin with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in content.items() if name.startswith(prefix)}


def _prefix(turn: int) -> str:
    """Return the start of the names of an optimiser's tensors; the only one of a training has no number."""
    return f"optimizer{turn or ''}."


def weights_of(classifier: nn.Module, average: MovingAverage) -> dict[str, Tensor]:
    tensors = {f"model.{name}": tensor for name, tensor in classifier.state_dict().items()}
    return tensors | {f"average.{name}": tensor for name, tensor in average.module.state_dict().items()}


def _checksum(path: Path, texts: Mapping[str, str], tensors: dict[str, Tensor]) -> str:
    """Return a checksum of a checkpoint's content and of the run (its folder's name) that it belongs to."""
    value = zlib.crc32(f"{path.absolute().parent.name}\0{''.join(texts.values())}".encode())
    for name, tensor in sorted(tensors.items()):
        value = zlib.crc32(name.encode(), value)
        value = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, value)
    return f"{value:08x}"
