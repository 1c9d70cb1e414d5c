"""The chart of the equivariance error of each network, before and after its training."""

from __future__ import annotations

import math
from collections.abc import Sequence

from zoo.report.columns import known
from zoo.report.figures import Figure
from zoo.report.svg import Panel, picture, series_class, text
from zoo.results.comparison import Variant


def equivariance_panel(variants: Sequence[Variant]) -> list[Figure]:
    """Draw the error of the logits under the eight symmetries of the square, before and after training.

    Variants without it, such as those of earlier versions, are left out.
    """
    rows: list[tuple[int, Variant, str, float, float, float]] = []
    for index, variant in enumerate(variants):
        measured = [result.equivariance for result in variant.results if result.equivariance is not None]
        if not measured:
            continue
        before = _largest([one.before.square.error if one.before else None for one in measured])
        after = _largest([one.after.square.error if one.after else None for one in measured])
        flips = _largest([one.after.square.flips if one.after else None for one in measured])
        if math.isfinite(after):
            group = measured[0].group or "no symmetry declared"
            rows.append((index, variant, group, before, after, flips))
    if not rows:
        return []
    values = [value for _, _, _, before, after, _ in rows for value in (before, after) if 0 < value < math.inf]
    low, high = min([1e-8, *values]) / 2, max([1.0, *values]) * 2
    height, step = 44 + 34 * len(rows), 34
    panel = Panel(x=(low, high), y=(0, 1), width=440, height=height, log_x=True, left=16, top=4)
    bottom = height - panel.bottom
    content = ""
    for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1, 2):
        at = panel.across(10.0**power)
        content += f'<path class="grid" d="M{at:.1f} 4V{bottom:.1f}"/>'
        content += text(at, bottom + 16, f"1e{power}" if power else "1", style="tick", anchor="middle")
    content += text(
        panel.width / 2, height - 6, "change of the logits over their spread", style="axis", anchor="middle"
    )
    for row, (index, variant, group, before, after, flips) in enumerate(rows):
        at = 4 + step * row + 25
        style = series_class(index)
        content += text(16, at - 11, f"{variant.name} · {group}", style=f"row {style}")
        if math.isfinite(flips) and flips:
            share = f"{100 * flips:.1f} % change class"
            content += text(panel.width - panel.right, at - 11, share, style=f"tick {style}", anchor="end")
        places = [panel.across(min(max(value, low), high)) for value in (before, after) if not math.isnan(value)]
        content += f'<path class="whisker {style}" d="M{places[0]:.1f} {at}H{places[-1]:.1f}"/>'
        if not math.isnan(before):
            content += f'<circle class="hollow {style}" cx="{places[0]:.1f}" cy="{at}" r="4.5"/>'
        content += f'<circle class="dot {style}" cx="{places[-1]:.1f}" cy="{at}" r="4.5"/>'
    beside = "the group that the network declares"
    if any(math.isfinite(row[-1]) for row in rows):
        beside += " and the share of images that change class"
    caption = (
        "Change of the centred answers under quarter turns and mirrors, the same eight for every network, over their "
        "spread between images: hollow before training, filled after. Rounding is about 1e-6; beside each name is "
        f"{beside}."
    )
    name = "Equivariance error before and after training"
    return [
        Figure(
            name=name,
            drawing=picture(content, width=panel.width, height=height, name=name),
            caption=caption,
            data=[
                ("network", "declared group", "before training", "after training", "share of images that change class"),
                *((variant.name, *values) for _, variant, *values in rows),
            ],
        )
    ]


def _largest(values: Sequence[float | None]) -> float:
    """Return the largest number, or NaN if one of them is unknown."""
    return math.nan if None in values else max(map(known, values))
