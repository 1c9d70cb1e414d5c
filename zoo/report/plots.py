"""Pictures of results: ROC curves of the models, and what the images of each class look like."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zoo.data.recipe import short_hash
from zoo.errors import DataError, MissingError
from zoo.escaping import visible
from zoo.paths import make_dir, parse_json, written_whole
from zoo.results.comparison import group_variants, problem_key
from zoo.results.digest import LOWEST_RATE, NEAR_ONE, TRUE_RATES
from zoo.results.files import read_file
from zoo.results.schema import Finished, RunResult
from zoo.results.store import EXAMPLES, PREDICTIONS
from zoo.results.tasks import task_of_result
from zoo.scores.roc import roc_curve
from zoo.tasks.find import CORE, Tasks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_POWERS = (LOWEST_RATE, 0.01, 0.1, 1)
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
"""Okabe & Ito's palette, which colour-blind readers can distinguish."""
_DASHES = ("-", "--", ":")
"""Lines where the colours are used up."""
_FAINTEST = 0.25
"""Opacity of the lines of further seeds, at least."""
_LONGEST_LINE = 56
"""Characters of a line of the legend that a panel has room for."""


def draw_roc(results: Sequence[Finished], path: Path, *, tasks: Tasks = CORE) -> Path:
    """Draw the ROC curves of a task, a panel for each and a line for each result.

    Trainings that differ in the seed only have one colour, lighter from seed to seed. Both axes are logarithmic where
    the largest area is near 1: linear ones would leave most of the picture empty.

    Args:
        results: Good ones of one table.
        path: Path of the PNG.
        tasks: Tasks that are installed.

    Raises:
        DataError: Predictions are missing or damaged, the task has no ROC curves, or the file cannot be written.
    """
    from sklearn.metrics import auc

    figure_of, pyplot_close = _pyplot()
    task = task_of_result(results[0], tasks=tasks)
    trainings = _trainings(results)
    curves = []
    for training in trainings:
        arrays, _ = read_file(training.result, PREDICTIONS)
        curves.append(task.rocs(arrays["test.logits"], arrays["test.labels"]))
    if not curves[0]:
        raise DataError(f"The task {task.name} has no ROC curves.")
    panels = list(curves[0])
    lines = [{panel: roc_curve(*of_result[panel]) for panel in panels} for of_result in curves]
    low_rates = "roc at low rates" in task.pictures
    near_one = not low_rates and max(auc(*line) for of_result in lines for line in of_result.values()) >= NEAR_ONE
    size = (4.2 * len(panels), 5.2 + 0.19 * sum(one.name.count("\n") + 1 for one in trainings))  # the legend is below
    figure, axes = figure_of(1, len(panels), figsize=size, sharey=True, squeeze=False)
    up = _missed if near_one else np.asarray
    for training, of_result in zip(trainings, lines, strict=True):
        for panel, axis in zip(panels, axes[0], strict=True):
            false_rate, true_rate = of_result[panel]
            label = f"{training.name}  {auc(false_rate, true_rate):.4f}"
            axis.plot(false_rate, up(true_rate), **training.style, lw=1.6, label=label)
    for panel, axis in zip(panels, axes[0], strict=True):
        chance = np.geomspace(LOWEST_RATE, 1, 200) if low_rates or near_one else np.array([0, 1])
        axis.plot(chance, up(chance), color="0.7", lw=0.8, ls="--")
        axis.set(title=panel.replace("_", " "), xlabel="false positive rate", xlim=(0, 1))
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14)}
        axis.legend(**place, fontsize=8, title="model, AUC", title_fontsize=8, frameon=False)
        if low_rates or near_one:
            axis.set(xscale="log", xlim=(LOWEST_RATE, 1))
            axis.set_xticks(_POWERS, map(str, _POWERS))
    first = axes[0][0]  # shares its upright axis with all others
    if near_one:
        first.set(yscale="log", ylim=(1, 0.9 * LOWEST_RATE))
        first.set_yticks([1 - rate for rate in TRUE_RATES], map(str, TRUE_RATES))
        first.minorticks_off()
    else:
        first.set_ylim(0, 1.005)
    first.set_ylabel("true positive rate")
    cell = results[0].cell
    what = f"task {task.name}" if low_rates else "one class against the rest"
    figure.suptitle(f"{cell.data}, budget {cell.budget}, {what}", fontsize=11)
    return _save(figure, path, pyplot_close)


class _Training(NamedTuple):
    """A result with its name in the legend and the style of its line."""

    result: Finished
    name: str
    style: dict[str, Any]


def _trainings(results: Sequence[Finished]) -> list[_Training]:
    """Return the trainings network by network, the best network first."""
    found = []
    for number, variant in enumerate(group_variants(results)):
        for index, result in enumerate(variant.results):
            seed = result.cell.seed
            name = f"{variant.name} (seed {seed})" if seed or len(variant.results) > 1 else variant.name
            style = {
                "color": COLORS[number % len(COLORS)],
                "ls": _DASHES[number // len(COLORS) % len(_DASHES)],
                "alpha": max(_FAINTEST, 0.65**index),
            }
            found.append(_Training(result, textwrap.fill(name, _LONGEST_LINE), style))
    return found


def _missed(true_rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of positive images that are missed, for a logarithmic axis."""
    return np.maximum(1 - np.asarray(true_rates), LOWEST_RATE)


def draw_examples(result: Finished, path: Path, *, title: str) -> Path:
    """Draw a few training images of each class.

    Args:
        result: Good one.
        path: Path of the PNG.
        title: Above the picture.

    Raises:
        DataError: The examples are missing or damaged, or the file cannot be written.
    """
    arrays, metadata = read_file(result, EXAMPLES)
    return draw_images(arrays["images"], arrays["labels"], parse_json(metadata["classes"]), path, title=title)


def draw_images(
    images: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    path: Path,
    *,
    title: str,
    captions: Sequence[str] | None = None,
) -> Path:
    """Draw images, a row for each class.

    Args:
        images: [n, C, H, W]; the first channel is shown.
        labels: [n].
        classes: The labels' names.
        path: Path of the PNG.
        title: Above the picture.
        captions: N texts, to stand under the images.

    Raises:
        DataError: The file cannot be written.
    """
    rows = [k for k in range(len(classes)) if (labels == k).any()]
    columns = max(int((labels == k).sum()) for k in rows)
    lines = 0 if captions is None else max(caption.count("\n") + 1 for caption in captions)
    figure_of, pyplot_close = _pyplot()
    size = (2.1 * columns, (2.2 + 0.14 * lines) * len(rows))
    figure, axes = figure_of(len(rows), columns, figsize=size, squeeze=False)
    for row, k in enumerate(rows):
        for axis in axes[row]:
            axis.set(xticks=[], yticks=[])
        for axis, index in zip(axes[row], np.flatnonzero(labels == k), strict=False):
            # A square-root stretch from the sky up shows the faint arcs beside the bright ones.
            shown = np.sqrt(np.clip(images[index, 0], 0, None))
            axis.imshow(shown, cmap="inferno", origin="lower", interpolation="nearest")
            if captions is not None:
                axis.set_xlabel(captions[int(index)], fontsize=7)
        axes[row][0].set_ylabel(classes[k].replace("_", " "), fontsize=11)
    figure.suptitle(title, fontsize=11)
    return _save(figure, path, pyplot_close)


def draw_all(
    results: Sequence[RunResult], folder: Path, *, again: bool = True, tasks: Tasks = CORE
) -> tuple[list[Path], list[str]]:
    """Draw the ROC curves and examples of every table of these results.

    The names of the files hold a hash of the runs of the table and of their predictions.

    Args:
        results: Results of any kind; failed ones are left out.
        folder: Folder of the PNGs.
        again: Draw also what has been drawn before.
        tasks: Tasks that are installed.

    Returns:
        The paths of all pictures, and a sentence for each run that is left out, since its files are damaged.

    Raises:
        DataError: A picture cannot be written.
    """
    groups: dict[str, list[Finished]] = {}
    for result in results:
        if result.status == "ok":
            groups.setdefault(problem_key(result.cell), []).append(result)
    paths: list[Path] = []
    damaged: dict[str, str] = {}
    for group in groups.values():
        dataset, budget = group[0].cell.data, group[0].cell.budget
        make_dir(folder)
        runs = short_hash(sorted([result.run_id, result.files.get(PREDICTIONS, "")] for result in group))[:8]
        stem = f"{dataset.replace('/', '.')}-{budget}-{runs}.png"
        ranked = sorted(group, key=lambda result: -result.test.headline.rank)
        roc, images = folder / f"roc-{stem}", folder / f"images-{stem}"
        with contextlib.suppress(MissingError):  # the plugin of the task is absent
            if task_of_result(ranked[0], tasks=tasks).draws_rocs:
                if (again or not roc.exists()) and (whole := [*_readable(ranked, PREDICTIONS, damaged)]):
                    draw_roc(whole, roc, tasks=tasks)
                paths += [roc] if roc.exists() else []
        if (again or not images.exists()) and (first := next(_readable(ranked, EXAMPLES, damaged), None)):
            draw_examples(first, images, title=f"{dataset}, budget {budget}")
        paths += [images] if images.exists() else []
    return paths, [f"{run_id} is left out of the pictures: {cause}" for run_id, cause in damaged.items()]


def _readable(results: Sequence[Finished], name: str, damaged: dict[str, str]) -> Iterator[Finished]:
    """Yield the results whose file of this name can be read; add the causes of the others by run id."""
    for result in results:
        try:
            read_file(result, name)
        except DataError as error:
            damaged[result.run_id] = str(error)
        else:
            yield result


def _pyplot() -> tuple[Any, Any]:
    """Return pyplot's subplots, with a layout that cuts nothing off, and close, on a backend that needs no screen."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    return partial(pyplot.subplots, layout="constrained"), pyplot.close


def with_plain_texts(figure: Figure) -> Figure:
    """Return a figure whose texts are drawn as they are: "$" stays a dollar sign, control characters are escaped."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)
        text.set_text(visible(text.get_text()))
    return figure


def _save(figure: Figure, path: Path, close: Any) -> Path:
    with written_whole(path) as temporary:
        with_plain_texts(figure).savefig(temporary, dpi=130, format="png")
    close(figure)
    return path
