"""The charts of the report's page: each takes variants and their digests, and returns figures for the template."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from markupsafe import Markup
from msgspec.structs import replace

from zoo.plurals import counted
from zoo.report.columns import of_cost
from zoo.report.figures import Digests, Figure, digests_of, mean_of, words
from zoo.report.svg import (
    Panel,
    band,
    dot,
    frame,
    line,
    picture,
    series_class,
    short,
    side_by_side,
    text,
    whisker,
)
from zoo.results.comparison import Estimate, Variant, estimate
from zoo.results.digest import ReliabilityBin
from zoo.results.slices import ANOMALY, Bin

_MOST_LABELS = 8
_NEIGHBOURS = 40.0
"""Points nearer than this have their names beside all of them."""
_FEWEST_IMAGES = 10
"""A bin of fewer images is too small for a statement about calibration."""


def reliability_panel(variants: Sequence[Variant], digests: Digests) -> list[Figure]:
    """Draw accuracy against confidence; the diagonal is a perfectly calibrated network."""
    panel = Panel(x=(0.0, 1.0), y=(0.0, 1.0))
    content = frame(panel, x_label="confidence", y_label="accuracy") + line(panel, (0, 1), (0, 1), style="chance")
    rows: list[tuple[str | float, ...]] = []
    for index, variant in enumerate(variants):
        merged: dict[int, list[ReliabilityBin]] = {}
        for digest in digests_of(variant, digests):
            for entry in digest.reliability:
                merged.setdefault(math.ceil(entry.confidence * 15), []).append(entry)
        points = []
        for _, entries in sorted(merged.items()):
            images = float(sum(entry.images for entry in entries))
            if images < _FEWEST_IMAGES * len(variant.results):
                continue
            mean_confidence = sum(entry.images * entry.confidence for entry in entries) / images
            mean_accuracy = sum(entry.images * entry.accuracy for entry in entries) / images
            points.append((mean_confidence, mean_accuracy, images / len(variant.results)))
        if not points:
            continue
        style = series_class(index)
        content += line(panel, [p[0] for p in points], [p[1] for p in points], style=style, title=variant.name)
        rows += [(variant.name, *point) for point in points]
        for confidence, accuracy, images in points:
            where = f"{counted(round(images), 'image')}, confidence {confidence:.2f}"
            label = f"{variant.name}: {where}, accuracy {accuracy:.2f}"
            content += dot(panel, confidence, accuracy, style=style, title=label, radius=2.5)
    caption = (
        "Accuracy of the images within a bin of confidence, a fifteenth wide; bins of fewer than ten images "
        "(with several seeds, on average) are omitted. On the dashed line confidence equals accuracy."
    )
    name = "Reliability diagram"
    return [
        Figure(
            name=name,
            drawing=picture(content, width=panel.width, height=panel.height, name=name),
            caption=caption,
            data=[("network", "confidence", "accuracy", "images a seed"), *rows],
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
        floor = max(0.0, math.floor((min(lows) - 0.005) * 50) / 50)
        margin = (max(xs) - min(xs)) * 0.06 or 1.0
        panel = Panel(x=(min(xs) - margin, max(xs) + margin), y=(floor, 1.0), height=260)
        whole = {"macro": ("macro AUC", "all classes"), ANOMALY: ("AUROC", "all anomalies")}
        subject, title = whole.get(key[1], (f"AUC {words(key[1])}", words(key[1])))
        name = labels[key]
        content = frame(panel, x_label=name, y_label=subject)
        rows: list[tuple[str | float, ...]] = []
        # The slices of all variants are the same, so their whiskers stand beside each other.
        places = [panel.across(one.middle) for one in series[0][1]]
        apart = min(after - before for before, after in pairwise(places))
        shifts = side_by_side([0.0] * len(series), gap=min(5.0, 0.8 * apart / len(series)))
        for (index, bins), shift in zip(series, shifts, strict=True):
            style, own = series_class(index), panel.moved(shift)
            content += line(own, [one.middle for one in bins], [one.auc for one in bins], style=style)
            for one in bins:
                low, high = one.interval
                content += whisker(own, one.middle, low, high, style=style)
                where = f"{short(one.low)} to {short(one.high)}, {counted(one.images, 'image')}"
                label = f"{variants[index].name}: {where}, AUC {one.auc:.4f}, 95 % {low:.4f} to {high:.4f}"
                content += dot(own, one.middle, one.auc, style=style, title=label, radius=3)
                rows.append((variants[index].name, one.low, one.high, one.middle, one.images, one.auc, low, high))
        columns = ("network", f"{name}, from", "to", "median", "images", subject, "low", "high")
        described = f"{subject} by {name}"
        panels.append(
            Figure(
                name=described,
                drawing=picture(content, width=panel.width, height=panel.height, name=described),
                heading=title,
                data=[columns, *rows],
            )
        )
    return panels


def _mean_bin(bins: Sequence[Bin]) -> Bin:
    """Return the mean of one slice over seeds, whose images are the same."""
    interval = mean_of([one.interval[0] for one in bins]), mean_of([one.interval[1] for one in bins])
    return replace(bins[0], auc=mean_of([one.auc for one in bins]), interval=interval)


def _floor(estimates: Sequence[Estimate]) -> float:
    """Return where an axis of areas begins: intervals of two seeds, which reach far below, are cut off there."""
    lowest = math.floor((min(max(point.low, point.score - 0.1) for point in estimates) - 0.005) * 50) / 50
    return max(0.0, lowest) if min(point.score for point in estimates) >= 0 else lowest


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
    panel = Panel(x=(sizes[0] / 1.15, sizes[-1] * 1.15), y=(floor, _top(points)), width=440, log_x=True)
    content = frame(
        panel, x_label="training images", y_label=points[0].label, x_ticks=sizes if len(sizes) <= 6 else None
    )
    rows: list[tuple[str | float, ...]] = []
    for order, (name, curve) in enumerate(curves.items()):
        style = series_class(names.index(name) if name in names else len(names) + order)
        xs = [point.train_images for point in curve]
        lows = [max(floor, point.low) for point in curve]
        content += band(panel, xs, lows, [min(panel.y[1], point.high) for point in curve], style=style)
        content += line(panel, xs, [point.score for point in curve], style=style, title=name)
        for point in curve:
            images, seeds = counted(point.train_images, "image"), counted(point.seeds, "seed")
            label = f"{name}: {images}, {seeds}, {point.label} {point.score:.4f}, {_interval(point)}"
            rows.append((name, point.train_images, point.seeds, point.score, point.low, point.high))
            content += dot(panel, point.train_images, point.score, style=style, title=label)
    caption = (
        "Each curve joins runs that differ in the number of training images only; 95 % band over images, or groups of "
        "them, and seeds, which two seeds leave wide."
    )
    name = "Learning curves"
    return [
        Figure(
            name=name,
            drawing=picture(content, width=panel.width, height=panel.height, name=name),
            caption=caption,
            data=[("network", "training images", "seeds", points[0].label, "low", "high"), *rows],
        )
    ]


def _interval(point: Estimate) -> str:
    return f"95 % {point.low:.4f} to {point.high:.4f}"


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
        drawn = [
            (series_class(index), variant, cost, point)
            for index, (variant, cost, point) in enumerate(zip(variants, costs, estimates, strict=True))
            if cost > 0
        ]
        # Twins have the same cost, so points and whiskers of neighbours stand beside each other.
        places = side_by_side([panel.across(cost) for *_, cost, _ in drawn], gap=6.0)
        for (style, variant, cost, point), place in zip(drawn, places, strict=True):
            own = panel.moved(place - panel.across(cost))
            content += whisker(own, cost, point.low, point.high, style=style)
            title = f"{variant.name}: {short(cost)} {label}, {point.label} {point.score:.4f}, {_interval(point)}"
            content += dot(own, cost, point.score, style=style, title=title, radius=5.5)
        if len(variants) <= _MOST_LABELS:
            content += _labels(
                panel,
                [
                    (at, panel.up(point.score), variant.name.partition("/")[2] or variant.name, style)
                    for (style, variant, _, point), at in zip(drawn, places, strict=True)
                ],
            )
        name = f"{estimates[0].label} by {label}"
        rows = [(variant.name, cost, point.score, point.low, point.high) for _, variant, cost, point in drawn]
        panels.append(
            Figure(
                name=name,
                drawing=picture(content, width=panel.width, height=panel.height, name=name),
                data=[("network", label, estimates[0].label, "low", "high"), *rows],
            )
        )
    return panels


def _labels(panel: Panel, points: Sequence[tuple[float, float, str, str]]) -> str:
    """Return the names of points, beside all neighbours of each, and moved down where they would cover each other.

    Args:
        panel: Panel of the points.
        points: Place across, place up, name and style of each.
    """
    drawn, taken = "", list[tuple[float, float, float]]()
    for at, up, name, style in sorted(points, key=lambda point: point[1]):
        near = [other for other, *_ in points if abs(other - at) < _NEIGHBOURS]
        left = mean_of(near) > 0.6 * panel.width
        width = 7.0 * len(name)
        start = min(near) - 20 - width if left else max(near) + 20
        for other_start, other_end, height in taken:
            if start < other_end and other_start < start + width and up < height + 12:
                up = height + 12
        taken.append((start, start + width, up))
        mark = start + width + 6 if left else start - 6
        drawn += f'<circle class="dot {style}" cx="{mark:.1f}" cy="{up:.1f}" r="3"/>'
        place, anchor = (start + width, "end") if left else (start, "start")
        drawn += text(place, up + 4, name, style=f"tick {style}", anchor=anchor)
    return drawn


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
