"""Cores, fast bf16 and the environment of trainings, on processors and in control groups of every kind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from zoo import processor
from zoo.data.loader import free_memory
from zoo.environment import describe
from zoo.processor import (
    ALLOCATOR,
    computing_environment,
    has_fast_bf16,
    limit_threads,
    memory_left,
    processor_name,
    usable_cores,
)

ZEN_4 = "processor\t: 0\nmodel name\t: AMD EPYC 9R14\nflags\t\t: fpu avx512_vnni {}\nbugs\t\t: \n"


@pytest.fixture
def cpuinfo(tmp_path, monkeypatch):
    def write(text):
        file = tmp_path / "cpuinfo"
        if text is not None:
            file.write_text(text)
        monkeypatch.setattr(processor, "_CPUINFO", file)
        processor._cpuinfo.cache_clear()

    monkeypatch.delenv(processor.BF16_VARIABLE)
    yield write
    processor._cpuinfo.cache_clear()


@pytest.mark.parametrize(
    ("text", "fast"),
    [
        (ZEN_4.format("avx512_bf16"), True),
        (ZEN_4.format("amx_tile amx_bf16"), True),
        (ZEN_4.format("avx512_bf16_other"), False),
        (ZEN_4.format("avx512f"), False),
        ("processor\t: 0\nFeatures\t: asimd bf16\n", False),  # ARM: not measured
        ("", False),
        (None, False),
    ],
)
def test_flags_of_the_processor_decide_whether_bf16_is_fast(cpuinfo, text, fast):
    cpuinfo(text)
    assert has_fast_bf16() is fast


def test_a_variable_replaces_the_flags(cpuinfo, monkeypatch):
    cpuinfo(ZEN_4.format("avx512_bf16"))
    for value, fast in (("0", False), ("1", True), ("", True)):
        monkeypatch.setenv(processor.BF16_VARIABLE, value)
        assert has_fast_bf16() is fast


def test_the_name_of_the_processor_is_in_the_environment_of_a_result(cpuinfo):
    cpuinfo(ZEN_4.format(""))
    assert processor_name() == describe(accelerator=False).processor == "AMD EPYC 9R14"
    cpuinfo("")
    assert processor_name()


GROUPS = {
    "none": ("", {}, 8),
    "no quota": ("0::/job", {"job/cpu.max": "max 100000"}, 8),
    "its own": ("0::/job", {"job/cpu.max": "200000 100000"}, 2),
    "that above": ("0::/job/step", {"job/cpu.max": "300000 100000", "job/step/cpu.max": "max 100000"}, 3),
    "the lower one": ("0::/job/step", {"job/cpu.max": "300000 100000", "job/step/cpu.max": "100000 100000"}, 1),
    "of the container": ("0::/kubepods/pod7", {"cpu.max": "400000 100000"}, 4),
    "a part of a core": ("0::/job", {"job/cpu.max": "50000 100000"}, 1),
    "one and a half": ("0::/job", {"job/cpu.max": "150000 100000"}, 2),
    "more than there are": ("0::/job", {"job/cpu.max": "6400000 100000"}, 8),
    "version 1": (
        "3:memory:/job\n2:cpu,cpuacct:/job",
        {"cpu,cpuacct/job/cpu.cfs_quota_us": "500000", "cpu,cpuacct/job/cpu.cfs_period_us": "100000"},
        5,
    ),
    "version 1, none": (
        "2:cpu,cpuacct:/job",
        {"cpu,cpuacct/job/cpu.cfs_quota_us": "-1", "cpu,cpuacct/job/cpu.cfs_period_us": "100000"},
        8,
    ),
    "unreadable": ("0::/job", {"job/cpu.max": "what is this"}, 8),
}


def write_groups(tmp_path, monkeypatch, lines, files):
    """Put control groups in place of those of this process: /proc/self/cgroup, and files below /sys/fs/cgroup."""
    (tmp_path / "cgroup").write_text(lines)
    for path, content in files.items():
        (tmp_path / "groups" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / path).write_text(f"{content}\n")
    monkeypatch.setattr(processor, "_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(processor, "_CGROUPS", tmp_path / "groups")


@pytest.fixture
def group(tmp_path, monkeypatch):
    def make(name, affinity=8):
        lines, files, cores = GROUPS[name]
        write_groups(tmp_path, monkeypatch, lines, files)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)), raising=False)
        return cores

    return make


@pytest.mark.parametrize("name", GROUPS)
def test_cores_are_those_of_affinity_and_quota(group, name):
    assert usable_cores() >= 1
    assert group(name) == usable_cores() == describe(accelerator=False).cores


MEMORY = {
    # lines of /proc/self/cgroup, files below /sys/fs/cgroup, bytes that are left
    "none": ("0::/", {"memory.stat": "inactive_file 5"}, None),
    "unlimited": ("0::/job", {"job/memory.max": "max", "job/memory.current": "7", "job/memory.stat": ""}, None),
    "of the job": (
        "0::/job/step",
        {"job/memory.max": "1000", "job/memory.current": "700", "job/memory.stat": "anon 600\ninactive_file 50"},
        350,
    ),
    "version 1": (
        "7:memory:/job\n3:cpu:/",
        {
            "memory/job/memory.limit_in_bytes": "1000", "memory/job/memory.usage_in_bytes": "400",
            "memory/job/memory.stat": "total_inactive_file 100",
        },
        700,
    ),
    "unreadable": ("0::/job", {"job/memory.max": "much", "job/memory.current": "7", "job/memory.stat": ""}, None),
}  # fmt: skip


@pytest.mark.parametrize("name", MEMORY)
def test_memory_is_what_the_control_groups_leave(tmp_path, monkeypatch, name):
    lines, files, left = MEMORY[name]
    write_groups(tmp_path, monkeypatch, lines, files)
    assert memory_left() == left
    if left is not None:
        assert free_memory(torch.device("cpu")) == left


def test_affinity_counts_where_it_allows_fewer_cores_than_the_quota(group):
    group("of the container", affinity=3)
    assert usable_cores() == 3


STAT = "cpu  9 9 9 9\n{}intr 1 2 3\n"
BEFORE = ["cpu0 100 0 100 800 0 0 0 0 7 7", "cpu1 5 5 5 5 5 0 0 0 0 0", "cpu7 1 1 1 1 1 1 1 1 1 1"]
AFTER = ["cpu0 120 10 100 870 0 0 0 0 7 7", "cpu1 5 5 5 25 25 10 0 50 0 0", "cpu7 9 9 9 1 1 1 1 1 1 1"]


def test_busy_cores_are_those_that_this_process_may_use(tmp_path, monkeypatch):
    """Core 0 works for 30 of 100 ticks; core 1 for 60 of 100, most of them stolen by its host; core 7 is not ours."""
    stat = tmp_path / "stat"
    stat.write_text(STAT.format("".join(f"{line}\n" for line in BEFORE)))
    monkeypatch.setattr(processor, "_STAT", stat)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    later = STAT.format("".join(f"{line}\n" for line in AFTER))
    monkeypatch.setattr(processor.time, "sleep", lambda seconds: stat.write_text(later))
    assert processor.busy_cores() == pytest.approx(0.3 + 0.6)
    stat.unlink()
    assert processor.busy_cores() == 0


@pytest.mark.parametrize(
    ("busy", "cores", "environment", "words"),
    [
        (1.2, 2, {}, "keep 1 of 2 cores busy; a training with 2 threads may .* with 1 thread \\(OMP_NUM_THREADS=1\\)"),
        (2.6, 8, {}, "keep 3 of 8 cores busy; .* with 5 threads"),
        (0.4, 2, {}, None),
        (2.0, 2, {}, None),  # every number of threads is slow
        (1.0, 1, {}, None),
        (1.0, 2, {"OMP_NUM_THREADS": "1"}, None),
    ],
)
def test_a_busy_machine_is_noted_before_a_training(monkeypatch, busy, cores, environment, words):
    monkeypatch.setattr(processor, "busy_cores", lambda: busy)
    monkeypatch.setattr(processor, "usable_cores", lambda: cores)
    note = processor.note_on_busy_cores(environment)
    assert note == "" if words is None else re.search(words, note)


def test_processes_that_share_the_cores_share_the_threads(group):
    group("that above")
    assert "OMP_NUM_THREADS" not in computing_environment({})
    threads = [computing_environment({}, processes=count)["OMP_NUM_THREADS"] for count in (2, 3, 9)]
    assert threads == ["1", "1", "1"]
    group("none")
    assert computing_environment({}, processes=3)["OMP_NUM_THREADS"] == "2"


def test_what_the_user_has_set_stays():
    mine = {"OMP_NUM_THREADS": "5", "MALLOC_MMAP_MAX_": "7", "HOME": "/here"}
    assert computing_environment({}) == ALLOCATOR
    assert computing_environment(mine, processes=2) == {**ALLOCATOR, **mine}


@pytest.mark.parametrize(("chosen", "expected"), [("", 3), ("6", 6)])
def test_torch_uses_no_more_threads_than_a_quota_allows(group, monkeypatch, chosen, expected):
    group("that above")
    monkeypatch.delenv("OMP_NUM_THREADS")
    if chosen:
        monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    before = torch.get_num_threads()
    torch.set_num_threads(6)
    try:
        limit_threads()
        assert torch.get_num_threads() == expected
        torch.set_num_threads(2)
        limit_threads()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="page faults and glibc are those of Linux")
def test_a_training_does_not_fetch_the_memory_of_each_tensor_again():
    """Freed memory is used again: 20 arrays of 64 MiB, one after the other, have few page faults."""
    if "glibc" not in os.confstr("CS_GNU_LIBC_VERSION"):
        pytest.skip("the C library is not glibc, whose allocator the variables are for")
    code = (
        "import ctypes, resource\nlibc = ctypes.CDLL(None)\nlibc.malloc.restype = ctypes.c_void_p\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\nbefore = faults()\n"
        "for _ in range(20):\n"
        "    block = libc.malloc(ctypes.c_size_t(64 << 20))\n"
        "    ctypes.memset(block, 1, 64 << 20)\n    libc.free(ctypes.c_void_p(block))\n"
        "print(faults() - before)"
    )
    clean = {name: value for name, value in os.environ.items() if name not in ALLOCATOR}
    counts = [
        int(subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True).stdout)
        for env in (clean, computing_environment(clean))
    ]
    assert counts[1] * 10 < counts[0]


def test_the_processor_is_asked_in_one_place():
    """`os.cpu_count` also counts cores that this process may not use."""
    root = Path(__file__).parents[2]
    paths = [path for name in ("zoo", "plugins", "benchmarks") for path in (root / name).rglob("*.py")]
    pattern = "cpu_count", "sched_getaffinity"
    using = [path.name for path in paths if any(word in path.read_text(encoding="utf-8") for word in pattern)]
    assert using == ["processor.py"]
