"""hf:// addresses through the real client, with a local hub."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from zoo.errors import UsageError
from zoo.results import store
from zoo.weights.hub import Address

pytestmark = pytest.mark.slow  # trainings

TOY = Path(__file__).parents[1] / "toys" / "toyzoo.py"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as an upload and a download need; files lie in `server.folder`.

    Weights are uploaded apart from the commit (LFS), as the hub asks for them.
    """

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def json(self, content: object) -> None:
        self.answer(200, json.dumps(content).encode(), Content_Type="application/json")

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].strip("/")
        if "/resolve/" in path:
            repository, _, rest = path.partition("/resolve/")
            file = self.server.folder / repository / rest.partition("/")[2]
            if not file.is_file():
                known = (self.server.folder / repository).is_dir()
                self.answer(404, X_Error_Code="EntryNotFound" if known else "RepoNotFound")
                return
            content = file.read_bytes()
            self.answer(200, content, ETag=f'"{hashlib.sha1(content).hexdigest()}"', X_Repo_Commit=COMMIT)
        elif path.startswith("api/models/"):
            self.json({"id": path.removeprefix("api/models/"), "sha": COMMIT, "siblings": []})
        else:
            self.answer(200)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.body()
        path = self.path.partition("?")[0].strip("/")
        if self.headers.get("Authorization") != "Bearer hf_secret":
            self.answer(401, b'{"error": "Invalid username or password."}', Content_Type="application/json")
        elif path == "api/repos/create":
            content = json.loads(body)
            name = f"{content.get('organization') or 'me'}/{content['name']}"
            (self.server.folder / name).mkdir(parents=True, exist_ok=True)
            self.json({"url": f"{self.server.address}/{name}", "name": name})
        elif "/preupload/" in path:
            files = json.loads(body)["files"]
            modes = [(each["path"], "lfs" if each["path"].endswith(".safetensors") else "regular") for each in files]
            self.json({"files": [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes]})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            address = f"{self.server.address}/lfs"
            actions = [{**each, "actions": {"upload": {"href": f"{address}/{each['oid']}"}}} for each in objects]
            self.json({"transfer": "basic", "objects": actions})
        elif "/commit/" in path and "full" in path:
            self.answer(507, b'{"error": "No space left."}', Content_Type="application/json")
        elif "/commit/" in path:
            repository = path.removeprefix("api/models/").partition("/commit/")[0]
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "lfsFile":
                    file = self.server.folder / repository / entry["value"]["path"]
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes((self.server.folder / entry["value"]["oid"]).read_bytes())
                if entry["key"] == "file":
                    file = self.server.folder / repository / entry["value"]["path"]
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(base64.b64decode(entry["value"]["content"]))
            url = f"{self.server.address}/{repository}/commit/{COMMIT}"
            self.json({"success": True, "commitOid": COMMIT, "commitUrl": url})
        else:
            self.json({})

    def do_PUT(self) -> None:
        (self.server.folder / self.path.rpartition("/")[2]).write_bytes(self.body())
        self.answer(200)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().strip(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.folder = tmp_path / "hub"
    server.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def run(words, tmp_path, endpoint, **variables):
    """Run zoo in a process of its own: the client reads its variables when it is imported."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "HF_HUB_DISABLE_XET": "1", **variables}
    return subprocess.run(
        [sys.executable, "-m", "zoo", "--plugin", str(TOY), *map(str, words)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


def test_pushed_weights_can_be_loaded(hub, run_dir, tmp_path):
    done = run(["weights", "push", run_dir.name, "hf://me/tiny"], tmp_path, hub.address, HF_TOKEN="hf_secret")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(f"/me/tiny/commit/{COMMIT}")
    there = hub.folder / "me" / "tiny"
    assert (there / store.WEIGHTS).read_bytes() == (run_dir / store.WEIGHTS).read_bytes()
    assert 'zoo.load("hf://me/tiny", host=load_plugins(' in (there / "README.md").read_text()
    assert json.loads((there / store.RESULT).read_text())["run_id"] == run_dir.name

    images = tmp_path / "images.npy"
    np.save(images, np.arange(288, dtype=np.float32).reshape(2, 12, 12))
    first = run(["predict", "hf://me/tiny", images, "--csv"], tmp_path, hub.address)
    assert first.returncode == 0, first.stderr
    assert len(first.stdout.splitlines()) == 3
    # Without the hub, the copy on this machine serves; what was never fetched does not.
    offline = run(["predict", "hf://me/tiny", images, "--csv"], tmp_path, hub.address, HF_HUB_OFFLINE="1")
    assert offline.stdout == first.stdout, offline.stderr
    absent = run(["predict", "hf://me/other", images], tmp_path, "http://127.0.0.1:9")
    assert absent.returncode == 3
    assert "cannot be reached at http://127.0.0.1:9" in absent.stderr
    assert "Traceback" not in absent.stderr


def test_errors_of_the_hub_are_reported(hub, run_dir, tmp_path):
    refused = run(["weights", "push", run_dir.name, "hf://me/tiny"], tmp_path, hub.address, HF_TOKEN="hf_wrong")
    assert refused.returncode == 3
    assert "hf auth login" in refused.stderr
    full = run(["weights", "push", run_dir.name, "hf://me/full"], tmp_path, hub.address, HF_TOKEN="hf_secret")
    assert full.returncode == 3
    assert "Nothing was committed" in full.stderr
    assert "hf auth login" not in full.stderr
    unknown = run(["export", "hf://me/nothing"], tmp_path, hub.address)
    assert unknown.returncode == 2, unknown.stderr
    assert "does not have this repository" in unknown.stderr


def test_addresses_are_parsed():
    assert Address.read("hf://me/tiny") == Address(repository="me/tiny")
    assert Address.read("hf://me/tiny/old/w.safetensors@v1") == Address(
        repository="me/tiny", file="old/w.safetensors", revision="v1"
    )
    for wrong in ("hf://me", "hf://", "hf:/me/tiny", "hf://me/ti ny"):
        with pytest.raises(UsageError, match="not of the form"):
            Address.read(wrong)
