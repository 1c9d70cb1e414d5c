"""The table of the scores of one network that `zoo evaluate`, `zoo score` and `zoo show` print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.cli.context import console, echo

if TYPE_CHECKING:
    from zoo.scores.schema import AnyScores, Interval


def print_scores(scores: AnyScores, *, title: str) -> None:
    """Print each score with its value and its 95 % interval."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("score")
    table.add_column("value", justify="right")
    table.add_column("95 %")
    for row in _rows(scores):
        table.add_row(*row)
    console().print(table)
    if scores.image_groups is not None:
        echo(scores.image_groups.sentence)


def _rows(scores: AnyScores) -> list[tuple[str, str, str]]:
    """Return name, value and interval of each score."""
    from zoo.scores.schema import Measures

    if isinstance(scores, Measures):
        rows = [(one.label, f"{one.value:.4f}", _ends(one.interval)) for one in scores.in_order.values()]
    else:
        between = {name: _ends(interval) for name, interval in scores.intervals.items()}
        rows = [
            (f"AUC {name.replace('_', ' ')}", f"{area:.4f}", between.get(f"auc.{name}", ""))
            for name, area in scores.auc.items()
        ]
        rows.append(("accuracy", f"{scores.accuracy:.4f}", between.get("accuracy", "")))
        rows.append(("log loss", f"{scores.log_loss:.4f}", ""))
        if scores.brier is not None:
            rows.append(("Brier score", f"{scores.brier:.4f}", ""))
        rows.append(("calibration error", f"{scores.ece:.4f}", ""))
    for metric, values in scores.extra.items():
        between = {
            name: f"{low:.4g} to {high:.4g}" for name, (low, high) in scores.extra_intervals.get(metric, {}).items()
        }
        rows += [(f"{metric} {name}", f"{value:.6g}", between.get(name, "")) for name, value in values.items()]
    return rows


def _ends(interval: Interval | None) -> str:
    return "" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"
