"""The conformance kit: all checks of a plugin, or of one thing that it registers."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.collected import COLLECTED
from zoo.data.content import pin_paths
from zoo.errors import MissingError, UsageError, nearest
from zoo.specs import (
    ChannelSpec,
    DatasetSpec,
    LauncherSpec,
    MetricSpec,
    ModelSpec,
    SimulatorSpec,
    Spec,
    TaskSpec,
)  # fmt: skip
from zoo.testing.outcome import Check, Outcome, check_names, run_checks

if TYPE_CHECKING:
    from zoo.host import Host

EXCUSED = "ZOO_EXCUSED_CHECKS"
"""Name in the module of an entry point: {id or plugin: {check: reason}}."""
KINDS = tuple(COLLECTED.values())
TRAINING_CHECKS = ("training", "chance", "weights-file", "resume", "equivariance-after-training")
"""Checks of a model that train it."""
NO_TRAININGS = "left out: no trainings"
"""Reason for which these are excused without trainings."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How things are checked.

    Args:
        params: Parameters that differ: of a data set, hyper-parameters of a model, or options of a launcher.
        sizes, channels, classes: Pixels on a side, numbers of channels and of classes that models are tried with, in
            turn.
        simulator: Simulator that renders populations; "" for the default one.
        data: Population whose scenes simulators render and channels are computed of as well; "" for the kit's own.
        trainings: Whether models are trained as well.
        tolerance: Largest relative error of float32 logits under a symmetry that is declared exact.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    sizes: Sequence[int] = (32, 33)
    channels: Sequence[int] = (1, 3)
    classes: Sequence[int] = (3, 2)
    simulator: str = ""
    data: str = ""
    trainings: bool = True
    tolerance: float = 1e-4


DEFAULTS = Options()


def check(
    host: Host, name: str, *, excused: Mapping[str, str] | None = None, options: Options = DEFAULTS
) -> list[Outcome]:
    """Check a plugin with everything that it registers, or one thing by its id.

    Args:
        host: The plugins.
        name: Name of a plugin, or an id.
        excused: Check -> reason for which it is left out, in addition to those that the plugin states.
        options: Settings of the checks.

    Returns:
        The outcome of every check; failures are among them and do not end the others.

    Raises:
        UsageError: There is no such plugin or id, or an excused check does not exist.
        MissingError: The plugin, or a library that it needs, is absent.
    """
    return list(outcomes(host, name, excused=excused, options=options))


def outcomes(
    host: Host, name: str, *, excused: Mapping[str, str] | None = None, options: Options = DEFAULTS
) -> Iterator[Outcome]:
    """Yield what `check` returns, one after the other."""
    given = excused or {}
    wanted = name.strip()
    if wanted.lower() in host.records:
        own = [spec for kind in KINDS for spec in host.specs_of(kind) if spec.namespace == wanted.lower()]
        _check_params(wanted, own, options.params)
        yield from of_plugin(host, wanted.lower(), excused=given, options=options)
        yield from _specs_of_plugin(host, wanted.lower(), options)
        return
    spec = find_any(host, wanted)
    _check_params(spec.id, [spec], options.params)
    if lacking := _lacking(spec, options.params):
        raise UsageError(f"{spec.id} needs {', '.join(lacking)}.", hint=_give(lacking))
    yield from of_spec(host, spec, excused=given, options=options)


def _check_params(name: str, specs: Sequence[Spec], params: Mapping[str, Any]) -> None:
    """Check that a parameter is one of a spec, or of one of several specs.

    Raises:
        UsageError: No spec has it.
    """
    known = [param for spec in specs for param in params_of(spec)]
    if unknown := [one for one in params if one not in known]:
        raise UsageError(
            f"{name} has no parameter '{unknown[0]}'.{nearest(unknown[0], known)}",
            hint=f"Its parameters: zoo show {name}",
        )


def _lacking(spec: Spec, params: Mapping[str, Any]) -> list[str]:
    return [one for one in getattr(spec, "required", ()) if one not in params]


def _give(lacking: Sequence[str]) -> str:
    return f"Give it: {' '.join(f'--set data.{one}=VALUE' for one in lacking)}"


def params_of(spec: Spec) -> Collection[str]:
    """Return the names of what `Options.params` may change of a spec."""
    if isinstance(spec, DatasetSpec):
        return spec.params
    return getattr(spec, "defaults", None) or getattr(spec, "options", None) or ()


def find_any(host: Host, name: str) -> Spec:
    """Return the spec of any kind that a name means.

    Raises:
        UsageError: The name is unknown.
        MissingError: A plugin or library is absent.
    """
    errors: list[UsageError | MissingError] = []
    for kind in KINDS:
        if errors and not host.specs_of(kind):
            continue
        try:
            return registry.find(host, kind, name)
        except (UsageError, MissingError) as error:
            errors.append(error)
    if missing := [error for error in errors if isinstance(error, MissingError)]:
        raise missing[0]
    known = [*host.records, *(full_id for specs in host.specs.values() for full_id in specs)]
    raise UsageError(
        f"'{name}' is neither a plugin nor an id of something that one registers.{nearest(name, known)}",
        hint="See: zoo plugins; a file: zoo check FILE.py",
    )


def excuses(host: Host, namespace: str, key: str) -> dict[str, str]:
    """Return the excuses that a plugin states for an id or, by its name, for itself.

    Raises:
        UsageError: They have another form.
    """
    record = host.records.get(namespace)
    if record is None:
        return {}
    module = sys.modules.get(record.module or Path(record.distribution).stem)
    stated = getattr(module, EXCUSED, {})
    if not isinstance(stated, Mapping) or not all(isinstance(one, Mapping) for one in stated.values()):
        raise UsageError(f"{EXCUSED} of {namespace} must be {{id: {{check: reason}}}}.")
    return {str(name): str(reason) for name, reason in stated.get(key, {}).items()}


def of_spec(
    host: Host, spec: Spec, *, excused: Mapping[str, str] | None = None, options: Options = DEFAULTS
) -> Iterator[Outcome]:
    """Yield the outcome of every check of one spec."""
    checks, subject = checks_of(host, spec, options=options)
    stated = excuses(host, spec.namespace, spec.id) | dict(excused or {})
    skipped = {} if options.trainings else dict.fromkeys(TRAINING_CHECKS, NO_TRAININGS)
    names = {one.name for one in checks}
    stated = {name: reason for name, reason in skipped.items() if name in names and spec.kind == "model"} | stated
    yield from run_checks(checks, subject, full_id=spec.id, kind=spec.kind, excused=stated)


def checks_of(host: Host, spec: Spec, *, options: Options = DEFAULTS) -> tuple[tuple[Check, ...], Any]:
    """Return the checks of a spec, and the subject that they take; a cell, too, gets absolute paths."""
    options = replace(options, params=pin_paths(options.params, getattr(spec, "paths", ()))[0])
    if isinstance(spec, ModelSpec):
        from zoo.testing import models, networks, trainings

        return models.CHECKS + trainings.CHECKS, networks.model_subject(
            host,
            spec.id,
            shapes=_shapes(options),
            params=[{}, options.params] if options.params else [{}],
            tolerance=options.tolerance,
        )
    if isinstance(spec, DatasetSpec):
        from zoo.plan.recipes import pinned_params
        from zoo.testing import datasets, pictures, populations

        own = populations.CHECKS if spec.simulated else ()
        subject = datasets.DatasetSubject(host=host, spec=spec, params=options.params, simulator=options.simulator)
        if not _lacking(spec, options.params):
            pinned_params(spec, subject.all_params())  # refuses a path that does not exist, as every plan does
        return datasets.CHECKS + own + pictures.CHECKS, subject
    if isinstance(spec, SimulatorSpec):
        from zoo.testing import simulators

        return simulators.CHECKS, simulators.SimulatorSubject(host=host, spec=spec, dataset=options.data)
    if isinstance(spec, ChannelSpec):
        from zoo.testing import channels

        return channels.CHECKS, channels.ChannelSubject(host=host, spec=spec, dataset=options.data)
    if isinstance(spec, MetricSpec):
        from zoo.testing import metrics

        return metrics.CHECKS, metrics.MetricSubject(host=host, spec=spec)
    if isinstance(spec, TaskSpec):
        from zoo.testing import tasks

        return tasks.CHECKS, tasks.TaskSubject(host=host, spec=spec)
    if isinstance(spec, LauncherSpec):
        from zoo.testing import launchers

        return launchers.CHECKS, launchers.LauncherSubject(host=host, spec=spec, options=options.params)
    from zoo.testing import training_parts

    return training_parts.CHECKS[type(spec)], training_parts.PartSubject(host=host, spec=spec)


def _shapes(options: Options) -> list[Any]:
    from zoo.testing.toys import Shape

    lists = (options.sizes, options.channels, options.classes)
    return [Shape(*(some[number % len(some)] for some in lists)) for number in range(max(len(some) for some in lists))]


def of_plugin(
    host: Host, namespace: str, *, excused: Mapping[str, str] | None = None, options: Options = DEFAULTS
) -> Iterator[Outcome]:
    """Yield the outcome of every check of a plugin as a whole and of its listeners, without what it registers."""
    from zoo.testing import listeners, plugins

    stated = excuses(host, namespace, namespace) | dict(excused or {})
    heard = listeners.CHECKS if listeners.listens(host, namespace) else ()
    check_names(stated, plugins.CHECKS + heard, of=namespace)
    for kind, checks, subject in (
        ("plugin", plugins.CHECKS, plugins.PluginSubject(host=host, namespace=namespace)),
        ("listener", heard, listeners.ListenerSubject(host=host, namespace=namespace)),
    ):
        mine = {one.name: stated[one.name] for one in checks if one.name in stated}
        yield from run_checks(checks, subject, full_id=namespace, kind=kind, excused=mine)


def _specs_of_plugin(host: Host, namespace: str, options: Options) -> Iterator[Outcome]:
    for kind in KINDS:
        for spec in host.specs_of(kind):
            if spec.namespace != namespace:
                continue
            try:
                registry.require(f"{spec.kind} {spec.id}", spec.requires)
            except MissingError as error:
                yield Outcome(
                    id=spec.id, kind=spec.kind, check="requires", holds="Its libraries are installed.",
                    state="not checked", problem=str(error.args[0]), hint=error.hint,
                )  # fmt: skip
                continue
            own = {param: value for param, value in options.params.items() if param in params_of(spec)}
            if lacking := _lacking(spec, own):
                yield Outcome(
                    id=spec.id, kind=spec.kind, check="required", holds="The parameters that it needs are given.",
                    state="not checked", problem=f"It needs {', '.join(lacking)}.", hint=_give(lacking),
                )  # fmt: skip
            yield from of_spec(host, spec, options=replace(options, params=own))
