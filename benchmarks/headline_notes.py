"""Notes below the tables of docs/results.md: training images, baselines, machines, run ids, what is missing."""

from __future__ import annotations

from collections.abc import Sequence

from headline_devices import displaced_note, means_note, noise_note
from headline_rows import best_first, in_rows
from headline_runs import Run, dataset_of, gpu_of, installed, name_of
from headline_tables import DIFFERENCE, PUBLISHED, area, mean
from page_parts import wrapped

from zoo import registry
from zoo.data.about import version_note
from zoo.plurals import counted
from zoo.report.notes import missing_twins, search_note
from zoo.report.tables import result_notes
from zoo.results.baselines import is_baseline
from zoo.results.comparison import names_of_rows, spread_note
from zoo.results.schema import Finished
from zoo.specs import ModelSpec

SCALARS = "baselines/scalars_boosted"
BASELINES = (SCALARS, "baselines/scalars_linear", "baselines/pca_linear", "baselines/fitted_lens")
"""Of a table of classification."""
FITTED = """\
`{name}` is given {psf}exposure and sky where all images share them, {forms} Its parameters are those of the regression,
which learns from {most:,} of the training images; the fits, which take most of its time, are not counted."""
EXACT = """\
and the forms of lens and source, all of which are exact in these models, and the halo lies in the middle of every
image: its score rests on this knowledge and is not a forecast for a survey."""
REAL_SOURCES = """\
and the form of the lens, which is exact here, and the halo lies in the middle of every image. {source}"""
LENSES = {
    "fitted_lens": ("the PSF, ", "", "It fits a Sersic profile for the source, which these galaxies are not."),
    "flexible_lens": (
        "", "It fits the width of the PSF and multipoles, too, which these models do not have.",
        "It fits the width of the PSF and multipoles, too, and a Sersic profile for the source, which these galaxies "
        "are not.",
    ),
    "shapelet_lens": (
        "the PSF, ", "It fits shapelets to the source, too, which these models do not need.",
        "It fits a Sersic profile and shapelets for the source, which describe a part of the structure of these "
        "galaxies.",
    ),
}  # fmt: skip
"""Fitted lens -> what it is given beside the rest, a sentence where sources are Sersic ellipses, and one where they are
real galaxies."""


def notes(recorded: Sequence[Run]) -> str:
    """Return the notes on a table: images of the training, baselines, settings and twins that differ or are missing.

    Args:
        recorded: Runs of one problem, with those that stand in no row.
    """
    runs = in_rows(recorded)
    results = [run.result for run in runs]
    variants = best_first(runs)
    names = names_of_rows(variants)
    found = [
        phases_note(runs),
        galaxies_note(runs[0].result),
        *devices_notes(recorded),
        earlier_networks(runs),
        *fitted_notes(runs),
        *result_notes(results, names),
        spread_note(variants),
        search_note(results, names),
        missing_twins(results, registry.twins_by_id(installed())),
        missing_baseline(runs),
    ]
    return "\n\n".join(map(wrapped, filter(None, found)))


def galaxies_note(result: Finished) -> str:
    """Return how many galaxies the test images of `real_sources` show, or "" for other images."""
    groups = result.test.image_groups
    if groups is None or groups.name != "galaxy":
        return ""
    return (
        f"The {result.test.images:,} test images show {counted(groups.values, 'galaxy')}, which no training image "
        "shows, and fresh test images show the same ones."
    )


def devices_notes(recorded: Sequence[Run]) -> list[str]:
    """Return the notes on images of a GPU among a table's, and on rows of which not all trainings had a fresh test."""
    runs = {"": in_rows(recorded)}
    return [noise_note(runs), means_note(runs), displaced_note({"": recorded}), fresh_part_note(runs[""])]


def earlier_networks(runs: Sequence[Run]) -> str:
    """Return which rows are of an earlier version of a network than the installed one, or ""."""
    names = names_of_rows(best_first(runs))
    told = {}
    for cell, name in ((run.cell, names[run.result.run_id]) for run in runs):
        version = registry.find(installed(), ModelSpec, cell.model, usable=False).version
        if cell.model_version != version:
            told[name] = (
                f"`{name}` is of version {cell.model_version} of the network, which has version {version} today."
            )
    return " ".join(told.values())


def phases_note(runs: Sequence[Run]) -> str:
    """Return on which images the networks were trained, where these changed during a training."""
    networks: dict[str, list[str]] = {}
    for variant in best_first(runs):
        cell = variant.results[0].cell
        if not cell.fits_itself:
            networks.setdefault(cell.trained_on, []).append(f"`{variant.name}`")
    alone = networks.pop("", [])
    same = len(networks) == 1 and not alone
    told = [
        f"{'All networks' if same else ', '.join(names)}: trained on {words}; validation and test images are those of "
        "the heading."
        for words, names in networks.items()
    ]
    if told and alone:
        told.append(f"{', '.join(alone)}: trained on the images of the heading alone.")
    if any("mass_scale" in phase.params for run in runs for phase in run.cell.phases):
        told.append(
            "mass_scale multiplies the published masses of the substructure; U(1,4) is drawn anew for each image."
        )
    counts = {(len(run.cell.phases), run.cell.sizes["train"]) for run in runs if run.cell.phases}
    if len(counts) == 1:
        [(phases, lenses)] = counts
        told.append(
            f"Each phase has its own images of the same {lenses:,} lenses, {phases * lenses:,} training images in all."
        )
    return " ".join(told)


def fitted_notes(runs: Sequence[Run]) -> list[str]:
    """Return what each fitted lens of the table is given that the networks have to learn."""
    told = []
    real = name_of(runs[0].cell) == "real_sources"
    for name, (psf, on_sersic, on_real) in LENSES.items():
        forms, further = (REAL_SOURCES.format(source=on_real), "") if real else (EXACT, on_sersic)
        found = [run.cell.hparams["most_images"] for run in runs if run.cell.model == f"baselines/{name}"]
        if found:
            note = FITTED.format(name=f"baselines/{name}", psf=psf, forms=forms, most=found[0])
            told.append(f"{note} {further}".rstrip())
    return told


def like_2021(runs: Sequence[Run]) -> str:
    """Return how images in the form of 2021 differ from those of the published scores, or "" for other images."""
    recipe = runs[0].cell.recipe
    if name_of(runs[0].cell) != "published" or recipe.params.get("conserve_mass") != "none":
        return ""
    theirs = ", ".join(f"{name} {area(areas[-1])}" for name, areas in PUBLISHED["modelB"].items())
    size = recipe.params["image_size"]
    return wrapped(
        "Images in the form of Model B as it was released in 2021: substructure adds its mass, lenses have nearly one "
        "orientation, each image is stretched to its own minimum and maximum. The published micro AUC on those images: "
        f"{theirs}. They have 150 x 150 pixels and not {size} x {size}, 75,000 training images and not "
        f"{runs[0].cell.sizes['train']:,}, and a PSF that was not published; those that were measured have Model A's "
        "noise and not Model B's, which is harder; their checkpoints were chosen on the test images."
    )


def missing_baseline(runs: Sequence[Run]) -> str:
    """Return a sentence on the baselines that a table lacks, with the command of the first, or ""."""
    first = runs[0].cell
    there = {run.cell.model for run in runs if is_baseline(run.cell, dataset_of(run))}
    if first.task:
        return "" if there else "No baseline is recorded for this table."
    if not there:
        return (
            f"No baseline is recorded for this table: zoo bench --model {SCALARS} --data {first.data}, with the other "
            "options of this table"
        )
    missing = [name for name in BASELINES if name not in there]
    return f"Baselines that this table lacks: {', '.join(f'`{name}`' for name in missing)}." if missing else ""


def fresh_part_note(runs: Sequence[Run]) -> str:
    """Return the means of the trainings with a fresh test in rows that have others without, or "" without such rows."""
    told = []
    for row in best_first(runs):
        tested = {result.run_id[:4]: result for result in row.results if result.fresh}
        if 0 < len(tested) < len(row.results):
            fresh = area(mean([result.fresh.scores.headline.value for result in tested.values()]))
            test = area(mean([result.test.headline.value for result in tested.values()]))
            told.append(
                f"`{row.name}` ({' '.join(tested)}) fresh test {fresh}, test {test}, test - fresh "
                f"{DIFFERENCE.cell(*tested.values())}"
            )
    text = "Fresh tests, where only some trainings of a row have one, with their run ids"
    return f"{text}: {'; '.join(told)}." if told else ""


def fresh_note(runs: Sequence[Run]) -> str:
    """Return how many intervals of the difference from a fresh test exclude 0, of how many, and of which rows."""
    tested = [run for run in runs if run.result.fresh]
    beyond = [run for run in tested if not run.result.fresh.interval[0] <= 0 <= run.result.fresh.interval[1]]
    rows = [
        f"`{run.cell.model}` on {name_of(run.cell)}, run {run.result.run_id[:4]} ({run.result.fresh.difference:+.4f})"
        for run in beyond
    ]
    chance = f"{len(tested) / 20:.0f} are expected by chance"
    told = f"{len(beyond)} of the {len(tested)} recorded intervals exclude 0; {chance}"
    return f"{told}: {', '.join(rows)}." if rows else f"{told}."


def machines_note(runs: Sequence[Run]) -> str:
    """Return what the runs were computed on, each machine once."""
    found = set()
    for run in runs:
        about = run.result.environment
        torch = about.libraries["torch"]
        found.add(f"{gpu_of(run) or 'no GPU'}, {about.processor}, {counted(about.threads, 'thread')}, torch {torch}")
    return wrapped(f"Machines: {'; '.join(sorted(found))}.")


def runs_note(runs: Sequence[Run]) -> str:
    """Return what a citation needs: version of the images, precision of the trainings, run ids of each row."""
    versions = sorted({run.cell.recipe.dataset_version for run in runs})
    precisions = {run.cell.precision or "fp32" for run in runs if not run.cell.fits_itself}
    told = (
        f"`{variant.name}` {' '.join(result.run_id[:4] for result in variant.results)}" for variant in best_first(runs)
    )
    return wrapped(
        f"Images of version {' and '.join(map(str, versions))} of {runs[0].cell.data}. "
        + (f"Precision of the trainings: {next(iter(precisions))}. " if len(precisions) == 1 else "")
        + f"Runs, by the first digits of their ids in the record: {'; '.join(told)}."
    )


def old_definition(runs: Sequence[Run]) -> list[str]:
    """Return one sentence for each data set whose runs have images of an earlier version."""
    notes = {version_note(dataset_of(run), run.cell.recipe.dataset_version) for run in runs}
    return [f"**Images {note}.** These scores are of the old definition." for note in sorted(notes) if note]
