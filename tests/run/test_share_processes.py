"""Shares of a split that processes of this machine make: a process that is killed is replaced."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from zoo.data.folder import fill_folder
from zoo.data.manifest import MANIFEST
from zoo.data.open import Dataset
from zoo.host import load_plugins
from zoo.plan.recipes import plan_images
from zoo.run.launch import Launch
from zoo.run.shares import run_shares

ROOT = Path(__file__).parents[2]
SKY = ROOT / "tests" / "toys" / "toysky.py"
SLOW = """
import os
import time

from zoo import SimulatorSpec, hookimpl

@hookimpl
def zoo_simulators():
    return [SimulatorSpec(id="slowsky/painter", target="slowsky:paint")]

calls = []

def paint(scenes, instrument, **options):
    import toysky

    calls.append(1)
    while len(calls) > 1 and not os.path.exists(__file__ + ".go"):
        time.sleep(0.05)
    return toysky.paint(scenes, instrument, **options)
"""
"""A simulator that waits after its first file, so that its process can be killed meanwhile."""


@pytest.mark.slow
@pytest.mark.cold  # it is found by its command
def test_a_killed_process_is_replaced_and_its_files_stay(tmp_path, monkeypatch, caplog):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from lost_machines import files_of, processes

    plugin = tmp_path / "slowsky.py"
    plugin.write_text(SLOW)
    host = load_plugins(files=[SKY, plugin], environment={})
    recipe = plan_images(host, "toysky/discs", settings={}, simulator="slowsky/painter", device="cpu")[1]
    folder, kept = tmp_path / "DIR", {}

    def watch(done, total):
        made = files_of(folder, 1, 2)
        if made and not kept:
            kept.update(made)
            [victim] = [pid for pid, machine in processes(folder) if machine == 1]
            os.kill(victim, signal.SIGKILL)
            Path(f"{plugin}.go").touch()

    end = run_shares(host, recipe, "train", 1300, folder=folder, shares=2, launch=Launch(jobs=2), watch=watch)
    assert (end.made, end.complete) == (1536, True)
    assert "share 1:2 of train has not ended (killed by SIGKILL" in caplog.text
    assert len(kept) == 1
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    simulation = Dataset(host, recipe, {}).simulation(expected_images=1300)
    fill_folder(simulation, "train", 1300, folder=tmp_path / "one")
    assert (folder / MANIFEST).read_bytes() == (tmp_path / "one" / MANIFEST).read_bytes()
