"""The page about trackers is executed: its example receives the events of a run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from zoo.host import load_plugins

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tracking.md").read_text(encoding="utf-8")
[(NAME, SOURCE)] = re.findall(r"^`(\w+\.py)`:\n\n```python\n(.*?)^```", PAGE, flags=re.M | re.S)
CELL = {"run_id": "0123", "model": "a/b", "recipe": {"dataset": "c/d"}, "seed": 3, "training": {"lr": 1e-3}}


@pytest.fixture
def server():
    """Return an address and the list of what is posted there."""
    heard = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/runs", heard
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")  # a process imports a file of this name once
def host(tmp_path_factory):
    file = tmp_path_factory.mktemp("plugin") / NAME
    file.write_text(SOURCE)
    host = load_plugins(files=[file], environment={"ZOO_PLUGINS": "core,mytracker"})
    assert host.records["mytracker"].state == "ok", host.records["mytracker"].trace
    return host


def tell_a_run(host, run_dir):
    host.emit("zoo_run_started", cell=CELL, run_dir=run_dir)
    metrics = {"train_loss": 0.5, "val_auc": 0.75, "lr": 1e-4, "seconds": 2.0}
    host.emit("zoo_epoch_ended", cell=CELL, run_dir=run_dir, epoch=1, metrics=metrics)
    result = {"status": "ok", "test": {"auc": {"macro": 0.9}}, "seconds": 7.0}
    host.emit("zoo_run_finished", cell=CELL, run_dir=run_dir, result=result)
    host.emit("zoo_run_finished", cell=CELL, run_dir=run_dir, result={"status": "oom", "error": "no room"})


def test_the_example_reports_a_run(host, server, tmp_path, monkeypatch, caplog):
    address, heard = server
    monkeypatch.setenv("MYTRACKER_URL", address)
    tell_a_run(host, tmp_path)
    assert caplog.text == ""
    assert [entry["event"] for entry in heard] == ["started", "epoch", "finished", "oom"]
    assert {(entry["run"], entry["model"], entry["data"]) for entry in heard} == {("0123", "a/b", "c/d")}
    assert heard[1] | {"epoch": 1, "train_loss": 0.5, "val_auc": 0.75, "lr": 1e-4} == heard[1]
    assert heard[2]["scores"] == {"macro": 0.9}
    assert heard[3]["error"] == "no room"


def test_the_example_reports_runs_of_other_tasks_than_classification(host, server, tmp_path, monkeypatch, caplog):
    address, heard = server
    monkeypatch.setenv("MYTRACKER_URL", address)
    host.emit("zoo_epoch_ended", cell=CELL, run_dir=tmp_path, epoch=1, metrics={"train_loss": 0.5, "val_loss": 0.6})
    result = {
        "status": "ok",
        "test": {"order": ["crps_skill"], "measures": {"crps_skill": {"value": 0.3}}},
        "seconds": 7.0,
    }
    host.emit("zoo_run_finished", cell=CELL, run_dir=tmp_path, result=result)
    assert caplog.text == ""
    assert [entry.get("val_loss") or entry["scores"] for entry in heard] == [0.6, {"crps_skill": 0.3}]


def test_an_unreachable_tracker_does_not_stop_the_run(host, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MYTRACKER_URL", "http://127.0.0.1:9/closed")
    tell_a_run(host, tmp_path)
    assert caplog.text.count("plugin mytracker failed in") == 4
    monkeypatch.delenv("MYTRACKER_URL")
    caplog.clear()
    tell_a_run(host, tmp_path)
    assert caplog.text == ""


def test_the_file_is_short_and_light(tmp_path):
    assert len(SOURCE.splitlines()) <= 39
    (tmp_path / NAME).write_text(SOURCE)
    code = "import sys, mytracker; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_links_have_existing_targets():
    for target in re.findall(r"\]\(([^)#]+)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
