"""The table of measured properties in docs/populations.md follows from its record."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from zoo import registry
from zoo.host import load_plugins
from zoo.specs import DatasetSpec

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def populations(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    spec = importlib.util.spec_from_file_location("populations", BENCHMARKS / "populations.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_written_from_the_record_of_todays_populations(populations):
    rows = populations.read_record()
    listed = registry.listed(load_plugins(environment={}), DatasetSpec)
    specs = [spec for spec in listed if spec.simulated and spec.namespace == "deeplense"]
    assert {spec.name: spec.version for spec in specs} == {name: row["version"] for name, row in rows.items()}
    part = populations.to_markdown([rows[spec.name] for spec in specs])
    text = populations.PAGE.read_text(encoding="utf-8")
    assert populations.replaced(populations.PAGE, "populations.py", part) == text


def test_what_is_measured_joins_the_record(populations, tmp_path, monkeypatch):
    [row, *_] = populations.read_record().values()
    page = tmp_path / "page.md"
    page.write_text("# Page\n<!-- benchmarks/populations.py --write -->\nold\n<!-- until here -->\nmore\n")
    monkeypatch.setattr(populations, "RECORD", tmp_path / "record.jsonl")
    monkeypatch.setattr(populations, "PAGE", page)
    monkeypatch.setattr(populations, "measure", lambda spec, **_: row | {"population": spec.name, "version": 99})
    populations.main(["modelB", "--write"])
    populations.main(["modelA", "--write"])
    found = {name: one["version"] for name, one in populations.read_record().items()}
    assert list(found.items()) == [("modelA", 99), ("modelB", 99)]
    text = page.read_text()
    assert text.index("`modelA`") < text.index("`modelB`") < text.index("\nmore")
    assert "old" not in text


def test_what_the_airy_pattern_leaves_out_is_stated_as_measured():
    page = (BENCHMARKS / "results" / "airy_pattern.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `model_2019_\w+` \| ([\d.]+)% \| ([\d.]+) \| ([\d.]+) \|$", page, re.MULTILINE)
    (light, *_), (same, *_) = rows
    assert light == same
    text = " ".join((BENCHMARKS.parent / "docs" / "populations.md").read_text(encoding="utf-8").split())
    assert f"within which {light} % of its light lies" in text
    for column, words in ((1, "in the median of 48 scenes"), (2, "in the worst of them")):
        first, second = (row[column] for row in rows)
        assert f"by {first} and {second} of its noise {words}" in text or f"by {first} and {second} {words}" in text
