"""The page of benchmarks/learning_rates.py follows from its record."""

from __future__ import annotations

import itertools
import json
from statistics import mean, stdev

import pytest


@pytest.fixture
def rates(benchmark_script):
    return benchmark_script("learning_rates")


def run(rate, seed, *, val, auc, not_begun=0):
    content = {"model": "gconv/p4m", "data": "modelB", "budget": "laptop", "learning_rate": rate, "fresh_auc": None}
    return content | {"run_id": f"{rate}{seed}", "seed": seed, "val_auc": val, "auc": auc, "not_begun": not_begun}


def test_the_page_is_written_from_the_record(rates):
    runs = [json.loads(line) for line in rates.RECORD.read_text(encoding="utf-8").splitlines()]
    assert {one["model"] for one in runs} == {"gconv/p4m", "gconv/z2_p4m_macs", "timm/resnet18"}
    assert rates.page(runs) == rates.PAGE.read_text(encoding="utf-8")


def test_every_network_has_the_same_learning_rates_in_its_defaults(rates):
    runs = [json.loads(line) for line in rates.RECORD.read_text(encoding="utf-8").splitlines()]
    for model in {one["model"] for one in runs}:
        own = [one["learning_rate"] for one in runs if one["model"] == model]
        assert sorted({round(rate / own[0], 1) for rate in own}) == [0.3, 1, 3]


def test_the_best_learning_rate_is_that_of_the_first_seed(rates):
    runs = [
        run(0.005, 7, val=0.95, auc=0.94), run(0.005, 8, val=0.99, auc=0.93),  # of another seed
        run(0.0017, 7, val=0.90, auc=0.91), run(0.015, 7, val=0.96, auc=0.92), run(0.015, 8, val=0.5, auc=0.5,
                                                                                   not_begun=14),
    ]  # fmt: skip
    text = rates.page(runs)
    assert "| gconv/p4m | 0.0017 | 0.9000 | 7 | 0.9100 | - |" in text
    assert "| gconv/p4m | 0.005 (default) | 0.9500 | 7, 8 | 0.9400, 0.9300; mean 0.9350 | -, - |" in text
    assert "| gconv/p4m | 0.015 (best) | 0.9600 | 7, 8 | 0.9200, 0.5000; mean 0.7100 | -, - |" in text
    assert "learning rate 0.015, seed 8: the training had not begun to learn after 14 epochs." in " ".join(text.split())


def test_seeds_that_the_best_learning_rate_lacks_are_named(rates):
    runs = [run(0.005, 0, val=0.95, auc=0.94), run(0.005, 1, val=0.95, auc=0.94), run(0.015, 0, val=0.96, auc=0.95)]
    note = "gconv/p4m was not trained with 0.015 and the other seeds yet."
    assert note in rates.page(runs)
    assert note not in rates.page([*runs, run(0.015, 1, val=0.9, auc=0.9)])


def test_where_the_default_is_best_one_row_says_so(rates):
    text = rates.page([run(0.005, 0, val=0.95, auc=0.94), run(0.015, 0, val=0.9, auc=0.91)])
    assert "| gconv/p4m | 0.005 (default, best) |" in text


def test_the_order_of_the_networks_is_that_of_the_findings(rates):
    """With any of the learning rates, every training of a network is above all of the next one."""
    findings = " ".join((rates.HERE.parent / "docs/findings.md").read_text(encoding="utf-8").split())
    assert "the three networks [keep this order](../benchmarks/results/learning_rates.md)" in findings
    runs = [json.loads(line) for line in rates.RECORD.read_text(encoding="utf-8").splitlines()]
    areas = [
        [run["auc"] for run in runs if run["model"] == model]
        for model in ("gconv/p4m", "gconv/z2_p4m_macs", "timm/resnet18")
    ]
    assert min(map(len, areas)) >= 5  # three learning rates, the default with three seeds

    def of_seed(model: str, rate: float, seed: int) -> float:
        [area] = [
            run["auc"] for run in runs if (run["model"], run["learning_rate"], run["seed"]) == (model, rate, seed)
        ]
        return area

    raised = [
        mean(run["auc"] for run in runs if run["model"] == model and run["learning_rate"] == rate)
        for model, rate in [
            ("gconv/z2_p4m_macs", 0.005),
            ("gconv/z2_p4m_macs", 0.015),
            ("timm/resnet18", 0.001),
            ("timm/resnet18", 0.003),
        ]
    ]
    said = (
        "`z2_p4m_macs` has {1} in place of {0}, within the spread between seeds, and ResNet-18 {3} in place of {2}, "
        "higher with each seed, means of three trainings"
    )
    assert said.format(*(f"{area:.4f}".removeprefix("0") for area in raised)) in findings
    gains = {
        model: [of_seed(model, three_times, seed) - of_seed(model, own, seed) for seed in range(3)]
        for model, own, three_times in [("gconv/z2_p4m_macs", 0.005, 0.015), ("timm/resnet18", 0.001, 0.003)]
    }
    assert min(gains["timm/resnet18"]) > 0
    assert abs(mean(gains["gconv/z2_p4m_macs"])) < stdev(gains["gconv/z2_p4m_macs"])

    with_seed_0 = [run for run in runs if (run["model"], run["seed"]) == ("gconv/p4m", 0)]
    assert len(with_seed_0) == 3
    for score in ("val_auc", "auc"):
        assert max(with_seed_0, key=lambda run: run[score])["learning_rate"] == 0.005
    assert all(min(first) > max(second) for first, second in itertools.pairwise(areas))


def test_recorded_trainings_need_not_be_in_the_store(rates, tmp_path, monkeypatch):
    monkeypatch.setattr(rates, "RECORD", tmp_path / "learning_rates.jsonl")
    monkeypatch.setattr(rates, "PAGE", tmp_path / "learning_rates.md")
    commands = []
    monkeypatch.setattr(rates, "run_zoo", lambda *words: commands.append(words))
    words = ["--store", str(tmp_path), "--model", "z2", "--budget", "smoke", "--seeds", "0"]
    options = rates.shared_options("", model="z2", data="modelB", record=rates.RECORD).parse_args(words)
    lines = [
        run(rate, 0, val=0.9, auc=0.8) | {"run_id": cell.run_id, "model": "gconv/z2"}
        for rate in rates.rates_of("gconv/z2", options)
        for cell in rates.cells_of("gconv/z2", rate, [0], options)
    ]
    rates.RECORD.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    rates.main(words)
    assert commands == []
    rates.main([*words, "--write"])
    assert [json.loads(line) for line in rates.RECORD.read_text(encoding="utf-8").splitlines()] == lines
