"""Writes the project of a new plugin: a working example of each kind, tests, README and CI file from templates."""

from __future__ import annotations

import datetime
import importlib.metadata
import importlib.util
import json
import keyword
import re
from collections.abc import Sequence
from pathlib import Path

from zoo.errors import UsageError
from zoo.hookspecs import API_VERSION
from zoo.packages import first_party
from zoo.paths import write_text
from zoo.version import __version__

LICENCES = {"mit": "MIT", "bsd-3-clause": "BSD-3-Clause", "none": ""}
"""Choice of a licence -> its SPDX identifier."""
KINDS = {
    "model": ("ModelSpec", "ModelChecks", "tiny", "a small network"),
    "dataset": ("DatasetSpec", "DatasetChecks", "stripes", "images that exist already"),
    "population": ("DatasetSpec", "PopulationChecks", "lenses", "lenses that a simulator renders"),
    "simulator": ("SimulatorSpec", "SimulatorChecks", "unlensed", "a simulator"),
    "metric": ("MetricSpec", "MetricChecks", "brier", "a score of predictions"),
    "task": ("TaskSpec", "TaskChecks", "presence", "a question"),
    "launcher": ("LauncherSpec", "LauncherChecks", "together", "a way to run cells"),
    "command": ("", "CommandChecks", "", "a command of zoo"),
    "tracker": ("", "TrackerChecks", "", "a listener to runs"),
}
"""Kind -> class of its spec, class of its checks, name of the example, description."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_.][A-Za-z0-9]+)*")


def write_project(
    folder: Path, name: str, *, kinds: Sequence[str], licence: str = "mit", author: str = ""
) -> list[Path]:
    """Write a project that pip can install, and return its files.

    Args:
        folder: New folder of the project.
        name: Name of the distribution, such as "my-lens-nets"; the namespace is made from it.
        kinds: Kinds of which an example is written, of those in `KINDS`.
        licence: One of `LICENCES`.
        author: Name for the licence and the metadata.

    Raises:
        UsageError: The name is impossible or taken, or the folder exists.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    namespace = _namespace(name)
    if folder.exists():
        raise UsageError(f"{folder} exists already.", hint="Choose another name, or another place with --folder DIR")
    chosen = [kind for kind in KINDS if kind in kinds]
    described = [(kind, KINDS[kind]) for kind in chosen]
    specs = sorted({spec for _, (spec, _, _, _) in described if spec})
    values = {
        "distribution": name,
        "namespace": namespace,
        "package": namespace,
        "summary": f"A plugin of zoo: {', '.join(text for _, (_, _, _, text) in described)}.",
        "kinds": chosen,
        "specs": specs,
        "files": [(kind, f"{kind}.py", text) for kind, (_, _, _, text) in described],
        "tests": [
            (kind, checks, f"{namespace}/{example}" if example else namespace)
            for kind, (_, checks, example, _) in described
        ],
        "test_imports": _import("zoo.testing", {"PluginChecks", *(checks for _, (_, checks, _, _) in described)}),
        "benches": _benches(namespace, chosen),
        "licence": licence,
        "spdx": LICENCES[licence],
        "author": json.dumps(author)[1:-1],
        "year": datetime.date.today().year,
        "zoo_version": __version__,
        "api_version": API_VERSION,
    }
    templates = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        ".gitignore": "gitignore",
        ".github/workflows/tests.yml": "ci.yml",
        f"{namespace}/plugin.py": "plugin.py",
        **{f"{namespace}/{kind}.py": f"{kind}.py" for kind in chosen},
        "tests/test_plugin.py": "test_plugin.py",
        **({} if licence == "none" else {"LICENSE": licence}),
    }
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    written = {
        file: environment.get_template(f"{template}.jinja").render(values) for file, template in templates.items()
    }
    written[f"{namespace}/__init__.py"] = f'"""{name}, a plugin of zoo."""\n'
    written[f"{namespace}/py.typed"] = ""
    for file, text in written.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    return [folder / file for file in sorted(written)]


def _benches(namespace: str, kinds: Sequence[str]) -> list[str]:
    """Return commands that use the examples of these kinds, with parts of this project for those that are not there."""
    own = {kind: f"{namespace}/{KINDS[kind][2]}" for kind in kinds}
    options = [f"--{kind} {own[kind]}" for kind in ("simulator", "launcher") if kind in own]
    data = own.get("population" if "simulator" in own else "dataset") or own.get("population", "modelA")
    words = ["zoo bench --model", own.get("model", "p4m"), "--data", data, *options, "--budget smoke"]
    commands = [" ".join(words)] if set(kinds) - {"task", "command"} else []
    return commands + ([" ".join([*words, "--task", own["task"]])] if "task" in own else [])


def _import(module: str, names: set[str]) -> str:
    """Return a line that imports names, or lines where it would be long."""
    line = f"from {module} import {', '.join(sorted(names))}"
    lines = "".join(f"    {name},\n" for name in sorted(names))
    return line if len(line) <= 88 else f"from {module} import (\n{lines})"


def _namespace(name: str) -> str:
    """Return the namespace and the name of the package of a distribution.

    Raises:
        UsageError: The name is impossible or taken.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"'{name}' cannot be the name of a distribution.",
            hint="It consists of letters, digits and single '-', '_' or '.' between them, such as my-lens-nets",
        )
    namespace = re.sub(r"[-_.]+", "_", name).lower()
    if keyword.iskeyword(namespace) or namespace in first_party():
        raise UsageError(f"The namespace '{namespace}' is taken.", hint="Choose another name")
    if namespace.replace("_", "-") in first_party().values() or _is_installed(name):
        raise UsageError(
            f"A distribution named '{name}' exists already: an installation would replace it.",
            hint="Choose another name, such as my-" + name,
        )
    if importlib.util.find_spec(namespace) is not None:
        raise UsageError(
            f"A module named '{namespace}' is installed already, so the package could not be imported.",
            hint="Choose another name, such as my-" + name,
        )
    return namespace


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
