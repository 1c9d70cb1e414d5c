"""Cells and trials run in the process of the test: another process takes seconds to import torch."""

from __future__ import annotations

import os
from typing import Any

import pytest
from click.testing import CliRunner

from zoo.cli import cli
from zoo.results.store import LOG
from zoo.run.launcher import Job


class Ended:
    """As much of a process that has ended as the local launcher and studies use."""

    returncode = 0
    pid = os.getpid()

    def poll(self) -> int:
        return 0


def run_cells_here(patch: pytest.MonkeyPatch) -> None:
    """Let the local launcher run each cell in this process, for tests in which the process is not the point."""
    patch.setattr("zoo.run.local._start", _run)


def _run(job: Job, **_: object) -> Ended:
    words = job.command[job.command.index("run-cell") :]
    done = CliRunner().invoke(cli, words)
    with (job.run_dir / LOG).open("a", encoding="utf-8") as log:
        log.write(done.output)
    return Ended()


def run_trials_here(patch: pytest.MonkeyPatch) -> None:
    """Let `zoo tune` run the trials in this process, for tests in which the process is not the point."""
    patch.setattr("zoo_optuna.search._Crew._start", _search)


def _search(crew: Any) -> Ended:
    words = ["run-trials", str(crew.folder), "--trials", str(crew.trials), "--device", crew.device]
    words += ["--images", str(crew.images)] if crew.images else []
    done = CliRunner().invoke(cli, words, obj=crew.host)
    assert done.exit_code == 0, done.output
    return Ended()
