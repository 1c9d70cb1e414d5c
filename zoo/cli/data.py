"""`zoo data`: the group of commands that look at data sets."""

from __future__ import annotations

import click

from zoo.cli.probe import probe


@click.group()
def data() -> None:
    """Look at data sets."""


data.add_command(probe)
