"""A third party's population with parameter names of its own gets budgets, captions and slices."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cellhere import run_cells_here

from zoo.data.recipe import Recipe
from zoo.host import load_plugins
from zoo.registry import find_simulator
from zoo.report import plots
from zoo.testing import check, require_passed

pytestmark = pytest.mark.slow  # trainings

TOYS = Path(__file__).parents[1] / "toys"
FILES = [TOYS / name for name in ("toyzoo.py", "toysky.py", "foreignsky.py")]
PAINTED = ("--simulator", "foreignsky/painter")


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ZOO_PLUGIN_FILES", os.pathsep.join(map(str, FILES)))
    for name in ("ZOO_PLUGINS", "ZOO_DISABLE_PLUGINS", "ZOO_PARENT_PID"):
        monkeypatch.delenv(name, raising=False)


def test_bench_and_report(zoo, tmp_path, monkeypatch):
    run_cells_here(monkeypatch)
    sizes = [word for name in ("train", "val", "test") for word in ("--set", f"{name}_images=200")]
    bench = ["bench", "--model", "toyzoo/tiny", "--data", "clumps", "--budget", "smoke", "--device", "cpu", *PAINTED]
    out, err = zoo(*bench, *sizes)
    for text in (out, err):
        assert "clumps three times as heavy" in " ".join(text.split())
    assert "side 12, boost 3.0" in out
    zoo("report", "--html", "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "blur of the source (arcsec)" in page
    assert "clump angle" not in page  # only what is declared is sliced
    assert "side 12 · boost 3.0" in page
    assert "clumps three times as heavy" in page


@pytest.mark.parametrize(
    ("name", "words", "parts"),
    [
        ("clumps", (" rad", "0.20 arcsec"), 2),
        ("bare", ("clump angle ", "clump weight 0.2", "blur "), 4),
    ],
)
def test_captions(zoo, monkeypatch, name, words, parts):
    drawn = []
    monkeypatch.setattr(plots, "draw_images", lambda *_, captions, **__: drawn.extend(captions) or "picture.png")
    zoo("data", "show", name, "-n", 2, *PAINTED)
    smooth, clumpy = drawn[0], drawn[2]
    assert all(word in clumpy for word in words)
    assert "weight" not in smooth  # smooth images have no clump
    assert "0.20 arcsec" not in smooth
    assert len(clumpy.replace("\n", ", ").split(", ")) == parts


@pytest.mark.parametrize(
    ("budget", "setting", "side", "boost"),
    [
        ("smoke", "data.arcsec_each=0.05", 12, 3.0),
        ("laptop", "data.arcsec_each=0.06", 24, 2.0),
        ("paper", "data.arcsec_each=0.05", 40, 1.0),
        ("laptop", "data.clump_mass=0.1", 24, 1.0),  # the stated mass, not twice as much
        ("laptop", "data.boost=5", 24, 5.0),
        ("laptop", "data.side=14", 14, 2.0),
    ],
)
def test_probe_and_bench_use_the_same_images(zoo, budget, setting, side, boost):
    words = ["--budget", budget, "--device", "cpu", "--json", *PAINTED, "--set", "data.round=false", "--set", setting]
    planned, _ = zoo("bench", "--model", "toyzoo/tiny", "--data", "clumps", "--dry-run", *words)
    recipe = Recipe(**json.loads(planned)[0]["recipe"])
    assert (recipe.params["side"], recipe.params["boost"]) == (side, boost)
    probed, _ = zoo("data", "probe", "clumps", "--images", 64, *words)
    assert json.loads(probed)["params"] == recipe.params
    assert [path for path in Path("cache").rglob("*") if recipe.hash in path.name]


def test_probe_measures_both_values_of_the_switch(zoo):
    out, _ = zoo("data", "probe", "clumps", "--budget", "smoke", "--images", 64, "--json", *PAINTED)
    assert [(one["round"], one["default"]) for one in json.loads(out)["probes"]] == [(True, False), (False, True)]
    out, _ = zoo("data", "probe", "bare", "--images", 64, "--json", *PAINTED)
    [only] = json.loads(out)["probes"]
    assert only["default"]
    assert "round" not in only


def test_a_first_party_default_comes_before_that_of_a_third_party():
    assert find_simulator(load_plugins(files=FILES, environment={})).id == "caustics/caustics"
    alone = load_plugins(files=FILES, environment={"ZOO_DISABLE_PLUGINS": "caustics"})
    assert find_simulator(alone).id == "foreignsky/painter"


@pytest.mark.parametrize("name", ["clumps", "bare"])
def test_conformance(name):
    # The class of these simple scenes is seen in one parameter, and in one pixel.
    excused = dict.fromkeys(("exposure-leak", "pixel-leak"), "the scenes are as simple as they can be")
    require_passed(check(load_plugins(files=FILES, environment={}), f"foreignsky/{name}", excused=excused))
