"""Studies from the first trial to the benchmark of the best: killed, shared and pruned, without the test split."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cellhere import run_trials_here
from click.testing import CliRunner
from optuna.trial import TrialState
from zoo_optuna import search
from zoo_optuna.definition import read_definition, trial_cell
from zoo_optuna.journal import open_study
from zoo_optuna.search import find_study, run_study
from zoo_optuna.show import StudyWatcher, _next_command
from zoo_optuna.space import values_of
from zoo_optuna.summary import draw, summarise
from zoo_optuna.trials import run_trials

from zoo.cli import cli
from zoo.data.open import Dataset
from zoo.data.recipe import SPLITS
from zoo.errors import DataError, UsageError
from zoo.plan.study import read_best
from zoo.results import store as result_store
from zoo.results.cell import Cell, Search
from zoo.run.cell import run_cell

pytestmark = pytest.mark.slow  # searches


def trials_of(definition, folder):
    return open_study(folder, definition).get_trials(deepcopy=False)


def test_the_test_split_is_never_opened_or_simulated(start, host, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    opened = []
    original = Dataset.split

    def split(self, name):
        opened.append(name)
        if name == "test":
            raise AssertionError("the test split was opened")
        return original(self, name)

    monkeypatch.setattr(Dataset, "split", split)
    definition, folder = start(data="toysky/discs", data__image_size=8)
    run_trials(host, folder, trials=2, device="cpu")
    assert opened == ["train", "val"] * 2
    assert [trial.state for trial in trials_of(definition, folder)] == [TrialState.COMPLETE] * 2
    shards = {path.parent.name for path in (tmp_path / "cache").rglob("*.safetensors")}
    assert shards == {"train", "val"}


def test_a_trial_is_the_training_of_a_benchmark_and_the_best_is_benchmarked_afresh(start, host, tmp_path, monkeypatch):
    definition, folder = start()
    run_trials(host, folder, trials=3, device="cpu")
    trials = trials_of(definition, folder)
    # The first trial has the model's own settings; all that is random differs from trial to trial.
    assert values_of(trials[0].params, definition.space) == {"lr": 0.01, "widths": [4], "blind": False}
    cells = [trial_cell(definition, trial.number, values_of(trial.params, definition.space)) for trial in trials]
    assert len({cell.seed for cell in cells}) == 3

    best = max(trials, key=lambda trial: trial.value)
    cell = cells[best.number]
    result = run_cell(host, cell, result_store.prepare_run(tmp_path / "check", cell), device="cpu")
    assert result.val.auc == best.value
    assert result.val.epoch == best.user_attrs["epoch"]
    assert result.cost.parameters == best.user_attrs["parameters"]

    # What zoo bench reads needs no optuna.
    monkeypatch.setitem(sys.modules, "optuna", None)
    found = read_best(tmp_path / "store", "s")
    assert (found.trial, found.val_auc, found.request.models) == (best.number, best.value, ["tunetoy/eye"])
    assert found.trials == 3
    arguments = [
        "bench",
        "--from-study",
        "s",
        "--store",
        str(tmp_path / "store"),
        "--dry-run",
        "--json",
        "--seeds",
        "0,1",
    ]
    told = CliRunner().invoke(cli, arguments, obj=host)
    planned = [Cell.from_json(content) for content in json.loads(told.stdout)]
    assert [each.seed for each in planned] == [0, 1]
    for each in planned:
        assert (each.hparams, each.training, each.recipe, each.sizes, each.budget) == (
            cell.hparams, cell.training, cell.recipe, cell.sizes, cell.budget,
        )  # fmt: skip
    result = run_cell(host, planned[0], result_store.prepare_run(tmp_path / "store", planned[0]), device="cpu")
    assert result.status == "ok"
    assert result.test.images == 90
    assert result.cell.search == Search(study="s", trials=3)

    # The command line has the last word, under either name of a hyper-parameter.
    changed = CliRunner().invoke(cli, [*arguments, "--data", "toyzoo/two", "--set", "model.widths=[3]"], obj=host)
    other = Cell.from_json(json.loads(changed.stdout)[0])
    assert (other.data, other.hparams["widths"], other.training["lr"]) == ("toyzoo/two", [3], cell.training["lr"])
    # What it found was replaced, so the row does not state its trials; the same value, or other data, is no change.
    assert other.search is None
    assert "the search of s is not recorded with these runs, since widths differs" in changed.stderr
    # Nor does it where a setting has another spelling, or is one that the study left at its default.
    for words, names in (
        (["--set", "eye.widths=[3]"], "widths differs"),
        (["--set", "tunetoy/*.lr=0.003"], "lr differs"),
        (["--set", "augment=rotate", "--set", "epochs=1"], "augment, epochs differ"),
        (["--rule", "last"], "rule differs"),
    ):
        by_hand = CliRunner().invoke(cli, [*arguments, *words], obj=host)
        assert f"the search of s is not recorded with these runs, since {names} from what" in by_hand.stderr, words
        assert Cell.from_json(json.loads(by_hand.stdout)[0]).search is None
    same = ["--data", "toyzoo/two", "--set", f"lr={cell.training['lr']}"]
    same = CliRunner().invoke(cli, [*arguments, *same], obj=host)
    assert Cell.from_json(json.loads(same.stdout)[0]).search == Search(study="s", trials=3)
    refused = CliRunner().invoke(cli, [*arguments, "--model", "tunetoy/plain"], obj=host)
    assert isinstance(refused.exception, UsageError)
    assert "The study s searched settings of" in str(refused.exception)


def test_a_killed_study_resumes_to_the_same_result(start, host, start_worker):
    whole, whole_folder = start(store="whole")
    run_trials(host, whole_folder, trials=4, device="cpu")
    expected = [(trial.params, trial.intermediate_values, trial.value) for trial in trials_of(whole, whole_folder)]

    cut, folder = start(store="cut", pause=0.02)
    worker = start_worker(folder, 4)
    deadline = time.monotonic() + 60
    while True:
        trials = trials_of(cut, folder)
        if len(trials) > 1 and trials[1].intermediate_values:
            break
        assert time.monotonic() < deadline
        assert worker.poll() is None
        time.sleep(0.01)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    [left] = [trial for trial in trials_of(cut, folder) if trial.state == TrialState.RUNNING]
    assert left.number == 1
    assert (folder / "0001" / "checkpoint.safetensors").exists()

    run_trials(host, folder, trials=4, device="cpu")
    trials = trials_of(cut, folder)
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert [(trial.params, trial.intermediate_values, trial.value) for trial in trials] == expected
    assert not list(folder.glob("0*"))

    # The same command once more has nothing to do; a larger total goes on.
    run_trials(host, folder, trials=4, device="cpu")
    assert len(trials_of(cut, folder)) == 4
    run_trials(host, folder, trials=5, device="cpu")
    assert len(trials_of(cut, folder)) == 5


def test_two_workers_share_a_study_and_run_each_trial_once(start, start_worker, tmp_path):
    notes = tmp_path / "notes"
    definition, folder = start(pause=0.02, notes=str(notes), prune_after=100)
    workers = [start_worker(folder, 4) for _ in range(2)]
    for worker in workers:
        assert worker.wait(60) == 0
    trials = trials_of(definition, folder)
    assert [trial.number for trial in trials] == list(range(4))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    built = notes.read_text().split()
    # The network, and the one that the check before training loads its weights into.
    assert len(built) == 2 * 4
    assert set(built) == {str(worker.pid) for worker in workers}


def test_trials_are_stopped_by_the_median_rule(start, host):
    definition, folder = start(searched=["blind", "lr"], prune_after=2)
    run_trials(host, folder, trials=12, device="cpu")
    trials = trials_of(definition, folder)
    ended = []
    for trial in trials:
        aucs = [trial.intermediate_values[epoch] for epoch in sorted(trial.intermediate_values)]
        # After epoch 1 of 3 the learning rate has risen; after epoch 3 there is nothing left to save.
        stopped = next(
            (
                epoch
                for epoch in (1, 2)
                if len(ended) >= 2
                and epoch <= len(aucs)
                and max(aucs[:epoch]) < np.median([other.intermediate_values[epoch] for other in ended])
            ),
            None,
        )
        assert (trial.state == TrialState.PRUNED) == (stopped is not None)
        assert len(aucs) == (stopped or 3)
        if stopped is None:
            ended.append(trial)
    blind = [trial for trial in trials if values_of(trial.params, definition.space)["blind"]]
    assert any(trial.state == TrialState.PRUNED and trial.last_step == 1 for trial in blind)
    assert not values_of(open_study(folder, definition).best_trial.params, definition.space)["blind"]


def test_a_trial_fails_after_its_process_dies_twice(start, host, capsys):
    definition, folder = start(searched=["lr"], deadly=True)
    with StudyWatcher() as watcher:
        run_study(host, definition, folder, trials=1, watch=watcher.watch)
    [trial] = trials_of(definition, folder)
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["deaths"] == 2
    assert "trial 0: failed: its process died 2 times, last with status -9" in capsys.readouterr().err
    summary = summarise(*find_study(folder.parents[1], "s")[::-2])
    assert summary.best is None
    assert draw(summary, folder) == []


def test_images_that_were_simulated_are_read_by_the_workers(host, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    run_trials_here(monkeypatch)  # `test_zoo_tune_searches_a_real_network` starts a worker
    folder, store = tmp_path / "images", tmp_path / "store"
    files = [record.distribution for record in host.records.values() if record.version == "file"]
    plugin = [word for file in files for word in ("--plugin", file)]
    data = ["--simulator", "painter", "--set", "data.image_size=8", "--device", "cpu"]
    for split in ("train", "val", "test"):
        words = ["simulate", "toysky/discs", "-n", "60", "--split", split, "--out", str(folder), *data]
        assert CliRunner().invoke(cli, [*plugin, *words]).exit_code == 0
    words = [
        "tune", "--model", "tunetoy/eye", "--data", "toysky/discs", "--study", "s", "--trials", "1",
        "--budget", "smoke", *data, *(word for split in SPLITS for word in ("--set", f"{split}_images=60")),
        "--images", str(folder), "--store", str(store), "--json",
    ]  # fmt: skip
    done = CliRunner().invoke(cli, [*plugin, *words], catch_exceptions=False)
    assert [trial["state"] for trial in json.loads(done.stdout)["trials"]] == ["ended"]
    assert not (tmp_path / "cache" / "datasets").exists()


def test_a_failure_costs_one_trial(start, host):
    # An exploding loss or an impossible combination is the trial's fault, and not the study's.
    definition, folder = start(model="toyzoo/explodes", searched=["lr"], after=3)
    run_trials(host, folder, trials=2, device="cpu")
    trials = trials_of(definition, folder)
    assert [trial.state for trial in trials] == [TrialState.FAIL] * 2
    assert "epoch 1" in trials[0].user_attrs["error"]


def test_a_torn_last_line_of_the_journal_is_dropped(start, host):
    definition, folder = start()
    run_trials(host, folder, trials=1, device="cpu")
    before = trials_of(definition, folder)
    with (folder / "journal.log").open("a") as file:
        file.write('{"op_code": 4, "worker')
    run_trials(host, folder, trials=2, device="cpu")
    after = trials_of(definition, folder)
    assert [trial.value for trial in after][:1] == [trial.value for trial in before]
    assert len(after) == 2
    (folder / "journal.log").write_text("no journal\n{}\n")
    with pytest.raises(DataError, match="journal"):
        open_study(folder, definition)


def test_files_of_another_study_are_named(start):
    definition, folder = start()
    _, other = start("other")
    _, elsewhere = start(store="elsewhere", searched=["lr"])  # of the same name
    before = {name: (folder / name).read_bytes() for name in ("study.json", "journal.log")}
    for source in (other, elsewhere):
        (folder / "journal.log").write_bytes((source / "journal.log").read_bytes())
        with pytest.raises(DataError, match=r"journal\.log belongs to another study"):
            open_study(folder, definition)
        # Nothing of this study is added but its name.
        assert len((folder / "journal.log").read_text().splitlines()) < 5
        (folder / "journal.log").write_bytes(before["journal.log"])
    (folder / "study.json").write_bytes((other / "study.json").read_bytes())
    with pytest.raises(DataError, match=r"study\.json belongs to another study, 'other'"):
        read_definition(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"model": "toyzoo/tiny", "searched": ["lr"]},
            "model is tunetoy/eye in the existing study and toyzoo/tiny in this command",
        ),
        ({"data": "toyzoo/two"}, "data is toyzoo/stripes in the existing study and toyzoo/two in this command"),
        ({"searched": ["lr", "widths"]}, "blind is searched in the existing study"),
        ({"weight_decay": None}, "weight_decay is not searched in the existing study"),
        ({"epochs": 4}, "epochs is 3 in the existing study and 4 in this command"),
        ({"prune_after": 2}, "prune_after is 5 in the existing study and 2 in this command"),
    ],
)
def test_a_different_study_is_refused_with_its_differences(start, change, words):
    first, _ = start()
    again, _ = start()
    assert again == first
    with pytest.raises(UsageError, match="A different study named") as refusal:
        start(**change)
    assert words in str(refusal.value)


def test_zoo_tune_searches_a_real_network(tmp_path, monkeypatch):
    monkeypatch.delenv("ZOO_PLUGIN_FILES", raising=False)
    folder = tmp_path / "store/studies/digits"
    words = [
        "tune", "--model", "p4m", "--data", "rotmnist5k", "--study", "digits", "--trials", "4", "--budget", "smoke",
        "--search", "kernel_sizes,lr", "--set", "train_images=128", "--set", "val_images=100", "--set", "augment=none",
        "--device", "cpu", "--store", str(tmp_path / "store"),
    ]  # fmt: skip
    done = CliRunner().invoke(cli, [*words, "--json"], catch_exceptions=False)
    summary = json.loads(done.stdout)
    assert summary["model"] == "gconv/p4m"
    assert [trial["state"] for trial in summary["trials"]] == ["ended"] * 4
    assert summary["trials"][0]["values"] == {"kernel_sizes": [5, 3, 3, 3, 3, 3], "lr": 0.005}
    assert summary["best"]["val_auc"] == max(trial["val_auc"] for trial in summary["trials"])
    assert sum(summary["importance"].values()) == pytest.approx(1)
    assert "trial 0: val AUC" in done.stderr
    assert {path.name for path in folder.iterdir()} >= {"best.json", "history.png", "importance.png", "study.json"}

    # The same command, or --show: there is nothing left to do, and no worker is started for it.
    monkeypatch.setattr(search._Crew, "_start", lambda crew: pytest.fail("started a worker"))
    shown = CliRunner().invoke(cli, words, catch_exceptions=False).stdout
    again = CliRunner().invoke(cli, ["tune", "--show", "digits", "--store", str(tmp_path / "store")])
    assert again.stdout == shown
    best = next(line for line in shown.splitlines() if line.split()[:1] == [str(summary["best"]["trial"])])
    assert f"{summary['best']['val_auc']:.4f}" in best


@pytest.mark.parametrize(("device", "expected"), [("cuda", ["4", "5", "4"]), ("cpu", [None] * 3)])
def test_workers_have_gpus_of_their_own(host, tmp_path, monkeypatch, device, expected):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if device == "cuda":
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    started = []
    monkeypatch.setattr(search.subprocess, "Popen", lambda words, env, **_: started.append(env))
    crew = search._Crew(host=host, folder=tmp_path, trials=3, workers=3, device=device)
    for _ in range(3):
        crew._start()
    assert [env.get("CUDA_VISIBLE_DEVICES") for env in started] == expected


def test_the_next_command_names_store_and_file_of_the_plugin(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert _next_command("s", Path("results"), []) == "zoo bench --from-study s --seeds 0-4"
    expected = "zoo --plugin net.py bench --from-study s --seeds 0-4 --store 'my store'"
    assert _next_command("s", Path("my store"), [str(tmp_path / "net.py")]) == expected
