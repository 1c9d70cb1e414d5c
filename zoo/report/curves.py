"""Charts of ROC curves and of the scores of each class."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from zoo.report.charts import CORNER, Digests, Figure, digests_of, mean_of, words
from zoo.report.digest import FALSE_RATES, LOW_RATES
from zoo.report.svg import SERIES, Panel, band, frame, line, picture, series_class, text
from zoo.results.comparison import Variant


def roc_panels(variants: Sequence[Variant], digests: Digests, *, corner: bool) -> list[Figure]:
    """Draw ROC curves, a panel for each class, a line and a band for each variant.

    Args:
        variants: Variants that are drawn.
        digests: Digests of their runs.
        corner: Whether only false positive rates up to 0.2 and true ones from 0.8 are drawn.
    """
    limits = ((0.0, CORNER), (1 - CORNER, 1.0)) if corner else ((0.0, 1.0), (0.0, 1.0))
    panels = []
    for name in _titles(variants, digests, "roc"):
        panel = Panel(x=limits[0], y=limits[1])
        xs = [x for x in FALSE_RATES.tolist() if x <= limits[0][1] + 1e-9]
        layers = ["", ""]
        for index, variant in enumerate(variants):
            found = digests_of(variant, digests)
            curves = [digest.roc[name] for digest in found if name in digest.roc]
            if not curves:
                continue
            mean, low, high = (
                [max(limits[1][0], mean_of([rates[at] for rates in of_seeds])) for at in range(len(xs))]
                for of_seeds in (
                    [one.curve for one in curves],
                    [one.low for one in curves],
                    [one.high for one in curves],
                )
            )
            style = series_class(index)
            layers[0] += band(panel, xs, low, high, style=style)
            area = mean_of(variant.auc(name))
            layers[1] += line(panel, xs, mean, style=style, title=f"{variant.name}: AUC {area:.4f}")
        chance = "" if corner else line(panel, (0, 1), (0, 1), style="chance")
        axes = frame(panel, x_label="false positive rate", y_label="true positive rate")
        content = axes + chance + "".join(layers)
        drawn = picture(content, width=panel.width, height=panel.height, name=f"ROC curves, {words(name)}")
        panels.append(Figure(drawing=drawn, heading=words(name)))
    return panels


def _titles(variants: Sequence[Variant], digests: Digests, curves: str) -> list[str]:
    """Return the titles of the ROC curves that some variant has."""
    found = [getattr(digest, curves) for variant in variants for digest in digests_of(variant, digests)]
    return list(dict.fromkeys(title for each in found for title in each))


def low_rate_panels(variants: Sequence[Variant], digests: Digests) -> list[Figure]:
    """Draw ROC curves over a logarithmic axis of false positive rates, a panel for each curve of the task."""
    panels = []
    rates = LOW_RATES.tolist()
    for title in _titles(variants, digests, "low_rates"):
        panel = Panel(x=(rates[0], 1.0), y=(0.0, 1.0), log_x=True)
        layers = ["", ""]
        for index, variant in enumerate(variants):
            curves = [each.low_rates[title] for each in digests_of(variant, digests) if title in each.low_rates]
            if not curves:
                continue
            mean, low, high = (
                [mean_of([values[at] for values in of_seeds]) for at in range(len(rates))]
                for of_seeds in (
                    [one.curve for one in curves],
                    [one.low for one in curves],
                    [one.high for one in curves],
                )
            )
            layers[0] += band(panel, rates, low, high, style=series_class(index))
            layers[1] += line(panel, rates, mean, style=series_class(index), title=variant.name)
        axes = frame(panel, x_label="false positive rate", y_label="true positive rate")
        content = axes + line(panel, rates, rates, style="chance") + "".join(layers)
        name = f"ROC curves at low false positive rates, {words(title)}"
        drawn = picture(content, width=panel.width, height=panel.height, name=name)
        panels.append(Figure(drawing=drawn, heading=words(title)))
    return panels


def histogram_panels(variants: Sequence[Variant], digests: Digests) -> list[Figure]:
    """Draw the shares of each class's scores, a panel for each variant and a line for each class."""
    panels = []
    for variant in variants:
        found = [each.histogram for each in digests_of(variant, digests)[:1] if each.histogram is not None]
        for one in found:
            shares = {name: [count / max(1, sum(counts)) for count in counts] for name, counts in one.counts.items()}
            top = max((max(values) for values in shares.values()), default=0.0) or 1.0
            panel = Panel(x=(one.edges[0], one.edges[-1]), y=(0.0, 1.05 * top), height=260)
            content = frame(panel, x_label="score", y_label="share of the class")
            middles = [(low + high) / 2 for low, high in pairwise(one.edges)]
            for index, (name, values) in enumerate(shares.items()):
                # Not a series of the page: pressing a network hides no class.
                style = f"s c{index % SERIES}"
                content += line(panel, middles, values, style=style, title=words(name))
                highest = values.index(max(values))
                place = panel.across(middles[highest]), panel.up(values[highest]) - 5
                content += text(*place, words(name), style=f"tick {style}", anchor="middle")
            drawn = picture(content, width=panel.width, height=panel.height, name=f"Scores of {variant.name}")
            caption = "The last bin holds all higher scores."
            panels.append(Figure(drawing=drawn, heading=variant.name, caption=caption))
    return panels
