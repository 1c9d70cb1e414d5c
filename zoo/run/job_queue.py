"""Work in the hands of a launcher: submission, states, further attempts; files are believed before the launcher."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, TypeVar

from zoo.errors import LauncherError
from zoo.results.store import locked
from zoo.run.checked import CheckedLauncher
from zoo.run.launch import Resolved
from zoo.run.launcher import Job, JobState
from zoo.run.submission import (
    Submission,
    forget_submission,
    is_cancelled,
    read_submission,
    write_submission,
)
from zoo.run.work import Work

logger = logging.getLogger(__name__)
R = TypeVar("R")

MOST_SECONDS = 60.0
"""Longest pause before another attempt, and between calls of a launcher that fails."""
MOST_FAILED_POLLS = 5
"""Failed polls in succession after which a launcher is not called any more."""
MOST_LOST_POLLS = 3
"""Polls in succession that report a job as unknown before it is taken as lost: schedulers list jobs late."""


@dataclass(kw_only=True, eq=False)
class Entry(Generic[R]):
    """Work and what is known of its job.

    Args:
        work: A cell, a share of images or files, or a worker of a study.
        result: Result, once there is one.
        state: State for people.
        handle: Handle of its job.
        job_state: State that the launcher reported last.
        attempt: Number of attempts without progress.
        submitted: Time of the last submission, in seconds since 1970.
        due: Time of the next submission by `time.monotonic`; None where it is not to be submitted.
        lost: Polls in succession in which the launcher did not know the job.
        attached: Whether an earlier command submitted the job.
    """

    work: Work[R]
    result: R | None = None
    state: Literal["waiting", "running", "elsewhere", "ended"] = "waiting"
    handle: str | None = None
    job_state: JobState = field(default_factory=lambda: JobState(kind="waiting"))
    attempt: int = 0
    submitted: float = 0.0
    due: float | None = None
    lost: int = 0
    attached: bool = False

    @property
    def run_dir(self) -> Path:
        """Folder of the files of the work."""
        return self.work.run_dir


@dataclass(kw_only=True, eq=False)
class Queue(Generic[R]):
    """Work in the hands of a launcher: cells, shares of images or files, or workers of a study.

    Another process may do the same work in the same folders. A folder belongs to the process that holds its lock; it is
    left to it, and taken back when that process lets go of it without a result.

    Args:
        engine: Launcher.
        launch: Its spec, options, and number of further attempts.
        entries: Work without a result.
        job: Function that returns the job of an entry.
        poll_seconds: Interval at which the launcher is asked.
    """

    engine: CheckedLauncher
    launch: Resolved
    entries: Sequence[Entry[R]]
    job: Callable[[Entry[R]], Job]
    poll_seconds: float
    _next_poll: float = 0.0
    _failed_polls: int = 0

    def attach(self) -> None:
        """Take over the jobs that an earlier command has submitted and that still wait or run; queue all others.

        Raises:
            LauncherError: The launcher does not answer, so that it is unknown whether they do.
        """
        kept: dict[str, Entry[R]] = {}
        submitted: dict[str, Submission] = {}
        for entry in self.entries:
            submission = read_submission(entry.run_dir)
            if submission is not None and submission.launcher == self.engine.name:
                kept[submission.handle], submitted[submission.handle] = entry, submission
            elif submission is not None:
                logger.warning(
                    "%s has been submitted to %s as well; zoo cancel removes such jobs",
                    entry.work.label,
                    submission.launcher,
                )
        for (handle, entry), state in zip(kept.items(), self.engine.poll(list(kept)), strict=True):
            if state.kind in ("waiting", "running"):
                entry.handle, entry.job_state, entry.attached = handle, state, True
                entry.attempt, entry.submitted = submitted[handle].attempt, submitted[handle].submitted
        for entry in self.entries:
            if entry.handle is None:
                entry.due = time.monotonic()

    def advance(self) -> None:
        """Submit what is due, ask the launcher if it is time, and bring every entry up to date."""
        self._submit()
        self._poll()
        for entry in self.entries:
            if entry.result is None:
                self._update(entry)
        self._submit()

    def cancel(self) -> None:
        """Stop the jobs of this command that have no result; those that an earlier command submitted go on."""
        mine = [entry for entry in self.entries if entry.handle is not None and not entry.attached]
        without = [entry for entry in mine if not entry.work.has_ended()]
        self.engine.cancel([entry.handle for entry in without if entry.handle is not None])
        for entry in without:
            forget_submission(entry.run_dir)

    def _submit(self) -> None:
        now = time.monotonic()
        due = [entry for entry in self.entries if entry.due is not None and entry.due <= now and entry.result is None]
        mine = []
        for entry in due:
            if locked(entry.run_dir):
                entry.state, entry.due, entry.handle = "elsewhere", None, None
            elif entry.work.has_ended() and (result := entry.work.result()) is not None:
                entry.result = result  # written since it was looked for
                self._finish(entry)
            else:
                mine.append(entry)
        if not mine:
            return
        for entry in mine:
            # A request to cancel from before the first attempt is an old one; a later one is of these attempts.
            forget_submission(entry.run_dir, keep_request=entry.attempt > 0)
            entry.attempt += 1
            entry.due, entry.submitted, entry.state = None, time.time(), "waiting"
            entry.job_state, entry.lost, entry.attached = JobState(kind="waiting"), 0, False
        try:
            handles = self.engine.submit([self.job(entry) for entry in mine])
        except LauncherError as error:
            for entry in mine:
                self._ended_badly(entry, str(error), again=True, submitted=False)
            return
        for entry, handle in zip(mine, handles, strict=True):
            entry.handle = handle
            options = dict(self.launch.options)
            write_submission(
                entry.run_dir,
                Submission(
                    launcher=self.engine.name, options=options, handle=handle, attempt=entry.attempt,
                    submitted=entry.submitted,
                ),
            )  # fmt: skip
        self._next_poll = 0.0

    def _poll(self) -> None:
        asked = [entry for entry in self.entries if entry.handle is not None and entry.result is None]
        if not asked or time.monotonic() < self._next_poll:
            return
        try:
            states = self.engine.poll([entry.handle for entry in asked if entry.handle is not None])
        except LauncherError as error:
            self._failed_polls += 1
            logger.warning("%s", error)
            pause = min(MOST_SECONDS, self.poll_seconds * 2**self._failed_polls)
            self._next_poll = time.monotonic() + pause
            if self._failed_polls >= MOST_FAILED_POLLS:
                for entry in asked:
                    self._given_up(entry, str(error))
            return
        self._failed_polls = 0
        self._next_poll = time.monotonic() + self.poll_seconds
        for entry, state in zip(asked, states, strict=True):
            entry.job_state = state
            entry.lost = entry.lost + 1 if state.kind == "lost" else 0

    def _update(self, entry: Entry[R]) -> None:
        """Bring an entry without a result up to date."""
        if entry.work.has_ended():
            entry.result = entry.work.result()
            if entry.result is not None:
                if entry.handle is not None and entry.job_state.kind == "waiting" and not entry.attached:
                    self.engine.cancel([entry.handle])  # another process has run it meanwhile
                self._finish(entry)
                return
        if is_cancelled(entry.run_dir) and (entry.due is None or entry.attempt > 0):
            self._cancelled(entry)
        elif entry.state == "elsewhere" and entry.handle is None:
            if not locked(entry.run_dir):
                entry.due = time.monotonic()
        elif entry.handle is not None:
            self._update_job(entry)

    def _update_job(self, entry: Entry[R]) -> None:
        state = entry.job_state
        if state.kind == "running":
            entry.state = "running"
        elif state.kind == "waiting":
            # A scheduler may list a job as waiting that has started.
            late = (self.launch.spec.outlives or entry.attached) and locked(entry.run_dir)
            entry.state = "waiting" if not late else "elsewhere" if entry.attached else "running"
        elif locked(entry.run_dir):
            # Our process found another one at work, and left; or the launcher has lost a job that runs.
            entry.state = "elsewhere"
            if state.kind == "ended":
                entry.handle = None
        elif state.kind == "ended" or entry.lost >= MOST_LOST_POLLS:
            entry.result = entry.work.result()
            if entry.result is not None:
                self._finish(entry)
            else:
                self._ended_badly(entry, state.detail, again=entry.work.goes_on(state))

    def _ended_badly(self, entry: Entry[R], detail: str, *, again: bool, submitted: bool = True) -> None:
        """Queue another attempt, or keep the failure."""
        if submitted and entry.work.has_advanced(entry.submitted):
            entry.attempt = min(entry.attempt, 1)
        if again and entry.attempt <= self.launch.retries:
            pause = min(MOST_SECONDS, self.poll_seconds * 2 ** (entry.attempt - 1)) if entry.attempt > 1 else 0.0
            entry.due, entry.state = time.monotonic() + pause, "waiting"
            logger.warning(
                "%s has not ended (%s); it is submitted again", entry.work.label, detail or entry.job_state.reason
            )
        else:
            engine_log = self.engine.log(entry.handle) if submitted and entry.handle is not None else ""
            entry.result = entry.work.failed(detail=detail, engine_log=engine_log, summary="" if submitted else detail)
            self._finish(entry)
        entry.handle = None

    def _given_up(self, entry: Entry[R], error: str) -> None:
        """Go on without a launcher that does not answer: work under way is waited for, other work has failed.

        A job of a launcher that outlives this process may still wait: its file stays, for `zoo cancel` and the next
        command, and no failure is stored.
        """
        waits = entry.handle is not None and self.launch.spec.outlives
        entry.handle = None
        if locked(entry.run_dir):
            entry.state = "elsewhere"
            return
        entry.result = entry.work.result() or entry.work.failed(summary=error, keep=not waits)
        if waits and not entry.work.has_ended():
            entry.state = "ended"
        else:
            self._finish(entry)

    def _cancelled(self, entry: Entry[R]) -> None:
        if entry.handle is not None and (self.launch.spec.outlives or not entry.attached):
            self.engine.cancel([entry.handle])
        entry.handle = entry.due = None
        if locked(entry.run_dir):
            return  # until it has written its checkpoint
        entry.result = entry.work.result() or entry.work.failed(
            summary="Cancelled by zoo cancel; the same command goes on with it.", keep=False
        )
        self._finish(entry, keep_request=True)  # other commands may wait for the work as well

    def _finish(self, entry: Entry[R], *, keep_request: bool = False) -> None:
        entry.state, entry.handle = "ended", None
        forget_submission(entry.run_dir, keep_request=keep_request)
