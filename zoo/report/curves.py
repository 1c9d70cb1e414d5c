"""Charts of ROC curves and of the scores of each class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from zoo.report.figures import Digests, Figure, digests_of, mean_of, words
from zoo.report.svg import SERIES, Panel, band, frame, line, picture, series_class, text
from zoo.results.comparison import Variant
from zoo.results.digest import FALSE_RATES, LOWEST_RATE, NEAR_ONE, TRUE_RATES


def roc_panels(variants: Sequence[Variant], digests: Digests, *, low_rates: bool) -> list[Figure]:
    """Draw ROC curves, a panel for each curve of the task, a line and a band for each variant.

    Args:
        variants: Variants that are drawn.
        digests: Digests of their runs.
        low_rates: Whether the axis of false positive rates is logarithmic. Else a figure has two drawings: on linear
            axes, and near 1 on logarithmic ones.
    """
    found = [digest.roc for variant in variants for digest in digests_of(variant, digests)]
    figures = []
    for title in dict.fromkeys(title for each in found for title in each):
        curves = {}
        for variant in variants:
            bands = [digest.roc[title] for digest in digests_of(variant, digests) if title in digest.roc]
            if bands:
                curves[variant.name] = _Curve(
                    index=variants.index(variant),
                    label=f"{variant.name}: AUC {mean_of(variant.auc(title)):.4f}" if not low_rates else variant.name,
                    rates=[_means([getattr(band, line) for band in bands]) for line in ("curve", "low", "high")],
                )
        name = f"ROC curves, {words(title)}"
        rows = [
            (variant, rate, *values)
            for variant, curve in curves.items()
            for rate, *values in zip(FALSE_RATES.tolist(), *curve.rates, strict=True)
        ]
        columns = ("network", "false positive rate", "true positive rate", "low", "high")
        figures.append(
            Figure(
                name=name,
                drawing=_roc(_LOW_RATES if low_rates else _WHOLE, curves.values(), name=name),
                near_one=None if low_rates else _roc(_NEAR_ONE, curves.values(), name=f"{name}, logarithmic axes"),
                heading=words(title),
                data=[columns, *rows],
            )
        )
    return figures


def near_one(variants: Sequence[Variant], figures: Sequence[Figure]) -> bool:
    """Return whether the curves of some variant are so near to 1 that linear axes leave most of a picture empty."""
    return bool(figures) and max(mean_of(variant.auc()) for variant in variants) >= NEAR_ONE


@dataclass(frozen=True, kw_only=True)
class _Curve:
    """ROC curve of a variant.

    Args:
        index: Place of the variant, which is that of its colour.
        label: Text that appears when the line is pointed at.
        rates: True positive rates at `FALSE_RATES`, low and high ends of their band.
    """

    index: int
    label: str
    rates: Sequence[Sequence[float]]


def _means(of_seeds: Sequence[Sequence[float]]) -> list[float]:
    return [mean_of(values) for values in zip(*of_seeds, strict=True)]


_WHOLE = Panel(x=(0.0, 1.0), y=(0.0, 1.0))
_LOW_RATES = Panel(x=(LOWEST_RATE, 1.0), y=(0.0, 1.0), log_x=True)
_NEAR_ONE = Panel(x=(LOWEST_RATE, 1.0), y=(1.0, LOWEST_RATE), log_x=True, log_y=True)
"""The upper axis is that of the share of positive images that are missed; its labels are true positive rates."""
_MISSED = {1 - rate: str(rate) for rate in TRUE_RATES}


def _roc(panel: Panel, curves: Iterable[_Curve], *, name: str) -> Markup:
    """Return ROC curves in a panel, the bands below all lines."""

    def up(rate: float) -> float:
        return max(1 - rate, LOWEST_RATE) if panel.log_y else rate

    shown = [at for at, rate in enumerate(FALSE_RATES.tolist()) if rate >= panel.x[0]]
    xs = FALSE_RATES[shown].tolist()
    bands, lines = "", line(panel, xs, [up(x) for x in xs], style="chance")
    for curve in curves:
        style = series_class(curve.index)
        middle, low, high = ([up(values[at]) for at in shown] for values in curve.rates)
        bands += band(panel, xs, low, high, style=style)
        lines += line(panel, xs, middle, style=style, title=curve.label)
    ticks = _MISSED if panel.log_y else None
    axes = frame(panel, x_label="false positive rate", y_label="true positive rate", y_ticks=ticks)
    return picture(axes + bands + lines, width=panel.width, height=panel.height, name=name)


def histogram_panels(variants: Sequence[Variant], digests: Digests) -> list[Figure]:
    """Draw the shares of each class's scores, a panel for each variant and a line for each class."""
    panels = []
    for variant in variants:
        found = [each.histogram for each in digests_of(variant, digests)[:1] if each.histogram is not None]
        for one in found:
            shares = {name: [count / max(1, sum(counts)) for count in counts] for name, counts in one.counts.items()}
            top = max((max(values) for values in shares.values()), default=0.0) or 1.0
            legend, top_rows = _legend([words(name) for name in shares])
            panel = Panel(x=(one.edges[0], one.edges[-1]), y=(0.0, 1.05 * top), height=260, top=12 + 16 * top_rows)
            content = frame(panel, x_label="score", y_label="share of the class") + legend
            middles = [(low + high) / 2 for low, high in pairwise(one.edges)]
            for index, (name, values) in enumerate(shares.items()):
                content += line(panel, middles, values, style=_class_style(index), title=words(name))
            name = f"Scores of {variant.name}"
            rows = [
                (words(kind), low, high, counts[at])
                for kind, counts in one.counts.items()
                for at, (low, high) in enumerate(pairwise(one.edges))
            ]
            panels.append(
                Figure(
                    name=name,
                    drawing=picture(content, width=panel.width, height=panel.height, name=name),
                    heading=variant.name,
                    caption="The last bin holds all higher scores.",
                    data=[("class", "from", "to", "images"), *rows],
                )
            )
    return panels


def _class_style(index: int) -> str:
    # Not a series of the page: pressing a network hides no class.
    return f"s c{index % SERIES}"


def _legend(names: Sequence[str]) -> tuple[str, int]:
    """Return the names of classes with their colours, above a panel, and the number of their rows."""
    drawn, across, row = "", 56.0, 0
    for index, name in enumerate(names):
        width = 22 + 6.5 * len(name)
        if across + width > 340 and across > 56:
            across, row = 56.0, row + 1
        drawn += f'<circle class="dot {_class_style(index)}" cx="{across:.1f}" cy="{10 + 16 * row}" r="4"/>'
        drawn += text(across + 8, 14 + 16 * row, name, style="tick")
        across += width
    return drawn, row + 1
