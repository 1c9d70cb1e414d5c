"""Shows what `zoo bench` is about to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.budgets import find_budget
from zoo.cli.context import console
from zoo.data.about import budget_note
from zoo.data.channels import describe_channels
from zoo.data.phases import describe_phases
from zoo.data.recipe import SPLIT_WORDS
from zoo.plan.existing import count_existing
from zoo.plurals import counted
from zoo.registry import datasets_by_id
from zoo.specs import DatasetSpec, ModelSpec

if TYPE_CHECKING:
    from zoo.data.recipe import Recipe
    from zoo.host import Host
    from zoo.results.cell import Cell


_MOST_CELLS = 24
"""Cells of a plan that are listed one by one."""


def print_plan(
    host: Host, cells: list[Cell], store: Path, *, force: bool, minutes: Mapping[str, float] | None = None
) -> int:
    """Print on stderr what will be done; return how many cells are stored already.

    Args:
        host: The plugins.
        cells: The plan.
        store: Folder of the results.
        force: Whether stored cells are run again.
        minutes: Run id -> Minutes that the run takes, from the suite file.
    """
    from zoo.cli.terminal import styled
    from zoo.results.store import done

    budgets = ", ".join(dict.fromkeys(cell.budget for cell in cells))
    there = {} if force else {cell.run_id: result for cell in cells if (result := done(store, cell)) is not None}
    stored = sum(cell.run_id in there for cell in cells)
    out = console(stderr=True)
    first = cells[0]
    out.print(
        styled(counted(len(cells), "cell"), "bold"),
        f", {stored} of them in {store} already · budget {budgets} · {_precisions(cells)} · images{_simulators(cells)} "
        f"on {first.recipe.device_type}",
        sep="",
    )
    lines = (f"  {cell.data} with {', '.join(_changed_params(host, cell.recipe))}" for cell in cells)
    for line in dict.fromkeys(line for line in lines if not line.endswith(" with ")):
        out.print(line)
    changed: dict[str, list[str]] = {}
    for cell in cells:
        own = _changed_settings(host, cell)
        changed[cell.model] = [words for words in changed.get(cell.model, own) if words in own]  # of all its cells
    for model, told in changed.items():
        if told:
            out.print(f"  {model} with {', '.join(told)}")
    for words in dict.fromkeys(cell.trained_on for cell in cells if cell.phases):
        out.print(f"  trained on {words}; validation and test images stay the same")
    if len(cells) > _MOST_CELLS:
        out.print("  each cell with its run id: --dry-run --json", style="dim")
    for cell in cells if len(cells) <= _MOST_CELLS else []:
        role = ", baseline" if cell.model in registry.find(host, DatasetSpec, cell.data).baselines else ""
        line = f"  {cell.model} on {cell.data}, seed {cell.seed}{variant(cell, cells)}{role}"
        state = styled("  stored" if cell.run_id in there else "", "green")
        out.print("  ", styled(cell.run_id, "dim"), line, state, sep="")  # a narrow terminal folds no run id
    if minutes and (left := sum(minutes.get(cell.run_id, 0.0) for cell in cells if cell.run_id not in there)):
        out.print(f"about {counted(round(left), 'minute')} for the cells with a stated time")
    for line in _existing_images(host, cells):
        out.print(line, style="dim")
    if note := budget_note(
        first.budget, datasets_by_id(host).get(first.data), first.recipe.params, sizes=[cell.sizes for cell in cells],
        simulated=all(cell.recipe.simulator is not None for cell in cells),
    ):  # fmt: skip
        out.print(note, style="dim")
    if any(cell.phases_from for cell in cells):
        out.print("to train without the phases of the budget: --set train.phases=none", style="dim")
    if alone := dict.fromkeys(cell.model for cell in cells if cell.fits_itself):
        fit = "fits itself" if len(alone) == 1 else "fit themselves"
        out.print(f"{', '.join(alone)} {fit}: augmentation and training settings do not apply", style="dim")
    if first.train_seed is not None:
        more = "" if first.recipe.simulator else ", where there are more than it takes"
        out.print(
            f"each seed has training images of its own{more}; validation and test images are the same", style="dim"
        )
    if note := _stream_note(cells):
        out.print(note, style="dim")
    return stored


def _simulators(cells: list[Cell]) -> str:
    """Return " by" and the simulators of the images; "" where all exist already."""
    found = dict.fromkeys(cell.recipe.simulator for cell in cells if cell.recipe.simulator is not None)
    return f" by {', '.join(found)}" if found else ""


def _existing_images(host: Host, cells: Sequence[Cell]) -> list[str]:
    """Return sentences on data sets of existing images: how many there are where they are fewer than asked for."""
    lines = []
    problems = {(cell.recipe.hash, *cell.sizes.items()): cell for cell in cells if cell.recipe.simulator is None}
    for cell in problems.values():
        there = count_existing(host, cell.recipe, cell.sizes)
        if there is None:
            lines.append(f"{cell.data}: existing images, at most {_in_splits(cell.sizes)}")
            continue
        few = {split: number for split, number in there.items() if number < cell.sizes[split]}
        if few:
            wanted = ", ".join(f"{cell.sizes[split]:,}" for split in few)
            source = f"of the budget {cell.budget}" if cell.sizes == find_budget(cell.budget).sizes else "asked for"
            lines.append(f"{cell.data}: {_in_splits(few)}, fewer than the {wanted} {source}")
    return lines


def _in_splits(sizes: Mapping[str, int]) -> str:
    """Return "716 training, 103 validation, 205 test images" of splits and their numbers."""
    return ", ".join(f"{number:,} {SPLIT_WORDS[split]}" for split, number in sizes.items()) + " images"


def _precisions(cells: list[Cell]) -> str:
    """Return the precision of the trainings; where there are several, with the models of each but the first."""
    models: dict[str, list[str]] = {}
    for cell in cells:
        if not cell.fits_itself:
            models.setdefault(cell.precision, []).append(cell.model)
    if not models:
        return cells[0].precision
    most, *others = sorted(models, key=lambda precision: -len(models[precision]))
    return "".join([most, *(f" ({one} for {', '.join(dict.fromkeys(models[one]))})" for one in others)])


def variant(cell: Cell, cells: Sequence[Cell]) -> str:
    """Return ", NAME VALUE ..." of what most others of the same model, data set and seed have not."""

    def decided(one: Cell) -> dict[str, Any]:
        phases = {"trained on": describe_phases(one.phases)} if one.phases else {}
        task = {"task": one.task} if one.task else {}
        return {**task, **one.sizes, **one.training, **one.hparams, **one.recipe.params, **phases}

    same = [decided(one) for one in cells if (one.model, one.data, one.seed) == (cell.model, cell.data, cell.seed)]
    own = decided(cell)
    rare = (name for name in own if 2 * sum(other.get(name) == own[name] for other in same) <= len(same))
    return "".join(f", {name} {own[name]}" for name in rare)


def _stream_note(cells: list[Cell]) -> str:
    """Return what a stream does for these cells, or would do."""
    first = next((cell for cell in cells if not cell.fits_itself), cells[0])
    if first.training.get("stream"):
        images = counted(first.sizes["train"], "new training image")
        return (
            f"streamed: {images} an epoch, rendered as they are needed and not kept; "
            "validation and test images are the same as without --stream"
        )
    if first.budget == "paper" and not first.fits_itself and all(cell.recipe.simulator is not None for cell in cells):
        return "with --stream, no training image is shown twice and none is kept on disk"
    return ""


def _changed_settings(host: Host, cell: Cell) -> list[str]:
    """Return "name=value" of the settings of a network and its training that are not those of its spec and budget."""
    from zoo.plan.settings import TrainingSettings
    from zoo.results.naming import in_words

    spec = registry.find(host, ModelSpec, cell.model)
    defaults = {one.name: one.default for one in fields(TrainingSettings)}
    usual = {**defaults, **spec.training, **find_budget(cell.budget).training}
    trained = [f"{name}={in_words(value)}" for name, value in cell.training.items() if value != usual.get(name)]
    built = [f"{name}={value}" for name, value in cell.hparams.items() if value != spec.defaults.get(name)]
    return [*built, *trained]


def _changed_params(host: Host, recipe: Recipe) -> list[str]:
    """Return "name=value" of what differs from the data set's own, by the budget or by --set, and derived channels."""
    defaults = registry.find(host, DatasetSpec, recipe.dataset).params
    changed = [f"{name}={value}" for name, value in recipe.params.items() if value != defaults.get(name)]
    channels = describe_channels(recipe.channels)
    return [*changed, *([f"channels {channels}"] if channels else [])]
