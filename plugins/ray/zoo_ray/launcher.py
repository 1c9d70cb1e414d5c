"""The launchers of Ray, as zoo calls them; another process is connected to Ray (`zoo_ray.driver`)."""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.errors import LauncherError, UsageError, ZooError
from zoo.paths import make_dir
from zoo.run.launcher import Job, JobState
from zoo_ray.address import LOCAL, of_cluster, refused, variables
from zoo_ray.cell import PYTHON
from zoo_ray.limits import actor_options, check_fits, custom_resources, runtime_environment
from zoo_ray.link import Link

FOLDER = "ray"
"""Folder inside a store of the files that cells write at their end."""
CONNECT_SECONDS, START_SECONDS, CALL_SECONDS = 60.0, 100.0, 100.0
MOST_LOOK_SECONDS = 60.0
_HANDLE = re.compile(r"(?P<name>zoo-[0-9a-f]{16}) (?P<end>/.*)", re.DOTALL)


class RayLauncher:
    """Cells as detached actors of a cluster: they go on, and are found by their names, when this process has ended.

    Args:
        address: HOST:PORT; "": RAY_ADDRESS, or the Ray that runs on this machine.
        accelerator_type: Kind of GPU; "": any.
        custom: Further resources, NAME=NUMBER, separated by commas.
        runtime_env: Ray's runtime environment: JSON, or the path of a file.
        stop_seconds: Time for a checkpoint before a stopped cell is killed, in seconds.
        poll_seconds: Interval between requests, in seconds.
        autoscales: Whether the cluster adds nodes by itself.
        look_seconds: Time limit for the check of the store on all nodes, in seconds; 0: no check.

    Raises:
        UsageError: An option is impossible, or nothing answers at the address.
    """

    def __init__(
        self,
        *,
        address: str = "",
        accelerator_type: str = "",
        custom: str = "",
        runtime_env: str = "",
        stop_seconds: float = 60.0,
        poll_seconds: float = 2.0,
        autoscales: bool = False,
        look_seconds: float = 20.0,
    ) -> None:
        if stop_seconds <= 0:
            raise UsageError(f"--launcher-set stop_seconds={stop_seconds:g} must be more than 0.")
        if not 0 <= look_seconds <= MOST_LOOK_SECONDS:
            raise UsageError(f"--launcher-set look_seconds={look_seconds:g} must be 0 to {MOST_LOOK_SECONDS:g}.")
        self.poll_seconds = poll_seconds
        self._accelerator_type, self._custom = accelerator_type, custom_resources(custom)
        self._environment = runtime_environment(runtime_env)
        self._stop_seconds, self._autoscales, self._look_seconds = stop_seconds, autoscales, look_seconds
        self._address = of_cluster(address)
        self._link: Link | None = None
        if self._address == LOCAL and type(self) is RayLauncher:
            raise UsageError("address=local is not a cluster.", hint="Use: --launcher ray/this_machine")
        if self._address != LOCAL:
            self._connect()

    def check(self, jobs: Sequence[Job]) -> None:
        """Refuse what the cluster does not have, and nodes that cannot run the cells.

        Raises:
            UsageError: A cell needs more than the nodes have, a node does not see the store or has another zoo, or what
                several processes are to run is not a cell.
        """
        for job in jobs:
            if _processes(job) > 1 and not _is_cell(job):
                raise UsageError(
                    f"Only a cell can have several processes: {job.label or job.run_dir}.",
                    hint="Leave out: --launcher-set nodes, tasks_per_node",
                )
        nodes = self._call("nodes")
        if not self._autoscales:
            for resources in dict.fromkeys(job.resources for job in jobs):
                check_fits(resources, nodes, accelerator_type=self._accelerator_type, custom=self._custom)
        if self._look_seconds:
            self._look(_store(jobs))

    def submit(self, jobs: Sequence[Job]) -> list[str]:
        """Queue an actor for each job and return the handles: its name and the file of its end."""
        if not jobs:
            return []
        folder = make_dir(_store(jobs) / FOLDER)
        names = [f"zoo-{uuid.uuid4().hex[:16]}" for _ in jobs]
        ends = {name: str(folder / f"{name}.json") for name in names}
        tasks = {
            name: {
                "command": [PYTHON if job.command[0] == sys.executable else job.command[0], *job.command[1:]],
                "cwd": str(job.cwd), "env": self._variables(job), "run_dir": str(job.run_dir), "end": ends[name],
                "minutes": job.resources.minutes, "stop_seconds": self._stop_seconds, "nodes": job.resources.nodes,
                "tasks_per_node": job.resources.tasks_per_node,
            }
            for name, job in zip(names, jobs, strict=True)
        }  # fmt: skip
        options = {
            name: actor_options(
                job.resources, accelerator_type=self._accelerator_type, custom=self._custom,
                runtime_env=self._environment,
            )
            for name, job in zip(names, jobs, strict=True)
        }  # fmt: skip
        for name, task in tasks.items():
            task["member"] = {key: value for key, value in options[name].items() if key != "bundles"}
        try:
            self._call("submit", tasks=tasks, options=options)
        except LauncherError:
            with contextlib.suppress(ZooError):  # what is queued all the same
                self._call("cancel", ends=ends)
            raise
        return [f"{name} {ends[name]}" for name in names]

    def poll(self, handles: Sequence[str]) -> list[JobState]:
        """Return the state of each."""
        known = _ends(handles)
        states = dict(zip(known, self._states(known), strict=True)) if known else {}
        lost = JobState(kind="lost", detail="it was not submitted to this Ray")
        return [states.get(handle.partition(" ")[0], lost) for handle in handles]

    def cancel(self, handles: Sequence[str]) -> None:
        """Stop jobs: a cell that runs writes its checkpoint first."""
        if known := _ends(handles):
            self._call("cancel", ends=known)

    def log(self, handle: str) -> str:
        """Return the whole text of Ray's error about a job, or ""."""
        known = _ends([handle])
        return str(self._call("log", name=next(iter(known)))) if known else ""

    def _variables(self, job: Job) -> dict[str, str]:
        """Return the variables of a job: of several processes on a node, each has its own part of the cores."""
        if job.resources.tasks_per_node == 1:
            return dict(job.env)
        threads = {"OMP_NUM_THREADS": str(job.resources.cpus or 1)}  # Ray sets it to all cores of the actor
        return {**threads, **self._environment.get("env_vars", {}), **job.env}

    def _states(self, ends: Mapping[str, str]) -> list[JobState]:
        return [JobState(**state) for state in self._call("poll", ends=ends)]

    def _look(self, store: Path) -> None:
        """Refuse nodes that do not see the store, or have another zoo or none.

        Raises:
            UsageError: One of these.
        """
        ours = importlib.metadata.version("lens-zoo")
        with tempfile.NamedTemporaryFile(dir=make_dir(store), prefix=".ray") as file:
            views = self._call(
                "look", path=file.name, runtime_env=self._environment, seconds=self._look_seconds
            )  # fmt: skip
        for view in views:
            host = view["host"]
            if "error" in view:
                words = next((line for line in reversed(view["error"].splitlines()) if line.strip()), "")
                raise UsageError(
                    f"The node {host} cannot run cells: {words.strip()}",
                    hint="Install zoo and its plugins on every node: pip install lens-zoo-ray; or set runtime_env",
                )
            if not view["sees"]:
                raise UsageError(
                    f"The node {host} does not see the store {store}.",
                    hint="Choose a folder on a disk that the nodes share: --store DIR (zoo simulate: --out DIR); "
                    "nodes are not asked with --launcher-set look_seconds=0",
                )
            if view["zoo"] != ours:
                raise UsageError(
                    f"The node {host} has lens-zoo {view['zoo']}; this machine has {ours}.",
                    hint=f"Install it there: pip install lens-zoo=={ours}",
                )

    def _connect(self) -> None:
        """Connect to the cluster.

        Raises:
            UsageError: Nothing answers there, or not to us.
        """
        link = Link(variables(self._address))
        try:
            limit = START_SECONDS if self._address == LOCAL else CONNECT_SECONDS
            link.call("connect", limit, address=self._address)
        except LauncherError as error:
            link.close(kill=True)
            raise refused(self._address, str(error)) from None
        self._link = link

    def _call(self, method: str, /, **arguments: Any) -> Any:
        """Return the answer of the process that is connected; one that has ended is started again the next time."""
        if self._link is None:
            self._connect()
        assert self._link is not None  # connected
        try:
            return self._link.call(method, CALL_SECONDS, **arguments)
        except LauncherError:
            if not self._link.is_alive():
                self._link = None
            raise


class LocalRayLauncher(RayLauncher):
    """The same on a Ray of this machine, which is started with the first job and ends with this process.

    It listens on the loopback, with a token of its own and without a dashboard.

    Args:
        accelerator_type, custom, runtime_env, stop_seconds, poll_seconds: As those of `RayLauncher`.
    """

    def __init__(
        self,
        *,
        accelerator_type: str = "",
        custom: str = "",
        runtime_env: str = "",
        stop_seconds: float = 60.0,
        poll_seconds: float = 2.0,
    ) -> None:
        super().__init__(
            address=LOCAL, accelerator_type=accelerator_type, custom=custom, runtime_env=runtime_env,
            stop_seconds=stop_seconds, poll_seconds=poll_seconds, look_seconds=0.0,
        )  # fmt: skip

    def check(self, jobs: Sequence[Job]) -> None:
        """Refuse what this machine does not have.

        Raises:
            UsageError: A cell needs several nodes, or more than this machine has.
        """
        most = max((job.resources.nodes for job in jobs), default=1)
        if most > 1:
            raise UsageError(
                f"--num-nodes {most}: ray/this_machine has one node.",
                hint="On a cluster: --launcher ray --launcher-set address=HOST:6379; on this machine: --devices NUMBER",
            )
        super().check(jobs)

    def poll(self, handles: Sequence[str]) -> list[JobState]:
        """Return the state of each; jobs of another process have ended with it."""
        if self._link is None:
            return [JobState(kind="lost", detail="the command that started its Ray has ended")] * len(handles)
        return super().poll(handles)

    def cancel(self, handles: Sequence[str]) -> None:
        """Stop jobs of this process: a cell that runs writes its checkpoint first."""
        if self._link is not None:
            super().cancel(handles)

    def log(self, handle: str) -> str:
        """Return the whole text of Ray's error about a job, or ""."""
        return "" if self._link is None else super().log(handle)


def _processes(job: Job) -> int:
    return job.resources.nodes * job.resources.tasks_per_node


def _is_cell(job: Job) -> bool:
    return job.command[:3] == (sys.executable, "-m", "zoo") and "run-cell" in job.command


def _store(jobs: Sequence[Job]) -> Path:
    return jobs[0].run_dir.parents[2]  # the folder of a run is STORE/DATA/MODEL/RUN_ID


def _ends(handles: Sequence[str]) -> dict[str, str]:
    """Return name -> file of the end, of the texts that these launchers have given."""
    found = (_HANDLE.fullmatch(handle) for handle in handles)
    return {match["name"]: match["end"] for match in found if match is not None}
