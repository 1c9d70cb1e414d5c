"""Finds plugins, keeps the broken ones out of the way, and collects what the others register.

Each plugin is first tried alone in a plugin manager of its own: import, API version, hook arguments, specs.
Only one that passes joins the shared manager, so nothing of a broken plugin is ever left behind.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from zoo import hookspecs
from zoo.errors import UsageError, nearest
from zoo.specs import DatasetSpec, LauncherSpec, MetricSpec, ModelSpec, SimulatorSpec, Spec

logger = logging.getLogger(__name__)

# Only these win a bare name that others also use; a distribution cannot give itself the privilege by its name.
FIRST_PARTY = frozenset(
    f"lens-zoo{suffix}"
    for suffix in (
        "",
        "-autolens",
        "-caustics",
        "-deeplense",
        "-gconv",
        "-lenstronomy",
        "-steerable",
        "-timm",
    )
)
COLLECTED: dict[str, type[Spec]] = {
    "zoo_models": ModelSpec,
    "zoo_datasets": DatasetSpec,
    "zoo_simulators": SimulatorSpec,
    "zoo_launchers": LauncherSpec,
    "zoo_metrics": MetricSpec,
}


@dataclass(frozen=True, kw_only=True)
class PluginRecord:
    """What is known of one plugin.

    Args:
        name: of its entry point, which is also its namespace.
        distribution, version: where it comes from.
        state: "ok", "disabled" or "broken".
        import_ms: milliseconds that importing it took.
        error: one line; empty unless broken.
        trace: the traceback; empty unless broken.
        specs: how many specs it registered.
    """

    name: str
    distribution: str
    version: str
    state: str
    import_ms: float = 0.0
    error: str = ""
    trace: str = ""
    specs: int = 0

    @property
    def first_party(self) -> bool:
        """Whether it belongs to this project."""
        return self.distribution in FIRST_PARTY


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    name: str
    distribution: str
    version: str
    load: Callable[[], Any]


@dataclass
class Host:
    """All plugins of a process. Make one with `load_plugins` and pass it on."""

    manager: pluggy.PluginManager
    records: dict[str, PluginRecord] = field(default_factory=dict)
    specs: dict[type[Spec], dict[str, Spec]] = field(default_factory=dict)

    def specs_of(self, kind: type[Spec]) -> list[Spec]:
        """Return the registered specs of one kind, sorted by id."""
        return [spec for _, spec in sorted(self.specs.get(kind, {}).items())]

    def tell(self, event: str, **arguments: Any) -> None:
        """Call an event hook in every plugin; one that raises is logged and the others still run."""
        for implementation in getattr(self.manager.hook, event).get_hookimpls():
            try:
                implementation.function(**{name: arguments[name] for name in implementation.argnames})
            except Exception:
                logger.warning("plugin %s failed in %s", implementation.plugin_name, event, exc_info=True)

    def resolve_model(self, name: str) -> ModelSpec | None:
        """Ask the plugin that owns the namespace for a model that is not listed."""
        namespace = name.partition("/")[0].lower()
        for implementation in self.manager.hook.zoo_resolve_model.get_hookimpls():
            if implementation.plugin_name == namespace:
                resolved = implementation.function(**({"name": name} if implementation.argnames else {}))
                return resolved if isinstance(resolved, ModelSpec) else None
        return None


def load_plugins(*, files: Iterable[str | Path] = (), environment: dict[str, str] | None = None) -> Host:
    """Find and load every installed plugin.

    Args:
        files: plugins that are single Python files, not installed.
        environment: read for ZOO_PLUGINS (load only these), ZOO_DISABLE_PLUGINS (not these) and
            ZOO_PLUGIN_FILES (more files, for processes that a run starts); default os.environ.

    Raises:
        UsageError: a file does not exist, or ZOO_PLUGINS names a plugin that is not installed.
    """
    environment = dict(os.environ) if environment is None else environment
    only, disabled = _names(environment, "ZOO_PLUGINS"), _names(environment, "ZOO_DISABLE_PLUGINS")
    inherited = [path for path in environment.get("ZOO_PLUGIN_FILES", "").split(os.pathsep) if path]
    candidates = _installed() + [_from_file(Path(path)) for path in dict.fromkeys([*inherited, *map(str, files)])]
    known = {candidate.name for candidate in candidates}
    for name in only:
        if name not in known:
            raise UsageError(f"ZOO_PLUGINS names '{name}', which is not installed.{nearest(name, known)}")

    host = Host(manager=_new_manager())
    for candidate in candidates:
        if candidate.name in disabled or (only and candidate.name not in only):
            record = PluginRecord(
                name=candidate.name,
                distribution=candidate.distribution,
                version=candidate.version,
                state="disabled",
            )
        else:
            record = _admit(host, candidate)
        taken = candidate.name in host.records
        host.records[f"{candidate.name} ({candidate.distribution})" if taken else candidate.name] = record
    return host


def _names(environment: dict[str, str], variable: str) -> list[str]:
    return [name.strip() for name in environment.get(variable, "").split(",") if name.strip()]


def _new_manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def _installed() -> list[_Candidate]:
    """Return the entry points, first-party ones first, so that a third party cannot take their namespace."""
    candidates = []
    for point in importlib.metadata.entry_points(group=hookspecs.ENTRY_POINT_GROUP):
        distribution = point.dist.name if point.dist else "?"
        version = point.dist.version if point.dist else "?"
        candidates.append(
            _Candidate(name=point.name.lower(), distribution=distribution, version=version, load=point.load)
        )
    return sorted(candidates, key=lambda c: (c.distribution not in FIRST_PARTY, c.name, c.distribution))


def _from_file(path: Path) -> _Candidate:
    if not path.is_file():
        raise UsageError(f"--plugin {path}: there is no such file.")

    def load() -> ModuleType:
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

    return _Candidate(name=path.stem.lower(), distribution=str(path), version="file", load=load)


def _admit(host: Host, candidate: _Candidate) -> PluginRecord:
    """Try a plugin alone; let it in if all is well, and describe what happened."""
    started = time.perf_counter()
    import_ms = 0.0
    collected: list[Spec] = []
    error = trace = ""
    try:
        if candidate.name in host.records:
            owner = host.records[candidate.name].distribution
            raise ImportError(f"the namespace '{candidate.name}' is taken by {owner}")
        module = candidate.load()
        import_ms = (time.perf_counter() - started) * 1e3
        wanted = getattr(module, "ZOO_API_VERSION", hookspecs.API_VERSION)
        if wanted != hookspecs.API_VERSION:
            raise ImportError(f"it needs plugin API {wanted}; this zoo offers {hookspecs.API_VERSION}")
        trial = _new_manager()
        trial.register(module, name=candidate.name)
        unknown = [name for name in vars(module) if name.startswith("zoo_") and _is_unknown_hook(trial, module, name)]
        if unknown:
            raise pluggy.PluginValidationError(
                module, f"unknown hook '{unknown[0]}'.{nearest(unknown[0], _hook_names(trial))}"
            )
        trial.check_pending()
        collected = _collect(trial, candidate.name)
        host.manager.register(module, name=candidate.name)
    except (Exception, SystemExit) as problem:
        error = f"{type(problem).__name__}: {problem}".splitlines()[0]
        trace = traceback.format_exc()
        collected = []
    for spec in collected:
        host.specs.setdefault(type(spec), {})[spec.id] = spec
    return PluginRecord(
        name=candidate.name,
        distribution=candidate.distribution,
        version=candidate.version,
        state="broken" if error else "ok",
        import_ms=round(import_ms, 2),
        error=error,
        trace=trace,
        specs=len(collected),
    )


def _hook_names(manager: pluggy.PluginManager) -> list[str]:
    return [name for name in vars(manager.hook) if name.startswith("zoo_")]


def _is_unknown_hook(manager: pluggy.PluginManager, module: ModuleType, name: str) -> bool:
    """Whether a marked function implements no hook; pluggy alone would only say that it is pending."""
    return manager.parse_hookimpl_opts(module, name) is not None and name not in _hook_names(manager)


def _collect(trial: pluggy.PluginManager, namespace: str) -> list[Spec]:
    """Return the specs of the one plugin in `trial`.

    Raises:
        TypeError: a hook returned something else than a list of its kind of spec.
        ValueError: an id outside the plugin's namespace, or twice.
    """
    collected: list[Spec] = []
    seen: set[tuple[type[Spec], str]] = set()
    for hook, kind in COLLECTED.items():
        for returned in getattr(trial.hook, hook)():
            if not isinstance(returned, (list, tuple)):
                raise TypeError(f"{hook} must return a list of {kind.__name__}, not {type(returned).__name__}")
            for spec in returned:
                if not isinstance(spec, kind):
                    raise TypeError(f"{hook} must return {kind.__name__}s, not {type(spec).__name__}")
                if spec.namespace != namespace:
                    raise ValueError(f"{spec.id}: the id must begin with '{namespace}/', the entry point's name")
                if (kind, spec.id.lower()) in seen:
                    raise ValueError(f"{kind.kind} id {spec.id} is registered twice")
                seen.add((kind, spec.id.lower()))
                collected.append(spec)
    return collected
