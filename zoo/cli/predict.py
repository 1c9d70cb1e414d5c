"""`zoo predict`: trained weights and image files in, one line for each image out."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from zoo.cli.answers import as_csv, as_json, as_table, columns_of
from zoo.cli.complete import COMPLETE
from zoo.cli.context import echo, host_of, rewrite_line
from zoo.cli.detach import in_background
from zoo.cli.options import AVERAGE, DEVICE, PATH, RUNS_IN, options_of
from zoo.cli.shares import OPTIONS, exit_unanswered, launch_of, when_queued
from zoo.data.about import changed_note, shown_params, version_note
from zoo.data.phases import describe_phases
from zoo.errors import UsageError, nearest
from zoo.isolation import printing_to_stderr
from zoo.plurals import counted
from zoo.registry import channel_limits, datasets_by_id
from zoo.run.launch import Launch, device_for

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from zoo.host import Host
    from zoo.models.about import About

_PROGRESS_SECONDS = 0.2
_T = TypeVar("_T")


@click.command()
@click.argument("weights", metavar="WEIGHTS", shell_complete=COMPLETE["weights"])
@click.argument("files", nargs=-1, required=True, metavar="FILES...", shell_complete=COMPLETE["file"])
@AVERAGE
@click.option("--pixel-scale", type=float, help="Set the pixel scale of all images in arcsec; overrides their headers.")
@click.option("--factor", type=float, default=1.0, help="Multiply every pixel, such as 1 / exposure time for counts.")
@click.option("--match-scale", is_flag=True, help="Scale each image to the median peak of the training images.")
@click.option(
    "--batch-size", type=click.IntRange(1), default=64, show_default=True, help="Classify this many images at a time."
)
@DEVICE
@click.option(
    "--population", type=PATH, metavar="FILE",
    help="Write the posterior of the mean of all images' truths to this .json or .png file.",
)  # fmt: skip
@click.option("--csv", "in_csv", is_flag=True, help="Print CSV.")
@click.option("--json", "in_json", is_flag=True, help="Print JSON.")
@RUNS_IN
@click.option(
    "--launcher", metavar="NAME", shell_complete=COMPLETE["launchers"],
    help="Classify the files in shares, as jobs of this launcher; see zoo list-launchers.",
)  # fmt: skip
@click.option("--shards", type=click.IntRange(1), metavar="K", help="Make this many shares, by --launcher.")
@options_of(Launch, only=OPTIONS)
@click.option("--detach", is_flag=True, help="Run in the background, with --launcher; zoo status shows the shares.")
@click.pass_context
def predict(
    ctx: click.Context,
    /,
    weights: str,
    files: tuple[str, ...],
    average: str,
    pixel_scale: float | None,
    factor: float,
    match_scale: bool,
    batch_size: int,
    device: str,
    population: Path | None,
    in_csv: bool,
    in_json: bool,
    store: Path,
    launcher: str | None,
    shards: int | None,
    detach: bool,
    **values: Any,
) -> None:
    """Classify images with trained weights, or score them.

    Weights of the task anomaly answer a score for each image, and the share of normal validation images below it; those
    of the task regress answer an estimate with the ends of its 68 and 95 % intervals. --population joins all images to
    one posterior of their mean, by how the network answered validation images of known truth. An image further from
    the training images of a classifier than 99.9 % of the validation images has the class "none of these".

    WEIGHTS is a name such as p4m.modelA, a file, a run, or hf://owner/name. FILES are .npy, .npz, FITS, HDF5, PNG,
    JPEG or .safetensors, folders of them, or - for a list of names on stdin. Unreadable files are listed and left out;
    the exit code is then 1. With --launcher, answers are kept in the folder of --store until all are made, and the
    same command goes on after an interruption.
    """
    if in_csv and in_json:
        raise UsageError("--csv and --json cannot be combined.")
    from zoo.weights.find import find_weights

    host = host_of(ctx)
    launch = launch_of(values, launcher=launcher, shards=shards, example=f"zoo predict {weights} FOLDER")
    device = device_for(host, launch, device)  # unknown options are found before weights are read
    path = find_weights(host, weights, store=store)
    if detach and "-" in files:
        raise UsageError("--detach does not go with a list of files on stdin.")
    leave = in_background()
    submitted = when_queued(ctx, host, launch, detach=detach, store=store)
    import numpy as np

    from zoo.inference.answer import Prediction, Summary
    from zoo.inference.files import predict_files
    from zoo.inference.population import (
        check_population,
        in_words,
        infer,
        summaries,
        without_skill,
        write_population,
    )
    from zoo.inference.prepare import Preparation, check_scale
    from zoo.inference.read import each_once, expand, require_files
    from zoo.models.load import load_weights
    from zoo.models.trained import AVERAGES

    if average not in AVERAGES:
        raise UsageError(f"--average '{average}' is not one of {', '.join(AVERAGES)}.{nearest(average, AVERAGES)}")
    preparation = Preparation(pixel_scale=pixel_scale, factor=factor, match_scale=match_scale)
    paths = require_files(expand(files, stdin=sys.stdin), files)
    with printing_to_stderr():
        trained = load_weights(host, path)
    check_scale(preparation, trained.about)  # before shares are started
    repeated: list[Path] = []
    if population is not None:
        check_population(trained.about.targets, population, average=average)
        paths = each_once(paths, repeated.append)
    echo(_weights_in_words(host, trained.about, detects=bool(trained.detector)), err=True)
    joined: list[NDArray[np.float32]] = []
    unusual = 0
    summary, started = Summary(trained), time.perf_counter()
    divided = None
    if launch is None or shards is None:
        answers = predict_files(
            trained.to(device), paths, preparation=preparation, average=average, batch_size=batch_size
        )  # fmt: skip
    else:
        from zoo.cli.watch import CountBar
        from zoo.inference.predict_shares import joined_predictions, run_predictions

        with printing_to_stderr(), CountBar("predict", of="files") as bar:
            divided = run_predictions(
                host, path, list(paths), model=trained.about.model, preparation=preparation, average=average,
                batch_size=batch_size, device=device, store=store, shares=shards, launch=launch, watch=bar.show,
                submitted=submitted,
            )  # fmt: skip
        exit_unanswered(ctx, divided, what="answers", store=store, leave=leave)
        answers = joined_predictions(divided)
    style = as_csv if in_csv else as_json if in_json else as_table
    report = _progress(started)
    with style(columns_of(trained.about, detects=bool(trained.detector))) as show:
        for item in _apart(answers):
            summary.add(item)
            show(item)
            if population is not None and isinstance(item, Prediction):
                joined.append(item.probabilities)
                unusual += item.unusual or item.with_sky
            report(summary.predicted)
    seconds = time.perf_counter() - started
    if sys.stderr.isatty():
        rewrite_line("")
    echo(
        f"{counted(summary.predicted, 'image')} in {seconds:.1f} s ({summary.predicted / max(seconds, 1e-9):,.1f}/s)"
        + (f", {summary.skipped:,} left out" if summary.skipped else ""),
        err=True,
    )
    for line in summary.warnings():
        echo(f"warning: {line}", err=True)
    for line in summary.notes():
        echo(f"note: {line}", err=True)
    if repeated:
        echo(f"note: {counted(len(repeated), 'file')} named more than once: each lens counts once", err=True)
    if population is not None and joined:
        targets = trained.about.targets
        posteriors = infer(targets, np.stack(joined))
        write_population(population, targets, posteriors, unusual=unusual)
        for one in summaries(targets, posteriors, unusual=unusual):
            echo(f"{in_words(one)} -> {population}", err=True)
        for line in without_skill(targets):
            echo(f"warning: {line}", err=True)
    elif population is not None:
        echo(f"no image could be read: {population} is not written", err=True)
    if divided is not None:
        divided.forget()
    if summary.skipped:
        ctx.exit(1)


def _weights_in_words(host: Host, about: About, *, detects: bool) -> str:
    """Return what the weights were trained on: a short training is as confident as a long one."""

    dataset = datasets_by_id(host).get(about.recipe.dataset)
    shown = ", ".join(shown_params(dataset, about.recipe.params))
    kind = f"{about.recipe.dataset} ({shown})" if shown else about.recipe.dataset
    if about.phases:
        kind += f", with training images of {describe_phases(about.phases)}"
    calibrated = ""
    if about.temperature is not None:
        calibrated = f"\nProbabilities are calibrated on its validation images: temperature {about.temperature:.3g}."
    elif about.outputs is None:
        calibrated = "\nProbabilities are not calibrated: these weights have no temperature."
    if about.outputs is None and not detects:
        calibrated += (
            "\nwarning: these weights have no detector of images unlike the training images: every image gets one of "
            "the classes, also an image of noise or of a galaxy"
        )
    notes = (
        "" if about.pixels.corner else "\nnote: these weights do not state the sky of their images: it is not checked"
    )
    if old := version_note(dataset, about.recipe.dataset_version):
        notes += f"\nnote: trained on images {old}"
    if changed := changed_note(dataset, about.recipe.params):
        notes += f"\nnote: trained on images that differ from {about.recipe.dataset} as it is: {changed}"
    for limits in channel_limits(host, about.recipe.channels):
        notes += f"\nnote: {limits}"
    return f"{about.model} trained on {kind}. Run `zoo evaluate` for its scores.{calibrated}{notes}"


def _apart(answers: Iterable[_T]) -> Iterator[_T]:
    """Yield answers; what the network prints while one is computed goes to stderr."""
    left = iter(answers)
    while True:
        with printing_to_stderr():
            try:
                answer = next(left)
            except StopIteration:
                return
        yield answer


def _progress(started: float) -> Callable[[int], None]:
    """Return a function that prints progress and speed on a terminal, and nothing into a pipe."""
    if not sys.stderr.isatty() or sys.stdout.isatty():  # lines on the terminal are progress enough
        return lambda done: None
    last = started

    def report(done: int) -> None:
        nonlocal last
        now = time.perf_counter()
        if now - last >= _PROGRESS_SECONDS:
            last = now
            rewrite_line(f"{counted(done, 'image')}, {done / (now - started):,.1f}/s")

    return report
