"""The page of benchmarks/nuisances.py follows from its record."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_SPEC = importlib.util.spec_from_file_location("nuisances", Path(__file__).parents[1] / "benchmarks" / "nuisances.py")
nuisances = importlib.util.module_from_spec(_SPEC)
sys.modules["nuisances"] = nuisances  # its records look their annotations up there
_SPEC.loader.exec_module(nuisances)


def row(model, auroc, area, *, nuisance="multipoles of 1 %"):
    return nuisances.Row(
        model=model, run_id=f"{model[-1]}bcd", data="deeplense/modelA", shown=["image_size 64"], nuisance=nuisance,
        images=2048, auroc=auroc, area=area, low=area - 0.01, high=area + 0.01,
    )  # fmt: skip


def test_the_page_is_written_from_the_record():
    record = nuisances.read_record()
    assert {row.data for row in record} == {"deeplense/modelA", "deeplense/modelB"}
    assert nuisances.page(record) == nuisances.PAGE.read_text(encoding="utf-8")


def test_the_record_is_written_where_asked_only(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(nuisances, "RECORD", tmp_path / "record.jsonl")
    monkeypatch.setattr(nuisances, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(nuisances, "measure", lambda name, **options: [row(name, 0.6, 0.5)])
    nuisances.main(["anomaly/a"])
    assert "| `anomaly/a` |" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    nuisances.main(["anomaly/a", "--write"])
    assert nuisances.PAGE.read_text() == nuisances.page(nuisances.read_record())


def test_a_line_has_the_areas_of_all_nuisances_and_the_best_detector_is_first():
    rows = [row("anomaly/a", 0.6, 0.5), row("anomaly/b", 0.9, 0.7), row("anomaly/a", 0.6, 0.52, nuisance="PSF")]
    rows += [row("anomaly/b", 0.9, 0.99, nuisance="PSF")]
    *_, first, second = nuisances.page(rows).splitlines()
    assert first == "| `anomaly/b` | `bbcd` | 0.9000 | 0.700 (0.690 to 0.710) | 0.990 (0.980 to 1.000) |"
    assert second.startswith("| `anomaly/a` | `abcd` | 0.6000 | 0.500 (0.490 to 0.510) | 0.520 ")
