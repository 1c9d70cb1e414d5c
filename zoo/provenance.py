"""Versions and code of the plugins that images, trainings and metrics depend on."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path

from zoo.host import Host, PluginRecord
from zoo.packages import code_digest, installed_code, is_editable
from zoo.specs import MetricSpec
from zoo.version import __version__


def installed_versions(host: Host, *ids: str | None) -> dict[str, str]:
    """Return distribution -> version of the core and of the plugins that these ids come from."""
    return dict(sorted({"lens-zoo": __version__, **_versions(_records(host, ids))}.items()))


def image_code(host: Host, *ids: str | None) -> dict[str, str]:
    """Return what `Recipe.code` holds: the versions of the plugins that these ids come from and others wrote."""
    records = _records(host, ids)
    return dict(sorted(_versions(record for record in records if not record.first_party).items()))


def loaded_plugins(host: Host) -> dict[str, str]:
    """Return distribution -> version of every plugin that was loaded, whether it takes part in a run or not."""
    return dict(sorted(_versions(record for record in host.records.values() if record.state == "ok").items()))


def _records(host: Host, ids: Iterable[str | None]) -> list[PluginRecord]:
    found = (host.records.get(full_id.partition("/")[0]) for full_id in ids if full_id)
    return [record for record in found if record is not None]


def _versions(records: Iterable[PluginRecord]) -> dict[str, str]:
    """Return distribution -> version; of a plugin that is a file, its name and a digest of its code.

    To the version of others' plugins a digest of their code is added: a reinstallation may change it, too.
    """
    versions = {}
    for record in records:
        if record.version == "file":
            path = Path(record.distribution)
            versions[path.name] = code_digest(path.absolute())
        elif record.first_party or record.state == "disabled":
            versions[record.distribution] = record.version
        elif is_editable(record.distribution):
            versions[record.distribution] = f"{record.version} (editable, {_module_code(record.module)})"
        else:
            code = installed_code(record.distribution) or _module_code(record.module)
            versions[record.distribution] = f"{record.version} (code {code})"
    return versions


def metric_code(host: Host) -> dict[str, str]:
    """Return id of a metric -> name and version of the plugin that computes it, with a digest of code of others."""
    return {
        spec.id: " ".join(next(iter(_versions([host.records[spec.namespace]]).items())))
        for spec in host.specs_of(MetricSpec)
    }


def stale_metrics(host: Host, recorded: Mapping[str, str]) -> list[str]:
    """Return the ids of metrics that other code computed than that of the plugins which are loaded now.

    Args:
        host: The plugins.
        recorded: `Finished.metric_code` of a result.
    """
    now = metric_code(host)
    return sorted(full_id for full_id, code in recorded.items() if now.get(full_id, code) != code)


def _module_code(module: str) -> str:
    """Return the digest of the package, or the file, that holds a module."""
    spec = importlib.util.find_spec(module.partition(".")[0])
    folders = list(spec.submodule_search_locations or []) if spec else []
    if spec is None or not (folders or spec.origin):
        return "no code"
    return " ".join(code_digest(Path(place)) for place in folders or [str(spec.origin)])
