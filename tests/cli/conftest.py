"""A command run in this process, with the toy plugin and a folder of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from predictiontables import OUTSIDER

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


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder with the exports of train and test, and the predictions of the outsider's script."""
    from zoo.host import load_plugins
    from zoo.run.exporting import export_split

    folder = tmp_path_factory.mktemp("outside")
    host = load_plugins(files=[TOY], environment={})
    settings = {"train_images": 300, "val_images": 60, "test_images": 90}
    for split in ("train", "test"):
        export_split(
            host, "stripes", folder / split, split=split, labels=split == "train", budget="smoke", settings=settings
        )
    subprocess.run([sys.executable, "-c", OUTSIDER], cwd=folder, check=True)
    return folder


@pytest.fixture
def outside(exported, tmp_path, surroundings):
    """Copy the predictions into the folder that the test works in."""
    (tmp_path / "predictions.csv").write_bytes((exported / "predictions.csv").read_bytes())
    return exported
