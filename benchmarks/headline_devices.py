"""Notes on where images were rendered and networks trained, below the tables of docs/results.md and of the README."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headline_rows import best_first, displaced, on_images_of_gpu
from headline_runs import Run, dataset_of, gpu_of
from headline_tables import area
from page_parts import enumerated

from zoo.results.baselines import is_baseline
from zoo.results.comparison import names_of_rows


def noise_note(tables: Mapping[str, Sequence[Run]]) -> str:
    """Return which trainings saw images with the noise of a GPU, or "" where no table has images of both devices.

    Args:
        tables: Where, such as "on Model A" or "" for one table -> its runs.
    """
    told = []
    for where, runs in tables.items():
        if len({run.cell.recipe.device_type for run in runs}) > 1:
            told += [f"{where} those of {who}".strip() for who in of_gpu(runs)]
    if not told:
        return ""
    return (
        f"Trainings on images that were rendered on a GPU: {'; '.join(told)}. Their test images are the same lenses as "
        "those of the others, with other noise of the same strength, so scores on images of both kinds are not paired."
    )


def of_gpu(runs: Sequence[Run]) -> list[str]:
    """Return in words the trainings of a table on images that were rendered on a GPU, by their seeds."""
    rows = best_first(runs)
    networks = [f"`{row.name}`" for row in rows if not is_baseline(row.results[0].cell, dataset_of(runs[0]))]
    by_seeds: dict[str, list[str]] = {}
    for row in rows:
        if seeds := [str(result.cell.seed) for result in row.results if on_images_of_gpu(result.cell)]:
            words = f"seed{'s' if len(seeds) > 1 else ''} {enumerated(seeds)}"
            by_seeds.setdefault(words, []).append(f"`{row.name}`")
    return [
        f"{'all networks' if names == networks else enumerated(names)} with {seeds}"
        for seeds, names in by_seeds.items()
    ]


def means_note(tables: Mapping[str, Sequence[Run]]) -> str:
    """Return the single scores behind each mean over images of a GPU and of a CPU, or "" without one.

    Args:
        tables: As of `noise_note`.
    """
    told = []
    for where, runs in tables.items():
        for row in best_first(runs):
            if len({result.cell.recipe.device_type for result in row.results}) > 1:
                areas = (
                    f"{area(result.test.headline.value)} ({result.run_id[:4]}"
                    f"{', GPU' if on_images_of_gpu(result.cell) else ''})"
                    for result in row.results
                )
                told.append(" ".join(filter(None, (f"`{row.name}`", where, ", ".join(areas)))))
    if not told:
        return ""
    return (
        "Trainings behind means over images of a CPU and of a GPU, with run ids (GPU: on its images): "
        f"{'; '.join(told)}. The interval of such a mean holds the difference of the noise, too."
    )


def displaced_note(tables: Mapping[str, Sequence[Run]]) -> str:
    """Return the trainings that stand in no row, since one with the same seed and settings does, or "" without any.

    Args:
        tables: As of `noise_note`, with the runs that stand in no row.
    """
    told = []
    for where, runs in tables.items():
        names = names_of_rows(best_first(runs))
        told += [
            " ".join(filter(None, (f"`{names[kept.result.run_id]}`", where, f"seed {kept.cell.seed}")))
            + f" {area(other.result.test.headline.value)} ({other.result.run_id[:4]}; in the row: "
            f"{kept.result.run_id[:4]})"
            for kept, other in displaced(runs)
        ]
    if not told:
        return ""
    return (
        "Of two trainings with the same seed and settings, on images that were rendered on a CPU and on a GPU, the row "
        "holds the one on images of the CPU. The scores of the other, which is in the record and counts for no mean: "
        f"{'; '.join(told)}."
    )


def times_note(runs: Sequence[Run]) -> str:
    """Return how long the trainings took on each GPU and on CPUs, or "" where they were all on one of these."""
    minutes: dict[str, list[float]] = {}
    for run in runs:
        if not is_baseline(run.cell, dataset_of(run)):
            minutes.setdefault(gpu_of(run) or "a CPU", []).append(run.result.seconds / 60)
    if len(minutes) < 2:
        return ""
    spans = []
    for where, some in sorted(minutes.items()):
        low, high = f"{min(some):.0f}", f"{max(some):.0f}"
        spans.append(f"{low if low == high else f'{low} to {high}'} minutes on {where}")
    return f"Trainings took {enumerated(spans)}, beside other work, so their times do not rank networks."
