"""The page of benchmarks/equal_search.py follows from its record and from that of the runs."""

from __future__ import annotations

import copy
import json

import pytest


@pytest.fixture
def equal_search(benchmark_script):
    return benchmark_script("equal_search")


def trial(number, *, lr, auc, state="ended", epochs=3):
    return {
        "trial": number, "state": state, "val_auc": auc, "values": {"lr": lr, "weight_decay": 1e-4},
        "val_auc_by_epoch": {str(epoch): auc for epoch in range(1, epochs + 1)},
    }  # fmt: skip


def study(model, trials, *, defaults, best):
    runs = {"defaults": defaults, "best": best}
    return {"model": model, "data": "deeplense/modelB", "budget": "laptop", "trials": trials, "runs": runs}


@pytest.fixture
def runs(equal_search):
    """Two recorded trainings, of which the second has not begun to learn."""
    [line, *_] = (line for line in equal_search.read_runs().values() if line["cell"]["model"] == "gconv/p4m")
    lines = {name: copy.deepcopy(line) for name in ("good", "flat")}
    for (name, one), auc in zip(lines.items(), (0.96, 0.5), strict=True):
        one["test"]["auc"]["macro"] = auc
        one["cell"]["seed"] = 7
        one["not_begun"] = 14 if name == "flat" else 0
    return lines


def test_the_page_is_written_from_the_records(equal_search):
    studies = [json.loads(line) for line in equal_search.RECORD.read_text(encoding="utf-8").splitlines()]
    assert {study["model"] for study in studies} == {"gconv/p4m", "gconv/z2_p4m_macs", "timm/resnet18"}
    assert equal_search.page(studies, equal_search.read_runs()) == equal_search.PAGE.read_text(encoding="utf-8")


def test_the_best_trial_stands_beside_the_defaults(equal_search, runs):
    trials = [
        trial(0, lr=5e-3, auc=0.91),
        trial(1, lr=2e-2, auc=0.92),
        trial(2, lr=1e-5, auc=0.99, state="stopped", epochs=1),  # stopped trials are not the best one
    ]
    text = equal_search.page([study("gconv/p4m", trials, defaults=["good"], best=["good", "flat"])], runs)
    assert "with 3 trials for each network" in " ".join(text.split())
    assert "| gconv/p4m | defaults | 0.005 | 0.0001 | 0.9100 | 0.9600; mean 0.9600 |" in text
    assert "| gconv/p4m | best trial | 0.02 | 0.0001 | 0.9200 | 0.9600, 0.5000; mean 0.7300 |" in text
    assert "| gconv/p4m | 2 | 1e-05 | 0.0001 | 0.9900 | 1, stopped |" in text
    assert "seed 7: the training had not begun to learn after 14 epochs." in " ".join(text.split())


def test_where_the_defaults_are_best_one_line_says_so(equal_search, runs):
    trials = [trial(0, lr=5e-3, auc=0.91), trial(1, lr=2e-2, auc=0.7)]
    text = equal_search.page([study("gconv/p4m", trials, defaults=["good"], best=["good"])], runs)
    assert "| gconv/p4m | defaults, the best trial | 0.005 | 0.0001 | 0.9100 | 0.9600; mean 0.9600 |" in text
    assert "not begun" not in text


def test_a_run_that_is_not_recorded_is_named(equal_search, runs):
    with pytest.raises(SystemExit, match=r"does not hold the runs other\. First: headline\.py --store DIR --write"):
        equal_search.page([study("gconv/p4m", [trial(0, lr=5e-3, auc=0.9)], defaults=["good"], best=["other"])], runs)


def test_the_search_is_stated_in_the_recorded_runs(equal_search, runs, tmp_path, monkeypatch):
    class Planned:
        run_id = "good"

        def to_json(self):
            return {"search": {"study": "s", "trials": 3}}

    monkeypatch.setattr(equal_search, "RUNS", tmp_path / "runs.jsonl")
    lines = [{**line, "run_id": run_id} for run_id, line in runs.items()]
    equal_search.RUNS.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    equal_search.state_search([Planned()])
    stated = equal_search.read_runs()
    assert stated["good"]["cell"]["search"] == {"study": "s", "trials": 3}
    assert stated["flat"] == lines[1]
