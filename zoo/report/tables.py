"""Tables of results. A table holds one data set at one size under one rule; budgets never mix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from zoo.data.about import budget_note, portable, shown_params, version_note
from zoo.data.channels import describe_channels
from zoo.plan.settings import BUILT_IN, LATER
from zoo.plurals import counted
from zoo.report.column_notes import column_notes
from zoo.report.columns import (
    COSTS,
    SETTINGS,
    SPEEDS,
    Column,
    measured_columns,
    precision_of,
    precisions,
    score_columns,
    with_numbers,
)
from zoo.report.notes import failures, missing_twins, search_note, training_notes
from zoo.results.baselines import NO_BASELINES, Standing, find_standing
from zoo.results.cell import Cell
from zoo.results.comparison import Variant, estimate, group_variants, problem_key, spread_note
from zoo.results.naming import distinguish, have_other_phases, in_words, phases_in_words, variant_keys, with_settings
from zoo.results.schema import Finished, RunResult, StreamSummary
from zoo.results.store import split_sizes
from zoo.results.verdict import Comparison
from zoo.specs import DatasetSpec


@dataclass(frozen=True, kw_only=True)
class ResultTable:
    """One table.

    Args:
        title: Data set, budget, sizes and what else the rows share.
        columns: Headings.
        rows: Texts, best headline score first, failed cells last.
        notes: Notes on the table.
        other_scores: Headings of a task's scores that do not rank, most important first.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]
    other_scores: Sequence[str] = ()


def make_tables(
    results: Iterable[RunResult],
    *,
    datasets: Mapping[str, DatasetSpec] = MappingProxyType({}),
    twins: Mapping[str, Sequence[str]] = MappingProxyType({}),
    comparisons: Sequence[Comparison] | None = None,
) -> list[ResultTable]:
    """Return a table for each data set, budget, sizes and rule that occur.

    Args:
        results: Results of any kind.
        datasets: Id -> spec of the data sets that are installed; see `zoo.registry.datasets_by_id`.
        twins: Id -> plain twins of a model; see `zoo.registry.twins_by_id`.
        comparisons: Comparisons of all pairs of the results, which belong to one problem; None makes those needed.
    """
    groups: dict[str, list[RunResult]] = {}
    for result in results:
        groups.setdefault(problem_key(result.cell), []).append(result)
    return [_table(group, datasets, twins, comparisons) for _, group in sorted(groups.items())]


def _table(
    results: list[RunResult],
    datasets: Mapping[str, DatasetSpec],
    twins: Mapping[str, Sequence[str]],
    comparisons: Sequence[Comparison] | None,
) -> ResultTable:
    cell = results[0].cell
    dataset = datasets.get(cell.data)
    good = [result for result in results if result.status == "ok"]
    bad = [result for result in results if result.status != "ok"]
    several = precisions(results)
    sizes = split_sizes((good or results)[0])
    shown = shown_params(dataset, cell.recipe.params, cell.recipe.content)
    shown += [f"simulator {cell.recipe.simulator}"] if cell.recipe.simulator is not None else []
    # The areas of two classes are one number.
    areas = score_columns(good)
    task = f" · task {cell.task}" if cell.task else ""
    title = (
        f"{cell.data}{task} · budget {cell.budget} · {sizes['train']:,} training, {sizes['val']:,} "
        f"validation, {counted(sizes['test'], 'test image')} · rule {cell.rule} · {' and '.join(several)}"
        + (f" · images of seed {cell.recipe.seed}" if cell.recipe.seed else "")
        + (f"\n{', '.join(shown)}" if shown else "")
    )
    # Beside the number that ranks the runs, with its interval.
    before = [*with_numbers(COSTS, good), *areas]
    after = [*measured_columns(good), *with_numbers([*SETTINGS, *SPEEDS], good)]
    columns = [
        "model", "seed", *(["precision"] if len(several) > 1 else []), *(column.heading for column in before), "95 %",
        *(column.heading for column in after), "run",
    ]  # fmt: skip
    names = _row_names(results)
    standing = find_standing(group_variants(good), dataset=dataset, comparisons=comparisons)
    rows = [
        _row(result, before, after, name=names[result.run_id] + standing.label(result), precision=len(several) > 1)
        for result in sorted(good, key=lambda result: -result.test.headline.rank)
    ]
    rows += [_failed_row(result, columns, name=names[result.run_id], score=areas[-1].heading) for result in bad]
    size = budget_note(
        cell.budget, dataset, cell.recipe.params, sizes=[result.cell.sizes for result in results],
        simulated=cell.recipe.simulator is not None,
    )  # fmt: skip
    notes = [size] if size else []
    if old := version_note(dataset, cell.recipe.dataset_version):
        notes.append(f"Images {old}")
    notes += [*standing.footnotes, *result_notes(good, names), *training_notes(good, dataset, names)]
    notes += filter(None, [search_note(good, names), missing_twins(results, twins)])
    notes += filter(None, (accumulation_note(result, names) for result in good))
    notes += [f"{names[result.run_id]}: {_streamed(result.stream)}" for result in good if result.stream is not None]
    notes += column_notes(good)
    for group in failures(bad):
        rows_of_group = (f"{names[result.run_id]}, seed {result.cell.seed}" for result in group)
        notes.append(f"{'; '.join(rows_of_group)}: {group[0].cause}")
    others = [column.heading for column in areas[:-1] if not column.heading.startswith("AUC ")]
    return ResultTable(title=title, columns=columns, rows=rows, notes=notes, other_scores=others)


MOST_NAMED = 4
"""Rows with the most common value of a setting that a note names."""
_STATED = {"lr", "weight_decay", "new_noise", "stream"}
"""Settings that stand in every row already."""
_NAMED = ("auxiliary", "optimizer", "loss")
"""Settings that stand in the name of a row unless they are empty, as they are by default."""


def _how(cell: Cell, *, other_phases: bool) -> list[str]:
    """Return what the name of a row states in any table."""
    done = {"streamed": cell.training.get("stream"), "new noise": cell.training.get("new_noise")}
    how = [words for words, holds in done.items() if holds]
    how += filter(None, [phases_in_words(cell, several=other_phases)])
    how += [f"channels {channels}"] if (channels := describe_channels(cell.recipe.channels)) else []
    return how + [f"{name} {value}" for name in _NAMED if (value := cell.training.get(name))]


def _row_names(results: Sequence[RunResult]) -> dict[str, str]:
    """Return run id -> name of a row, with the code and the settings that runs of its model differ in.

    Settings other than hyper-parameters are named where rows of several variants would have one name.
    """
    hparams = _differing([(result.cell.model, result.cell.hparams) for result in results])
    versions = _differing([(result.cell.model, result.cell.versions) for result in results])
    of_models: dict[str, list[Cell]] = {}
    for result in results:
        of_models.setdefault(result.cell.model, []).append(result.cell)
    other_phases = {model: have_other_phases(cells) for model, cells in of_models.items()}
    rows: dict[tuple[str, ...], list[RunResult]] = {}
    for result in results:
        cell = result.cell
        own = [
            f"{name} {portable(value, cell.content.get(name, ''))}"
            for name, value in cell.hparams.items()
            if (cell.model, name) in hparams
        ]
        own += [f"{name} {version}" for name, version in cell.versions.items() if (cell.model, name) in versions]
        base = with_settings(cell.model, _how(cell, other_phases=other_phases[cell.model]))
        rows.setdefault((base, *own), []).append(result)
    names = {}
    for (base, *own), alike in rows.items():
        keys = variant_keys(result.cell for result in alike)
        variants: dict[str, list[Cell]] = {}
        for key, result in zip(keys, alike, strict=True):
            variants.setdefault(key, []).append(result.cell)
        differing = dict(zip(variants, distinguish([*variants.values()]), strict=True))
        for key, result in zip(keys, alike, strict=True):
            names[result.run_id] = with_settings(base, [*own, *differing[key]])
    return names


def _differing(of_models: Sequence[tuple[str, Mapping[str, Any]]]) -> set[tuple[str, str]]:
    """Return each model with the names that have several values."""
    first: dict[tuple[str, str], Any] = {}
    named = [((model, name), value) for model, values in of_models for name, value in values.items()]
    return {key for key, value in named if first.setdefault(key, value) != value}


def result_notes(results: Sequence[Finished], names: Mapping[str, str]) -> list[str]:
    """Return the differences between the trainings of these results, and what networks that fit themselves report.

    Learning rate and weight decay are left out, which have columns, and what the names of the rows state (`_how`).

    Args:
        results: Results of one problem.
        names: Run id -> name of its row.
    """
    notes = []
    trained = [result for result in results if not result.cell.fits_itself and not result.scored]
    settings = sorted({name for result in trained for name in result.cell.training} - _STATED)
    for name in ["precision", *settings]:
        by_value: dict[str, list[str]] = {}
        for result in trained:
            value = result.cell.precision if name == "precision" else {**LATER, **result.cell.training}.get(name)
            if value == "" and name in BUILT_IN:
                value = BUILT_IN[name][0]
            by_value.setdefault(str(in_words(value)), []).append(names[result.run_id])
        default = {in_words(""), *(of_core[0] for of_core in BUILT_IN.values())} if name in _NAMED else set()
        named = {value: rows for value, rows in by_value.items() if value not in default}
        stated = all(f"{name} {value}" in row for value, rows in named.items() for row in rows)
        if len(by_value) > 1 and not stated:
            notes.append(f"Trained differently: {name} is {_values_in_words(by_value)}.")
    notes += [
        f"{names[result.run_id]}, seed {result.cell.seed}: {note}" for result in results for note in result.fit_notes
    ]
    return notes + groups_notes(results, names)


def groups_notes(results: Sequence[Finished], names: Mapping[str, str]) -> list[str]:
    """Return the groups that intervals are over, and the rows whose intervals are over images all the same."""
    notes = list(dict.fromkeys(found.sentence for result in results if (found := result.test.image_groups) is not None))
    others = [names[result.run_id] for result in results if result.test.image_groups is None]
    if notes and others:
        notes.append(
            f"The intervals of {', '.join(dict.fromkeys(others))} are over images, as if all were independent: these "
            "runs were stored before their data set stated its groups of images."
        )
    return notes


def _values_in_words(by_value: Mapping[str, Sequence[str]]) -> str:
    """Return the values of a setting, each with its rows; many rows of the most common one are not named."""
    rows = {value: list(dict.fromkeys(names)) for value, names in by_value.items()}
    most = max(rows, key=lambda value: len(rows[value]))
    if len(rows[most]) > MOST_NAMED:
        rows = {**{value: names for value, names in rows.items() if value != most}, most: ["the other trainings"]}
    return "; ".join(f"{value} for {', '.join(names)}" for value, names in rows.items())


def accumulation_note(result: Finished, names: Mapping[str, str]) -> str:
    """Return a note that a batch did not fit into memory, and on what was done; "" if it did."""
    parts, batch = result.cost.micro_batches if result.cost else 1, result.cell.training.get("batch_size")
    if parts == 1:
        return ""
    return (
        f"{names[result.run_id]}, seed {result.cell.seed}: memory ran out, so the gradient of each batch of {batch} "
        f"was accumulated over {counted(parts, 'part')}; the result stays the same, but for batch norm, which saw one "
        "part at a time"
    )


def _row(
    result: Finished, before: Sequence[Column], after: Sequence[Column], *, name: str, precision: bool
) -> list[str]:
    low, high = result.test.headline.interval
    return [
        name,
        str(result.cell.seed),
        *([precision_of(result)] if precision else []),
        *(column.cell(result) for column in before),
        f"{low:.4f} to {high:.4f}",
        *(column.cell(result) for column in after),
        result.run_id[:8],
    ]


def _failed_row(result: RunResult, columns: Sequence[str], *, name: str, score: str) -> list[str]:
    """Return the row of a cell without scores: its status stands in the column that every terminal shows."""
    shown = {"model": name, "seed": str(result.cell.seed), score: result.status, "run": result.run_id[:8]}
    shown["precision"] = precision_of(result)
    return [shown.get(column, "") for column in columns]


def _streamed(stream: StreamSummary) -> str:
    rate = f" at {stream.images_per_second:,.0f} images/s" if stream.images_per_second else ""
    waited = f"waited for them {stream.waited_share:.0%} of the time"
    return f"trained on {counted(stream.images, 'image')}, none of them twice, rendered{rate}; {waited}"


def seed_table(variants: Sequence[Variant], *, standing: Standing = NO_BASELINES) -> ResultTable | None:
    """Return mean and spread over seeds, or None where no variant has several.

    Args:
        variants: Variants of one problem, best first.
        standing: Baselines and networks that do not beat them.
    """
    if all(len(variant.results) == 1 for variant in variants):
        return None
    rows = []
    for variant in variants:
        value = estimate(variant.results)
        seeds = ", ".join(str(result.cell.seed) for result in variant.results)
        between = f"{value.spread:.4f}" if value.seeds > 1 else "unknown"
        name = variant.name + standing.label(variant.results[0])
        rows.append([name, seeds, f"{value.score:.4f}", between, f"{value.low:.4f} to {value.high:.4f}"])
    grouped = any(result.test.image_groups is not None for variant in variants for result in variant.results)
    over = f"95 % over {'groups of images' if grouped else 'images'} and seeds"
    return ResultTable(
        title="Over seeds",
        columns=["model", "seeds", f"mean {_words_of(variants[0].label)}", "spread", over],
        rows=rows,
        notes=[*standing.footnotes, spread_note(variants)],
    )


def _words_of(label: str) -> str:
    """Return the name of a score as a heading; that of the macro AUC names the area first, as in the other table."""
    return "AUC macro" if label == "macro AUC" else label
