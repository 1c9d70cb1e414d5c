"""The nodes of a cell that several train: torchrun on each, and the first node's watch over the others."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from zoo.run.launcher import JobState
from zoo_ray.cell import CellProcess, Task
from zoo_ray.ends import meaning

GRACE_SECONDS = 10.0
"""Time for the first node to end by itself after another one has: it may have a cause to write."""
_CAUSE_SECONDS = 5.0
"""Time for the cause after the first node has noticed that another one is gone."""
_OVER = JobState(kind="ended", reason="cancelled", detail="the first node has ended")
_SECONDS = 1.0


def tasks_of_nodes(task: Task) -> list[Task]:
    """Return the process of each node, of which this is the first: torchrun, which starts those of the cell.

    Args:
        task: The cell.
    """
    import ray

    address = ray.util.get_node_ip_address()
    words = [
        "-m", "zoo_ray.torchrun", f"--nnodes={task.nodes}", f"--nproc-per-node={task.tasks_per_node}",
        f"--master-addr={address}", f"--master-port={_free_port(address)}",
    ]  # fmt: skip
    python, *rest = task.command
    tasks = [replace(task, command=(python, *words, f"--node-rank={rank}", *rest)) for rank in range(task.nodes)]
    return [tasks[0], *(replace(other, end="", minutes=None) for other in tasks[1:])]


class MemberActor:
    """The actor of another node. It outlives the first one's, so that it can free all nodes where that one is lost.

    Args:
        task: Process of this node.
        first: Actor of the first node.
    """

    def __init__(self, task: Task, first: Any) -> None:
        import ray

        self._process = CellProcess(task)
        placement = ray.util.get_current_placement_group()
        threading.Thread(target=free_when_lost, args=(first, placement), daemon=True).start()

    async def end(self) -> JobState:
        """Return the state in which the process has ended."""
        return await asyncio.to_thread(self._process.wait)

    async def stop(self) -> None:
        """Stop the process."""
        self._process.stop(_OVER)


def free_when_lost(first: Any, placement: Any) -> None:
    """Wait for the end of the first node, and free the nodes of the cell if it is lost; this ends their actors.

    Args:
        first: Actor of the first node.
        placement: Placement group of the cell.
    """
    import ray

    while True:
        try:
            ray.get(first.end.remote())
            return  # it frees them itself
        except ray.exceptions.ActorUnavailableError:
            time.sleep(_SECONDS)
        except ray.exceptions.RayError:
            ray.util.remove_placement_group(placement)
            return


class Group:
    """The other nodes, seen from the first one, in whose actor it is.

    Args:
        tasks: Process of each other node.
        options: Options of their actors.
        first: Actor of the first node.
    """

    def __init__(self, tasks: Sequence[Task], options: dict[str, Any], first: Any = None) -> None:
        import ray
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        self._placement = ray.util.get_current_placement_group()
        remote = ray.remote(MemberActor)
        self._members = []
        for rank, task in enumerate(tasks, start=1):
            place = PlacementGroupSchedulingStrategy(self._placement, placement_group_bundle_index=rank)
            actor = remote.options(scheduling_strategy=place, max_restarts=0, lifetime="detached", **options)
            self._members.append(actor.remote(task, first))
        self._waiting = {member.end.remote(): member for member in self._members}
        self._bad: list[JobState] = []
        self._has_cause = threading.Event()

    def watch(self, process: CellProcess) -> None:
        """Watch the other nodes, and stop the process of this one when one of them has ended badly.

        Args:
            process: Process of this node: a collective of the GPUs may wait for a lost node for ever.
        """
        import ray

        until = None
        while self._waiting:
            left = None if until is None else max(0.0, until - time.monotonic())
            ready, _ = ray.wait(list(self._waiting), timeout=left)
            if not ready:
                break
            member = self._waiting.pop(ready[0])
            state = _state(ready[0])
            if state is None:
                time.sleep(_SECONDS)
                self._waiting[member.end.remote()] = member
            elif state.reason != "ok":
                self._bad.append(state)
                until = until or time.monotonic() + GRACE_SECONDS
                if state.reason != "preempted":
                    self._has_cause.set()
        if until is not None:
            time.sleep(max(0.0, until - time.monotonic()))
            process.stop(self._worst())

    def judged(self, state: JobState) -> JobState:
        """Return the state of the cell: that of another node where this one only noticed that it is gone.

        Args:
            state: State of this node.
        """
        if state.reason != "preempted":
            return state
        if self._has_cause.wait(_CAUSE_SECONDS):
            return self._worst()
        return replace(state, detail="one of its processes was stopped, or lost")

    def close(self, seconds: float) -> None:
        """End the other nodes and free the resources of all; this actor ends as well.

        Args:
            seconds: Time for a process that is stopped.
        """
        import ray

        for member in self._left(GRACE_SECONDS):
            member.stop.remote()
        self._left(seconds)
        ray.util.remove_placement_group(self._placement)

    def _worst(self) -> JobState:
        return next((state for state in self._bad if state.reason != "preempted"), self._bad[0])

    def _left(self, seconds: float) -> list[Any]:
        """Return the other nodes that have not ended after this time."""
        import ray

        waiting = dict(self._waiting)
        if not waiting:
            return []
        _, late = ray.wait(list(waiting), num_returns=len(waiting), timeout=seconds)
        return [waiting[one] for one in late]


def _state(answer: Any) -> JobState | None:
    """Return the state of another node; None where Ray has not reported it yet."""
    import ray

    try:
        state: JobState = ray.get(answer)
        return state
    except ray.exceptions.ActorUnavailableError:
        return None
    except ray.exceptions.RayError as error:
        return meaning(type(error).__name__, str(error))


def _free_port(address: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
