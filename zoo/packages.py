"""Installed distributions: entry points of plugins, this project's own plugins, and the libraries that they require.

The core's metadata has an extra for each plugin of this project (`lens-zoo[gconv]` requires `lens-zoo-gconv`), and one
of many, `all`. The names of these plugins therefore stand in `pyproject.toml` only.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from zoo.paths import file_sha256, parse_json, regular_file

logger = logging.getLogger(__name__)

CORE = "lens-zoo"
ENTRY_POINT_GROUP = "zoo.plugins"
_COMPILED = (".pyc", ".pyo", ".so", ".pyd", ".dll", ".dylib", ".o", ".obj")
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)[^;]*(?:;.*extra\s*==\s*[\"']([^\"']+)[\"'])?")


def entry_points() -> list[importlib.metadata.EntryPoint]:
    """Return the entry points of zoo's group, skipping distributions with unreadable metadata."""
    try:
        return list(importlib.metadata.entry_points(group=ENTRY_POINT_GROUP))
    except Exception:
        logger.warning("the metadata of an installed distribution are damaged; its plugins are left out")
    points = []
    for distribution in importlib.metadata.distributions():
        with contextlib.suppress(Exception):
            points += list(distribution.entry_points.select(group=ENTRY_POINT_GROUP))
    return points


@functools.cache
def first_party() -> Mapping[str, str]:
    """Return namespace -> distribution of this project's plugins, installed or not; "core" is the core's own plugin.

    Other names that a plugin is known by, such as that of its launcher, are extras as well. A plugin cannot add itself:
    only the metadata of the core count.
    """
    own: dict[str, list[str]] = {}
    for name, extra in _requirements(CORE):
        if extra and name.startswith(f"{CORE}-"):
            own.setdefault(extra, []).append(name)
    # An extra with several plugins, such as `all`, is not a namespace.
    return {"core": CORE, **{extra: names[0] for extra, names in own.items() if len(names) == 1}}


def is_editable(distribution: str) -> bool:
    """Return whether a distribution is installed in editable form: its code may change while its version stays."""
    try:
        return bool(_source(distribution).get("dir_info", {}).get("editable"))
    except Exception:  # no metadata, or damaged ones
        return False


def _source(distribution: str) -> dict[str, Any]:
    """Return where a distribution was installed from (PEP 610), or {} if from an index."""
    text = importlib.metadata.distribution(distribution).read_text("direct_url.json") or "{}"
    return cast(dict[str, Any], parse_json(text))


def installed_code(distribution: str) -> str:
    """Return 16 hex digits of the SHA-256 of the code that an ordinary installation copied, or "" where no list is.

    Python files count as they are now, others by their hashes in RECORD. A reinstallation of a version from other
    sources therefore gives another digest.
    """
    try:
        files = importlib.metadata.distribution(distribution).files or []
    except Exception:  # no metadata, or damaged ones
        return ""
    digests = {}
    for file in files:
        # Scripts, outside of the folder of packages, hold paths of the machine.
        if file.parts[0] == ".." or file.parts[0].endswith((".dist-info", ".egg-info")) or "__pycache__" in file.parts:
            continue
        digests[file.as_posix()] = file.hash.value if file.hash else ""
        if file.suffix == ".py":
            with contextlib.suppress(OSError):
                digests[file.as_posix()] = file_sha256(Path(str(file.locate())))
    return hashlib.sha256(json.dumps(sorted(digests.items())).encode()).hexdigest()[:16] if digests else ""


def code_digest(source: Path) -> str:
    """Return 16 hex digits of the SHA-256 of a folder with Python code, or of a Python file.

    Args:
        source: Folder, with all of its files but hidden and compiled ones, because tables of priors, filters and code
            in other languages make images and networks as well; or a file, which counts together with the modules
            beside it that it imports. Modules that an installed distribution contains are left out.
    """
    files = {source} if source.is_dir() else _with_imports(source)
    if files == {source} and not source.is_dir():
        return file_sha256(source)[:16]
    digests = {
        path.relative_to(source.parent).as_posix(): file_sha256(path)
        for found in files
        for path in (_sources(found) if found.is_dir() else [found])
    }
    return hashlib.sha256(json.dumps(sorted(digests.items())).encode()).hexdigest()[:16]


def _sources(folder: Path) -> Iterator[Path]:
    """Yield the source files of a folder: not hidden, not compiled from others."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith((".", "__pycache__")) for part in path.relative_to(folder).parts)
        if not hidden and path.suffix not in _COMPILED and path.is_file():
            yield path


def _with_imports(source: Path) -> set[Path]:
    """Return a file, and the files and packages in its folder that it or one of them imports by name."""
    found, new = set(), {source}
    while new:
        found |= new
        names = {name for path in new if path.is_file() for name in _imported(path)}
        beside = {name: source.parent / name for name in names if name.isidentifier()}
        paths = {name: path if path.is_dir() else path.with_suffix(".py") for name, path in beside.items()}
        paths = {name: path for name, path in paths.items() if path.exists() and path not in found}
        installed = distributions_by_module() if paths else {}
        new = {path for name, path in paths.items() if name not in installed}
    return found


def distributions_by_module() -> Mapping[str, list[str]]:
    """Return name of an importable module or package -> installed distributions that contain it.

    Reading all metadata takes half a second, so this is done again only where the search path has changed, or a folder
    on it, as by an installation.
    """
    return _distributions_by_module(_installation())


def missing_modules(requirements: Iterable[str]) -> list[str]:
    """Return the entries of `Spec.requires` that are not installed."""
    return [name for name in requirements if not _is_there(name.rpartition(":")[2])]


def distribution_of(requirement: str) -> str:
    """Return the name of the distribution to install for an entry of `Spec.requires`."""
    declared, colon, module = requirement.rpartition(":")
    if colon:
        return declared
    top = module.partition(".")[0]
    # A part is missing from what is installed, or nothing is.
    return distributions_by_module().get(top, [top])[0]


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # "a.b" where a is absent; a module without a spec
        return False


def _installation() -> tuple[tuple[str, int], ...]:
    """Return the folders that modules are found in with their changes: a new or a removed distribution is one."""
    folders = [Path(folder).absolute() for folder in sys.path]
    return tuple((str(folder), _change(folder)) for folder in folders)


@functools.lru_cache(maxsize=1)
def _distributions_by_module(_: tuple[tuple[str, int], ...]) -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def _change(folder: Path) -> int:
    """Return the time of the last change of a folder in nanoseconds; 0 if it does not exist."""
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _imported(path: Path) -> frozenset[str]:
    """Return the first parts of the names that a file imports anywhere."""
    return _imported_by(regular_file(path).read_bytes())


@functools.lru_cache(maxsize=64)
def _imported_by(code: bytes) -> frozenset[str]:
    try:
        nodes = [*ast.walk(ast.parse(code))]
    except (SyntaxError, ValueError, RecursionError):  # its import names the fault
        return frozenset()
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return frozenset(name.partition(".")[0] for name in names)


def library_versions() -> dict[str, str]:
    """Return the versions of the installed libraries that the core and the plugins require directly, by name.

    Optional requirements are included. The distributions of plugins themselves are not.
    """
    return dict(_library_versions(_installation()))


@functools.lru_cache(maxsize=1)
def _library_versions(_: tuple[tuple[str, int], ...]) -> Mapping[str, str]:
    owners = {CORE}
    for point in entry_points():
        with contextlib.suppress(Exception):  # half-removed packages have no metadata
            owners.add(point.dist.name)  # type: ignore[union-attr]
    names = {name for owner in owners for name, _ in _requirements(owner)} - owners - set(first_party().values())
    versions = {}
    for name in sorted(names):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


@functools.cache  # called when a run begins: the commit of the code that it imported, not of a later state
def source_commit() -> str:
    """Return the Git commit that the core was installed from, or "" if it was not installed from a repository.

    "+changes" is added if tracked files of the clone that it is imported from differ from the commit.
    """
    from urllib.parse import urlsplit  # not at the top: listing imports this module
    from urllib.request import url2pathname

    try:
        source = _source(CORE)
        if commit := source.get("vcs_info", {}).get("commit_id"):
            return str(commit)
        if not source.get("dir_info", {}).get("editable"):
            return ""
        folder = url2pathname(urlsplit(source["url"]).path)
        commit = _git("rev-parse", "HEAD", folder=folder)
        changed = _git("status", "--porcelain", "--untracked-files=no", folder=folder)
        return f"{commit}+changes" if changed else commit
    except Exception:  # no metadata, or damaged ones; no Git, or no clone
        return ""


def _git(*words: str, folder: str) -> str:
    """Return what a Git command prints; it takes no lock."""
    import subprocess

    command = ["git", "--no-optional-locks", "-C", folder, *words]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=True).stdout.strip()


def _requirements(distribution: str) -> list[tuple[str, str]]:
    """Return name and extra of each requirement of a distribution; empty if its metadata cannot be read."""
    try:
        texts = importlib.metadata.requires(distribution) or []
    except Exception:
        return []
    found = [match.groups(default="") for text in texts if (match := _REQUIREMENT.match(text))]
    return [(re.sub(r"[-_.]+", "-", name).lower(), extra) for name, extra in found]
