"""Interrupt commands at random moments, run them again, and compare what they leave behind."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jobs import Job, Problem, jobs, left_over, prepare, variables
from zoo_process import SECONDS, group_is_empty, outputs, start, stop_group

SIGNALS = {"SIGINT": signal.SIGINT, "SIGTERM": signal.SIGTERM, "SIGKILL": signal.SIGKILL}
GRACE = 30.0


@dataclass(frozen=True, kw_only=True)
class Interruption:
    """One interrupted command and its end.

    Args:
        job: Name of the job.
        signal: Name of the signal.
        after: Seconds from the start to the signal.
        wrong: What went wrong, in words; empty: nothing.
    """

    job: str
    signal: str
    after: float
    wrong: tuple[str, ...]


def interruptions(
    problem: Problem, room: Path, count: int, *, seed: int = 0, only: tuple[str, ...] = ()
) -> Iterator[Interruption]:
    """Interrupt every job `count` times in all and yield each; the second one of a folder hits the resumed command.

    Args:
        problem: Networks and data.
        room: Empty folder to work in.
        count: Number of interruptions, shared by the jobs.
        seed: Seed of moments and signals.
        only: Names of the jobs; empty: all.
    """
    rng = random.Random(seed)
    chosen = [job for job in jobs(problem) if not only or job.name in only]
    prepare(problem, room / "prepared", chosen)
    references = {}
    for job in chosen:
        folder = shutil.copytree(room / "prepared", room / f"reference-{job.name}")
        started = time.monotonic()
        code, out, err = finish(job, problem, folder)
        if code != 0:
            raise RuntimeError(f"{job.name} failed without an interruption:\n{err[-3000:]}")
        references[job.name] = job.outcome(folder, out), time.monotonic() - started
    done = 0
    while done < count:
        job = chosen[done // 2 % len(chosen)]
        outcome, seconds = references[job.name]
        folder = shutil.copytree(room / "prepared", Path(tempfile.mkdtemp(dir=room)) / "work")
        hits = []
        for _ in range(min(2, count - done)):
            hits.append(interrupt(job, problem, folder, rng, seconds))
            done += 1
        wrong = [word for _, _, words in hits for word in words]
        code, out, err = finish(job, problem, folder)
        if "Traceback" in err:
            wrong.append("traceback when run again")
        if code != 0:
            wrong.append(f"exit code {code} when run again: {err[-200:].strip()}")
        else:
            found = job.outcome(folder, out)
            wrong += [
                f"{name}: {found.get(name)} for {value}" for name, value in outcome.items() if found.get(name) != value
            ]
            wrong += [f"{name}: too much" for name in found.keys() - outcome.keys()]
            wrong += [f"left over: {name}" for name in left_over(folder)]
        for index, (name, after, _) in enumerate(hits):
            yield Interruption(job=job.name, signal=name, after=after, wrong=tuple(wrong) if index == 0 else ())
        if not wrong:
            shutil.rmtree(folder.parent)


def finish(job: Job, problem: Problem, folder: Path) -> tuple[int | None, str, str]:
    """Run a job to its end; return exit code (None: it did not end), standard output and standard error."""
    process = start(job.argv, folder, variables(problem))
    try:
        code: int | None = process.wait(timeout=2 * SECONDS)
    except Exception:
        stop_group(process.pid)
        process.wait()
        code = None
    return code, *outputs(folder)


def interrupt(
    job: Job, problem: Problem, folder: Path, rng: random.Random, seconds: float
) -> tuple[str, float, list[str]]:
    """Start a job, send it a signal at a random moment, wait until all of its processes have ended.

    A terminal sends SIGINT to the whole group, a scheduler and the kernel send SIGTERM and SIGKILL to one process or
    to all.

    Returns:
        Name of the signal, seconds until it was sent, what went wrong.
    """
    name = rng.choice(list(SIGNALS))
    after = rng.uniform(0.0, seconds)
    wrong: list[str] = []
    process = start(job.argv, folder, variables(problem))
    time.sleep(after)
    ended_before = process.poll() is not None
    if name == "SIGINT" or rng.random() < 0.5:
        stop_group(process.pid, SIGNALS[name])
    elif not ended_before:
        process.send_signal(SIGNALS[name])
    try:
        code = process.wait(timeout=GRACE)
    except Exception:
        wrong.append(f"{name} after {after:.1f} s: still running {GRACE:.0f} s later")
        stop_group(process.pid)
        code = process.wait()
    deadline = time.monotonic() + GRACE
    while not group_is_empty(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    if stop_group(process.pid):
        wrong.append(f"{name} after {after:.1f} s: processes left over")
    text = "".join(outputs(folder))
    # Python's own start, in which no code of zoo has run, ends an interruption with a traceback.
    if "Traceback (most recent call last)" in text and f"{os.sep}zoo{os.sep}" in text:
        last = text.strip().splitlines()[-1]
        wrong.append(f"{name} after {after:.1f} s: traceback, code {code}: {last[:120]}")
    return name, after, wrong
