"""Every distribution builds with plain pip, holds what it should, and works when it is installed without this tree."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # wheels

ROOT = Path(__file__).resolve().parents[1]
_SPEC = importlib.util.spec_from_file_location("archives", ROOT / ".ci" / "archives.py")
assert _SPEC is not None
assert _SPEC.loader is not None
archives = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(archives)
SOURCES = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(folder), *map(str, SOURCES)], check=True, capture_output=True)
    return sorted(folder.glob("*.whl"))


def test_there_is_a_wheel_of_each_and_nothing_superfluous_in_it(wheels: list[Path]) -> None:
    assert len(wheels) == len(SOURCES)
    for wheel in wheels:
        names = zipfile.ZipFile(wheel).namelist()
        package = wheel.name.split("-")[0].replace("lens_", "", 1)
        assert f"{package}/__init__.py" in names
        assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {package}
        assert not [name for name in names if "test_" in name and "/templates/" not in name]
        assert any(name.endswith("entry_points.txt") for name in names)


def test_no_wheel_has_a_fault(wheels: list[Path]) -> None:
    assert {wheel.name: archives.wheel_faults(wheel) for wheel in wheels} == {wheel.name: [] for wheel in wheels}


def test_faults_of_wheels_and_source_archives_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wheel, source = tmp_path / "mine-1-py3-none-any.whl", tmp_path / "mine-1.tar.gz"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("mine-1.dist-info/METADATA", "Name: mine\n\n")
        archive.writestr("mine/__pycache__/a.pyc", "")
        archive.writestr("tests/test_a.py", "")
    with tarfile.open(source, "w:gz") as tar:
        tar.add(wheel, "mine-1/.mypy_cache/a")
    (tmp_path / "other-2.tar.gz").write_bytes(source.read_bytes())
    assert archives.main(tmp_path) == 1
    told = capsys.readouterr().out
    for fault in (
        "whl: holds mine/__pycache__/a.pyc", "whl: holds tests/test_a.py", "whl: no LICENSE", "whl: no README",
        "whl: no Requires-Python", "mine-1.tar.gz: no pyproject.toml", "mine-1.tar.gz: holds mine-1/.mypy_cache/a",
        "not one wheel and one source archive of each",
    ):  # fmt: skip
        assert fault in told


def test_a_wheel_holds_every_file_of_its_package(wheels: list[Path]) -> None:
    """Templates, style sheet and script of the page, template of a card, bundled weights, py.typed."""
    held = {name for wheel in wheels for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    packages = [ROOT / "zoo", *(path for path in ROOT.glob("plugins/*/zoo_*") if path.is_dir())]
    files = {
        path.relative_to(package.parent).as_posix()
        for package in packages
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == files
    assert {f"zoo/report/templates/page.{kind}" for kind in ("html", "css", "js")} <= held
    assert "zoo/weights/templates/card.md" in held


@pytest.fixture(scope="module")
def installed(wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheels into a folder; return it."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder)]
    subprocess.run([*command, *map(str, wheels)], check=True, capture_output=True)
    return folder


def run_installed(code: str, installed: Path, folder: Path) -> str:
    """Run Python with the installed wheels in front; return its stdout."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


RENDERED = """
from pathlib import Path
import zoo
from zoo.report.page import write_page
from zoo.results.store import Unreadable
from zoo.weights.card import _template
assert Path(zoo.__file__).is_relative_to({home!r})
write_page([], [Unreadable(run_dir=Path("a/b"), cause="it is damaged")], Path("page.html"))
assert _template().name == "card.md"
"""


def test_the_page_and_the_card_are_rendered_from_the_installed_files(installed: Path, tmp_path: Path) -> None:
    run_installed(RENDERED.format(home=str(installed)), installed, tmp_path)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for kind in ("css", "js"):
        assert (ROOT / f"zoo/report/templates/page.{kind}").read_text(encoding="utf-8").strip() in page
    assert "it is damaged" in page


def test_installed_alone_they_find_each_other(installed: Path, tmp_path: Path) -> None:
    code = "import zoo; print(zoo.__file__); print(*zoo.list_models(), *zoo.list_datasets(), *zoo.list_simulators())"
    home, listed = run_installed(code, installed, tmp_path).splitlines()
    assert Path(home).is_relative_to(installed)
    assert {"gconv/p4m", "timm/resnet18", "deeplense/modelB", "caustics/caustics"} <= set(listed.split())


def test_the_development_environment_holds_every_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = {tomllib.loads((path / "pyproject.toml").read_text())["project"]["name"] for path in SOURCES[1:]}
    assert names <= set(project["dependency-groups"]["dev"])
    assert names | {"lens-zoo"} == set(project["tool"]["uv"]["sources"])
