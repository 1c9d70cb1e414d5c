"""Checks of a plugin as a whole and of its commands: import, targets, metadata, a second process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.collected import entries
from zoo.errors import UsageError
from zoo.host import PluginRecord
from zoo.paths import parse_json
from zoo.plurals import counted
from zoo.specs import Spec
from zoo.testing.outcome import ConformanceError, NotApplicable, case, named, require

if TYPE_CHECKING:
    import click
    import click.testing

    from zoo.host import Host

SECONDS = 120


@dataclass
class PluginSubject:
    """A plugin.

    Args:
        host: The plugins.
        namespace: Its name.
    """

    host: Host
    namespace: str
    cached: dict[str, Any] = field(default_factory=dict)

    @property
    def record(self) -> PluginRecord:
        """State of the plugin.

        Raises:
            UsageError: There is no such plugin.
        """
        if self.namespace not in self.host.records:
            raise UsageError(f"There is no plugin '{self.namespace}'.", hint="See: zoo plugins")
        return self.host.records[self.namespace]

    def specs(self) -> list[Spec]:
        """Return what the plugin registers."""
        found = (spec for specs in self.host.specs.values() for spec in specs.values())
        return [spec for spec in found if spec.namespace == self.namespace]

    def loaded(self) -> None:
        """Leave a check out where the plugin is broken.

        Raises:
            NotApplicable: It is.
        """
        if self.record.state != "ok":
            raise NotApplicable(f"the plugin is {self.record.state}, see the check 'loads'")

    def commands(self) -> list[click.Command]:
        """Return the commands that the plugin adds.

        Raises:
            NotApplicable: It adds none.
        """
        import click

        self.loaded()
        offered = self.host.call_plugin(self.namespace, "zoo_commands")
        found = [one for some in offered for one in entries(some, click.Command, hook="zoo_commands")]
        if not found:
            raise NotApplicable("it adds no command")
        return found

    def second_process(self) -> dict[str, Any]:
        """Return what a fresh process, with other threads and another hash seed, sees of the plugin alone."""
        if "second" not in self.cached:
            record, environment = self.record, dict(os.environ)
            environment |= {"OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "1"}
            environment.pop("ZOO_DISABLE_PLUGINS", None)
            environment["ZOO_PLUGINS"] = self.namespace
            if record.version == "file":
                environment["ZOO_PLUGIN_FILES"] = os.path.abspath(record.distribution)
            command = [sys.executable, "-c", _LOOK]
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
            )
            if done.returncode:
                last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
                raise ConformanceError(f"A fresh process cannot load it: {last}")
            self.cached["second"] = parse_json(done.stdout.splitlines()[-1])
        found: dict[str, Any] = self.cached["second"]
        return found


_LOOK = """
import contextlib, json, os, sys
saved = os.dup(1)
read, write = os.pipe()
os.dup2(write, 1)
sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)  # for Python; what goes past it to either descriptor is seen
os.dup2(write, 2)
from zoo.host import load_plugins
host = load_plugins()
from zoo.cli.context import commands_of
for name, record in host.records.items():
    with contextlib.suppress(Exception):  # reported where it is used
        record.state == "ok" and commands_of(host, name)
sys.stdout.flush()
os.dup2(saved, 1)
os.close(write)
printed = os.read(read, 200) if __import__("select").select([read], [], [], 0)[0] else b""
specs = sorted(spec.id for some in host.specs.values() for spec in some.values())
heavy = [name for name in ("torch", "numpy", "scipy", "matplotlib") if name in sys.modules]
states = {name: [record.state, record.error] for name, record in host.records.items() if record.state != "disabled"}
from zoo.cli import cli
found = {"commands": sorted(cli.commands), "specs": specs, "heavy": heavy, "states": states}
print(json.dumps(found | {"printed": printed.decode(errors="replace")}))
"""


def loads(subject: PluginSubject) -> None:
    """It is loaded: import, version of the plugin interface, hooks and specs are accepted."""
    record = subject.record
    require(record.state == "ok", f"It is {record.state}: {record.error}", hint=f"See: {record.show_errors}")


def metadata(subject: PluginSubject) -> None:
    """Its distribution states a name and a version, which every result records."""
    record = subject.record
    if record.version == "file":
        raise NotApplicable("it is a file; results record a digest of its code")
    require("?" not in (record.distribution, record.version), "Its distribution lacks name or version.")


def light_import(subject: PluginSubject) -> None:
    """Its entry point and `zoo_commands` import neither torch nor numpy, so that lists and --help stay fast."""
    subject.loaded()
    heavy = subject.second_process()["heavy"]
    require(not heavy, f"Loading it imports {', '.join(heavy)}.", hint="Import them inside functions.")


def silent_import(subject: PluginSubject) -> None:
    """Loading it prints nothing, also not past Python to the file descriptor."""
    subject.loaded()
    printed = subject.second_process()["printed"]
    require(not printed, f"Loading it prints {printed[:60]!r}.", hint="Use logging.getLogger(__name__).")


def second_process(subject: PluginSubject) -> None:
    """A fresh process, as those of cells are, finds the same specs."""
    subject.loaded()
    found = subject.second_process()
    mine = sorted(spec.id for spec in subject.specs())
    theirs = [full_id for full_id in found["specs"] if full_id.startswith(f"{subject.namespace}/")]
    require(theirs == mine, f"A fresh process finds {len(theirs)} specs, this one {len(mine)}.")


def targets(subject: PluginSubject) -> None:
    """Every target whose libraries are installed can be imported, and libraries are named so that pip finds them."""
    subject.loaded()
    for spec in subject.specs():
        with case(spec.id):
            try:
                registry.require(spec.id, spec.requires)
            except Exception:
                continue  # an absent library is reported by every command that needs it
            registry.load_target(spec)


def summaries(subject: PluginSubject) -> None:
    """Every spec has a summary, which lists show."""
    subject.loaded()
    missing = [spec.id for spec in subject.specs() if not spec.summary]
    require(not missing, f"{', '.join(missing[:3])} has no summary.", hint='State it: summary="..."')


def command_help(subject: PluginSubject) -> None:
    """Every command has a help text, shown by --help, and explains each of its options."""
    for words, part, command in _parts(subject):
        with case(f"zoo {' '.join(words)}"):
            require(bool(part.get_short_help_str()), "It has no help text.", hint="Write a docstring.")
            shown = _invoked(command, *words[1:], "--help")
            require(shown.exit_code == 0, f"--help ends with exit code {shown.exit_code}.")
            for option in part.params:
                silent = option.param_type_name == "option" and not getattr(option, "help", None)
                require(not silent, f"The option {option.opts[0]} has no help text.", hint="Write: help=...")


def command_names(subject: PluginSubject) -> None:
    """Commands have names of one word, each once, and none of zoo's own, which would run in its place."""
    names = [command.name or "" for command in subject.commands()]
    for name in names:
        require(
            len(name.split()) == 1 and name.split() == [name], f"'{name}' cannot be typed as the name of a command."
        )
        require(names.count(name) == 1, f"It has {counted(names.count(name), 'command')} named '{name}'.")
    taken = [name for name in names if name in subject.second_process()["commands"]]
    require(
        not taken,
        f"zoo has the command {', '.join(taken)} already: this one never runs.",
        hint="Choose another name.",
    )


def command_usage(subject: PluginSubject) -> None:
    """An unknown option ends every command with exit code 2, before it does anything."""
    for words, _, command in _parts(subject):
        with case(f"zoo {' '.join(words)}"):
            shown = _invoked(command, *words[1:], "--no-such-option-of-it")
            require(shown.exit_code == 2, f"An unknown option ends it with exit code {shown.exit_code}, not 2.")


def _parts(subject: PluginSubject) -> Iterator[tuple[tuple[str, ...], click.Command, click.Command]]:
    """Yield the words of each command, the command itself, and the one that it is part of; of a group all in it."""
    import click

    def inside(words: tuple[str, ...], part: click.Command) -> Iterator[tuple[tuple[str, ...], click.Command]]:
        yield words, part
        if isinstance(part, click.Group):
            context = click.Context(part)
            for name in part.list_commands(context):
                if (below := part.get_command(context, name)) is not None:
                    yield from inside((*words, name), below)

    for command in subject.commands():
        for words, part in inside((command.name or "",), command):
            yield words, part, command


def _invoked(command: click.Command, *words: str) -> click.testing.Result:
    """Return the outcome of a command with the help options of `zoo`: click keeps those of the first call."""
    from click.testing import CliRunner

    return CliRunner().invoke(command, words, help_option_names=["-h", "--help"])


CHECKS = named(
    loads, metadata, light_import, silent_import, second_process, targets, summaries, command_help, command_names,
    command_usage,
)  # fmt: skip
