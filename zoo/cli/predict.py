"""`zoo predict`: trained weights and image files in, one line for each image out."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.complete import COMPLETE
from zoo.cli.context import echo, host_of, rewrite_line
from zoo.cli.options import AVERAGE, DEVICE, RUNS_IN
from zoo.data.about import shown_params, version_note
from zoo.data.phases import describe_phases
from zoo.devices import resolve_device
from zoo.errors import UsageError, nearest
from zoo.escaping import csv_line, visible
from zoo.plurals import counted
from zoo.registry import datasets_by_id

if TYPE_CHECKING:
    from zoo.host import Host
    from zoo.inference.predict import Prediction
    from zoo.inference.read import Skipped
    from zoo.models.weights_file import About

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
    as_csv: bool,
    as_json: bool,
    store: Path,
) -> None:
    """Classify images with trained weights.

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
    from zoo.inference.predict import Preparation, Summary
    from zoo.inference.predict import predict as classify
    from zoo.inference.read import expand, read_pictures, require_files
    from zoo.models.load import load_weights
    from zoo.models.trained import AVERAGES

    if average not in AVERAGES:
        raise UsageError(f"--average '{average}' is not one of {', '.join(AVERAGES)}.{nearest(average, AVERAGES)}")
    preparation = Preparation(pixel_scale=pixel_scale, factor=factor, match_scale=match_scale)
    paths = require_files(expand(files, stdin=sys.stdin), files)
    trained = load_weights(host, path).to(device)
    echo(_weights_in_words(host, trained.about), err=True)
    summary, started = Summary(trained), time.perf_counter()
    pictures = read_pictures(paths, channels=trained.image_shape[0])
    answers = classify(trained, pictures, preparation=preparation, average=average, batch_size=batch_size)
    style = _as_csv if as_csv else _as_json if as_json else _as_table
    report = _progress(started)
    with style(trained.classes, trained.about.temperature is not None) as show:
        for item in answers:
            summary.add(item)
            show(item)
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
    if summary.skipped:
        ctx.exit(1)


def _weights_in_words(host: Host, about: About) -> str:
    """Return what the weights were trained on: a short training is as confident as a long one."""

    dataset = datasets_by_id(host).get(about.recipe.dataset)
    shown = ", ".join(shown_params(dataset, about.recipe.params))
    kind = f" ({shown})" if shown else ""
    if about.phases:
        kind += f", with training images of {describe_phases(about.phases)}"
    old = version_note(dataset, about.recipe.dataset_version)
    calibrated = ""
    if about.temperature is not None:
        calibrated = f"\nProbabilities are calibrated on its validation images: temperature {about.temperature:.3g}."
    return f"{about.model} trained on {about.recipe.dataset}{kind}. Run `zoo evaluate` for its scores.{calibrated}" + (
        f"\nnote: trained on images {old}" if old else ""
    )


Show = Callable[["Prediction | Skipped"], None]


def _row(item: Prediction | Skipped, classes: tuple[str, ...], calibrated: bool) -> dict[str, Any]:
    from zoo.inference.read import Skipped

    if isinstance(item, Skipped):
        return {"image": item.name, "error": item.reason}
    notes = [*item.notes, *(["pixels far outside the training images"] if item.unusual else [])]
    return {
        "image": item.name,
        "class": classes[int(item.probabilities.argmax())],
        "probabilities": {name: float(value) for name, value in zip(classes, item.probabilities, strict=True)},
        "calibrated": calibrated,
        "peak": item.peak,
        "noise": item.noise,
        "notes": notes,
    }


@contextmanager
def _as_table(classes: tuple[str, ...], calibrated: bool) -> Iterator[Show]:
    """Print lines as they come: names stand last, so that no column needs all of them."""
    shown = [visible(name) for name in classes]
    widths = [max(6, len(name)) for name in shown]
    heading = "  ".join(name.rjust(width) for name, width in zip(shown, widths, strict=True))
    echo(f"{heading}  {'class':{max(widths)}}  image")

    def show(item: Prediction | Skipped) -> None:
        row = _row(item, classes, calibrated)
        if "error" in row:
            echo(f"left out: {row['image']}: {row['error']}", err=True)
            return
        numbers = "  ".join(f"{row['probabilities'][n]:{w}.4f}" for n, w in zip(classes, widths, strict=True))
        notes = f"  ({'; '.join(row['notes'])})" if row["notes"] else ""
        echo(f"{numbers}  {visible(row['class']):{max(widths)}}  {row['image']}{notes}")

    yield show


@contextmanager
def _as_csv(classes: tuple[str, ...], calibrated: bool) -> Iterator[Show]:
    def write(*values: str) -> None:
        echo(csv_line(values), nl=False)

    write("image", "class", *(f"p_{name}" for name in classes), "peak", "noise", "notes", "error", "calibrated")

    def show(item: Prediction | Skipped) -> None:
        row = _row(item, classes, calibrated)
        if "error" in row:
            write(row["image"], *[""] * (len(classes) + 4), row["error"], "")
            return
        numbers = [f"{row['probabilities'][name]:.6f}" for name in classes]
        peak_and_noise = [f"{row['peak']:.6g}", f"{row['noise']:.6g}"]
        notes = "; ".join(row["notes"])
        write(row["image"], row["class"], *numbers, *peak_and_noise, notes, "", "yes" if calibrated else "no")

    yield show


@contextmanager
def _as_json(classes: tuple[str, ...], calibrated: bool) -> Iterator[Show]:
    """Print one list, entry by entry."""
    begun = False

    def show(item: Prediction | Skipped) -> None:
        nonlocal begun
        echo(("," if begun else "[") + "\n  " + json.dumps(_row(item, classes, calibrated)), nl=False)
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
