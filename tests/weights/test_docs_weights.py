"""The commands of docs/weights.md are executed with a small p4m."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from cellhere import run_cells_here
from click.testing import CliRunner

from zoo.cli import cli

pytestmark = pytest.mark.slow  # every command of the page

PAGE = (Path(__file__).parents[2] / "docs" / "weights.md").read_text(encoding="utf-8")
SMALL = "--budget smoke --set train_images=64 --set val_images=32 --set test_images=32 --set data.image_size=24"
SIZES = ["--set", "data.pixel_scale=0.25", "--set", "data.over_sampling=1"]


def commands():
    """Return every command line of the page's bash blocks, without the name zoo."""
    lines = "".join(re.findall(r"^```bash\n(.*?)^```", PAGE, flags=re.M | re.S)).splitlines()
    return [line.partition("  #")[0].rstrip() for line in lines if line.strip()]


def python():
    [block] = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.M | re.S)
    return block


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a trained network in ./results and a few cut-outs."""
    folder = tmp_path_factory.mktemp("docs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        run_cells_here(patch)
        words = shlex.split(commands()[0])[1:]
        done = CliRunner().invoke(cli, [*words, *shlex.split(SMALL), *SIZES], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        (folder / "cutouts").mkdir()
        lens = np.random.default_rng(0).normal(size=(60, 60)).astype(np.float32)
        fits.writeto(folder / "lens.fits", lens, header=fits.Header({"PIXSCALE": 0.1}))
        fits.writeto(folder / "cutouts" / "lens.fits", lens, header=fits.Header({"PIXSCALE": 0.1}))
        np.save(folder / "more.npy", lens)
        yield folder


def test_the_page_has_these_commands():
    verbs = [shlex.split(line.rpartition("| ")[2])[1] for line in commands()]
    assert verbs == [
        "bench", "weights", *["predict"] * 5, *["evaluate"] * 5, "bench", "card", "export", "export", "weights",
        "verify", "rerun",
    ]  # fmt: skip


def test_the_page(place, monkeypatch):
    """In one test, so that one process trains; `push` has a hub of its own, torch.export a smaller network."""
    monkeypatch.chdir(place)
    [run_id] = [path.name for path in place.glob("results/deeplense.modelA/gconv.*/*")]
    for line in commands()[1:]:
        if not any(word in line for word in ("hf://", "torch-export", "slurm")):
            line += " -n 32 --set data.over_sampling=1" if "zoo evaluate" in line else ""
            run(line.replace("RUN", run_id[:8]), place)
    names = {"images": np.zeros((5, 24, 24), np.float32)}
    exec(python().replace("RUN", run_id), names)
    assert names["probabilities"].shape == (5, 3)
    assert names["model"].about.pixel_scale == 0.25


def run(line, folder):
    """Run one command line of the page."""
    first, pipe, last = line.partition(" | ")
    words = shlex.split((last if pipe else first).partition(" > ")[0])[1:]
    if words[0] == "bench":
        words += [*shlex.split(SMALL), *SIZES, "--dry-run"]
    listed = "\n".join(map(str, folder.glob("cutouts/*.fits"))) if pipe else None
    done = CliRunner().invoke(cli, words, input=listed, catch_exceptions=False)
    assert done.exit_code == 0, (line, done.output)
    if words[0] == "predict":
        assert "lens.fits" in done.stdout
    if "--out" in words:
        assert (folder / words[words.index("--out") + 1]).stat().st_size > 1000
    if words[0] == "rerun":
        assert "equal bit by bit" in done.stdout
