"""Register the command `zoo tune` and the hidden command of its workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.hookspecs import hookimpl

if TYPE_CHECKING:
    from click import Command


@hookimpl
def zoo_commands() -> list[Command]:
    """Return the commands."""
    from zoo_optuna.command import run_trials, tune

    return [tune, run_trials]
