"""The checks as pytest classes, one for each kind: a test for each check of what a subclass names.

class TestTiny(ModelChecks):
    name = "mynets/tiny"
    excused = {"autocast": "the layer has no bf16 version"}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from zoo import registry
from zoo.host import load_plugins
from zoo.specs import ChannelSpec, DatasetSpec, LauncherSpec, MetricSpec, ModelSpec, SimulatorSpec, Spec, TaskSpec
from zoo.testing.kit import Options, checks_of, excuses
from zoo.testing.outcome import Check, ConformanceError, check_names, run_check

if TYPE_CHECKING:
    import pytest

    from zoo.host import Host


class Checks:
    """Base of the classes below; a subclass whose name begins with "Test" states what is checked.

    `test_contract` is run once for each check. Checks that do not apply, or that are excused, are skipped with the
    reason.
    """

    kind: ClassVar[type[Spec] | None] = None
    name: ClassVar[str]
    """Id of the checked thing; of listeners and commands, name of the plugin."""
    excused: ClassVar[Mapping[str, str]] = {}
    """Check -> reason for which it is left out."""
    options: ClassVar[Options] = Options()
    """How it is checked."""
    files: ClassVar[Sequence[str]] = ()
    """Plugins that are single files."""

    @classmethod
    def host(cls) -> Host:
        """Return the plugins; a subclass may return others."""
        return load_plugins(files=cls.files)

    @classmethod
    def checks(cls, host: Host) -> tuple[tuple[Check, ...], Any, str, str]:
        """Return the checks, the subject that they take, its id and its kind."""
        assert cls.kind is not None
        spec = registry.find(host, cls.kind, cls.name)
        return (*checks_of(host, spec, options=cls.options), spec.id, spec.kind)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make a test of each check."""
        host = type(self).host()
        checks, subject, full_id, kind = type(self).checks(host)
        reasons = excuses(host, full_id.partition("/")[0], full_id) | dict(self.excused)
        check_names(self.excused, checks, of=full_id)
        bound = [(check, subject, full_id, kind, reasons.get(check.name, "")) for check in checks]
        metafunc.parametrize("bound", bound, ids=[check.name for check in checks])

    def test_contract(self, bound: tuple[Check, Any, str, str, str]) -> None:
        """Run one check."""
        import pytest

        check, subject, full_id, kind, reason = bound
        outcome = run_check(check, subject, full_id=full_id, kind=kind, reason=reason)
        if outcome.state == "failed":
            raise ConformanceError(outcome.problem, where=outcome.where, hint=outcome.hint)
        if outcome.state != "passed":
            pytest.skip(f"{outcome.state}: {outcome.problem}")


class ModelChecks(Checks):
    """Checks of a model."""

    kind = ModelSpec


class DatasetChecks(Checks):
    """Checks of a data set: images that exist, or a population."""

    kind = DatasetSpec


class PopulationChecks(DatasetChecks):
    """Checks of a population, the data set that a simulator renders."""


class SimulatorChecks(Checks):
    """Checks of a simulator."""

    kind = SimulatorSpec


class ChannelChecks(Checks):
    """Checks of a derived channel."""

    kind = ChannelSpec


class MetricChecks(Checks):
    """Checks of a metric."""

    kind = MetricSpec


class TaskChecks(Checks):
    """Checks of a task."""

    kind = TaskSpec


class LauncherChecks(Checks):
    """Checks of a launcher."""

    kind = LauncherSpec


class PluginChecks(Checks):
    """Checks of a plugin as a whole: import, metadata, targets, and the help of its commands."""

    @classmethod
    def checks(cls, host: Host) -> tuple[tuple[Check, ...], Any, str, str]:
        """Return the checks of a plugin."""
        from zoo.testing import plugins

        return plugins.CHECKS, plugins.PluginSubject(host=host, namespace=cls.name), cls.name, "plugin"


class CommandChecks(PluginChecks):
    """Checks of the commands of a plugin."""

    @classmethod
    def checks(cls, host: Host) -> tuple[tuple[Check, ...], Any, str, str]:
        """Return the checks of a plugin that concern its commands."""
        checks, *rest = super().checks(host)
        subject, name, kind = rest
        return tuple(check for check in checks if check.name.startswith("command")), subject, name, kind


class TrackerChecks(Checks):
    """Checks of a plugin that listens to the events of runs."""

    @classmethod
    def checks(cls, host: Host) -> tuple[tuple[Check, ...], Any, str, str]:
        """Return the checks of listeners."""
        from zoo.testing import listeners

        return listeners.CHECKS, listeners.ListenerSubject(host=host, namespace=cls.name), cls.name, "listener"
