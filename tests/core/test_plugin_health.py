"""Reports on broken plugins by complete commands, and the use of a host in Python."""

from __future__ import annotations

import json
import os
import sys

import pytest

from zoo import api, hookspecs
from zoo.cli import main
from zoo.collected import COLLECTED
from zoo.errors import MissingError, UsageError
from zoo.host import load_plugins
from zoo.specs import ModelSpec, Spec

NETWORK = """
from zoo import ModelSpec, hookimpl

def build(*, in_chans, num_classes, image_size, width):
    from torch import nn

    net = nn.Identity()
    net.given = in_chans, num_classes, image_size, width
    return net

@hookimpl
def zoo_models():
    return [ModelSpec(id="{name}/net", target="{target}", defaults=dict(width=3))]
"""


@pytest.fixture
def plugin_file(tmp_path, monkeypatch):
    """Write a plugin file; what loading it does to this process is undone."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("ZOO_PLUGIN_FILES", "")
    before = set(sys.modules)

    def write(name, *, target=None, folder=".", more=""):
        path = tmp_path / folder / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(NETWORK.format(name=name, target=target or f"{name}:build") + more)
        return path

    yield write
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def zoo(capsys):
    """Run the command line in this process; return stdout."""

    def run(*words, code=0):
        with pytest.raises(SystemExit) as request:
            main(words)
        told = capsys.readouterr()
        assert request.value.code == code, told.err
        return told.out

    return run


def test_a_late_owner_of_a_namespace_does_not_hide_the_first(plugin_file, zoo):
    late = plugin_file("gconv")
    states = json.loads(zoo("--plugin", str(late), "env", "--json"))["plugins"]
    assert states["gconv"].endswith(" ok")
    assert states[f"gconv ({late})"] == "file broken"


def test_target_errors_are_reported_for_the_first_plugin_only(plugin_file, zoo, monkeypatch):
    files = [plugin_file("zoo_lost", target="no_such_module_anywhere:net", folder=folder) for folder in "ab"]
    monkeypatch.setenv("ZOO_PLUGINS", "zoo_lost")
    words = [word for file in files for word in ("--plugin", str(file))]
    rows = json.loads(zoo(*words, "plugins", "--errors", "--json", code=1))
    found = [(row["state"], len(row["target_errors"])) for row in rows if row["name"] == "zoo_lost"]
    assert found == [("ok", 1), ("broken", 0)]


@pytest.mark.parametrize(("name", "content", "code"), [("zoo_sick", "1 / 0", 1), ("zoo_fine", "", 0)])
def test_errors_of_plugins_decide_the_exit_code(name, content, code, tmp_path, zoo, monkeypatch):
    monkeypatch.setenv("ZOO_PLUGINS", name)
    path = tmp_path / f"{name}.py"
    path.write_text(content)
    assert name in zoo("--plugin", str(path), "plugins", "--errors", code=code)
    assert json.loads(zoo("plugins", "--errors", "--json", code=code))
    assert name in zoo("plugins")  # a list of what is installed


def test_the_namespace_of_a_disabled_first_party_plugin_is_reserved(plugin_file):
    path = plugin_file("gconv")
    host = load_plugins(files=[path], environment={"ZOO_DISABLE_PLUGINS": "gconv"})
    assert host.records["gconv"].distribution == "lens-zoo-gconv"
    assert not any(spec.namespace == "gconv" for spec in host.specs_of(ModelSpec))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        # pluggy's first line names the hook only.
        ("@hookimpl\ndef zoo_datasets(config): return []", "Argument(s) {'config'} are declared in the hookimpl"),
        ("raise ValueError('one\\n\\n  two')", "ValueError: one; two"),
        ("raise RuntimeError", "RuntimeError: "),
    ],
)
def test_the_error_is_one_line_with_the_cause(plugin_file, more, said):
    record = load_plugins(files=[plugin_file("zoo_ill", more=more)], environment={}).records["zoo_ill"]
    assert record.state == "broken"
    assert said in record.error
    assert "\n" not in record.error


def test_an_endless_error_is_cut_in_the_table_and_whole_in_the_traceback(plugin_file):
    path = plugin_file("zoo_talks", more="raise ValueError('x' * 5000)")
    record = load_plugins(files=[path], environment={}).records["zoo_talks"]
    assert len(record.error) < 500
    assert "x" * 5000 in record.trace


def test_the_option_reaches_the_processes_of_the_cells(plugin_file, zoo):
    first, second = plugin_file("zoo_first"), plugin_file("zoo_second")
    os.environ["ZOO_PLUGIN_FILES"] = str(first)
    listed = json.loads(zoo("--plugin", str(second), "list-models", "zoo_*/*", "--json"))
    assert [spec["id"] for spec in listed] == ["zoo_first/net", "zoo_second/net"]
    assert os.environ["ZOO_PLUGIN_FILES"] == f"{first}{os.pathsep}{second}"


def test_every_hook_is_called_somewhere():
    """A hook or a kind of spec that is added must be collected too, or nobody would ever see it."""
    hooks = {name for name in vars(hookspecs) if name.startswith("zoo_")}
    assert hooks == {*COLLECTED, *hookspecs.EVENTS, "zoo_resolve_model", "zoo_commands"}
    assert set(COLLECTED.values()) == set(Spec.__subclasses__())


def test_the_python_interface_uses_the_given_host(plugin_file):
    path = plugin_file("zoo_given")
    host = load_plugins(files=[path, plugin_file("zoo_exits", target="zoo_exits_at_import:net")], environment={})
    (path.parent / "zoo_exits_at_import.py").write_text("raise SystemExit(5)")
    assert "zoo_given/net" in api.list_models(host=host)
    assert "zoo_given/net" not in api.list_models()
    built = api.create_model("zoo_given/net", in_chans=2, num_classes=4, image_size=9, host=host)
    assert built.given == (2, 4, 9, 3)
    assert api.create_model("zoo_given/net", host=host, width=5).given == (1, 3, 150, 5)
    with pytest.raises(UsageError, match=r"no hyper-parameter 'widht'.*Did you mean 'width'"):
        api.create_model("zoo_given/net", host=host, widht=5)
    with pytest.raises(MissingError, match=r"zoo_exits/net cannot be loaded from .*: SystemExit: 5"):
        api.create_model("zoo_exits/net", host=host)
