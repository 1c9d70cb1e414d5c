"""Finds plugins, keeps the broken ones out of the way, and collects what the others register.

Each plugin is first tried alone in a plugin manager of its own: import, API version, hook arguments, specs.
Only one that passes joins the shared manager, so nothing of a broken plugin is ever left behind.
"""

from __future__ import annotations

import dataclasses
import os
import time
import traceback
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pluggy

from zoo import hookspecs
from zoo.candidates import Candidate, from_file, installed
from zoo.collected import check_hooks, collect
from zoo.disabled import disabled_plugins
from zoo.errors import MissingError, UsageError, ZooError, nearest
from zoo.first_import import Refusal, refusals
from zoo.isolation import isolate, plugin_code, printing_to_stderr
from zoo.packages import first_party
from zoo.paths import provide_home, user_path
from zoo.specs import ModelSpec, Spec

_ERROR_LENGTH = 400  # characters of the one line that the table of `zoo plugins` shows


@dataclass(frozen=True, kw_only=True)
class PluginRecord:
    """State of one plugin.

    Args:
        name: Name of its entry point, which is also its namespace.
        distribution, version: Distribution that contains it, and its version.
        state: "ok", "disabled" or "broken".
        import_ms: Milliseconds that importing it took.
        error: One line; empty unless broken.
        trace: The traceback; empty unless broken.
        specs: Number of specs that it registered.
        module: Module of its entry point; empty for a file.
        api_version: Version of the plugin interface that it states; None where it states none, or is not loaded.
    """

    name: str
    distribution: str
    version: str
    state: str
    import_ms: float = 0.0
    error: str = ""
    trace: str = ""
    specs: int = 0
    module: str = ""
    api_version: int | None = None

    @property
    def first_party(self) -> bool:
        """Whether it belongs to this project."""
        return self.distribution in first_party().values()

    @property
    def show_errors(self) -> str:
        """The command that shows why the plugin is broken."""
        return f"zoo{f' --plugin {self.distribution}' if self.version == 'file' else ''} plugins --errors"


@dataclass
class Host:
    """All plugins of a process. Make one with `load_plugins` and pass it on."""

    manager: pluggy.PluginManager
    records: dict[str, PluginRecord] = field(default_factory=dict)
    specs: dict[type[Spec], dict[str, Spec]] = field(default_factory=dict)

    def specs_of(self, kind: type[Spec]) -> list[Spec]:
        """Return the registered specs of one kind, sorted by id."""
        return [spec for _, spec in sorted(self.specs.get(kind, {}).items())]

    def emit(self, event: str, **arguments: Any) -> None:
        """Call an event hook in every plugin; a fault of one is logged and the others still run."""
        getattr(self.manager.hook, event)(**arguments)

    def call_plugin(self, namespace: str, hook: str, **arguments: Any) -> Any:
        """Call a hook in one plugin alone; return what pluggy returns, or raise what the plugin raises."""
        others = [plugin for name, plugin in self.manager.list_name_plugin() if name != namespace]
        with plugin_code(namespace, hook):
            return self.manager.subset_hook_caller(hook, others)(**arguments)

    @property
    def files(self) -> list[str]:
        """Absolute paths of the plugins that are files, for processes that load the same ones."""
        return [os.path.abspath(record.distribution) for record in self.records.values() if record.version == "file"]

    def add_file(self, path: Path) -> str:
        """Load a plugin from a file, if it is not loaded yet, and return its namespace.

        Raises:
            UsageError: The path is not that of a file, another plugin has its name, or a variable leaves it out.
            MissingError: The plugin is broken.
        """
        candidate = from_file(path.absolute())
        if not _is_enabled(candidate, os.environ):  # the processes of runs would not load it
            raise UsageError(f"{path}: ZOO_PLUGINS or ZOO_DISABLE_PLUGINS leaves '{candidate.name}' out.")
        if candidate.name not in self.records:
            self.records[candidate.name] = _admit(self, candidate, refusals([candidate]).get(candidate))
        record = self.records[candidate.name]
        if os.path.abspath(record.distribution) != candidate.distribution:
            raise UsageError(
                f"{path}: the name '{candidate.name}' is that of a plugin in {record.distribution}.",
                hint="Rename the file.",
            )
        if record.state == "broken":
            raise MissingError(f"{path}: {record.error}", hint=f"See: {record.show_errors}")
        return candidate.name

    def resolve_model(self, name: str) -> ModelSpec | None:
        """Return a model that is not listed, from the plugin that owns the namespace.

        Raises:
            MissingError: The plugin's hook fails, or returns something other than a model of the plugin.
        """
        namespace = name.partition("/")[0].lower()
        try:
            with printing_to_stderr():
                resolved = self.call_plugin(namespace, "zoo_resolve_model", name=name)
        except ZooError:
            raise
        except Exception as error:
            raise MissingError(
                f"model '{name}': plugin {namespace} failed in zoo_resolve_model: {type(error).__name__}: {error}",
                hint="See: zoo plugins",
            ) from error
        if resolved is None:
            return None
        if type(resolved) is ModelSpec and resolved.namespace == namespace:
            return dataclasses.replace(resolved)
        raise MissingError(
            f"model '{name}': zoo_resolve_model of plugin {namespace} returned {type(resolved).__name__}, "
            f"which is not a ModelSpec of the namespace '{namespace}'.",
            hint="See: zoo plugins",
        )


def load_plugins(*, files: Iterable[str | Path] = (), environment: dict[str, str] | None = None) -> Host:
    """Find and load every installed plugin.

    Args:
        files: Plugins that are single Python files, not installed.
        environment: Environment that is searched for ZOO_PLUGINS (load only these), ZOO_DISABLE_PLUGINS (not these) and
            ZOO_PLUGIN_FILES (more files, for processes that a run starts); default os.environ. Installed plugins that
            `zoo disable` has disabled are left out, too, unless ZOO_PLUGINS names them.

    Raises:
        UsageError: A file does not exist, or ZOO_PLUGINS names a plugin that is not installed.
    """
    provide_home()
    environment = dict(os.environ) if environment is None else environment
    inherited = [path for path in environment.get("ZOO_PLUGIN_FILES", "").split(os.pathsep) if path]
    candidates = installed() + [from_file(user_path(path)) for path in dict.fromkeys([*inherited, *map(str, files)])]
    known = {candidate.name for candidate in candidates}
    for name in _names(environment, "ZOO_PLUGINS"):
        if name not in known:
            raise UsageError(f"ZOO_PLUGINS names '{name}', which is not installed.{nearest(name, known)}")

    host = Host(manager=_new_manager())
    lasting = disabled_plugins()
    active = [one for one in candidates if _is_enabled(one, environment, lasting)]
    # The later of two with one name is not imported.
    refused = refusals({one.name: one for one in reversed(active)}.values())
    for candidate in candidates:
        if candidate not in active:
            record = PluginRecord(
                name=candidate.name,
                distribution=candidate.distribution,
                version=candidate.version,
                state="disabled",
            )
        else:
            record = _admit(host, candidate, refused.get(candidate))
        taken = candidate.name in host.records
        host.records[f"{candidate.name} ({candidate.distribution})" if taken else candidate.name] = record
    return host


def _is_enabled(candidate: Candidate, environment: Mapping[str, str], lasting: Collection[str] = ()) -> bool:
    """Return whether a plugin is to be loaded; a variable or a file that names it counts more than `lasting`."""
    only, disabled = _names(environment, "ZOO_PLUGINS"), _names(environment, "ZOO_DISABLE_PLUGINS")
    if candidate.name in disabled or (only and candidate.name not in only):
        return False
    return candidate.name in only or candidate.version == "file" or candidate.name not in lasting


def _names(environment: Mapping[str, str], variable: str) -> list[str]:
    return [name.strip().lower() for name in environment.get(variable, "").split(",") if name.strip()]


def _new_manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def _admit(host: Host, candidate: Candidate, refusal: Refusal | None) -> PluginRecord:
    """Load a plugin alone, register it if it passes the checks and is not refused, and return its status."""
    started = time.perf_counter()
    import_ms = 0.0
    collected: list[Spec] = []
    api_version = None
    error = trace = ""
    try:
        if candidate.name in host.records:
            owner = host.records[candidate.name].distribution
            raise ImportError(f"the namespace '{candidate.name}' is taken by {owner}")
        if refusal is not None:
            raise ImportError(refusal.reason)
        # A look at the module's attributes, too, may run the plugin's code.
        with printing_to_stderr():
            with plugin_code(candidate.name, "its import"):
                module = candidate.load()
            import_ms = (time.perf_counter() - started) * 1e3
            with plugin_code(candidate.name, "a hook"):
                api_version = getattr(module, "ZOO_API_VERSION", None)
                hookspecs.check_api(
                    hookspecs.API_VERSION if api_version is None else api_version, candidate.distribution
                )
                trial = _new_manager()
                trial.register(module, name=candidate.name)
                check_hooks(trial, module)
                collected = collect(trial, candidate.name)
                isolated = isolate(module, name=candidate.name, manager=trial)
        host.manager.register(isolated, name=candidate.name)
    except Exception as problem:
        # The second and third line of pluggy's message state the cause.
        lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
        error = f"{type(problem).__name__}: {'; '.join(lines)}"[:_ERROR_LENGTH]
        trace = traceback.format_exc() if refusal is None else f"{error}\n{refusal.trace}"
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
        module=candidate.module,
        api_version=None if error else api_version,
    )
