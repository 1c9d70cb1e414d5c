"""Calls a launcher of a plugin: contained, within a time limit, and with answers that keep the contract."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, cast, get_args

from zoo.errors import Interrupted, LauncherError, MissingError, UsageError
from zoo.isolation import plugin_code
from zoo.run.launcher import Job, JobKind, JobState, Reason

logger = logging.getLogger(__name__)

CALL_SECONDS = 120.0
"""Time limit of a call: a busy scheduler may take a minute to accept an array of jobs."""
LONGEST_INTERVAL = 3600
"""Longest interval between two questions to a launcher in seconds."""
_OTHERS = "Use another one: zoo list-launchers"


class CheckedLauncher:
    """A launcher whose faults, silence and answers of another form become one error that names it.

    Args:
        name: Id of the launcher.
        make: Function that returns it: its target with its options.
        limit: Time limit of a call in seconds; None calls it in this thread, without a limit.

    Raises:
        UsageError: An option is impossible.
        MissingError: This machine lacks what the launcher needs.
        LauncherError: `make` raised something else or did not end in time.
    """

    def __init__(self, name: str, make: Callable[[], Any], *, limit: float | None = None) -> None:
        self.name = name
        self._limit = limit
        self._stuck: threading.Thread | None = None
        self._launcher = self._call("its start", make, refuses=True)

    @property
    def poll_seconds(self) -> float | None:
        """Interval at which the launcher is to be asked, in seconds; None where it does not state one.

        Raises:
            UsageError: It is impossible.
        """
        seconds: Any = getattr(self._launcher, "poll_seconds", None)
        if seconds is None:
            return None
        if type(seconds) not in (int, float) or not 0 < seconds <= LONGEST_INTERVAL:
            raise UsageError(
                f"Launcher {self.name}: the interval poll_seconds={seconds!r} must be a number above 0, at most "
                f"{LONGEST_INTERVAL}."
            )
        return float(seconds)

    def check(self, jobs: Sequence[Job]) -> None:
        """Have the launcher refuse what it can never run, where it has a method for that.

        Raises:
            UsageError: A job needs what there is not.
            MissingError: This machine lacks what the launcher needs.
            LauncherError: The launcher failed.
        """
        check = getattr(self._launcher, "check", None)
        if jobs and check is not None:
            self._call("check", lambda: check(list(jobs)), refuses=True)

    def submit(self, jobs: Sequence[Job]) -> list[str]:
        """Queue jobs and return a handle for each; no two are equal.

        Raises:
            LauncherError: The launcher failed. Jobs for which it returned a handle all the same have been cancelled.
        """
        handles = self._call("submit", lambda: self._launcher.submit(list(jobs)))
        problem = ""
        if not isinstance(handles, (list, tuple)) or not all(isinstance(one, str) and one for one in handles):
            problem, handles = f"must return a list of texts; it returned {handles!r:.100}", []
        elif len(handles) != len(jobs):
            problem = f"must return a handle for each of the jobs ({len(jobs)}); it returned {len(handles)}"
        elif len(set(handles)) < len(handles):
            problem = "returned the same handle for several jobs"
        if problem:
            if handles:
                self.cancel(handles)
            raise LauncherError(f"Launcher {self.name}: submit {problem}.", hint=_OTHERS)
        return list(handles)

    def poll(self, handles: Sequence[str]) -> list[JobState]:
        """Return the state of each job; an invented state is "lost".

        Raises:
            LauncherError: The launcher failed, or the number of states is not that of the handles.
        """
        if not handles:
            return []
        states = self._call("poll", lambda: self._launcher.poll(list(handles)))
        if not isinstance(states, (list, tuple)) or len(states) != len(handles):
            raise LauncherError(
                f"Launcher {self.name}: poll must return a list of states, one for each job ({len(handles)}); it "
                f"returned {states!r:.100}.",
                hint=_OTHERS,
            )
        return [self._state(state) for state in states]

    def cancel(self, handles: Sequence[str]) -> None:
        """Stop jobs; a fault is logged, since the reason of the end counts more."""
        if not handles:
            return
        try:
            self._call("cancel", lambda: self._launcher.cancel(list(handles)))
        except LauncherError as error:
            logger.warning("%s", error)

    def log(self, handle: str) -> str:
        """Return the last lines of what the engine has written about a job, or ""."""
        try:
            text = self._call("log", lambda: getattr(self._launcher, "log", lambda _: "")(handle))
        except LauncherError as error:
            return str(error)
        return text if isinstance(text, str) else ""

    def _state(self, state: Any) -> JobState:
        # Any text: whether it is a kind is what is checked.
        found: Any = JobState(kind=cast(JobKind, state)) if isinstance(state, str) else state
        if (
            isinstance(found, JobState)
            and found.kind in get_args(JobKind)
            and found.reason in get_args(Reason)
            and isinstance(found.detail, str)
        ):
            return found
        known = ", ".join(get_args(JobKind))
        return JobState(kind="lost", detail=f"{self.name} returned the state {state!r:.100}; known are {known}")

    def _call(self, what: str, function: Callable[[], Any], *, refuses: bool = False) -> Any:
        """Return what a call of the launcher returns.

        Args:
            what: Name of the call.
            function: The call.
            refuses: Whether a UsageError or MissingError is an answer to the user, and not a fault.
        """
        if self._limit is None:
            return self._contained(what, function, refuses)
        if self._stuck is not None and self._stuck.is_alive():
            raise LauncherError(f"Launcher {self.name} still has not answered an earlier call.", hint=_OTHERS)
        answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

        def call() -> None:
            try:
                answers.put((self._contained(what, function, refuses), None))
            except BaseException as error:  # handed over
                answers.put((None, error))

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        try:
            answer, error = answers.get(timeout=self._limit)
        except queue.Empty:
            self._stuck = thread
            raise LauncherError(
                f"Launcher {self.name} has not answered in {what} for {self._limit:g} s.", hint=_OTHERS
            ) from None
        if error is not None:
            raise error
        return answer

    def _contained(self, what: str, function: Callable[[], Any], refuses: bool) -> Any:
        try:
            with plugin_code(self.name, f"{what} of the launcher {self.name}"):
                return function()
        except Interrupted:
            raise
        except Exception as error:
            if refuses and isinstance(error, (UsageError, MissingError)):
                raise
            raise LauncherError(
                f"Launcher {self.name} failed in {what}: {type(error).__name__}: {error}", hint=_OTHERS
            ) from error
