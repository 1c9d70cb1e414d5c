"""Pictures of a completed run: ROC curves, confusion matrix, example images and the worst mistakes."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from zoo.errors import DataError, MissingError
from zoo.paths import parse_json
from zoo.report.plots import draw_examples, draw_images, draw_roc, with_plain_texts
from zoo.results.files import read_file
from zoo.results.schema import Finished
from zoo.results.store import MISTAKES


def draw(result: Finished) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield tag and pixels [height, width, 3] of each picture of a run, ROC curves where its task has some."""
    cell = result.cell
    title = f"{cell.model} on {cell.data}, seed {cell.seed}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        yield "images/examples", _pixels(draw_examples(result, path, title=title))
        with contextlib.suppress(DataError, MissingError):  # a task without ROC curves, or of another plugin
            yield "test/roc", _pixels(draw_roc([result], path))
        confusion = getattr(result.test, "confusion", None)
        if confusion is not None:
            yield "test/confusion", draw_confusion(confusion, result.classes)
        arrays, metadata = read_file(result, MISTAKES)
        classes = parse_json(metadata["classes"])
        if "probabilities" not in arrays:
            return
        captions = [
            f"{chance[label]:.2f}" for chance, label in zip(arrays["probabilities"], arrays["labels"], strict=True)
        ]
        mistakes = draw_images(
            arrays["images"], arrays["labels"], classes, path,
            title=f"{title}: lowest probability of the true class", captions=captions,
        )  # fmt: skip
        yield "images/worst", _pixels(mistakes)


def draw_confusion(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> NDArray[np.uint8]:
    """Return a confusion matrix as pixels [height, width, 3]: counts as text, fractions of the true class as colours.

    Args:
        confusion: Numbers of images, [true][predicted].
        classes: Names of the classes.
    """
    counts = np.asarray(confusion)
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    figure = Figure(figsize=(1.6 + 1.1 * len(classes), 1.2 + 1.0 * len(classes)), dpi=130, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        axis.text(column, row, f"{count}", ha="center", va="center", color="w" if shares[row, column] > 0.5 else "k")
    names = [name.replace("_", "\n") for name in classes]
    axis.set_xticks(range(len(names)), names)
    axis.set_yticks(range(len(names)), names)
    axis.set(xlabel="predicted", ylabel="true")
    with_plain_texts(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def _pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.array(picture.convert("RGB"))
