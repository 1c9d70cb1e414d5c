"""Every distribution builds with plain pip, holds what it should, and works when it is installed without this tree."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import zoo

pytestmark = pytest.mark.slow  # wheels

ROOT = Path(__file__).resolve().parents[1]
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
        assert not [name for name in names if "test_" in name]
        assert any(name.endswith("entry_points.txt") for name in names)


def test_installed_alone_they_find_each_other(wheels: list[Path], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(tmp_path)]
    subprocess.run([*command, *map(str, wheels)], check=True, capture_output=True)
    code = "import zoo; print(zoo.__file__); print(*zoo.list_models(), *zoo.list_datasets(), *zoo.list_simulators())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    home, listed = done.stdout.splitlines()
    assert Path(home).is_relative_to(tmp_path)
    assert {"gconv/p4m", "timm/resnet18", "deeplense/modelB", "caustics/caustics"} <= set(listed.split())


def test_versions_agree() -> None:
    versions = {tomllib.loads((path / "pyproject.toml").read_text())["project"]["version"] for path in SOURCES}
    assert versions == {zoo.__version__}


def test_the_development_environment_holds_every_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = {tomllib.loads((path / "pyproject.toml").read_text())["project"]["name"] for path in SOURCES[1:]}
    assert names <= set(project["dependency-groups"]["dev"])
    assert names | {"lens-zoo"} == set(project["tool"]["uv"]["sources"])
