"""Rows of the tables: trainings of one network with the same settings, wherever their images were rendered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace as replace_cell

from headline_runs import Run
from msgspec.structs import replace

from zoo.results.cell import Cell
from zoo.results.comparison import Variant, group_variants


def best_first(runs: Sequence[Run]) -> list[Variant]:
    """Return the rows of a table, best mean score first; their results are in the order of the seeds.

    Args:
        runs: Runs of one problem; those that `displaced` returns are left out.
    """
    kept = in_rows(runs)
    joined = [replace(run.result, cell=_on_any_device(run.cell)) for run in kept]
    recorded = {id(result): run.result for result, run in zip(joined, kept, strict=True)}
    return [
        Variant(name=row.name, results=tuple(recorded[id(result)] for result in row.results))
        for row in group_variants(joined)
    ]


def in_rows(runs: Sequence[Run]) -> list[Run]:
    """Return the runs that rows are made of: all but those that `displaced` returns."""
    return [run for run, kept in zip(runs, _kept_instead(runs), strict=True) if kept is None]


def displaced(runs: Sequence[Run]) -> list[tuple[Run, Run]]:
    """Return the pairs of trainings of which only the first stands in a row, and counts for its mean.

    Both have the same seed and settings. The first is of images that were rendered on a CPU, as those of most further
    seeds, the second of the same images with the noise of a GPU: as a further seed it would count one of them twice.
    """
    return [(kept, run) for run, kept in zip(runs, _kept_instead(runs), strict=True) if kept is not None]


def _kept_instead(runs: Sequence[Run]) -> list[Run | None]:
    """Return for each run on images of a GPU the same one on images of a CPU, or None; None for the others."""
    on_cpu = {_seed_and_settings(run.cell): run for run in reversed(runs) if not on_images_of_gpu(run.cell)}
    return [on_cpu.get(_seed_and_settings(run.cell)) if on_images_of_gpu(run.cell) else None for run in runs]


def on_images_of_gpu(cell: Cell) -> bool:
    """Return whether images were rendered on a GPU; the training may have run elsewhere (`headline_runs.gpu_of`)."""
    return cell.recipe.device_type != "cpu"


def _on_any_device(cell: Cell) -> Cell:
    return replace_cell(cell, recipe=replace_cell(cell.recipe, device_type=""))


def _seed_and_settings(cell: Cell) -> str:
    # With --data-seeds, the seed of the data set has the training images that it has without.
    same_images = cell.recipe.simulator and cell.train_seed == cell.recipe.seed
    return _on_any_device(replace_cell(cell, train_seed=None) if same_images else cell).run_id
