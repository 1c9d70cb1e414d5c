"""A plugin file with launchers whose jobs outlive the launcher's object, for the tests of the job queue."""

from __future__ import annotations

import pytest
from storedata import content_of

from zoo.hookspecs import hookimpl
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.results import store
from zoo.run import job_queue, queued
from zoo.run.launch import Launch
from zoo.run.launcher import JobState
from zoo.run.matrix import run_matrix
from zoo.run.where import Where
from zoo.specs import LauncherSpec


@hookimpl
def zoo_launchers():
    about = {"summary": "a queue", "target": "clusters:Cluster", "options": {"nice": 0}}
    return [
        LauncherSpec(id="clusters/queue", outlives=True, **about),
        LauncherSpec(id="clusters/children", **about),
    ]


class Cluster:
    """Jobs that outlive the launcher's object. A job goes through the kinds in its script, one a poll.

    Args:
        folder: Store.
        cells: Cells.
        scripts: Script of each attempt: kinds, reasons, "result" or functions; the last one repeats.
    """

    def __init__(self, folder, cells, *scripts):
        self.folder, self.cells = folder, {cell.run_id: cell for cell in cells}
        self.scripts, self.jobs, self.cancelled, self.options = [list(one) for one in scripts], {}, [], []

    def __call__(self, **options):
        self.options.append(options)
        return self

    def submit(self, jobs):
        handles = []
        for job in jobs:
            attempt = sum(one["job"].run_dir == job.run_dir for one in self.jobs.values())
            script = self.scripts[min(attempt, len(self.scripts) - 1)]
            handles.append(f"{job.run_dir.name}-{attempt}")
            self.jobs[handles[-1]] = {"job": job, "script": list(script)}
        return handles

    def poll(self, handles):
        return [self.state(self.jobs[handle]) if handle in self.jobs else "lost" for handle in handles]

    def state(self, job):
        word = job["script"].pop(0) if len(job["script"]) > 1 else job["script"][0]
        if word == "result":
            cell = self.cells[job["job"].run_dir.name]
            store.write_result(store.result_from(content_of(cell, "ok"), run_dir=job["job"].run_dir))
            return JobState(kind="ended", reason="ok")
        if callable(word):
            return word(job)
        return JobState(kind="ended", reason=word, detail="node n3") if word in ("node", "failed", "timeout") else word

    def cancel(self, handles):
        self.cancelled += handles
        for handle in handles:
            self.jobs[handle]["script"] = ["failed"]


def two_cells(host):
    return make_plan(host, Request(models=["tiny"], data=["stripes"], budget="smoke", device="cpu", seeds=[0, 1]))


def runs(host, cells, *, folder, patch: pytest.MonkeyPatch):
    """Return a function that runs cells on an engine in place of the plugin's launcher, and seldom waits."""
    patch.setattr(queued, "POLL_SECONDS", 0.001)
    patch.setattr(job_queue, "MOST_SECONDS", 0.01)

    def go(engine, chosen=cells[:1], launcher="clusters/queue", retries=2, force=False, **options):
        patch.setattr(queued.registry, "load_target", lambda spec: engine)
        launch, where = Launch(launcher=launcher, retries=retries), Where(device="cpu", force=force)
        return run_matrix(host, chosen, store=folder, where=where, launch=launch, **options)

    return go
