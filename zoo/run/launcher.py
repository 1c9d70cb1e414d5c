"""The contract of a launcher, and a check that a launcher keeps it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, cast, get_args

from zoo.errors import LauncherError
from zoo.isolation import plugin_code

logger = logging.getLogger(__name__)

JobState: TypeAlias = Literal["waiting", "running", "ended"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One cell to run.

    Args:
        run_dir: Holds cell.json; the result will appear there.
        command: Run this, in a process of its own; its exit status is 0 when the result is good.
    """

    run_dir: Path
    command: tuple[str, ...]


class Launcher(Protocol):
    """Starts jobs somewhere and reports whether they still run. No call blocks; results come from the store only."""

    def submit(self, jobs: Sequence[Job]) -> list[str]:
        """Queue jobs and return a handle for each."""
        ...

    def poll(self, handles: Sequence[str]) -> list[JobState]:
        """Return the state of each: "waiting", "running" or "ended"; also the moment to start what waits."""
        ...

    def cancel(self, handles: Sequence[str]) -> None:
        """Stop jobs that wait or run; ended ones are left alone."""
        ...


class CheckedLauncher:
    """A launcher of a plugin, whose faults and answers of another form become one error that names it.

    Args:
        name: Id of the launcher.
        make: Target of its spec.

    Raises:
        LauncherError: Any method, or `make`, raised something, or returned something else than the contract states.
    """

    def __init__(self, name: str, make: Callable[[], Any]) -> None:
        self._name = name
        self._launcher = self._call("its start", make)

    def submit(self, jobs: Sequence[Job]) -> list[str]:
        """Queue jobs and return a handle for each; no two are equal."""
        handles = self._call("submit", lambda: self._launcher.submit(list(jobs)))
        self._check("submit", handles, len(jobs), all_of="texts", fits=lambda value: isinstance(value, str))
        if len(set(handles)) < len(handles):
            raise LauncherError(f"Launcher {self._name}: submit returned the same handle for several jobs.")
        return list(handles)

    def poll(self, handles: Sequence[str]) -> list[JobState]:
        """Return the state of each job."""
        states = self._call("poll", lambda: self._launcher.poll(list(handles)))
        known = get_args(JobState)
        self._check("poll", states, len(handles), all_of=f"{', '.join(known)}", fits=lambda value: value in known)
        return cast("list[JobState]", list(states))

    def cancel(self, handles: Sequence[str]) -> None:
        """Stop jobs; a fault is logged, since the reason of the end counts more."""
        try:
            self._call("cancel", lambda: self._launcher.cancel(list(handles)))
        except LauncherError as error:
            logger.warning("%s", error)

    def _call(self, what: str, function: Callable[[], Any]) -> Any:
        try:
            with plugin_code(self._name, f"{what} of the launcher {self._name}"):
                return function()
        except Exception as error:
            raise LauncherError(
                f"Launcher {self._name} failed in {what}: {type(error).__name__}: {error}",
                hint="Use another one: zoo list-launchers",
            ) from error

    def _check(self, what: str, answer: Any, count: int, *, all_of: str, fits: Callable[[Any], bool]) -> None:
        if not isinstance(answer, (list, tuple)) or len(answer) != count or not all(map(fits, answer)):
            raise LauncherError(
                f"Launcher {self._name}: {what} must return a list of {all_of}, one for each job ({count}); it "
                f"returned {answer!r:.100}.",
                hint="Use another one: zoo list-launchers",
            )
