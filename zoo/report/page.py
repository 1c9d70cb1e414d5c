"""The report as one HTML file: it needs no server, no network and no other file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

from zoo.data.about import budget_note, portable, shown_params, shows_lenses, version_note
from zoo.errors import DataError, MissingError, ZooError
from zoo.paths import make_dir, write_text
from zoo.plurals import counted
from zoo.processor import usable_cores
from zoo.report import charts, curves, estimates
from zoo.report.blocks import (
    MOST_SERIES,
    confusion_tables,
    difference_csv,
    difference_rows,
    run_rows,
    score_table,
)
from zoo.report.column_notes import column_notes
from zoo.report.columns import precisions
from zoo.report.equivariance import equivariance_panel
from zoo.report.figures import Digests, breakable, csv_address, file_stem
from zoo.report.images import examples, mistakes
from zoo.report.notes import missing_twins, search_note, training_notes
from zoo.report.problems import Problem
from zoo.report.svg import SERIES
from zoo.report.tables import accumulation_note, result_notes
from zoo.report.text import to_csv
from zoo.results.cell import Cell
from zoo.results.comparison import MACRO, Variant, estimate, names_of_rows, spread_note
from zoo.results.digest import Digest, read_digest
from zoo.results.schema import Finished
from zoo.results.store import Unreadable, split_sizes
from zoo.results.tasks import task_of_result
from zoo.schema import plain
from zoo.specs import DatasetSpec
from zoo.tasks.find import CORE, Tasks
from zoo.version import __version__

_TEMPLATES = Path(__file__).with_name("templates")
_TITLE, _OF_LENSES = "Networks, compared", "Which dark matter? Networks on strong lenses, compared"


def write_page(
    problems: Sequence[Problem],
    rest: Sequence[Unreadable],
    path: Path,
    *,
    title: str = "",
    datasets: Mapping[str, DatasetSpec] = MappingProxyType({}),
    twins: Mapping[str, Sequence[str]] = MappingProxyType({}),
    tasks: Tasks = CORE,
) -> None:
    """Write the page.

    Args:
        problems: Problems that the page shows.
        rest: Folders of the store without a result that can be shown; the page names them.
        path: Path of the HTML file.
        title: Heading of the page; "" for one that fits the data sets.
        datasets: Id -> spec of the data sets that are installed; see `zoo.registry.datasets_by_id`.
        twins: Id -> plain twins of a model; see `zoo.registry.twins_by_id`.
        tasks: Tasks that are installed; see `zoo.tasks.find.tasks_by_name`.

    Raises:
        DataError: The file cannot be written.
    """
    make_dir(path.absolute().parent)
    write_text(path, _page(problems, rest, title, datasets, twins, tasks))


def _page(
    problems: Sequence[Problem],
    rest: Sequence[Unreadable],
    title: str,
    datasets: Mapping[str, DatasetSpec],
    twins: Mapping[str, Sequence[str]],
    tasks: Tasks,
) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # Every value that enters the page is escaped by the engine; SVG from zoo.report.svg is marked as safe there.
    engine = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)
    engine.filters |= {"counted": counted, "file_stem": file_stem, "breakable": breakable}
    style, script = ((_TEMPLATES / f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    # The one script of the page runs, by its hash, and no other that a value of a store might bring in.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    problems = sorted(problems, key=lambda problem: not problem.variants)  # what was tested comes first
    tested = [variant for problem in problems for variant in problem.variants]
    recipes = [problem.results[0].cell.recipe for problem in problems]
    lenses = all(shows_lenses(datasets.get(one.dataset), simulated=one.simulator is not None) for one in recipes)
    return engine.get_template("page.html").render(
        title=title or (_OF_LENSES if lenses else _TITLE),
        version=__version__,
        style=style,
        script=script,
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:",
        runs=sum(len(variant.results) for variant in tested),
        models=len({variant.model for variant in tested}),
        tested=sum(bool(problem.variants) for problem in problems),
        failed=sum(result.status != "ok" for problem in problems for result in problem.results),
        problems=[
            _section(problem, name, f"p{index}", datasets.get(problem.results[0].cell.data), twins, tasks)
            for index, (problem, name) in enumerate(zip(problems, _names(problems), strict=True))
        ],
        machines=_machines(problems),
        rest=[("/".join(entry.run_dir.parts[-3:]), entry.cause) for entry in rest],
    )


def _names(problems: Sequence[Problem]) -> list[str]:
    """Return a short name for each problem, with the values that distinguish it from the others."""
    cells = [problem.results[0].cell for problem in problems]
    names = []
    for cell in cells:
        dataset = cell.data.rpartition("/")[2]
        same = [other for other in cells if other.data == cell.data]
        labels = map(_labels, same)
        distinct = [label for label, *others in zip(_labels(cell), *labels, strict=True) if len(set(others)) > 1]
        distinct += [
            f"{name} {portable(value, cell.recipe.content.get(name, ''))}"
            for name, value in cell.recipe.params.items()
            if any(other.recipe.params.get(name) != value for other in same)
            and len({other.budget for other in same}) == 1
        ]
        names.append(" · ".join([dataset, *distinct]))
    return names


def _labels(cell: Cell) -> tuple[str, ...]:
    """Return what a problem may be named by beside its data set."""
    return (
        cell.budget,
        counted(cell.sizes["train"], "image"),
        cell.task or "all classes",
        f"rule {cell.rule}",
        f"{cell.sizes.get('val', 0):,} for validation",
        f"{cell.sizes.get('test', 0):,} for testing",
        f"simulator {cell.recipe.simulator}",
        f"images of seed {cell.recipe.seed}",
    )


def _section(
    problem: Problem,
    name: str,
    anchor: str,
    dataset: DatasetSpec | None,
    twins: Mapping[str, Sequence[str]],
    tasks: Tasks,
) -> dict[str, Any]:
    """Return the values of one problem for the template."""
    cell = problem.results[0].cell
    recipe = cell.recipe
    size = budget_note(
        cell.budget, dataset, recipe.params, sizes=[result.cell.sizes for result in problem.results],
        simulated=recipe.simulator is not None,
    )  # fmt: skip
    old = version_note(dataset, recipe.dataset_version)
    sizes = split_sizes(next((each for each in problem.results if each.status == "ok"), problem.results[0]))
    about = [
        f"{recipe.dataset}",
        *([f"task {cell.task}"] if cell.task else []),
        f"budget {cell.budget}",
        f"{sizes['train']:,} training, {sizes['val']:,} validation, {counted(sizes['test'], 'test image')}",
        f"rule {cell.rule}",
        " and ".join(precisions(problem.results)),
        *shown_params(dataset, recipe.params, recipe.content),
    ]  # fmt: skip
    return {
        "name": name,
        "anchor": anchor,
        "about": about,
        "note": "; ".join(filter(None, (size, f"images {old}" if old else ""))),
        "results": _results(problem, dataset, twins, tasks) if problem.variants else None,
        "failed": [result for result in problem.results if result.status != "ok"],
    }


def _results(
    problem: Problem, dataset: DatasetSpec | None, twins: Mapping[str, Sequence[str]], tasks: Tasks
) -> dict[str, Any]:
    """Return tables and charts of the variants that ended well."""
    shown = problem.variants[:MOST_SERIES]
    digests, lost = _digests(shown, {} if dataset is None else dataset.slices, tasks)
    pictures = _pictures(problem, tasks)
    standing = problem.standing({} if dataset is None else {dataset.id: dataset})
    roc = curves.roc_panels(shown, digests, low_rates=False) if "roc" in pictures else []
    classes = shown[0].results[0].classes
    results = [result for variant in problem.variants for result in variant.results]
    names = names_of_rows(problem.variants)
    memory = [accumulation_note(result, names) for result in results]
    notes = [*result_notes(results, names), *training_notes(results, dataset, names), *column_notes(results)]
    notes += [*problem.notes, spread_note(problem.variants), search_note(results, names)]
    notes.append(missing_twins(problem.results, twins))
    return {
        **_headline(problem),
        "csv": csv_address(to_csv(problem.results, standing=standing)),
        "table": score_table(problem.variants, classes, standing=standing),
        "notes": list(filter(None, [*standing.footnotes, *notes, *lost, *memory])),
        "legend": [variant.name for variant in shown],
        "colours": SERIES,
        "limited": f" The charts show the best {MOST_SERIES}." if len(problem.variants) > MOST_SERIES else "",
        "roc": roc,
        "bands_over": "groups of images" if any(run.test.image_groups for run in results) else "images",
        "near_one": curves.near_one(shown, roc),
        "roc_low": curves.roc_panels(shown, digests, low_rates=True) if "roc at low rates" in pictures else [],
        "histograms": curves.histogram_panels(shown, digests),
        "scatter": estimates.scatter_panels(shown, digests),
        "ranks": estimates.rank_panels(shown, digests),
        "pairs": difference_rows([one for one in problem.comparisons if one.score == MACRO]),
        "pairs_csv": difference_csv(problem.comparisons),
        "metrics": [
            {"name": name, "better": rows[0].better, "pairs": difference_rows(rows)}
            for name in problem.metrics
            if (rows := [one for one in problem.comparisons if one.better is not None and one.score == name])
        ],
        "curve": charts.learning_panel(problem.curves, [variant.name for variant in shown]),
        "slices": charts.slice_panels(shown, digests),
        "others": "all normal images" if shown[0].results[0].data.trained_on else "all others",
        "confusion": confusion_tables(shown, classes) if "confusion" in pictures else [],
        "reliability": charts.reliability_panel(shown, digests) if "reliability" in pictures else [],
        **_mistakes_words(pictures),
        "equivariance": equivariance_panel(shown),
        "cost": charts.cost_panels(shown),
        "examples": examples(problem.variants),
        "mistakes": mistakes(problem.variants[0]),
        "runs": run_rows(problem.variants),
    }


def _mistakes_words(pictures: Sequence[str]) -> dict[str, str]:
    """Return heading and explanation of the few test images that are shown."""
    if "confusion" in pictures:
        title, about = "Largest errors", "Test images of each class with the lowest probability of the true class."
    elif "predicted against true" in pictures:
        title, about = "Largest errors", "Test images with the largest CRPS."
    else:
        title = "Highest scores"
        about = (
            "Test images of each class with the highest scores. For a network that reconstructs images, below each: "
            "the reconstruction, and the residual over the noise of the pixels, from -5 (blue) to 5 (red)."
        )
    return {"mistakes_title": title, "mistakes_about": about}


def _pictures(problem: Problem, tasks: Tasks) -> Sequence[str]:
    """Return the pictures that the task of a problem declares; none where its plugin is absent."""
    try:
        return task_of_result(problem.variants[0].results[0], tasks=tasks).pictures
    except MissingError:
        return ()


def _digests(variants: Sequence[Variant], labels: Mapping[str, str], tasks: Tasks) -> tuple[Digests, list[str]]:
    """Return the digest of every run, and sentences on the runs without readable predictions."""

    def read(result: Finished) -> Digest | ZooError:
        try:
            return read_digest(result, labels=labels, tasks=tasks)
        except (DataError, MissingError) as error:
            return error

    runs = [(variant.name, result) for variant in variants for result in variant.results]
    # Threads: sorting and drawing random numbers leave the interpreter free, and so does the disk.
    with ThreadPoolExecutor(usable_cores()) as pool:
        found = list(pool.map(read, (result for _, result in runs)))
    digests = {run.run_id: digest for (_, run), digest in zip(runs, found, strict=True) if isinstance(digest, Digest)}
    lost = [
        f"{name}: no curves, because: {error}"
        for (name, _), error in zip(runs, found, strict=True)
        if isinstance(error, ZooError)
    ]
    return digests, lost


def _headline(problem: Problem) -> dict[str, Any]:
    """Return the leading network, and sentences on its differences from the others."""
    best = problem.variants[0]
    value = estimate(best.results)
    several = f", mean of {counted(value.seeds, 'seed')}" if value.seeds > 1 else ", one training"
    mine = [one for one in problem.comparisons if one.score == MACRO and best.name in (one.first, one.second)]
    others: dict[str, list[str]] = {}
    for one in mine:
        others.setdefault(one.verdict, []).append(one.second if one.first == best.name else one.first)
    return {
        "caution": problem.caution,
        "best": best.name,
        "score": f"{value.score:.4f}",
        "label": value.label,
        "direction": "highest" if value.higher_is_better else "lowest",
        "interval": f"95 % {value.low:.4f} to {value.high:.4f}{several}",
        "sentences": [sentence.format(_listed(others[key])) for key, sentence in _AGAINST.items() if key in others],
    }


_AGAINST = {
    "higher": "It is ahead of {} beyond chance.",
    "trainings differ": "The trainings differ from those of {}.",
    "trainings alike": "The trainings do not differ beyond chance from those of {}.",
    "too few trainings": "There are too few trainings to tell it from {}.",
    "too few images": "There are too few test images to tell it from {}.",
    "none found": "No difference was found to {}.",
}
"""Verdict -> sentence on the leading network."""


def _listed(names: Sequence[str]) -> str:
    shown = [*names[:6], *([f"{len(names) - 6} more"] if len(names) > 6 else [])]
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else "".join(shown)


def _machines(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """Return machines and versions, with the number of runs of each."""
    kinds: dict[str, dict[str, Any]] = {}
    for problem in problems:
        for result in problem.results:
            if result.cell.predictions:  # the machine that scored them is of no interest
                continue
            about = {} if result.environment is None else plain(result.environment)
            device = result.device.partition(":")[0] if result.status == "ok" else ""
            flat = _flat({**({"device": device} if device else {}), **about, "distributions": result.cell.versions})
            # A training on the CPU of a machine with a GPU is not one on the GPU.
            name = (device != "cpu" and flat.get("gpu")) or flat.get("processor", "a machine")
            key = json.dumps(flat, sort_keys=True, default=str)
            machine = {"values": flat, "name": name, "torch": flat.get("torch", "?"), "count": 0}
            kinds.setdefault(key, machine)["count"] += 1
    return list(kinds.values())


def _flat(content: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= _flat(value)
        else:
            flat[key] = value
    return flat
