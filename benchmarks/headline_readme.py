"""The tables of the README, from recorded runs: one for each budget that needs no GPU, Models A and B side by side."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from headline_commands import commands_note
from headline_devices import displaced_note, means_note, noise_note, times_note
from headline_notes import old_definition, phases_note
from headline_page import newest_last, title
from headline_rows import best_first, displaced, in_rows
from headline_runs import Run, dataset_of, full_size, installed, name_of, usual_training
from headline_tables import area, macs_of, marks_of, rows
from page_parts import wrapped

from zoo import registry
from zoo.results.baselines import is_baseline
from zoo.results.comparison import Variant, estimate, problem_key
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
            pairs = {data: displaced(candidates(runs, data=data, budget=budget)) for data in own}
            parts += [table_of(own), *(note for note in notes_on(own, pairs) if note not in parts)]
    return "\n\n".join(parts) or "No run is recorded yet."


def chosen(runs: Sequence[Run], *, data: str, budget: str, trainings: int) -> list[Run]:
    """Return the runs of a table: one variant of each network with so many trainings and of each baseline, or none.

    Of several variants it is that with several trainings on images of their own, then that with the most trainings.
    """
    own = in_rows(candidates(runs, data=data, budget=budget))
    kept: dict[str, Variant] = {}
    for variant in best_first(own):
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


def candidates(runs: Sequence[Run], *, data: str, budget: str) -> list[Run]:
    """Return the runs with default settings on the newest images of a data set, with those that stand in no row."""
    return newest([run for run in runs if run.cell.budget == budget and has_defaults(run)], data=data)


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


def table_of(tables: Mapping[str, Sequence[Run]]) -> str:
    """Return a table with its heading: one row for each network and baseline, in the order of the last data set."""
    firsts: dict[str, Finished] = {}
    cells: dict[str, dict[str, list[str]]] = {}
    for data, runs in reversed(list(tables.items())):
        variants = best_first(runs)
        for variant, mark in zip(variants, marks_of(variants, runs), strict=True):
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


def notes_on(tables: Mapping[str, Sequence[Run]], pairs: Mapping[str, Sequence[tuple[Run, Run]]]) -> list[str]:
    """Return the notes on a table: intervals, training images, noise, and commands that train again.

    Args:
        tables: Data set -> runs of its columns.
        pairs: Data set -> trainings of which only the first stands in a row (`headline_rows.displaced`).
    """
    told = [note for runs in tables.values() for note in old_definition(runs)]
    told.append(READING.format(last=SHOWN[list(tables)[-1]]))
    on_data = {f"on {SHOWN[data]}": list(runs) for data, runs in tables.items()}
    recorded = {
        where: [*runs, *(other for kept, other in pairs[data] if kept in runs)]
        for (where, runs), data in zip(on_data.items(), tables, strict=True)
    }
    told += [*map(phases_note, tables.values()), noise_note(on_data), means_note(on_data), displaced_note(recorded)]
    told.append(times_note([run for runs in tables.values() for run in runs]))
    return [*map(wrapped, dict.fromkeys(filter(None, told))), commands_note(list(tables.values()))]


def networks_of(runs: Sequence[Run]) -> list[Run]:
    """Return the runs that are not baselines."""
    return [run for run in runs if not is_baseline(run.cell, dataset_of(run))]


def interval(variant: Variant) -> str:
    """Return mean macro AUC and its 95 % interval, which holds the variation between several trainings."""
    macro = estimate(variant.results)
    return f"{area(macro.score)} ({area(macro.low)} to {area(macro.high)})"
