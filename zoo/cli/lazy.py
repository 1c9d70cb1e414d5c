"""Commands that are imported when they are used: `zoo --help` needs their names and short helps only.

A module of commands imports at its top, except what loads numpy, torch, matplotlib or rich: `zoo COMMAND --help` and
shell completion do not need these, so these imports are inside the functions.
"""

from __future__ import annotations

import importlib

import click


class LazyCommand(click.Command):
    """A command that stands in for one of a module that is not imported yet.

    Args:
        name: Name of the command.
        module: Module that holds it.
        attribute: Name of the command in that module.
        short_help: First sentence of its help; a test compares the two.
        hidden: Whether `zoo --help` leaves it out.
    """

    def __init__(self, name: str, module: str, attribute: str, short_help: str, *, hidden: bool = False) -> None:
        super().__init__(name, help=short_help, hidden=hidden)
        self.module, self.attribute = module, attribute

    def load(self) -> click.Command:
        """Import and return the command."""
        command: click.Command = getattr(importlib.import_module(self.module), self.attribute)
        return command
