"""One definition of a request: options, suite keys and Python parameters; lazy commands, log level, completion."""

from __future__ import annotations

import inspect
import logging
import os
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import click
import pytest
from click.shell_completion import ShellComplete

import zoo
from zoo.benching import Options
from zoo.cli import LEVEL_VARIABLE, cli, main
from zoo.cli.bench import bench as bench_command
from zoo.cli.lazy import LazyCommand
from zoo.cli.run_cell import run_cell
from zoo.errors import UsageError
from zoo.plan.request import Request, is_place
from zoo.plan.study import SHARED
from zoo.plan.suite_file import KEYS
from zoo.run.launch import Launch
from zoo.run.where import Where

TOY = Path(__file__).parents[1] / "toys" / "toyzoo.py"
REQUEST = {one.name for one in fields(Request)}
WHERE = {one.name for one in fields(Where)} - {"plugins"}
LAUNCH = {one.name for one in fields(Launch)}


def test_every_field_is_an_option_a_key_and_a_parameter():
    options = {parameter.name for parameter in bench_command.params}
    assert options >= REQUEST | WHERE | LAUNCH
    assert set(KEYS) == {one.name for one in fields(Request) if not is_place(one)} | {"title", "expected"}
    assert set(SHARED) <= set(KEYS)
    parameters = set(inspect.signature(zoo.bench).parameters)
    assert {{"model": "models"}.get(name, name) for name in parameters} >= REQUEST | WHERE | LAUNCH
    assert set(get_type_hints(Options)) == REQUEST | WHERE | LAUNCH
    assert {parameter.name for parameter in run_cell.params} >= WHERE
    assert "launcher" in parameters & options


def test_defaults_of_options_are_those_of_the_fields():
    context = bench_command.make_context(
        "bench", ["--model", "a", "--data", "b"], resilient_parsing=True, **cli.context_settings
    )
    for kind in (Where, Request, Launch):
        for one in fields(kind):
            if one.name in context.params and one.name not in ("models", "data", "settings", "seeds"):
                assert context.params[one.name] == one.default, one.name


@pytest.mark.parametrize(
    "where",
    [
        Where(),
        Where(device="cpu", images=Path("/a b"), force=True, devices=3, num_nodes=2),
        Where(device="cuda", num_nodes=2),
    ],
)
def test_where_goes_through_argv_and_the_command(where):
    params = run_cell.make_context("run-cell", ["cell.json", *where.to_argv()], **cli.context_settings).params
    assert Where(**{name: params[name] for name in WHERE}) == where


@pytest.mark.parametrize("name", list(cli.commands))
def test_short_helps_are_those_of_the_commands(name):
    lazy = cli.commands[name]
    assert isinstance(lazy, LazyCommand)
    command = lazy.load()
    assert (lazy.name, lazy.hidden) == (command.name, command.hidden)
    assert lazy.get_short_help_str(1000) == command.get_short_help_str(1000)


@pytest.fixture
def level(monkeypatch):
    monkeypatch.setenv(LEVEL_VARIABLE, "")
    before = logging.getLogger().level
    yield lambda: (logging.getLevelName(logging.getLogger().level), os.environ[LEVEL_VARIABLE])
    logging.getLogger().setLevel(before)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ("WARNING", "")),
        (["-v"], ("INFO", "INFO")),
        (["-vv"], ("DEBUG", "DEBUG")),
        (["-q"], ("ERROR", "ERROR")),
        (["--log-level", "info"], ("INFO", "INFO")),
    ],
)
def test_the_log_level_is_set_and_passed_on(words, expected, level):
    with pytest.raises(SystemExit):
        main([*words, "list-launchers"])
    assert level() == expected


def test_a_process_takes_the_level_of_the_one_that_started_it(level, monkeypatch):
    monkeypatch.setenv(LEVEL_VARIABLE, "DEBUG")
    with pytest.raises(SystemExit):
        main(["list-launchers"])
    assert level()[0] == "DEBUG"


def complete(*words):
    completion = ShellComplete(cli, {}, "zoo", "_ZOO_COMPLETE")
    return [item.value for item in completion.get_completions(list(words[:-1]), words[-1])]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("ben",), "bench"),
        (("bench", "--budget", "lap"), "laptop"),
        (("bench", "--model", "tin"), "tiny"),
        (("bench", "--model", "p4m,toyzoo/ti"), "p4m,toyzoo/tiny"),
        (("bench", "--data", "modelB"), "modelB"),
        (("bench", "--simulator", "caust"), "caustics/caustics"),
        (("bench", "--launcher", "core"), "core/local"),
        (("bench", "--device", "cu"), "cuda"),
        (("rerun", "abc"), "abcdef"),
        (("verify", "abc"), "abcdef"),
        (("predict", "abc"), "abcdef"),
        (("predict", "p4m.model"), "p4m.modelA"),
        (("show", "timm/resnet1"), "timm/resnet18"),
        (("show", "model"), "modelA"),
        (("show", "abc"), "abcdef"),
        (("list-models", "--group", "p4"), "p4m"),
        (("list-datasets", "--tag", "l"), "lens"),
        (("list-models", "timm/resnet1"), "timm/resnet18"),
        (("list-datasets", "mod"), "modelA"),
        (("list-simulators", "caust"), "caustics/caustics"),
        (("list-launchers", "lo"), "local"),
        (("simulate", "modelB"), "modelB"),
        (("simulate", "modelB", "--split", "t"), "test"),
        (("evaluate", "p4m.modelA", "--data", "modelB"), "modelB"),
        (("data", "probe", "modelB"), "modelB"),
        (("tune", "--model", "tin"), "tiny"),
        (("equivariance", "tin"), "tiny"),
        (("bench", "--from-study", "fir"), "first"),
        (("tune", "--show", "fir"), "first"),
    ],
)
def test_the_shell_completes_names(words, expected, monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_PLUGIN_FILES", str(TOY))
    monkeypatch.chdir(tmp_path)
    run_dir = tmp_path / "results" / "data" / "model" / "abcdef"
    run_dir.mkdir(parents=True)
    (run_dir / "cell.json").write_text("{}")
    (tmp_path / "results" / "studies" / "first").mkdir(parents=True)
    assert expected in complete(*words)


def parameters(group, ctx, words=()):
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if isinstance(command, click.Group):
            yield from parameters(command, ctx, (*words, name))
        elif not command.hidden:
            yield from ((" ".join((*words, name)), parameter) for parameter in command.params)


NAMED = {
    "model", "models", "data", "dataset", "simulator", "compare", "budget", "launcher", "run", "target", "weights",
    "device", "precision", "rule", "split", "match", "average", "store", "name", "study", "pattern",
}  # fmt: skip

UNKNOWN = ("new-plugin", "list-metrics")
"""Commands with names that no plugin of this repository has."""


def test_every_parameter_that_takes_a_known_name_is_completed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results" / "studies" / "first").mkdir(parents=True)
    context = click.Context(cli, **cli.context_settings, info_name="zoo")
    known = [(words, one) for words, one in parameters(cli, context) if one.name in NAMED and words not in UNKNOWN]
    assert len(known) > 40
    for words, one in known:
        assert one.shell_complete(context, ""), (words, one.name)


def test_a_suite_runs_from_python(monkeypatch, tmp_path):
    from zoo.host import load_plugins

    suite = tmp_path / "suite.toml"
    suite.write_text('models = ["tiny"]\ndata = ["stripes"]\nbudget = "smoke"\nseeds = [0, 1]\n')
    asked = {}

    def run(host, cells, **options):
        asked.update(options, cells=cells)
        return [f"result of seed {cell.seed}" for cell in cells]

    monkeypatch.setattr("zoo.run.matrix.run_matrix", run)
    host = load_plugins(files=[TOY], environment={})
    found = zoo.bench_suite(suite, device="cpu", seeds=[3], settings={"lr": 0.5}, store=tmp_path, host=host)
    [cell] = asked["cells"]
    assert (cell.seed, cell.training["lr"], cell.budget) == (3, 0.5, "smoke")
    assert asked["where"] == Where(device="cpu")
    assert (found, asked["store"]) == (["result of seed 3"], tmp_path)
    with pytest.raises(UsageError, match="Did you mean 'seeds'"):
        zoo.bench_suite(suite, sedes=[3], host=host)
    assert isinstance(cli, click.Group)
