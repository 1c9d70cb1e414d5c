"""Recorded runs: the lines of benchmarks/results/headline.jsonl, and what distinguishes a run from others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Literal

from zoo import registry
from zoo.budgets import BUDGETS
from zoo.host import Host, load_plugins
from zoo.models.weights_file import read_header
from zoo.plan.overrides import data_params
from zoo.plan.settings import TrainingSettings
from zoo.results.cell import Cell
from zoo.results.schema import Epoch, Finished
from zoo.schema import Record, read_record
from zoo.scores.schema import Interval
from zoo.specs import DatasetSpec, ModelSpec
from zoo.weights.find import packaged_weights
from zoo.weights.start import PREFIX


class Shift(Record):
    """Scores of a run's weights on images that they were not trained for.

    Args:
        auc: Class -> one-vs-rest area; also "macro" and "micro".
        intervals: Name of a score -> 95 % interval.
        accuracy: Share of images whose most probable class is the true one.
        images: Number of images.
        angle: Degrees by which they were turned.
    """

    auc: Mapping[str, float]
    intervals: Mapping[str, Interval]
    accuracy: float
    images: int
    angle: float


class Run(Record):
    """A line of benchmarks/results/headline.jsonl.

    Args:
        part: "table", "difficulty" for the runs of difficulty.toml, or "task" for tasks other than classification.
        result: Result of the run.
        history: Its epochs.
        shifts: Name of a shift -> scores on such images.
    """

    part: Literal["table", "difficulty", "task"]
    result: Finished
    history: tuple[Epoch, ...]
    shifts: Mapping[str, Shift]

    @property
    def cell(self) -> Cell:
        """What was run."""
        return self.result.cell


def read_run(line: Mapping[str, Any]) -> Run:
    """Return the run that a line of the record holds.

    A line is a result and the other fields of a `Run` side by side, without what is of one machine only: folder, hashes
    of files, and the kernel's build.

    Raises:
        DataError: it is damaged.
    """
    rest = {name: line[name] for name in ("part", "history", "shifts") if name in line}
    content = {name: value for name, value in line.items() if name not in rest}
    cell = {name: value for name, value in content.get("cell", {}).items() if name not in ("schema", "run_id")}
    content |= {
        "cell": cell,
        "run_dir": Path(),
        "files": {},
        "environment": {"platform": ""} | content.get("environment", {}),
        "cost": {"processes": 1} | content.get("cost", {}),  # the first lines were written before there were several
        "test": {"extra": {}} | content.get("test", {}),
    }
    return read_record({**rest, "result": content}, Run, what="The run")


def gpu_of(run: Run) -> str:
    """Return the name of the GPU that a training ran on; "" for a CPU, in a machine with a GPU as well.

    Its images may have been rendered elsewhere (`headline_rows.on_images_of_gpu`).
    """
    result = run.result
    return (result.environment.gpu or result.device) if result.device.startswith("cuda") else ""


def name_of(cell: Cell) -> str:
    """Return the bare name of a run's data set."""
    return cell.data.rpartition("/")[2]


def full_size(cell: Cell) -> bool:
    """Return whether a run had the whole training set of its budget."""
    return cell.sizes["train"] == BUDGETS[cell.budget].sizes["train"]


def problem_size(run: Run) -> tuple[str, int]:
    """Return what the scores of two choices of one population must share to be compared: budget, training images."""
    return run.cell.budget, run.cell.sizes["train"]


def choice(run: Run) -> str:
    """Return in which parameters of the data a run differs from our definition at its budget, or "nothing".

    Weights that it started from are named too.
    """
    budget = BUDGETS[run.cell.budget]
    dataset = dataset_of(run)
    then = dataset.earlier.get(str(run.cell.recipe.dataset_version), {})
    ours = {**data_params(dataset, budget, {}), **then}
    params = run.cell.recipe.params
    told = [f"`{name}` {value}" for name, value in params.items() if value != ours[name]]
    if run.cell.training.get("init"):  # a network that fits itself starts from nothing
        told.append(f"started from `{start_of(run)}`")
    return ", ".join(told) or "nothing"


def start_of(run: Run) -> str:
    """Return the name of the bundled weights that a run started from; of other weights the hash."""
    address = str(run.cell.training["init"])
    return bundled().get(address, address)


def usual_training(cell: Cell) -> dict[str, Any]:
    """Return the training settings that the budget and the network of a cell have where a user sets none."""
    spec = registry.find(installed(), ModelSpec, cell.model, usable=False)
    return asdict(TrainingSettings(**{**BUDGETS[cell.budget].training, **spec.training}))


@cache
def bundled() -> dict[str, str]:
    """Return the name of each file of bundled weights, by the address that runs that started from it hold."""
    return {PREFIX + read_header(Path(entry.path)).sha256: entry.name for entry in packaged_weights(installed())}


@cache
def installed() -> Host:
    """Return the installed plugins."""
    return load_plugins(environment={})


def dataset_of(run: Run) -> DatasetSpec:
    """Return the data set of a run, as the installed plugins define it."""
    return registry.find(installed(), DatasetSpec, run.cell.data)
