"""The tables of docs/results.md: scores, times, shifted images, tasks, published values."""

from __future__ import annotations

import math
from collections.abc import Sequence

from headline_rows import best_first, displaced
from headline_runs import Run, dataset_of, gpu_of, name_of
from page_parts import wrapped

from zoo.report.columns import FRESH, MEASURED, SETTINGS, Column, measured_columns, score_columns
from zoo.results.baselines import is_baseline
from zoo.results.comparison import Variant, estimate, is_above, spread
from zoo.results.schema import Epoch, Finished

CLASSES = ("no_substructure", "subhalo", "vortex")
PLAIN = "timm/resnet18"

# One-vs-rest AUC of no substructure, sub-halo, vortex, and micro; single runs, checkpoint chosen on the test set.
# DeepLense's equivariant project of 2021, 75,000 training images; see docs/populations.md.
PUBLISHED = {
    "modelA": {
        "ResNet-18": (0.9969, 0.9845, 0.9974, 0.9942),
        "e2cnn C4": (0.9986, 0.9942, 0.9986, 0.9969),
        "e2cnn C8": (0.9991, 0.9976, 0.9995, 0.9984),
        "e2cnn D4": (0.9994, 0.9969, 0.9994, 0.9982),
        "e2cnn D8": (0.9988, 0.9964, 0.9991, 0.9979),
    },
    "modelB": {
        "ResNet-18": (0.9920, 0.9632, 0.9908, 0.9848),
        "e2cnn C4": (0.9942, 0.9868, 0.9954, 0.9929),
        "e2cnn C8": (0.9958, 0.9887, 0.9966, 0.9950),
        "e2cnn D4": (0.9956, 0.9895, 0.9970, 0.9947),
        "e2cnn D8": (0.9962, 0.9914, 0.9986, 0.9961),
    },
}


SHOWN = [column for column in MEASURED if column.heading in (FRESH, "test - fresh", "Brier", "calibration error")]
DIFFERENCE = SHOWN[1]
"""Column of the difference from the fresh test."""


def measured_of(runs: Sequence[Run]) -> list[Column]:
    """Return the columns of fresh tests and calibration that some run has a number for; not every run has all."""
    return [column for column in SHOWN if any(math.isfinite(column.value(run.result)) for run in runs)]


def score_table(runs: Sequence[Run]) -> str:
    """Return ours, best mean macro AUC first; at paper size with the published ones and a verdict."""
    header = [
        "network",
        "seeds",
        "parameters",
        "MMACs",
        "none",
        "sub-halo",
        "vortex",
        "micro",
        "macro (95 %)",
        *(column.heading for column in measured_of(runs)),
        *(column.heading for column in SETTINGS),
    ]
    body, variants = [], best_first(runs)
    marks = marks_of(variants, runs)
    for variant, mark in zip(variants, marks, strict=True):
        first, macro = variant.results[0], estimate(variant.results)
        body.append(
            [
                f"`{variant.name}`{mark}", str(len(variant.results)), f"{first.cost.parameters:,}",
                macs_of(first), *(area(mean(variant.auc(name))) for name in (*CLASSES, "micro")),
                f"{area(macro.score)} ({area(macro.low)} to {area(macro.high)})",
                *(column.cell(*variant.results) for column in measured_of(runs)),
                *(column.cell(first) for column in SETTINGS),
            ]
        )  # fmt: skip
    data = name_of(runs[0].cell)
    if runs[0].cell.budget != "paper" or data not in PUBLISHED:
        return rows(header, body)
    for name, areas in PUBLISHED[data].items():
        unknown = [""] * (1 + len(measured_of(runs)) + len(SETTINGS))
        body.append([f"*published: {name}*", "1", "", "", *map(area, areas), *unknown])
    return rows(header, body) + "\n\n" + verdict(best_first(runs), data)


def marks_of(variants: Sequence[Variant], runs: Sequence[Run]) -> list[str]:
    """Return what stands behind the name of each variant: that it is a baseline, or which ones it may not be above.

    † is for the strongest baseline, ‡ for the best one that sees nothing but scalars of the image.
    """
    dataset = dataset_of(runs[0])
    baselines = [variant for variant in variants if is_baseline(variant.results[0].cell, dataset)]
    of_scalars = [variant for variant in baselines if "scalars" in variant.model]
    bars = {
        mark: max(own, key=lambda variant: variant.rank) for mark, own in (("†", baselines), ("‡", of_scalars)) if own
    }
    marks = []
    for variant in variants:
        found = "".join(mark for mark, bar in bars.items() if not is_above(variant, bar))
        marks.append(" (baseline)" if variant in baselines else f" {found}".rstrip())
    return marks


def verdict(variants: Sequence[Variant], data: str) -> str:
    """Return how our micro AUCs stand to the best published one, whichever way."""
    name, best = max(((name, areas[-1]) for name, areas in PUBLISHED[data].items()), key=lambda pair: pair[1])
    above = [f"`{v.name}`" for v in variants if mean(v.auc("micro")) > best]
    below = [f"`{v.name}`" for v in variants if mean(v.auc("micro")) <= best]
    return (
        f"Published best, {name}: {area(best)}, on other images of the same kind. "
        f"Above it: {', '.join(above) or 'none'}. Not above it: {', '.join(below) or 'none'}."
    )


def time_table(runs: Sequence[Run]) -> str:
    """Return when the validation AUC of each row's first training on a GPU reached the goals, and what it cost.

    Args:
        runs: Runs of one problem, with those that stand in no row: their times count. Without a training on a GPU the
            table is "".
    """
    on_gpu = {run.result.run_id: run for run in runs if gpu_of(run)}
    if not on_gpu:
        return ""
    data, goals = name_of(runs[0].cell), {}
    if runs[0].cell.budget == "paper" and data in PUBLISHED:
        best = max(areas[-1] for areas in PUBLISHED[data].values())
        goals[f"the published {area(best)}"] = best
    plain = [max(epoch.val_auc for epoch in run.history) for run in on_gpu.values() if run.cell.model == PLAIN]
    if plain:
        goals[f"ResNet-18's best, {area(max(plain))}"] = max(plain)
    beside = {kept.result.run_id: other.result.run_id for kept, other in displaced(runs)}
    header = ["network", "images/s", "GFLOP/s", "peak MiB", *(f"to {name}" for name in goals), "minutes in all"]
    body = []
    for variant in best_first(runs):
        ids = [name for result in variant.results for name in (result.run_id, beside.get(result.run_id, ""))]
        run = next((on_gpu[name] for name in ids if name in on_gpu), None)
        if run is None or run.cell.fits_itself:
            continue
        first, history = run.result, run.history
        cost = first.cost
        body.append(
            [
                f"`{variant.name}`", f"{cost.train_images_per_second:,.0f}",
                f"{6e-9 * cost.macs * cost.train_images_per_second:,.0f}",
                f"{cost.peak_memory_bytes / 2**20:,.0f}",
                *(minutes_to(history, first, goal) for goal in goals.values()),
                f"{first.seconds / 60:.1f}",
            ]
        )  # fmt: skip
    return rows(header, body)


def minutes_to(history: Sequence[Epoch], result: Finished, goal: float) -> str:
    """Return the minutes until a validation AUC was reached."""
    elapsed = result.cost.simulation_seconds
    for epoch in history:
        elapsed += epoch.seconds
        if epoch.val_auc >= goal:
            return f"{elapsed / 60:.1f}"
    return "not reached"


def shift_table(runs: Sequence[Run]) -> str:
    """Return macro AUC of the trainings of each network on images that it was not trained for, or ""."""
    shifts = list(dict.fromkeys(name for run in runs for name in run.shifts))
    if not shifts:
        return ""
    shifted = {run.result.run_id: run.shifts for run in runs if run.shifts}
    body = []
    for variant in best_first(runs):
        told = [shifted[result.run_id] for result in variant.results if result.run_id in shifted]
        if told:
            scores = [[own[name].auc["macro"] for own in told if name in own] for name in shifts]
            body.append([f"`{variant.name}`", str(len(told)), *map(mean_and_range, scores)])
    text = (
        "Macro AUC on other images, of several trainings their mean (lowest to highest). Most rows are one training, "
        "and trainings of one network differ here more than on the images that they were trained for. Turning by 17 or "
        "45 degrees interpolates between pixels, which smooths their noise and leaves the corners empty; this can "
        "raise a score. Derived channels are computed from these images, for the camera of the training."
    )
    return f"{wrapped(text)}\n\n{rows(['network', 'trainings', *shifts], body)}"


def mean_and_range(values: Sequence[float]) -> str:
    """Return the mean of areas, of several with the lowest and the highest; "" for none."""
    if not values:
        return ""
    return area(mean(values)) + (f" ({area(min(values))} to {area(max(values))})" if len(values) > 1 else "")


def task_table(runs: Sequence[Run], with_labels: Sequence[Run]) -> str:
    """Return the scores of a task, best first; for anomaly detection also those of networks trained with all labels.

    Args:
        runs: Runs of one problem and task.
        with_labels: Runs of classification on the same images.
    """
    variants = best_first(runs)
    scores = score_columns(variants[0].results)
    scores = [scores[-1], *scores[:-1]]
    fresh = [column for column in measured_columns([run.result for run in runs]) if column.heading == FRESH]
    header = ["network", "seeds", "parameters", scores[0].heading, "95 %"]
    header += [column.heading for column in (*scores[1:], *fresh)]
    body = []
    for variant, mark in zip(variants, marks_of(variants, runs), strict=True):
        first, headline = variant.results[0], estimate(variant.results)
        body.append(
            [
                f"`{variant.name}`{mark}", str(len(variant.results)), f"{first.cost.parameters:,}",
                scores[0].cell(*variant.results), f"{headline.low:.4f} to {headline.high:.4f}",
                *(column.cell(*variant.results) for column in (*scores[1:], *fresh)),
            ]
        )  # fmt: skip
    anomaly = runs[0].cell.task == "anomaly"
    for variant in normal_first(with_labels) if anomaly else ():
        first = variant.results[0]
        normal = first.classes[0]
        low, high = first.test.intervals[f"auc.{normal}"]
        row = [f"*labels of all classes:* `{variant.name}`", str(len(variant.results)), f"{first.cost.parameters:,}"]
        row += [f"{mean(variant.auc(normal)):.4f}", f"{low:.4f} to {high:.4f}"]
        body.append(row + [""] * (len(header) - len(row)))
    return rows(header, body)


def published_tables(names: Sequence[str]) -> list[str]:
    """Return the published AUCs of these data sets, a table each."""
    header = ["network", "none", "sub-halo", "vortex", "micro"]
    text = (
        "DeepLense's equivariant project of 2021: 75,000 training images, single runs, the checkpoint chosen on the "
        "test images."
    )
    return [
        wrapped(f"{data}: {text}")
        + "\n\n"
        + rows(header, [[name, *map(area, areas)] for name, areas in PUBLISHED[data].items()])
        for data in names
    ]


def normal_first(runs: Sequence[Run]) -> list[Variant]:
    """Return the variants of a classification, best area of the first class first, which is the normal one."""
    variants = best_first(runs)
    return sorted(variants, key=lambda variant: -mean(variant.auc(variant.results[0].classes[0])))


def macs_of(result: Finished) -> str:
    """Return the multiply-accumulates of a forward pass in millions; "-" where they could not be counted."""
    # The first runs of these models recorded those of the classifier behind the fit.
    count = None if result.cell.model in ("baselines/fitted_lens", "baselines/flexible_lens") else result.cost.macs
    return "-" if count is None else f"{count / 1e6:.1f}"


def rows(header: Sequence[str], body: Sequence[Sequence[str]], *, texts: int = 1) -> str:
    """Return a Markdown table whose first columns are texts and the others numbers."""
    rule = ["---"] * texts + ["---:"] * (len(header) - texts)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, rule, *body])


def deviation(values: Sequence[float]) -> str:
    """Return the standard deviation between seeds and a semicolon; of one seed nothing is known: ""."""
    return f"{spread(values):.4f}; " if len(values) > 1 else ""


def mean(values: Sequence[float]) -> float:
    """Return the mean."""
    return sum(values) / len(values)


def area(value: float) -> str:
    """Return .9984 for 0.9984."""
    return f"{value:.4f}".removeprefix("0")
