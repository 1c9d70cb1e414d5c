"""A command run in this process, with the toy plugin and a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.cli import main

TOY = Path(__file__).parents[1] / "toys" / "toyzoo.py"


@pytest.fixture
def surroundings(tmp_path, monkeypatch):
    """An empty folder to work in, a cache of its own and the toy plugin."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ZOO_PLUGIN_FILES", str(TOY))
    for name in ("ZOO_PLUGINS", "ZOO_DISABLE_PLUGINS", "ZOO_PARENT_PID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def zoo(capsys):
    """Run zoo; return stdout and stderr."""

    def run(*words, code=0):
        with pytest.raises(SystemExit) as exit_request:
            main([str(word) for word in words])
        told = capsys.readouterr()
        assert exit_request.value.code == code, told.err
        return told.out, told.err

    return run
