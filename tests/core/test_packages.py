"""Names of this project's plugins and versions of libraries come from the metadata of installed distributions."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from zoo.environment import describe
from zoo.packages import (
    ENTRY_POINT_GROUP,
    code_digest,
    distributions_by_module,
    first_party,
    installed_code,
    library_versions,
    source_commit,
)

ROOT = Path(__file__).parents[2]
PLUGINS = {
    path.parent.name: tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    for path in sorted((ROOT / "plugins").glob("*/pyproject.toml"))
}


def test_the_core_names_each_namespace_of_this_repository_and_its_distribution():
    there = {name: one["name"] for one in PLUGINS.values() for name in one["entry-points"][ENTRY_POINT_GROUP]}
    other = ("core", "simulator", "slurm")
    named = {name: distribution for name, distribution in first_party().items() if name not in other}
    assert named == there


def test_no_module_of_the_core_names_a_plugin_or_a_parameter_of_one():
    words = ["mass_scale", "vortex", "subhalo", "caustics"]
    found = [
        f"{path.name}: {word}" for path in (ROOT / "zoo").rglob("*.py") for word in words if word in path.read_text()
    ]
    assert not found


@pytest.mark.parametrize("library", ["torch", "numpy", "timm", "e2cnn", "escnn", "caustics", "safetensors", "pluggy"])
def test_a_result_records_the_versions_of_required_libraries(library):
    assert describe(accelerator=False).libraries[library]


def test_a_third_partys_requirements_are_recorded_and_its_name_gives_no_precedence(tmp_path, monkeypatch):
    info = tmp_path / "lens_zoo_mine-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: lens-zoo-mine\nVersion: 0.1.0\n"
        "Requires-Dist: Pytest_XDist>=3; python_version > '3'\nRequires-Dist: no-such-library; extra == 'more'\n"
        "Requires-Dist: lens-zoo\n"
    )
    (info / "entry_points.txt").write_text("[zoo.plugins]\nmine = mine\n")
    before = library_versions()
    monkeypatch.syspath_prepend(tmp_path)
    assert set(library_versions()) - set(before) == {"pytest-xdist"}
    first_party.cache_clear()
    assert "lens-zoo-mine" not in first_party().values()


def test_without_metadata_of_the_core_no_plugin_has_precedence(monkeypatch):
    def nothing(name):
        raise OSError("no metadata")

    monkeypatch.setattr("importlib.metadata.requires", nothing)
    first_party.cache_clear()
    try:
        assert dict(first_party()) == {"core": "lens-zoo"}
    finally:
        first_party.cache_clear()


def test_the_digest_of_a_file_covers_the_modules_beside_it_that_it_imports(tmp_path):
    plugin, helper, package, other = (tmp_path / name for name in ("mine.py", "helper.py", "parts", "other.py"))
    plugin.write_text("import torch, zoo\n\ndef build():\n    from helper import value\n")
    alone = code_digest(plugin)
    assert alone == hashlib.sha256(plugin.read_bytes()).hexdigest()[:16]  # as before such modules counted
    seen = {alone}
    for path, text in (
        (helper, "value = 1"), (helper, "import parts.deep"), (package / "deep.py", "a = 1"),
        (package / "deep.py", "a = 2"), (package / "loop.cpp", "int a;"), (package / "priors.csv", "mass,1"),
        (package / "priors.csv", "mass,2"), (plugin, "import helper"), (helper, "a = "),
    ):  # fmt: skip
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        assert code_digest(plugin) not in seen, (path, text)
        seen.add(code_digest(plugin))
    now = code_digest(plugin)
    other.write_text("")
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "a.py").write_text("")
    plugin.write_text("import helper, torch")
    assert code_digest(plugin) != now
    now = code_digest(plugin)
    (tmp_path / "torch" / "a.py").write_text("b = 1")
    assert code_digest(plugin) == now
    for path in (package / "__pycache__" / "deep.pyc", package / ".deep.py.swp", package / "loop.so"):  # not sources
        path.parent.mkdir(exist_ok=True)
        path.write_text("1")
    assert code_digest(plugin) == now


def test_a_reinstallation_of_the_same_version_changes_the_digest(lay, site):
    """pip writes RECORD; its hash of a Python file may be older than the file."""
    info = lay("my-nets", points={"mine": None})
    (site / "my_data").mkdir()
    (site / "my_data" / "numbers.py").write_text("ONE = 1\n")
    (site / "my_data" / "table.bin").write_text("1")  # Python 3.12 leaves out files that do not exist

    def digest(*lines):
        (info / "RECORD").write_text("".join(f"{line}\n" for line in lines))
        return installed_code("my-nets")

    code, data = "my_data/numbers.py,sha256=aa,8", "my_data/table.bin,sha256=bb,9"
    first = digest(code, data)
    assert len(first) == 16
    script, own = "../../../bin/my-nets,sha256=cc,9", "my_nets-1.0.dist-info/METADATA,sha256=dd,9"
    assert digest(data, code, script, own, "my_data/__pycache__/numbers.pyc,,") == first
    assert digest(code, data.replace("bb", "ee")) != first
    assert digest(code) != first
    (site / "my_data" / "numbers.py").write_text("ONE = 2\n")
    assert digest(code, data) != first
    (info / "RECORD").unlink()
    assert installed_code("my-nets") == installed_code("no-such-distribution") == ""


def test_metrics_of_other_code_are_stale(lay, site):
    from zoo import provenance
    from zoo.host import load_plugins

    code = "from zoo import MetricSpec, hookimpl\n@hookimpl\ndef zoo_metrics():\n"
    code += "    return [MetricSpec(id='mine/score', target='a:b')]\n"
    lay("my-metrics", points={"mine": None}, code=code)
    host = load_plugins(environment={"ZOO_PLUGINS": "mine"})
    recorded = provenance.metric_code(host)
    assert recorded["mine/score"].startswith("my-metrics 1.0 (code ")
    assert provenance.stale_metrics(host, {**recorded, "gone/score": "x"}) == []
    (site / "my_metrics_plugin.py").write_text(code + "# edited\n")
    assert provenance.stale_metrics(host, recorded) == ["mine/score"]


@pytest.mark.slow
def test_metadata_are_read_again_after_an_installation_only(site, monkeypatch):
    read, times = importlib.metadata.packages_distributions, []
    monkeypatch.setattr(importlib.metadata, "packages_distributions", lambda: times.append(1) or read())

    def installed(module):
        (site / f"{module}.dist-info").mkdir()
        (site / f"{module}.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {module}-dist\nVersion: 1\n"
        )
        (site / f"{module}.dist-info" / "top_level.txt").write_text(f"{module}\n")

    installed("earlier")
    assert distributions_by_module()["earlier"] == ["earlier-dist"]
    assert "later" not in distributions_by_module()
    assert times == [1]
    installed("later")
    assert distributions_by_module()["later"] == ["later-dist"]
    assert times == [1, 1]
    monkeypatch.setattr(sys, "path", sys.path[1:])
    assert "later" not in distributions_by_module()


@pytest.fixture
def commit_of(monkeypatch):
    """Return a function that gives the commit of a core with a certain direct_url.json."""

    class Installed:
        def __init__(self, source):
            self.source = source

        def read_text(self, name):
            assert name == "direct_url.json"
            return self.source and json.dumps(self.source)

    def commit_of(source):
        monkeypatch.setattr("importlib.metadata.distribution", lambda name: Installed(source))
        source_commit.cache_clear()
        return source_commit()

    yield commit_of
    source_commit.cache_clear()


def test_a_result_records_the_commit_of_a_clone_and_that_it_was_changed(tmp_path, commit_of):
    clone = tmp_path / "a clone"
    clone.mkdir()

    def git(*words):
        own = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *own, *words], cwd=clone, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    editable = {"url": clone.as_uri(), "dir_info": {"editable": True}}
    git("init", "-q")
    assert commit_of(editable) == ""  # there is none yet
    (clone / "code.py").write_text("one = 1\n")
    git("add", ".")
    git("commit", "-qm", "One")
    commit = git("rev-parse", "HEAD")
    (clone / "notes").write_text("not tracked")
    assert commit_of(editable) == commit
    assert describe(accelerator=False).commit == commit
    (clone / "code.py").write_text("one = 2\n")
    assert commit_of(editable) == f"{commit}+changes"


def test_what_was_installed_without_a_clone_has_the_commit_of_its_source_or_none(tmp_path, commit_of):
    source = {"url": "https://example.org/zoo.git", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}}
    assert commit_of(source) == "c0ffee"
    assert commit_of(None) == ""  # from an index
    assert commit_of({"url": tmp_path.as_uri(), "dir_info": {}}) == ""
    assert commit_of({"url": (tmp_path / "gone").as_uri(), "dir_info": {"editable": True}}) == ""
