"""The README's commands are run, at smoke size; its Python and its plugin too."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from cellhere import run_cells_here, run_trials_here
from click.testing import CliRunner

from zoo.cli import cli

pytestmark = pytest.mark.slow  # the README's commands

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COARSE = ["--set", "data.image_size=32", "--set", "data.pixel_scale=0.2", "--set", "data.over_sampling=1"]
SMALL = ["--budget", "smoke", "--set", "train_images=64", "--set", "val_images=32", "--set", "test_images=32", *COARSE]
TINY = ["-n", "9", "--set", "data.image_size=16", "--set", "data.pixel_scale=0.4"]


def blocks(language: str) -> list[str]:
    """Return the README's code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.M | re.S)


def commands() -> list[list[str]]:
    """Return the words of every zoo command in the README."""
    found = []
    for line in "".join(blocks("bash")).splitlines():
        for part in line.split("&&"):
            words = shlex.split(part, comments=True)
            if words[:2] == ["uv", "run"] and words[2:3] == ["zoo"]:
                found.append(words[3:])
    return found


def run_here(words: list[str]) -> str:
    """Run zoo with these words in this process, which has imported torch already; return stdout.

    Other tests start processes: benchmarks in tests/test_reliability.py and tests/cli/test_detach.py, searches in
    plugins/optuna/tests/test_optuna_study.py.
    """
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert done.exit_code == 0, f"zoo {shlex.join(words)}\n{done.output}"
    return done.stdout


def test_the_readme_has_the_commands_that_are_tested_here() -> None:
    verbs = {words[0] for words in commands()}
    assert {"bench", "list-models", "show", "report", "plugins", "env"} <= verbs
    assert commands()[0] == ["bench", "--model", "p4m", "--data", "modelB"]
    assert "uv run pytest" in "".join(blocks("bash"))


def test_the_first_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`zoo bench --model p4m --data modelB` ends with a table and two pictures; again, it prints them at once."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    run_cells_here(monkeypatch)
    table = run_here([*commands()[0], *SMALL])
    assert "gconv/p4m" in table
    assert "macro" in table
    assert "baselines/scalars_boosted" in table
    pictures = sorted(path.name.split("-")[0] for path in (tmp_path / "results" / "figures").iterdir())
    assert pictures == ["images", "roc"]
    assert run_here([*commands()[0], *SMALL]) == table
    assert "gconv/p4m" in run_here(["report"])
    assert run_here(["report", "--md"]).startswith("### deeplense/modelB")


@pytest.mark.parametrize("words", commands()[1:], ids=" ".join)
def test_the_other_commands(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    if words[0] == "bench":
        page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
        [network] = re.findall(r"^`mynet.py`:\n\n```python\n(.*?)^```", page, flags=re.M | re.S)
        (tmp_path / "my_net.py").write_text(network)
        # The plan checks every name and setting; running is what the first command shows.
        words = [*words, *SMALL, "--dry-run"]
    if words[0] == "tune":
        words = [*words, *SMALL, "--trials", "1"]
        run_trials_here(monkeypatch)
    if words[0] == "simulate":
        words = [*words, *TINY]
    if words[0] == "predict":
        image = np.random.default_rng(0).normal(0, 0.03, (64, 64)).astype(np.float32)
        fits.writeto(tmp_path / "image.fits", image)
        (tmp_path / "folder").mkdir()
        np.save(tmp_path / "folder" / "one.npy", image)
    if words[0] == "evaluate":
        words = [*words, "-n", "12", "--set", "data.over_sampling=1"]
    if words[0] == "equivariance":
        np.save(tmp_path / "four.npy", np.random.default_rng(0).normal(size=(4, 64, 64)).astype(np.float32))
        words = [*words, "--images", "four.npy"]  # quicker than to simulate the test images
    if words[:2] == ["data", "verify"]:
        run_here(["simulate", "modelB", *TINY, "--out", words[-1]])
    if words[:2] == ["data", "export"]:
        words = [*words, *SMALL]
    if words[0] == "score":
        run_here([*next(other for other in commands() if other[:2] == ["data", "export"]), *SMALL])
        ids = (tmp_path / "images" / "ids.csv").read_text().split()[1:]
        rows = ["id,no_substructure,subhalo,vortex", *(f"{one.split(',')[-1]},0.2,0.3,0.5" for one in ids)]
        (tmp_path / "predictions.csv").write_text("\n".join(rows) + "\n")
    if words[0] == "report":
        pytest.skip("run in the test of the first command, where there is a result")
    run_here(words)


def test_the_python_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    code = blocks("python")[0]
    assert "zoo.bench(" in code
    # The last line is a whole run, which the first command shows already; the name must exist.
    code = re.sub(r"results = zoo\.bench\(.*\)", "assert callable(zoo.bench)", code)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "(256, 1, 64, 64)" in done.stdout


def test_the_plugin_in_twenty_lines(tmp_path: Path) -> None:
    """The README's plugin, installed as its page says, stands in the list and builds."""
    module = blocks("python")[1]
    assert len(module.splitlines()) <= 20
    (tmp_path / "my_lens_nets.py").write_text(module)
    name, value = re.search(r'^(\w+) = "(my_lens_nets)"$', blocks("toml")[0], flags=re.M).groups()  # type: ignore[union-attr]
    info = tmp_path / "my_lens_nets-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-lens-nets\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[zoo.plugins]\n{name} = {value}\n")
    code = (
        "import zoo, torch\n"
        "assert 'my_lens_nets/tiny' in zoo.list_models('tiny'), zoo.list_models()\n"
        "print(zoo.create_model('tiny', image_size=64)(torch.zeros(2, 1, 64, 64)).shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "[2, 3]" in done.stdout
