"""From what a user types to a spec: bare names, wildcards, nearest names, missing dependencies."""

from __future__ import annotations

import fnmatch
import logging
import re
import threading
from collections.abc import Iterable
from typing import Any, TypeVar, cast

from zoo.errors import MissingError, UsageError, nearest
from zoo.host import Host
from zoo.isolation import plugin_code, printing_to_stderr
from zoo.packages import distribution_of, first_party, missing_modules
from zoo.paths import user_path
from zoo.specs import (
    AugmentationSpec,
    ChannelSpec,
    DatasetSpec,
    LauncherSpec,
    LossSpec,
    MetricSpec,
    ModelSpec,
    OptimizerSpec,
    SimulatorSpec,
    Spec,
    TaskSpec,
)

S = TypeVar("S", bound=Spec)
logger = logging.getLogger(__name__)

LIST_COMMANDS: dict[type[Spec], str] = {
    ModelSpec: "zoo list-models",
    DatasetSpec: "zoo list-datasets",
    SimulatorSpec: "zoo list-simulators",
    ChannelSpec: "zoo list-channels",
    LauncherSpec: "zoo list-launchers",
    MetricSpec: "zoo list-metrics",
    TaskSpec: "zoo list-tasks",
    AugmentationSpec: "zoo plugins",
    LossSpec: "zoo plugins",
    OptimizerSpec: "zoo list-optimizers",
}
_WILDCARDS = frozenset("*?[")
_IN_FILE = re.compile(r"(.+\.py):(\w+)")
_PRINTING = threading.RLock()


def is_pattern(name: str) -> bool:
    """Whether the text holds a wildcard: * ? or [."""
    return bool(_WILDCARDS & set(name))


def listed(
    host: Host, kind: type[S], *, pattern: str = "*", tag: str | None = None, group: str | None = None
) -> list[S]:
    """Return the registered specs that fit.

    Args:
        host: The plugins.
        kind: ModelSpec, DatasetSpec, ...
        pattern: Matched against the full id and the bare name, ignoring case.
        tag: Tag of the specs; None: any.
        group: Symmetry group of the models; None: any.
    """
    if not isinstance(pattern, str):
        raise UsageError(f"{pattern!r} is not a pattern of {kind.kind} names.", hint=f"See: {LIST_COMMANDS[kind]}")
    lowered = pattern.lower()
    return [
        cast(S, spec)
        for spec in host.specs_of(kind)
        if (fnmatch.fnmatchcase(spec.id.lower(), lowered) or fnmatch.fnmatchcase(spec.name.lower(), lowered))
        and (tag is None or tag in spec.tags)
        and (group is None or getattr(spec, "group", None) == group)
    ]


def find(host: Host, kind: type[S], name: str, *, usable: bool = True) -> S:
    """Return the one spec that a full id or an unambiguous bare name means.

    Args:
        host: The plugins; the file of a model "FILE.py:CLASS" is added to them.
        kind: Kind of the spec.
        name: Id or bare name; of a model, also a class in a file.
        usable: Whether the libraries that it requires must be there.

    Raises:
        UsageError: The name is unknown or ambiguous.
        MissingError: The plugin is absent, disabled or broken, or a library that it requires is absent.
    """
    if not isinstance(name, str):
        raise UsageError(f"{name!r} is not a valid {kind.kind} name.", hint=f"See: {LIST_COMMANDS[kind]}")
    if kind is ModelSpec and (in_file := _IN_FILE.fullmatch(name.strip())):
        name = f"{host.add_file(user_path(in_file[1]))}/{in_file[2]}"
    wanted = name.strip().lower()
    found = [cast(S, spec) for spec in host.specs_of(kind) if wanted in (spec.id.lower(), spec.name.lower())]
    exact = [spec for spec in found if spec.id.lower() == wanted]
    found = exact or found
    if len(found) > 1:
        found = _settle(host, kind, name, found)
    if not found and kind is ModelSpec and "/" in wanted:
        resolved = host.resolve_model(name.strip())
        found = [] if resolved is None else [cast(S, resolved)]
    if not found:
        raise _unknown(host, kind, name.strip())
    if usable:
        require(f"{kind.kind} {found[0].id}", found[0].requires)
    return found[0]


def find_simulator(host: Host, name: str = "") -> SimulatorSpec:
    """Return a simulator by id or bare name, or the one that is declared the default.

    Raises:
        UsageError: The name is unknown, or several simulators are declared the default.
        MissingError: A plugin or library is absent, or a default simulator is not installed.
    """
    if name:
        return find(host, SimulatorSpec, name)
    there = listed(host, SimulatorSpec)
    found = [spec for spec in there if spec.default]
    own = [spec for spec in found if host.records[spec.namespace].first_party]
    found = own or found
    if not found:
        choice = f", or choose one: --simulator {there[0].id}" if there else ""
        raise MissingError(
            "The default simulator is not installed.", hint=f'Install it: pip install "lens-zoo[simulator]"{choice}'
        )
    if len(found) > 1:
        ids = ", ".join(spec.id for spec in found)
        raise UsageError(f"Several simulators are declared the default: {ids}.", hint="Choose one: --simulator ID")
    require(f"{found[0].kind} {found[0].id}", found[0].requires)
    return found[0]


def channel_limits(host: Host, channels: Iterable[str]) -> list[str]:
    """Return what the specs of channels state on images that they are not made for; of absent plugins nothing."""
    limits = {spec.id: spec.limits for spec in host.specs_of(ChannelSpec) if isinstance(spec, ChannelSpec)}
    return [f"{name}: {limits[name]}" for name in channels if limits.get(name)]


def datasets_by_id(host: Host) -> dict[str, DatasetSpec]:
    """Return id -> spec of every data set that is installed."""
    return {spec.id: spec for spec in listed(host, DatasetSpec)}


def twins_by_id(host: Host) -> dict[str, tuple[str, ...]]:
    """Return id -> plain twins of every model that declares some; twins that are not installed are left out."""
    models = {spec.id: spec for spec in listed(host, ModelSpec)}
    return {
        spec.id: there for spec in models.values() if (there := tuple(twin for twin in spec.twins if twin in models))
    }


def match(host: Host, kind: type[S], names: Iterable[str]) -> list[S]:
    """Return the specs that names, comma lists and wildcards mean, each once, in the order given.

    Of a wildcard, specs whose libraries are absent are left out with a warning.

    Raises:
        UsageError: A name is unknown, or a pattern matches nothing.
        MissingError: A plugin or library of a named spec, or of every spec of a wildcard, is absent, or there is none.
    """
    chosen: dict[str, S] = {}
    for text in names:
        if not isinstance(text, str):
            raise UsageError(f"{text!r} is not a valid {kind.kind} name.", hint=f"See: {LIST_COMMANDS[kind]}")
        for name in filter(None, (part.strip() for part in text.split(","))):
            if not is_pattern(name):
                specs = [find(host, kind, name)]
            elif not (specs := listed(host, kind, pattern=name)):
                if not host.specs_of(kind):
                    raise MissingError(f"No plugin offers a {kind.kind}.", hint="See: zoo plugins")
                hint = f"See: {LIST_COMMANDS[kind]}{disabled_note(host)}"
                raise UsageError(f"No {kind.kind} matches '{name}'.", hint=hint)
            for spec in specs if len(specs) == 1 else _installed(specs):
                require(f"{kind.kind} {spec.id}", spec.requires)
                chosen.setdefault(spec.id, spec)
    if not chosen:
        raise UsageError(f"No {kind.kind} is named.", hint=f"See: {LIST_COMMANDS[kind]}")
    return list(chosen.values())


def _installed(specs: list[S]) -> list[S]:
    """Return the specs whose libraries are installed; all specs if there are none, so that an error names a library."""
    there = [spec for spec in specs if not missing_modules(spec.requires)]
    for spec in specs if there else []:
        if missing := missing_modules(spec.requires):
            modules = ", ".join(name.rpartition(":")[2] for name in missing)
            logger.warning("%s is left out: %s is not installed", spec.id, modules)
    return there or specs


def load_target(spec: Spec) -> Any:
    """Import what a spec points to.

    Raises:
        MissingError: The import fails, or the attribute does not exist.
    """
    if (loaded := spec.loaded()) is not None:
        return loaded
    try:
        # Text that a plugin prints while it is imported is not data. The lock: standard output is that of the process;
        # a second thread would take the redirected one for the original and put it back for good.
        with (
            _PRINTING,
            printing_to_stderr(),
            plugin_code(spec.namespace, f"the import of {spec.target}"),
        ):
            return spec.load()
    except Exception as error:
        raise MissingError(
            f"{spec.kind} {spec.id} cannot be loaded from {spec.target}: {type(error).__name__}: {error}",
            hint="See: zoo plugins --errors; for a plugin in a file: zoo --plugin FILE plugins --errors",
        ) from error


def _settle(host: Host, kind: type[S], name: str, found: list[S]) -> list[S]:
    """Let the first-party plugin win a bare name.

    Raises:
        UsageError: The number of first-party specs among them is not one.
    """
    own = [spec for spec in found if host.records[spec.namespace].first_party]
    if len(own) != 1:
        ids = ", ".join(spec.id for spec in found)
        raise UsageError(f"{kind.kind} '{name}' is ambiguous: {ids}.", hint="Give one of these full ids.")
    others = ", ".join(spec.id for spec in found if spec is not own[0])
    logger.warning("'%s' means %s; it also matches %s", name, own[0].id, others)
    return own


def require(what: str, modules: Iterable[str]) -> None:
    """Check, without importing them, that libraries are there.

    Args:
        what: Name of the spec that needs them, such as "model timm/resnet18".
        modules: Import names, or "DISTRIBUTION:IMPORT_NAME" (`Spec.requires`).

    Raises:
        MissingError: A library is absent.
    """
    if missing := missing_modules(modules):
        distributions = dict.fromkeys(distribution_of(name) for name in missing)
        raise MissingError(
            f"{what} needs {', '.join(name.rpartition(':')[2] for name in missing)}, which is not installed.",
            hint=f"Install it: pip install {' '.join(distributions)}",
        )


def disabled_note(host: Host) -> str:
    """Return the end of a hint: disabled plugins, one of which may offer what was not found; "" without any."""
    names = [record.name for record in host.records.values() if record.state == "disabled"]
    return f"; disabled plugins: {', '.join(names)} (zoo enable NAME)" if names else ""


def absent_plugin(host: Host, name: str, *, what: str) -> MissingError | None:
    """Return the error of a name whose plugin is broken, disabled or not installed; None for other names.

    Args:
        host: The plugins.
        name: Id, or name of a plugin.
        what: Name for the error, with the kind where that is known.
    """
    namespace, slash, _ = name.lower().partition("/")
    if slash:
        record = host.records.get(namespace)
        if record is not None and record.state == "broken":
            return MissingError(f"{what}: its plugin is broken: {record.error}", hint=f"See: {record.show_errors}")
        if record is not None and record.state == "disabled":
            return MissingError(
                f"{what}: the plugin {namespace} is disabled.",
                hint=f"Try: zoo enable {namespace}; or check ZOO_PLUGINS and ZOO_DISABLE_PLUGINS.",
            )
    package = first_party().get(namespace)
    if namespace in host.records or package in (None, *(one.distribution for one in host.records.values())):
        return None
    return MissingError(f"{what}: the plugin {package} is not installed.", hint=f"Install it: pip install {package}")


def _unknown(host: Host, kind: type[Spec], name: str) -> UsageError | MissingError:
    """Return the error that best explains why a name was not found."""
    if absent := absent_plugin(host, name, what=f"{kind.kind} '{name}'"):
        return absent
    namespace, slash, _ = name.lower().partition("/")
    specs = host.specs_of(kind)
    if not specs:
        return MissingError(
            f"No plugin offers a {kind.kind}.",
            hint=f"Install a plugin that does: zoo install NAME; how to write one: zoo new-plugin{disabled_note(host)}",
        )
    names = [spec.id for spec in specs] + [spec.name for spec in specs]
    hint = f"See: {LIST_COMMANDS[kind]}{disabled_note(host)}"
    if kind is ModelSpec and name.endswith(".py"):
        hint = f"Name the class in the file: {name}:CLASS"
    elif slash and namespace not in host.records and re.fullmatch(r"\w+", namespace):
        hint += f"; no plugin {namespace} is installed: zoo install NAME, or of a file: zoo --plugin {namespace}.py ..."
    return UsageError(f"Unknown {kind.kind} '{name}'.{nearest(name, names)}", hint=hint)
