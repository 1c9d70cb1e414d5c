"""The installed plugins and the toys, loaded once in each process of the tests: loading takes 50 ms.

Hosts are remembered where nothing can differ: no other files than those of this folder, the entry points as they are
installed, and no plugin that is broken. Tests of loading use files or distributions of their own, which are loaded
beside the plugins of this project, remembered one by one.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from zoo.disabled import disabled_plugins
from zoo.host import Host
from zoo.paths import provide_home

if TYPE_CHECKING:
    from zoo.candidates import Candidate
    from zoo.first_import import Refusal
    from zoo.host import PluginRecord
    from zoo.specs import Spec

TOYS = Path(__file__).parent
_NAMES = ("ZOO_PLUGINS", "ZOO_DISABLE_PLUGINS", "ZOO_PLUGIN_FILES")
_installed = importlib.metadata.entry_points


def admitting_once(admit: Callable[..., PluginRecord]) -> Callable[..., PluginRecord]:
    """Return `zoo.host._admit` with a memory of the plugins of this project as they are installed."""
    memory: dict[tuple[str, ...], tuple[PluginRecord, list[Spec], Any]] = {}

    @wraps(admit)
    def admit_once(host: Host, candidate: Candidate, refusal: Refusal | None) -> PluginRecord:
        name = candidate.name
        installed = candidate.first_party and importlib.metadata.entry_points is _installed
        if not installed or refusal is not None or name in host.records:
            return admit(host, candidate, refusal)
        key = (name, candidate.distribution, candidate.version, candidate.module)
        if key not in memory:
            record = admit(host, candidate, refusal)
            if record.state == "ok":
                specs = [spec for by_id in host.specs.values() for spec in by_id.values() if spec.namespace == name]
                memory[key] = record, specs, host.manager.get_plugin(name)
            return record
        record, specs, hooks = memory[key]
        host.manager.register(hooks, name=name)
        for spec in specs:
            host.specs.setdefault(type(spec), {})[spec.id] = spec
        return record

    return admit_once


def remembering(load_plugins: Callable[..., Host]) -> Callable[..., Host]:
    """Return `load_plugins` with a memory of its hosts; each call returns a host of its own with the same plugins."""
    hosts: dict[tuple[object, ...], tuple[Host, dict[str, ModuleType]]] = {}

    @wraps(load_plugins)
    def load(*, files: Iterable[str | Path] = (), environment: dict[str, str] | None = None) -> Host:
        given = [str(path) for path in files]
        values = [(os.environ if environment is None else environment).get(name, "") for name in _NAMES]
        paths = [Path(path) for path in [*given, *values[2].split(os.pathsep)] if path]
        if importlib.metadata.entry_points is not _installed or any(path.parent != TOYS for path in paths):
            return load_plugins(files=given, environment=environment)
        # Toys may read variables with their names, such as NANNETS_METRIC.
        toys = tuple(f"{path.stem.upper()}_" for path in paths)
        key = (
            disabled_plugins(),
            *given,
            *values,
            *(variable for variable in sorted(os.environ.items()) if variable[0].startswith(toys)),
        )
        if key not in hosts:
            host = load_plugins(files=given, environment=environment)
            if any(record.state == "broken" for record in host.records.values()):
                return host
            hosts[key] = host, {path.stem: sys.modules[path.stem] for path in paths if path.stem in sys.modules}
        provide_home()
        host, modules = hosts[key]
        sys.modules.update(modules)
        specs = {kind: dict(by_id) for kind, by_id in host.specs.items()}
        return Host(manager=host.manager, records=dict(host.records), specs=specs)

    return load
