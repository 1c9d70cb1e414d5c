"""Full disks, stores that cannot be written, few open files, several processes on one store and cache."""

from __future__ import annotations

import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from interrupt import finish
from jobs import Job, Problem, bench_argv, jobs, prepare, runs_of, variables
from zoo_process import Ended, outputs, run, start

STORE_SIZES = (8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case and what went wrong in it, in words; empty: nothing."""

    name: str
    wrong: tuple[str, ...]


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[Callable[[str], None]]:
    """Mount a file system of a limited size; yields a function that mounts it again with other options.

    Raises:
        subprocess.CalledProcessError: This user may not mount.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def mount(options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True, capture_output=True)

    mount(f"size={kib}k")
    try:
        yield lambda options: mount(f"remount,{options}")
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


def may_mount() -> bool:
    """Return whether this process may mount a file system."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with small_disk(Path(folder) / "disk", 64):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


def full_disks(problem: Problem, room: Path, sizes: tuple[int, ...] = STORE_SIZES) -> Iterator[Case]:
    """Run each writing command on disks that are too small, then with space, and compare with an ordinary run.

    Args:
        problem: Networks and data.
        room: Empty folder to work in.
        sizes: Sizes of the disk, KiB: each lets the command come further.
    """
    prepare(problem, room / "prepared")
    names = ("simulate", "bench", "data export", "score", "tune", "report")
    writers = [job for job in jobs(problem) if job.name in names]
    for job in writers:
        plain = shutil.copytree(room / "prepared", room / f"plain-{job.name}")
        reference = job.outcome(plain, finish(job, problem, plain)[1])
        for kib in sizes:
            folder = room / "disk"
            with small_disk(folder, 1 << 20) as change:
                shutil.copytree(room / "prepared", folder, dirs_exist_ok=True)
                used = sum(path.stat().st_blocks for path in folder.rglob("*") if path.is_file()) // 2
                change(f"size={used + 4 * len(list(folder.rglob('*'))) + kib}k")
                wrong = _bad_end(run(job.argv, folder, variables(problem)))
                change("size=1048576k")
                again = run(job.argv, folder, variables(problem))
                wrong += _bad_end(again, must=True)
                if not wrong and (found := job.outcome(folder, again.out)) != reference:
                    wrong += [f"{name}: differs" for name in reference if found.get(name) != reference[name]]
            yield Case(name=f"full disk, {job.name}, {kib} KiB left", wrong=tuple(wrong))


def read_only(problem: Problem, room: Path) -> Iterator[Case]:
    """Run every job on a file system that cannot be written: readers answer, writers say so."""
    folder = room / "disk"
    with small_disk(folder, 1 << 20) as change:
        prepare(problem, folder)
        change("ro")
        for job in jobs(problem):
            ended = run(job.argv, folder, variables(problem))
            wrong = _bad_end(ended, must=job.name == "predict")
            if job.name != "predict" and ended.code == 0:
                wrong.append("says nothing of what it could not write")
            yield Case(name=f"read-only, {job.name}", wrong=tuple(wrong))
        for argv in (("report", "--store", "store"), ("verify", "store")):
            yield Case(
                name=f"read-only, {argv[0]}", wrong=tuple(_bad_end(run(argv, folder, variables(problem)), must=True))
            )


def few_files(problem: Problem, room: Path, limit: int = 64) -> Iterator[Case]:
    """Run every job with a small number of files that may be open at once."""
    prepare(problem, room / "prepared")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    for job in jobs(problem):
        folder = shutil.copytree(room / "prepared", Path(tempfile.mkdtemp(dir=room)) / "work")
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
        try:
            ended = run(job.argv, folder, variables(problem))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        yield Case(name=f"{limit} open files, {job.name}", wrong=tuple(_bad_end(ended, must=True)))


def together(problem: Problem, room: Path, processes: int, only: tuple[str, ...] = ()) -> Iterator[Case]:
    """Run the same command several times at once on one store and one cache; the outcome is that of one."""
    four = Job(
        name="bench of four cells", argv=(*bench_argv(problem), "--seeds", "0-3", "--store", "new"),
        outcome=lambda folder, _: runs_of(folder / "new"),
    )  # fmt: skip
    shared = (*(job for job in jobs(problem) if job.name in ("simulate", "tune")), four)
    chosen = [job for job in shared if not only or job.name in only]
    prepare(problem, room / "prepared", chosen)
    for job in chosen:
        alone = shutil.copytree(room / "prepared", room / f"alone-{job.name}")
        reference = job.outcome(alone, finish(job, problem, alone)[1])
        folder = shutil.copytree(room / "prepared", room / f"shared-{job.name}")
        running = [start(job.argv, folder, variables(problem)) for _ in range(processes)]
        codes = [process.wait() for process in running]
        wrong = [f"exit code {code}: {outputs(folder)[1][-200:]}" for code in codes if code != 0]
        if not wrong:
            found = job.outcome(folder, "")
            wrong = [f"{name}: {found.get(name)} for {reference.get(name)}" for name in reference.keys() | found.keys()
                     if found.get(name) != reference.get(name)]  # fmt: skip
        yield Case(name=f"{processes} processes, {job.name}", wrong=tuple(wrong))


def _bad_end(ended: Ended, *, must: bool = False) -> list[str]:
    """Return what is wrong with an end; with `must`, a failure is wrong as well."""
    wrong = [ended.fault] if ended.fault else []
    if must and ended.code != 0 and not wrong:
        wrong.append(f"exit code {ended.code}: {ended.output[-300:].strip()}")
    return wrong
