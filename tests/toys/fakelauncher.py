"""A launcher that runs nothing and writes results, for the tests of the matrix of cells."""

from __future__ import annotations

import pytest
from storedata import content_of

from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.progress import Progress
from zoo.results import store
from zoo.run import queued
from zoo.run.matrix import run_matrix
from zoo.run.where import Where

TRAINING = Progress(phase="train", done=1, total=2, seconds=1.0, rate=1.0)


def three_cells(host):
    request = Request(models=["tiny"], data=["stripes"], budget="smoke", device="cpu", seeds=[0, 1, 2])
    return make_plan(host, request)


def write(folder, cell, *, status="ok", words=""):
    """Store a result that can be told by words from another one of the same cell; return it."""
    content = content_of(cell, status, device=words, error=words)
    result = store.result_from(content, run_dir=folder / cell.folder)
    store.write_result(result)
    return result


def words_of(result):
    return result.device if result.status == "ok" else result.error


def run_ids(jobs):
    return [job.run_dir.name for job in jobs]


class FakeLauncher:
    """One job after the other, each ends at the poll after the one that started it and writes what it is told to."""

    def __init__(self, folder, cells, statuses=()):
        self.folder, self.cells, self.statuses = folder, {cell.run_id: cell for cell in cells}, list(statuses)
        self.jobs, self.states, self.cancelled, self.left_behind = [], {}, [], []

    def submit(self, jobs):
        self.jobs += jobs
        handles = [job.run_dir.name for job in jobs]
        self.left_behind += [job.run_dir for job in jobs if (job.run_dir / store.RESULT).exists()]
        self.states |= dict.fromkeys(handles, "waiting")
        return handles

    def poll(self, handles):
        for handle, state in self.states.items():
            if state == "running":
                self.states[handle] = "ended"
                status = self.statuses.pop(0) if self.statuses else "ok"
                if status != "killed":
                    write(self.folder, self.cells[handle], status=status, words="new")
        if "running" not in self.states.values():
            waiting = [handle for handle, state in self.states.items() if state == "waiting"]
            self.states |= dict.fromkeys(waiting[:1], "running")
        return [self.states[handle] for handle in handles]

    def cancel(self, handles):
        self.cancelled += [handle for handle in handles if self.states[handle] != "ended"]


def runs(host, cells, *, folder, patch: pytest.MonkeyPatch):
    """Return a function that runs cells through a fake launcher, and returns results and launcher."""
    patch.setattr(queued, "POLL_SECONDS", 0.0)

    def go(chosen=cells, statuses=(), engine=None, force=False, **options):
        engine = engine or FakeLauncher(folder, cells, statuses)
        patch.setattr(queued.registry, "load_target", lambda spec: lambda **_: engine)
        return run_matrix(host, chosen, store=folder, where=Where(device="cpu", force=force), **options), engine

    return go
