"""The progress of a cell: what the file holds, how often it is written, and when a cell stops."""

from __future__ import annotations

import json
import os
import time

import pytest

from zoo import progress
from zoo.cli.watch import describe
from zoo.progress import INTERVAL_SECONDS, INTERVAL_VARIABLE, Progress, ProgressFile, interval_beside, read_progress
from zoo.results import store
from zoo.stopping import PARENT_VARIABLE


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets, in seconds."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    monkeypatch.delenv(PARENT_VARIABLE, raising=False)
    return now


def test_progress_is_throttled_except_at_phases_and_ends(tmp_path, clock):
    path = tmp_path / store.PROGRESS
    file = ProgressFile(path)

    def told(*arguments, **more):
        file.report(*arguments, **more)
        return read_progress(path)

    assert told("train", 0, 10) == Progress(phase="train", done=0, total=10, seconds=0.0, rate=0.0)
    clock[0] += INTERVAL_SECONDS / 2
    assert told("train", 1, 10).done == 0
    clock[0] += INTERVAL_SECONDS
    entry = told("train", 2, 10, epoch=1)
    assert (entry.done, entry.epoch) == (2, 1)
    assert entry.seconds == pytest.approx(1.5 * INTERVAL_SECONDS)
    assert told("train", 10, 10).done == 10
    assert told("score", 0, 1) == Progress(phase="score", done=0, total=1, seconds=0.0, rate=0.0)


def test_the_rate_counts_what_was_done_in_this_session_only(tmp_path, clock):
    """A training that goes on from its checkpoint at step 900 of 1000, ten steps a second: nine seconds are left."""
    path = tmp_path / store.PROGRESS
    file = ProgressFile(path)
    file.report("simulate train", 0, 512)
    clock[0] += 2
    file.report("simulate train", 512, 512)
    assert read_progress(path).rate == 256
    file.report("train", 900, 1000, epoch=10, epochs=10)
    clock[0] += 1
    file.report("train", 910, 1000, epoch=10, epochs=10)
    assert read_progress(path).rate == 10
    assert describe(read_progress(path)) == "epoch 10/10, 9 s left"


@pytest.mark.parametrize(("rate", "shown"), [
    (0.25, "0.25 images/s, 2 min 08 s left"), (16.0, "16 images/s, 2 s left"), (1600.0, "1,600 images/s")
])  # fmt: skip
def test_slow_scores_show_their_rate_and_the_time_left(rate, shown):
    told = Progress(phase="score", done=32, total=64, seconds=1.0, rate=rate)
    assert describe(told).startswith(f"score 32/64, {shown}")


def test_the_rate_starts_anew_where_a_phase_of_the_same_name_follows(tmp_path, clock):
    """The images of three phases of a training are simulated one after the other."""
    path = tmp_path / store.PROGRESS
    file = ProgressFile(path)
    for _ in range(3):
        file.report("simulate train", 0, 512)
        clock[0] += 2
        file.report("simulate train", 512, 512)
        assert read_progress(path).rate == 256


def test_progress_on_a_full_disk_is_dropped(tmp_path, clock):
    ProgressFile(tmp_path / "absent" / store.PROGRESS).report("train", 0, 10)
    assert read_progress(tmp_path / "absent" / store.PROGRESS) is None


def test_progress_is_replaced_atomically(tmp_path, clock, monkeypatch):
    path = tmp_path / store.PROGRESS
    file = ProgressFile(path)
    file.report("train", 0, 10)
    inode = path.stat().st_ino
    clock[0] += 1

    def watched(source, target):
        # A reader who comes now still sees the whole of the old one, and the new one is complete.
        assert read_progress(path).done == 0
        assert json.loads(source.read_text())["done"] == 5
        replace_file(source, target)

    replace_file = os.replace
    monkeypatch.setattr(progress.os, "replace", watched)
    file.report("train", 5, 10)
    assert read_progress(path).done == 5
    assert path.stat().st_ino != inode
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_cell_stops_when_its_parent_has_ended(tmp_path, clock, monkeypatch):
    monkeypatch.setenv(PARENT_VARIABLE, str(os.getppid()))
    file = ProgressFile(tmp_path / store.PROGRESS)
    file.report("train", 0, 10)
    monkeypatch.setattr(progress.os, "getppid", lambda: 1)
    file.report("train", 1, 10)  # throttled: not looked at
    clock[0] += 1
    with pytest.raises(KeyboardInterrupt):
        file.report("train", 2, 10)
    assert read_progress(tmp_path / store.PROGRESS).done == 0


def test_progress_costs_nothing_when_throttled(tmp_path, monkeypatch):
    monkeypatch.delenv(PARENT_VARIABLE, raising=False)
    file = ProgressFile(tmp_path / store.PROGRESS)
    started = time.perf_counter()
    for step in range(20_000):
        file.report("train", step, 20_001)
    assert (time.perf_counter() - started) / 20_000 < 50e-6


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b'{"phase": "train"}', b"[" * 100_000])
def test_unreadable_progress_is_ignored(tmp_path, content):
    path = tmp_path / store.PROGRESS
    assert read_progress(path) is None
    path.write_bytes(content)
    assert read_progress(path) is None


@pytest.mark.parametrize(("cells", "seconds"), [(1, 0.25), (24, 0.25), (500, 5.0), (100_000, 10.0)])
def test_many_cells_write_less_often(cells, seconds, tmp_path, monkeypatch):
    """500 cells write a hundred times a second in all."""
    assert interval_beside(cells) == seconds
    clock = [100.0]
    monkeypatch.setattr("zoo.progress.time.perf_counter", lambda: clock[0])
    monkeypatch.setenv(INTERVAL_VARIABLE, str(interval_beside(cells)))
    file = ProgressFile(tmp_path / store.PROGRESS)
    file.report("train", 1, 10)
    clock[0] += 0.9 * seconds
    file.report("train", 2, 10)
    assert read_progress(tmp_path / store.PROGRESS).done == 1
    clock[0] += 0.2 * seconds
    file.report("train", 3, 10)
    assert read_progress(tmp_path / store.PROGRESS).done == 3
