"""Plugins and the command line: files given by --plugin, commands of plugins, and faults in both."""

from __future__ import annotations

import json
import sys

import pytest

COMMANDS = """
from zoo import MetricSpec, hookimpl

@hookimpl
def zoo_metrics():
    return [MetricSpec(id="{name}/metric", target="json:dumps", summary="a metric")]

@hookimpl
def zoo_commands():
    import click

    @click.command()
    def hello():
        "Say hello."
        click.echo("hello from {name}")

    @click.command("env")
    def impostor():
        click.echo("not the real one")

    return [hello, impostor]
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Write a plugin file and return its path."""
    monkeypatch.chdir(tmp_path)
    # Set, then removed: what the command line puts there is taken back after the test.
    for name in ("ZOO_PLUGINS", "ZOO_DISABLE_PLUGINS", "ZOO_PLUGIN_FILES"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)

    def write(name, code=COMMANDS):
        path = tmp_path / f"{name}.py"
        path.write_text(code.replace("{name}", name))
        return str(path)

    path, modules = list(sys.path), set(sys.modules)
    yield write
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_a_file_adds_a_command_but_replaces_none(plugin, zoo):
    path = plugin("filecommands")
    assert zoo("--plugin", path, "hello") == ("hello from filecommands\n", "")
    help_text, _ = zoo("--plugin", path, "--help")
    assert "Say hello." in help_text
    assert help_text.count("\n  env ") == 1
    assert "not the real one" not in zoo("--plugin", path, "env", "--json")[0]


def test_a_command_of_a_file_is_unknown_without_the_file(plugin, zoo):
    plugin("filecommands")
    _, err = zoo("helo", code=2)
    assert "Command 'helo' was not found" in err
    _, err = zoo("--plugin", "filecommands.py", "helo", code=2)
    assert "Did you mean 'hello'" in err


def test_a_missing_plugin_file_is_reported(zoo, plugin):
    out, err = zoo("--plugin", "nothing.py", "list-models", code=2)
    assert out == ""
    assert "nothing.py: file not found" in err


def test_a_broken_file_gives_a_note(plugin, zoo):
    file = plugin("sickfile", "1 / 0")
    out, err = zoo("--plugin", file, "list-models")
    assert "gconv/p4m" in out
    assert f"broken plugin sickfile; see: zoo --plugin {file} plugins --errors" in err
    out, _ = zoo("plugins", "--json")  # the variable is still set: this is the same process
    _, err = zoo("nosuch", code=2)
    assert "broken plugin sickfile" in err  # the command may have been its own
    [row] = [row for row in json.loads(out) if row["name"] == "sickfile"]
    assert row["error"] == "ZeroDivisionError: division by zero"
    assert "1 / 0" in row["trace"]


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["raise SystemExit(5)", "return 3", "return ['hello']", "import nothing_like_it"])
def test_unavailable_commands_are_reported_and_left_out(plugin, zoo, caplog, fault):
    bad = plugin("badcommands", f"from zoo import hookimpl\n@hookimpl\ndef zoo_commands():\n    {fault}\n")
    good = plugin("goodcommands")
    assert zoo("--plugin", bad, "--plugin", good, "hello")[0] == "hello from goodcommands\n"
    assert "plugin badcommands: zoo_commands: " in caplog.text
    assert caplog.text.count("plugin badcommands") == 1  # although a command is looked up more than once
    _, err = zoo("nosuch", code=2)
    assert "Command 'nosuch' was not found" in err


LOUD = """
from zoo import DatasetSpec, ModelSpec, hookimpl

print("loud at import")

@hookimpl
def zoo_models():
    return [ModelSpec(id="{name}/net", target="{name}_target:build")]

@hookimpl
def zoo_resolve_model(name):
    print("loud in a hook")
    return ModelSpec(id=name.lower(), target="{name}_target:build")

@hookimpl
def zoo_datasets():
    return [DatasetSpec(id="{name}/sky", target="{name}_target:Sky", classes=("a", "b"), simulated=True)]

@hookimpl
def zoo_commands():
    print("loud in a hook")
    return []
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("bench", "--model", "loud/*,loud/other", "--data", "loud/sky", "--device", "cpu", "--dry-run", "--json"),
        ("plugins", "--errors", "--json"),
        ("show", "loud/other", "--json"),
    ],
    ids=lambda words: words[0],
)
def test_output_of_plugins_is_not_part_of_the_data(plugin, zoo, words):
    path = plugin("loud", LOUD)
    plugin(
        "loud_target",
        "print('loud target')\n"
        "def build(**_): ...\n"
        "import toysky\n"
        "class Sky(toysky.Discs):\n    def sample(self, indices, seed):\n        print('loud sample')\n"
        "        return super().sample(indices, seed)\n",
    )
    out, err = zoo("--plugin", path, *words)
    assert json.loads(out)
    assert "loud" in err
    assert "loud at import" in zoo("--plugin", path, "list-models", "--json")[1]


def test_fixed_arguments_are_shown_apart_from_what_can_be_set(zoo):
    out, _ = zoo("show", "gconv/p4m")
    rows = [line.split() for line in out.splitlines() if line.strip()]
    sections = {" ".join(row): place for place, row in enumerate(rows)}
    assert sections["fixed arguments"] < sections["model p4m"] < sections["defaults"]
    assert sections["defaults"] < next(place for place, row in enumerate(rows) if row[0] == "widths")
    _, err = zoo("bench", "--model", "gconv/p4m", "--data", "modelA", "--set", "model.model=p4", code=2)
    assert "model.model" in err


def test_metrics_can_be_shown(plugin, zoo):
    out, _ = zoo("--plugin", plugin("filemetrics"), "show", "filemetrics/metric", "--json")
    assert json.loads(out)["kind"] == "metric"


BUNDLING = """
from zoo import ModelSpec, hookimpl

@hookimpl
def zoo_models():
    return [ModelSpec(id="{name}/net", target="{name}:net", weights={"modelA": "a.safetensors"})]
"""


def test_bundled_weights_without_a_card_are_named(plugin, zoo):
    path = plugin("bundling", BUNDLING)
    _, err = zoo("--plugin", path, "card", "net.modelA", code=2)
    assert "The weights 'net.modelA' came without a card." in err
    _, err = zoo("--plugin", path, "show", "bundling/net.modelA", code=2)
    assert "'bundling/net.modelA' names weights.\nSee: zoo weights list" in err


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ZOO_PLUGINS", "", "'unfit/residual': its plugin is broken: ValueError: no"),
        ("ZOO_DISABLE_PLUGINS", "baselines", "'baselines/residual': the plugin baselines is disabled."),
    ],
)
def test_what_an_absent_plugin_offers_is_not_called_a_model(plugin, zoo, monkeypatch, variable, value, said):
    path = plugin("unfit", "raise ValueError('no')")
    if value:
        monkeypatch.setenv(variable, value)
    _, err = zoo("--plugin", path, "show", said.split("'")[1], code=3)
    assert f"Error: {said}" in err


def test_the_nearest_name_is_suggested_when_few_plugins_are_loaded(plugin, zoo, monkeypatch):
    monkeypatch.setenv("ZOO_PLUGINS", "gconv")
    _, err = zoo("show", "p4n", code=2)
    assert "Unknown model 'p4n'. Did you mean" in err
    monkeypatch.setenv("ZOO_PLUGINS", "gcnov")
    _, err = zoo("list-models", code=2)
    assert "ZOO_PLUGINS names 'gcnov', which is not installed. Did you mean 'gconv'" in err


def test_a_disabled_launcher_is_reported(plugin, zoo, monkeypatch):
    monkeypatch.setenv("ZOO_DISABLE_PLUGINS", "core")
    _, err = zoo("bench", "--model", "p4m", "--data", "modelA", "--device", "cpu", code=3)
    assert "the plugin core is disabled" in err
