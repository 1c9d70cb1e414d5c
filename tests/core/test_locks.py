"""Locks of files: of the operating system, and leases on file systems that refuse them."""

from __future__ import annotations

import errno
import fcntl
import os
import time

import filelock
import pytest

from zoo import locks
from zoo.errors import BusyError, DataError
from zoo.results import store


@pytest.fixture(params=[None, errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP], ids=str)
def path(request, tmp_path, monkeypatch):
    """A lock on a file system that has locks, or that refuses them in one of the ways known."""
    monkeypatch.setattr(locks, "_kinds", {})
    monkeypatch.setattr(locks, "LEASE_SECONDS", 0.3)
    if request.param is not None:

        def refuse(*_):
            raise OSError(request.param, os.strerror(request.param))

        monkeypatch.setattr(fcntl, "flock", refuse)
    assert locks.kind_of(tmp_path) == ("flock" if request.param is None else "lease")
    return tmp_path / ".lock"


def test_a_lock_is_held_by_one_and_free_afterwards(path):
    assert not locks.is_held(path)
    with locks.file_lock(path, seconds=0):
        assert locks.is_held(path)
        with pytest.raises(filelock.Timeout):
            locks.file_lock(path, seconds=0).acquire()
    assert not locks.is_held(path)
    with locks.file_lock(path):
        pass


@pytest.mark.slow
def test_who_lives_keeps_the_lock_longer_than_a_lease(path):
    with locks.file_lock(path):
        time.sleep(0.8)
        assert locks.is_held(path)
        with pytest.raises(filelock.Timeout):
            locks.file_lock(path, seconds=0.1).acquire()


def test_a_reentrant_lock_is_acquired_twice_by_its_process(path):
    with locks.file_lock(path, seconds=1, reentrant=True):
        with locks.file_lock(path, seconds=1, reentrant=True):
            pass
        assert locks.is_held(path)
    assert not locks.is_held(path)


def test_the_lock_of_a_dead_process_is_taken_over(path):
    child = os.fork()
    if child == 0:
        locks.file_lock(path).acquire()
        os._exit(0)  # nothing is released
    os.waitpid(child, 0)
    began = time.monotonic()
    with locks.file_lock(path, seconds=0.1):
        pass
    assert time.monotonic() - began < 5
    assert not locks.is_held(path)


def test_a_marker_of_long_ago_does_not_hold_a_lock(path):
    marker = path.with_name(".lock.lease")
    marker.write_text("left behind")
    os.utime(marker, (1e9, 1e9))
    assert not locks.is_held(path)


@pytest.mark.slow
def test_a_cell_is_claimed_by_one_process_on_either_file_system(path, monkeypatch):
    monkeypatch.setattr(store, "_LOCK_SECONDS", 0.1)
    child_may_end, parent_end = os.pipe()
    ready, child_ready = os.pipe()
    child = os.fork()
    if child == 0:
        with store.claim(path.parent):
            os.write(child_ready, b".")
            os.read(child_may_end, 1)
        os._exit(0)
    os.read(ready, 1)
    assert store.locked(path.parent)
    with pytest.raises(BusyError), store.claim(path.parent):
        pass
    os.write(parent_end, b".")
    os.waitpid(child, 0)
    assert not store.locked(path.parent)
    with store.claim(path.parent), store.claim(path.parent):
        assert store.locked(path.parent)


def test_a_folder_that_is_absent_has_no_lock_of_its_own(tmp_path):
    assert locks.kind_of(tmp_path / "absent") == "flock"
    assert not locks.is_held(tmp_path / "absent" / ".lock")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(DataError, match=r"Cannot write to the folder .*file: "),
        locks.lock_held(tmp_path / "file/lock"),
    ):
        pass
