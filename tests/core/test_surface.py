"""The stable surface: public modules can be imported, targets have types, API versions are compared both ways."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest

import zoo
from zoo import hookspecs, targets
from zoo.api import PUBLIC_MODULES
from zoo.host import load_plugins
from zoo.specs import ChannelSpec, DatasetSpec, LauncherSpec, MetricSpec, SimulatorSpec

GUIDE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PUBLIC_MODULES)
def test_a_public_module_exists_and_its_names_are_documented(name):
    module = importlib.import_module(name)
    assert module.__doc__
    for public in getattr(module, "__all__", []):
        assert hasattr(module, public)


def test_type_checkers_read_the_annotations():
    assert (Path(zoo.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize(
    ("kind", "protocol"),
    [
        (DatasetSpec, targets.BuildsData),
        (SimulatorSpec, targets.Renders),
        (ChannelSpec, targets.ComputesChannel),
        (LauncherSpec, targets.StartsLauncher),
        (MetricSpec, targets.ScoresPredictions),
    ],
)
def test_the_type_of_a_target_has_the_arguments_of_the_guide(kind, protocol):
    [row] = [line for line in GUIDE.splitlines() if line.startswith(f"| `{kind.__name__}` | `")]
    contract = row.split("`")[3]
    words = contract[contract.index("(") + 1 : contract.rindex(")")].replace("*, ", "").replace("*", "").split(", ")
    names = [name for name in inspect.signature(protocol.__call__).parameters if name not in ("self", "args")]
    assert [word for word in words if word and word != "arguments"] == [name for name in names if name != "arguments"]


def error_of(tmp_path, name, text):
    (tmp_path / f"{name}.py").write_text(text)
    record = load_plugins(files=[tmp_path / f"{name}.py"], environment={"ZOO_PLUGINS": name}).records[name]
    return record.error


def test_api_versions_are_compared_both_ways(tmp_path, monkeypatch):
    monkeypatch.setattr(hookspecs, "API_VERSION", 5)
    monkeypatch.setattr(hookspecs, "OLDEST_API_VERSION", 3)
    assert error_of(tmp_path, "api_of_now", "ZOO_API_VERSION = 5") == ""
    assert error_of(tmp_path, "api_of_old", "ZOO_API_VERSION = 3") == ""
    assert "pip install -U lens-zoo" in error_of(tmp_path, "api_too_new", "ZOO_API_VERSION = 6")
    too_old = error_of(tmp_path, "api_too_old", "ZOO_API_VERSION = 2")
    assert "this zoo offers 3 to 5" in too_old
    assert "pip install -U" in too_old
    assert "must be a whole number" in error_of(tmp_path, "api_text", "ZOO_API_VERSION = '5'")
