"""Equivariance in the tables of docs/results.md and of the README: under the square, the declared group, and angles."""

from __future__ import annotations

from collections.abc import Sequence

from headline_rows import best_first
from headline_runs import Run, dataset_of
from headline_tables import rows
from page_parts import wrapped

from zoo.report.columns import MEASURED
from zoo.results.baselines import is_baseline
from zoo.results.schema import Finished
from zoo.scores.schema import Change, Rotation

ANGLES = ("17", "45")


def equivariance_headings(runs: Sequence[Run]) -> list[str]:
    """Return the headings of the square's columns; none where all runs hold the measure of earlier versions."""
    return ["equivariance error", "class flips"] if any(run.result.equivariance.after for run in runs) else []


def equivariance_cells(result: Finished, runs: Sequence[Run]) -> list[str]:
    """Return the cells of a row of a table of these runs under `equivariance_headings`."""
    columns = {column.heading: column for column in MEASURED}
    return [columns[heading].cell(result) for heading in equivariance_headings(runs)]


def equivariance_table(runs: Sequence[Run]) -> str:
    """Return the equivariance errors of the first training of each network; "" where all have the old measure."""
    if not any(run.result.equivariance.after for run in runs):
        return ""
    header = ["network", "declared group", "its error", "square error", "square flips"]
    header += [f"{angle} degrees {what}" for angle in ANGLES for what in ("error", "flips")]
    body = []
    for variant in best_first(runs):
        found = variant.results[0].equivariance
        after = found.after
        measured: list[Change | Rotation | None] = [None, *(None for _ in ANGLES)]
        if after:
            measured = [after.square, *map(after.angles.get, ANGLES)]
        cells = [error_of(after.declared if after else None)]
        cells += [read(one) for one in measured for read in (error_of, flips_of)]
        body.append([f"`{variant.name}`", found.group or "-", *cells])
    text = f"Equivariance of the trained networks, of the first training of each row. {floors(runs)}".rstrip()
    return f"{wrapped(text)}\n\n{rows(header, body, texts=2)}"


def error_of(found: Change | Rotation | None) -> str:
    """Return the error of a `Change` or a `Rotation`; "-" where a run has none."""
    return "-" if found is None or found.error is None else f"{found.error:.2g}"


def flips_of(found: Change | Rotation | None) -> str:
    """Return the class flips of a `Change` or a `Rotation`; "-" where a run has none."""
    return "-" if found is None or found.flips is None else f"{found.flips:.1%}"


def floors(runs: Sequence[Run]) -> str:
    """Return the largest error that interpolation alone causes at the angles, apart for networks and baselines."""
    found: dict[str, list[float]] = {}
    for run in runs:
        kind = "baselines" if is_baseline(run.cell, dataset_of(run)) else "networks"
        angles = run.result.equivariance.after.angles if run.result.equivariance.after else {}
        found.setdefault(kind, []).extend(one.floor for one in angles.values() if one.floor is not None)
    told = [f"{max(found[kind]):.1g} for {kind}" for kind in ("networks", "baselines") if found.get(kind)]
    return f"Interpolation alone causes errors of up to {' and '.join(told)}." if told else ""
