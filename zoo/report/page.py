"""The report as one HTML file: it needs no server, no network and no other file."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import Any

from zoo.data.about import budget_note, shown_params
from zoo.errors import DataError
from zoo.paths import make_dir, write_text
from zoo.report import charts
from zoo.report.blocks import MOST_SERIES, image_blocks, run_table, score_table
from zoo.report.charts import Digests
from zoo.report.digest import Digest, read_digest
from zoo.report.problems import Problem
from zoo.report.svg import SERIES
from zoo.report.tables import accumulation_note, result_notes
from zoo.results.cell import Cell
from zoo.results.comparison import MACRO, Variant, estimate
from zoo.results.schema import Finished
from zoo.results.store import Unreadable, split_sizes
from zoo.schema import plain
from zoo.specs import DatasetSpec
from zoo.version import __version__

_TITLE = "Which dark matter? Networks on strong lenses, compared"


def write_page(
    problems: Sequence[Problem],
    rest: Sequence[Unreadable],
    path: Path,
    *,
    title: str = _TITLE,
    datasets: Mapping[str, DatasetSpec] = MappingProxyType({}),
) -> None:
    """Write the page.

    Args:
        problems: what to show.
        rest: folders of the store that hold no result that can be shown; they are named.
        path: of the HTML file.
        title: heading of the page.
        datasets: Id -> spec of the data sets that are installed; see `zoo.registry.datasets_by_id`.

    Raises:
        DataError: the file cannot be written.
    """
    make_dir(path.absolute().parent)
    write_text(path, _page(problems, rest, title, datasets))


def _page(
    problems: Sequence[Problem], rest: Sequence[Unreadable], title: str, datasets: Mapping[str, DatasetSpec]
) -> str:
    here = Path(__file__)
    style, script = (here.with_name(f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    names = _names(problems)
    links = "".join(f'<a href="#p{index}">{escape(name)}</a>' for index, name in enumerate(names))
    sections = "".join(
        _section(problem, name, f"p{index}", datasets.get(problem.results[0].cell.data))
        for index, (problem, name) in enumerate(zip(problems, names, strict=True))
    )
    runs = sum(len(problem.results) for problem in problems)
    models = {variant.model for problem in problems for variant in problem.variants}
    # The one script of the page runs, by its hash, and no other that a value of a store might bring in.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
<header>
<div class="wrap">
<button id="theme" type="button" aria-label="Switch between light and dark">light / dark</button>
<h1>{escape(title)}</h1>
<p class="lead">{runs:,} runs of {len(models)} network{"s" if len(models) != 1 else ""} on {len(problems)}
problem{"s" if len(problems) != 1 else ""}. Every network of a problem saw the same images, and was tested once, on
images that were opened after its weights were fixed.</p>
<nav>{links}<a href="#environment">environment</a></nav>
</div>
</header>
<main class="wrap">
{sections}
{_environment(problems, rest)}
</main>
<footer class="wrap">Written by <code>zoo report --html</code>, zoo {escape(__version__)}.</footer>
<script>{script}</script>
</body>
</html>
"""


def _names(problems: Sequence[Problem]) -> list[str]:
    """Return a short name for each problem, with the values that distinguish it from the others."""
    cells = [problem.results[0].cell for problem in problems]
    names = []
    for cell in cells:
        dataset = cell.data.rpartition("/")[2]
        same = [other for other in cells if other.data == cell.data]
        labels = map(_labels, same)
        told = [label for label, *others in zip(_labels(cell), *labels, strict=True) if len(set(others)) > 1]
        told += [
            f"{name} {value}"
            for name, value in cell.recipe.params.items()
            if any(other.recipe.params.get(name) != value for other in same)
            and len({other.budget for other in same}) == 1
        ]
        names.append(" · ".join([dataset, *told]))
    return names


def _labels(cell: Cell) -> tuple[str, ...]:
    """Return what a problem may be named by beside its data set."""
    return (
        cell.budget,
        f"{cell.sizes['train']:,} images",
        cell.task or "all classes",
        f"rule {cell.rule}",
        cell.precision,
    )


def _section(problem: Problem, name: str, anchor: str, dataset: DatasetSpec | None) -> str:
    cell = problem.results[0].cell
    recipe = cell.recipe
    sizes = split_sizes(next((each for each in problem.results if each.status == "ok"), problem.results[0]))
    about = [
        f"{recipe.dataset}",
        *([f"task {cell.task}"] if cell.task else []),
        f"budget {cell.budget}",
        f"{sizes['train']:,} training, {sizes['val']:,} validation, {sizes['test']:,} test images",
        f"rule {cell.rule}",
        f"{cell.precision}",
        *shown_params(dataset, recipe.params),
    ]  # fmt: skip
    note = budget_note(cell.budget, dataset)
    failed = [result for result in problem.results if result.status != "ok"]
    parts = [
        f'<section id="{anchor}"><h2>{escape(name)}</h2><p class="about">{escape(" · ".join(about))}</p>',
        f'<p class="note">{escape(note)}</p>' if note else "",
    ]
    if problem.variants:
        parts.append(_results(problem, anchor, {} if dataset is None else dataset.slices))
    if failed:
        rows = "".join(
            f"<tr><td>{escape(result.cell.model)}</td><td>{result.cell.seed}</td>"
            f"<td>{escape(result.status)}</td><td>{escape(result.error)}</td></tr>"
            for result in failed
        )
        parts.append(
            '<h3>Failed</h3><div class="scroll"><table><thead><tr><th>model</th><th>seed</th><th>status</th>'
            f"<th>cause</th></tr></thead><tbody>{rows}</tbody></table></div>"
        )
    return "".join([*parts, "</section>"])


def _results(problem: Problem, anchor: str, labels: Mapping[str, str]) -> str:
    """Return table and charts of the variants that ended well."""
    digests, lost = _digests(problem.variants, labels)
    shown = problem.variants[:MOST_SERIES]
    classes = shown[0].results[0].classes
    pairs = [one for one in problem.comparisons if one.score == MACRO]
    legend = "".join(
        f'<button type="button" class="key" data-series="{index}" aria-pressed="true">'
        f'<i class="swatch c{index % SERIES}"></i>{escape(variant.name)}</button>'
        for index, variant in enumerate(shown)
    )
    limited = f" The charts show the best {MOST_SERIES}." if len(problem.variants) > MOST_SERIES else ""
    curve = charts.learning_panel(problem.curves, [variant.name for variant in shown])
    slices = charts.slice_panels(shown, digests)
    memory = filter(None, (accumulation_note(result) for variant in problem.variants for result in variant.results))
    told = [*result_notes([result for variant in problem.variants for result in variant.results]), *problem.notes]
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in [*told, *lost, *memory])
    roc_whole, roc_corner = (charts.roc_panels(shown, digests, classes, corner=corner) for corner in (False, True))
    blocks = [
        f'<p class="headline">{_headline(problem)}</p>',
        score_table(problem.variants, classes),
        notes,
        f'<div class="legend" role="group" aria-label="Networks shown in the charts">{legend}</div>'
        f'<p class="about">Press a network to hide it.{limited}</p>',
        f"<h3>ROC curves</h3><p>One class against the rest, mean over seeds, with 95 % bootstrap bands over images.</p>"
        f'<div class="tabs" data-tabs><button type="button" aria-pressed="true" data-tab="whole">whole</button>'
        f'<button type="button" aria-pressed="false" data-tab="corner">corner</button></div>'
        f'<div class="grid" data-panel="whole">{roc_whole}</div>'
        f'<div class="grid" data-panel="corner" hidden>{roc_corner}</div>',
        f"<h3>Who is better?</h3>{_fold(charts.difference_rows(pairs), f'{len(pairs)} pairs', len(pairs) > 10)}"
        "<p>Difference of macro AUC on the same test images, with the error of the images (DeLong) and, where there "
        "are several seeds, of the seeds; p-values corrected for the number of pairs (Holm).</p>"
        if pairs
        else "",
        f"<h3>Learning curves</h3>{curve}" if curve else "",
        f"<h3>By the physics of the scene</h3><p>In slices of as many images each. Of a parameter that only some "
        f'classes have: images of one class against all others.</p><div class="grid">{slices}</div>'
        if slices
        else "",
        f'<h3>Confusion</h3><p>Per cent of a true class (rows).</p><div class="grid">'
        f"{charts.confusion_tables(shown, classes)}</div>",
        f'<div class="two"><div><h3>Calibration</h3>{charts.reliability_panel(shown, digests)}</div>'
        f"<div><h3>Equivariance</h3>{charts.equivariance_panel(shown)}</div></div>",
        f"<h3>Cost against score</h3><p>The dashed line joins networks that nothing cheaper beats.</p>"
        f'<div class="grid">{charts.cost_panels(shown)}</div>',
        image_blocks(problem.variants),
        run_table(problem.variants),
    ]
    return f'<div class="problem" data-problem="{anchor}">{"".join(blocks)}</div>'


def _fold(content: str, label: str, folded: bool) -> str:
    return f"<details><summary>{escape(label)}</summary>{content}</details>" if folded else content


def _digests(variants: Sequence[Variant], labels: Mapping[str, str]) -> tuple[Digests, list[str]]:
    """Return the digest of every run, and sentences on the runs without readable predictions."""

    def read(result: Finished) -> Digest | DataError:
        try:
            return read_digest(result, labels=labels)
        except DataError as error:
            return error

    runs = [(variant.name, result) for variant in variants for result in variant.results]
    # Threads: sorting and drawing random numbers leave the interpreter free, and so does the disk.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(read, (result for _, result in runs)))
    digests = {run.run_id: digest for (_, run), digest in zip(runs, found, strict=True) if isinstance(digest, Digest)}
    lost = [
        f"{name}: no curves, because: {error}"
        for (name, _), error in zip(runs, found, strict=True)
        if isinstance(error, DataError)
    ]
    return digests, lost


def _headline(problem: Problem) -> str:
    """Return the leading network and the networks that differ significantly from it."""
    best = problem.variants[0]
    value = estimate(best.results)
    several = f", mean of {value.seeds} seeds" if value.seeds > 1 else ""
    lead = (
        f"<b>{escape(best.name)}</b> reaches the highest macro AUC, <b>{value.auc:.4f}</b> "
        f"(95 % {value.low:.4f} to {value.high:.4f}{several})."
    )
    mine = [one for one in problem.comparisons if one.score == MACRO and best.name in (one.first, one.second)]
    ahead = [one.second for one in mine if one.found and one.first == best.name]
    level = [one.second if one.first == best.name else one.first for one in mine if not one.found]
    if ahead:
        lead += f" It is ahead of {_listed(ahead)} beyond chance."
    if level:
        lead += f" No difference was found to {_listed(level)}."
    return f"{escape(problem.caution)} {lead}".strip()


def _listed(names: Sequence[str]) -> str:
    shown = [escape(name) for name in names[:6]] + ([f"{len(names) - 6} more"] if len(names) > 6 else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _environment(problems: Sequence[Problem], rest: Sequence[Unreadable]) -> str:
    """Return machines and versions, and the folders that could not be shown."""
    kinds: dict[str, tuple[dict[str, Any], int]] = {}
    for problem in problems:
        for result in problem.results:
            about = {} if result.environment is None else plain(result.environment)
            flat = _flat({**about, "distributions": result.cell.versions})
            key = json.dumps(flat, sort_keys=True, default=str)
            kinds[key] = (flat, kinds.get(key, (flat, 0))[1] + 1)
    blocks = ""
    for flat, count in kinds.values():
        rows = "".join(f"<tr><th>{escape(key)}</th><td>{escape(str(value))}</td></tr>" for key, value in flat.items())
        summary = f"{count} run{'s' if count > 1 else ''} on {flat.get('gpu') or flat.get('processor', 'a machine')}"
        blocks += (
            f"<details><summary>{escape(summary)}, torch {escape(str(flat.get('torch', '?')))}</summary>"
            f'<div class="scroll"><table class="plain">{rows}</table></div></details>'
        )
    if rest:
        items = "".join(
            f"<li><code>{escape('/'.join(entry.run_dir.parts[-3:]))}</code>: {escape(entry.cause)}</li>"
            for entry in rest
        )
        blocks += f"<details><summary>{len(rest)} cells without a result to show</summary><ul>{items}</ul></details>"
    return f'<section id="environment"><h2>Environment</h2>{blocks}</section>'


def _flat(content: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= _flat(value)
        else:
            flat[key] = value
    return flat
