"""The page of benchmarks/robustness.py follows from its record, and its rates are counted as it states."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from statistics import NormalDist

import msgspec
import numpy as np
import pytest
from zoo_deeplense.tables import VARIANTS

from zoo.scores.intervals import share_interval

_THRESHOLD = NormalDist().inv_cdf(0.95)
_SPEC = importlib.util.spec_from_file_location("robustness", Path(__file__).parents[1] / "benchmarks" / "robustness.py")
robustness = importlib.util.module_from_spec(_SPEC)
sys.modules["robustness"] = robustness  # its records look their annotations up there
_SPEC.loader.exec_module(robustness)


def rows(*, version: int = 2) -> list[robustness.Row]:
    return [
        robustness.Row(
            model="gconv/p4m", run_id="abcd0123", data="deeplense/modelA", data_version=version,
            shown=["mass_scale 4.0"], variant=variant,
            images=30, macro_auc=auc, low=auc - 0.01, high=auc + 0.01, smooth=10, false_positives=false,
            rate_low=low, rate_high=high, subhaloes=10, missed=2, most_probably_smooth=3,
        )
        for variant, auc, false, low, high in (("plain", 0.98, 1, None, None), ("multipoles", 0.9, 4, 0.1, 0.7))
    ]  # fmt: skip


@pytest.mark.slow
def test_the_page_is_written_from_the_record():
    record = robustness.read_record()
    assert {row.variant for row in record} == {robustness.PLAIN, "elliptical", *VARIANTS, robustness.REAL}
    assert robustness.page(record) == robustness.PAGE.read_text(encoding="utf-8")


def test_the_cards_of_bundled_weights_hold_their_rows():
    written = robustness.cards(robustness.read_record())
    assert written
    assert {path: path.read_text(encoding="utf-8") for path in written} == written


def test_a_card_is_given_its_table_once():
    card = robustness.with_table("# Card\n\n## Limits\n\n- some\n\n## How to load\n\nso\n", rows())
    assert "- some\n\n## On other lenses\n\nScores on 30 test images" in card
    assert "| plain | 0.9800 (0.9700 to 0.9900) | - | 20.0% | 30.0% |\n" in card
    assert "| elliptical haloes with multipoles of 1 % | 0.9000 (0.8900 to 0.9100) | 40.0% (10.0% to 70.0%) |" in card
    assert card.endswith("| 20.0% | 30.0% |\n\n## How to load\n\nso\n")
    assert robustness.with_table(card, rows()) == card


def test_the_figures_of_docs_populations_stand_on_the_page():
    text = (Path(__file__).parents[1] / "docs" / "populations.md").read_text(encoding="utf-8")
    said = text.partition("**Trained networks on these lenses.**")[2].partition("\n## ")[0]
    figures = re.findall(r"(\d+\.\d) %", said)
    assert len(figures) > 3
    assert [one for one in figures if f"{one}%" not in robustness.PAGE.read_text(encoding="utf-8")] == []


def test_the_findings_state_what_was_measured():
    """Figures of p4m in the order Model B, Model A: the image alone, then those with a residual channel."""
    text = (Path(__file__).parents[1] / "docs" / "findings.md").read_text(encoding="utf-8")
    said = text.partition("## Test lenses unlike the training lenses")[2].partition("\n\n**")[0]
    ell, truncated, light, real = (
        re.findall(r"(\d+\.\d) %|(?<![\d.])(\.\d{4})", part) for part in said.split("\n- ")[1:]
    )
    record = robustness.read_record()
    own = {(row.channels, row.data.rpartition("/")[2], row.variant): row for row in record if row.model == "gconv/p4m"}

    def of(variant, number, *channels):
        return [number(own[names, data, variant]) for names in channels for data in ("modelB", "modelA")]

    def false(row):
        return f"{100 * row.false_positives / row.smooth:.1f}"

    flexible, centred = ("residual_flexible",), ("residual_centred",)
    assert [share for share, _ in ell] == of("multipoles", false, (), flexible, centred)
    missed = of("tnfw", lambda row: f"{100 * row.missed / row.subhaloes:.1f}", (), flexible)
    assert [share for share, _ in truncated] == missed
    shares = [100 * row.false_positives / row.smooth for row in record if row.variant == "lens_light"]
    assert [float(share) for share, _ in light] == [round(min(shares), 1), round(max(shares), 1)]
    areas = [row.macro_auc for row in record if row.variant == robustness.REAL]
    alone = of(robustness.REAL, lambda row: row.macro_auc, ())
    assert [float(area) for _, area in real] == [round(area, 4) for area in (min(areas), max(areas), *alone)]


def test_a_row_states_score_change_and_false_positives():
    page = robustness.page(rows())
    assert "| multipoles | 0.9000 (0.8900 to 0.9100) | -0.0800 | 40.0% (10.0% to 70.0%) | 20.0% | 30.0% |" in page
    assert "but for the change: modelA: mass_scale 4.0." in page
    assert "of version 1" not in page
    assert "trained on images of version 1 of deeplense/modelA" in robustness.page(rows(version=1))


def test_the_page_states_how_many_images_each_network_was_trained_on(monkeypatch):
    both = rows() + [msgspec.structs.replace(row, run_id="ef010123") for row in rows()]
    monkeypatch.setattr(robustness, "training_images", lambda: {"abcd0123": 16_384})
    assert "\nTraining images: 16,384 (`abcd`); not recorded (`ef01`).\n" in robustness.page(both)


def test_docs_populations_states_the_numbers_of_training_images():
    text = (Path(__file__).parents[1] / "docs" / "populations.md").read_text(encoding="utf-8")
    said = text.partition("**Trained networks on these lenses.**")[2].partition("\n- ")[0]
    counts = {robustness.training_images()[row.run_id] for row in robustness.read_record()}
    assert {int(one.replace(",", "")) for one in re.findall(r"(\d+,\d+)", said)} == counts


def test_substructure_is_every_class_but_the_smooth_one():
    probabilities = np.array([[0.1, 0.7, 0.2]])
    for classes, wanted in ((("no_substructure", "subhalo", "vortex"), 0.9), (("a", "no_substructure", "b"), 0.3)):
        assert robustness.substructure(probabilities, classes)[0] == pytest.approx(wanted)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.95])
def test_intervals_of_false_positives_hold_the_truth_as_often_as_they_state(correlation):
    """Where the threshold is uncertain, the interval of a share alone holds it in 83 to 89 % of the cases."""
    rng, truth, held = np.random.default_rng(1), 1 - NormalDist().cdf(_THRESHOLD - 0.5), 0
    for _ in range(300):
        plain, other = rng.standard_normal((2, 300))
        changed = 0.5 + correlation * plain + np.sqrt(1 - correlation**2) * other
        low, high = robustness.rate_interval(plain, changed, draws=200)
        held += low <= truth <= high
    assert held >= 0.92 * 300


def test_intervals_for_other_lenses_hold_the_truth_as_often_as_they_state():
    rng, truth, held = np.random.default_rng(2), 1 - NormalDist().cdf(_THRESHOLD - 0.5), 0
    for _ in range(300):
        low, high = robustness.rate_interval(
            rng.standard_normal(300), 0.5 + rng.standard_normal(200), paired=False, draws=200
        )
        held += low <= truth <= high
    assert held >= 0.92 * 300


def test_intervals_for_lenses_of_few_galaxies_hold_the_truth_as_often_as_they_state():
    """Over lenses, as if all were independent, they hold it in 60 % of the cases."""
    rng, truth, held = np.random.default_rng(3), 1 - NormalDist().cdf(_THRESHOLD - 0.5), {"galaxies": 0, "lenses": 0}
    galaxies = np.repeat(np.arange(30), 20)
    for _ in range(200):
        plain = rng.standard_normal(3000)
        changed = 0.5 + np.sqrt(0.5) * (rng.standard_normal(30)[galaxies] + rng.standard_normal(600))
        for kind, groups in (("galaxies", galaxies), ("lenses", None)):
            low, high = robustness.rate_interval(plain, changed, paired=False, groups=groups, draws=200)
            held[kind] += low <= truth <= high
    assert held["galaxies"] >= 0.9 * 200
    assert held["lenses"] < 0.75 * 200


def test_the_interval_of_a_rate_of_none_or_all_is_that_of_a_share():
    plain = np.linspace(0, 1, 100)
    assert robustness.rate_interval(plain, plain - 2) == pytest.approx(share_interval(0, 100))
    assert robustness.rate_interval(plain, plain + 2) == pytest.approx(share_interval(100, 100))
