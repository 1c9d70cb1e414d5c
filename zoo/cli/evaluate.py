"""`zoo evaluate`: trained weights and a data set in, scores out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo import registry
from zoo.cli.complete import COMPLETE
from zoo.cli.context import echo, host_of, print_json, warn_of_broken
from zoo.cli.detach import in_background
from zoo.cli.options import AVERAGE, DEVICE, RUNS_IN, options_of
from zoo.cli.score_table import print_scores
from zoo.cli.shares import OPTIONS, exit_unanswered, launch_of, when_queued
from zoo.data.about import changed_note, shown_params, version_note
from zoo.errors import UsageError, nearest
from zoo.isolation import printing_to_stderr
from zoo.plan.overrides import parse_settings
from zoo.plurals import counted
from zoo.registry import datasets_by_id
from zoo.run.launch import Launch, device_for
from zoo.schema import plain
from zoo.specs import DatasetSpec

if TYPE_CHECKING:
    from zoo.host import Host
    from zoo.inference.evaluate import Evaluation, TaskEvaluation


@click.command()
@click.argument("weights", metavar="WEIGHTS", shell_complete=COMPLETE["weights"])
@click.option(
    "--data",
    help="Score on this data set; default: the one that the weights were trained on.",
    shell_complete=COMPLETE["datasets"],
)
@click.option("-n", "--images", type=click.IntRange(8), default=2048, show_default=True, help="Score this many images.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Make the images with this seed.")
@click.option(
    "--set",
    "pairs",
    multiple=True,
    metavar="data.NAME=VALUE",
    help="Set a parameter of the data set, such as data.snr=50.",
)
@click.option(
    "--angle", type=float, default=0.0, show_default=True, help="Rotate every image by this angle in degrees first."
)
@AVERAGE
@click.option(
    "--simulator",
    help="Render the images with this simulator; default: that of the training images.",
    shell_complete=COMPLETE["simulators"],
)
@DEVICE
@RUNS_IN
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--launcher",
    metavar="NAME",
    help="Score the images in shares, as jobs of this launcher; see zoo list-launchers.",
    shell_complete=COMPLETE["launchers"],
)
@click.option("--shards", type=click.IntRange(1), metavar="K", help="Make this many shares, by --launcher.")
@options_of(Launch, only=OPTIONS)
@click.option("--detach", is_flag=True, help="Run in the background, with --launcher; zoo status shows the shares.")
@click.pass_context
def evaluate(
    ctx: click.Context,
    /,
    weights: str,
    data: str | None,
    images: int,
    seed: int,
    pairs: tuple[str, ...],
    angle: float,
    average: str,
    simulator: str | None,
    device: str,
    store: Path,
    as_json: bool,
    launcher: str | None,
    shards: int | None,
    detach: bool,
    **values: Any,
) -> None:
    """Score trained weights on images of a data set.

    These are the test images of their benchmark, new ones, or images of another kind.

    \b
    zoo evaluate p4m.modelA                                 its test images
    zoo evaluate p4m.modelA --seed 1                        others, never seen
    zoo evaluate p4m.modelA --data modelB                   another data set
    zoo evaluate p4m.modelA --set data.snr=15 --angle 30    fainter, rotated
    zoo evaluate p4m.modelB -n 100000 --launcher slurm --shards 64

    Image size, pixel scale and other parameters changed for the training are the same here; --set overrides them. With
    --launcher, each job makes and answers a share of the images. Answers are kept in the folder of --store until all
    are made, and the same command goes on after an interruption.
    """
    from zoo.weights.find import find_weights

    host = host_of(ctx)
    warn_of_broken(host)
    launch = launch_of(values, launcher=launcher, shards=shards, example=f"zoo evaluate {weights}")
    device = device_for(host, launch, device)  # unknown options are found before weights are read
    if data is not None:
        registry.find(host, DatasetSpec, data)  # an unknown name is found before weights are read, too
    path = find_weights(host, weights, store=store)
    leave = in_background()
    submitted = when_queued(ctx, host, launch, detach=detach, store=store)
    params: dict[str, Any] = {}
    for name, value in parse_settings(list(pairs)).items():
        if not name.startswith("data."):
            raise UsageError(
                f"--set {name}: zoo evaluate does not train.", hint="Parameters of the data are data.NAME."
            )
        params[name.removeprefix("data.")] = value

    from zoo.cli.watch import CountBar
    from zoo.inference.evaluate import evaluate as score_weights
    from zoo.inference.evaluate import evaluation_recipe
    from zoo.inference.evaluate_shares import joined_scores, run_evaluation
    from zoo.models.load import load_weights
    from zoo.models.trained import AVERAGES

    if average not in AVERAGES:
        raise UsageError(f"--average '{average}' is not one of {', '.join(AVERAGES)}.{nearest(average, AVERAGES)}")
    joined = None
    work = "simulate test" if launch is None else "evaluate"
    with printing_to_stderr(), CountBar(work) as bar:  # plugins may print
        trained = load_weights(host, path)
        recipe = evaluation_recipe(
            host, trained, data=data, params=params, simulator=simulator, seed=seed, device=device
        )  # fmt: skip
        if launch is None or shards is None:
            found = score_weights(
                host, trained.to(device), recipe, images=images, angle=angle, average=average,
                progress=lambda split, done, total: bar.show(done, total),
            )  # fmt: skip
        else:
            joined = run_evaluation(
                host, path, trained, recipe, images=images, angle=angle, average=average, device=device, store=store,
                shares=shards, launch=launch, watch=bar.show, submitted=submitted,
            )  # fmt: skip
            if joined.complete:
                found = joined_scores(host, trained, recipe, joined, images=images, angle=angle, average=average)
    if joined is not None:
        exit_unanswered(ctx, joined, what="scores", store=store, leave=leave)
    if as_json:
        print_json(plain(found))
    else:
        _print(host, found)
    if joined is not None:
        joined.forget()


def _print(host: Host, found: Evaluation | TaskEvaluation) -> None:
    dataset = datasets_by_id(host).get(found.recipe.dataset)
    shown = ", ".join(shown_params(dataset, found.recipe.params))
    turned = f", rotated by {found.angle:g} degrees" if found.angle else ""
    title = (
        f"{found.model} trained on {found.trained_on}, tested on {counted(found.images, 'image')} of "
        f"{found.recipe.dataset}{turned}\n{shown}"
    )
    print_scores(found, title=title)
    if old := version_note(dataset, found.recipe.dataset_version):
        echo(f"note: images {old}", err=True)
    if changed := changed_note(dataset, found.recipe.params):
        echo(f"note: these images differ from {found.recipe.dataset} as it is: {changed}", err=True)
