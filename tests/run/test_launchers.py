"""Every registered launcher keeps the contract; and the check notices what does not."""

from __future__ import annotations

import dataclasses

import pytest

from zoo import registry
from zoo.host import load_plugins
from zoo.run.launcher import JobState
from zoo.run.local import LocalLauncher
from zoo.specs import LauncherSpec
from zoo.testing import ConformanceError, launchers
from zoo.testing.launchers import check_launcher

HOST = load_plugins(environment={})
OPTIONS: dict[str, dict] = {"submitit/without_slurm": {"poll_seconds": 0.2}}
"""Launcher -> options with which it runs on this machine alone."""
ELSEWHERE = {
    "submitit/slurm": "it needs Slurm: plugins/submitit/tests/test_real_slurm.py",
    "ray/ray": "it needs a cluster of Ray: benchmarks/on_ray.py",
    "ray/this_machine": "it starts Ray: plugins/ray/tests/test_real_ray.py",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [spec.id for spec in registry.listed(HOST, LauncherSpec)])
def test_launchers(name, tmp_path):
    if name in ELSEWHERE:
        pytest.skip(ELSEWHERE[name])
    check_launcher(HOST, name, tmp_path, options=OPTIONS.get(name))


SHORT = ("never ends", "does not cancel")
"""Lies that are found when the time is up."""


class Lying(LocalLauncher):
    def __init__(self, lie, **options):
        super().__init__(jobs=5)
        self.lie, self.forgotten = lie, set()

    def submit(self, jobs):
        if self.lie == "runs twice":
            jobs = [job for job in jobs for _ in range(2)]
            return super().submit(jobs)[::2]
        if self.lie == "leaves the folder":
            jobs = [dataclasses.replace(job, cwd=job.run_dir) for job in jobs]
        if self.lie == "loses quotes":
            env = {"ZOO_TRIAL": launchers.VARIABLE.replace("'", "")}
            jobs = [dataclasses.replace(job, env=env) for job in jobs]
        return super().submit(jobs)

    def poll(self, handles):
        if self.lie == "has an order of its own":
            handles = sorted(handles, key=list(self._jobs).index)
        states = super().poll(handles)
        if self.lie == "forgets what it cancels":
            return [
                JobState(kind="ended") if handle in self.forgotten else state
                for handle, state in zip(handles, states, strict=True)
            ]
        if self.lie == "invents":
            return ["DONE" if state.kind == "ended" else state for state in states]
        if self.lie == "is always fine":
            return [JobState(kind="ended", reason="ok") if state.kind == "ended" else state for state in states]
        if self.lie == "never ends":
            return ["running" for _ in handles]
        if self.lie == "raises for unknown handles":
            for handle in handles:
                list(self._jobs).index(handle)
        return states

    def cancel(self, handles):
        self.forgotten |= set(handles)
        if self.lie not in ("does not cancel", "forgets what it cancels"):
            super().cancel(handles)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ("runs twice", "must run once"),
        ("leaves the folder", "in its folder"),
        ("has an order of its own", "not in the order of the handles"),
        ("invents", "returned the state 'DONE'"),
        ("is always fine", r"the job fails \(exit 3\) ended as 'ok'"),
        ("never ends", "have not ended after"),
        ("does not cancel", "cancelled jobs have not ended"),
        ("forgets what it cancels", "processes of cancelled jobs go on"),
        ("loses quotes", "with its variables"),
        ("raises for unknown handles", "failed in poll: ValueError"),
    ],
)
def test_the_check_names_what_is_wrong(lie, said, tmp_path, monkeypatch):
    made = []

    def make(**options):
        made.append(Lying(lie, **options))
        return made[-1]

    monkeypatch.setattr(launchers.registry, "load_target", lambda spec: make)
    monkeypatch.setattr(launchers, "STOP_SECONDS", 1.0)
    try:
        with pytest.raises(ConformanceError, match=said):
            check_launcher(HOST, "core/local", tmp_path, seconds=1.0 if lie in SHORT else 20.0)
    finally:
        for one in made:
            LocalLauncher.cancel(one, list(one._jobs))
