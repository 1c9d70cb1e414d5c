"""Plugins that may be loaded: entry points of installed distributions, and files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import UsageError
from zoo.packages import entry_points, first_party
from zoo.plugin_file import has_networks_only, import_file, networks_of


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A plugin that may be loaded.

    Args:
        name: Name of its entry point or file in lower case, which is its namespace.
        distribution, version: Distribution that contains it, and its version, "?" where its metadata lack them; of a
            file, its path and "file".
        load: Function that imports it.
        module: Module of its entry point; empty for a file.
        runs_code: Whether `load` runs code of the plugin, which a file of networks waits with.
    """

    name: str
    distribution: str
    version: str
    load: Callable[[], Any]
    module: str = ""
    runs_code: bool = True

    @property
    def first_party(self) -> bool:
        """Whether it belongs to this project."""
        return self.distribution in first_party().values()


def installed() -> list[Candidate]:
    """Return the entry points, first-party ones first, so that a third party cannot take their namespace."""
    candidates = []
    for point in entry_points():
        name = version = None
        # Half-removed packages leave folders without metadata behind.
        with contextlib.suppress(Exception):
            if point.dist is not None:
                name, version = point.dist.name, point.dist.version
        candidates.append(
            Candidate(
                name=point.name.lower(),
                distribution=name or "?",
                version=version or "?",
                load=point.load,
                module=point.value.partition(":")[0].strip(),
            )
        )
    return sorted(candidates, key=lambda one: (not one.first_party, one.name, one.distribution))


def from_file(path: Path) -> Candidate:
    """Return the plugin in a Python file.

    Raises:
        UsageError: The path is not that of a file.
    """
    if os.path.isdir(path):
        raise UsageError(
            f"{path} is a folder, not a Python file.",
            hint=f"Install a package: pip install -e {path}; of a plugin in one file, name the .py file.",
        )
    if not os.path.isfile(path):  # Path.is_file raises where a name is too long
        raise UsageError(f"{path}: file not found.")
    lazy = has_networks_only(path)
    return Candidate(
        name=path.stem.lower(),
        distribution=str(path),
        version="file",
        load=lambda: networks_of(path) if lazy else import_file(path),
        runs_code=not lazy,
    )
