"""`zoo doctor`: whether a folder can hold results."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.complete import COMPLETE
from zoo.cli.context import echo, print_json
from zoo.cli.options import PATH
from zoo.run.store_check import check_store
from zoo.schema import plain


@click.command()
@click.option(
    "--store", default="results", show_default=True, type=PATH, help="Check this folder.",
    shell_complete=COMPLETE["folder"],
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(ctx: click.Context, store: Path, as_json: bool) -> None:
    """Check whether a folder can hold results.

    Permissions, locks, renames, speed, free space and clock are checked. Run it on each kind of node that shares the
    folder. Exit code 1: the folder cannot be used.
    """
    checks = []
    if not as_json:
        echo(f"{store.absolute()}")
    for check in check_store(store):
        checks.append(check)
        if not as_json:
            echo(f"  {check.verdict:5} {check.name:12} {check.found}")
            if check.advice:
                echo(f"        {check.advice}")
    if as_json:
        print_json({"store": str(store.absolute()), "checks": plain(checks)})
    ctx.exit(1 if any(check.verdict == "bad" for check in checks) else 0)
