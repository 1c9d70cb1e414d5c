"""Show a study on the terminal: its progress while it runs, and its results."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli.context import console
from zoo.cli.watch import LINE_SECONDS, LiveBars, describe, duration
from zoo.plurals import counted
from zoo.progress import Progress
from zoo_optuna.definition import Definition
from zoo_optuna.search import State
from zoo_optuna.space import values_of
from zoo_optuna.summary import STATES, Summary

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial
    from rich.progress import TaskID

    from zoo.host import Host

MOST_ROWS = 10


class StudyWatcher(LiveBars):
    """A context manager that shows a study on stderr: progress bars on a terminal, occasional lines in a log."""

    def __init__(self) -> None:
        super().__init__()
        self._whole: TaskID | None = None
        self._tasks: dict[int, TaskID] = {}
        self._reported: set[int] | None = None
        self._lines: dict[int, tuple[str, float]] = {}

    def watch(self, state: State) -> None:
        """Show the state of a study; called several times a second."""
        ended = [trial for trial in state.trials if trial.state.is_finished()]
        if self._reported is None:
            # Trials of earlier calls appear only in the final table.
            self._reported = {trial.number for trial in ended}
            if ended:
                self._console.print(f"{len(ended)} of {counted(state.wanted, 'trial')} already ended")
        for trial in ended:
            if trial.number not in self._reported:
                self._reported.add(trial.number)
                self._console.print(outcome(trial, state.definition.space))
        for number in [number for number in self._tasks if number not in state.running]:
            self._progress.remove_task(self._tasks.pop(number))
        whole = _whole(state, len(ended))
        if self._whole is None:
            self._whole = self._progress.add_task(whole, name=state.definition.study, total=float(state.wanted))
        self._progress.update(self._whole, description=whole, completed=len(ended))
        for number, progress in state.running.items():
            text = _rate(progress, state) + describe(progress)
            if number not in self._tasks:
                self._tasks[number] = self._progress.add_task(text, name=f"  trial {number}", total=1.0)
            share = progress.share if progress else 0.0
            self._progress.update(self._tasks[number], description=text, completed=share)
            if not self._live:
                place = f"{progress.phase} {progress.epoch}" if progress else ""
                self._log(f"trial {number}: {text}", number=number, place=place)

    def _log(self, text: str, *, number: int, place: str) -> None:
        """Print a line of a trial when its phase or epoch changes, and otherwise every `LINE_SECONDS`."""
        now = time.monotonic()
        before, since = self._lines.get(number, ("", 0.0))
        if place != before or now - since > LINE_SECONDS:
            self._lines[number] = place, now
            self._console.print(text)


def _whole(state: State, ended: int) -> str:
    """Return the progress of the study, its best trial, and the estimated time left."""
    complete = [trial for trial in state.trials if trial.value is not None and STATES[trial.state] == "ended"]
    text = f"{ended}/{counted(state.wanted, 'trial')}"
    if complete:
        best = max(complete, key=lambda trial: trial.value or 0.0)
        text += f", best val AUC {best.value:.4f} (trial {best.number})"
    seconds = [trial.user_attrs["seconds"] for trial in state.trials if "seconds" in trial.user_attrs]
    if ended and seconds and state.workers and ended < state.wanted:
        left = sum(seconds) / len(seconds) * (state.wanted - ended) / state.workers
        text += f", about {duration(left)} left"
    return text


def _rate(progress: Progress | None, state: State) -> str:
    if progress is None or progress.phase != "train" or not progress.rate:
        return ""
    return f"{progress.rate * state.definition.cell.training['batch_size']:,.0f} images/s, "


def outcome(trial: FrozenTrial, space: Mapping[str, Any]) -> str:
    """Return the outcome of a trial as one line."""
    seconds = duration(trial.user_attrs.get("seconds", 0.0))
    state = STATES[trial.state]
    if state == "ended":
        text = f"val AUC {trial.value:.4f} in {seconds}"
    elif state == "stopped":
        text = f"stopped after epoch {trial.last_step} with val AUC {trial.value:.4f}"
    else:
        text = "failed: " + str(trial.user_attrs.get("error", "")).partition("\n")[0]
    return f"trial {trial.number}: {text}  {written(values_of(trial.params, space))}"


def written(values: Mapping[str, Any]) -> str:
    """Return settings in the format of --set, with rounded numbers."""
    texts = (f"{value:.3g}" if isinstance(value, float) else str(value).replace(" ", "") for value in values.values())
    return " ".join(f"{name}={text}" for name, text in zip(values, texts, strict=True))


def print_plan(host: Host, definition: Definition, folder: Path) -> None:
    """Print the searched and the fixed settings of a study to stderr."""
    from zoo.cli.terminal import styled
    from zoo.data.about import budget_note
    from zoo.registry import datasets_by_id

    cell, out = definition.cell, console(stderr=True)
    about = f": {cell.model} on {cell.data}, budget {cell.budget}, {cell.precision}"
    out.print(styled(definition.study, "bold"), about, sep="")
    for name, dimension in definition.space.items():
        if isinstance(dimension, Mapping):
            scale = ", logarithmic" if dimension.get("log") else ""
            text = f"{dimension['low']:g} to {dimension['high']:g}{scale}"
        else:
            text = " | ".join(map(str, dimension))
        out.print(f"  {name}: {text}")
    if definition.settings:
        out.print(f"  fixed: {written(definition.settings)}")
    note = budget_note(
        cell.budget, datasets_by_id(host).get(cell.data), cell.recipe.params, sizes=[cell.sizes],
        simulated=cell.recipe.simulator is not None,
    )  # fmt: skip
    out.print("; ".join(filter(None, (note, "the test split is not opened", str(folder)))), style="dim")


def print_summary(summary: Summary, *, store: Path, files: Sequence[str] = ()) -> None:
    """Print the best trials and the importance of the settings to stdout.

    Args:
        summary: Summary of the study.
        store: Store of the study, for the next command.
        files: Plugins that are files, likewise.
    """
    from rich.table import Table

    out = console()
    ended = [trial for trial in summary.trials if trial.state == "ended"]
    others = [
        f"{count} {state}"
        for state in ("stopped", "failed", "unfinished")
        if (count := sum(trial.state == state for trial in summary.trials))
    ]
    counts = ", ".join([f"{counted(len(ended), 'trial')} ended", *others])
    out.print(f"{summary.study}: {summary.model} on {summary.data}, budget {summary.budget}; {counts}")
    if not ended:
        return
    best = sorted(ended, key=lambda trial: (-trial.score, trial.trial))[:MOST_ROWS]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("trial", "val AUC", "epoch", "parameters", "million MACs", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("settings", overflow="fold")
    for trial in best:
        table.add_row(
            str(trial.trial),
            f"{trial.val_auc:.4f}",
            str(trial.epoch),
            f"{trial.parameters or 0:,}",
            "-" if trial.macs is None else f"{trial.macs / 1e6:,.1f}",
            duration(trial.seconds or 0.0),
            written(trial.values),
        )
    out.print(table)
    if summary.importance:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in summary.importance.items())
        out.print(f"importance: {shares}")
    else:
        out.print("importance: not available (too few trials, or equal scores)", style="dim")
    out.print(
        "The highest of many validation AUCs is biased upwards. For the test AUC of new trainings, run: "
        f"{_next_command(summary.study, store, files)}",
        style="dim",
    )


def _next_command(study: str, store: Path, files: Sequence[str]) -> str:
    words = ["zoo", *(word for file in files for word in ("--plugin", os.path.relpath(file)))]
    words += ["bench", "--from-study", study, "--seeds", "0-4"]
    return shlex.join([*words, *(["--store", str(store)] if str(store) != "results" else [])])
