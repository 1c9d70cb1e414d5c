"""The tables of the README, from recorded runs: networks that were trained several times, then more, once each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from headline_commands import commands_note
from headline_equivariance import equivariance_cells, equivariance_headings
from headline_notes import fitted_notes, notes, old_definition, phases_note
from headline_page import newest_last, title
from headline_runs import Run, dataset_of, full_size, name_of
from headline_tables import (
    CLASSES,
    area,
    best_first,
    macs_of,
    marks_of,
    rows,
)
from page_parts import wrapped

from zoo.results.baselines import is_baseline
from zoo.results.comparison import Variant, estimate, group_variants, problem_key

SHOWN = {"modelA": "Model A", "modelB": "Model B"}
BUDGETS = ("laptop", "evening")
BASELINE = " (baseline)"  # among the marks of a table
SEVERAL = 3
"""Trainings, each on training images of its own, that show how much the trainings of a network differ."""


class Part(NamedTuple):
    """A table with its heading, and the notes on it."""

    table: str
    notes: list[str]


def readme_tables(runs: Sequence[Run]) -> str:
    """Return the README's tables and notes: Models A and B at the budgets that need no GPU."""
    several = several_trainings(runs)
    once = [part for data in SHOWN if (part := one_training(runs, data=data))]
    shared = [note for note in once[0].notes if note in once[-1].notes] if len(once) > 1 else []
    parts = []
    for part in [*several, *once]:
        parts += [part.table, *(note for note in part.notes if note not in shared)]
    if shared:
        parts += ["On both tables of one training each:", *shared]
    return "\n\n".join(parts) or "No run is recorded yet."


def several_trainings(runs: Sequence[Run]) -> list[Part]:
    """Return the table of the networks with several trainings at budget laptop, beside the baselines; or nothing.

    It compares networks: what was tried with one of them, such as auxiliary truths, is on the page of results.
    """
    at_laptop = [run for run in runs if run.cell.budget == "laptop" and not run.cell.training.get("auxiliary")]
    chosen = {data: own for data in SHOWN if (own := repeated(newest(at_laptop, data=data)))}
    cells: dict[str, dict[str, str]] = {}
    firsts: dict[str, Variant] = {}
    for data, own in reversed(chosen.items()):  # in the order of the harder one
        variants = best_first(own)
        for variant, mark in zip(variants, marks_of(variants, own), strict=True):
            name = f"`{variant.name}`{mark if mark == BASELINE else ''}"
            firsts.setdefault(name, variant)
            cells.setdefault(name, {})[data] = interval(variant) + ("" if mark == BASELINE else mark)
    if not chosen:
        return []
    body = []
    for name, variant in firsts.items():
        first, count = variant.results[0], str(len(variant.results))
        shown = (cells[name].get(data, "-") for data in SHOWN)
        body.append([name, f"{first.cost.parameters:,}", macs_of(first), count, *shown])
    scores = [f"{name}, macro AUC (95 %)" for name in SHOWN.values()]
    header = ["network", "parameters", "million MACs", "trainings", *scores]
    own = next(iter(chosen.values()))
    heading = f"Several trainings of each network, each on new training images; {title(own).partition(', ')[2]}:"
    several = [[run for run in one if run.cell.train_seed is not None] for one in chosen.values()]
    told = [*map(wrapped, [phases_note(own), *fitted_notes(own)]), commands_note(several)]
    return [Part(f"{heading}\n\n{rows(header, body)}", told)]


def repeated(runs: Sequence[Run]) -> list[Run]:
    """Return the runs of networks with several trainings, each on images of its own, and of baselines; or nothing."""
    own = group_variants(run.result for run in runs if run.cell.train_seed is not None)
    ids = {result.run_id for variant in own if len(variant.results) >= SEVERAL for result in variant.results}
    return [run for run in runs if ids and (run.result.run_id in ids or is_baseline(run.cell, dataset_of(run)))]


def one_training(runs: Sequence[Run], *, data: str) -> Part | None:
    """Return the table of one data set, with seed 0 of each network; None without a run."""
    chosen = newest([run for run in runs if run.cell.seed == 0], data=data)
    if not chosen:
        return None
    header = [
        "network", "parameters", "million MACs", "AUC none", "sub-halo", "vortex", "macro (95 %)", "accuracy",
        *equivariance_headings(chosen),
    ]  # fmt: skip
    body = []
    variants = best_first(chosen)
    for variant, mark in zip(variants, marks_of(variants, chosen), strict=True):
        first = variant.results[0]
        body.append(
            [
                f"`{variant.name}`{mark}", f"{first.cost.parameters:,}", macs_of(first),
                *(area(first.test.auc[name]) for name in CLASSES), interval(variant),
                area(first.test.accuracy), *equivariance_cells(first, chosen),
            ]
        )  # fmt: skip
    old = list(map(wrapped, old_definition(chosen)))
    return Part(f"{title(chosen)}:\n\n{rows(header, body)}", [*old, *notes(chosen).split("\n\n")])


def newest(runs: Sequence[Run], *, data: str) -> list[Run]:
    """Return the runs of the newest problem of a data set at the largest budget that needs no GPU."""
    found = [
        run
        for run in runs
        if (run.part, name_of(run.cell)) == ("table", data) and run.cell.budget in BUDGETS and full_size(run.cell)
    ]
    if not found:
        return []
    key = problem_key(max(found, key=newest_last).cell)
    return [run for run in found if problem_key(run.cell) == key]


def interval(variant: Variant) -> str:
    """Return mean macro AUC and its 95 % interval, which holds the variation between several trainings."""
    macro = estimate(variant.results)
    return f"{area(macro.score)} ({area(macro.low)} to {area(macro.high)})"
