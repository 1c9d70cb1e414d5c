"""Shows running cells: bars on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from zoo.cli.context import console
from zoo.paths import regular_file
from zoo.results.store import LOG

if TYPE_CHECKING:
    from rich.progress import TaskID
    from rich.text import Text

    from zoo.progress import Progress
    from zoo.results.schema import Finished, RunResult
    from zoo.run.matrix import CellState

LINE_SECONDS = 15.0
_MOST_WARNINGS = 5


class LiveBars:
    """A context with bars on stderr where that is a terminal; elsewhere its heirs print a line now and then.

    Args:
        named: Whether a name stands before each bar and the time after it; without, the bar goes when the context ends.
    """

    def __init__(self, *, named: bool = True) -> None:
        from rich.progress import BarColumn, Progress, ProgressColumn, TimeElapsedColumn

        from zoo.cli.terminal import PlainColumn

        columns: list[ProgressColumn] = [BarColumn(bar_width=24), PlainColumn("{task.description}")]
        if named:
            columns = [PlainColumn("{task.fields[name]}", style="bold"), *columns, TimeElapsedColumn()]
        self._console = console(stderr=True)
        self._live = sys.stderr.isatty()
        self._progress = Progress(*columns, console=self._console, disable=not self._live, transient=not named)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


class Watcher(LiveBars):
    """A context in which `watch` shows the cells on stderr."""

    def __init__(self) -> None:
        super().__init__()
        self._tasks: dict[str, TaskID] = {}
        self._told: dict[str, tuple[str, float]] = {}
        self._ended: set[str] = set()

    def watch(self, states: list[CellState]) -> None:
        """Show the state of every cell; called several times a second."""
        for state in states:
            run_id, name = state.cell.run_id, f"{state.cell.model} on {state.cell.data}"
            if len({other.cell.seed for other in states}) > 1:
                name += f", seed {state.cell.seed}"
            if state.state == "ended" and run_id not in self._ended and state.result is not None:
                self._ended.add(run_id)
                if run_id in self._tasks:
                    self._progress.remove_task(self._tasks.pop(run_id))
                for line in _warnings(state.run_dir / LOG):
                    self._console.print(f"{name}: {line}")
                self._console.print(f"{name}: ", _outcome(state.result), sep="")
            elif state.state in ("running", "elsewhere"):
                text = describe(state.progress)
                if state.state == "elsewhere":
                    text = f"running elsewhere: {text}"
                if run_id not in self._tasks:
                    self._tasks[run_id] = self._progress.add_task(text, name=name, total=1.0)
                self._progress.update(
                    self._tasks[run_id], description=text, completed=state.progress.share if state.progress else 0.0
                )
                # A cell that has just ended reports nothing more: it does not start again.
                if not self._live and (state.progress or run_id not in self._told):
                    key = f"{state.progress.phase} {state.progress.epoch}" if state.progress else ""
                    self._log(run_id, name, text, key=key)

    def _log(self, run_id: str, name: str, text: str, *, key: str) -> None:
        """Print a line when the phase or epoch changes, or after a while."""
        last_key, last_time = self._told.get(run_id, ("", 0.0))
        now = time.monotonic()
        if key != last_key or now - last_time > LINE_SECONDS:
            self._told[run_id] = (key, now)
            self._console.print(f"{name}: {text}")


class CountBar(LiveBars):
    """A context in which `show` shows on stderr how many images of a work are done.

    Args:
        name: Name of the work, such as "simulate train".
        of: Noun of the counted things.
    """

    def __init__(self, name: str, *, of: str = "images") -> None:
        super().__init__(named=False)
        self._name, self._of = name, of
        self._task = self._progress.add_task(name, total=None)
        self._started: float | None = None
        self._before = 0
        self._told = 0.0

    def show(self, done: int, total: int) -> None:
        """Show how many images are done, of how many; those of the first call do not count for the speed."""
        now = time.monotonic()
        if self._started is None:
            self._started, self._told, self._before = now, now, done
        seconds, since = now - self._started, done - self._before
        rate = f", {since / seconds:,.0f} {self._of}/s" if since > 0 and seconds > 0.5 else ""
        left = f", {duration(seconds / since * (total - done))} left" if rate else ""
        text = f"{self._name} {done:,}/{total:,}{rate}{left}"
        self._progress.update(self._task, description=text, completed=done, total=total)
        if not self._live and now - self._told > LINE_SECONDS:
            self._told = now
            self._console.print(text)


def describe(progress: Progress | None) -> str:
    """Return what a cell does, how fast, and how long it will take."""
    if progress is None:
        return "starting"
    phase, done, total, rate = progress.phase, progress.done, progress.total, progress.rate
    left = f", {duration((total - done) / rate)} left" if rate and progress.seconds > 0.5 and done < total else ""
    if phase == "train":
        text = f"epoch {progress.epoch}/{progress.epochs}"
        if progress.images is not None:
            text += f" ({progress.images})"
        if progress.train_loss is not None and progress.val_auc is not None:
            text += f", loss {progress.train_loss:.3f}, val AUC {progress.val_auc:.4f}"
        elif progress.train_loss is not None and progress.val_loss is not None:
            text += f", loss {progress.train_loss:.4g}, val loss {progress.val_loss:.4g}"
        if progress.streamed_per_second is not None:
            text += f", streamed at {progress.streamed_per_second:,.0f} images/s"
        if progress.waited_share:
            text += f", waited for {progress.waited_share:.0%} of the time"
        if done == total:
            text += ", validating"
        return text + left + (f"; {progress.note}" if progress.note else "")
    if total > 1:  # a number of images, or of the steps of a network that fits itself
        unit = " images" if phase.startswith(("simulate", "validate", "score")) else ""
        number = f"{rate:,.0f}" if unit and rate >= 10 else f"{rate:,.3g}"
        speed = f", {number}{unit}/s" if rate else ""
        return f"{phase} {done:,.0f}/{total:,.0f}{speed}{left}"
    return phase


def _warnings(log: Path) -> list[str]:
    """Return the warnings of a cell's process, such as a damaged shard that was made again."""
    try:
        lines = regular_file(log).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [line for line in dict.fromkeys(lines) if line.startswith("WARNING: ")][:_MOST_WARNINGS]


def _outcome(result: RunResult) -> Text:
    from zoo.cli.terminal import styled

    if result.status == "ok":
        headline = result.test.headline
        return styled(f"{_kept(result)}{headline.label} {headline.value:.4f} in {duration(result.seconds)}", "")
    return styled(result.status, "red")


def _kept(result: Finished) -> str:
    """Return the kept epoch and its validation score, since progress shows those of earlier epochs only."""
    if result.val is None:
        return ""
    score = f"val {result.val.in_words().removeprefix('validation ')}"
    if result.cell.fits_itself:
        return f"{score}; "
    return f"kept epoch {result.val.epoch} of {result.cell.training['epochs']}, {score}; "


def duration(seconds: float) -> str:
    """Return a time in words."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
