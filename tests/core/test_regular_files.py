"""Files that are read or written: not regular, nested without end, their modes, links, leftovers of killed writers."""

import os
import socket
from pathlib import Path

import pytest

from zoo.errors import DataError, ZooError
from zoo.paths import log_tail, open_log, parse_json, read_json, regular_file, written_whole

DEEP = "[" * 200_000


@pytest.mark.parametrize("kind", ["pipe", "folder", "socket", "device", "loop", "missing"])
def test_only_regular_files_are_read(kind, tmp_path):
    path = tmp_path / "x"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind(str(path))
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    with pytest.raises(OSError, match=r".") as caught:
        regular_file(path)
    assert caught.value.filename == str(path)
    with pytest.raises(OSError, match=r"."):
        read_json(path)
    assert log_tail(path, 3).startswith("(empty)" if kind == "missing" else "(cannot be read")
    if kind != "missing":
        with pytest.raises(DataError, match="Cannot write"):
            open_log(path)


# Each opens one file of the run's folder; none may wait for a pipe, or end in anything else than an error of ours.
READERS = {
    "result.json": "from zoo.results.store import open_result as read",
    "cell.json": "from zoo.results.cell import Cell; read = lambda folder: Cell.read(folder / 'cell.json')",
    "weights.safetensors": "from zoo.models.weights_file import read_weights;"
    "read = lambda folder: read_weights(folder / 'weights.safetensors')",
    "predictions.safetensors": "from zoo.results.store import read_arrays;"
    "read = lambda folder: read_arrays(folder / 'predictions.safetensors')",
    "progress.json": "from zoo.progress import read_progress;"
    "read = lambda folder: read_progress(folder / 'progress.json')",
    "manifest.json": "from zoo.data.manifest import read_manifest as read",
    "recipe.json": "from zoo.data.folder import read_recipe as read",
    "suite.toml": "from zoo.plan.suite_file import read_suite; read = lambda folder: read_suite(folder / 'suite.toml')",
}


@pytest.mark.parametrize("content", ["pipe", "deep"])
@pytest.mark.parametrize("name", READERS)
def test_a_pipe_or_endless_nesting_in_place_of_a_file_is_an_error(name, content, tmp_path):
    names: dict = {}
    exec(READERS[name], names)
    path = tmp_path / name
    if content == "pipe":
        os.mkfifo(path)
    else:
        header = DEEP.encode()
        start = len(header).to_bytes(8, "little") if name.endswith(".safetensors") else b""
        path.write_bytes(start + (b"a = " if name.endswith(".toml") else b"") + header)
    if name == "progress.json":
        assert names["read"](tmp_path) is None
    else:
        with pytest.raises((ZooError, OSError)):
            names["read"](tmp_path)


def test_json_nested_too_deeply_is_a_value_error():
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(DEEP)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_the_umask_decides_the_mode_of_a_file_whoever_writes_it(umask, mode, tmp_path):
    before = os.umask(umask)
    try:
        with written_whole(tmp_path / "plain") as temporary:
            temporary.write_text("x")
        with written_whole(tmp_path / "replaced") as temporary:  # as safetensors does
            temporary.unlink()
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT, 0o600))
        with open(open_log(tmp_path / "log"), "wb"):
            pass
    finally:
        os.umask(before)
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o777 == mode, path


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_not_a_file_is_not_replaced_by_one(kind, tmp_path):
    path = tmp_path / "x"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind(str(path))
    else:
        path.symlink_to("/dev/null")
    before = path.stat().st_mode
    with pytest.raises(DataError, match="it is a device, a pipe or a socket"), written_whole(path):
        pass
    assert path.stat().st_mode == before
    assert path.is_symlink() == (kind == "device")


def test_what_a_link_leads_to_is_written(tmp_path):
    (tmp_path / "there").mkdir()
    for target in (tmp_path / "there/a", Path("there/b")):  # the second does not exist yet
        link = tmp_path / f"to_{target.name}"
        link.symlink_to(target)
        with written_whole(link) as temporary:
            temporary.write_text(target.name)
        assert link.is_symlink()
        assert (tmp_path / "there" / target.name).read_text() == target.name
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "there", "to_a", "to_b"]


def test_a_name_as_long_as_the_file_system_allows_can_be_written(tmp_path):
    path = tmp_path / ("é" * 127)
    with written_whole(path) as temporary:
        temporary.write_text("x")
    assert path.read_text() == "x"


def test_temporary_files_of_killed_writers_are_removed_and_of_living_ones_kept(tmp_path):
    path, other = tmp_path / "figure.png", tmp_path / "figure.png.txt"
    killed, foreign, fresh = (
        tmp_path / name for name in (".figure.png.0123abcd.part", ".figure.png.notes.part", ".figure.png.ffffffff.part")
    )
    for leftover in (killed, foreign, fresh):
        leftover.write_text("half")
    for leftover in (killed, foreign):
        os.utime(leftover, (1, 1))
    with written_whole(path) as living:
        living.write_text("first")
        os.utime(living, (1, 1))
        with written_whole(path) as second, written_whole(other) as neighbour:
            second.write_text("second")
            neighbour.write_text("neighbour")
        assert living.exists()
    assert path.read_text() == "first"
    assert {entry.name for entry in tmp_path.iterdir()} == {path.name, other.name, foreign.name, fresh.name}
