"""Match networks by cost: scale their widths until each costs as much as the first one."""

from __future__ import annotations

import hashlib
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo import registry
from zoo.data.recipe import canonical_json
from zoo.errors import DataError, UsageError, nearest
from zoo.paths import make_dir, read_json
from zoo.results.cell import Cell
from zoo.results.store import write_json
from zoo.schema import Record, plain, read_record
from zoo.specs import ModelSpec

if TYPE_CHECKING:
    from zoo.host import Host

MATCHES = ("params", "macs", "time")
WIDTHS = ("widths", "width")
"""The hyper-parameters that are scaled: channels or fields, for each layer or for all layers."""

_CLOSE = 0.01
_TRIES = 8
_BATCH = 16
_STEPS = 7


class Match(Record):
    """Widths that match a network to another one, as a file in the store's folder `.match` holds them.

    Args:
        hparams: All hyper-parameters of the network, with the widths that were found.
        cost: Cost of the network with these widths.
        wanted: Cost of the network that it is matched to.
    """

    hparams: Mapping[str, Any]
    cost: float
    wanted: float

    def __post_init__(self) -> None:
        if not any(name in self.hparams for name in WIDTHS):
            raise ValueError(f"the match has no {' or '.join(WIDTHS)}")


def match_widths(
    host: Host,
    cells: Sequence[Cell],
    *,
    by: str,
    device: str,
    store: Path,
    note: Callable[[str], None] = lambda sentence: None,
) -> list[Cell]:
    """Return the cells with widths that make each network cost as much as the first network on the same data.

    The widths are stored: a time is measured once, so that repeating a command plans the same cells.

    Args:
        host: Host with the installed plugins.
        cells: Planned cells. The first model in the list keeps its widths.
        by: Cost to match: "params" (number of parameters), "macs" (multiply-accumulates of a forward pass) or "time"
            (of a training step on this machine).
        device: Device on which time is measured: "cpu", "cuda" or "mps".
        store: Folder of the results.
        note: Function called with a sentence on the new cost of each network.

    Raises:
        UsageError: `by` is unknown, or a network has no width to scale or no cost that can be counted.
        TrainingError: Widths are matched by time, and a network cannot be trained.
    """
    if by not in MATCHES:
        raise UsageError(f"--match {by} is not one of {', '.join(MATCHES)}.{nearest(by, MATCHES)}")
    if alone := [cell.model for cell in cells if cell.fits_itself]:
        raise UsageError(
            f"{alone[0]} fits itself: it can neither be matched to another network nor be a reference.",
            hint="Leave it out, or leave out --match.",
        )
    found: dict[str, Match] = {}
    inputs: dict[str, _Input] = {}
    references: dict[str, Cell] = {}
    matched = []
    for cell in cells:
        problem = canonical_json([cell.recipe.identity(), cell.task])
        reference = references.setdefault(problem, cell)
        if cell.model == reference.model:
            matched.append(cell)
            continue
        key = _key(cell, reference, by, device)
        if key not in found:
            stored = _stored(store, key)
            if stored is None:
                inputs[problem] = inputs.get(problem) or _input(host, reference)
                stored = _keep(store, key, _match(host, cell, reference, inputs[problem], by, device))
            found[key] = stored
            note(_sentence(cell, reference, by, found[key]))
        matched.append(replace(cell, hparams=found[key].hparams))
    return matched


def _key(cell: Cell, reference: Cell, by: str, device: str) -> str:
    """Return a digest of everything that a match depends on; seeds and training settings are excluded."""
    sides = [(one.model, one.model_version, dict(one.hparams), dict(one.versions)) for one in (cell, reference)]
    text = canonical_json([by, device if by == "time" else "", cell.recipe.identity(), cell.task, sides])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _stored(store: Path, key: str) -> Match | None:
    """Return a stored match, or None if its file is missing or damaged: the widths are then found again."""
    path = store / ".match" / f"{key}.json"
    try:
        return read_record(read_json(path), Match, what=path.name)
    except (OSError, ValueError, DataError):
        return None


def _keep(store: Path, key: str, match: Match) -> Match:
    make_dir(store / ".match")
    write_json(store / ".match" / f"{key}.json", plain(match))
    return match


class _Input(NamedTuple):
    """Shape of the images of a data set, and the number of predictions for each."""

    image_shape: tuple[int, int, int]
    classes: int


def _input(host: Host, cell: Cell) -> _Input:
    """Return what a network gets from a cell's data set, which may take seconds to open."""
    from zoo.data.open import Dataset
    from zoo.tasks.find import task_of_cell

    data = Dataset(host, cell.recipe, cell.sizes)
    return _Input(data.image_shape, task_of_cell(host, data.spec, cell.task).outputs)


def _match(host: Host, cell: Cell, reference: Cell, data: _Input, by: str, device: str) -> Match:
    """Return the closest match found by scaling all widths by one factor."""
    name = _width_name(host, cell)
    wanted = _cost(host, reference.model, reference.hparams, data, by, device)
    factor, tried = 1.0, set[str]()
    best: Match | None = None
    for _ in range(_TRIES):
        hparams = {**cell.hparams, name: _scaled(cell.hparams[name], factor)}
        if (text := canonical_json(hparams[name])) in tried:
            break
        tried.add(text)
        cost = _cost(host, cell.model, hparams, data, by, device)
        if best is None or abs(math.log(cost / wanted)) < abs(math.log(best.cost / wanted)):
            best = Match(hparams=hparams, cost=cost, wanted=wanted)
        if abs(cost / wanted - 1) < _CLOSE:
            break
        factor *= math.sqrt(wanted / cost)  # the parameters and products of a layer grow as the square of its width
    assert best is not None  # the first factor is always tried
    return best


def _width_name(host: Host, cell: Cell) -> str:
    """Return the hyper-parameter that holds a network's width.

    Raises:
        UsageError: The network lacks this hyper-parameter.
    """
    for name in WIDTHS:
        if name in cell.hparams:
            return name
    with_widths = [
        spec.id for spec in registry.listed(host, ModelSpec) if any(name in spec.defaults for name in WIDTHS)
    ]
    raise UsageError(
        f"{cell.model} has no hyper-parameter {' or '.join(WIDTHS)}: it cannot be matched to another network.",
        hint="List it first, so that the others are matched to it, or leave it out. "
        f"Models with widths: {', '.join(with_widths)}",
    )


def _scaled(widths: Any, factor: float) -> Any:
    if isinstance(widths, (list, tuple)):
        return [max(1, round(width * factor)) for width in widths]
    return max(1, round(widths * factor))


def _cost(host: Host, model: str, hparams: Mapping[str, Any], data: _Input, by: str, device: str) -> float:
    """Return the parameters, the multiply-accumulates, or the seconds of a training step on one batch."""
    import torch

    from zoo.models.classifier import build_classifier
    from zoo.models.cost import count_cost, count_parameters
    from zoo.models.trial import try_classifier

    classifier = build_classifier(host, model, hparams, image_shape=data.image_shape, num_classes=data.classes)
    if by == "params":
        return float(count_parameters(classifier))
    if by == "time":
        images = torch.zeros(2, *data.image_shape, device=device)
        try_classifier(host, classifier.to(device), images, model=model, hparams=hparams, classes=data.classes)
        return _step_seconds(classifier.to(device), data.image_shape, data.classes)
    macs = count_cost(classifier, torch.zeros(1, *data.image_shape)).macs
    if macs is None:
        raise UsageError(
            f"The multiply-accumulates of {model} cannot be counted.", hint="Match by another cost: --match params"
        )
    return float(macs)


def _step_seconds(classifier: Any, image_shape: tuple[int, int, int], classes: int) -> float:
    """Return the median time of a forward and backward pass, in seconds."""
    import torch

    device = next(classifier.parameters()).device
    images = torch.randn(_BATCH, *image_shape, device=device)
    labels = torch.arange(_BATCH, device=device) % classes
    classifier.train()
    seconds = []
    for _ in range(_STEPS + 2):
        started = time.perf_counter()
        classifier.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(classifier(images), labels).backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[2:])


def _sentence(cell: Cell, reference: Cell, by: str, found: Match) -> str:
    name = next(name for name in WIDTHS if name in found.hparams)
    unit = {"params": "parameters", "macs": "multiply-accumulates", "time": "s per training step"}[by]
    cost = f"{found.cost:.4f}" if by == "time" else f"{found.cost:,.0f}"
    return (
        f"matched: {cell.model} with {name}={found.hparams[name]}: {cost} {unit}, "
        f"{found.cost / found.wanted:.2f} times the cost of {reference.model}"
    )
