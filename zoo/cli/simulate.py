"""`zoo simulate`: make a split of a data set, whole or one machine's share of it."""

from __future__ import annotations

import os
import re
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.complete import COMPLETE
from zoo.cli.context import echo, host_of, print_json, warn_of_broken
from zoo.cli.measured import print_accuracy, print_difference
from zoo.cli.options import PATH, SIMULATOR, options_of
from zoo.cli.shares import OPTIONS, launch_of, print_failures, when_queued
from zoo.data.recipe import MOST_IMAGES, SPLITS
from zoo.errors import UsageError, ZooError, nearest
from zoo.isolation import printing_to_stderr
from zoo.plan.overrides import parse_settings
from zoo.plan.recipes import plan_images
from zoo.plurals import counted
from zoo.registry import find_simulator
from zoo.run.launch import Launch, device_for
from zoo.specs import DatasetSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.data.recipe import Recipe
    from zoo.data.share import Share
    from zoo.host import Host

_SCENES_TO_COMPARE = 24
_MOST_TO_MEASURE = 10_000


@click.command()
@click.argument("dataset", shell_complete=COMPLETE["datasets"])
@click.option(
    "-n",
    "--images",
    type=click.IntRange(1, MOST_IMAGES),
    help="Make a split of this many images, in files of 256; with --compare: default 24.",
)
@click.option(
    "--out",
    metavar="DIR",
    type=PATH,
    help="Write the images here; default: the cache that zoo bench reads.",
    shell_complete=COMPLETE["folder"],
)
@click.option(
    "--split",
    default="train",
    show_default=True,
    help="Make this split: train, val or test.",
    shell_complete=COMPLETE["splits"],
)
@SIMULATOR
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1), help="Make the images with this seed."
)
@click.option(
    "--set",
    "pairs",
    multiple=True,
    metavar="data.NAME=VALUE",
    help="Set a parameter of the data set, such as data.snr=50.",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    help="Render on auto, cpu or cuda.",
    shell_complete=COMPLETE["devices"],
)
@click.option("--shard", "share", metavar="I:N", help="Make the share of machine I of N, counted from 0.")
@click.option(
    "--shards", type=click.IntRange(1), metavar="K", help="Make the split in this many shares, by --launcher."
)
@click.option(
    "--launcher",
    metavar="NAME",
    help="Make the shares with this launcher; see zoo list-launchers.",
    shell_complete=COMPLETE["launchers"],
)
@options_of(Launch, only=OPTIONS)
@click.option(
    "--compare",
    metavar="ID",
    help="Keep no images; compare this simulator with --simulator.",
    shell_complete=COMPLETE["simulators"],
)
@click.option(
    "--accuracy",
    type=click.IntRange(1, _MOST_TO_MEASURE),
    metavar="N",
    help="Keep no images; measure the error of the first N over their noise, and exit with 1 if it is too large.",
)
@click.option("--detach", is_flag=True, help="Run in the background, with --launcher; zoo status shows the shares.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_context
def simulate(
    ctx: click.Context,
    /,
    dataset: str,
    images: int | None,
    out: Path | None,
    split: str,
    simulator: str,
    seed: int,
    pairs: tuple[str, ...],
    device: str,
    share: str | None,
    shards: int | None,
    launcher: str | None,
    compare: str | None,
    accuracy: int | None,
    detach: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Simulate the images of a split.

    Parameters are the published ones unless --set overrides them. The same command resumes an interrupted one, and a
    larger -n adds to the existing images. Image i does not depend on the machine that makes it.

    \b
    zoo simulate modelB -n 75000 --out DIR
    zoo simulate modelB -n 75000 --out DIR --shard 3:64    fourth of 64 machines
    zoo simulate modelB -n 75000 --out DIR --launcher slurm --shards 64
    zoo data verify DIR
    zoo simulate modelB -n 24 --compare autolens           two simulators
    zoo simulate modelB --accuracy 12                      errors over the noise
    """
    # Read when torch is imported. Its threads would watch for work in a loop and keep the cores from other processes,
    # which slows simulators that run on torch by a factor of ten and more.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    host = host_of(ctx)
    warn_of_broken(host)
    if split not in SPLITS:
        raise UsageError(f"split '{split}' is not one of {', '.join(SPLITS)}.{nearest(split, SPLITS)}")
    measured_only = compare is not None or accuracy is not None
    if measured_only and ((out, share, shards, launcher) != (None,) * 4 or split != "train"):
        option = "--compare" if accuracy is None else "--accuracy"
        raise UsageError(f"{option} keeps no images: leave out --out, --shard, --shards, --launcher and --split.")
    images = _number_of_images(images, dataset=dataset, compare=compare, accuracy=accuracy)
    part = _share(share)
    example = f"zoo simulate {dataset} -n 75000"
    alone = f"To make one share on this machine, such as the first of {shards}: --shard 0:{shards}"
    launch = launch_of(values, launcher=launcher, shards=shards, share=share, example=example, alone=alone)
    if detach and (launch is None or as_json):
        raise UsageError("--detach goes with --launcher, and not with --json.")
    device = device_for(host, launch, device)  # unknown options are found before anything is drawn
    with printing_to_stderr():  # plugins may print
        spec, recipe = plan_images(
            host,
            dataset,
            settings=parse_settings(list(pairs)),
            simulator=simulator,
            device=device,
            seed=seed,
        )

    if measured_only:
        _measure(ctx, spec, recipe, images=images, compare=compare, as_json=as_json)
        return

    from zoo.cli.watch import CountBar
    from zoo.data.folder import cache_folder, fill_folder
    from zoo.data.open import Dataset
    from zoo.data.shards import SHARD_SIZE, shard_count
    from zoo.data.share import PARTS, shard_sizes

    folder = cache_folder(recipe) if out is None else out
    parts = folder.absolute() / PARTS
    submitted = when_queued(ctx, host, launch, detach=detach, store=parts)
    started = time.perf_counter()
    end = None
    with printing_to_stderr(), CountBar(f"simulate {split}") as bar:
        if launch is None or shards is None:
            if images < SHARD_SIZE and not (as_json or shard_sizes(folder / split)):
                echo(f"Files hold {counted(SHARD_SIZE, 'image')}; the split is the first {images}.", err=True)
            if part.machine >= (files := shard_count(images)):
                # Not an error: the same array of machines may make a large training and a small test split.
                echo(
                    f"Machine {part.machine} of {part.of}, counted from 0, has nothing to make: "
                    f"the split of {counted(images, 'image')} has {counted(files, 'file')} of {SHARD_SIZE}.",
                    err=True,
                )
            simulation = Dataset(host, recipe, {}).simulation(expected_images=images)
            filled = fill_folder(simulation, split, images, folder=folder, share=part, progress=bar.show)
            made, complete = filled.made, filled.complete
            found_images = len(filled.shards) * SHARD_SIZE - made
        else:
            from zoo.run.shares import run_shares

            end = run_shares(
                host, recipe, split, images, folder=folder, shares=shards, launch=launch, watch=bar.show,
                submitted=submitted,
            )  # fmt: skip
            made, found_images, complete = end.made, end.found, end.complete
    if detach and not complete:
        echo(f"detached: zoo status --store {parts} shows the shares; the same command joins them", err=True)
        ctx.exit(0)
    summary: dict[str, Any] = {
        "folder": str(folder),
        "dataset": spec.id,
        "recipe_hash": recipe.hash,
        "simulator": recipe.simulator,
        "device": recipe.device_type,
        "split": split,
        "images": images,
        "made_images": made,
        "found_images": found_images,
        "seconds": time.perf_counter() - started,
        "complete": complete,
    }
    if end is not None:
        summary["failed_shares"] = [one.share.machine for one in end.failed]
    if as_json:
        print_json(summary)
    else:
        of = f"machine {part.machine} of {part.of}: " if part.of > 1 else ""
        if shards is not None:
            of = f"{counted(shards, 'share')} by {launcher}: "
        again = command_for(host, recipe, split=split, images=images, folder=folder) if end is None else ""
        _print_summary(summary, of=of, again=again)
    if end is not None:
        print_failures(end, split=split)
        ctx.exit(0 if end.complete else 1)


def _number_of_images(images: int | None, *, dataset: str, compare: str | None, accuracy: int | None) -> int:
    """Return the number of images: that of --accuracy, or of -n.

    Raises:
        UsageError: It is missing, or stated twice.
    """
    if accuracy is not None:
        if images is not None or compare is not None:
            raise UsageError("--accuracy N states its number of images: leave out -n and --compare.")
        return accuracy
    if images is None and compare is None:
        raise UsageError("The number of images is missing: -n.", hint=f"For example: zoo simulate {dataset} -n 300")
    return _SCENES_TO_COMPARE if images is None else images


def _measure(
    ctx: click.Context, spec: DatasetSpec, recipe: Recipe, *, images: int, compare: str | None, as_json: bool
) -> None:
    """Compare two simulators, or measure the accuracy of one, and exit with 1 if it is not accurate."""
    from zoo.data.accuracy import measure_accuracy
    from zoo.data.compare import compare_simulators

    host, simulator, params = host_of(ctx), str(recipe.simulator), _changed(recipe, spec.params)
    options: dict[str, Any] = {
        "images": images,
        "params": params,
        "seed": recipe.seed,
        "device": recipe.device_type,
    }
    if compare is not None:
        with printing_to_stderr():
            found = compare_simulators(host, spec.id, (simulator, compare), **options)
        print_difference(found, as_json=as_json)
        return
    with printing_to_stderr():
        measured = measure_accuracy(host, spec.id, simulator, **options)
    print_accuracy(measured, as_json=as_json)
    ctx.exit(0 if measured.accurate else 1)


def _print_summary(summary: Mapping[str, Any], *, of: str, again: str) -> None:
    from zoo.data.shards import SHARD_SIZE
    from zoo.data.share import shard_sizes

    rate = f", {summary['made_images'] / summary['seconds']:,.0f} images/s" if summary["made_images"] else ""
    echo(
        f"{of}{counted(summary['made_images'], 'image')} made, {summary['found_images']:,} found, "
        f"in {summary['seconds']:.0f} s{rate} ({summary['simulator']} on {summary['device']})"
    )
    echo(f"{summary['folder']}  recipe {summary['recipe_hash']}")
    if summary["complete"]:
        # A larger split may be there, of which only the files of this one were looked at.
        files = len(shard_sizes(Path(summary["folder"], summary["split"])))
        more = files * SHARD_SIZE - summary["images"]
        kept = f"; the folder has {more:,} more ({counted(files, 'file')} of {SHARD_SIZE})" if more else ""
        echo(f"{summary['split']}: complete, {counted(summary['images'], 'image')}{kept}; checksums in manifest.json")
    elif again:
        echo(
            f"{summary['split']}: other machines have shards to make; when all are done, this completes it:\n  {again}"
        )


def command_for(host: Host, recipe: Recipe, *, split: str, images: int, folder: Path) -> str:
    """Return the command that makes a split of a recipe, or what of it is missing."""
    import json

    from zoo.data.channels import IMAGE

    specs = {spec.id: spec.params for spec in host.specs_of(DatasetSpec) if isinstance(spec, DatasetSpec)}
    defaults = specs.get(recipe.dataset, {})
    words = ["zoo", "simulate", recipe.dataset, "-n", str(images), "--split", split, "--out", str(folder)]
    try:
        default = find_simulator(host).id
    except ZooError:
        default = None
    if recipe.simulator not in (None, default):
        words += ["--simulator", str(recipe.simulator)]
    if recipe.seed:
        words += ["--seed", str(recipe.seed)]
    if recipe.channels:
        words += ["--set", f"data.channels={','.join([IMAGE, *recipe.channels])}"]
    for name, value in _changed(recipe, defaults).items():
        words += ["--set", f"data.{name}={value if isinstance(value, str) else json.dumps(value)}"]
    return shlex.join([*words, "--device", recipe.device_type])


def _changed(recipe: Recipe, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a recipe that differ from the data set's own."""
    return {name: value for name, value in recipe.params.items() if name not in defaults or defaults[name] != value}


def _share(text: str | None) -> Share:
    """Read "3:64".

    Raises:
        UsageError: The text is not two whole numbers, or the machine's number is out of range.
    """
    from zoo.data.share import WHOLE, Share

    if text is None:
        return WHOLE
    match = re.fullmatch(r"(\d{1,9}):(\d{1,9})", text.strip())
    if match is None:
        raise UsageError(f"--shard {text!r} is not of the form I:N.", hint="For example, the first of 8: --shard 0:8")
    machine, of = int(match[1]), int(match[2])
    if machine >= of:
        allowed = f"0:{of} to {of - 1}:{of}" if of else "at least one machine"
        raise UsageError(f"--shard {text}: machines are counted from 0; allowed: {allowed}.")
    return Share(machine=machine, of=of)
