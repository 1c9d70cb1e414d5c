"""`zoo new-plugin`: writes a project that pip can install, with a working example of each kind."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from zoo.cli.context import echo
from zoo.cli.options import PATH
from zoo.paths import in_shell

_KINDS = ("model", "dataset", "population", "simulator", "metric", "task", "launcher", "command", "tracker")
_WORDS = {"dataset": "data set"}
_LICENCES = ("mit", "bsd-3-clause", "none")


def _kind_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each kind."""
    for kind in reversed(_KINDS):
        function = click.option(f"--{kind}", is_flag=True, help=f"Include an example of a {_WORDS.get(kind, kind)}.")(
            function
        )
    return function


@click.command("new-plugin")
@click.argument("name")
@_kind_options
@click.option("--folder", type=PATH, default=None, help="Write the project to this folder; default: ./NAME.")
@click.option("--licence", type=click.Choice(_LICENCES), default=None, help="Choose the licence; default: ask, or mit.")
@click.option("--author", default="", help="Name the author in the licence and the metadata.")
def new_plugin(name: str, folder: Path | None, licence: str | None, author: str, **kinds: bool) -> None:
    """Write the project of a new plugin.

    The project holds a working example of each kind, tests and a README. NAME is that of the distribution, such as
    my-lens-nets. Without a kind, it offers a model.

    \b
    zoo new-plugin my-lens-nets --model --dataset
    """
    from zoo.testing.new_plugin import write_project

    if licence is None:
        asked = sys.stdin.isatty() and sys.stdout.isatty()
        licence = click.prompt("Licence", type=click.Choice(_LICENCES), default="mit") if asked else "mit"
    place = Path(name) if folder is None else folder
    chosen = [kind for kind, wanted in kinds.items() if wanted] or ["model"]
    files = write_project(place, name, kinds=chosen, licence=licence, author=author)
    namespace = next(path.parent.name for path in files if path.name == "plugin.py")
    for path in sorted(files):
        echo(path)
    echo(f"\nNext: zoo install -e {in_shell(place)} && zoo check {namespace}", err=True)
