"""`zoo new-plugin`: what it writes can be installed, passes the conformance kit and is benched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest

from zoo.cli import main
from zoo.testing.new_plugin import KINDS, LICENCES

ROOT = Path(__file__).parents[2]


def write(capsys, *words):
    with pytest.raises(SystemExit) as request:
        main(["new-plugin", *map(str, words)])
    return request.value.code, capsys.readouterr()


def compiled(folder):
    """Return the Python files of a folder, which must be free of syntax errors and of ruff's complaints."""
    files = sorted(folder.rglob("*.py"))
    for file in files:
        compile(file.read_text(), str(file), "exec")
    command = [sys.executable, "-m", "ruff", "check", "--config", str(ROOT / "pyproject.toml"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return files


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_by_itself_is_a_complete_project(kind, tmp_path, capsys):
    code, shown = write(capsys, "my-lens-things", f"--{kind}", "--folder", tmp_path / "project", "--licence", "none")
    assert code == 0, shown.err
    files = {path.relative_to(tmp_path / "project").as_posix() for path in compiled(tmp_path / "project")}
    package = "my_lens_things"
    assert files == {
        f"{package}/__init__.py", f"{package}/plugin.py", f"{package}/{kind}.py", "tests/test_plugin.py"
    }  # fmt: skip
    pyproject = tomllib.loads((tmp_path / "project" / "pyproject.toml").read_text())
    assert pyproject["project"]["entry-points"]["zoo.plugins"] == {package: f"{package}.plugin"}
    assert "license" not in pyproject["project"]
    assert "zoo check my_lens_things" in shown.err
    benches = [line for line in (tmp_path / "project/README.md").read_text().splitlines() if line[:9] == "zoo bench"]
    used = kind not in ("metric", "tracker")  # which take part without being named
    assert [f"{package}/" in line for line in benches] == [used] * (kind != "command")
    assert shown.out.splitlines() == sorted(shown.out.splitlines())


def test_the_licence_has_the_authors_name(tmp_path, capsys):
    for licence in LICENCES:
        write(capsys, "my-lens-things", "--folder", tmp_path / licence, "--licence", licence, "--author", 'Ada "L."')
        file = tmp_path / licence / "LICENSE"
        assert file.exists() == (licence != "none")
        assert tomllib.loads((tmp_path / licence / "pyproject.toml").read_text())["project"]["authors"] == [
            {"name": 'Ada "L."'}
        ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lens zoo", "cannot be the name"),
        ("../up", "cannot be the name"),
        ("gconv", "is taken"),
        ("numpy", "would replace it"),
        ("zoo", "is installed already"),
        ("class", "is taken"),
        ("Lens_Zoo", "would replace it"),
        ("lens-zoo-gconv", "would replace it"),
        ("scikit-learn", "would replace it"),
    ],
)
def test_an_impossible_name_is_refused(name, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, shown = write(capsys, name)
    assert code == 2
    assert said in shown.err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_kept(tmp_path, capsys):
    code, shown = write(capsys, "my-lens-things", "--folder", tmp_path)
    assert code == 2
    assert "exists already" in shown.err


@pytest.mark.slow  # as it does, mypy reads the types of torch and zoo
def test_types_of_one_with_everything_and_of_targets_are_right(tmp_path, capsys):
    write(capsys, "my-lens-things", *(f"--{kind}" for kind in KINDS), "--folder", tmp_path / "project")
    (tmp_path / "targets.py").write_text(
        "from my_lens_things import dataset, launcher, metric, model, population, simulator\n"
        "from zoo.targets import BuildsData, BuildsNetwork, Renders, ScoresPredictions, StartsLauncher\n"
        "network: BuildsNetwork = model.build\nimages: BuildsData = dataset.build\n"
        "sky: BuildsData = population.Lenses\nrender: Renders = simulator.render\n"
        "score: ScoresPredictions = metric.brier\nstart: StartsLauncher = launcher.Together\n"
        "wrong: BuildsNetwork = metric.brier\n"
    )
    options = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "targets.py", "project/my_lens_things"],
        cwd=tmp_path, env={**os.environ, "MYPYPATH": "project"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    [error] = [line for line in done.stdout.splitlines() if " error: " in line]
    assert error.startswith("targets.py:9: "), done.stdout


@pytest.mark.slow
def test_one_with_everything_is_installed_tested_and_benched(tmp_path, capsys):
    """In a fresh environment that finds this one's libraries by a .pth file, since there is no network in tests."""
    project, fresh = tmp_path / "project", tmp_path / "fresh"
    code, shown = write(capsys, "my-lens-things", *(f"--{kind}" for kind in KINDS), "--folder", project)
    assert code == 0, shown.err
    compiled(project)
    venv.create(fresh, with_pip=False, symlinks=True)
    python = fresh / "bin" / "python"
    [site] = fresh.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")

    def run(*words, **variables):
        done = subprocess.run(
            [*map(str, words)],
            cwd=tmp_path,
            env={
                **os.environ,
                "ZOO_CACHE": str(tmp_path / "cache"),
                "ZOO_PLUGINS": "core,caustics,my_lens_things",
                **variables,
            },
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    offline = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    run(sys.executable, "-m", "pip", "--python", python, "install", *offline, project)
    assert list(site.glob("my_lens_things-*.dist-info"))
    tests = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", project / "tests")
    assert " passed" in tests
    assert "failed" not in tests
    run(
        python, "-m", "zoo", "bench", "--model", "my_lens_things/tiny", "--data", "my_lens_things/stripes", "--budget",
        "smoke", "--device", "cpu", "--launcher", "my_lens_things/together", "--no-baselines",
    )  # fmt: skip
    [result] = (tmp_path / "results").rglob("result.json")
    content = json.loads(result.read_text())
    assert content["status"] == "ok"
    assert set(content["test"]["extra"]["my_lens_things/brier"]) == {"brier"}
    lines = (result.parent / "my_lens_things.jsonl").read_text().splitlines()
    assert [json.loads(line).get("status") for line in lines] == [None, "ok"]
    assert run(python, "-m", "zoo", "my_lens_things-hello", "you") == "hello you\n"
