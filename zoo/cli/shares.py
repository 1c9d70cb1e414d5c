"""`--launcher` of `zoo simulate`, `predict` and `evaluate`: options that go together, sentences on failed shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.context import echo
from zoo.cli.detach import detach as start_detached
from zoo.cli.detach import say_ready
from zoo.cli.options import value_of
from zoo.errors import UsageError
from zoo.paths import in_shell
from zoo.plurals import counted
from zoo.registry import find
from zoo.run.launch import LOCAL, Launch
from zoo.specs import LauncherSpec

if TYPE_CHECKING:
    from zoo.host import Host
    from zoo.inference.share_jobs import Joined
    from zoo.run.shares import SharesEnd

OPTIONS = ("launcher_settings", "jobs", "gpus", "retries")
"""Fields of `Launch` that are options of these commands beside the name of the launcher."""
_MOST_SHOWN = 5


def launch_of(
    values: Mapping[str, Any],
    *,
    launcher: str | None,
    shards: int | None,
    share: str | None = None,
    example: str,
    alone: str = "",
) -> Launch | None:
    """Return the launcher with its options; None where this process does the work.

    Args:
        values: Values of `OPTIONS`.
        launcher: Name of the launcher.
        shards: Number of shares.
        share: Share of this machine, I:N.
        example: Command for the hints, without these options.
        alone: Sentence on the same without a launcher.

    Raises:
        UsageError: An option lacks the one that it belongs to, or two exclude each other.
    """
    if launcher is None:
        if shards is not None:
            raise UsageError(
                f"--shards {shards} divides the work into the jobs of a launcher, and no --launcher is given.",
                hint=f"Add --launcher {LOCAL}, or another of zoo list-launchers. {alone}".rstrip(),
            )
        flags = {"--launcher-set": values["launcher_settings"], "--jobs": values["jobs"], "--gpus": values["gpus"]}
        flags["--retries"] = None if values["retries"] == Launch.retries else values["retries"]
        if given := [flag for flag, value in flags.items() if value not in (None, "", ())]:
            raise UsageError(
                f"{given[0]} is an option of a launcher, and no --launcher is given.",
                hint=f"For example: {example} --launcher {LOCAL} --shards 8",
            )
        return None
    if share is not None:
        raise UsageError(f"--shard {share} is one share, and --launcher {launcher} makes all: leave out one of them.")
    if shards is None:
        raise UsageError(
            f"--launcher {launcher} needs the number of shares: --shards K.",
            hint=f"For example: {example} --launcher {launcher} --shards 8",
        )
    launch: Launch = value_of(Launch, {**values, "launcher": launcher})
    return launch


def when_queued(
    ctx: click.Context, host: Host, launch: Launch | None, *, detach: bool, store: Path
) -> Callable[[], bool | None]:
    """Return what is to be called when all shares are queued; it returns True where they are not waited for.

    Exits where a launcher of this machine goes on in the background.

    Args:
        ctx: Context of the command.
        host: The plugins.
        launch: Launcher of the shares.
        detach: Whether --detach is given.
        store: Folder that `zoo status` shows.

    Raises:
        UsageError: --detach is given without a launcher.
    """
    if not detach:
        return say_ready
    if launch is None:
        raise UsageError("--detach goes with --launcher.")
    if not find(host, LauncherSpec, launch.launcher).outlives:
        ctx.exit(start_detached(ctx, store, what="shares"))
    return lambda: True


def print_failed(ends: Sequence[tuple[str, str]]) -> None:
    """Print names and causes of failures to stderr, the first of many."""
    for name, error in ends[:_MOST_SHOWN]:
        echo(f"{name} has failed: {error}", err=True)
    if (more := len(ends) - _MOST_SHOWN) > 0:
        echo(f"and {more:,} more", err=True)


def print_failures(end: SharesEnd, *, split: str) -> None:
    """Print the causes of failures, and what is missing, to stderr."""
    print_failed([(f"share {one.share.machine}:{one.share.of} of {split}", one.error) for one in end.failed])
    if not end.complete:
        files = counted(end.lacking, "file")
        echo(f"{split}: {files} missing or without a checksum; the same command goes on with them", err=True)


def exit_unanswered(ctx: click.Context, joined: Joined, *, what: str, store: Path, leave: bool) -> None:
    """Exit where the answers of shares are not printed: some have failed, or another command prints them.

    Args:
        ctx: Context of the command.
        joined: The shares.
        what: Noun of the output: "answers" or "scores".
        store: Folder of the answers.
        leave: Whether another command prints them.
    """
    if joined.failed:
        print_failed([(f"share {one.number}:{joined.shares}", one.error) for one in joined.failed])
        echo(f"no {what} are printed; the same command goes on with what is missing", err=True)
        ctx.exit(1)
    if leave or not joined.complete:
        echo(
            f"zoo status --store {in_shell(store)} shows the shares; the same command without --detach prints {what}",
            err=True,
        )
        ctx.exit(0)
