"""The command `zoo`. Nothing heavy is imported here: listing must answer at once."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from zoo import __version__
from zoo.cli.bench import bench, run_cell
from zoo.cli.context import commands_of, host_of, warn_of_broken
from zoo.cli.data import data
from zoo.cli.equivariance import equivariance
from zoo.cli.evaluate import evaluate
from zoo.cli.inspect import env, plugins, show
from zoo.cli.listing import list_datasets, list_launchers, list_models, list_simulators
from zoo.cli.predict import predict
from zoo.cli.report import report
from zoo.cli.rerun import rerun, verify
from zoo.cli.simulate import simulate
from zoo.cli.weights import card, export, weights
from zoo.errors import UsageError, ZooError, nearest

_COMMANDS = "zoo.plugin_commands"


class ZooGroup(click.Group):
    """The built-in commands, and those that plugins add."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return built-in commands in their order, then the plugins' ones."""
        return [*self.commands, *_plugin_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; plugins are asked only for names that are not built in."""
        return self.commands.get(cmd_name) or _plugin_commands(ctx).get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the nearest one."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            names = self.list_commands(ctx)
            warn_of_broken(host_of(ctx))
            raise UsageError(f"There is no command '{args[0]}'.{nearest(args[0], names)}", hint="See: zoo --help")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader of our output that goes away, as `| head` does, is no failure."""
        try:
            return super().invoke(ctx)
        except (BrokenPipeError, SystemExit) as error:
            # rich turns a broken pipe into SystemExit(1).
            if not isinstance(error, BrokenPipeError) and not isinstance(error.__context__, BrokenPipeError):
                raise
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0


def _plugin_commands(ctx: click.Context) -> dict[str, click.Command]:
    """Return the commands of all plugins; one that cannot give them is named and left out."""
    if _COMMANDS in ctx.meta:
        return dict(ctx.meta[_COMMANDS])
    commands: dict[str, click.Command] = ctx.meta.setdefault(_COMMANDS, {})
    host = host_of(ctx)
    # In the order of admission, so that a plugin of this project keeps the name of its command.
    for name in [name for name, record in host.records.items() if record.state == "ok"]:
        try:
            for command in commands_of(host, name):
                if command.name is not None and command.name not in cli.commands:
                    commands.setdefault(command.name, command)
        except (Exception, SystemExit) as error:
            logging.getLogger(__name__).warning("plugin %s: zoo_commands: %s: %s", name, type(error).__name__, error)
    return commands


def _add_files(ctx: click.Context, option: click.Parameter, files: tuple[str, ...]) -> None:
    """Put files into the environment, so that the processes which run the cells load them too."""
    if files:
        known = [path for path in os.environ.get("ZOO_PLUGIN_FILES", "").split(os.pathsep) if path]
        os.environ["ZOO_PLUGIN_FILES"] = os.pathsep.join([*known, *(os.path.abspath(path) for path in files)])


@click.group(cls=ZooGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="zoo")
@click.option(
    "--plugin", "files", multiple=True, metavar="FILE.py", help="Also load a plugin from this file.",
    # Before --help, and before the command is looked up: the file may offer it.
    is_eager=True, expose_value=False, callback=_add_files,
)  # fmt: skip
def cli() -> None:
    """Simulate strong lenses, train networks on them, and compare the networks honestly.

    \b
    zoo list-models                            what there is
    zoo bench --model p4m --data modelB        train and score it
    """


for command in (
    bench, report, predict, evaluate, list_models, list_datasets, list_simulators, list_launchers, show, simulate, data,
    weights, card, export, rerun, verify, equivariance, plugins, env, run_cell,
):  # fmt: skip
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 fine, 1 failed, 2 wrong usage, 3 something missing, 130 interrupted."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by who started us, as with `>&-`
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - open until we end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without a letter shows a "?" and no traceback
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING, stream=sys.stderr)
    try:
        code = cli.main(args=None if arguments is None else list(arguments), standalone_mode=False) or 0
    except ZooError as error:
        click.echo(f"Error: {error}", err=True)
        code = error.exit_code
    except click.exceptions.Exit as exit_request:
        code = exit_request.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except OSError as error:
        if error.filename is not None:
            raise
        # No file of ours, so what our output goes to: `> FILE` on a full disk.
        click.echo(f"Error: Cannot write the output: {error.strerror or error}.", err=True)
        code = 1
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted. Nothing is lost: the same command goes on from here.", err=True)
        code = 130
    sys.exit(code)
