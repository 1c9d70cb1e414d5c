"""`zoo install` and `zoo uninstall`: the right installer, the right environment, and a report of what came."""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from zoo.cli import install
from zoo.errors import MissingError
from zoo.packages import first_party

PIP = [sys.executable, "-m", "pip"]
UV = ["/opt/uv", "pip"]


@pytest.fixture
def installers(monkeypatch, tmp_path):
    """Choose which installers are there, and whether uv made the environment."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    found = importlib.util.find_spec

    def choose(*, pip, uv, made_by_uv=False, named=False):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: found(name) if name != "pip" or pip else None)
        monkeypatch.setattr(shutil, "which", lambda name: "/opt/uv" if uv else None)
        monkeypatch.delenv("UV", raising=False)
        if named:
            monkeypatch.setenv("UV", "/opt/uv")
        (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\n" + ("uv = 0.9\n" if made_by_uv else ""))

    return choose


@pytest.mark.parametrize(
    ("there", "begins"),
    [
        ({"pip": True, "uv": False}, PIP),
        ({"pip": True, "uv": True}, PIP),
        ({"pip": True, "uv": True, "made_by_uv": True}, UV),
        ({"pip": True, "uv": False, "made_by_uv": True}, PIP),
        ({"pip": False, "uv": True}, UV),
        ({"pip": False, "uv": False, "named": True}, UV),  # uv run names its program
    ],
)
def test_the_installer_of_the_environment_is_used(installers, there, begins):
    installers(**there)
    words = install.installer("install")
    assert words == [*begins, "install", *(["--python", sys.executable] if begins is UV else [])]


def test_without_an_installer_the_next_step_is_named(installers):
    installers(pip=False, uv=False)
    with pytest.raises(MissingError, match=r"Neither pip nor uv .*\n.*-m ensurepip"):
        install.installer("install")


@pytest.fixture
def ran(monkeypatch):
    """Commands that would have run, with their variables; the plugins that are found afterwards."""
    calls: list[tuple[list[str], dict[str, str] | None]] = []
    calls_and_rows = SimpleNamespace(calls=calls, rows=[], code=0)

    def run(words, *, env=None, check, stdout=None):
        if words[1:4] == ["-m", "zoo", "plugins"]:
            return subprocess.CompletedProcess(words, 0, stdout=json.dumps(calls_and_rows.rows))
        calls.append((list(words), env))
        return subprocess.CompletedProcess(words, calls_and_rows.code)

    monkeypatch.setattr(install.subprocess, "run", run)
    monkeypatch.setattr(install, "installer", lambda verb: [*PIP, verb])
    return calls_and_rows


def test_names_become_requirements(ran, zoo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert "is no project of a plugin" in zoo("install", "./mine", code=2)[1]
    (tmp_path / "mine" / "pyproject.toml").touch()
    looked_up = []
    monkeypatch.setattr(install, "_is_installed", lambda name: looked_up.append(name) or True)
    for words, expected in (
        (["gconv", "other-nets>=2"], [first_party()["gconv"], "other-nets>=2"]),
        (["gconv==0.1.0", "Gconv >=1,<2"], [first_party()["gconv"] + end for end in ("==0.1.0", " >=1,<2")]),
        (["other[all]==2", "git+https://a.org/b"], ["other[all]==2", "git+https://a.org/b"]),
        (["./mine", "-U"], ["--upgrade", str(tmp_path / "mine")]),
        (["mine", "-e"], ["-e", str(tmp_path / "mine")]),
    ):
        zoo("install", *words)
        assert ran.calls.pop()[0] == [*PIP, "install", *expected]
    assert set(looked_up) == {first_party()["gconv"], "other-nets", "other"}  # without versions and extras
    assert "needs a folder" in zoo("install", "-e", "nothing", code=2)[1]
    for absent in ("./nothing", "nothing/mine", "./mine.whl"):
        assert f"{(tmp_path / absent).absolute()} does not exist." in zoo("install", absent, code=2)[1]
    for wrong in ("--target=/other", "gconv; rm x", "gconv==nope", "gconv=1"):
        assert "not the name of a plugin" in zoo("install", "--", wrong, code=2)[1]
    assert not ran.calls


def test_a_folder_is_not_taken_for_a_package_of_the_index(ran, zoo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "readme").mkdir()
    (tmp_path / "readme" / "pyproject.toml").touch()
    _, err = zoo("install", "readme", code=2)
    assert "zoo install ./readme" in err
    assert not ran.calls


def test_the_command_is_described_and_runs_without_variables_that_lead_elsewhere(ran, zoo, monkeypatch):
    for name in ("PIP_TARGET", "PIP_PREFIX", "PIP_USER", "UV_SYSTEM_PYTHON", "UV_PYTHON"):
        monkeypatch.setenv(name, "/elsewhere")
    monkeypatch.setenv("PIP_INDEX_URL", "https://mine.example")
    line = f"Install new-nets into {sys.prefix}:\n  {sys.executable} -m pip install new-nets\n"
    assert zoo("install", "new-nets", "--dry-run") == ("", line)
    assert not ran.calls
    monkeypatch.setattr(install, "_is_installed", lambda name: True)
    ran.rows = [
        {
            "name": "new",
            "distribution": "new-nets",
            "version": "1.0",
            "state": "broken",
            "error": "no",
            "brings": [],
            "notes": [],
        }
    ]
    out, err = zoo("install", "new-nets")
    assert out == "new (new-nets 1.0) is broken: no\n"
    assert err.startswith(line)
    [(_, variables)] = ran.calls
    assert variables["PIP_INDEX_URL"] == "https://mine.example"
    assert "/elsewhere" not in variables.values()


def test_failures_of_the_installer_are_reported(ran, zoo, monkeypatch):
    assert "is not in" in zoo("install", "new-nets", code=1)[1]  # pip says that all is well
    ran.code = 2
    assert "failed with exit status 2.\n" in zoo("install", "new-nets", code=1)[1]
    assert "failed with exit status 2.\nDid you mean 'gconv'?" in zoo("install", "gcnov", code=1)[1]
    ran.calls.clear()
    monkeypatch.setattr(install.os, "access", lambda place, mode: False)
    for verb in ("install", "uninstall"):
        assert "site-packages is not writable" in zoo(verb, "timm", *["--yes"][: verb == "uninstall"], code=1)[1]
    assert not ran.calls


def test_a_plugin_that_was_installed_again_is_listed(ran, zoo, monkeypatch):
    row = {"name": "timm", "distribution": "lens-zoo-timm", "version": "1", "state": "ok", "error": ""}
    ran.rows = [row | {"brings": ["a model"], "notes": []}]
    assert "none was changed" in zoo("install", "lens-zoo-timm")[1]
    times = iter(range(10_000))
    monkeypatch.setattr(install, "_installation", lambda name: ("1", next(times)))
    assert zoo("install", "lens-zoo-timm")[0] == "timm (lens-zoo-timm 1) is ok: a model\n"


def test_plugins_of_this_environment_only_are_uninstalled(ran, zoo, monkeypatch, tmp_path):
    _, err = zoo("uninstall", "e2cnn", "lens-zoo-timm", "--dry-run")
    assert "with 3 plugins: e2cnn, escnn, timm" in err
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert zoo("uninstall", "optuna", code=2)[1].endswith("Without a question: --yes\n")  # no answer
    assert not ran.calls
    monkeypatch.setattr(install, "_is_installed", lambda name: False)
    zoo("uninstall", "e2cnn", "escnn", "--yes")
    assert ran.calls.pop()[0] == [*PIP, "uninstall", "-y", "lens-zoo-steerable"]
    monkeypatch.setattr(install, "_is_installed", lambda name: True)
    assert "lens-zoo-timm is still there" in zoo("uninstall", "timm", "-y", code=1)[1]
    ran.calls.clear()
    assert "No plugin 'torch' is installed" in zoo("uninstall", "torch", code=2)[1]
    assert "a part of zoo itself" in zoo("uninstall", "core", code=2)[1]
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert f"not in the environment {Path(tmp_path)}" in zoo("uninstall", "timm", code=2)[1]
    assert not ran.calls
