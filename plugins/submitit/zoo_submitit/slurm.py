"""The launcher of Slurm: one array for all jobs that need the same, one squeue for the states of all."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from zoo.errors import LauncherError, MissingError, UsageError
from zoo.paths import make_dir
from zoo.run.launcher import Job, JobState, Resources
from zoo_submitit import commands
from zoo_submitit.ending import read_ending
from zoo_submitit.jobs import Handle, by_resources, check_folder, engine_log, folder_of, parse_handle, run_cell
from zoo_submitit.limits import check_fits
from zoo_submitit.refusals import refusal, said
from zoo_submitit.states import ACTIVE, WRITTEN, rows, sacct_command, squeue_command, state_of

logger = logging.getLogger(__name__)

_LOST = "Slurm does not list the job, and its node has not written its end"
_ASKED = (
    "nodes", "ntasks_per_node", "time", "gpus_per_node", "cpus_per_task", "mem", "partition", "account", "qos",
    "constraint",
)  # fmt: skip
"""Parameters that Slurm judges."""


class SlurmLauncher:
    """Job arrays of Slurm. Their states are those of squeue; of jobs that have left the queue, those that their nodes
    have written, and those of sacct where the cluster has it.

    Args:
        partition, account, qos, constraint: Options of sbatch; "" leaves them to the cluster.
        array_parallelism: Cells of an array that run at a time.
        signal_seconds: Time before the time limit at which a cell is stopped, in seconds.
        requeues: Times that Slurm starts a job again by itself.
        sbatch: Further options of sbatch, separated by spaces.
        folder: Folder of submitit; "": inside the store.
        setup: Lines of the shell before the cell.
        poll_seconds: Interval between questions, in seconds.

    Raises:
        MissingError: This machine has no commands of Slurm.
        UsageError: An option is impossible.
    """

    def __init__(
        self,
        *,
        partition: str = "",
        account: str = "",
        qos: str = "",
        constraint: str = "",
        array_parallelism: int = 256,
        signal_seconds: int = 90,
        requeues: int = 20,
        sbatch: str = "",
        folder: str = "",
        setup: str = "",
        poll_seconds: float = 30.0,
    ) -> None:
        commands.require("sbatch", "srun", "squeue", "scancel")
        least = {"array_parallelism": 1, "signal_seconds": 1, "requeues": 0}
        values = {"array_parallelism": array_parallelism, "signal_seconds": signal_seconds, "requeues": requeues}
        for name, value in values.items():
            if value < least[name]:
                raise UsageError(f"--launcher-set {name}={value} must be {least[name]} or more.")
        self.poll_seconds = poll_seconds
        self._partition, self._account, self._qos, self._constraint = partition, account, qos, constraint
        self._array_parallelism, self._signal_seconds, self._requeues = array_parallelism, signal_seconds, requeues
        self._sbatch, self._folder, self._setup = sbatch_options(sbatch), folder, setup
        self._with_sacct = commands.is_installed("sacct")

    def check(self, jobs: Sequence[Job]) -> None:
        """Refuse what the cluster does not have, before anything is queued.

        Raises:
            UsageError: A partition or a feature is unknown, the jobs need more than its nodes have, or the folder of
                submitit cannot be written.
            MissingError: Slurm does not answer.
        """
        check_folder(self._folder, jobs)
        for resources in by_resources(jobs):
            check_fits(resources, partition=self._partition, constraint=self._constraint)
            self._ask_sbatch(resources)

    def submit(self, jobs: Sequence[Job]) -> list[str]:
        """Queue an array of the jobs that need the same; return the handles: id and folder."""
        if not jobs:
            return []
        import submitit

        folder = make_dir(folder_of(self._folder, jobs))
        handles: dict[int, str] = {}
        for resources, places in by_resources(jobs).items():
            executor = submitit.SlurmExecutor(folder=folder)
            executor.update_parameters(**self.parameters(resources))
            tasks = [run_cell(jobs[place], folder, requeues=self._requeues) for place in places]
            try:
                submitted = executor.submit_array(tasks)
            except Exception as error:  # submitit raises errors of many types with what sbatch wrote
                self.cancel(list(handles.values()))
                words = refusal(str(error))
                raise LauncherError(f"sbatch failed: {said(str(error))}" + (f"; {words}" if words else "")) from error
            handles |= {place: str(Handle(job.job_id, folder)) for place, job in zip(places, submitted, strict=True)}
        return [handles[place] for place in range(len(jobs))]

    def poll(self, handles: Sequence[str]) -> list[JobState]:
        """Return the state of each, with one call of squeue, and one of sacct if jobs have left the queue."""
        parsed = [parse_handle(handle) for handle in handles]
        known = [handle for handle in parsed if handle is not None]
        if not known:
            return [JobState(kind="lost", detail="it was not submitted to Slurm")] * len(handles)
        arrays = {handle.array for handle in known}
        listed = rows(commands.output(squeue_command(arrays), nothing=["Invalid job id"]))
        found: dict[Handle, JobState] = {}
        for handle in known:
            row = listed.get(handle.id)
            if row is not None and row[0] in ACTIVE:
                found[handle] = state_of(row)
            elif (ending := read_ending(handle.folder, handle.id)) is not None and (row is None or row[0] in WRITTEN):
                found[handle] = ending.state()
            elif row is not None:
                found[handle] = _without_ending(state_of(row), handle)
        gone = [handle for handle in known if handle not in found]
        if gone and self._with_sacct:
            found |= self._accounted(gone)
        lost = JobState(kind="lost", detail=_LOST)
        return [lost if handle is None else found.get(handle, lost) for handle in parsed]

    def cancel(self, handles: Sequence[str]) -> None:
        """Stop jobs by one scancel; a cell that runs has Slurm's KillWait (30 s) for its checkpoint."""
        ids = [handle.id for handle in map(parse_handle, handles) if handle is not None]
        if ids:
            commands.output(["scancel", "--quiet", *ids], nothing=["Invalid job id"])

    def log(self, handle: str) -> str:
        """Return the last lines of what submitit and Slurm have written about a job."""
        return engine_log(handle)

    def parameters(self, resources: Resources) -> dict[str, Any]:
        """Return the parameters of submitit for jobs with these resources."""
        words = {
            "partition": self._partition,
            "account": self._account,
            "qos": self._qos,
            "constraint": self._constraint,
        }
        found: dict[str, Any] = {
            "job_name": "zoo",
            "nodes": resources.nodes,
            "ntasks_per_node": resources.tasks_per_node,
            "array_parallelism": self._array_parallelism,
            "signal_delay_s": self._signal_seconds,
            "stderr_to_stdout": True,
            "time": None if resources.minutes is None else max(1, round(resources.minutes)),
            "wckey": None,  # submitit's own, which a cluster with keys would refuse
            "additional_parameters": {"requeue": True, **self._sbatch},
            **{name: value for name, value in words.items() if value},
        }
        if resources.gpus:
            found["gpus_per_node"] = resources.gpus
        if resources.cpus is not None:
            # Since Slurm 22.05, srun takes the number of cores from its own options only.
            found |= {"cpus_per_task": resources.cpus, "srun_args": [f"--cpus-per-task={resources.cpus}"]}
        if resources.memory_gb is not None:
            found["mem"] = f"{max(1, round(resources.memory_gb * 1024))}M"
        if self._setup:
            found["setup"] = self._setup.splitlines()
        return found

    def _ask_sbatch(self, resources: Resources) -> None:
        """Have Slurm judge the options of a job, account and quality of service among them, without queueing it.

        Raises:
            UsageError: It would refuse the job.
            MissingError: It answers no question.
        """
        parameters = self.parameters(resources)
        given = {name: parameters.get(name) for name in _ASKED} | self._sbatch
        flags = [
            f"--{name.replace('_', '-')}" + ("" if value is True else f"={value}")
            for name, value in given.items()
            if value is not None
        ]
        try:
            commands.output(["sbatch", "--test-only", *flags, "--wrap=true"])
        except LauncherError as error:
            if (words := refusal(str(error))) is not None:
                raise UsageError(
                    f"Slurm would refuse the jobs: {words}", hint=f"Its answer: {said(str(error))}"
                ) from None
            _require_answer()

    def _accounted(self, gone: Sequence[Handle]) -> dict[Handle, JobState]:
        """Return the states of jobs that have left the queue, as far as sacct has them."""
        try:
            listed = rows(commands.output(sacct_command({handle.id for handle in gone})))
        except LauncherError as error:
            logger.warning("jobs that have left the queue are looked for in their files only: %s", error)
            self._with_sacct = False
            return {}
        return {handle: state_of(listed[handle.id]) for handle in gone if handle.id in listed}


def sbatch_options(text: str) -> dict[str, Any]:
    """Return the options of sbatch in a text, such as "--exclude=n1 --exclusive", by name.

    Raises:
        UsageError: A word is not an option.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--launcher-set sbatch={text!r}: {error}.") from error
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name:
            raise UsageError(
                f"--launcher-set sbatch={text!r}: '{word}' is not of the form --NAME=VALUE.",
                hint="For example: --launcher-set 'sbatch=--exclude=n1 --exclusive'",
            )
        found[name] = value if equals else True
    return found


def _require_answer() -> None:
    """Refuse a Slurm that does not answer squeue either: an error of sbatch alone may pass.

    Raises:
        MissingError: It does not.
    """
    try:
        commands.output(squeue_command({"1"}), nothing=["Invalid job id"])
    except LauncherError as error:
        raise MissingError(
            f"Slurm does not answer: {said(str(error))}",
            hint="Run it on a login node of the cluster, and try: sinfo; without Slurm: --launcher core/local",
        ) from None


def _without_ending(state: JobState, handle: Handle) -> JobState:
    """Return the state of a job that Slurm saw fail before its cell could write anything."""
    if state.reason != "failed":
        return state
    if not engine_log(str(handle)):
        words = f"it left nothing in {handle.folder}, which its node may not see: the store must be on a shared disk"
        return replace(state, detail=f"{state.detail}; {words}")
    return replace(state, detail=f"{state.detail} before its cell began; check the lines of setup=")
