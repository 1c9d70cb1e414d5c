"""Tables of results on a terminal: columns, and the notes on them, that fit its width."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from zoo.escaping import visible
from zoo.report.columns import ARROWS
from zoo.report.tables import ResultTable

if TYPE_CHECKING:
    from rich.table import Table

_CLASS_AREAS, _METRICS, _OTHER_SCORES = "AUC of classes", "metrics of plugins", "other scores of a task"
_LEAST_IMPORTANT = (
    _CLASS_AREAS, "MACs", "weight decay", "learning rate", "search trials", "other angles", "at 17 deg",
    "at 45 deg", "calibrated log loss", "calibrated error", "log loss", "train images/s", "minutes", "run",
    "own group", "class flips", "parameters", "Brier", "equivariance error", "calibration error", "accuracy",
    _OTHER_SCORES, "precision", _METRICS, "fresh test", "95 %", "test - fresh", "seed",
)  # fmt: skip
"""Columns in the order in which a narrow terminal loses them; the model and the score that ranks always stay."""


def to_rich(table: ResultTable, *, width: int) -> Table:
    """Return the table for a terminal; the columns that matter least are left out where it is narrow."""
    from rich.table import Table

    table = _visible(table)
    shown = _fitting(table, width)
    hidden = [name for index, name in enumerate(table.columns) if index not in shown]
    caption = f"too narrow for: {', '.join(hidden)}; all of them: --csv or --md" if hidden else None
    rich_table = Table(
        caption=caption,
        caption_justify="left",
        title=table.title,
        title_justify="left",
        title_style="bold",
        header_style="bold",
    )
    # Left alone, rich takes room from the widest column and folds names; so break headings ourselves, last ones first.
    spare = width - 1 - sum(_column_width(table, index) + 3 for index in shown)
    for index in shown:
        narrowest = _column_width(table, index)
        missing = max(0, len(table.columns[index]) - narrowest)
        fixed = narrowest + missing if missing <= spare else narrowest
        spare -= fixed - narrowest
        rich_table.add_column(
            table.columns[index],
            justify="left" if index == 0 else "right",
            overflow="fold",
            width=fixed if spare >= 0 else None,
        )
    for row in table.rows:
        rich_table.add_row(*(row[index] for index in shown))
    return rich_table


def notes_for(table: ResultTable, *, width: int) -> list[str]:
    """Return the notes for a terminal: those on columns that it is too narrow for are left out."""
    columns = [visible(name) for name in table.columns]
    shown = {columns[index] for index in _fitting(_visible(table), width)}
    explained = [(note, set(note.partition(":")[0].split(", "))) for note in table.notes]
    return [note for note, names in explained if not names <= set(columns) or names & shown]


def _visible(table: ResultTable) -> ResultTable:
    """Return the table with its control characters written out, before widths are measured."""
    rows = [[visible(text) for text in row] for row in table.rows]
    return replace(table, columns=[visible(name) for name in table.columns], rows=rows)


def _fitting(table: ResultTable, width: int) -> list[int]:
    """Return the indices of the columns that a terminal has room for."""
    shown = list(range(len(table.columns)))
    at = _LEAST_IMPORTANT.index(_OTHER_SCORES)
    for name in (None, *_LEAST_IMPORTANT[:at], *reversed(table.other_scores), *_LEAST_IMPORTANT[at + 1 :]):
        shown = [index for index in shown if _kind(table.columns[index]) != name]
        if sum(_column_width(table, index) + 3 for index in shown) < width:
            break
    return shown


def _kind(heading: str) -> str:
    """Return the name by which a column is left out; the AUCs of the classes share one, and so do plugins' metrics."""
    if heading.endswith(tuple(ARROWS.values())):
        return _METRICS
    return _CLASS_AREAS if heading.startswith("AUC ") and heading != "AUC macro" else heading


def _column_width(table: ResultTable, index: int) -> int:
    """Return the width of a column whose heading may break at blanks."""
    from rich.cells import cell_len

    return max(map(cell_len, [*table.columns[index].split(), *(row[index] for row in table.rows)]))
