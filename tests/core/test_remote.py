"""Files and folders at addresses: copied once, again where they have changed, and read wherever a path may be given."""

import functools
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import numpy as np
import pytest
from click.testing import CliRunner

from zoo.cli import cli
from zoo.errors import MissingError, UsageError
from zoo.paths import user_path
from zoo.remote import local_copy, readable_path, shown
from zoo.weights.find import find_weights


@pytest.fixture
def storage(tmp_path, monkeypatch):
    """An empty storage in memory, with a cache of its own; `asked` makes each question a new one."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    system = fsspec.filesystem("memory")
    system.store.clear()
    local_copy.cache_clear()
    yield system
    system.store.clear()
    local_copy.cache_clear()


def asked(address):
    local_copy.cache_clear()
    return local_copy(address)


def test_a_file_is_copied_once_and_again_when_it_has_changed(storage, monkeypatch):
    copies = []
    original = type(storage).get_file
    monkeypatch.setattr(
        type(storage), "get_file", lambda self, path, *rest: copies.append(path) or original(self, path, *rest)
    )
    storage.pipe("/bucket/deep/a.npy", b"one")
    path = asked("memory://bucket/deep/a.npy")
    assert (path.name, path.read_bytes()) == ("a.npy", b"one")
    assert asked("memory://bucket/deep/a.npy").read_bytes() == b"one"
    assert len(copies) == 1
    storage.pipe("/bucket/deep/a.npy", b"three")
    assert asked("memory://bucket/deep/a.npy").read_bytes() == b"three"
    assert len(copies) == 2


def test_a_folder_follows_what_is_added_changed_and_removed(storage):
    for name in ("a", "b", "in/c"):
        storage.pipe(f"/bucket/set/{name}.txt", name.encode())
    folder = asked("memory://bucket/set")

    def there():
        return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}

    assert there() == {"a.txt": "a", "b.txt": "b", "in/c.txt": "in/c"}
    storage.rm("/bucket/set/b.txt")
    storage.pipe("/bucket/set/in/c.txt", b"other")
    storage.pipe("/bucket/set/d.txt", b"d")
    assert asked("memory://bucket/set") == folder
    assert there() == {"a.txt": "a", "in/c.txt": "other", "d.txt": "d"}


def test_an_interrupted_copy_goes_on(storage, monkeypatch):
    for name in "abc":
        storage.pipe(f"/bucket/set/{name}", name.encode())
    original = type(storage).get_file

    def breaks(self, path, *rest):
        if path.endswith("c"):
            raise KeyboardInterrupt
        original(self, path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(type(storage), "get_file", breaks)
        with pytest.raises(KeyboardInterrupt):
            asked("memory://bucket/set")
    assert sorted(path.name for path in asked("memory://bucket/set").iterdir()) == ["a", "b", "c"]


def test_without_a_connection_an_earlier_copy_serves(storage, monkeypatch, caplog):
    storage.pipe("/bucket/a", b"one")
    kept = asked("memory://bucket/a")
    monkeypatch.setattr(type(storage), "info", lambda self, path: (_ for _ in ()).throw(OSError("no route")))
    assert asked("memory://bucket/a") == kept
    assert f"no route); the copy in {kept} is used" in caplog.text
    with pytest.raises(MissingError, match="memory://bucket/b cannot be read: OSError: no route"):
        asked("memory://bucket/b")


def test_a_copy_that_was_not_completed_does_not_serve(storage, monkeypatch):
    for number in range(150):
        storage.pipe(f"/bucket/set/{number}", b"x")
    original = type(storage).get_file

    def breaks(self, path, *rest):
        if path.endswith("/99"):
            raise OSError("cut")
        original(self, path, *rest)

    monkeypatch.setattr(type(storage), "get_file", breaks)
    with pytest.raises(MissingError, match="memory://bucket/set cannot be read: OSError: cut"):
        asked("memory://bucket/set")
    with pytest.raises(MissingError, match="cut"):
        asked("memory://bucket/set")


def test_addresses_that_hold_each_other_do_not_share_a_copy(storage):
    for name in ("a", "in/b"):
        storage.pipe(f"/bucket/set/{name}", name.encode())
    inner, outer = asked("memory://bucket/set/in"), asked("memory://bucket/set")
    assert (inner / "b").read_text() == (outer / "in" / "b").read_text() == "in/b"
    assert not outer.is_relative_to(inner)
    assert not inner.is_relative_to(outer)


def test_a_file_may_become_a_folder_and_a_folder_a_file(storage):
    storage.pipe("/bucket/x", b"file")
    assert asked("memory://bucket/x").read_bytes() == b"file"
    storage.rm("/bucket/x")
    storage.pipe("/bucket/x/y", b"inside")
    assert (asked("memory://bucket/x") / "y").read_bytes() == b"inside"
    storage.rm("/bucket/x", recursive=True)
    storage.pipe("/bucket/x", b"again")
    assert asked("memory://bucket/x").read_bytes() == b"again"


def test_a_damaged_list_is_made_again(storage):
    storage.pipe("/bucket/x", b"file")
    (asked("memory://bucket/x").parent / "copied.json").write_text("{")
    assert asked("memory://bucket/x").read_bytes() == b"file"


@pytest.mark.slow
def test_files_of_a_web_server(storage, tmp_path):
    """A server that states no key of a file's content, whose folders are pages, and that goes away."""
    pytest.importorskip("aiohttp")
    site = tmp_path / "site"
    (site / "folder").mkdir(parents=True)
    (site / "a.npy").write_bytes(b"one")
    handler = functools.partial(Quiet, directory=str(site))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    path = asked(f"{address}/a.npy?token={'t' * 300}")
    assert (path.name, path.read_bytes()) == ("a.npy", b"one")
    (site / "a.npy").write_bytes(b"three")
    assert asked(f"{address}/a.npy?token={'t' * 300}").read_bytes() == b"three"
    with pytest.raises(UsageError, match="folders of a web server cannot be read"):
        asked(f"{address}/folder")
    with pytest.raises(UsageError, match="Nothing was found"):
        asked(f"{address}/absent.npy")
    server.shutdown()
    server.server_close()
    assert asked(f"{address}/a.npy?token={'t' * 300}").read_bytes() == b"three"
    with pytest.raises(MissingError, match="cannot be read"):
        asked(f"{address}/never.npy")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        ("memory://bucket/nothing", UsageError, "Nothing was found at memory://bucket/nothing"),
        ("memory://", UsageError, "not an address of the form"),
        ("memory://bucket/../other", UsageError, "not an address of the form"),
        ("nosuch://bucket/a", UsageError, "'nosuch' is not a protocol"),
    ],
)
def test_what_cannot_be_read_is_named(storage, address, error, words):
    with pytest.raises(error, match=words):
        asked(address)


def test_a_path_stays_a_path_and_an_address_is_none(tmp_path):
    assert readable_path(tmp_path) == tmp_path
    assert readable_path("~").is_absolute()
    with pytest.raises(UsageError, match="s3://bucket/store is an address, and a path is needed here"):
        user_path("s3://bucket/store")


def test_a_copy_is_named_by_its_address_without_secrets(storage, tmp_path):
    storage.pipe("/bucket/set/in/a.npy", b"one")
    folder = asked("memory://bucket/set/")
    assert shown(folder) == "memory://bucket/set"
    assert shown(folder / "in" / "a.npy") == "memory://bucket/set/in/a.npy"
    signed = "name:secret@bucket/set/in/a.npy?key=secret"
    storage.pipe(f"/{signed}", b"one")
    assert shown(asked(f"memory://{signed}")) == "memory://bucket/set/in/a.npy"
    other = folder.parent.with_name("unknown") / "a.npy"
    assert [shown(other), shown(tmp_path / "a.npy")] == [str(other), str(tmp_path / "a.npy")]


def test_weights_and_images_are_read_at_addresses(storage, host, run_dir, tmp_path):
    for file in run_dir.iterdir():
        storage.pipe(f"/bucket/runs/{run_dir.name}/{file.name}", file.read_bytes())
    local_copy.cache_clear()
    address = f"memory://bucket/runs/{run_dir.name}"
    found = find_weights(host, address, store=tmp_path)
    assert found.read_bytes() == (run_dir / "weights.safetensors").read_bytes()
    np.save(tmp_path / "images.npy", np.arange(288, dtype=np.float32).reshape(2, 12, 12))
    storage.pipe("/bucket/cutouts/images.npy", (tmp_path / "images.npy").read_bytes())
    words = ["predict", address, "memory://bucket/cutouts", "memory://bucket/absent.npy", "--json"]
    done = CliRunner().invoke(cli, words, obj=host)
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert [one["image"] for one in told if "class" in one] == [
        f"memory://bucket/cutouts/images.npy[{n}]" for n in (0, 1)
    ]
    assert "Nothing was found at memory://bucket/absent.npy" in done.stdout + done.stderr
    refused = CliRunner().invoke(cli, ["report", "--store", "memory://bucket/runs"], obj=host)
    assert refused.exit_code != 0
    assert "is an address" in str(refused.exception or refused.output)
