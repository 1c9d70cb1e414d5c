"""The page of benchmarks/precision_trainings.py follows from its record."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def trainings(benchmark_script):
    return benchmark_script("precision_trainings")


def run(precision, seed, auc, fresh=None):
    content = {"model": "gconv/p4m", "data": "deeplense/modelA", "budget": "laptop", "precision": precision}
    content["machine"] = "some CPU, 1 thread, torch 2"
    return content | {"run_id": f"{precision}{seed}", "seed": seed, "auc": auc, "fresh_auc": fresh, "not_begun": 0}


def test_the_page_is_written_from_the_record(trainings):
    runs = [json.loads(line) for line in trainings.RECORD.read_text(encoding="utf-8").splitlines()]
    assert sorted((one["precision"], one["seed"]) for one in runs) == [
        (precision, seed) for precision in ("bf16", "fp32") for seed in (0, 1, 2)
    ]
    assert trainings.page(runs) == trainings.PAGE.read_text(encoding="utf-8")


def test_differences_are_paired_by_seed(trainings):
    fp32 = [run("fp32", 0, 0.95), run("fp32", 1, 0.97), run("fp32", 2, 0.96, fresh=0.955)]
    bf16 = [run("bf16", 2, 0.962), run("bf16", 0, 0.951), run("bf16", 1, 0.969), run("bf16", 7, 0.2)]
    text = trainings.page(fp32 + bf16)
    assert "| fp32 | 0, 1, 2 | 0.9500, 0.9700, 0.9600; mean 0.9600 | -, -, 0.9550 | 0.0100 |" in text
    # +.002, +.001, -.001: mean .00067, deviation .00153, t(2) = 4.303
    said = " ".join(text.split())
    assert "+0.0020, +0.0010, -0.0010; mean +0.0007 (-0.0031 to +0.0045, 95 %, Student's t over 3 seeds)" in said
    assert "a cost of bf16 is not shown, and one of up to 0.0031 is not excluded" in said


def test_trainings_on_other_processors_are_said_to_be_so(trainings):
    runs = [run("fp32", 0, 0.95), run("bf16", 0, 0.951)]
    assert "processors" not in trainings.page(runs)
    runs[0]["machine"] = "other CPU, 1 thread, torch 2"
    assert "not trained on the same processors" in trainings.page(runs)


def test_no_training_of_the_record_is_lost(benchmark_script, tmp_path):
    recorded = benchmark_script("recorded_trainings")
    record = tmp_path / "some.jsonl"
    recorded.write_both(record, [run("fp32", 0, 0.9), {"study": "s", "runs": {"best": [run("bf16", 1, 0.9)]}}], "page")
    before = record.read_text(encoding="utf-8")
    with pytest.raises(SystemExit, match="would lose bf161: "):
        recorded.write_both(record, [run("fp32", 0, 0.8)], "other page")
    assert record.read_text(encoding="utf-8") == before
    assert record.with_suffix(".md").read_text(encoding="utf-8") == "page"


def test_a_difference_beyond_chance_is_said(trainings):
    fp32 = [run("fp32", seed, 0.96 + 0.01 * seed) for seed in range(3)]
    bf16 = [run("bf16", seed, 0.92 + 0.01 * seed + 0.0001 * seed) for seed in range(3)]
    assert "The interval excludes 0: bf16 is lower." in " ".join(trainings.page(fp32 + bf16).split())


def test_one_seed_is_not_judged(trainings):
    assert "cannot be judged" in trainings.page([run("fp32", 0, 0.95), run("bf16", 0, 0.96)])
