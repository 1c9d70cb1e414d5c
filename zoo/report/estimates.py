"""Charts of a regression: predicted against true values, and the ranks of the truths in their predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from zoo.report.figures import Digests, Figure, digests_of, words
from zoo.report.svg import Panel, band, dot, frame, line, picture, series_class, whisker
from zoo.results.comparison import Variant
from zoo.results.digest import RANK_BINS as BINS
from zoo.results.digest import Estimates


def scatter_panels(variants: Sequence[Variant], digests: Digests) -> list[Figure]:
    """Draw predicted against true values of the first seed, a panel for each variant and truth."""
    panels = []
    for index, variant in enumerate(variants):
        for name, one in _first(variant, digests).items():
            low, high = min(one.true), max(one.true)
            rim = 0.05 * ((high - low) or 1.0)
            limits = (low - rim, high + rim)
            panel = Panel(x=limits, y=limits)
            content = frame(panel, x_label=f"true {words(name)}", y_label="predicted")
            content += line(panel, limits, limits, style="chance")
            style = series_class(index)
            dots = ""
            for true, middle, least, most in zip(one.true, one.middle, one.low, one.high, strict=True):
                content += whisker(panel, true, least, most, style=f"{style} faint")
                inside = min(max(middle, limits[0]), limits[1])  # outside of the panel: at its edge
                dots += dot(panel, true, inside, style=style, title=f"{true:.4g}: {middle:.4g}", radius=2)
            content += dots
            described = f"Predicted and true, {variant.name}, {words(name)}"
            rows = zip(one.true, one.middle, one.low, one.high, strict=True)
            panels.append(
                Figure(
                    name=described,
                    drawing=picture(content, width=panel.width, height=panel.height, name=described),
                    heading=f"{variant.name}, {words(name)}",
                    data=[(f"true {words(name)}", "predicted", "low", "high"), *rows],
                )
            )
    return panels


def rank_panels(variants: Sequence[Variant], digests: Digests) -> list[Figure]:
    """Draw the shares of test images by the distribution function at the truth, a panel for each truth.

    The band holds 95 % of the bins of calibrated predictions (normal approximation of the binomial distribution).
    """
    names = list(dict.fromkeys(name for variant in variants for name in _first(variant, digests)))
    panels = []
    for name in names:
        found = [(index, _first(one, digests).get(name)) for index, one in enumerate(variants)]
        shares = {index: [count / max(1, sum(one.ranks)) for count in one.ranks] for index, one in found if one}
        images = min(sum(one.ranks) for _, one in found if one)
        error = 1.96 * math.sqrt((1 - 1 / BINS) / BINS / max(1, images))
        top = max(1.3 / BINS + error, *(1.05 * share for values in shares.values() for share in values))
        panel = Panel(x=(0.0, 1.0), y=(0.0, top), height=260)
        content = frame(panel, x_label="distribution function at the truth", y_label="share of the test images")
        content += band(panel, (0, 1), (1 / BINS - error,) * 2, (1 / BINS + error,) * 2, style="s c7")
        content += line(panel, (0, 1), (1 / BINS,) * 2, style="chance")
        middles = [(k + 0.5) / BINS for k in range(BINS)]
        for index, values in shares.items():
            content += line(panel, middles, values, style=series_class(index), title=variants[index].name)
        described = f"Ranks of {words(name)}"
        rows = [
            (variants[index].name, k / BINS, (k + 1) / BINS, share)
            for index, values in shares.items()
            for k, share in enumerate(values)
        ]
        caption = (
            "Flat within the band: calibrated. A valley: intervals too narrow. A hill: too wide. A slope: predictions "
            "too high or too low."
        )
        panels.append(
            Figure(
                name=described,
                drawing=picture(content, width=panel.width, height=panel.height, name=described),
                heading=words(name),
                caption=caption,
                data=[("network", "from", "to", "share of the test images"), *rows],
            )
        )
    return panels


def _first(variant: Variant, digests: Digests) -> Mapping[str, Estimates]:
    """Return the estimates of the first seed that has a digest."""
    found = digests_of(variant, digests)
    return found[0].estimates if found else {}
