"""The tables of docs/results.md of harder problems: fewer training images, changed choices of the population."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from headline_rows import best_first
from headline_runs import Run, choice, name_of
from headline_tables import CLASSES, area, deviation, mean, rows
from page_parts import wrapped

from zoo.results.cell import Cell
from zoo.results.convergence import training_end


def few_table(runs: Sequence[Run]) -> str:
    """Return macro AUC against the number of training images, or "" where there is one number only."""
    sizes = sorted({run.cell.sizes["train"] for run in runs})
    models = sorted({run.cell.model for run in runs if run.cell.sizes["train"] != sizes[-1]})
    if not models:
        return ""
    body = []
    for model in models:
        by_settings: dict[str, list[Run]] = {}
        for run in runs:
            if run.cell.model == model:
                by_settings.setdefault(settings_of(run.cell), []).append(run)
        # A curve is of one setting: that of the most sizes, and of the most trainings among those.
        curve = max(by_settings.values(), key=lambda own: (len({run.cell.sizes["train"] for run in own}), len(own)))
        cells = []
        for size in sizes:
            own = [run for run in curve if run.cell.sizes["train"] == size]
            # Trainings of another length or version are not further seeds.
            variants = sorted(best_first(own), key=lambda variant: -len(variant.results))
            found = variants[0].auc() if variants else []
            cells.append(f"{area(mean(found))} ({deviation(found)}{len(found)})" if found else "")
        body.append([f"`{model}`", *cells])
    epochs = {
        size: {run.cell.training["epochs"] for run in runs if run.cell.sizes["train"] == size and run.cell.training}
        for size in sizes
    }
    text = "Macro AUC against the number of training images; in brackets the deviation between seeds and their number."
    if all(len(found) == 1 for found in epochs.values()) and len({size * min(epochs[size]) for size in sizes}) == 1:
        told = ", ".join(str(min(epochs[size])) for size in sizes)
        text += f" The number of steps is the same: {told} epochs."
    if any(run.cell.phases for run in runs):
        text += (
            " In each phase, networks see other images of the same lenses; baselines see those of the last phase alone."
        )
    shared = sorted({run.cell.sizes["train"] for run in runs if run.cell.seed and run.cell.train_seed is None})
    if shared:
        sizes_shared = " and ".join(f"{size:,}" for size in shared)
        text += f" Seeds share their training images at {sizes_shared}: there the deviation lacks their choice."
    return f"{wrapped(text)}\n\n{rows(['network', *(f'{size:,}' for size in sizes)], body)}"


def settings_of(cell: Cell) -> str:
    """Return what the points of a curve share: settings of network and training but for the number of epochs."""
    training = {name: value for name, value in cell.training.items() if name != "epochs"}
    phases = [phase.params for phase in cell.phases]
    return json.dumps([cell.hparams, training, phases, cell.recipe.channels], sort_keys=True)


def difficulty_table(runs: Sequence[Run]) -> str:
    """Return the scores of each changed choice of the population; all runs of one budget and size."""
    models = sorted({run.cell.model for run in runs})
    problems: dict[tuple[str, str], list[Run]] = {}
    for run in sorted(runs, key=lambda run: (name_of(run.cell), (changed := choice(run)) != "nothing", changed)):
        problems.setdefault((name_of(run.cell), choice(run)), []).append(run)
    body = []
    for (data, changed), own in problems.items():
        by_model = {run.cell.model: run for run in own}
        cells = (learnt(by_model[model]) if model in by_model else "" for model in models)
        ids = " ".join(by_model[model].result.run_id[:4] for model in models if model in by_model)
        body.append([data, changed, *cells, ids])
    sizes = runs[0].cell.sizes
    text = (
        f"Micro and macro AUC (95 %) with the published substructure masses, {sizes['train']:,} training images, "
        f"budget {runs[0].cell.budget}{trained_on(runs)}; one training each, so the interval of the macro AUC excludes "
        "the variation between trainings. In the second brackets: training and validation loss of the epoch whose "
        "weights were kept (a validation loss more than a tenth above the training loss is overfitting), and the fall "
        "of the training loss over the last fifth of the epochs. If it is large, the score depends on how early this "
        "training begins to learn as well as on the difficulty of the problem. The networks have no plain twin here, "
        "and the only baseline is the one of the table. "
        "See [populations.md](populations.md#difficulty-of-the-problem)."
    )
    header = ["data", "changed", *(f"`{model}`" for model in models), "runs"]
    return f"{wrapped(text)}\n\n{rows(header, body, texts=2)}"


def trained_on(runs: Sequence[Run]) -> str:
    """Return ", trained on ..." of the phases that the trainings had, or ""."""
    found = dict.fromkeys(run.cell.trained_on for run in runs if run.cell.phases)
    return f", trained on {' or '.join(found)}" if found else ""


def learnt(run: Run) -> str:
    """Return micro and macro AUC, and how the training ended, or that it had not begun."""
    auc, history = run.result.test.auc, run.history
    low, high = run.result.test.intervals["auc.macro"]
    told = f"{area(auc['micro'])} / {area(auc['macro'])} ({area(low)} to {area(high)})"
    if run.cell.fits_itself:
        return told
    if history[-1].train_loss > 0.99 * math.log(len(CLASSES)):
        return f"{told} (nothing learnt: the loss stayed at ln 3)"
    return f"{told} ({training_end(run.cell, history, epoch=run.result.val.epoch).in_words()})"
