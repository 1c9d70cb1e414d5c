"""The card: every number in it is the store's."""

from __future__ import annotations

import json

import pytest

from zoo.errors import DataError
from zoo.harness import store
from zoo.weights.card import make_card


def test_the_card_says_what_the_store_holds(run_dir, host):
    result = json.loads((run_dir / store.RESULT).read_text())
    text = make_card(host, run_dir, licence="cc-by-4.0")
    assert text.startswith("---\nlicense: cc-by-4.0\n")
    sections = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert sections == [
        "Classes and input", "Training data", "Training", "Scores", "Equivariance", "Cost", "Limits", "How to load",
        "Licence",
    ]  # fmt: skip
    for name in result["classes"]:
        low, high = result["test"]["intervals"][f"auc.{name}"]
        row = f"| AUC {name}, one against the rest | {result['test']['auc'][name]:.4f} | {low:.4f} to {high:.4f} |"
        assert row in text
    for name, row in zip(result["classes"], result["test"]["confusion"], strict=True):
        assert f"| {name} | {row[0]} | {row[1]} | {row[2]} |" in text
    assert f"{result['cost']['parameters']:,} parameters" in text
    assert f'zoo.load("{run_dir.name}")' in text
    assert str(run_dir) not in text


def test_a_failed_run_gets_no_card(run_dir, host):
    result = json.loads((run_dir / store.RESULT).read_text())
    (run_dir / store.RESULT).write_text(json.dumps({**result, "status": "oom", "error": "out of memory"}))
    with pytest.raises(DataError, match=r"did not end well \(oom\): out of memory"):
        make_card(host, run_dir)
