"""Checks of a folder that is to hold results: permissions, locks, renames, speed, free space, and what follows."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from zoo.errors import DataError
from zoo.locks import LEASE_SECONDS, file_lock, kind_of
from zoo.paths import make_dir, regular_file, write_text
from zoo.plurals import counted
from zoo.schema import Record

FILES, MEGABYTES = 100, 32
SLOW_FILES, SLOW_MEGABYTES = 50.0, 20.0
"""Small files and megabytes a second below which a store is slow."""
LEAST_BYTES, LEAST_FILES = 2 * 2**30, 10_000
MOST_SKEW = 5.0
_VOLATILE = ("tmpfs", "ramfs", "overlay")
_TRY_LOCK = """
import sys, filelock
from pathlib import Path
from zoo.locks import file_lock
try:
    file_lock(Path(sys.argv[1]), seconds=0).acquire()
except filelock.Timeout:
    sys.exit(11)
"""


class Check(Record):
    """One property of a folder.

    Args:
        name: Name of the property.
        verdict: "ok", "note" for what a user should know, "bad" for what makes the folder useless.
        found: Measured value in words.
        advice: Advice to the user; "" where none is needed.
    """

    name: str
    verdict: Literal["ok", "note", "bad"]
    found: str
    advice: str = ""


def check_store(store: Path) -> Iterator[Check]:
    """Yield the checks of a folder, which is created where it is absent; nothing is left in it.

    Args:
        store: Folder of results.
    """
    try:
        with tempfile.TemporaryDirectory(dir=make_dir(store), prefix=".zoo-doctor.") as name:
            room = Path(name)
            for check in (_file_system, _permissions, _rename, _lock, _small_files, _large_file, _space, _clock):
                yield check(room)
    except (OSError, DataError) as error:
        reason = str(error).partition("\n")[0] if isinstance(error, DataError) else error.strerror or str(error)
        advice = "Choose another folder, or ask for the permission to write."
        yield Check(name="write", verdict="bad", found=reason, advice=advice)


def _file_system(room: Path) -> Check:
    kind, source = _mount(room)
    if kind in _VOLATILE:
        return Check(
            name="file system", verdict="note", found=f"{kind} ({source})",
            advice="What is written here is lost when the machine or the container ends.",
        )  # fmt: skip
    return Check(name="file system", verdict="ok", found=f"{kind} ({source})" if kind else "unknown")


def _mount(folder: Path) -> tuple[str, str]:
    """Return type and source of the file system of a folder; ("", "") where the system does not tell."""
    best, found = -1, ("", "")
    with contextlib.suppress(OSError):
        mounts = regular_file(Path("/proc/self/mountinfo")).read_text(encoding="utf-8", errors="replace")
        for line in mounts.splitlines():
            before, _, after = line.partition(" - ")
            place = before.split()[4].replace("\\040", " ")
            if folder.resolve().is_relative_to(place) and len(place) > best:
                best, found = len(place), (after.split()[0], after.split()[1])
    return found


def _permissions(room: Path) -> Check:
    file = room / "file"
    write_text(file, "x")
    mode = stat.filemode(file.stat().st_mode)
    if file.stat().st_mode & stat.S_IRGRP:
        return Check(name="permissions", verdict="ok", found=f"new files: {mode}")
    return Check(
        name="permissions", verdict="note", found=f"new files: {mode}",
        advice="Your group cannot read new results. To share them: umask 027",
    )  # fmt: skip


def _rename(room: Path) -> Check:
    file = room / "renamed"
    for text in ("old", "new"):
        write_text(file, text)
    whole = regular_file(file).read_text(encoding="utf-8") == "new" and len(list(room.glob("*renamed*"))) == 1
    if whole:
        return Check(name="rename", verdict="ok", found="a file is replaced in one step")
    return Check(
        name="rename", verdict="bad", found="a file was not replaced by renaming another",
        advice="Results would be lost or cut off here. Choose another file system.",
    )  # fmt: skip


def _lock(room: Path) -> Check:
    path, kind = room / "lock", kind_of(room)
    with file_lock(path, seconds=0):
        command = [sys.executable, "-c", _TRY_LOCK, str(path)]
        refused = subprocess.run(command, capture_output=True, check=False).returncode == 11
    if not refused:
        return Check(
            name="locks", verdict="bad", found="two processes held one lock",
            advice="Two commands could run one cell at a time. Choose another file system.",
        )  # fmt: skip
    if kind == "lease":
        return Check(
            name="locks", verdict="note", found="flock is refused; leases are used",
            advice=f"The cell of a process that died is free after {LEASE_SECONDS:.0f} s. Run this command on every "
            "kind of node: all must find the same.",
        )  # fmt: skip
    return Check(name="locks", verdict="ok", found="flock, held against another process")


def _small_files(room: Path) -> Check:
    began = time.perf_counter()
    for number in range(FILES):
        write_text(room / f"small-{number}", "0" * 500)
    rate = FILES / (time.perf_counter() - began)
    return Check(
        name="small files", verdict="ok" if rate >= SLOW_FILES else "note", found=f"{rate:,.0f} a second",
        advice="" if rate >= SLOW_FILES else "Progress files slow many cells down: start fewer at a time.",
    )  # fmt: skip


def _large_file(room: Path) -> Check:
    block = os.urandom(2**20)
    began = time.perf_counter()
    with (room / "large").open("wb") as file:
        for _ in range(MEGABYTES):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    rate = MEGABYTES / (time.perf_counter() - began)
    return Check(
        name="writing", verdict="ok" if rate >= SLOW_MEGABYTES else "note", found=f"{rate:,.0f} MiB/s",
        advice="" if rate >= SLOW_MEGABYTES else "Keep simulated images on a local disk: set ZOO_CACHE.",
    )  # fmt: skip


def _space(room: Path) -> Check:
    free = shutil.disk_usage(room).free
    files = os.statvfs(room).f_favail if hasattr(os, "statvfs") else 0
    several = f", {counted(files, 'file')}" if files else ""
    enough = free >= LEAST_BYTES and not 0 < files < LEAST_FILES
    return Check(
        name="free space", verdict="ok" if enough else "note", found=f"{free / 2**30:,.1f} GiB{several}",
        advice="" if enough else "A run needs some 5 MB and ten files.",
    )  # fmt: skip


def _clock(room: Path) -> Check:
    file = room / "clock"
    file.touch()
    skew = file.stat().st_mtime - time.time()
    fine = abs(skew) < MOST_SKEW
    return Check(
        name="clock", verdict="ok" if fine else "note", found=f"{skew:+.1f} s from this machine's",
        advice="" if fine else "Ages of progress files are wrong by as much. Synchronise the clocks.",
    )  # fmt: skip
