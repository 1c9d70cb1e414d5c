"""Commands of Slurm, with a time limit and one error that names them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from zoo.errors import LauncherError, MissingError

SECONDS = 60.0
"""Time limit of a command: a busy controller answers late."""


def require(*names: str) -> None:
    """Refuse a machine without commands of Slurm.

    Raises:
        MissingError: One of them is not installed.
    """
    if missing := [name for name in names if shutil.which(name) is None]:
        raise MissingError(
            f"The launcher submitit/slurm needs Slurm's command {missing[0]}, which is not on the PATH here.",
            hint="Run it on a login node of the cluster; without Slurm: --launcher core/local",
        )


def is_installed(name: str) -> bool:
    """Whether a command is there."""
    return shutil.which(name) is not None


def output(command: Sequence[str], *, nothing: Sequence[str] = ()) -> str:
    """Return what a command prints.

    Args:
        command: Command with its arguments.
        nothing: Errors that stand for an empty answer.

    Raises:
        LauncherError: It fails, or does not end in time.
    """
    try:
        ended = subprocess.run(list(command), capture_output=True, text=True, errors="replace", timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise LauncherError(
            f"{command[0]} has not answered for {SECONDS:g} s.", hint="Is Slurm up? Try: sinfo"
        ) from None
    except OSError as error:
        raise LauncherError(f"{command[0]} cannot be started: {error.strerror or error}.") from error
    if ended.returncode == 0:
        return ended.stdout
    said = ended.stderr.strip() or ended.stdout.strip() or f"exit code {ended.returncode}"
    if any(words in said for words in nothing):
        return ""
    raise LauncherError(f"{command[0]} failed: {said}")
