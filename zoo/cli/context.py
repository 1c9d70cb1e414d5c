"""Values that all commands share: the plugins of this invocation and the console."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any

import click

from zoo.escaping import visible

if TYPE_CHECKING:
    from zoo.cli.terminal import PlainConsole
    from zoo.host import Host


def host_of(ctx: click.Context) -> Host:
    """Return the plugins, found once for each invocation."""
    root = ctx.find_root()
    if root.obj is None:
        from zoo.host import load_plugins

        root.obj = load_plugins()
    host: Host = root.obj
    return host


def commands_of(host: Host, namespace: str) -> list[click.Command]:
    """Return the commands that one plugin adds; what it prints meanwhile goes to stderr.

    Raises:
        TypeError: The plugin returned something other than lists of commands; or another error of its hook.
    """
    from zoo.collected import entries
    from zoo.isolation import printing_to_stderr

    with printing_to_stderr():
        return [
            command
            for offered in host.call_plugin(namespace, "zoo_commands")
            for command in entries(offered, click.Command, hook="zoo_commands")
        ]


def console(*, stderr: bool = False) -> PlainConsole:
    """Return a console; a pipe gets lines as long as they need to be."""
    from zoo.cli.terminal import PlainConsole

    stream = sys.stderr if stderr else sys.stdout
    return PlainConsole(stderr=stderr, width=None if stream.isatty() else 200)


def echo(text: object, *, err: bool = False, nl: bool = True, bold: bool = False) -> None:
    """Print a text with its control characters written out; what zoo prints goes through here or through `console`."""
    plain = visible(str(text))
    click.echo(click.style(plain, bold=True) if bold else plain, err=err, nl=nl)


def rewrite_line(text: str) -> None:
    """Print a text in place of the last line of a terminal on stderr."""
    click.echo(f"\r\033[K{visible(text)}", err=True, nl=False)


def print_json(content: Any) -> None:
    """Print JSON to stdout; numbers that JSON cannot hold (NaN, infinity) become null."""
    echo(json.dumps(_finite(content), indent=2, sort_keys=True, allow_nan=False))


def _finite(content: Any) -> Any:
    if isinstance(content, float) and not math.isfinite(content):
        return None
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    return [_finite(value) for value in content] if isinstance(content, (list, tuple)) else content


def warn_of_broken(host: Host) -> None:
    """Print on stderr which plugins are broken; they never stop a command that does not use them."""
    broken = {name: record for name, record in host.records.items() if record.state == "broken"}
    if broken:
        commands = " and ".join(dict.fromkeys(record.show_errors for record in broken.values()))
        echo(f"note: broken plugin {', '.join(broken)}; see: {commands}", err=True)
