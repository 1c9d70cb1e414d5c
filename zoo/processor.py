"""Cores and fast bf16 of the processor as this process may use them, and the environment of processes that train."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from zoo.errors import UsageError
from zoo.paths import regular_file
from zoo.plurals import counted

BF16_VARIABLE = "ZOO_CPU_BF16"
"""Environment variable with "1" or "0": whether bf16 is fast on the processor, in place of its flags."""
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
"""Flags in /proc/cpuinfo of processors that multiply bf16 in hardware; without them convolutions in bf16 are 4 to 16
times slower than in float32."""
ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000"}
"""Environment variables with which glibc keeps freed memory. By default it returns every large tensor to the system,
and the next one of the same size is mapped and zeroed page by page again. Other allocators ignore them."""
THREADS_VARIABLE = "OMP_NUM_THREADS"
GPUS_VARIABLE = "CUDA_VISIBLE_DEVICES"
_CPUINFO, _STAT = Path("/proc/cpuinfo"), Path("/proc/stat")
_LOAD_SECONDS = 0.3
"""Time in which the load of the cores is measured."""
_CGROUP = Path("/proc/self/cgroup")
_CGROUPS = Path("/sys/fs/cgroup")


def has_fast_bf16() -> bool:
    """Return whether bf16 is faster than float32 on this machine's processor: x86 with avx512_bf16 or amx, on Linux."""
    chosen = os.environ.get(BF16_VARIABLE, "")
    if chosen:
        return chosen != "0"
    return not BF16_FLAGS.isdisjoint(_cpuinfo("flags").split())


def processor_name() -> str:
    """Return the name of the processor."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


@functools.cache
def _cpuinfo(field: str) -> str:
    """Return a field of the first processor in /proc/cpuinfo, or ""."""
    try:
        text = regular_file(_CPUINFO).read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        return ""
    found = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for name, _, value in found if name.strip() == field), "")


def usable_cores() -> int:
    """Return the number of cores that this process may use: its affinity, CPU quota of its control group, Slurm."""
    cores, quota = _affinity(), _quota()
    limits = [cores, *([] if quota is None else [math.ceil(quota)]), *_cores_of_slurm(os.environ)]
    return max(1, min(limits))


def _cores_of_slurm(environment: Mapping[str, str]) -> list[int]:
    """Return the cores that Slurm allotted to this process, which not every cluster enforces; nothing outside of it."""
    several = environment.get("SLURM_STEP_NUM_TASKS", "1") != "1"
    # In a batch script, SLURM_CPUS_PER_TASK is the share of one of the tasks that the script may start.
    name = "SLURM_CPUS_PER_TASK" if several else "SLURM_CPUS_ON_NODE"
    number = environment.get(name, "")
    return [int(number)] if number.isdecimal() and int(number) > 0 else []


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_left() -> int | None:
    """Return the bytes that the limits of this process's control groups leave to it; None without a limit.

    Files that the system keeps in memory and may drop do not count as used.
    """
    return min((left for folder in _groups("memory") for left in _memory_left_in(folder)), default=None)


def _memory_left_in(folder: Path) -> list[int]:
    """Return what a control group of version 2 or 1 leaves of its memory; nothing where it has no limit."""
    second = (folder / "memory.max").is_file()
    names = ("memory.max", "memory.current") if second else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    try:
        limit, used = (regular_file(folder / name).read_text().strip() for name in names)
        if limit == "max":
            return []
        counts = dict(line.split() for line in regular_file(folder / "memory.stat").read_text().splitlines())
        dropped = int(counts.get("inactive_file" if second else "total_inactive_file", 0))
        return [max(0, int(limit) - int(used) + dropped)]
    except (OSError, ValueError):
        return []


def _quota() -> float | None:
    """Return the lowest CPU quota, in cores, of this process's control group and those above it; None for no quota."""
    found = (quota for folder in _groups("cpu", "cpu,cpuacct", "cpuacct,cpu") for quota in _quota_in(folder))
    return min(found, default=None)


def _groups(*controllers: str) -> Iterator[Path]:
    """Yield the folders of this process's control group and of those above it, of version 2, or 1 of a controller."""
    try:
        lines = regular_file(_CGROUP).read_text().splitlines()
    except OSError:
        return
    for line in lines:
        controller, path = line.split(":", 2)[1:]
        if controller not in ("", *controllers):
            continue
        root = _CGROUPS / controller
        inner = path.strip("/")
        # In a container the path may be that of the machine, and the root that of the container.
        for folder in {root, *((root / inner), *(root / inner).parents)}:
            if folder.is_relative_to(root):
                yield folder


def _quota_in(folder: Path) -> list[float]:
    """Return the quota of a control group in cores, of version 2 or 1; nothing where it has none."""
    try:
        names = ("cpu.max",) if (folder / "cpu.max").is_file() else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        quota, period = " ".join(regular_file(folder / name).read_text() for name in names).split()
        # "max" and -1 stand for no quota.
        return [int(quota) / int(period)] if quota != "max" and int(quota) > 0 else []
    except (OSError, ValueError, ZeroDivisionError):
        return []


def computing_environment(
    environment: Mapping[str, str] = os.environ, *, processes: int = 1, gpus: Sequence[str] = ()
) -> dict[str, str]:
    """Return the environment for a process that trains; what the user has set stays.

    Args:
        environment: Variables to start from.
        processes: Number of processes that share the cores of this one.
        gpus: GPUs that the process sees, of those that this one sees; empty: all of them.
    """
    threads = {THREADS_VARIABLE: str(max(1, usable_cores() // processes))} if processes > 1 else {}
    seen = {GPUS_VARIABLE: ",".join(gpus)} if gpus else {}
    return {**ALLOCATOR, **threads, **environment, **seen}


def gpu_names(text: str, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the names of GPUs for CUDA_VISIBLE_DEVICES.

    Args:
        text: Numbers as torch counts the GPUs that this process sees, or names (UUIDs), separated by commas.
        environment: Variables: of GPUs that are visible here, number 0 is the first.

    Raises:
        UsageError: A number is negative, given twice or beyond the visible GPUs.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    seen = [word.strip() for word in environment.get(GPUS_VARIABLE, "").split(",") if word.strip()]
    names = []
    for word in words:
        if word.isdecimal() and seen:
            if int(word) >= len(seen):
                raise UsageError(f"GPU {word} of {text!r}: {GPUS_VARIABLE} shows {counted(len(seen), 'GPU')}, from 0.")
            word = seen[int(word)]
        names.append(word)
    if len(set(names)) < len(names) or any(word.startswith("-") for word in names):
        raise UsageError(f"{text!r} is not a list of different GPUs.", hint="For example: --gpus 0,1,2,3")
    return names


def busy_cores() -> float:
    """Return how many of the cores that this process may use other programs keep busy; 0 where it is not known.

    It measures for `_LOAD_SECONDS`, in which this process should wait.
    """
    before = _ticks()
    time.sleep(_LOAD_SECONDS)
    after = _ticks()
    busy = 0.0
    for core in before.keys() & after.keys():
        working, idle = (now - then for then, now in zip(before[core], after[core], strict=True))
        busy += working / max(working + idle, 1)
    return busy


def _ticks() -> dict[int, tuple[int, int]]:
    """Return core -> times in which it worked and in which it was idle, in ticks of the system's clock."""
    try:
        lines = regular_file(_STAT).read_text().splitlines()
        allowed = os.sched_getaffinity(0)
    except (OSError, AttributeError):  # not Linux
        return {}
    found = {}
    for line in lines:
        name, *counts = line.split()
        if name.startswith("cpu") and name != "cpu" and int(name.removeprefix("cpu")) in allowed:
            # https://docs.kernel.org/filesystems/proc.html: user, nice, system, idle, iowait, irq, softirq, steal
            numbers = [int(count) for count in counts[:8]]
            idle = sum(numbers[3:5])
            found[int(name.removeprefix("cpu"))] = (sum(numbers) - idle, idle)
    return found


def note_on_busy_cores(environment: Mapping[str, str] = os.environ) -> str:
    """Return a sentence on other programs beside which a training with a thread for each core is slow, or "".

    The threads wait for each other, so one core that is busy with something else delays all of them
    (benchmarks/busy_cores.py). The number of threads stays: it decides the last digits of a training.
    """
    cores = usable_cores()
    if THREADS_VARIABLE in environment or cores < 2 or not 1 <= (busy := round(busy_cores())) < cores:
        return ""
    return (
        f"other programs keep {busy} of {counted(cores, 'core')} busy; a training with {counted(cores, 'thread')} may "
        f"then take several times as long as with {counted(cores - busy, 'thread')} ({THREADS_VARIABLE}={cores - busy})"
    )


def limit_threads() -> None:
    """Let torch use no more threads than this process may use cores; a number that the user has set stays.

    Torch counts the cores of the machine or of the affinity; more threads than a quota allows wait for each other.
    """
    import torch

    if THREADS_VARIABLE not in os.environ and torch.get_num_threads() > usable_cores():
        torch.set_num_threads(usable_cores())


@contextlib.contextmanager
def one_torch_thread() -> Iterator[int]:
    """Let torch compute in the thread that asks; the value is the number of threads that it has otherwise."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield before
    finally:
        torch.set_num_threads(before)
