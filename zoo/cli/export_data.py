"""`zoo data export`: the images of a split as files that any program reads."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.complete import COMPLETE
from zoo.cli.context import echo, host_of, print_json, warn_of_broken
from zoo.cli.options import PATH, options_of
from zoo.data.recipe import SPLITS
from zoo.errors import UsageError, nearest
from zoo.isolation import printing_to_stderr
from zoo.plan.overrides import parse_settings
from zoo.plan.request import Request
from zoo.schema import plain

SEED_FILE = click.option(
    "--seed-file", metavar="FILE", type=PATH, help="Read the hidden seed of the images from this file.",
    shell_complete=COMPLETE["file"],
)  # fmt: skip


@click.command()
@click.argument("name", metavar="DATASET", shell_complete=COMPLETE["datasets"])
@click.option(
    "--out", required=True, metavar="DIR", type=PATH, help="Write the files into this folder.",
    shell_complete=COMPLETE["folder"],
)  # fmt: skip
@click.option(
    "--split", default="test", show_default=True, help="Write this split: train, val or test.",
    shell_complete=COMPLETE["splits"],
)  # fmt: skip
@click.option("--format", "kind", default="npy", show_default=True, help="Write the images as npy, fits or hdf5.")
@click.option(
    "--labels/--no-labels", default=None,
    help="Write classes and scene parameters, too; default: yes, with --seed-file no.",
)  # fmt: skip
@SEED_FILE
@options_of(Request, only=("budget", "task", "simulator", "settings", "device"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def export(
    ctx: click.Context,
    name: str,
    out: Path,
    split: str,
    kind: str,
    labels: bool | None,
    seed_file: Path | None,
    budget: str | None,
    task: str,
    simulator: str,
    settings: tuple[str, ...],
    device: str,
    as_json: bool,
) -> None:
    """Write the images of a split for programs without zoo.

    DIR gets images.npy (.fits, .hdf5), ids.csv, labels.csv (id, class, scene parameters) and export.json with the
    recipe of the images, which are those of `zoo bench` with the same options. An interrupted export continues.
    """
    from zoo.cli.watch import CountBar
    from zoo.data.export import describe
    from zoo.data.image_files import FORMATS, check_format
    from zoo.run.exporting import export_split

    if split not in SPLITS:
        raise UsageError(f"--split '{split}' is not one of {', '.join(SPLITS)}.{nearest(split, SPLITS)}")
    if kind not in FORMATS:
        raise UsageError(f"--format '{kind}' is not one of {', '.join(FORMATS)}.{nearest(kind, FORMATS)}")
    check_format(kind)
    host = host_of(ctx)
    warn_of_broken(host)
    with printing_to_stderr(), CountBar(f"simulate {split}") as bar:  # plugins may print
        found = export_split(
            host,
            name,
            out,
            split=split,
            kind=kind,
            labels=labels,
            seed_file=seed_file,
            budget=budget,
            task=task,
            simulator=simulator,
            settings=parse_settings(list(settings)),
            device=device,
            progress=lambda _, done, total: bar.show(done, total),
        )
    if as_json:
        print_json(plain(found) | {"folder": str(out)})
        return
    echo(f"{describe(found)}: {out}")
    if found.recipe.commitment:
        echo(f"commitment to the hidden seed: {found.recipe.commitment}")
