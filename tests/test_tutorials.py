"""The tutorials are followed, with few small images: their blocks run in order, and print the words that pages show."""

from __future__ import annotations

import glob
import importlib.metadata
import importlib.util
import pkgutil
import re
import shlex
import subprocess
import tomllib
from itertools import pairwise
from pathlib import Path

import click
import pytest
from cellhere import run_cells_here
from click.testing import CliRunner

from zoo.cli import cli
from zoo.results import store

ROOT = Path(__file__).resolve().parents[1]
TUTORIALS = sorted(page for page in (ROOT / "docs/tutorials").glob("*.md") if page.stem != "index")
BROUGHT = ROOT / "tests/plugins_for_tests/zoo_brought"
FEW = {"train_images": 24, "val_images": 12, "test_images": 12, "epochs": 1}
COARSE = {"data.image_size": 32, "data.pixel_scale": 0.2, "data.over_sampling": 1}
BASELINE = "baselines scalars boosted baseline shown beat unknown"
"""Words about the baseline that is added to a plan, which the tests of it fit."""
STARTS_JOBS = "submitit/without_slurm"  # plugins/submitit has its tests


def follower():
    """Return the module that reads the pages."""
    spec = importlib.util.spec_from_file_location("follow_tutorials", ROOT / "docs/follow_tutorials.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


follow = follower()


def smaller(words: list[str]) -> list[str]:
    """Return a command with fewer and smaller images, which trains in this process."""
    settings = FEW | (COARSE if {"modelA", "modelB_multipoles", "suite.toml"} & set(words) else {})
    if "bench" not in words or "anomaly" in words:  # nothing is trained
        del settings["epochs"]
    kept = words[:1]
    for before, word in pairwise(words):
        if word not in ("--set", "--detach") and not (before == "--set" and word.partition("=")[0] in settings):
            kept += ["--set", word] if before == "--set" else [word]
    return [*kept, *(text for name, value in settings.items() for text in ("--set", f"{name}={value}"))]


def zoo(words: list[str]) -> str:
    """Run zoo with these words, smaller; return all that it prints."""
    if "bench" in words or words[:2] == ["data", "export"]:
        words = smaller(words)
    if "bench" in words:
        words += ["--no-baselines", *(["--seeds", "0,1"] if "suite.toml" in words else [])]
        words += ["--dry-run"] if STARTS_JOBS in words else []
    if words[0] == "check":  # tests/testing has its tests; here, the command is one of zoo
        cli.get_command(click.Context(cli, **cli.context_settings), "check").make_context(
            "check", words[1:], **cli.context_settings
        )
        return ""
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert done.exit_code == 0, f"zoo {shlex.join(words)}\n{done.output}"
    return done.output


def shell(line: str, patch: pytest.MonkeyPatch) -> str:
    """Run a line of a block of the shell."""
    command, _, file = line.partition(" > ")
    words = [name for word in shlex.split(command, comments=True) for name in sorted(glob.glob(word)) or [word]]
    if words[0] == "zoo":
        printed = zoo(words[1:])
        if file:
            Path(file).write_text(printed)
        return printed
    if words[:3] == ["uv", "pip", "install"]:
        install(Path(words[-1]), patch)
        return ""
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def install(project: Path, patch: pytest.MonkeyPatch) -> None:
    """Make the entry points of a project known, as an installation in editable form does."""
    content = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    info = project / f"{content['name'].replace('-', '_')}-{content['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {content['name']}\nVersion: {content['version']}\n")
    [(group, points)] = content["entry-points"].items()
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *(f"{k} = {v}" for k, v in points.items())]))
    patch.syspath_prepend(project)
    found = importlib.metadata.entry_points
    # Another function, so that plugins are loaded anew (tests/toys/hosts.py).
    patch.setattr("importlib.metadata.entry_points", lambda **wanted: found(**wanted))


def words_of(text: str) -> set[str]:
    """Return the words of a text, without short ones and what depends on a run, such as its id."""
    return set(re.findall(r"(?<![A-Za-z0-9])[A-Za-z]{4,}(?![A-Za-z0-9])", text))


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    run_cells_here(monkeypatch)
    printed = ""
    for block in follow.blocks_of(page):
        if block.file:
            Path(block.file).write_text(block.text)
        elif block.language == "bash":
            for line in block.text.replace("\\\n", "").splitlines():
                printed += shell(follow.with_run(line, Path("results")), monkeypatch)
        elif block.language == "python":
            exec(compile(block.text, page.name, "exec"), {"__name__": page.stem})
        elif block.language == "text":
            assert not words_of(block.text) - words_of(f"{printed} {BASELINE}")


@pytest.mark.slow
def test_a_network_that_others_published_is_benched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one, the transformer, is benched by the page that shows it."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    run_cells_here(monkeypatch)
    words = "bench --model steerable_cnn/c8 --data modelA --budget smoke --no-baselines --set widths=[2,2,2,2,2,2]"
    zoo(["--plugin", str(BROUGHT / "steerable_cnn.py"), *shlex.split(words)])
    found, _ = store.scan(Path("results"))
    assert [result.status for result in found] == ["ok"]


def test_the_tutorial_shows_the_network_that_is_benched() -> None:
    shown = {block.file: block.text for block in follow.blocks_of(ROOT / "docs/tutorials/your_own_network.md")}
    assert shown["compact_transformer.py"] == (BROUGHT / "compact_transformer.py").read_text()
    points = tomllib.loads((BROUGHT / "pyproject.toml").read_text())["project"]["entry-points"]["zoo.plugins"]
    assert points == {path.stem: path.stem for path in BROUGHT.glob("*.py")}


def test_pictures_of_the_tutorials_are_drawn_by_the_script_that_follows_them() -> None:
    shown = re.findall(r"images/(tutorial-[\w.-]+png)\)", "".join(page.read_text() for page in TUTORIALS))
    assert sorted(shown) == sorted(follow.PICTURES)
    for name in shown:
        assert (ROOT / "docs/images" / name).stat().st_size < 200_000


def test_commands_and_names_of_the_page_for_users_of_other_projects_exist() -> None:
    page = (ROOT / "docs/coming_from.md").read_text(encoding="utf-8")
    codes = re.findall(r"`([^`]+)`", page)
    commands = [shlex.split(code)[1:] for code in codes if code.startswith("zoo ")]
    names = [match[1] for code in codes if (match := re.match(r"(zoo(?:\.\w+)+)", code))]
    assert len(commands) > 20
    assert len(names) > 3
    for words in commands:
        command = cli
        while isinstance(command, click.Group):
            command = command.get_command(click.Context(cli, **cli.context_settings), words.pop(0))
        assert command is not None
        command.make_context("zoo", words, **cli.context_settings)
    for name in names:
        assert pkgutil.resolve_name(name) is not None
