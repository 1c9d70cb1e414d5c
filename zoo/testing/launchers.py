"""Checks of the contract in `zoo.run.launcher`, for authors of launchers.

from zoo.host import load_plugins
from zoo.testing.launchers import check_launcher

def test_my_launcher(tmp_path):
    check_launcher(load_plugins(), "mine/cluster", tmp_path, options={"partition": "debug"})
"""

from __future__ import annotations

import shlex
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.errors import LauncherError
from zoo.paths import regular_file
from zoo.run.checked import CheckedLauncher
from zoo.run.launcher import Job, JobState
from zoo.specs import LauncherSpec
from zoo.testing.outcome import ConformanceError, named

if TYPE_CHECKING:
    from zoo.host import Host

CALL_SECONDS = 60.0
"""Time in which every call must answer, whatever the jobs do: the first one may start an engine on this machine."""
VARIABLE = "two words, 'quoted' $HOME"
"""Value of the variable of each job."""
BEATS = "for beat in $(seq 3000); do echo beat >> {ran}; sleep .2; done"
"""Script of a long job that shows that it runs."""
SILENT_SECONDS = 1.0
"""Time in which a running job writes a few times."""
STOP_SECONDS = 10.0
"""Time in which the process of a job must end after its state is that of an ended one."""


@dataclass(kw_only=True)
class _Trial:
    """A launcher on trial.

    Args:
        spec: Its spec.
        make: Function that returns it, checked.
        folder: Folder of the jobs.
        seconds: Time in which jobs must reach a state.
    """

    spec: LauncherSpec
    make: Callable[[], CheckedLauncher]
    folder: Path
    seconds: float

    def job(self, name: str, script: str) -> Job:
        """Return a job that notes in its file `ran` what it sees, and then runs a script of the shell."""
        run_dir = self.folder / "data" / "model" / name  # a launcher may keep files in the store
        run_dir.mkdir(parents=True, exist_ok=True)
        ran = shlex.quote(str(run_dir / "ran"))
        command = ("sh", "-c", f'echo {name} "$ZOO_TRIAL" "$(pwd -P)" >> {ran}; {script.format(ran=ran)}')
        return Job(run_dir=run_dir, command=command, cwd=self.folder, env={"ZOO_TRIAL": VARIABLE}, label=name)

    def ran(self, name: str) -> list[str]:
        """Return a line for each run of a job."""
        path = self.folder / "data" / "model" / name / "ran"
        return regular_file(path).read_text().splitlines() if path.exists() else []

    def wait(
        self, launcher: CheckedLauncher, handles: Sequence[str], done: Callable[[list[JobState]], bool], what: str
    ) -> list[JobState]:
        """Ask a launcher until its states are as wanted.

        Raises:
            ConformanceError: They are not in time.
        """
        until = time.monotonic() + self.seconds
        while not done(states := self.poll(launcher, handles)):
            if time.monotonic() > until:
                raise ConformanceError(f"{self.spec.id}: {what} after {self.seconds:g} s: {states}")
            time.sleep(min(1.0, launcher.poll_seconds or 0.2))
        return states

    def wait_for_silence(self, names: Sequence[str]) -> None:
        """Wait until jobs write no more.

        Raises:
            ConformanceError: They go on.
        """
        until = time.monotonic() + STOP_SECONDS
        before: list[list[str]] = []
        while before != (now := [self.ran(name) for name in names]):
            if time.monotonic() > until:
                raise ConformanceError(
                    f"{self.spec.id}: the processes of cancelled jobs go on after {STOP_SECONDS:g} s.",
                    hint="Stop each process, also one that a shell has started.",
                )
            before = now
            time.sleep(SILENT_SECONDS)

    def poll(self, launcher: CheckedLauncher, handles: Sequence[str]) -> list[JobState]:
        """Ask a launcher once.

        Raises:
            ConformanceError: A state is invented.
        """
        states = launcher.poll(handles)
        if invented := [state.detail for state in states if "returned the state" in state.detail]:
            raise ConformanceError(invented[0])
        return states


def check_launcher(
    host: Host, name: str, folder: Path, *, options: Mapping[str, Any] | None = None, seconds: float = 60.0
) -> None:
    """Submit, ask and cancel jobs: 1, 2 and 5 of them, failing, killed, cancelled, submitted again, and unknown ones.

    Args:
        host: The plugins.
        name: Id or name of the launcher.
        folder: Empty folder that the jobs see as well.
        options: Options that differ from the defaults.
        seconds: Time in which a few short jobs must have ended; of a cluster, that of its queue.

    Raises:
        ConformanceError: The contract is broken.
    """
    spec = registry.find(host, LauncherSpec, name)
    chosen = {**spec.options, **(options or {})}
    target = registry.load_target(spec)

    def make() -> CheckedLauncher:
        return CheckedLauncher(spec.id, lambda: target(**chosen), limit=CALL_SECONDS)

    trial = _Trial(spec=spec, make=make, folder=folder.absolute(), seconds=seconds)
    try:
        for check in (_jobs_end, _bad_ends_have_reasons, _jobs_can_be_cancelled, _handles_outlive, _job_can_run_again):
            check(trial)
    except LauncherError as error:
        raise ConformanceError(str(error)) from error


def _ended(states: Sequence[JobState]) -> bool:
    return all(state.kind == "ended" for state in states)


def _jobs_end(trial: _Trial) -> None:
    for count in (1, 2, 5):
        launcher = trial.make()
        names = [f"of{count}-{number}" for number in range(count)]
        handles = launcher.submit([trial.job(name, "exit 0") for name in names])
        states = trial.wait(launcher, handles, _ended, "jobs that exit with 0 have not ended")
        if wrong := [state for state in states if state.reason not in ("ok", "unknown")]:
            raise ConformanceError(f"{trial.spec.id}: a job that exits with 0 ended as {wrong[0]}.")
        for one in names:
            if trial.ran(one) != [f"{one} {VARIABLE} {trial.folder.resolve()}"]:
                raise ConformanceError(
                    f"{trial.spec.id}: a job must run once, with its variables and in its folder: {trial.ran(one)}"
                )
        if not _ended(trial.poll(launcher, handles[::-1])):
            raise ConformanceError(f"{trial.spec.id}: jobs that have ended did not stay so.")
    if trial.make().submit([]):
        raise ConformanceError(f"{trial.spec.id}: submit returned handles without jobs.")


def _bad_ends_have_reasons(trial: _Trial) -> None:
    launcher = trial.make()
    scripts = {"fails": "exit 3", "killed": "kill -9 $$", "stopped": "exit 75", "fine": "exit 0"}
    handles = launcher.submit([trial.job(name, script) for name, script in scripts.items()])
    states = trial.wait(launcher, handles, _ended, "jobs that fail have not ended")
    turned = trial.poll(launcher, handles[::-1])[::-1]
    if [state.reason for state in turned] != [state.reason for state in states]:
        raise ConformanceError(f"{trial.spec.id}: states are not in the order of the handles: {turned}, {states}")
    for name, state in zip(scripts, states, strict=True):
        if name != "fine" and state.reason == "ok":
            raise ConformanceError(f"{trial.spec.id}: the job {name} ({scripts[name]}) ended as 'ok'.")
    if not trial.ran("fine"):
        raise ConformanceError(f"{trial.spec.id}: a job after a failed one did not run.")


def _jobs_can_be_cancelled(trial: _Trial) -> None:
    launcher = trial.make()
    names = ["long", "next", "last"]
    handles = launcher.submit([trial.job(name, BEATS) for name in names])
    trial.wait(launcher, handles[:1], lambda states: states[0].kind == "running", "a long job does not run")
    launcher.cancel(handles)
    trial.wait(launcher, handles, _ended, "cancelled jobs have not ended")
    trial.wait_for_silence(names)
    launcher.cancel([*handles, "never given"])  # no harm


def _handles_outlive(trial: _Trial) -> None:
    """A handle is a text in a file: another process asks for its state, or the launcher has forgotten it."""
    launcher = trial.make()
    handles = launcher.submit([trial.job("outlives", "exec sleep 600")])
    trial.wait(launcher, handles, lambda states: states[0].kind == "running", "a long job does not run")
    other = trial.make()
    found, unknown = trial.poll(other, [*handles, "never given"])
    if trial.spec.outlives and found.kind not in ("waiting", "running"):
        raise ConformanceError(f"{trial.spec.id}: another process sees a running job as {found}.")
    if unknown.kind not in ("lost", "ended"):
        raise ConformanceError(f"{trial.spec.id}: a handle that was never given is {unknown}, not lost.")
    (other if trial.spec.outlives else launcher).cancel(handles)
    trial.wait(launcher, handles, _ended, "a job that was cancelled has not ended")


def _job_can_run_again(trial: _Trial) -> None:
    launcher = trial.make()
    job = trial.job("again", "exit 75")
    first = launcher.submit([job])
    trial.wait(launcher, first, _ended, "a job has not ended")
    second = launcher.submit([job])
    if first == second:
        raise ConformanceError(f"{trial.spec.id}: a job that is submitted again needs another handle.")
    trial.wait(launcher, second, _ended, "a job that was submitted again has not ended")
    if len(trial.ran("again")) != 2:
        raise ConformanceError(f"{trial.spec.id}: a job that was submitted again did not run again.")


@dataclass
class LauncherSubject:
    """A launcher, as the conformance kit takes it.

    Args:
        host: The plugins.
        spec: Spec of the launcher.
        options: Options that differ from the defaults.
        seconds: Time in which a few short jobs must have ended.
    """

    host: Host
    spec: LauncherSpec
    options: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 60.0

    def run(self, check: Callable[[_Trial], None]) -> None:
        """Run a check in a folder that is removed at the end."""
        target, chosen = registry.load_target(self.spec), {**self.spec.options, **self.options}
        with tempfile.TemporaryDirectory(prefix="zoo launcher ") as folder:  # a path may hold spaces

            def make() -> CheckedLauncher:
                return CheckedLauncher(self.spec.id, lambda: target(**chosen), limit=CALL_SECONDS)

            check(_Trial(spec=self.spec, make=make, folder=Path(folder), seconds=self.seconds))


def jobs_end(subject: LauncherSubject) -> None:
    """One, two and five jobs run once each, with their variables and in their folder, and end."""
    subject.run(_jobs_end)


def bad_ends_have_reasons(subject: LauncherSubject) -> None:
    """Jobs that fail, are killed or stop end, and not as good ones; states have the order of the handles."""
    subject.run(_bad_ends_have_reasons)


def jobs_can_be_cancelled(subject: LauncherSubject) -> None:
    """Cancelled jobs end; cancelling ended and unknown ones does no harm."""
    subject.run(_jobs_can_be_cancelled)


def handles_outlive(subject: LauncherSubject) -> None:
    """Another process asks for the state of a job where the spec states it, and an unknown handle is lost."""
    subject.run(_handles_outlive)


def job_can_run_again(subject: LauncherSubject) -> None:
    """A job that is submitted again runs again, under another handle."""
    subject.run(_job_can_run_again)


CHECKS = named(jobs_end, bad_ends_have_reasons, jobs_can_be_cancelled, handles_outlive, job_can_run_again)
