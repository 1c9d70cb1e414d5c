"""The page of benchmarks/equal_search.py follows from its record, and recorded runs state the search."""

from __future__ import annotations

import json
import re

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


GOOD = {"run_id": "a", "seed": 7, "learning_rate": 0.02, "auc": 0.96, "fresh_auc": 0.955, "not_begun": 0}
FLAT = GOOD | {"run_id": "b", "seed": 8, "auc": 0.5, "fresh_auc": None, "not_begun": 14}


def test_the_page_is_written_from_the_record(equal_search):
    studies = [json.loads(line) for line in equal_search.RECORD.read_text(encoding="utf-8").splitlines()]
    assert {study["model"] for study in studies} == {"gconv/p4m", "gconv/z2_p4m_macs", "timm/resnet18"}
    assert equal_search.page(studies) == equal_search.PAGE.read_text(encoding="utf-8")


def test_the_figures_of_docs_tuning_stand_on_the_page(equal_search):
    text = (equal_search.HERE.parent / "docs" / "tuning.md").read_text(encoding="utf-8")
    said = text.partition("**One training a trial")[2].partition("\n\n")[0]
    figures = re.findall(r"\.\d{4}", said)
    assert len(figures) == 4
    page = equal_search.PAGE.read_text(encoding="utf-8")
    assert [one for one in figures if f"0{one}" not in page] == []


def test_the_best_trial_stands_beside_the_defaults(equal_search):
    trials = [
        trial(0, lr=5e-3, auc=0.91),
        trial(1, lr=2e-2, auc=0.92),
        trial(2, lr=1e-5, auc=0.99, state="stopped", epochs=1),  # stopped trials are not the best one
    ]
    text = equal_search.page([study("gconv/p4m", trials, defaults=[GOOD], best=[GOOD, FLAT])])
    assert "with 3 trials for each network" in " ".join(text.split())
    assert "| gconv/p4m | defaults | 0.005 | 0.0001 | 0.9100 | 7 | 0.9600 | 0.9550 |" in text
    assert (
        "| gconv/p4m | best trial | 0.02 | 0.0001 | 0.9200 | 7, 8 | 0.9600, 0.5000; mean 0.7300 | 0.9550, - |" in text
    )
    assert "| gconv/p4m | 2 | 1e-05 | 0.0001 | 0.9900 | 1, stopped |" in text
    assert "seed 8: the training had not begun to learn after 14 epochs." in " ".join(text.split())


def test_where_the_defaults_are_best_one_line_says_so(equal_search):
    trials = [trial(0, lr=5e-3, auc=0.91), trial(1, lr=2e-2, auc=0.7)]
    text = equal_search.page([study("gconv/p4m", trials, defaults=[GOOD], best=[GOOD])])
    assert "| gconv/p4m | defaults, the best trial | 0.005 | 0.0001 | 0.9100 | 7 | 0.9600 | 0.9550 |" in text
    assert "not begun" not in text


def test_the_page_says_what_the_search_did_not_try(equal_search):
    trials = [
        trial(0, lr=5e-3, auc=0.91),
        trial(1, lr=2e-2, auc=0.92),
        trial(2, lr=5.2e-3, auc=0.8, state="stopped", epochs=1),  # hardly above the default
        trial(3, lr=1e-5, auc=0.5, state="stopped", epochs=1),
    ]
    other = study("gconv/z2", [trial(n, lr=lr, auc=0.7) for n, lr in enumerate((5e-3, 1e-3, 2e-3, 4e-3))],
                  defaults=[GOOD], best=[GOOD])  # fmt: skip
    text = " ".join(equal_search.page([study("gconv/p4m", trials, defaults=[GOOD], best=[GOOD]), other]).split())
    assert "of 3 learning rates drawn for each network, those more than 10 % above" in text
    assert "were 1 of gconv/p4m, 0 of gconv/z2; 2 of these 6 trials were stopped" in text
