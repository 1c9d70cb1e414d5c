"""Every argument and option that names something the shell can list is completed, in every command."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from zoo.cli import cli

ROOT = Path(__file__).parents[2]
NAMES = {
    "model", "models", "data", "dataset", "name", "simulator", "compare", "launcher", "budget", "run", "weights",
    "target", "study", "show",
}  # fmt: skip
"""Parameters that name a model, data set, simulator, launcher, budget, run, weights or study."""


def _commands(group: click.Group = cli, path: tuple[str, ...] = ()):
    with click.Context(group, info_name="zoo") as ctx:
        for name in group.list_commands(ctx):
            command = group.get_command(ctx, name)
            if isinstance(command, click.Group):
                yield from _commands(command, (*path, name))
            else:
                yield " ".join((*path, name)), command


PARAMETERS = [
    pytest.param(parameter, id=f"{name} {parameter.opts[0]}")
    for name, command in _commands()
    for parameter in command.params
    if parameter.name in NAMES and not getattr(parameter, "is_flag", False)
]


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_what_names_something_is_completed(parameter):
    assert parameter._custom_shell_complete is not None


def test_the_commands_of_this_repository_are_all_looked_at():
    found = {parameter.id.rpartition(" ")[0] for parameter in PARAMETERS}
    assert found >= {
        "bench", "show", "verify", "rerun", "predict", "evaluate", "simulate", "tune", "data show", "data probe",
        "card", "weights push", "export", "equivariance",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "incomplete", "expected"),
    [
        ("show", "gconv/p4m_res", "gconv/p4m_resnet18"),
        ("show", "caus", "caustics"),
        ("evaluate", "p4m.m", "p4m.modelA"),
        ("predict", "gconv/p4m.m", "gconv/p4m.modelB"),
        ("predict", "0123", "0123456789abcdef"),
        ("export", "no-such", "no-such"),
        ("verify", "0123", "0123456789abcdef"),
        ("evaluate p4m.modelA --data", "modelA", "modelA"),
        ("data show", "modelA", "modelA"),
        ("data show", "images/", "images/"),
        ("data probe modelA --budget", "lap", "laptop"),
        ("simulate modelA --compare", "len", "lenstronomy"),
        ("equivariance", "p4m_res", "p4m_resnet18"),
        ("bench --from-study", "fir", "first"),
        ("tune --show", "fir", "first"),
    ],
)
def test_names_of_each_kind_are_offered(line, incomplete, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "results" / "modelA" / "p4m" / "0123456789abcdef"
    run.mkdir(parents=True)
    (run / "cell.json").write_text("{}")
    (tmp_path / "results" / "studies" / "first").mkdir(parents=True)
    completion = ShellComplete(cli, {}, "zoo", "_ZOO_COMPLETE")
    assert expected in [item.value for item in completion.get_completions(line.split(), incomplete)]
