"""`--launcher` of `zoo simulate`, `predict` and `evaluate`: options that go together, sentences on failed shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.cli.context import echo
from zoo.cli.options import value_of
from zoo.devices import planned_device, resolve_device
from zoo.errors import UsageError
from zoo.plurals import counted
from zoo.run.launch import LOCAL, Launch

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


def device_for(host: Host, launch: Launch | None, asked: str) -> str:
    """Return the device to compute on, or to plan for where a launcher's machines do the work.

    Raises:
        UsageError: The device, the launcher or an option of it is unknown.
        MissingError: The device is not there.
    """
    if launch is None:
        return resolve_device(asked)
    resolved = launch.resolved(host, ())
    return (resolve_device if resolved.spec.id == LOCAL else planned_device)(launch.device(host, asked))


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


def print_unanswered(joined: Joined, *, what: str) -> None:
    """Print the causes of failures of shares of answers, and what follows, to stderr."""
    print_failed([(f"share {one.number}:{joined.shares}", one.error) for one in joined.failed])
    echo(f"no {what} are printed; the same command goes on with what is missing", err=True)
