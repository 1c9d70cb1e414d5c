"""Measure what the command of a study costs while its workers run on a launcher, with few and with many ended trials.

The workers are pretended: their launcher states that they run, and their trials have progress files. Files are counted
as they are opened.

    uv run python benchmarks/tune_workers.py [--workers 50] [--seconds 10] [--ended 0 1000 10000]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import optuna
from zoo_optuna.journal import open_study, trial_folder
from zoo_optuna.search import make_study
from zoo_optuna.show import StudyWatcher
from zoo_optuna.space import TRAINER_SPACE
from zoo_optuna.workers import resolved_launch, run_on_launcher

from zoo.host import Host, load_plugins
from zoo.paths import make_dir
from zoo.plan.request import Request
from zoo.progress import Progress
from zoo.results.store import PROGRESS, write_json
from zoo.run.launch import Launch
from zoo.run.launcher import Job
from zoo.schema import plain

PLUGIN = f"""
from zoo import LauncherSpec, hookimpl

@hookimpl
def zoo_launchers():
    target = "{Path(__file__).stem}:Pretended"
    return [LauncherSpec(id="pretended/queue", target=target, summary="pretended jobs", outlives=True)]
"""
opened: Counter[str] = Counter()


class Pretended:
    """A launcher whose jobs run for ever."""

    poll_seconds = 30.0

    def submit(self, jobs: list[Job]) -> list[str]:
        """Return a handle for each job."""
        return [str(job.run_dir) for job in jobs]

    def poll(self, handles: list[str]) -> list[str]:
        """State that all jobs run."""
        return ["running"] * len(handles)

    def cancel(self, handles: list[str]) -> None:
        """Do nothing."""


def measure(host: Host, store: Path, *, ended: int, workers: int, seconds: float) -> str:
    """Return a row with the cost of looking at a study with this many ended trials."""
    request = Request(models=["p4m"], data=["modelA"], budget="smoke", device="cpu", store=store)
    definition, folder = make_study(host, request, name=f"ended-{ended}", searched=["lr"])
    study = open_study(folder, definition)
    low, high = TRAINER_SPACE["lr"]["low"], TRAINER_SPACE["lr"]["high"]
    distribution = optuna.distributions.FloatDistribution(low, high, log=True)
    one = optuna.create_trial(value=0.5, params={"lr": low}, distributions={"lr": distribution})
    for _ in range(ended):
        study.add_trial(one)
    end = 0.0

    def watch(state: object) -> None:
        nonlocal end, cpu
        watcher.watch(state)
        if not end:
            opened.clear()
            end, cpu = time.monotonic() + seconds, time.process_time()
        if time.monotonic() > end:
            raise KeyboardInterrupt

    cpu = 0.0
    progress = plain(Progress(phase="train", done=1, total=2, seconds=1.0, rate=1.0))
    with StudyWatcher() as watcher:
        for _ in range(workers):
            write_json(make_dir(trial_folder(folder, study.ask().number)) / PROGRESS, progress)
        launch, device = resolved_launch(host, Launch(launcher="pretended/queue"), device="cpu", workers=workers)
        with contextlib.suppress(KeyboardInterrupt):
            run_on_launcher(
                host, definition, folder, trials=ended + workers + 1, workers=workers, launch=launch, device=device,
                watch=watch,
            )  # fmt: skip
    files, cost = sum(opened.values()) / seconds, (time.process_time() - cpu) / seconds
    return f"| {workers} | {ended:,} | {files:,.0f} | {files / workers:.2f} | {cost:.1%} |"


def count(event: str, words: tuple[object, ...]) -> None:
    """Count a file that is opened."""
    if event == "open":
        opened[str(words[0])] += 1


def main() -> None:
    """Print a row for each number of ended trials."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--ended", type=int, nargs="+", default=[0, 1_000, 10_000])
    given = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    sys.modules.setdefault(Path(__file__).stem, sys.modules["__main__"])
    sys.addaudithook(count)
    with tempfile.TemporaryDirectory() as name:
        plugin = Path(name, "pretended.py")
        plugin.write_text(PLUGIN)
        host = load_plugins(files=[plugin], environment=dict(os.environ))
        print("| workers | ended trials | files opened a second | of each worker | of a core |")
        print("| --- | --- | --- | --- | --- |")
        for ended in given.ended:
            print(measure(host, Path(name), ended=ended, workers=given.workers, seconds=given.seconds))


if __name__ == "__main__":
    main()
