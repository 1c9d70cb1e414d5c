"""`zoo doctor`: what it finds in a good folder, and each property that makes a folder slow, private or useless."""

from __future__ import annotations

import errno
import json
import os
import shutil
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from zoo import locks
from zoo.cli import cli
from zoo.run import store_check
from zoo.run.store_check import check_store

NAMES = ["file system", "permissions", "rename", "locks", "small files", "writing", "free space", "clock"]


@pytest.fixture(autouse=True)
def briefly(monkeypatch):
    monkeypatch.setattr(store_check, "FILES", 3)
    monkeypatch.setattr(store_check, "MEGABYTES", 1)


def found(folder, name):
    return next(check for check in check_store(folder) if check.name == name)


def test_a_good_folder_passes_and_nothing_is_left_in_it(tmp_path):
    before = os.umask(0o022)
    try:
        done = CliRunner().invoke(cli, ["doctor", "--store", str(tmp_path / "store"), "--json"])
    finally:
        os.umask(before)
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    assert [check["name"] for check in content["checks"]] == NAMES
    assert not [check for check in content["checks"] if check["verdict"] == "bad"]
    assert list((tmp_path / "store").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_bad(tmp_path):
    (tmp_path / "file").touch()
    done = CliRunner().invoke(cli, ["doctor", "--store", str(tmp_path / "file" / "store")])
    assert done.exit_code == 1
    assert "bad   write" in done.stdout
    assert "Choose another folder" in done.stdout


def test_new_files_that_the_group_cannot_read_are_noted(tmp_path):
    before = os.umask(0o077)
    try:
        check = found(tmp_path, "permissions")
    finally:
        os.umask(before)
    assert (check.verdict, check.found) == ("note", "new files: -rw-------")
    assert "umask 027" in check.advice


def test_a_file_system_without_flock_is_noted(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks, "_kinds", {})
    monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr(store_check, "_TRY_LOCK", "import sys; sys.exit(11)")  # another process has flock here
    check = found(tmp_path, "locks")
    assert (check.verdict, check.found) == ("note", "flock is refused; leases are used")


def test_locks_that_hold_nobody_off_are_bad(tmp_path, monkeypatch):
    monkeypatch.setattr(store_check, "_TRY_LOCK", "pass")
    assert found(tmp_path, "locks").verdict == "bad"


def test_replacing_that_does_not_replace_is_bad(tmp_path, monkeypatch):
    def append(path, text):
        with path.open("a") as file:
            file.write(text)

    monkeypatch.setattr(store_check, "write_text", append)
    assert found(tmp_path, "rename").verdict == "bad"


@pytest.mark.parametrize(
    ("limit", "value", "name"),
    [
        ("SLOW_FILES", 1e9, "small files"),
        ("SLOW_MEGABYTES", 1e9, "writing"),
        ("LEAST_BYTES", 2**80, "free space"),
        ("MOST_SKEW", -1.0, "clock"),
        ("_VOLATILE", None, "file system"),
    ],
)
def test_what_is_slow_small_or_volatile_is_noted_with_what_follows(tmp_path, monkeypatch, limit, value, name):
    monkeypatch.setattr(store_check, limit, (store_check._mount(tmp_path)[0],) if value is None else value)
    check = found(tmp_path, name)
    assert check.verdict == "note"
    assert check.advice


def test_a_full_disk_is_stated(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "disk_usage", full)
    *_, last = check_store(tmp_path)
    assert (last.verdict, last.found) == ("bad", "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_mount_with_a_space_in_its_name_is_recognised(tmp_path, monkeypatch):
    line = f"36 35 98:0 / {str(tmp_path).replace(' ', chr(92) + '040')} rw - lustre server:/x rw\n"
    monkeypatch.setattr(store_check.Path, "read_text", lambda *_, **__: line)
    assert store_check._mount(tmp_path) == ("lustre", "server:/x")
    assert store_check._mount(SimpleNamespace(resolve=lambda: tmp_path.parent)) == ("", "")
