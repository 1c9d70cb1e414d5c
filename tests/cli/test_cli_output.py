"""Output of commands: data on stdout, notes on stderr, valid JSON, tables that fit the terminal."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from smallrun import write_result

from zoo.cli import main
from zoo.cli.context import print_json
from zoo.cli.watch import describe
from zoo.progress import Progress
from zoo.results import store
from zoo.results.cell import Cell
from zoo.run.launcher import Job

pytestmark = pytest.mark.usefixtures("surroundings")


def bench(*words, model="toyzoo/tiny", data="toyzoo/stripes"):
    return ("bench", "--model", model, "--data", data, "--device", "cpu", "--budget", "smoke", *words)


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
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_json_is_all_that_stdout_holds(zoo, words):
    out, _ = zoo(*words, "--json")
    assert json.loads(out)


def test_an_empty_store_has_no_results_in_json_and_one_that_is_missing_is_an_error(zoo, tmp_path):
    (tmp_path / "empty").mkdir()
    assert json.loads(zoo("report", "--json", "--store", str(tmp_path / "empty"))[0]) == []
    (tmp_path / "file").touch()
    for name in ("missing", "file"):
        assert "No results were found" in zoo("report", "--json", "--store", str(tmp_path / name), code=2)[1]


def test_env_is_json_and_text(zoo):
    content = json.loads(zoo("env", "--json")[0])
    assert content["plugins"]["toyzoo"] == "file ok"
    assert content["libraries"]["numpy"]
    text, _ = zoo("env")
    assert all(f"{key}" in text for key in content)


def test_dry_run_prints_the_plan_and_writes_nothing(zoo, tmp_path):
    out, err = zoo(*bench("--dry-run", "--seeds", "0-1", model="toyzoo/tiny,toyzoo/raises"))
    assert out == ""
    assert "4 cells, 0 of them in results already" in err
    assert [line.split()[1] for line in err.splitlines() if ", seed " in line] == [
        "toyzoo/tiny",
        "toyzoo/tiny",
        "toyzoo/raises",
        "toyzoo/raises",
    ]
    assert "the scores are not meaningful" in err
    assert list(tmp_path.iterdir()) == []


def test_a_plan_states_the_settings_that_are_not_the_usual_ones(zoo, tmp_path):
    words = ["bench", "--model", "p4m,z2", "--data", "modelB", "--budget", "smoke", "--no-baselines", "--dry-run"]
    words += ["--store", str(tmp_path)]
    assert "gconv/p4m with" not in zoo(*words)[1]
    given = ("new_noise=true", "p4m.lr=0.003", "p4m.widths=[6,6,6,6,6,6]")
    told = zoo(*words, *(word for text in given for word in ("--set", text)))[1]
    assert "  gconv/p4m with widths=[6, 6, 6, 6, 6, 6], lr=0.003, new_noise=True\n" in told
    assert "  gconv/z2 with new_noise=True\n" in told


def test_a_long_plan_names_the_command_that_lists_its_cells(zoo):
    _, err = zoo(*bench("--dry-run", "--seeds", "0-24"))
    assert "each cell with its run id: --dry-run --json" in err
    assert ", seed 3" not in err


def test_a_note_on_the_plan_is_printed_once_for_models_and_baselines(zoo):
    words = bench("--dry-run", "--task", "regress:vortex_length", model="p4m", data="modelA")
    assert len(json.loads(zoo(*words, "--json")[0])) > 1
    assert zoo(*words)[1].count("are left out of all splits") == 1


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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert "Interrupted. Everything finished is kept" in err


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGUSR1"])
@pytest.mark.parametrize(
    ("words", "place"),
    [
        (bench(), "zoo.plan.bench.make_plan"),
        (("simulate", "modelB", "-n", 1), "zoo.data.folder.fill_folder"),
        (("show", "toyzoo/tiny"), "zoo.registry.find"),
    ],
)
def test_a_command_that_a_signal_stops_has_the_exit_code_of_the_signal(zoo, monkeypatch, words, place, name):
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_DFL)  # it may be ignored, as by nohup
    monkeypatch.setattr(place, lambda *_, **__: signal.raise_signal(number))
    try:
        out, err = zoo(*words, code=128 + number)
    finally:
        signal.signal(number, before)
    assert out == ""
    assert f"Stopped by {name}. Everything finished is kept" in err


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
        (
            Progress(phase="train", done=90, total=90, seconds=40.0, rate=0.75, epoch=3, epochs=3),
            "epoch 3/3, validating",
        ),
        (Progress(phase="score", done=0, total=1, seconds=0.0, rate=0.0), "score"),
    ],
)  # fmt: skip
def test_progress_is_printed_as_text(progress, text):
    assert describe(progress) == text
