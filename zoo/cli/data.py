"""`zoo data verify` and `zoo data show`: check a folder of images, and draw some."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.complete import COMPLETE
from zoo.cli.context import echo, host_of, print_json
from zoo.cli.export_data import export
from zoo.cli.options import PATH
from zoo.cli.probe import probe
from zoo.data.about import caption
from zoo.data.recipe import SPLITS
from zoo.errors import UsageError, nearest
from zoo.isolation import printing_to_stderr
from zoo.paths import in_shell, user_path
from zoo.plan.overrides import parse_settings
from zoo.plan.recipes import plan_images
from zoo.plurals import counted
from zoo.registry import datasets_by_id
from zoo.specs import DatasetSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from zoo.data.recipe import Recipe
    from zoo.data.verify import FolderReport
    from zoo.host import Host

    Arrays = Mapping[str, NDArray[Any]]


@click.group()
def data() -> None:
    """Check, draw or export images, or probe them with scalars."""


data.add_command(probe)
data.add_command(export)


@data.command()
@click.argument("folder", metavar="DIR", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def verify(ctx: click.Context, folder: Path, as_json: bool) -> None:
    """Check every file of a folder that zoo simulate made.

    Each shard is compared with its own checksum and the manifest's; gaps, counts and the recipe are checked. The exit
    code is 1 if there are problems; the output lists them with the commands that repair them.
    """

    from zoo.cli.watch import CountBar
    from zoo.data.verify import verify_folder

    with CountBar("verify") as bar:
        report = verify_folder(folder, progress=bar.show)
    if as_json:
        problems = [
            {**asdict(problem), "delete": problem.delete and str(problem.delete)} for problem in report.problems
        ]
        print_json(
            {
                "folder": str(folder),
                "recipe": report.recipe.to_json(),
                "recipe_hash": report.recipe.hash,
                "splits": [asdict(split) for split in report.splits],
                "problems": problems,
                "notes": report.notes,
                "mend": _mend(host_of(ctx), folder, report),
            }
        )
    else:
        _print_report(host_of(ctx), folder, report)
    if report.problems:
        ctx.exit(1)


def _print_report(host: Host, folder: Path, report: FolderReport) -> None:
    recipe = report.recipe
    echo(f"{folder}: {recipe.dataset} by {recipe.simulator}, seed {recipe.seed}, recipe {recipe.hash}")
    for split in report.splits:
        counts = ", ".join(f"{count:,} {name}" for name, count in split.counts.items())
        images, shards = counted(split.images, "image"), counted(split.shards, "shard")
        echo(f"{split.split}: {images} in {shards}{': ' if counts else ''}{counts}")
    for note in report.notes:
        echo(f"note: {note}")
    for problem in report.problems:
        echo(f"wrong: {problem.text}")
    if commands := _mend(host, folder, report):
        echo("To repair it:\n  " + "\n  ".join(commands))
    elif not report.problems:
        echo("No problems found.")


def _mend(host: Host, folder: Path, report: FolderReport) -> list[str]:
    """Return the commands that mend what is wrong."""
    from zoo.cli.simulate import command_for

    sizes = {split.split: split.images for split in report.splits}
    delete = dict.fromkeys(problem.delete for problem in report.problems if problem.delete is not None)
    # A manifest that is deleted is written again split by split.
    whole = any(problem.split is None for problem in report.problems) or any(
        path.parent == folder for path in delete
    )  # fmt: skip
    if report.recipe.noiseless and report.problems:  # of a training with new noise, which no `zoo simulate` makes
        return [f"rm -r {in_shell(folder)}  # the next training makes it again"]
    splits = [split for split in sizes if whole or any(problem.split == split for problem in report.problems)]
    return [f"rm {in_shell(path)}" for path in delete] + [
        command_for(host, report.recipe, split=split, images=sizes[split], folder=folder) for split in splits
    ]


@data.command()
@click.argument("name", metavar="DIR|DATASET", shell_complete=COMPLETE["datasets"])
@click.option(
    "-n",
    "--images",
    default=4,
    show_default=True,
    type=click.IntRange(1, 12),
    help="Draw this many images of each class.",
)
@click.option(
    "--split",
    default="train",
    show_default=True,
    help="Draw images of this split: train, val or test.",
    shell_complete=COMPLETE["splits"],
)
@click.option(
    "--out",
    type=PATH,
    metavar="FILE.png",
    help="Write the picture here; default: NAME-SPLIT.png.",
)
@click.option(
    "--simulator",
    default="",
    help="Render the images of a data set with this simulator.  [default: see zoo list-simulators]",
    shell_complete=COMPLETE["simulators"],
)
@click.option(
    "--set",
    "pairs",
    multiple=True,
    metavar="data.NAME=VALUE",
    help="Set a parameter of a data set, as in zoo simulate.",
)
@click.pass_context
def show(
    ctx: click.Context, name: str, images: int, split: str, out: Path | None, simulator: str, pairs: tuple[str, ...]
) -> None:
    """Draw images of each class with their parameters.

    The path of the picture is printed.

    For a folder, the first images are drawn; for a data set, the same images are rendered and not kept.
    """
    from zoo.report.plots import draw_images

    if split not in SPLITS:
        raise UsageError(f"split '{split}' is not one of {', '.join(SPLITS)}.{nearest(split, SPLITS)}")
    host = host_of(ctx)
    path = user_path(name)
    if os.path.isdir(path):  # Path.is_dir raises where a name is too long
        if pairs:
            raise UsageError("--set applies to a data set, not to a folder of existing images.")
        if simulator:
            raise UsageError("--simulator applies to a data set, not to a folder of existing images.")
        recipe, classes, arrays = _of_folder(host, path, split)
        stem = path.resolve().name
    else:
        with printing_to_stderr():  # plugins may print
            recipe, classes, arrays = _of_dataset(host, name, split, simulator, pairs, each=images)
        stem = recipe.dataset.replace("/", ".")
    labels = arrays["label"]
    chosen = [index for k in range(len(classes)) for index in (labels == k).nonzero()[0][:images]]
    dataset = datasets_by_id(host).get(recipe.dataset)
    captions = [caption(dataset, arrays, index) for index in chosen]
    drawn = draw_images(
        arrays["image"][chosen], labels[chosen], classes, out or Path(f"{stem}-{split}.png"),
        title=f"{recipe.dataset} by {recipe.simulator}, {split}", captions=captions,
    )  # fmt: skip
    echo(str(drawn))


def _of_folder(host: Host, folder: Path, split: str) -> tuple[Recipe, Sequence[str], Arrays]:
    """Return the recipe, the classes and the first shard of a split.

    Raises:
        DataError: The folder is missing or damaged.
    """
    from zoo.data.folder import open_folder
    from zoo.data.folder_recipe import read_recipe
    from zoo.data.manifest import read_manifest

    recipe = read_recipe(folder)
    [shard] = open_folder(folder, recipe, split, 1)
    manifest = read_manifest(folder)  # absent while machines are at work
    entry = manifest.splits.get(split) if manifest else None
    count = entry.images if entry else None
    arrays = {name: shard[name][:count] for name in shard}
    known = {spec.id: spec.classes for spec in host.specs_of(DatasetSpec) if isinstance(spec, DatasetSpec)}
    # A folder can be looked at without the plugin that its data set comes from.
    unnamed = [f"class {k}" for k in range(int(arrays["label"].max()) + 1)]
    return recipe, known.get(recipe.dataset, unnamed), arrays


def _of_dataset(
    host: Host, name: str, split: str, simulator: str, pairs: Sequence[str], *, each: int
) -> tuple[Recipe, Sequence[str], Arrays]:
    """Return the recipe, the classes and the first images of a data set.

    Raises:
        UsageError: An unknown name, an impossible value, or images that exist already.
    """
    import numpy as np

    from zoo.data.open import Dataset

    spec, recipe = plan_images(host, name, settings=parse_settings(list(pairs)), simulator=simulator, device="cpu")
    count = each * len(spec.classes)
    simulation = Dataset(host, recipe, {}).simulation(expected_images=count)
    return recipe, spec.classes, simulation.arrays(split, np.arange(count))
