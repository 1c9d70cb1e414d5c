"""Plugins that may be loaded: entry points of installed distributions, and files."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from zoo.errors import UsageError
from zoo.packages import entry_points, first_party


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A plugin that may be loaded.

    Args:
        name: Name of its entry point or file in lower case, which is its namespace.
        distribution, version: Distribution that contains it, and its version, "?" where its metadata lack them; of a
            file, its path and "file".
        load: Function that imports it.
        module: Module of its entry point; empty for a file.
    """

    name: str
    distribution: str
    version: str
    load: Callable[[], Any]
    module: str = ""

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
            name, version = point.dist.name, point.dist.version  # type: ignore[union-attr]
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
        UsageError: The file was not found.
    """
    if not os.path.isfile(path):  # Path.is_file raises where a name is too long
        raise UsageError(f"--plugin {path}: file not found.")
    return Candidate(name=path.stem.lower(), distribution=str(path), version="file", load=lambda: import_file(path))


def import_file(path: Path) -> ModuleType:
    """Import a Python file as a module of its name.

    Raises:
        ImportError: Another module of this name is loaded already; or another error of the file's own code.
    """
    # The module must be importable by name, since its specs name their targets by module.
    folder = str(path.absolute().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    if path.stem in sys.modules and getattr(sys.modules[path.stem], "__file__", None) != str(path.absolute()):
        raise ImportError(f"a module named {path.stem!r} is already loaded; rename the file")
    spec = importlib.util.spec_from_file_location(path.stem, path.absolute())
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module
