"""The actor of Ray that runs a cell, and watches its process."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

from zoo.run.launcher import JobState
from zoo_ray.cell import CellProcess, Task
from zoo_ray.group import Group, tasks_of_nodes

_LEAVES_AFTER = 1.0
"""Seconds in which an ended actor still answers."""


class CellActor:
    """The actor of a cell; it holds its resources until its process has ended. With several nodes, it is on the first.

    Args:
        task: Command to run, with its surroundings.
    """

    def __init__(self, task: Task) -> None:
        import ray

        self._me: Any = ray.get_runtime_context().current_actor
        self._state: JobState | None = None
        self._task = task
        self._group = None
        if task.nodes * task.tasks_per_node > 1:
            task, *others = tasks_of_nodes(task)
            self._group = Group(others, dict(task.member), self._me)
        self._process = CellProcess(task)
        if self._group is not None:
            threading.Thread(target=self._group.watch, args=(self._process,), daemon=True).start()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    async def host(self) -> str:
        """Return the name of the node."""
        return socket.gethostname()

    async def end(self) -> JobState | None:
        """Return the state of the cell when it has ended."""
        await asyncio.to_thread(self._watcher.join)
        return self._state

    async def stop(self) -> None:
        """Stop the cell."""
        self._process.stop(JobState(kind="ended", reason="cancelled", detail="it was cancelled"))

    async def leave(self) -> None:
        """End this actor, which frees its resources."""
        import ray

        await asyncio.sleep(_LEAVES_AFTER)
        if self._group is not None:
            await asyncio.to_thread(self._group.close, self._task.stop_seconds)
        ray.actor.exit_actor()

    def _watch(self) -> None:
        self._state = self._process.wait() if self._group is None else self._process.wait(self._group.judged)
        self._me.leave.remote()
