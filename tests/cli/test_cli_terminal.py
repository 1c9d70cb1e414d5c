"""Texts of plugins, files and stores reach the terminal, CSV and pages as texts: nothing in them is obeyed."""

from __future__ import annotations

import csv
import io
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cellhere import run_cells_here
from click.shell_completion import get_completion_class
from rich.console import Console
from rich.table import Table

from zoo.budgets import BUDGETS
from zoo.cli import cli, main
from zoo.cli.terminal import PlainColumn, PlainConsole, styled

ROOT = Path(__file__).parents[2]
FILE = ROOT / "tests" / "toys" / "hostile.py"
hostile = runpy.run_path(str(FILE))
SETTINGS = {"train_images": 90, "val_images": 60, "test_images": 90, "epochs": 1, "batch_size": 30, "augment": "none"}
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
SOURCES = [*ROOT.glob("zoo/**/*.py"), *ROOT.glob("plugins/*/zoo_*/**/*.py")]


@pytest.fixture
def plain(monkeypatch):
    """Return what a console prints, on a terminal or not."""

    def printed(*objects, terminal=False):
        out = io.StringIO()
        console = PlainConsole(stderr=False, width=200)
        console.file = out
        if terminal:
            console._force_terminal, console._color_system = True, Console(color_system="standard")._color_system
        console.print(*objects)
        return out.getvalue()

    return printed


def table_of(text):
    table = Table(text, title=text, caption=text)
    table.add_row(text)
    return table


@pytest.mark.parametrize("wrap", [str, table_of, lambda text: styled(text, "bold")], ids=["line", "table", "styled"])
def test_texts_are_printed_as_they_are(plain, wrap):
    for text in ("a[/red]b", "[bold]b[/bold]", "[nothing]", ":dog:", "\\[x]", "[link=file:///etc]y[/link]"):
        assert text in plain(wrap(text))
    shown = plain(wrap("a\x1b[31mb\u202ec\x9bd\re"))
    assert r"a\x1b[31mb\u202ec\x9bd\x0de" in shown
    assert not OBEYED.search(shown)


def test_styles_of_zoo_itself_are_kept_on_a_terminal(plain):
    assert "\x1b[31mfailed\x1b[0m" in plain(styled("failed", "red"), terminal=True)


def test_a_task_beside_a_bar_is_printed_as_it_is(plain):
    from rich.progress import Progress

    progress = Progress(PlainColumn("{task.description}"), PlainColumn("{task.fields[name]}", style="bold"))
    progress.add_task("a[/red]\x1b[2J", name="b[/red]\x1b[2J")
    shown = plain(progress.make_tasks_table(progress.tasks))
    assert r"a[/red]\x1b[2J b[/red]\x1b[2J" in shown


def test_everything_is_printed_through_the_functions_that_write_out_controls():
    """`echo` and `console` of zoo/cli/context.py; another way to print would bring the escape sequences back."""
    ways = re.compile(r"click\.s?echo|from_markup|rich\.markup|markup=True|\bprint_exception\(|[^.\w_]Console\(")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in SOURCES
        for line in path.read_text(encoding="utf-8").splitlines()
        if ways.search(line) and not line.startswith("class PlainConsole")
    ]
    allowed = [line for line in found if line.startswith("zoo/cli/context.py: click.echo(")]
    assert found == allowed
    assert len(allowed) == 2


@pytest.fixture
def zoo(tmp_path, monkeypatch, capsys):
    """Run zoo with the hostile plugin in an empty folder; return stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ZOO_PLUGIN_FILES", str(FILE))
    for name in ("ZOO_PLUGINS", "ZOO_DISABLE_PLUGINS", "ZOO_PARENT_PID"):
        monkeypatch.delenv(name, raising=False)

    def run(*words, code=0):
        with pytest.raises(SystemExit) as exit_request:
            main([str(word) for word in words])
        told = capsys.readouterr()
        assert exit_request.value.code == code, told.err
        for text in told:
            assert not OBEYED.search(text), words
        return told.out, told.err

    return run


@pytest.mark.parametrize(
    "words",
    [
        ("list-models",),
        ("list-datasets",),
        ("list-simulators",),
        ("list-launchers",),
        ("show", "hostile/tiny"),
        ("show", "hostile/stripes"),
        ("show", "hostile/lens"),
        ("plugins", "--errors"),
    ],
    ids=" ".join,
)
def test_texts_of_a_plugin_are_shown_and_not_obeyed(zoo, words):
    out, err = zoo(*words, code=1 if words[0] == "plugins" else 0)  # its targets cannot be imported
    shown = "".join((out + err).split())  # a table folds long texts
    expected = "AttributeError" if words[0] == "plugins" else hostile["MARKUP"]
    assert expected in shown
    assert "Traceback" not in err


def test_errors_quote_names_and_do_not_obey_them(zoo):
    name = f"nosuch{hostile['ESCAPES']}{hostile['MARKUP']}"
    for words in (("show", name), ("predict", name, "x.npy"), (name,), ("bench", f"--{name}"), ("list-models", name)):
        _, err = zoo(*words, code=2)
        assert "nosuch" in err
    assert r"\x1b[2J" in zoo("--help")[0]  # the help of the plugin's command


def test_the_log_of_a_broken_plugin_is_not_obeyed(zoo, tmp_path):
    path = tmp_path / "sick.py"
    path.write_text("raise RuntimeError('[/red]\\x1b[2J')")
    out, _ = zoo("--plugin", path, "plugins", "--errors", code=1)
    assert r"RuntimeError: [/red]\x1b[2J" in out


@pytest.mark.slow
def test_the_traceback_of_a_command_is_not_obeyed(tmp_path):
    path = tmp_path / "sick.py"
    path.write_text(
        "import click\nfrom zoo import hookimpl\n"
        "@hookimpl\ndef zoo_commands():\n    return [click.Command('sick', callback=fail)]\n"
        "def fail():\n    raise RuntimeError('[/red]\\x1b[2J')\n"
    )
    command = [sys.executable, "-m", "zoo", "--plugin", str(path), "sick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("RuntimeError: [/red]\\x1b[2J\n")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_shows_summaries_on_one_line(shell, monkeypatch):
    monkeypatch.setenv("ZOO_PLUGIN_FILES", str(FILE))
    script = get_completion_class(shell)(cli, {}, "zoo", "_ZOO_COMPLETE")
    items = script.get_completions(["bench", "--model"], "hostile/")
    assert [item.value for item in items] == ["hostile/broken", "hostile/tiny"]
    for item in items:
        assert hostile["MARKUP"] in item.help
        assert not OBEYED.search(script.format_completion(item))


def test_completion_shows_what_each_budget_is():
    script = get_completion_class("fish")(cli, {}, "zoo", "_ZOO_COMPLETE")
    items = script.get_completions(["bench", "--budget"], "")
    assert [item.value for item in items] == list(BUDGETS)
    assert all(item.help for item in items)


@pytest.mark.slow  # two trainings
def test_hostile_texts_from_bench_to_page(zoo, tmp_path, monkeypatch):
    run_cells_here(monkeypatch)
    pairs = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
    words = ("bench", "--model", "hostile/*", "--data", "hostile/stripes", "--budget", "smoke", "--device", "cpu")
    _, err = zoo(*words, *pairs, "--dry-run")
    assert hostile["MARKUP"] in err
    out, err = zoo(*words, *pairs, code=1)
    assert re.search(
        r"hostile/tiny on hostile/stripes: kept epoch 1 of 1, val AUC 0\.\d{4}; macro AUC 0\.\d{4} in ", err
    )
    assert hostile["MARKUP"] in out + err

    assert r"RuntimeError: =cmd()" in zoo("report")[0]
    zoo("report", "--html", "page.html", "--figures", "figures", "--json")
    assert "\\|" in zoo("report", "--md")[0]
    [run_dir] = [path.parent for path in (tmp_path / "results").glob("*/*/*/weights.safetensors")]
    name = f"{hostile['FORMULA'].replace('/', '')}{hostile['MARKUP'].replace('/', '')}{hostile['ESCAPES']}.npy"
    np.save(tmp_path / name, np.eye(12, dtype=np.float32)[None])
    (tmp_path / "=broken\x1b[2J.npy").write_bytes(b"nothing")
    weights = run_dir.name
    out, err = zoo("predict", weights, name, "=broken\x1b[2J.npy", code=1)
    assert r"\x1b[2J" in out
    assert "left out: =broken" in err
    zoo("predict", weights, name, "--json")
    for text in (zoo("report", "--csv")[0], zoo("predict", weights, name, "=broken\x1b[2J.npy", "--csv", code=1)[0]):
        rows = list(csv.reader(io.StringIO(text)))
        assert len({len(row) for row in rows}) == 1
        cells = [cell for row in rows for cell in row]
        assert not [cell for cell in cells if cell.startswith(tuple("=+@")) or re.match(r"-[^\d]", cell)]
        assert any(cell.startswith("'=") for cell in cells)
    zoo("evaluate", weights)
    zoo("weights", "list")
    zoo("verify")
    card, _ = zoo("card", weights, "--licence", hostile["TEXT"])
    assert r'license: "=cmd()' in card
