"""The process that is connected to Ray: one request in JSON a line, one answer a line.

Ray ends a process whose cluster is gone (exit code 1), and prints to its terminal: not to be borne in a command.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zoo.paths import parse_json
from zoo.run.launcher import JobState
from zoo_ray.actor import CellActor
from zoo_ray.cell import Task
from zoo_ray.ends import meaning, read_end, write_end
from zoo_ray.look import look

NAMESPACE = "zoo"
_CANCELLED = JobState(kind="ended", reason="cancelled", detail="it was cancelled")
_SECONDS = 5.0
"""Time for answers that are there already, and for actors to state whether they run."""


@dataclass
class _Held:
    """An actor. Ray answers both calls by itself when the actor starts and ends, so reading states costs nothing.

    Args:
        actor: Handle of Ray.
        started: Reference to its host, which is there when it runs.
        ended: Reference to its state, which is there when its cell has ended.
        host: Node, once it runs.
    """

    actor: Any
    started: Any
    ended: Any
    host: str | None = None


class Driver:
    """Actors of cells by their names, by which another process finds them as well."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}
        self._states: dict[str, JobState] = {}
        self._said: dict[str, str] = {}
        self._with_nodes: set[str] = set()

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
        """Return what each node states about a file and about zoo; nodes that do not answer in time are left out."""
        return look(path, runtime_env, seconds)

    def submit(self, tasks: Mapping[str, Mapping[str, Any]], options: Mapping[str, Mapping[str, Any]]) -> None:
        """Queue cells.

        Args:
            tasks: Name -> fields of `Task`.
            options: Name -> options of the actor beside its name; "bundles" are the resources of its nodes, which are
                reserved together.
        """
        import ray
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        remote = ray.remote(CellActor)
        for name, task in tasks.items():
            given = dict(options[name])
            if bundles := given.pop("bundles", None):
                nodes = ray.util.placement_group(bundles, strategy="STRICT_SPREAD", name=name, lifetime="detached")
                self._with_nodes.add(name)
                given["scheduling_strategy"] = PlacementGroupSchedulingStrategy(nodes, placement_group_bundle_index=0)
            actor = remote.options(
                name=name, namespace=NAMESPACE, lifetime="detached", max_restarts=0, max_task_retries=0,
                **given,
            )  # fmt: skip
            self._hold(name, actor.remote(Task(**{**task, "command": tuple(task["command"])})))

    def poll(self, ends: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the state of each cell.

        Args:
            ends: Name -> path of the file of its end.
        """
        import ray

        self._attach(ends)
        asked = [ref for name in ends if (one := self._held.get(name)) for ref in (one.started, one.ended)]
        ready = set(ray.wait(asked, num_returns=len(asked), timeout=0)[0]) if asked else set()
        return [asdict(self._state(name, Path(end), ready)) for name, end in ends.items()]

    def cancel(self, ends: Mapping[str, str]) -> None:
        """Stop cells that run, and take those that wait out of the queue.

        Args:
            ends: Name -> path of the file of its end.
        """
        import ray

        self._attach(ends)
        mine = {name: self._held[name] for name in ends if name in self._held}
        asked = [one.started for one in mine.values()]
        ready = set(ray.wait(asked, num_returns=len(asked), timeout=1.0)[0]) if asked else set()
        stopped = []
        for name, one in mine.items():
            if one.started in ready:
                stopped.append(one.actor.stop.remote())
            else:
                ray.kill(one.actor, no_restart=True)
                self._free(name)
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

        unknown = [name for name in names if name not in self._held and name not in self._states]
        if not unknown:
            return
        there = {
            one["name"] for one in ray.util.list_named_actors(all_namespaces=True) if one["namespace"] == NAMESPACE
        }
        reserved = {one["name"] for one in ray.util.placement_group_table().values() if one["state"] != "REMOVED"}
        for name in unknown:
            if name in reserved:
                self._with_nodes.add(name)
            if name not in there:
                self._free(name)
                continue
            try:
                actor = ray.get_actor(name, namespace=NAMESPACE)
            except ValueError:  # it has ended meanwhile
                continue
            self._hold(name, actor)

    def _hold(self, name: str, actor: Any) -> None:
        self._held[name] = _Held(actor, actor.host.remote(), actor.end.remote())

    def _free(self, name: str) -> None:
        """Free the nodes of a cell whose first actor is gone, and can no longer do it itself."""
        import ray

        if name in self._with_nodes:
            self._with_nodes.remove(name)
            with contextlib.suppress(ValueError):  # freed already
                ray.util.remove_placement_group(ray.util.get_placement_group(name))

    def _forget(self, name: str, state: JobState) -> JobState:
        """Let go of an actor that has ended, and keep its state."""
        del self._held[name]
        self._states[name] = state
        return state

    def _state(self, name: str, end: Path, ready: set[Any]) -> JobState:
        if name in self._states:
            return self._states[name]
        held = self._held.get(name)
        if held is None:
            written = read_end(end)
            return JobState(kind="lost", detail="Ray does not list it") if written is None else written
        if held.ended in ready and (state := self._end(name, held, end)) is not None:
            return self._forget(name, state)
        if held.host is None and held.started in ready:
            held.host = _host(held)
        if held.host is None:
            return JobState(kind="waiting", detail="queued in Ray")
        return JobState(kind="running", detail=held.host)

    def _end(self, name: str, held: _Held, path: Path) -> JobState | None:
        """Return the state in which a cell has ended; None where Ray has not reported it yet."""
        import ray

        try:
            state = ray.get(held.ended, timeout=_SECONDS)
            return state if isinstance(state, JobState) else read_end(path)
        except ray.exceptions.ActorUnavailableError:
            held.ended = held.actor.end.remote()  # Ray waits whether its node comes back
            return None
        except ray.exceptions.RayError as error:
            self._free(name)
            written = read_end(path)
            if written is not None:
                return written
            self._said[name] = str(error)
            return meaning(type(error).__name__, str(error))


def _host(held: _Held) -> str:
    """Return the node of an actor that has started."""
    import ray

    try:
        return str(ray.get(held.started, timeout=_SECONDS))
    except ray.exceptions.RayError:
        return ""  # its end follows


def main() -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what Ray prints is not an answer
    driver = Driver()
    for line in sys.stdin:
        request = parse_json(line)
        try:
            answer = {"result": getattr(driver, request["call"])(**request["arguments"])}
        except Exception as error:
            answer = {"kind": type(error).__name__, "error": str(error)}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
