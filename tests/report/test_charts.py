"""Charts and images of the page: ticks, slices of the test images, thumbnails, values that are not known."""

from __future__ import annotations

import base64
import re

import numpy as np
import pytest
import reportdata
from msgspec.structs import replace

from zoo.report.blocks import score_table
from zoo.report.charts import cost_panels
from zoo.report.equivariance import equivariance_panel
from zoo.report.svg import Panel, log_ticks, short, side_by_side, ticks, whisker
from zoo.report.thumbnails import residual_address, to_png
from zoo.results.comparison import group_variants
from zoo.results.slices import slice_scores


def test_ticks_are_round_and_inside():
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert ticks(0.83, 1.0) == [0.85, 0.9, 0.95, 1.0]
    assert ticks(2, 2) == [2]
    assert log_ticks(5e3, 2e7) == [1e4, 1e5, 1e6, 1e7]
    assert [short(value) for value in (0, 3e-7, 0.95, 29391, 6.05e7)] == ["0", "3e-7", "0.95", "29.4 k", "60.5 M"]


def test_neighbours_stand_side_by_side_as_near_as_possible():
    random = np.random.default_rng(0)
    for places in ([3.0, 3.0, 3.0], [0.0, 50.0], [], [7.0], *random.uniform(0, 30, (50, 6)).tolist()):
        moved = side_by_side(places, gap=4.0)
        order = np.argsort(places, kind="stable")
        assert all(np.diff(np.array(moved)[order]) >= 4.0 - 1e-9)
        assert np.mean(moved or [0]) == pytest.approx(np.mean(places or [0]))
        if len(places) < 2 or min(np.diff(sorted(places))) >= 4.0:
            assert moved == pytest.approx(places)
    assert side_by_side([3.0, 3.0, 3.0], gap=4.0) == [-1.0, 3.0, 7.0]


@pytest.mark.parametrize("ends", [(0.0, 1.0), (1.0, 1e-3)])
def test_whiskers_end_at_the_panel(ends):
    panel = Panel(x=(0.0, 1.0), y=ends, log_y=ends[0] == 1)
    drawn = whisker(panel, 0.5, -30.0, 30.0, style="")
    assert {f"{panel.up(end):.1f}" for end in ends} == set(re.findall("[ V]([0-9.]+)", drawn))


def test_slices_have_equal_sizes_and_the_right_images():
    random = np.random.default_rng(0)
    labels = np.arange(3000) % 3
    snr = random.uniform(10, 30, 3000)
    length = np.where(labels == 2, random.uniform(0, 1, 3000), np.nan)
    # Easy where the signal is strong; a vortex shows the more the longer it is.
    strength = np.where(labels == 2, 3 * np.nan_to_num(length), (snr - 10) / 5)
    logits = random.normal(size=(3000, 3)) + strength[:, None] * np.eye(3)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    whole, vortex = slice_scores(
        probabilities,
        labels,
        ("a", "b", "vortex"),
        {"snr": snr, "vortex_length": length, "other": snr},
        declared=reportdata.STRIPES.slices,
    )
    assert (whole.parameter, whole.subject, vortex.parameter, vortex.subject) == (
        *("snr", "macro"),
        *("vortex_length", "vortex"),
    )
    assert [entry.images for entry in whole.bins] == [600] * 5
    assert [entry.images for entry in vortex.bins] == [200] * 5
    for bins in (whole.bins, vortex.bins):
        areas = [entry.auc for entry in bins]
        assert areas == sorted(areas)
        assert all(entry.interval[0] < entry.auc < entry.interval[1] for entry in bins)
    # The last slice by hand: long vortices against everything that is none.
    longest = np.nan_to_num(length) >= np.nanquantile(length, 0.8)
    hits, misses = probabilities[longest, 2][:, None], probabilities[labels != 2, 2][None]
    assert vortex.bins[-1].auc == pytest.approx((hits > misses).mean(), abs=1e-9)


def test_slices_of_anomaly_scores_are_areas_against_normal_images():
    random = np.random.default_rng(1)
    labels = np.arange(3000) % 3
    normal = labels == 1
    snr = random.uniform(10, 30, 3000)
    mass = np.where(labels == 2, random.uniform(0, 1, 3000), np.nan)
    scores = random.normal(size=3000) + np.where(labels == 2, 3 * np.nan_to_num(mass), ~normal * (snr - 10) / 10)
    whole, heavy = slice_scores(
        scores[:, None], labels, ("a", "plain", "b"), {"snr": snr, "mass": mass}, declared={"snr": "SNR", "mass": "M"},
        normal=(1,),
    )  # fmt: skip
    assert (whole.subject, heavy.subject) == ("any anomaly", "b")
    for entry, chosen in ((whole, snr >= np.quantile(snr, 0.8)), (heavy, mass >= np.nanquantile(mass, 0.8))):
        inside = normal & chosen if entry is whole else normal
        expected = (scores[chosen & ~normal][:, None] > scores[inside][None]).mean()
        assert entry.bins[-1].auc == pytest.approx(expected, abs=1e-9)
        assert entry.bins[0].auc < entry.bins[-1].auc - 0.05


def test_a_residual_is_white_at_zero_and_red_above_it(tmp_path):
    from io import BytesIO

    from PIL import Image

    address = residual_address(np.array([[0.0, 9.0], [-9.0, np.nan]]))
    content = base64.b64decode(address.partition(",")[2])
    pixels = np.asarray(Image.open(BytesIO(content)).convert("RGB"))[::-1].astype(int)
    assert pixels[0, 0].min() > 250
    assert pixels[0, 1].tolist() == [255, 0, 0]
    assert pixels[1, 0].tolist() == [0, 0, 255]
    assert pixels[1, 1].min() > 250


def test_a_thumbnail_is_a_png_with_the_sky_upright(tmp_path):
    from matplotlib import pyplot

    image = np.zeros((5, 7))
    image[0, 2], image[4, 6] = 4.0, 1.0
    (tmp_path / "a.png").write_bytes(to_png(image))
    picture = pyplot.imread(tmp_path / "a.png")
    assert picture.shape[:2] == (5, 7)
    brightness = picture[..., :3].sum(2)
    assert np.unravel_index(brightness.argmax(), brightness.shape) == (4, 2)  # row 0 is below
    assert brightness[4, 2] > brightness[0, 6] > brightness[2, 2]
    assert to_png(np.full((2, 2), np.nan))[:4] == b"\x89PNG"


def test_unknown_costs_and_errors_are_left_out_of_charts_and_are_dashes_in_the_table():
    known, other = (reportdata.good(macro, model=f"toyzoo/{name}") for macro, name in ((0.9, "known"), (0.95, "other")))
    after = other.equivariance.after
    symmetry = replace(other.equivariance, after=replace(after, square=replace(after.square, error=None)))
    other = replace(other, cost=replace(other.cost, macs=None), equivariance=symmetry)
    variants = group_variants([known, other])
    table = score_table(variants, reportdata.CLASSES)
    macs, error = (table["headings"].index(heading) for heading in ("MACs", "equivariance error"))
    texts = {row["name"]: [row["cells"][index - 1]["text"] for index in (macs, error)] for row in table["rows"]}
    assert texts["toyzoo/other"] == ["–", "–"]
    assert texts["toyzoo/known"] == ["3.21 M", "3e-07"]
    [parameters, operations, *_] = [panel.drawing for panel in cost_panels(variants)]
    assert "toyzoo/other" in parameters
    assert "toyzoo/known" in operations
    assert "toyzoo/other" not in operations
    assert "nan" not in operations
    assert "toyzoo/other" not in equivariance_panel(variants)[0].drawing
    assert equivariance_panel(group_variants([other])) == []
