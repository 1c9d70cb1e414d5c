"""The table of the scores of one network that `zoo evaluate`, `zoo score` and `zoo show` print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.cli.context import console

if TYPE_CHECKING:
    from zoo.scores.schema import Scores


def print_scores(scores: Scores, *, title: str) -> None:
    """Print each score with its value and its 95 % interval."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("score")
    table.add_column("value", justify="right")
    table.add_column("95 %")
    for row in _rows(scores):
        table.add_row(*row)
    console().print(table)


def _rows(scores: Scores) -> list[tuple[str, str, str]]:
    """Return name, value and interval of each score."""
    rows = [
        (f"AUC {name.replace('_', ' ')}", f"{area:.4f}", _ends(scores, f"auc.{name}"))
        for name, area in scores.auc.items()
    ]
    rows.append(("accuracy", f"{scores.accuracy:.4f}", _ends(scores, "accuracy")))
    rows.append(("log loss", f"{scores.log_loss:.4f}", ""))
    if scores.brier is not None:
        rows.append(("Brier score", f"{scores.brier:.4f}", ""))
    rows.append(("calibration error", f"{scores.ece:.4f}", ""))
    for metric, values in scores.extra.items():
        rows += [(f"{metric} {name}", f"{value:.6g}", "") for name, value in values.items()]
    return rows


def _ends(scores: Scores, name: str) -> str:
    low, high = scores.intervals.get(name, (None, None))
    return "" if low is None else f"{low:.4f} to {high:.4f}"
