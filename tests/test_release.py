"""Statements that a release makes in several places, compared with each other: versions, licence, extras, workflows."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import zoo

ROOT = Path(__file__).resolve().parents[1]
PROJECTS = {
    path.relative_to(ROOT).as_posix(): tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    for path in [ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]
}
CORE = PROJECTS["pyproject.toml"]
EXTRAS = CORE["optional-dependencies"]
NOT_IN_ALL = {"lens-zoo-autolens"}
SCRIPTS = sorted(path for path in (ROOT / ".ci").iterdir() if path.is_file() and not path.suffix)


def citation():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_the_version_is_the_same_everywhere():
    stated = {name: project["version"] for name, project in PROJECTS.items()}
    stated["CITATION.cff"] = str(citation()["version"])
    heading = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.M)
    stated["CHANGELOG.md"] = heading[1]
    assert stated == dict.fromkeys(stated, zoo.__version__)


def test_the_citation_holds_what_its_format_requires():
    content = citation()
    assert content["cff-version"] == "1.2.0"
    assert content["license"] == CORE["license"]
    assert content["type"] == "software"
    assert all(isinstance(content[name], str) and content[name] for name in ("message", "title", "abstract"))
    assert content["authors"]
    assert all(author.keys() <= {"name", "family-names", "given-names", "orcid"} for author in content["authors"])
    assert content["authors"][0]["name"] in (ROOT / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PROJECTS)
def test_packages_state_the_same_python_and_licence(name):
    project = PROJECTS[name]
    assert project["requires-python"] == CORE["requires-python"]
    assert project["license"] == CORE["license"]
    assert project["license-files"] == ["LICENSE"]
    assert (ROOT / name).with_name("LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize("name", [name for name in PROJECTS if name != "pyproject.toml"])
def test_a_plugin_requires_this_series_of_the_packages_of_the_project(name):
    project = PROJECTS[name]
    extras = project.get("optional-dependencies", {}).values()
    required = [one for group in (project["dependencies"], *extras) for one in group if one.startswith("lens-zoo")]
    series = ".".join(zoo.__version__.split(".")[:2])
    assert [one for one in required if one.partition(">=")[2] != series] == []
    assert f"lens-zoo>={series}" in project["dependencies"]


def required_by(extra):
    """Return the requirements of an extra of the core, those of the extras that it names included."""
    for requirement in EXTRAS[extra]:
        named = re.fullmatch(r"lens-zoo\[(.*)\]", requirement)
        if named is None:
            yield requirement
        else:
            for other in named[1].split(","):
                yield from required_by(other)


def test_the_extra_all_holds_all_plugins_and_formats_but_one():
    rest = {requirement for extra in EXTRAS if extra != "all" for requirement in required_by(extra)}
    assert set(required_by("all")) == rest - NOT_IN_ALL
    assert {project["name"] for project in PROJECTS.values()} - {"lens-zoo"} <= rest


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash_without_an_error_of_syntax(script):
    assert script.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n# ")
    subprocess.run(["bash", "-n", script], check=True)


def workflow(name):
    return yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8"))


WORKFLOWS = sorted(path.name for path in (ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_calls_scripts_that_exist_and_may_change_nothing_by_default(name):
    content = workflow(name)
    assert content["permissions"] == {"contents": "read"}
    for job in content["jobs"].values():
        assert set(job.get("needs", "").split()) <= content["jobs"].keys()
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step.get("uses", "a/b@v1"))
            for script in re.findall(r"bash (\S+)", step.get("run", "")):
                assert (ROOT / script).is_file()


def test_the_checks_run_on_the_oldest_and_the_newest_python():
    jobs = workflow("ci.yml")["jobs"]
    newest = re.search(r"ZOO_NEWEST_PYTHON:-([\d.]+)", (ROOT / ".ci" / "newest").read_text(encoding="utf-8"))[1]
    pythons = [CORE["requires-python"].removeprefix(">="), newest]
    assert jobs["run"]["strategy"]["matrix"]["python"] == pythons
    commands = {step["run"] for job in jobs.values() for step in job["steps"] if "run" in step}
    release = f"bash .ci/release --dry-run {' '.join(f'python{python}' for python in pythons)}"
    assert commands == {"bash .ci/run", "bash .ci/lowest", release}
    [setup] = [step for step in jobs["release"]["steps"] if "setup-python" in step.get("uses", "")]
    assert setup["with"]["python-version"].split() == pythons
    assert f"FROM python:{newest}-slim" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_site_is_built_as_by_the_checks():
    [built] = [step["run"] for step in workflow("docs.yml")["jobs"]["build"]["steps"] if "run" in step]
    command = built.partition(" --site-dir")[0]
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["bug.yml", "plugin.yml"])
def test_a_form_for_issues_is_complete(name):
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / name).read_text(encoding="utf-8"))
    assert form.keys() == {"name", "description", "labels", "body"}
    ids = [part["id"] for part in form["body"]]
    assert len(ids) == len(set(ids))
    for part in form["body"]:
        assert part["type"] in ("input", "textarea")
        assert part["attributes"]["label"]
    assert any(part.get("validations", {}).get("required") for part in form["body"])


def test_the_image_is_built_from_what_its_context_holds():
    """Its instructions are known, its extras exist, and the files that packages are built from are not ignored."""
    text = re.sub(r"\\\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    known = {"FROM", "ARG", "RUN", "WORKDIR", "COPY", "ENV", "USER", "ENTRYPOINT", "CMD"}
    assert {line.split()[0] for line in lines} <= known
    extras = re.search(r"^ARG EXTRAS=(.*)$", text, flags=re.M)[1]
    assert set(extras.split(",")) <= EXTRAS.keys()
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    sources = [name.removeprefix("/") for name in tool["hatch"]["build"]["targets"]["sdist"]["include"]]
    assert {f"!{name}" for name in (*sources, "plugins", "pyproject.toml")} == {one for one in ignored if one[0] == "!"}
