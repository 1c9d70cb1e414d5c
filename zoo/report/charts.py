"""The charts of the report's page: each takes variants and their digests, and returns figures for the template."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from msgspec.structs import replace

from zoo.plurals import counted
from zoo.report.columns import known, of_cost
from zoo.report.digest import Digest, ReliabilityBin
from zoo.report.slices import ANOMALY, Bin
from zoo.report.svg import Panel, band, dot, frame, line, picture, series_class, short, text, whisker
from zoo.results.comparison import Estimate, Variant, estimate

Digests = Mapping[str, Digest]
"""Run id -> `read_digest`."""

CORNER = 0.2


def words(name: str) -> str:
    """Return a name as words: "no_substructure" becomes "no substructure"."""
    return name.replace("_", " ")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A chart with its texts.

    Args:
        drawing: SVG.
        heading: Text above it, or "".
        caption: Text below it, or "".
    """

    drawing: Markup
    heading: str = ""
    caption: str = ""


_MOST_LABELS = 8
_FEWEST_IMAGES = 10
"""A bin of fewer images is too small for a statement about calibration."""


def mean_of(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def digests_of(variant: Variant, digests: Digests) -> list[Digest]:
    """Return the digests of a variant's runs, of those that have one."""
    return [digests[result.run_id] for result in variant.results if result.run_id in digests]


def reliability_panel(variants: Sequence[Variant], digests: Digests) -> list[Figure]:
    """Draw accuracy against confidence; the diagonal is a perfectly calibrated network."""
    panel = Panel(x=(0.0, 1.0), y=(0.0, 1.0))
    content = frame(panel, x_label="confidence", y_label="accuracy") + line(panel, (0, 1), (0, 1), style="chance")
    for index, variant in enumerate(variants):
        merged: dict[int, list[ReliabilityBin]] = {}
        for digest in digests_of(variant, digests):
            for entry in digest.reliability:
                merged.setdefault(math.ceil(entry.confidence * 15), []).append(entry)
        points = []
        for _, entries in sorted(merged.items()):
            images = float(sum(entry.images for entry in entries))
            if images < _FEWEST_IMAGES:
                continue
            mean_confidence = sum(entry.images * entry.confidence for entry in entries) / images
            mean_accuracy = sum(entry.images * entry.accuracy for entry in entries) / images
            points.append((mean_confidence, mean_accuracy, images / len(variant.results)))
        if not points:
            continue
        style = series_class(index)
        content += line(panel, [p[0] for p in points], [p[1] for p in points], style=style, title=variant.name)
        for confidence, accuracy, images in points:
            where = f"{counted(round(images), 'image')}, confidence {confidence:.2f}"
            label = f"{variant.name}: {where}, accuracy {accuracy:.2f}"
            content += dot(panel, confidence, accuracy, style=style, title=label, radius=2.5)
    caption = (
        "Accuracy of the images within a bin of confidence, a fifteenth wide; bins of fewer than ten images are "
        "omitted. On the dashed line confidence equals accuracy."
    )
    return [
        Figure(
            drawing=picture(content, width=panel.width, height=panel.height, name="Reliability diagram"),
            caption=caption,
        )
    ]


def slice_panels(variants: Sequence[Variant], digests: Digests) -> list[Figure]:
    """Draw AUC against the physics of the scenes, a panel for each parameter and the class that has it."""
    found: dict[tuple[str, str], list[tuple[int, list[Bin]]]] = {}
    labels = {}
    for index, variant in enumerate(variants):
        of_seed: dict[tuple[str, str], list[tuple[Bin, ...]]] = {}
        for digest in digests_of(variant, digests):
            for entry in digest.slices:
                key = (entry.parameter, entry.subject)
                labels[key] = entry.label
                of_seed.setdefault(key, []).append(entry.bins)
        for key, of_seeds in of_seed.items():
            if len({len(bins) for bins in of_seeds}) == 1:
                found.setdefault(key, []).append((index, [_mean_bin(bins) for bins in zip(*of_seeds, strict=True)]))
    panels = []
    for key, series in found.items():
        xs = [entry.middle for _, bins in series for entry in bins]
        lows = [entry.interval[0] for _, bins in series for entry in bins]
        floor = max(0.0, math.floor((min(lows) - 0.01) * 20) / 20)
        margin = (max(xs) - min(xs)) * 0.06 or 1.0
        panel = Panel(x=(min(xs) - margin, max(xs) + margin), y=(floor, 1.0), height=260)
        whole = {"macro": ("macro AUC", "all classes"), ANOMALY: ("AUROC", "all anomalies")}
        subject, title = whole.get(key[1], (f"AUC {words(key[1])}", words(key[1])))
        name = labels[key]
        content = frame(panel, x_label=name, y_label=subject)
        for index, bins in series:
            style = series_class(index)
            content += line(panel, [one.middle for one in bins], [one.auc for one in bins], style=style)
            for one in bins:
                low, high = one.interval
                content += whisker(panel, one.middle, low, high, style=style)
                where = f"{short(one.low)} to {short(one.high)}, {counted(one.images, 'image')}"
                label = f"{variants[index].name}: {where}, AUC {one.auc:.4f}"
                content += dot(panel, one.middle, one.auc, style=style, title=label, radius=3)
        drawn = picture(content, width=panel.width, height=panel.height, name=f"{subject} by {name}")
        panels.append(Figure(drawing=drawn, heading=title))
    return panels


def _mean_bin(bins: Sequence[Bin]) -> Bin:
    """Return the mean of one slice over seeds, whose images are the same."""
    interval = mean_of([one.interval[0] for one in bins]), mean_of([one.interval[1] for one in bins])
    return replace(bins[0], auc=mean_of([one.auc for one in bins]), interval=interval)


def _floor(estimates: Sequence[Estimate]) -> float:
    """Return where an axis of areas begins: intervals of two seeds, which reach far below, are cut off there."""
    lowest = min(max(point.low, point.score - 0.1) for point in estimates)
    return max(0.0, math.floor((lowest - 0.005) * 50) / 50)


def _top(estimates: Sequence[Estimate]) -> float:
    """Return where an axis of scores ends: at 1 for areas and shares."""
    highest = max(point.score for point in estimates)
    return 1.0 if highest <= 1 else 1.05 * max(min(point.high, 2 * point.score) for point in estimates)


def learning_panel(curves: Mapping[str, Sequence[Estimate]], names: Sequence[str]) -> list[Figure]:
    """Draw the headline score against training size.

    Args:
        curves: Name -> estimates.
        names: Names of the page's series; curves of a model share its colour.
    """
    if not curves:
        return []
    points = [point for curve in curves.values() for point in curve]
    sizes = sorted({point.train_images for point in points})
    floor = _floor(points)
    panel = Panel(x=(sizes[0] / 1.15, sizes[-1] * 1.15), y=(floor, _top(points)), width=520, log_x=True)
    content = frame(
        panel, x_label="training images", y_label=points[0].label, x_ticks=sizes if len(sizes) <= 6 else None
    )
    for order, (name, curve) in enumerate(curves.items()):
        style = series_class(names.index(name) if name in names else len(names) + order)
        xs = [point.train_images for point in curve]
        lows = [max(floor, point.low) for point in curve]
        content += band(panel, xs, lows, [point.high for point in curve], style=style)
        content += line(panel, xs, [point.score for point in curve], style=style, title=name)
        for point in curve:
            images, seeds = counted(point.train_images, "image"), counted(point.seeds, "seed")
            label = f"{name}: {images}, {seeds}, {point.label} {point.score:.4f}"
            content += dot(panel, point.train_images, point.score, style=style, title=label)
    caption = (
        "Each curve joins runs that differ in the number of training images only; 95 % band over images and seeds, "
        "which two seeds leave wide."
    )
    return [
        Figure(
            drawing=picture(content, width=panel.width, height=panel.height, name="Learning curves"), caption=caption
        )
    ]


def cost_panels(variants: Sequence[Variant]) -> list[Figure]:
    """Draw the headline score against parameters, operations and training time.

    A line joins what nothing beats at its cost.
    """
    estimates = [estimate(variant.results) for variant in variants]
    floor = _floor(estimates)
    panels = []
    for label, read in (
        ("parameters", of_cost(lambda cost: cost.parameters)),
        ("multiply-accumulates an image", of_cost(lambda cost: cost.macs)),
        ("training seconds", of_cost(lambda cost: cost.train_seconds)),
    ):
        costs = [mean_of([read(result) for result in variant.results]) for variant in variants]
        shown = [cost for cost in costs if math.isfinite(cost) and cost > 0]
        if not shown:
            continue
        panel = Panel(x=(min(shown) / 1.6, max(shown) * 1.6), y=(floor, _top(estimates)), height=260, log_x=True)
        content = frame(panel, x_label=label, y_label=estimates[0].label)
        best, front = -math.inf, []
        priced = [pair for pair in zip(costs, estimates, strict=True) if pair[0] > 0]
        for cost, point in sorted(priced, key=lambda pair: (pair[0], -pair[1].rank)):
            if point.rank > best:
                front.append((cost, point.score))
                best = point.rank
        content += line(panel, [x for x, _ in front], [y for _, y in front], style="chance")
        for index, (variant, cost, point) in enumerate(zip(variants, costs, estimates, strict=True)):
            if cost > 0:
                style = series_class(index)
                content += whisker(panel, cost, max(floor, point.low), point.high, style=style)
                title = f"{variant.name}: {short(cost)} {label}, {point.label} {point.score:.4f}"
                content += dot(panel, cost, point.score, style=style, title=title, radius=5.5)
                if len(variants) <= _MOST_LABELS:
                    at, left = panel.across(cost), panel.across(cost) > panel.width * 0.6
                    label = variant.name.partition("/")[2] or variant.name
                    place = (at - 10, "end") if left else (at + 10, "start")
                    content += text(place[0], panel.up(point.score) + 4, label, style=f"tick {style}", anchor=place[1])
        drawn = picture(content, width=panel.width, height=panel.height, name=f"{estimates[0].label} by {label}")
        panels.append(Figure(drawing=drawn))
    return panels


def _largest(values: Sequence[float | None]) -> float:
    """Return the largest number, or NaN if one of them is unknown."""
    return math.nan if None in values else max(map(known, values))


def interval_bar(
    low: float, middle: float, high: float, *, limits: tuple[float, float], style: str, zero: bool
) -> Markup:
    """Return a small horizontal interval for a row of a table; `zero` marks where 0 is."""
    panel = Panel(x=limits, y=(0, 1), width=150, height=18, left=4, right=4, top=0, bottom=0)
    rule = f'<path class="zero" d="M{panel.across(0):.1f} 1V17"/>' if zero else ""
    content = f'<path class="whisker {style}" d="M{panel.across(low):.1f} 9H{panel.across(high):.1f}"/>'
    return picture(
        rule + content + dot(panel, middle, 0.5, style=style, radius=3.8),
        width=panel.width,
        height=panel.height,
        name=f"{middle:.4f}, 95 % {low:.4f} to {high:.4f}",
    )


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
    panel = Panel(x=(low, high), y=(0, 1), width=520, height=height, log_x=True, left=16, top=4)
    bottom = height - panel.bottom
    content = ""
    for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1, 2):
        at = panel.across(10.0**power)
        content += f'<path class="grid" d="M{at:.1f} 4V{bottom:.1f}"/>'
        content += text(at, bottom + 16, f"1e{power}" if power else "1", style="tick", anchor="middle")
    content += text(260, height - 6, "change of the logits over their spread", style="axis", anchor="middle")
    for row, (index, variant, group, before, after, flips) in enumerate(rows):
        at = 4 + step * row + 25
        style = series_class(index)
        share = f"  ({100 * flips:.1f} % of the images change class)" if math.isfinite(flips) and flips else ""
        content += text(16, at - 11, f"{variant.name} · {group}{share}", style=f"row {style}")
        places = [panel.across(min(max(value, low), high)) for value in (before, after) if not math.isnan(value)]
        content += f'<path class="whisker {style}" d="M{places[0]:.1f} {at}H{places[-1]:.1f}"/>'
        if not math.isnan(before):
            content += f'<circle class="hollow {style}" cx="{places[0]:.1f}" cy="{at}" r="4.5"/>'
        content += f'<circle class="dot {style}" cx="{places[-1]:.1f}" cy="{at}" r="4.5"/>'
    caption = (
        "Change of the centred logits under quarter turns and mirrors, the same eight for every network, over their "
        "spread between images: hollow before training, filled after. Rounding is about 1e-6; beside each name is the "
        "group that the network declares."
    )
    return [
        Figure(
            drawing=picture(
                content, width=panel.width, height=height, name="Equivariance error before and after training"
            ),
            caption=caption,
        )
    ]
