"""The command `zoo`. Nothing heavy is imported here: listing must answer at once."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import click

from zoo import __version__
from zoo.cli.context import commands_of, echo, host_of, warn_of_broken
from zoo.cli.detach import WORDS
from zoo.cli.lazy import LazyCommand
from zoo.errors import Interrupted, UsageError, ZooError, nearest
from zoo.escaping import visible
from zoo.paths import user_path
from zoo.stopping import exit_code, stop_on_signals

_COMMANDS = "zoo.plugin_commands"
LEVELS = ("debug", "info", "warning", "error")
LEVEL_VARIABLE = "ZOO_LOG_LEVEL"
"""Environment variable with the log level, for the processes that a command starts."""


class ZooGroup(click.Group):
    """The built-in commands, and those that plugins add."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words of the command line, which a detached command repeats."""
        ctx.meta[WORDS] = list(args)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return built-in commands in their order, then the plugins' ones."""
        return [*self.commands, *_plugin_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; plugins are loaded only for names that are not built in."""
        command = self.commands.get(cmd_name) or _plugin_commands(ctx).get(cmd_name)
        return command.load() if isinstance(command, LazyCommand) else command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the names and short helps; click's own method would import every command."""
        commands = {name: one for name, one in {**self.commands, **_plugin_commands(ctx)}.items() if not one.hidden}
        limit = formatter.width - 6 - max(map(len, commands))
        with formatter.section("Commands"):
            formatter.write_dl(
                [(visible(name), visible(one.get_short_help_str(limit))) for name, one in commands.items()]
            )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the nearest one."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            names = self.list_commands(ctx)
            warn_of_broken(host_of(ctx))
            raise UsageError(f"Command '{args[0]}' was not found.{nearest(args[0], names)}", hint="See: zoo --help")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; output closed early by its reader, as with `| head`, is not a failure."""
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
        except Exception as error:
            logging.getLogger(__name__).warning("plugin %s: zoo_commands: %s: %s", name, type(error).__name__, error)
    return commands


def _add_files(ctx: click.Context, option: click.Parameter, files: tuple[str, ...]) -> None:
    """Put files into the environment, so that the processes which run the cells load them too."""
    if files:
        known = [path for path in os.environ.get("ZOO_PLUGIN_FILES", "").split(os.pathsep) if path]
        os.environ["ZOO_PLUGIN_FILES"] = os.pathsep.join(
            [*known, *(os.path.abspath(user_path(path)) for path in files)]
        )


def _set_level(ctx: click.Context, option: click.Parameter, value: Any) -> None:
    """Set the least severe level that is logged, here and in the processes that this one starts."""
    if ctx.resilient_parsing or not value:
        return
    level = str(value).upper()
    if option.name == "verbose":
        level = "INFO" if value == 1 else "DEBUG"
    elif option.name == "quiet":
        level = "ERROR"
    os.environ[LEVEL_VARIABLE] = level
    logging.getLogger().setLevel(level)


@click.group(cls=ZooGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="zoo")
@click.option(
    "--plugin", "files", multiple=True, metavar="FILE.py", help="Load a plugin from this file, too.",
    # Before --help, and before the command is looked up: the file may offer it.
    is_eager=True, expose_value=False, callback=_add_files,
)  # fmt: skip
@click.option("-v", "--verbose", count=True, expose_value=False, callback=_set_level, help="Log more; -vv: everything.")
@click.option("-q", "--quiet", is_flag=True, expose_value=False, callback=_set_level, help="Log errors only.")
@click.option(
    "--log-level", type=click.Choice(LEVELS, case_sensitive=False), expose_value=False, callback=_set_level,
    help="Log messages of this level and above, also in the processes of runs; default: warning.",
)  # fmt: skip
def cli() -> None:
    """Simulate strong lenses, train networks on them, and compare the networks honestly.

    \b
    zoo list-models                            list all networks
    zoo bench --model p4m --data modelB        train and score one
    """


for command in (
    LazyCommand("bench", "zoo.cli.bench", "bench", "Train and score every model on every data set."),
    LazyCommand(
        "report",
        "zoo.cli.report",
        "report",
        "Show the results in a store, best first.",
    ),
    LazyCommand("status", "zoo.cli.status", "status", "Show where the cells of a store run, and their progress."),
    LazyCommand("cancel", "zoo.cli.status", "cancel", "Cancel cells that wait or run."),
    LazyCommand("logs", "zoo.cli.status", "logs", "Print the end of a cell's log."),
    LazyCommand("predict", "zoo.cli.predict", "predict", "Classify images with trained weights, or score them."),
    LazyCommand(
        "evaluate",
        "zoo.cli.evaluate",
        "evaluate",
        "Score trained weights on images of a data set.",
    ),
    LazyCommand("score", "zoo.cli.score", "score", "Score predictions that another program made."),
    LazyCommand(
        "rescore",
        "zoo.cli.rescore",
        "rescore",
        "Compute metrics of plugins for stored runs.",
    ),
    LazyCommand("list-models", "zoo.cli.listing", "list_models", "List networks."),
    LazyCommand("list-datasets", "zoo.cli.listing", "list_datasets", "List data sets."),
    LazyCommand("list-simulators", "zoo.cli.listing", "list_simulators", "List lens simulators."),
    LazyCommand("list-launchers", "zoo.cli.listing", "list_launchers", "List ways to run cells."),
    LazyCommand(
        "list-channels", "zoo.cli.listing", "list_channels", "List channels that are computed from each image."
    ),
    LazyCommand("list-metrics", "zoo.cli.listing", "list_metrics", "List scores that plugins add."),
    LazyCommand(
        "list-optimizers", "zoo.cli.listing", "list_optimizers", "List the optimisers of plugins; adamw is built in."
    ),
    LazyCommand(
        "list-tasks", "zoo.cli.listing", "list_tasks", "List what can be asked about the images of a data set."
    ),
    LazyCommand(
        "show",
        "zoo.cli.inspect",
        "show",
        "Show the details of one thing, such as a model or a run.",
    ),
    LazyCommand(
        "simulate",
        "zoo.cli.simulate",
        "simulate",
        "Simulate the images of a split.",
    ),
    LazyCommand(
        "data",
        "zoo.cli.data",
        "data",
        "Check, draw or export images, or probe them with scalars.",
    ),
    LazyCommand("weights", "zoo.cli.weights", "weights", "List and share trained weights."),
    LazyCommand("card", "zoo.cli.weights", "card", "Write the model card of a run."),
    LazyCommand(
        "export",
        "zoo.cli.weights",
        "export",
        "Write trained weights as an ONNX or torch.export file.",
    ),
    LazyCommand("rerun", "zoo.cli.rerun", "rerun", "Run a stored cell again elsewhere and compare the scores."),
    LazyCommand(
        "verify",
        "zoo.cli.rerun",
        "verify",
        "Recompute stored scores and check the hashes of files.",
    ),
    LazyCommand(
        "equivariance",
        "zoo.cli.equivariance",
        "equivariance",
        "Measure how far a network is from invariant.",
    ),
    LazyCommand("plugins", "zoo.cli.plugins", "plugins", "List installed plugins and their status."),
    LazyCommand("install", "zoo.cli.install", "install", "Install plugins into the environment of this zoo."),
    LazyCommand("uninstall", "zoo.cli.install", "uninstall", "Uninstall plugins from the environment of this zoo."),
    LazyCommand(
        "disable",
        "zoo.cli.plugins",
        "disable",
        "Leave plugins out until they are enabled again.",
    ),
    LazyCommand("enable", "zoo.cli.plugins", "enable", "Enable plugins that were disabled."),
    LazyCommand("check", "zoo.cli.check", "check", "Check that a plugin keeps its contracts."),
    LazyCommand(
        "new-plugin",
        "zoo.cli.new_plugin",
        "new_plugin",
        "Write the project of a new plugin.",
    ),
    LazyCommand("env", "zoo.cli.inspect", "env", "Show machine, versions and plugins, for bug reports."),
    LazyCommand("doctor", "zoo.cli.doctor", "doctor", "Check whether a folder can hold results."),
    LazyCommand(
        "run-cell",
        "zoo.cli.run_cell",
        "run_cell",
        "Run one cell in this process, or in some that it starts; the result goes beside its file.",
        hidden=True,
    ),
    LazyCommand(
        "run-share",
        "zoo.cli.run_share",
        "run_share",
        "Make one share of a split in this process; its part of the manifest goes beside its file.",
        hidden=True,
    ),
    LazyCommand(
        "predict-share",
        "zoo.cli.run_share",
        "predict_share",
        "Classify one share of many files in this process; its answers go beside its file.",
        hidden=True,
    ),
    LazyCommand(
        "evaluate-share",
        "zoo.cli.run_share",
        "evaluate_share",
        "Answer one share of test images in this process; the answers go beside its file.",
        hidden=True,
    ),
    LazyCommand(
        "try-plugin",
        "zoo.cli.try_plugin",
        "try_plugin",
        "Import one plugin and print, a line each, what all others share: it must be the same without the plugin.",
        hidden=True,
    ),
):
    cli.add_command(command)


class _PlainFormatter(logging.Formatter):
    """Messages with their control characters written out."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a message, with the traceback if it has one."""
        return visible(super().format(record))


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of an error in the code of zoo or of a plugin; its message may quote anything."""
    echo("".join(traceback.format_exception(kind, error, trace)), err=True, nl=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 fine, 1 failed, 2 wrong usage, 3 something missing.

    An interrupted command exits with 128 and the number of the signal: 130 after Ctrl-C, 143 after SIGTERM. A cell that
    was stopped (`zoo run-cell`) exits with 75: it goes on when it is run again.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the parent process, as with `>&-`
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - open until we end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without a letter shows a "?" and no traceback
    sys.excepthook = _print_traceback
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PlainFormatter("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    level = os.environ.get(LEVEL_VARIABLE, "").lower()
    logging.getLogger().setLevel(level.upper() if level in LEVELS else "WARNING")
    try:
        with stop_on_signals():  # processes that a command has started are ended in order
            code = cli.main(args=None if arguments is None else list(arguments), standalone_mode=False) or 0
    except ZooError as error:
        echo(f"Error: {error}", err=True)
        code = error.exit_code
    except click.exceptions.Exit as exit_request:
        code = exit_request.exit_code
    except click.ClickException as error:
        message = io.StringIO()
        error.show(file=message)  # it quotes the command line
        echo(message.getvalue(), err=True, nl=False)
        code = error.exit_code
    except OSError as error:
        # Without a file name it is what our output goes to: `> FILE` on a full disk.
        what = "write the output" if error.filename is None else f"use {error.filename}"
        logging.debug("", exc_info=True)
        echo(f"Error: Cannot {what}: {error.strerror or error}.", err=True)
        code = 1
    except (click.Abort, KeyboardInterrupt) as error:
        stop = error.__cause__ if isinstance(error, click.Abort) else error  # click makes one of the other
        how = f"Stopped by {stop}" if isinstance(stop, Interrupted) else "Interrupted"
        echo(f"{how}. Everything finished is kept: run the same command to resume.", err=True)
        code = exit_code(stop)
    sys.exit(code)
