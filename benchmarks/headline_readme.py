"""The tables of the README, from recorded runs: one for each budget that needs no GPU, Models A and B side by side."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace as replace_cell

from headline_commands import commands_note
from headline_notes import old_definition, phases_note
from headline_page import newest_last, title
from headline_runs import Run, dataset_of, full_size, installed, name_of, usual_training
from headline_tables import area, best_first, macs_of, marks_of, rows
from msgspec.structs import replace
from page_parts import enumerated, wrapped

from zoo import registry
from zoo.results.baselines import is_baseline
from zoo.results.comparison import Variant, estimate, group_variants, problem_key
from zoo.results.schema import Finished
from zoo.specs import ModelSpec

SHOWN = {"modelA": "Model A", "modelB": "Model B"}
BASELINE = " (baseline)"  # among the marks of a table
TABLES = {"laptop": 3, "evening": 1}
"""Budgets, and how often a network was trained at least that stands in the table of each."""
READING = (
    "Rows are in the order of {last}. Of one training the interval is over its test images alone, and another training "
    "may change the order of two rows. Of several the score is their mean, and the interval holds the spread between "
    "them, too. †: not shown to be above the best baseline of the same column; the 95 % interval of the difference, as "
    "of separate test images, reaches 0 or lies below."
)


def readme_tables(runs: Sequence[Run]) -> str:
    """Return the README's tables and notes.

    At budget laptop they hold the networks that were trained several times, at budget evening all. They compare
    networks with their default settings on the image alone; what was tried with one of them is on the page of results,
    as are the notes on baselines.
    """
    parts: list[str] = []
    for budget, trainings in TABLES.items():
        tables = {data: chosen(runs, data=data, budget=budget, trainings=trainings) for data in SHOWN}
        if own := {data: table for data, table in tables.items() if table}:
            parts += [table_of(own), *(note for note in notes_on(own) if note not in parts)]
    return "\n\n".join(parts) or "No run is recorded yet."


def chosen(runs: Sequence[Run], *, data: str, budget: str, trainings: int) -> list[Run]:
    """Return the runs of a table: one variant of each network with so many trainings and of each baseline, or none.

    Of several variants it is that with several trainings on images of their own, then that with the most trainings.
    """
    own = newest([run for run in runs if run.cell.budget == budget and has_defaults(run)], data=data)
    kept: dict[str, Variant] = {}
    for variant in group_variants(run.result for run in map(on_any_device, own)):
        earlier = kept.setdefault(variant.model, variant)
        if _weight(variant) > _weight(earlier):
            kept[variant.model] = variant
    ids = {result.run_id: len(variant.results) for variant in kept.values() for result in variant.results}
    all_networks = networks_of(own)
    networks = [run for run in all_networks if ids.get(run.result.run_id, 0) >= trainings]
    baselines = [run for run in own if run not in all_networks and run.result.run_id in ids]
    return networks and [*networks, *baselines]


def _weight(variant: Variant) -> tuple[bool, int]:
    several = len(variant.results) > 1
    return several and any(result.cell.train_seed is not None for result in variant.results), len(variant.results)


def newest(runs: Sequence[Run], *, data: str) -> list[Run]:
    """Return the runs of the newest problem of a data set."""
    found = [run for run in runs if (run.part, name_of(run.cell)) == ("table", data) and full_size(run.cell)]
    if not found:
        return []
    key = problem_key(max(found, key=newest_last).cell)
    return [run for run in found if problem_key(run.cell) == key]


def has_defaults(run: Run) -> bool:
    """Return whether a run is of the image alone and has the settings of its network and budget."""
    spec = registry.find(installed(), ModelSpec, run.cell.model, usable=False)
    usual = usual_training(run.cell)
    trained_so = run.cell.fits_itself or ({**usual, **run.cell.training} == usual and run.cell.phases_from == "budget")
    return trained_so and run.cell.hparams == spec.defaults and not run.cell.recipe.channels


def on_any_device(run: Run) -> Run:
    """Return a run without the device that rendered its images, so that trainings on either stand in one row."""
    recipe = replace_cell(run.cell.recipe, device_type="")
    return replace(run, result=replace(run.result, cell=replace_cell(run.cell, recipe=recipe)))


def table_of(tables: Mapping[str, Sequence[Run]]) -> str:
    """Return a table with its heading: one row for each network and baseline, in the order of the last data set."""
    firsts: dict[str, Finished] = {}
    cells: dict[str, dict[str, list[str]]] = {}
    for data, runs in reversed(list(tables.items())):
        own = [on_any_device(run) for run in runs]
        variants = best_first(own)
        for variant, mark in zip(variants, marks_of(variants, own), strict=True):
            name = f"`{variant.model}`{mark if mark == BASELINE else ''}"
            firsts.setdefault(name, variant.results[0])
            score = interval(variant) + ("" if mark == BASELINE else mark)
            cells.setdefault(name, {})[data] = [score, str(len(variant.results))]
    body = []
    for name, first in firsts.items():
        scores = itertools.chain(*(cells[name].get(data, ["-", "-"]) for data in tables))
        body.append([name, f"{first.cost.parameters:,}", macs_of(first), *scores])
    headings = itertools.chain(*((f"{SHOWN[data]}, macro AUC (95 %)", "trainings") for data in tables))
    header = ["network", "parameters", "million MACs", *headings]
    titles = {data: title(runs).partition(", ")[2] for data, runs in tables.items()}
    [*told] = dict.fromkeys(titles.values())
    named = told[0] if len(told) == 1 else "; ".join(f"{SHOWN[data]}: {words}" for data, words in titles.items())
    heading = f"{named[0].upper()}{named[1:]}:"
    return f"{heading}\n\n{rows(header, body)}"


def notes_on(tables: Mapping[str, Sequence[Run]]) -> list[str]:
    """Return the notes on a table: intervals, training images, noise, and commands that train again."""
    joined = [list(map(on_any_device, runs)) for runs in tables.values()]
    told = [note for runs in joined for note in old_definition(runs)]
    told.append(READING.format(last=SHOWN[list(tables)[-1]]))
    told += [*map(phases_note, joined), noise_note(tables), means_note(tables)]
    return [*map(wrapped, dict.fromkeys(filter(None, told))), commands_note(list(tables.values()))]


def noise_note(tables: Mapping[str, Sequence[Run]]) -> str:
    """Return which trainings saw images with the noise of a GPU and how long they took, or "" where none did."""
    networks = {data: networks_of(runs) for data, runs in tables.items()}
    minutes: dict[str, list[float]] = {}
    told = []
    for data, runs in networks.items():
        on_gpu = [run for run in runs if run.cell.recipe.device_type != "cpu"]
        for run in runs:
            minutes.setdefault(run.result.environment.gpu or "a CPU", []).append(run.result.seconds / 60)
        seeds: dict[str, list[str]] = {}
        for run in sorted(on_gpu, key=lambda run: (run.cell.model, run.cell.seed)):
            seeds.setdefault(run.cell.model, []).append(str(run.cell.seed))
        of_seeds: dict[str, list[str]] = {}
        for model, own in seeds.items():
            of_seeds.setdefault(enumerated(own), []).append(f"`{model}`")
        for own_seeds, models in of_seeds.items():
            who = "all networks" if len(models) == len({run.cell.model for run in runs}) else enumerated(models)
            told.append(f"on {SHOWN[data]} those of {who} with seed {own_seeds}")
    if not told:
        return ""
    spans = (f"{min(some):.0f} to {max(some):.0f} minutes on {where}" for where, some in sorted(minutes.items()))
    return (
        f"Trainings on images that were rendered on a GPU: {'; '.join(told)}. Their test images are the same lenses as "
        "those of the others, with other noise of the same strength, so rows are not paired, and docs/results.md has "
        f"them in rows of their own. Trainings took {' and '.join(spans)}, beside other work, so their times do not "
        "rank networks."
    )


def means_note(tables: Mapping[str, Sequence[Run]]) -> str:
    """Return the trainings of each mean whose images were rendered on a GPU and on a CPU, or "" without such a mean."""
    told = []
    for data, runs in tables.items():
        devices = {run.result.run_id: run.cell.recipe.device_type for run in runs}
        for variant in group_variants(on_any_device(run).result for run in networks_of(runs)):
            if len({devices[result.run_id] for result in variant.results}) > 1:
                areas = (f"{area(result.test.headline.value)} ({result.run_id[:4]})" for result in variant.results)
                told.append(f"`{variant.model}` on {SHOWN[data]} {', '.join(areas)}")
    return f"Trainings behind these means, with run ids: {'; '.join(told)}." if told else ""


def networks_of(runs: Sequence[Run]) -> list[Run]:
    """Return the runs that are not baselines."""
    return [run for run in runs if not is_baseline(run.cell, dataset_of(run))]


def interval(variant: Variant) -> str:
    """Return mean macro AUC and its 95 % interval, which holds the variation between several trainings."""
    macro = estimate(variant.results)
    return f"{area(macro.score)} ({area(macro.low)} to {area(macro.high)})"
