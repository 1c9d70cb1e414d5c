"""Output of commands: data on stdout, notes on stderr, valid JSON, tables that fit the terminal."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from smallrun import write_result

from zoo.cli import cli, main
from zoo.cli.context import print_json
from zoo.cli.watch import describe
from zoo.progress import Progress
from zoo.results import store
from zoo.results.cell import Cell
from zoo.run.launcher import Job

TOY = Path(__file__).parents[1] / "toys" / "toyzoo.py"
COMMANDS = sorted(cli.commands)


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
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


def bench(*words, model="toyzoo/tiny", data="toyzoo/stripes"):
    return ("bench", "--model", model, "--data", data, "--device", "cpu", "--budget", "smoke", *words)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(zoo, command):
    out, err = zoo(command, "-h")
    assert out.startswith("Usage: ")
    assert f" {command} " in out.splitlines()[0]
    assert "-h, --help" in out
    assert err == ""
    for name, one in _with_parts(cli.commands[command].load(), command):
        for parameter in one.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{name} {parameter.name} has no help"
                assert parameter.help[0].isupper(), f"{name} {parameter.name}: {parameter.help!r} is not a sentence"


def _with_parts(command, name):
    """Yield a command and the commands inside it, such as those of `zoo data`, with their names."""
    yield name, command
    context = click.Context(command)
    for part in command.list_commands(context) if isinstance(command, click.Group) else ():
        yield f"{name} {part}", command.get_command(context, part)


def test_help_lists_the_commands_and_version_is_printed(zoo):
    out, _ = zoo("--help")
    for command in COMMANDS:
        assert (f"  {command} " in out) != (command == "run-cell")
    assert zoo("--version")[0].startswith("zoo, version ")


@pytest.mark.parametrize(
    "words",
    [
        ("list-models",),
        ("list-models", "toyzoo/*"),
        ("list-datasets",),
        ("list-simulators",),
        ("list-launchers",),
        ("show", "toyzoo/tiny"),
        ("show", "toyzoo/stripes"),
        ("show", "core/local"),
        ("plugins",),
        bench("--dry-run"),
        ("report",),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_json_is_all_that_stdout_holds(zoo, words):
    out, _ = zoo(*words, "--json")
    assert json.loads(out) or words == ("report",)


def test_env_is_json_and_text(zoo):
    content = json.loads(zoo("env", "--json")[0])
    assert content["plugins"]["toyzoo"] == "file ok"
    assert content["libraries"]["numpy"]
    text, _ = zoo("env")
    assert all(f"{key}" in text for key in content)


def test_lists_agree_with_their_json(zoo):
    for kind in ("models", "datasets", "simulators", "launchers"):
        specs = json.loads(zoo(f"list-{kind}", "--json")[0])
        heading, *lines = zoo(f"list-{kind}")[0].splitlines()
        assert heading.startswith("id ")
        assert [line.split()[0] for line in lines] == [spec["id"] for spec in specs]


def test_lists_can_be_filtered(zoo):
    assert zoo("list-models", "toyzoo/t*", "--json")[0].count('"id"') == 1
    ids = [spec["id"] for spec in json.loads(zoo("list-models", "--group", "p4m", "--json")[0])]
    assert "gconv/p4m" in ids
    assert "gconv/p4" not in ids
    assert json.loads(zoo("list-models", "--tag", "baseline", "--json")[0])


def test_lists_fit_a_narrow_terminal(zoo, monkeypatch):
    from zoo.cli import listing

    monkeypatch.setattr(listing, "_terminal_width", lambda: 60)
    out, _ = zoo("list-launchers")
    lines = out.splitlines()
    assert len(lines) > 2
    assert max(map(len, lines)) <= 60
    assert " ".join(" ".join(lines[1:]).split()) == (
        "core/local one cell after the other on this machine, each in a process of its own"
    )


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("command", ["list-models", "list-datasets", "list-simulators", "list-launchers"])
def test_lists_are_complete_at_the_usual_widths(zoo, monkeypatch, command, width):
    from zoo.cli import listing

    monkeypatch.setattr(listing, "_terminal_width", lambda: width)
    lines = zoo(command)[0].splitlines()
    assert max(map(len, lines)) <= width
    rows = [line.split()[0] for line in lines[1:] if line[0] != " " and "/" in line.split()[0]]
    specs = json.loads(zoo(command, "--json")[0])
    assert rows == [spec["id"] for spec in specs]
    text = " ".join(" ".join(lines).split())
    if command == "list-models":
        assert width >= 100 or all(spec["summary"] in text for spec in specs)
        assert "29,391" in text


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize(
    ("words", "key"), [(("weights", "list"), "name"), (("plugins",), "name"), (("show", "deeplense/modelB"), "params")]
)
def test_names_are_whole_at_the_usual_widths(zoo, monkeypatch, words, key, width):
    """A folded name cannot be copied into the next command."""
    from zoo.cli import inspect, listing
    from zoo.cli.terminal import PlainConsole

    monkeypatch.setattr(listing, "_terminal_width", lambda: width)
    monkeypatch.setattr(inspect, "console", lambda: PlainConsole(stderr=False, width=width))
    lines = zoo(*words)[0].splitlines()
    assert max(map(len, lines)) <= width
    content = json.loads(zoo(*words, "--json")[0])
    names = list(content[key]) if isinstance(content, dict) else [row[key] for row in content]
    found = {word for line in lines for word in line.split()}
    assert set(names) <= found
    if words[0] == "show":
        assert content["target"] in found


def test_the_error_of_a_plugin_stands_below_it_on_a_narrow_terminal(zoo, monkeypatch, tmp_path):
    from zoo.cli import listing

    monkeypatch.setattr(listing, "_terminal_width", lambda: 80)
    path = tmp_path / "a_plugin_with_a_long_name.py"
    path.write_text(f"raise RuntimeError({'why it failed ' * 12!r})")
    lines = zoo("--plugin", path, "plugins")[0].splitlines()
    [row] = [place for place, line in enumerate(lines) if line.startswith("a_plugin_with_a_long_name ")]
    assert "broken" in lines[row]
    assert " ".join(" ".join(lines[row + 1 :]).split()).count("why it failed") == 12


def test_a_text_without_enough_room_is_printed_below_its_row():
    from zoo.cli.listing import _aligned

    rows = [["id", "count", "summary"], ["mine/network", "12", "one word and another and a third"]]
    assert _aligned(rows, width=99, right={1}) == [
        "id            count  summary",
        "mine/network     12  one word and another and a third",
    ]
    assert _aligned(rows, width=46, right={1})[1] == (
        "mine/network     12  one word and another and\n                     a third"
    )
    assert _aligned(rows, width=30, right={1})[1] == ("mine/network     12\n    one word and another and a\n    third")


def test_models_are_sorted(zoo):
    def listed(order):
        return json.loads(zoo("list-models", "--sort", order, "--json")[0])

    by_name, by_parameters, by_group = listed("name"), listed("parameters"), listed("group")
    assert [spec["id"] for spec in by_name] == sorted(spec["id"] for spec in by_name)
    counts = [spec["parameters"] for spec in by_parameters]
    known = [count for count in counts if count is not None]
    assert known == sorted(known)
    assert counts[len(known) :] == [None] * (len(counts) - len(known))
    groups = [spec["group"] for spec in by_group]
    assert groups[-1] is None
    assert [group for group in groups if group] == sorted(group for group in groups if group)
    assert len(by_name) == len(by_parameters) == len(by_group)


def test_dry_run_prints_the_plan_and_writes_nothing(zoo, tmp_path):
    out, err = zoo(*bench("--dry-run", "--seeds", "0-1", model="toyzoo/tiny,toyzoo/raises"))
    assert out == ""
    assert "4 cells, 0 of them in results already" in err
    assert [line.split()[0] for line in err.splitlines() if ", seed " in line] == [
        "toyzoo/tiny",
        "toyzoo/tiny",
        "toyzoo/raises",
        "toyzoo/raises",
    ]
    assert "the scores are not meaningful" in err
    assert list(tmp_path.iterdir()) == []


def test_dry_run_json_gives_cells_that_can_be_run(zoo):
    contents = json.loads(zoo(*bench("--dry-run", "--json", "--seeds", "3,1"))[0])
    cells = [Cell.from_json(content) for content in contents]
    assert [cell.seed for cell in cells] == [3, 1]


def test_json_has_no_numbers_that_json_does_not_know(capsys):
    print_json({"error": float("inf"), "rows": [float("nan"), 1.5, (2, -float("inf"))]})
    out = capsys.readouterr().out
    assert json.loads(out, parse_constant=lambda name: pytest.fail(name)) == {
        "error": None,
        "rows": [None, 1.5, [2, None]],
    }


def test_a_failed_cell_is_shown_with_its_cause_whatever_its_letters(zoo, tmp_path):
    """Square brackets in an error are not rich's markup."""
    [content] = json.loads(zoo(*bench("--dry-run", "--json"))[0])
    cell = Cell.from_json(content)
    run_dir = store.prepare_run(tmp_path / "results", cell)
    error = "expected [red] got [/bold] of size [3]"
    result = {"schema": 1, "run_id": cell.run_id, "cell": cell.to_json(), "status": "failed", "error": error}
    write_result(run_dir, result)
    out, _ = zoo("report")
    assert "toyzoo/tiny" in out
    assert "failed" in out
    assert error in out
    assert error in zoo("report", "--md")[0]
    assert json.loads(zoo("report", "--json")[0])[0]["error"] == error


def test_bench_reports_a_failure_on_stderr_and_by_its_exit_code(zoo, tmp_path, monkeypatch):
    """The whole command with a process that does not even start python."""
    monkeypatch.setattr(
        "zoo.run.matrix._job",
        lambda run_dir, **_: Job(
            run_dir=run_dir, command=("sh", "-c", "echo WARNING: made again; echo gone [/bold]; exit 3")
        ),
    )
    out, err = zoo(*bench("--json"), code=1)
    [result] = json.loads(out)
    assert result["status"] == "failed"
    assert "ended without a result" in err
    assert "gone [/bold]" in err
    assert "\ntoyzoo/tiny on toyzoo/stripes: WARNING: made again\n" in err
    out, err = zoo(*bench(), code=1)
    assert "failed" in out
    assert "ended without a result" in out


def test_characters_missing_in_the_terminal_encoding_are_replaced(tmp_path):
    [content] = json.loads(run_quietly(*bench("--dry-run", "--json")))
    cell = Cell.from_json(content)
    run_dir = store.prepare_run(tmp_path / "results", cell)
    result = {"schema": 1, "run_id": cell.run_id, "cell": cell.to_json(), "status": "failed", "error": "é"}
    write_result(run_dir, result)
    shown = run_quietly("report", encoding="ascii")
    assert "toyzoo/stripes ? budget smoke" in shown
    assert "failed" in shown


def run_quietly(*words, encoding="utf-8"):
    """Run zoo with a stdout of its own; return what was written there."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    with contextlib.redirect_stdout(stream), pytest.raises(SystemExit) as exit_request:
        main(list(words))
    assert exit_request.value.code == 0
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)


def test_a_closed_pipe_is_not_a_failure(tmp_path):
    """As `zoo list-models | head -0` does it."""
    for words in (["list-models"], ["list-models", "--json"], ["plugins"]):
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "wb") as closed:
            done = subprocess.run(
                [sys.executable, "-m", "zoo", *words], stdout=closed, stderr=subprocess.PIPE, text=True, check=False
            )
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full disk is simulated by Linux's /dev/full")
@pytest.mark.parametrize("words", [["list-models", "--json"], ["plugins"]])
def test_output_to_a_full_disk_gives_one_message(words):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "zoo", *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "Error: Cannot write the output: No space left on device.\n")


@pytest.mark.skipif(os.name != "posix", reason="closes file descriptors as a shell does")
def test_closed_streams_are_not_a_failure():
    """As `zoo plugins >&- <&-` closes them; cron and daemons do."""
    done = subprocess.run(
        ["/bin/sh", "-c", f"'{sys.executable}' -m zoo plugins >&- <&-"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_python_m_zoo_returns_the_exit_code():
    done = subprocess.run([sys.executable, "-m", "zoo", "bnech"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Error: Command 'bnech' was not found. Did you mean 'bench'?\n")


def test_listing_imports_nothing_heavy():
    code = (
        "import sys\nfrom zoo.cli import main\n"
        "try:\n    main(['list-models'])\nexcept SystemExit as done:\n    assert done.code == 0\n"
        "heavy = {'torch', 'numpy', 'rich', 'matplotlib', 'timm', 'caustics'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("cause", [KeyboardInterrupt, click.Abort])
def test_an_interruption_reports_that_runs_can_be_resumed(zoo, monkeypatch, cause):
    def interrupted(*_, **__):
        raise cause

    monkeypatch.setattr("zoo.plan.bench.make_plan", interrupted)
    out, err = zoo(*bench(), code=130)
    assert out == ""
    assert "Nothing is lost" in err


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (None, "starting"),
        (Progress(phase="simulate train", done=0, total=500, seconds=0.0, rate=0.0), "simulate train 0/500"),
        (
            Progress(phase="simulate val", done=1000, total=3000, seconds=2.0, rate=500.0),
            "simulate val 1,000/3,000, 500 images/s, 4 s left",
        ),
        (
            Progress(phase="train", done=30, total=90, seconds=40.0, rate=0.75, epoch=1, epochs=3),
            "epoch 1/3, 1 min 20 s left",
        ),
        (
            Progress(
                phase="train", done=1, total=4000, seconds=1.0, rate=1.0, epoch=2, epochs=4,
                train_loss=0.98765, val_auc=0.51234,
            ),
            "epoch 2/4, loss 0.988, val AUC 0.5123, 1 h 06 min left",
        ),
        (Progress(phase="score", done=0, total=1, seconds=0.0, rate=0.0), "score"),
    ],
)  # fmt: skip
def test_progress_is_printed_as_text(progress, text):
    assert describe(progress) == text
