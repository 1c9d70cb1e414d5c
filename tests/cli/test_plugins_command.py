"""`zoo plugins`: what plugins bring, names that they share, second installations; enabled and disabled for good."""

from __future__ import annotations

import inspect
import json
import logging
import sys

import pytest

from zoo.cli import listing
from zoo.cli import plugins as command
from zoo.disabled import change_disabled, disabled_file, disabled_plugins
from zoo.errors import DataError
from zoo.host import load_plugins

SOURCE = """
from zoo import ModelSpec, hookimpl
ZOO_API_VERSION = 1

@hookimpl
def zoo_models():
    return [ModelSpec(id=f"{__name__}/{name}", target="json:dumps") for name in ("p4m", "C4", "own")]

@hookimpl
def zoo_resolve_model(name): ...

@hookimpl
def zoo_epoch_ended(epoch): ...

@hookimpl
def zoo_commands():
    import click
    return [click.Command("bench"), click.Command("tune"), click.Command("newone"), click.Command("x", hidden=True)]
"""


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """An environment of the test's own, in which nothing is disabled."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
    return tmp_path


@pytest.fixture
def sharer(environment, monkeypatch):
    """A plugin that shares names with others."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = environment / "sharer_plugin.py"
    path.write_text(SOURCE)
    yield path
    sys.modules.pop("sharer_plugin", None)


@pytest.mark.slow
def test_what_plugins_bring_and_share_is_listed(sharer, zoo, monkeypatch):
    rows = {row["name"]: row for row in json.loads(zoo("--plugin", str(sharer), "plugins", "--json")[0])}
    row = rows["sharer_plugin"]
    assert row["api_version"] == 1
    assert row["brings"] == ["3 models", "models by name", "1 event", "commands bench, tune, newone"]
    assert row["notes"] == [
        "without a namespace those of gconv are meant: p4m",
        "write sharer_plugin/NAME, since e2cnn, escnn has this name, too: C4",
        "the command bench is that of zoo",
        "the command tune is that of optuna",
    ]
    assert rows["gconv"]["notes"] == []  # its p4m is the one that is meant
    assert sum(len(row["notes"]) for name, row in rows.items() if name not in ("sharer_plugin", "e2cnn", "escnn")) == 0
    monkeypatch.setattr(listing, "_terminal_width", lambda: 80)
    lines = zoo("plugins")[0].splitlines()
    assert max(len(line) for line in lines if str(sharer) not in line) <= 80
    assert lines[0].split()[:5] == ["plugin", "version", "state", "API", "ms"]


def test_slow_imports_and_second_installations_are_named(environment, lay_twice, monkeypatch):
    monkeypatch.setattr(command, "SLOW_MS", -1.0)
    host = inspect.unwrap(load_plugins)(environment={"ZOO_PLUGINS": "twice"})  # not one that tests share
    slow, second = command._notes_on(host.records["twice"])
    assert slow.startswith("every command waits 0.")
    assert second == f"installed a second time, version 1.0 in {lay_twice}"


@pytest.fixture
def lay_twice(tmp_path, monkeypatch):
    """Two versions of a distribution in two folders of the path; return the folder that does not count."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for version in ("1.0", "2.0"):
        info = tmp_path / version / f"twice_nets-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: twice-nets\nVersion: {version}\n")
        (info / "entry_points.txt").write_text("[zoo.plugins]\ntwice = json\n")
        sys.path.insert(0, str(tmp_path / version))
    return tmp_path / "1.0"


@pytest.mark.slow
def test_a_plugin_stays_disabled_until_it_is_enabled(environment, zoo, monkeypatch):
    def state(name):
        return {row["name"]: row for row in json.loads(zoo("plugins", "--json")[0])}[name]

    out, _ = zoo("disable", "TIMM", "optuna")
    assert "To undo this: zoo enable timm" in out
    assert (state("timm")["state"], state("timm")["notes"]) == ("disabled", ["to enable it: zoo enable timm"])
    _, err = zoo("show", "timm/resnet18", code=3)
    assert "Try: zoo enable timm" in err
    monkeypatch.setenv("ZOO_PLUGINS", "timm,core")
    assert state("timm")["state"] == "ok"  # what a variable names is meant
    monkeypatch.delenv("ZOO_PLUGINS")
    zoo("enable", "timm")
    assert (state("timm")["state"], state("optuna")["state"]) == ("ok", "disabled")
    for word in ("enable", "disable"):
        assert "No plugin 'optun' is installed. Did you mean 'optuna'" in zoo(word, "optun", code=2)[1]
    assert disabled_plugins() == {"optuna"}


def test_a_file_that_is_named_is_loaded_although_its_name_is_disabled(sharer):
    change_disabled(add=["sharer_plugin"])
    assert load_plugins(files=[sharer], environment={}).records["sharer_plugin"].state == "ok"


def test_damaged_and_unwritable_files_of_the_environment(environment, caplog, monkeypatch):
    disabled_file().parent.mkdir(parents=True)
    for damage in ("", "{", '"timm"', "{}", "3"):
        disabled_file().write_text(damage)
        assert disabled_plugins() == frozenset()
    with caplog.at_level(logging.WARNING):
        disabled_file().write_text("[")
        assert disabled_plugins() == frozenset()
    assert "cannot be read, so it disables no plugin" in caplog.text
    change_disabled(add=["timm"])
    assert disabled_plugins() == {"timm"}
    monkeypatch.setattr(sys, "prefix", "/dev/null")
    with pytest.raises(DataError, match="export ZOO_DISABLE_PLUGINS"):
        change_disabled(add=["timm"])
