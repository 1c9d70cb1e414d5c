"""The process that is connected to Ray: one request in JSON a line, one answer a line.

Ray ends a process whose cluster is gone (exit code 1), and prints to its terminal: not to be borne in a command.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zoo.run.launcher import JobState
from zoo_ray.cell import CellActor, Task
from zoo_ray.ends import meaning, read_end, write_end
from zoo_ray.look import look

NAMESPACE = "zoo"
_CANCELLED = JobState(kind="ended", reason="cancelled", detail="it was cancelled")
_SECONDS = 5.0
"""Time for answers that are there already, and for actors to state whether they run."""


class Driver:
    """Actors of cells by their names. Nothing is kept that another process does not find by the names."""

    def __init__(self) -> None:
        self._actors: dict[str, Any] = {}
        self._started: dict[str, Any] = {}
        self._ended: dict[str, Any] = {}
        self._hosts: dict[str, str] = {}
        self._states: dict[str, JobState] = {}
        self._said: dict[str, str] = {}

    def connect(self, address: str) -> None:
        """Connect to a cluster; "local" starts one, which ends with this process.

        Args:
            address: Address as ray.init takes it.
        """
        import ray

        here = {"include_dashboard": False} if address == "local" else {}
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level="ERROR", **here)

    def nodes(self) -> list[dict[str, Any]]:
        """Return the resources of every node that is up."""
        import ray

        return [one["Resources"] for one in ray.nodes() if one["Alive"]]

    def look(self, path: str, runtime_env: Mapping[str, Any], seconds: float) -> list[dict[str, Any]]:
        """Return what each node states about a file and about Zoo; nodes that do not answer in time are left out."""
        return look(path, runtime_env, seconds)

    def submit(self, tasks: Mapping[str, Mapping[str, Any]], options: Mapping[str, Mapping[str, Any]]) -> None:
        """Queue cells.

        Args:
            tasks: Name -> fields of `Task`.
            options: Name -> options of the actor beside its name.
        """
        import ray

        remote = ray.remote(CellActor)
        try:
            for name, task in tasks.items():
                actor = remote.options(
                    name=name, namespace=NAMESPACE, lifetime="detached", max_restarts=0, max_task_retries=0,
                    **options[name],
                )  # fmt: skip
                self._hold(name, actor.remote(Task(**{**task, "command": tuple(task["command"])})))
        except Exception:
            self.cancel({name: tasks[name]["end"] for name in tasks if name in self._actors})
            raise

    def poll(self, ends: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the state of each cell.

        Args:
            ends: Name -> path of the file of its end.
        """
        import ray

        self._attach(ends)
        asked = [refs[name] for refs in (self._started, self._ended) for name in ends if name in refs]
        ready = set(ray.wait(asked, num_returns=len(asked), timeout=0)[0]) if asked else set()
        return [asdict(self._state(name, Path(end), ready)) for name, end in ends.items()]

    def cancel(self, ends: Mapping[str, str]) -> None:
        """Stop cells that run, and take those that wait out of the queue.

        Args:
            ends: Name -> path of the file of its end.
        """
        import ray

        self._attach(ends)
        mine = [name for name in ends if name in self._ended]
        new = [self._started[name] for name in mine if name in self._started]
        ready = set(ray.wait(new, num_returns=len(new), timeout=1.0)[0]) if new else set()
        stopped = []
        for name in mine:
            if name in self._hosts or self._started.get(name) in ready:
                stopped.append(self._actors[name].stop.remote())
            else:
                ray.kill(self._actors[name], no_restart=True)
                self._forget(name, _CANCELLED)
                write_end(Path(ends[name]), _CANCELLED)
        if stopped:
            ray.wait(stopped, num_returns=len(stopped), timeout=_SECONDS)

    def log(self, name: str) -> str:
        """Return the whole text of Ray's error about a cell, or ""."""
        return self._said.get(name, "")

    def _attach(self, names: Mapping[str, str]) -> None:
        """Take over cells that another process has submitted."""
        import ray

        unknown = [name for name in names if name not in self._actors and name not in self._states]
        if not unknown:
            return
        there = {
            one["name"] for one in ray.util.list_named_actors(all_namespaces=True) if one["namespace"] == NAMESPACE
        }
        for name in unknown:
            if name in there:
                try:
                    actor = ray.get_actor(name, namespace=NAMESPACE)
                except ValueError:  # it has ended meanwhile
                    continue
                self._hold(name, actor)

    def _hold(self, name: str, actor: Any) -> None:
        # Ray answers both calls by itself when there is something to say: asking for states costs nothing.
        self._actors[name] = actor
        self._started[name], self._ended[name] = actor.host.remote(), actor.end.remote()

    def _forget(self, name: str, state: JobState) -> JobState:
        for kept in (self._actors, self._started, self._ended, self._hosts):
            kept.pop(name, None)
        self._states[name] = state
        return state

    def _state(self, name: str, end: Path, ready: Sequence[Any] | set[Any]) -> JobState:
        if name in self._states:
            return self._states[name]
        if name not in self._actors:
            written = read_end(end)
            return JobState(kind="lost", detail="Ray does not list it") if written is None else written
        if self._ended[name] in ready:
            state = self._end(name, end)
            if state is not None:
                return self._forget(name, state)
        if self._started.get(name) in ready:
            self._hosts[name] = self._host(name)
        if name in self._hosts:
            return JobState(kind="running", detail=self._hosts[name])
        return JobState(kind="waiting", detail="queued in Ray")

    def _host(self, name: str) -> str:
        import ray

        try:
            return str(ray.get(self._started.pop(name), timeout=_SECONDS))
        except ray.exceptions.RayError:
            return ""  # its end follows

    def _end(self, name: str, path: Path) -> JobState | None:
        """Return the state in which a cell has ended; None where Ray does not know yet."""
        import ray

        try:
            state = ray.get(self._ended[name], timeout=_SECONDS)
            return state if isinstance(state, JobState) else read_end(path)
        except ray.exceptions.ActorUnavailableError:
            self._ended[name] = self._actors[name].end.remote()  # Ray waits whether its node comes back
            return None
        except ray.exceptions.RayError as error:
            written = read_end(path)
            if written is not None:
                return written
            self._said[name] = str(error)
            return meaning(type(error).__name__, str(error))


def main() -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what Ray prints is no answer
    driver = Driver()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"result": getattr(driver, request["call"])(**request["arguments"])}
        except Exception as error:
            answer = {"kind": type(error).__name__, "error": str(error)}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
