"""What the page holds of a problem beside its charts, as HTML: the table of scores, images, and the runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from zoo.errors import DataError
from zoo.report import charts
from zoo.report.charts import words
from zoo.report.svg import SERIES, series_class, short
from zoo.report.thumbnails import data_address
from zoo.results.comparison import MACRO, Variant, estimate
from zoo.results.schema import Finished
from zoo.results.store import EXAMPLES, MISTAKES, read_arrays

MOST_SERIES = 12
"""Variants that the charts of one problem show; the table shows all."""


def score_table(variants: Sequence[Variant], classes: Sequence[str]) -> str:
    """Return the table that a reader sorts, a row a variant, best first."""
    estimates = [estimate(variant.results) for variant in variants]
    limits = (min(value.low for value in estimates), max(value.high for value in estimates))
    limits = limits if limits[1] > limits[0] else (0.0, 1.0)
    per_class = classes if len(classes) > 2 else []
    headings = [
        "model", "seeds", "macro AUC" if per_class else "AUC", "95 %", *(words(name) for name in per_class),
        *(column.heading for column in _COLUMNS),
    ]  # fmt: skip
    rows = []
    for index, (variant, value) in enumerate(zip(variants, estimates, strict=True)):
        style = series_class(index) if index < MOST_SERIES else "none"
        swatch = f'<i class="swatch c{index % SERIES}"></i>' if index < MOST_SERIES else ""
        spread = f" <small>± {value.spread:.4f}</small>" if value.seeds > 1 else ""
        bar = charts.interval_bar(value.low, value.auc, value.high, limits=limits, style=style, zero=False)
        means = [(_mean([column.value(result) for result in variant.results]), column) for column in _COLUMNS]
        cells = [
            (variant.name, f"{swatch}{escape(variant.name)}"),
            (value.seeds, str(value.seeds)),
            (value.auc, f"<b>{value.auc:.4f}</b>{spread}"),
            (value.low, f'<span title="{value.low:.4f} to {value.high:.4f}">{bar}</span>'),
            *((area, f"{area:.4f}") for area in (sum(variant.auc(name)) / value.seeds for name in per_class)),
            *((mean, column.text(mean) if math.isfinite(mean) else "–") for mean, column in means),
        ]
        rows.append(
            "<tr>"
            + "".join(
                f'<td data-value="{escape(str(raw), quote=True)}"{"" if column else " class=name"}>{shown}</td>'
                for column, (raw, shown) in enumerate(cells)
            )
            + "</tr>"
        )
    head = "".join(
        f'<th scope="col" aria-sort="{"descending" if column == 2 else "none"}">'
        f'<button type="button">{escape(heading)}</button></th>'
        for column, heading in enumerate(headings)
    )
    return (
        f'<div class="scroll"><table class="sortable"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


@dataclass(frozen=True, kw_only=True)
class _Column:
    """A number of each run that the table shows as a mean over seeds.

    Args:
        heading: Heading of the column.
        value: Number of a run.
        text: Number for a reader.
    """

    heading: str
    value: Callable[[Finished], float]
    text: Callable[[float], str]


_COLUMNS = (
    _Column(heading="accuracy", value=lambda result: result.test.accuracy, text="{:.3f}".format),
    _Column(heading="calibration error", value=lambda result: result.test.ece, text="{:.3f}".format),
    _Column(heading="equivariance error", value=lambda result: result.equivariance.trained.error, text="{:.0e}".format),
    _Column(heading="parameters", value=lambda result: result.cost.parameters, text="{:,.0f}".format),
    _Column(heading="MACs", value=lambda result: result.cost.macs, text=short),
    _Column(heading="train images/s", value=lambda result: result.cost.train_images_per_second, text="{:,.0f}".format),
    _Column(heading="minutes", value=lambda result: result.seconds / 60, text="{:.1f}".format),
)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def image_blocks(variants: Sequence[Variant]) -> str:
    """Return examples of the data, and the test images that the best network was most wrong about."""
    blocks = []
    run_dirs = [result.run_dir for variant in variants for result in variant.results]
    for run_dir in run_dirs:
        try:
            arrays, metadata = read_arrays(run_dir / EXAMPLES)
            classes = json.loads(metadata["classes"])
        except (DataError, KeyError, ValueError):
            continue
        rows = ""
        for k, name in enumerate(classes):
            images = "".join(
                f'<img src="{data_address(image[0])}" alt="">' for image in arrays["images"][arrays["labels"] == k]
            )
            rows += f"<figure><h4>{escape(words(name))}</h4><div class=thumbs>{images}</div></figure>"
        blocks.append(f'<h3>What the images look like</h3><div class="grid">{rows}</div>')
        break
    best = variants[0]
    try:
        arrays, metadata = read_arrays(best.results[0].run_dir / MISTAKES)
        classes, ids = json.loads(metadata["classes"]), json.loads(metadata["ids"])
        order = arrays["probabilities"][range(len(ids)), arrays["labels"]].argsort()
        rows = ""
        for index in order:
            truth, guess = arrays["labels"][index], arrays["probabilities"][index].argmax()
            given = arrays["probabilities"][index][truth]
            verdict = "rightly" if truth == guess else f"taken for {words(classes[guess])}"
            rows += (
                f'<figure class="mistake"><img src="{data_address(arrays["images"][index][0])}" alt="">'
                f"<figcaption><b>{escape(words(classes[truth]))}</b><br>{escape(verdict)}<br>"
                f"given {_percent(given)}<br><small>{escape(ids[index])}</small></figcaption></figure>"
            )
        blocks.append(
            f"<h3>Where {escape(best.name)} is most wrong</h3><p>Test images of each class to whose truth it gave the "
            f'least chance.</p><div class="mistakes">{rows}</div>'
        )
    except (DataError, KeyError, ValueError, IndexError):
        pass
    return "".join(blocks)


def _percent(share: float) -> str:
    """Return a share with as many digits as it deserves: 12 %, 0.3 %, below 0.01 %."""
    if share < 1e-4:
        return "below 0.01 %"
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.1g} %"


def run_table(variants: Sequence[Variant]) -> str:
    """Return what decided each run, folded."""
    rows = ""
    for variant in variants:
        for result in variant.results:
            cell = result.cell
            settings = {**cell.hparams, **cell.training}
            decided = ", ".join(f"{key} {value}" for key, value in settings.items())
            rows += (
                f"<tr><td>{escape(cell.model)}</td><td>{cell.seed}</td>"
                f"<td>{result.test.auc[MACRO]:.4f}</td><td>{result.val.epoch}</td>"
                f"<td><code>{escape(result.run_id)}</code></td><td class=settings>{escape(decided)}</td></tr>"
            )
    head = "<tr><th>model</th><th>seed</th><th>macro AUC</th><th>epoch kept</th><th>run</th><th>settings</th></tr>"
    table = f'<div class="scroll"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>'
    return f"<details><summary>Every run and its settings</summary>{table}</details>"
