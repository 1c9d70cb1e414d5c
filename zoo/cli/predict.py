"""`zoo predict`: trained weights and image files in, one line for each image out."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.complete import COMPLETE
from zoo.cli.context import echo, host_of, rewrite_line
from zoo.cli.options import AVERAGE, DEVICE, PATH, RUNS_IN
from zoo.data.about import changed_note, shown_params, version_note
from zoo.data.phases import describe_phases
from zoo.devices import resolve_device
from zoo.errors import UsageError, nearest
from zoo.escaping import csv_line, visible
from zoo.plurals import counted
from zoo.registry import datasets_by_id

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from zoo.host import Host
    from zoo.inference.predict import Prediction
    from zoo.inference.read import Skipped
    from zoo.models.about import About

_PROGRESS_SECONDS = 0.2


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
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@RUNS_IN
@click.pass_context
def predict(
    ctx: click.Context,
    weights: str,
    files: tuple[str, ...],
    average: str,
    pixel_scale: float | None,
    factor: float,
    match_scale: bool,
    batch_size: int,
    device: str,
    population: Path | None,
    as_csv: bool,
    as_json: bool,
    store: Path,
) -> None:
    """Classify images with trained weights, or score them.

    Weights of the task anomaly answer a score for each image, and the share of normal validation images below it; those
    of the task regress answer an estimate with the ends of its 68 and 95 % intervals. --population joins all images to
    one posterior of their mean, by how the network answered validation images of known truth. An image further from
    the training images of a classifier than 99.9 % of the validation images has the class "none of these".

    WEIGHTS is a name such as p4m.modelA, a file, a run, or hf://owner/name. FILES are .npy, .npz, FITS, PNG, JPEG or
    .safetensors, folders of them, or - for a list of names on stdin. Unreadable files are listed and left out; the
    exit code is then 1.
    """
    if as_csv and as_json:
        raise UsageError("--csv and --json cannot be combined.")
    from zoo.weights.find import find_weights

    host = host_of(ctx)
    path = find_weights(host, weights, store=store)
    device = resolve_device(device)
    import numpy as np

    from zoo.inference.population import check_population, in_words, infer, summaries, write_population
    from zoo.inference.predict import Prediction, Preparation, Summary
    from zoo.inference.predict import predict as classify
    from zoo.inference.read import expand, read_pictures, require_files
    from zoo.models.load import load_weights
    from zoo.models.trained import AVERAGES

    if average not in AVERAGES:
        raise UsageError(f"--average '{average}' is not one of {', '.join(AVERAGES)}.{nearest(average, AVERAGES)}")
    preparation = Preparation(pixel_scale=pixel_scale, factor=factor, match_scale=match_scale)
    paths = require_files(expand(files, stdin=sys.stdin), files)
    trained = load_weights(host, path).to(device)
    if population is not None:
        check_population(trained.about.targets, population, average=average)
    echo(_weights_in_words(host, trained.about, detects=bool(trained.detector)), err=True)
    joined: list[NDArray[np.float32]] = []
    unusual = 0
    summary, started = Summary(trained), time.perf_counter()
    pictures = read_pictures(paths, channels=trained.stored_channels)
    answers = classify(trained, pictures, preparation=preparation, average=average, batch_size=batch_size)
    style = _as_csv if as_csv else _as_json if as_json else _as_table
    report = _progress(started)
    with style(columns_of(trained.about, detects=bool(trained.detector))) as show:
        for item in answers:
            summary.add(item)
            show(item)
            if population is not None and isinstance(item, Prediction):
                joined.append(item.probabilities)
                unusual += item.unusual
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
    if population is not None and joined:
        targets = trained.about.targets
        posteriors = infer(targets, np.stack(joined))
        write_population(population, targets, posteriors, unusual=unusual)
        for one in summaries(targets, posteriors, unusual=unusual):
            echo(f"{in_words(one)} -> {population}", err=True)
    elif population is not None:
        echo(f"no image could be read: {population} is not written", err=True)
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
    notes = ""
    if old := version_note(dataset, about.recipe.dataset_version):
        notes += f"\nnote: trained on images {old}"
    if changed := changed_note(dataset, about.recipe.params):
        notes += f"\nnote: trained on images that differ from {about.recipe.dataset} as it is: {changed}"
    return f"{about.model} trained on {kind}. Run `zoo evaluate` for its scores.{calibrated}{notes}"


_INTERVALS, _INTERVAL = ("68 %", "95 %"), len("0.012345 to 0.012345")
Show = Callable[["Prediction | Skipped"], None]


SHARE, CLOSER = "share_of_validation_below", "share_of_validation_closer"


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Numbers of an answer.

    Args:
        names: Their names: classes, or "score" and the share of validation images below it, or truths and the ends of
            their intervals.
        classes: Whether they are probabilities of classes, of which the highest is named.
        calibrated: Whether these probabilities are calibrated.
        detects: Whether the weights have a detector of images unlike the training images.
        truths: Names of the truths that are estimated, whose value and ends of intervals `names` holds.
    """

    names: tuple[str, ...]
    classes: bool
    calibrated: bool = False
    detects: bool = False
    truths: tuple[str, ...] = ()

    def numbers(self, row: dict[str, Any]) -> list[float]:
        """Return the numbers of an answer in this order."""
        values = row["probabilities"] if self.classes else row
        return [values[name] for name in self.names]


def columns_of(about: About, *, detects: bool = False) -> Columns:
    """Return what the answers of some weights hold."""
    if about.outputs is None:
        calibrated = about.temperature is not None
        return Columns(names=about.classes, classes=True, calibrated=calibrated, detects=detects)
    if about.targets:
        from zoo.inference.estimates import estimate_names

        truths = tuple(target.name for target in about.targets)
        return Columns(names=estimate_names(about.targets), classes=False, truths=truths)
    scores = ("score",) if about.outputs == 1 else tuple(f"output_{k}" for k in range(about.outputs))
    return Columns(names=(*scores, *([SHARE] if about.reference and about.outputs == 1 else [])), classes=False)


def _row(item: Prediction | Skipped, columns: Columns) -> dict[str, Any]:
    from zoo.inference.predict import NONE_OF_THESE
    from zoo.inference.read import Skipped
    from zoo.scores.unlike import UNLIKE

    if isinstance(item, Skipped):
        return {"image": item.name, "error": item.reason}
    notes = [*item.notes, *(["pixels far outside the training images"] if item.unusual else [])]
    rest = {"peak": item.peak, "noise": item.noise, "notes": notes}
    answers = item.estimates or item.probabilities
    numbers = {name: float(value) for name, value in zip(columns.names, answers, strict=False)}
    if columns.classes:
        detected = {}
        if item.closer is not None:
            detected = {CLOSER: item.closer, "unlike_training_images": item.unlike}
        if item.unlike:
            notes.append(f"unlike the training images: more so than {UNLIKE:.1%} of the validation images")
        return {
            "image": item.name,
            "class": NONE_OF_THESE if item.unlike else columns.names[int(item.probabilities.argmax())],
            "probabilities": numbers,
            "calibrated": columns.calibrated,
            **detected,
            **rest,
        }
    if item.share_below is not None:
        numbers[SHARE] = item.share_below
    return {"image": item.name, **numbers, **rest}


@contextmanager
def _as_table(columns: Columns) -> Iterator[Show]:
    """Print lines as they come: names stand last, so that no column needs all of them."""
    shown = [visible(name) for name in columns.names]
    if columns.truths:
        shown = [words for name in columns.truths for words in (visible(name), *_INTERVALS)]
    widths = [max(6, len(name)) for name in shown]
    if columns.truths:
        widths = [max(width, _INTERVAL if name in _INTERVALS else 0) for name, width in zip(shown, widths, strict=True)]
    heading = "  ".join(name.rjust(width) for name, width in zip(shown, widths, strict=True))
    echo(f"{heading}  {'class':{max(widths)}}  image" if columns.classes else f"{heading}  image")

    def show(item: Prediction | Skipped) -> None:
        row = _row(item, columns)
        if "error" in row:
            echo(f"left out: {row['image']}: {row['error']}", err=True)
            return
        form = ".4f" if columns.classes else ".5g"
        values = [f"{value:{form}}" for value in columns.numbers(row)]
        if columns.truths:  # a value and two intervals of each
            pairs = [values[at : at + 5] for at in range(0, len(values), 5)]
            values = [text for value, *ends in pairs for text in (value, " to ".join(ends[:2]), " to ".join(ends[2:]))]
        numbers = "  ".join(f"{value:>{width}}" for value, width in zip(values, widths, strict=True))
        notes = f"  ({'; '.join(row['notes'])})" if row["notes"] else ""
        best = f"{visible(row['class']):{max(widths)}}  " if columns.classes else ""
        echo(f"{numbers}  {best}{row['image']}{notes}")

    yield show


@contextmanager
def _as_csv(columns: Columns) -> Iterator[Show]:
    def write(*values: str) -> None:
        echo(csv_line(values), nl=False)

    own = ["class", *(f"p_{name}" for name in columns.names)] if columns.classes else list(columns.names)
    stated = [*([CLOSER] if columns.detects else []), *(["calibrated"] if columns.classes else [])]
    write("image", *own, "peak", "noise", "notes", "error", *stated)

    def show(item: Prediction | Skipped) -> None:
        row = _row(item, columns)
        if "error" in row:
            write(row["image"], *[""] * (len(own) + 3), row["error"], *("" for _ in stated))
            return
        form = ".6f" if columns.classes else ".8g"
        numbers = [*([row["class"]] if columns.classes else []), *(f"{value:{form}}" for value in columns.numbers(row))]
        peak_and_noise = [f"{row['peak']:.6g}", f"{row['noise']:.6g}"]
        closer = [f"{row[CLOSER]:.6g}"] if columns.detects else []
        calibrated = ["yes" if columns.calibrated else "no"] if columns.classes else []
        write(row["image"], *numbers, *peak_and_noise, "; ".join(row["notes"]), "", *closer, *calibrated)

    yield show


@contextmanager
def _as_json(columns: Columns) -> Iterator[Show]:
    """Print one list, entry by entry."""
    begun = False

    def show(item: Prediction | Skipped) -> None:
        nonlocal begun
        echo(("," if begun else "[") + "\n  " + json.dumps(_row(item, columns)), nl=False)
        begun = True

    yield show
    echo("\n]" if begun else "[]")


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
