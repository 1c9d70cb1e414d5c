"""Writes docs/results.md from recorded runs: every number on the page is from a run, or marked as published."""

from __future__ import annotations

from collections.abc import Sequence

from headline_aim import aim_section
from headline_commands import commands_note
from headline_difficulty import difficulty_table, few_table
from headline_equivariance import equivariance_table
from headline_notes import (
    devices_notes,
    fresh_note,
    like_2021,
    machines_note,
    missing_baseline,
    notes,
    old_definition,
    phases_note,
    runs_note,
)
from headline_pictures import picture_of
from headline_rows import best_first, in_rows
from headline_runs import Run, bundled, choice, full_size, gpu_of, installed, name_of, problem_size
from headline_tables import (
    PUBLISHED,
    published_tables,
    score_table,
    shift_table,
    task_table,
    time_table,
)
from page_parts import wrapped

from zoo import registry
from zoo.budgets import BUDGETS
from zoo.report.tables import result_notes
from zoo.results.comparison import names_of_rows, problem_key
from zoo.results.naming import in_words
from zoo.results.store import split_sizes
from zoo.specs import DatasetSpec

MISSING = (
    "**The paper-size table is missing for {data}**: no training on 150 x 150 pixels is recorded. Each "
    "heading states how many images the networks below it were trained on, and which parameters of the data set differ "
    "from those of that budget today; a note below it names the version of the images. The published numbers are "
    "listed separately, for orientation; they are of other images."
)
HOW = """\
Each row is one network with one setting, best macro AUC first. MMACs are million multiply-accumulates for one image.
AUC is one class against the rest; micro is over all decisions, macro the mean of the classes. Peak SNR is that in a
pixel of 0.05 arcsec, 34 on Model A and 10 to 30 on Model B; in the pixels of 0.1 arcsec of most tables it is twice as
high. The interval of one seed is over its test images and excludes the variation between trainings. With several
seeds the scores are means, and the interval includes the variation between the trainings, too (Student's t). **Most
rows are one training, and one training does not rank a network**: another training may change the order of two rows.
Where a setting differs between rows, the row or a note states it. Rows with settings that only one network was
trained with compare settings, not networks. *Search trials* are those of the search with `zoo tune` that a row's
settings were taken from; 0: the network's defaults, or settings given by hand. The default learning rate and weight
decay of p4m, which its plain twins and escnn's networks share, were chosen in single early trainings on Model B
(which images they were compared on is not recorded), and the phases with p4m; for the other networks no such choice
is recorded. In this respect the tables favour p4m. The scores of p4m, its twin of equal MACs and ResNet-18 on Model B
with lower and higher learning rates are [measured](../benchmarks/results/learning_rates.md), and those of a short
[search](../benchmarks/results/equal_search.md). *(baseline)*: a classifier of numbers of the image, or of a lens that
is fitted to it. †: a network whose macro AUC is not shown to be above that of the strongest baseline of its table:
the 95 % interval of their difference, as of separate test images, reaches 0 or lies below (`zoo report` compares the
two image by image where they were tested on the same ones, and so finds smaller differences). ‡: the same of the best
scalars baseline (`baselines/scalars_*`) of its
table. Terms are in the [glossary](glossary.md)."""
EQUIVARIANCE = """\
The equivariance error is the root mean square change of the trained network's centred logits when the image is turned
or mirrored, over their spread between images: 0 is that of an invariant network, 1.4 that of a network whose answers
for an image and for the turned image are unrelated. Every network is measured under one group, the eight symmetries of
the square; apart from this, under those of them that belong to the group that the network declares (`-`: it declares
none); and at 17 and 45 degrees. Class flips are the share of 64 validation images whose class changes under one of the
symmetries of the square; 10 % of so few is uncertain by 4 percentage points. At the two angles they are of 16 images,
which are smoothed and cut to a disc before they are turned."""
FRESH = """\
Fresh test is the macro AUC (for detectors the AUROC) on as many new test images of the same recipe, which nothing
else has seen; test - fresh is the difference with its 95 % interval. A difference above 0 beyond chance would show
that a network, or its choice, depends on the benchmark's own test images; one interval in twenty excludes 0 by
chance. `-`: not measured."""
SIGNIFICANCE = """\
TPR / sqrt(FPR) is the largest factor by which a cut on the score improves the significance of a sample, at
false-positive rates of 0.4 % or more."""
TIMES = """\
Times are those of the first training on a GPU of each row, or of one that a note names as left out of its mean: minutes
until the validation macro AUC reaches the value in the column's heading. They include the simulation if this run made
the images; a run that found them in the cache has no simulation time. The recorded runs shared their GPU with up to
five others, not always with as many, and the later ones replayed CUDA graphs
([measured](../benchmarks/results/gpu.md)). So a run alone is faster, and the times do not rank networks. FLOP/s are six
times the network's multiply-accumulates times the training images per second."""
ANOMALY = """\
The fitted lenses are given exposure and sky where all images share them, and the forms of lens and source, all of
which are exact in these models; `fitted_lens_residual` is given the PSF, too. Their scores rest on this knowledge and
are not a forecast for a survey. `mahalanobis_truths` learns from stored truths of the training images, the others from
images alone. The flexible lens fits the width of the PSF and multipoles, which these models do not have; its score is
the gain by one added mass, that of the other is chi square. What detectors answer to a wider PSF or to multipoles is
[measured](../benchmarks/results/nuisances.md). While the defaults of the plugin were chosen, variants were compared on
a test split of Model A with four times the mass, anomalies included: the number of principal components and the noise
model of the auto-encoders. The adversarial, the variational and the plain auto-encoder of arXiv:2008.12731 reached
.9321, .8991 and .7303 on Model A and .7694, .7355 and .6699 on Model B, on images of 150 x 150 pixels to which the
mass of the substructure is added. The networks `_published` are theirs, here on 64 x 64 pixels, at conserved mass and
for the epochs of the budget, so the scores are not a reproduction of the published ones."""
STARTED = """\
Rows that started from the weights of a classifier have seen the training images of that classifier as well; the others
started from random weights. They compare trainings of unequal cost."""
TASKS = """\
Best score first; with several seeds, means. *(baseline)*: a method that replaces the training loop by a fit of
its own, in some a network that is trained in it. †: a network
that is not shown to be above the best baseline (the interval of the difference reaches 0). ‡: the same of the best
baseline of scalars of the image."""
UNITS = "MAE, RMSE and CRPS are in the unit of the target, of which a share of the mass has none."
WITH_LABELS = """\
*Labels of all classes*, in the rows below the detectors: the trainings with seed 0 of the classification table, by
their probability of the normal class, on the same test images; the detectors were trained on smooth lenses only."""
NO_TIMES = """\
Times are shown for runs on a GPU only. The runs on CPUs shared two cores with each other and with other work, so their
times (in the record) cannot be compared. Speed is compared side by side in
[benchmarks/results](../benchmarks/results)."""


def about_budget(name: str, own: Sequence[Run]) -> str:
    """Return how many images and epochs a budget has, the size of their pixels, and how these runs were trained."""
    budget, params = BUDGETS[name], dict(registry.find(installed(), DatasetSpec, "modelA").budgets.get(name, {}))
    side, scale = params.get("image_size", 150), params.get("pixel_scale", 0.05)
    return (
        f"Budget {name}: {budget.sizes['train']:,} training, {budget.sizes['val']:,} validation and "
        f"{budget.sizes['test']:,} test images of {side} x {side} pixels of {scale:g} arcsec, "
        f"{budget.training['epochs']} epochs. {settings_in_words(own)}".rstrip()
    )


def settings_in_words(runs: Sequence[Run]) -> str:
    """Return the settings that the trainings of all networks share, or "" without a network."""
    trainings = [{"optimizer": "AdamW", **run.cell.training}.items() for run in runs if not run.cell.fits_itself]
    if not trainings:
        return ""
    shared = dict(set(trainings[0]).intersection(*trainings))
    if "optimizer" not in shared:
        shared["optimizer"] = "AdamW where a row states no other"
    words = {
        "optimizer": "optimiser {}",
        "batch_size": "batches of {}",
        "schedule": "{} schedule",
        "clip": "gradients clipped at norm {:g}",
        "ema": "averaged weights (EMA {})",
        "augment": "augmentation {} (d4: turned by multiples of 90 degrees and mirrored)",
    }
    told = [text.format(shared[name]) for name, text in words.items() if shared.get(name)]
    return f"All networks, plain ones too: {', '.join(told)}."


def make_page(runs: Sequence[Run]) -> str:
    """Return docs/results.md."""
    table = [run for run in runs if run.part == "table"]
    budgets = sorted({run.cell.budget for run in table}, key=[*BUDGETS].index)
    at_paper = {name_of(run.cell) for run in table if run.cell.budget == "paper" and full_size(run.cell)}
    missing = [data for data in PUBLISHED if data not in at_paper]
    aim = aim_section(runs)
    parts = [
        "# Results",
        "Written by `uv run python benchmarks/headline.py --write` from recorded runs\n"
        "([headline.jsonl](../benchmarks/results/headline.jsonl)); all numbers except the published ones come from "
        "these runs.",
        *([wrapped(MISSING.format(data=" and ".join(missing)))] if missing else []),
        *([aim, "## How to read the tables"] if aim else []),
        *(
            wrapped(about_budget(name, [run for run in table if run.cell.budget == name and full_size(run.cell)]))
            for name in budgets
        ),
        wrapped(HOW.replace("\n", " ")),
        EQUIVARIANCE if any(run.result.equivariance.after for run in table) else "",
        wrapped(f"{FRESH} {fresh_note(runs)}".replace("\n", " ")) if any(run.result.fresh for run in runs) else "",
        TIMES if any(map(gpu_of, table)) else NO_TIMES,
    ]
    for own in problems_of(table):
        whole = [run for run in own if full_size(run.cell)]
        parts += [f"## {title(whole or own)}", *map(wrapped, old_definition(own))]
        if whole:
            name, kept = picture_of(whole), in_rows(whole)
            parts += [
                f"![Macro AUC of the rows of this table](images/{name})" if name else "",
                score_table(kept),
                like_2021(kept),
                notes(whole),
                machines_note(whole),
                runs_note(whole),
                commands_note([whole]),
                equivariance_table(kept),
                time_table(whole),
                shift_table(kept),
            ]
        parts.append(few_table(own))
    parts += task_sections(runs)
    hard = in_rows([run for run in runs if run.part == "difficulty"])
    if hard:
        parts += ["## Difficulty of the problem", *map(wrapped, old_definition(hard))]
        for size in sorted(set(map(problem_size, hard))):
            parts.append(difficulty_table([run for run in hard if problem_size(run) == size]))
    if missing:
        parts += ["## Published scores, on other images", *published_tables(missing)]
    return "\n\n".join(part for part in parts if part) + "\n"


def problems_of(table: Sequence[Run]) -> list[list[Run]]:
    """Return the runs of the tables by problem, with any number of training images."""
    problems: dict[str, list[Run]] = {}
    for run in sorted(table, key=newest_last, reverse=True):
        problems.setdefault(problem_key(run.cell, any_train_size=True), []).append(run)
    return sorted(problems.values(), key=lambda own: name_of(own[0].cell))


def pictures_of(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Return the pictures of the page: name -> runs of its table."""
    tables = [
        [run for run in own if full_size(run.cell)] for own in problems_of([run for run in runs if run.part == "table"])
    ]
    return {name: table for table in tables if table and (name := picture_of(table))}


def task_sections(runs: Sequence[Run]) -> list[str]:
    """Return a section for each task and problem that were recorded, beside what networks with all labels reach."""
    problems: dict[str, list[Run]] = {}
    for run in runs:
        if run.part == "task":
            problems.setdefault(problem_key(run.cell), []).append(run)
    parts = []
    for own in sorted(problems.values(), key=lambda own: (own[0].cell.task, name_of(own[0].cell))):
        first = own[0].cell
        with_labels = [
            run
            for run in runs
            if run.part == "table"
            and (run.cell.budget, run.cell.data, run.cell.seed) == (first.budget, first.data, 0)
            and run.cell.recipe.dataset_version == first.recipe.dataset_version
            and run.cell.recipe.params == first.recipe.params
            and full_size(run.cell)
        ]
        told = [f"{TASKS} {SIGNIFICANCE} {WITH_LABELS}", ANOMALY] if first.task == "anomaly" else [f"{TASKS} {UNITS}"]
        if len({bool(run.cell.training.get("init")) for run in own if not run.cell.fits_itself}) > 1:
            told.append(STARTED)
        told = [wrapped(text.replace("\n", " ")) for text in told]
        table = named(task_table(in_rows(own), with_labels))
        parts += [f"## Task {first.task}: {title(own)}", *told, table, named(task_notes(own))]
    return parts


def named(text: str) -> str:
    """Return a text with the names of bundled weights in place of the first digits of their hashes."""
    for address, name in bundled().items():
        text = text.replace(in_words(address), name)
    return text


def task_notes(recorded: Sequence[Run]) -> str:
    """Return which images were trained on, the machines of these runs, and how their trainings differ."""
    runs = in_rows(recorded)
    results = [run.result for run in runs]
    data = results[0].data
    alone = f"Trained on {sum(data.counts['train']):,} images of {' and '.join(data.trained_on)} alone."
    names = names_of_rows(best_first(runs))
    own = [alone if data.trained_on else "", phases_note(runs), *devices_notes(recorded)]
    own += [*result_notes(results, names), missing_baseline(runs)]
    told = map(wrapped, filter(None, own))
    return "\n\n".join(filter(None, [*told, machines_note(runs), runs_note(runs)]))


def newest_last(run: Run) -> tuple[int, int, int]:
    """Return what orders problems: size of the budget, version of the data set, training images."""
    return [*BUDGETS].index(run.cell.budget), run.cell.recipe.dataset_version, run.cell.sizes["train"]


def title(runs: Sequence[Run]) -> str:
    """Return what was trained on: data set, budget, training images, and what differs from today's definition."""
    # A task may train on the images of some classes alone.
    sizes = sorted({(split_sizes(run.result) if run.part == "task" else run.cell.sizes)["train"] for run in runs})
    words = [
        name_of(runs[0].cell),
        f"budget {runs[0].cell.budget}",
        f"{' or '.join(f'{n:,}' for n in sizes)} training images",
    ]
    return ", ".join([*words, *([] if (changed := choice(runs[0])) == "nothing" else [changed])])
