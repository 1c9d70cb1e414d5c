"""A launcher whose jobs run in this process, for tests of shares of answers."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from zoo.cli import cli
from zoo.errors import Interrupted
from zoo.run.launcher import JobState


class Machines:
    """A launcher whose jobs run in this process: "made", or "dies" before the answers are written.

    Args:
        host: The plugins.
        scripts: Words of the first attempt of each share, then of the second; the last one repeats.
        dies_in: Place of the function in which a machine dies.
    """

    def __init__(self, host, *scripts, dies_in="zoo.inference.predict_shares.predict_files"):
        self.host, self.scripts, self.dies_in, self.jobs, self.words = host, scripts, dies_in, [], {}

    def submit(self, jobs):
        for job in jobs:
            attempt = sum(one.run_dir == job.run_dir for one in self.jobs)
            self.words[f"{len(self.jobs)}"] = list(self.scripts[min(attempt, len(self.scripts) - 1)])
            self.jobs.append(job)
        return [f"{number}" for number in range(len(self.jobs) - len(jobs), len(self.jobs))]

    def poll(self, handles):
        return [self.state(handle) for handle in handles]

    def state(self, handle):
        words = self.words[handle]
        word = words.pop(0) if len(words) > 1 else words[0]
        if word in ("waiting", "running"):
            return word
        command = self.jobs[int(handle)].command
        with pytest.MonkeyPatch.context() as patch:
            if word == "dies":
                patch.setattr(self.dies_in, lambda *_, **__: (_ for _ in ()).throw(Interrupted("SIGTERM")))
            done = CliRunner().invoke(cli, command[command.index("zoo") + 1 :], obj=self.host)
        if done.exit_code == 0:
            return JobState(kind="ended", reason="ok")
        return JobState(kind="ended", reason="preempted" if done.exit_code == 75 else "failed", detail="on n3")

    def cancel(self, handles):
        pass
