"""A plugin file with a launcher whose jobs run in this process, for the tests of shares of a split."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.data import folder as folder_module
from zoo.data.folder import fill_folder
from zoo.data.manifest import MANIFEST
from zoo.data.open import Dataset
from zoo.data.share import SHARE
from zoo.errors import DataError, Interrupted
from zoo.hookspecs import hookimpl
from zoo.plan.recipes import plan_images
from zoo.run import job_queue, queued
from zoo.run.launch import Launch
from zoo.run.launcher import JobState
from zoo.run.shares import make_share, run_shares
from zoo.specs import LauncherSpec

SKY = Path(__file__).with_name("toysky.py")
IMAGES = 1000
"""Four shards."""


@hookimpl
def zoo_launchers():
    return [LauncherSpec(id="halls/machines", target="halls:Machines", summary="a hall of machines", outlives=True)]


def recipe_of_discs(host):
    return plan_images(host, "toysky/discs", settings={}, simulator="painter", device="cpu")[1]


def made_at_once(host, recipe, *, folder):
    """Make the whole split in this process; return the folder."""
    simulation = Dataset(host, recipe, {}).simulation(expected_images=IMAGES)
    assert fill_folder(simulation, "train", IMAGES, folder=folder).complete
    return folder


class Machines:
    """A launcher whose jobs run in this process, one word of their script at each poll.

    Args:
        host: The plugins.
        scripts: Words of the first attempt of each share, then of the second, and so on; the last one repeats.
    """

    def __init__(self, host, *scripts):
        self.host, self.scripts, self.jobs, self.words, self.cancelled = host, scripts, [], {}, []

    def submit(self, jobs):
        handles = []
        for job in jobs:
            attempt = sum(one.run_dir == job.run_dir for one in self.jobs)
            self.jobs.append(job)
            handles.append(f"{job.run_dir}#{attempt}")
            self.words[handles[-1]] = list(self.scripts[min(attempt, len(self.scripts) - 1)])
        return handles

    def poll(self, handles):
        return [self.state(handle) if handle in self.words else "lost" for handle in handles]

    def state(self, handle):
        words = self.words[handle]
        word = words.pop(0) if len(words) > 1 else words[0]
        if word not in ("made", "dies", "fails"):
            return word
        path = Path(handle.partition("#")[0], SHARE)
        if word == "dies":
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(folder_module, "write_shard", dying(folder_module.write_shard))
                with pytest.raises(Interrupted):
                    make_share(self.host, path)
            return JobState(kind="ended", reason="failed", detail="killed by SIGKILL on n3")
        try:
            make_share(self.host, path)
        except DataError:
            return JobState(kind="ended", reason="failed", detail="exit code 1")
        return JobState(kind="ended", reason="ok")

    def cancel(self, handles):
        self.cancelled += handles


def dying(write):
    """Return a function that writes one shard, and then takes its machine with it."""
    calls = []

    def write_shard(path, arrays, *, identity):
        calls.append(path)
        if len(calls) > 1:
            raise Interrupted
        return write(path, arrays, identity=identity)

    return write_shard


def runs(host, recipe, *, folder, patch: pytest.MonkeyPatch):
    """Return a function that makes shares on an engine in place of the plugin's launcher, and seldom waits."""
    patch.setattr(queued, "POLL_SECONDS", 0.001)
    patch.setattr(job_queue, "MOST_SECONDS", 0.01)
    load = queued.registry.load_target

    def go(engine, *, of=2, images=IMAGES, retries=2, recipe=recipe, **options):
        def target(spec):
            return (lambda **_: engine) if isinstance(spec, LauncherSpec) else load(spec)

        patch.setattr(queued.registry, "load_target", target)
        launch = Launch(launcher="halls/machines", retries=retries)
        return run_shares(host, recipe, "train", images, folder=folder, shares=of, launch=launch, **options)

    return go


def same(folder, whole):
    names = [MANIFEST, *(f"train/{path.name}" for path in (whole / "train").glob("*.safetensors"))]
    return len(names) == 5 and all((folder / name).read_bytes() == (whole / name).read_bytes() for name in names)
