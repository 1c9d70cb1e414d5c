"""Installed distributions: entry points of plugins, this project's own plugins, and the libraries that they require.

The core's metadata has an extra for each plugin of this project (`lens-zoo[gconv]` requires `lens-zoo-gconv`). The
names of these plugins therefore stand in `pyproject.toml` only.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import logging
import re
from collections.abc import Mapping

logger = logging.getLogger(__name__)

CORE = "lens-zoo"
ENTRY_POINT_GROUP = "zoo.plugins"
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

    A plugin cannot add itself: only the metadata of the core count.
    """
    own = {extra: name for name, extra in _requirements(CORE) if extra and name.startswith(f"{CORE}-")}
    return {"core": CORE, **own}


def library_versions() -> dict[str, str]:
    """Return the versions of the installed libraries that the core and the plugins require directly, by name.

    Optional requirements are included. The distributions of plugins themselves are not.
    """
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


def _requirements(distribution: str) -> list[tuple[str, str]]:
    """Return name and extra of each requirement of a distribution; empty if its metadata cannot be read."""
    try:
        texts = importlib.metadata.requires(distribution) or []
    except Exception:
        return []
    found = [match.groups(default="") for text in texts if (match := _REQUIREMENT.match(text))]
    return [(re.sub(r"[-_.]+", "-", name).lower(), extra) for name, extra in found]
