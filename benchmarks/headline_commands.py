"""Commands of zoo that train the networks of a table, from recorded runs: those whose plan has the run ids of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from headline_runs import Run, dataset_of, gpu_of, installed, name_of
from page_parts import enumerated, wrapped

from zoo.budgets import BUDGETS
from zoo.errors import ZooError
from zoo.plan.bench import plan_bench
from zoo.plan.overrides import data_params
from zoo.plan.request import Request
from zoo.results.baselines import is_baseline


class Command(NamedTuple):
    """Options of `zoo bench`."""

    models: tuple[str, ...]
    budget: str
    seeds: tuple[int, ...]
    data_seeds: bool
    precision: str
    settings: tuple[tuple[str, str], ...]

    def text(self, *, data: Sequence[str]) -> str:
        """Return the command for these data sets."""
        words = ["zoo bench", "--model", ",".join(self.models), "--data", ",".join(data), "--budget", self.budget]
        words += ["--seeds", ",".join(map(str, self.seeds))] if self.seeds != (0,) else []
        words += ["--data-seeds"] if self.data_seeds else []
        words += [
            "--device",
            "cpu",
            "--precision",
            self.precision,
            *(f"--set data.{name}={value}" for name, value in self.settings),
        ]
        return " ".join(words)


def commands_note(tables: Sequence[Sequence[Run]]) -> str:
    """Return the commands that train the networks of these tables; "" where no row has default settings.

    Args:
        tables: Runs of each table, all of one problem.
    """
    data_of: dict[Command, list[str]] = {}
    on_gpu: list[str] = []
    for runs in tables:
        planned = commands(runs)
        for command in planned:
            data_of.setdefault(command, []).append(name_of(runs[0].cell))
        ids = set().union(*planned.values())
        own = [run for run in runs if run.result.run_id in ids and gpu_of(run)]
        on_gpu += [f"`{run.cell.model}` {run.result.run_id[:4]}" for run in own]
    if not data_of:
        return ""
    block = "\n".join(command.text(data=data) for command, data in data_of.items())
    text = (
        "Commands that train the networks with default settings on a CPU again, under the run ids of the record, and "
        "the baselines with them"
    )
    if on_gpu:
        text += (
            "; `--device cuda --render-on cpu` in place of `--device cpu` trains on a GPU with the same images, as it "
            f"was done for {enumerated(on_gpu)}"
        )
    return f"{wrapped(f'{text}:')}\n\n```bash\n{block}\n```"


def commands(runs: Sequence[Run]) -> dict[Command, set[str]]:
    """Return commands whose cells are runs of one table, with the run ids of their cells.

    There is one for each precision and list of seeds, most seeds first.
    """
    networks = [run for run in runs if not is_baseline(run.cell, dataset_of(run)) and not run.cell.task]
    kinds = sorted({(run.cell.train_seed is not None, str(run.cell.precision)) for run in networks}, reverse=True)
    return {command: ids for kind in kinds for command, ids in _of_kind(networks, *kind).items()}


def _of_kind(networks: Sequence[Run], data_seeds: bool, precision: str) -> dict[Command, set[str]]:
    recorded = {run.result.run_id for run in networks}
    first = networks[0].cell
    settings = _changed(networks[0])
    seeds_of: dict[str, tuple[int, ...]] = {}
    ids_of: dict[str, list[str]] = {}
    for model in sorted({run.cell.model for run in networks}):
        request = Request(
            models=[model], data=[first.data], budget=first.budget, data_seeds=data_seeds, device="cpu",
            seeds=sorted({run.cell.seed for run in networks if run.cell.model == model}), precision=precision,
            baselines=False, settings={f"data.{name}": value for name, value in settings.items()},
        )  # fmt: skip
        try:
            cells = plan_bench(installed(), request).cells
        except ZooError:
            continue  # such as a network that was refused this precision later
        if own := [cell for cell in cells if cell.run_id in recorded]:
            seeds_of[model], ids_of[model] = tuple(cell.seed for cell in own), [cell.run_id for cell in own]
    by_seeds = sorted(seeds_of, key=lambda model: (-len(seeds_of[model]), seeds_of[model], model))
    found: dict[Command, set[str]] = {}
    for seeds, models in groupby(by_seeds, key=seeds_of.__getitem__):
        names = tuple(models)
        command = Command(names, first.budget, seeds, data_seeds, precision, tuple(settings.items()))
        found[command] = {name for model in names for name in ids_of[model]}
    return found


def _changed(run: Run) -> Mapping[str, str]:
    """Return the parameters of the images that are not those of the budget."""
    usual = data_params(dataset_of(run), BUDGETS[run.cell.budget], {})
    return {name: str(value) for name, value in run.cell.recipe.params.items() if value != usual.get(name)}
