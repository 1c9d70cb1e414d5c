"""Small charts as SVG texts. Colours come from the page's style sheet, so one chart serves light and dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup, escape

SERIES = 10
"""Colours in the style sheet; further series repeat them with dashes."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The frame of a chart: how data become places.

    Args:
        x, y: Lowest and highest value.
        width, height: Size of the whole picture, in units of the view box.
        log_x, log_y: Logarithmic axes; a y axis may fall, from a high value to a low one.
        left, bottom: Room for labels.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    width: float = 340
    height: float = 300
    log_x: bool = False
    log_y: bool = False
    left: float = 52
    bottom: float = 44
    top: float = 12
    right: float = 12

    def across(self, value: float) -> float:
        """Return the place of an x value."""
        return self.left + _share(value, self.x, log=self.log_x) * (self.width - self.left - self.right)

    def up(self, value: float) -> float:
        """Return the place of a y value."""
        room = self.height - self.top - self.bottom
        return self.height - self.bottom - _share(value, self.y, log=self.log_y) * room

    def moved(self, shift: float) -> Panel:
        """Return the panel whose places are further right."""
        return replace(self, left=self.left + shift, right=self.right - shift)


def _share(value: float, ends: tuple[float, float], *, log: bool) -> float:
    """Return where a value is between the ends of an axis, from 0 to 1."""
    low, high = ends
    if log:
        low, high, value = math.log10(low), math.log10(high), math.log10(max(value, 1e-300))
    return (value - low) / ((high - low) or 1)


def side_by_side(places: Sequence[float], *, gap: float) -> list[float]:
    """Return places at least `gap` apart and in the same order, as near to the given ones as possible."""

    def first(group: Sequence[int]) -> float:
        """Return the first place of neighbours around their mean."""
        return sum(places[index] for index in group) / len(group) - gap * (len(group) - 1) / 2

    groups: list[list[int]] = []
    for index in sorted(range(len(places)), key=lambda index: places[index]):
        groups.append([index])
        while len(groups) > 1 and first(groups[-1]) < first(groups[-2]) + gap * len(groups[-2]):
            groups[-2:] = [groups[-2] + groups[-1]]
    moved = {index: first(group) + gap * number for group in groups for number, index in enumerate(group)}
    return [moved[index] for index in range(len(places))]


def series_class(index: int) -> str:
    """Return the style of a series: a colour, and dashes where the colours are used up."""
    return f"s s{index} c{index % SERIES}" + (f" dash{index // SERIES % 3}" if index >= SERIES else "")


def ticks(low: float, high: float, *, count: int = 5) -> list[float]:
    """Return round numbers from low to high."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten, and twos and fives where the range is short."""
    decades = math.log10(high / low)
    factors = (
        (1,) if decades > 2.5 else (1, 3) if decades > 1.2 else (1, 2, 5) if decades > 0.7 else (1, 1.5, 2, 3, 5, 7)
    )
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = max(1, math.ceil(decades / 6))
    return [
        factor * 10.0**power
        for power in powers
        if power % every == 0
        for factor in factors
        if low * 0.999 <= factor * 10.0**power <= high * 1.001
    ]


def short(value: float) -> str:
    """Return a number as people write it: 67.5 k, 0.95, 3e-7."""
    if value == 0:
        return "0"
    size = abs(value)
    if size < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-")
    for unit, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if size >= unit:
            return f"{value / unit:.3g}{letter}"
    return f"{value:.4g}"


def frame(
    panel: Panel,
    *,
    x_label: str,
    y_label: str,
    x_ticks: Sequence[float] | None = None,
    y_ticks: Mapping[float, str] | None = None,
) -> str:
    """Return grid lines, tick labels and axis titles."""
    left, right = panel.left, panel.width - panel.right
    top, bottom = panel.top, panel.height - panel.bottom
    parts = []
    for value in x_ticks if x_ticks is not None else log_ticks(*panel.x) if panel.log_x else ticks(*panel.x):
        at = panel.across(value)
        parts.append(f'<path class="grid" d="M{at:.1f} {top:.1f}V{bottom:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{at:.1f}" y="{bottom + 16:.1f}" text-anchor="middle">{short(value)}</text>'
        )
    for value, label in (y_ticks or {value: short(value) for value in ticks(*panel.y)}).items():
        at = panel.up(value)
        parts.append(f'<path class="grid" d="M{left:.1f} {at:.1f}H{right:.1f}"/>')
        parts.append(text(left - 7, at + 4, label, style="tick", anchor="end"))
    middle = (left + right) / 2
    parts.append(text(middle, panel.height - 6, x_label, style="axis", anchor="middle"))
    if y_label:
        at = (top + bottom) / 2
        parts.append(
            f'<text class="axis" transform="translate(13 {at:.1f}) rotate(-90)" text-anchor="middle">'
            f"{escape(y_label)}</text>"
        )
    return "".join(parts)


def line(panel: Panel, xs: Iterable[float], ys: Iterable[float], *, style: str, title: str = "") -> str:
    """Return a line through points."""
    path = "L".join(f"{panel.across(x):.1f} {panel.up(y):.1f}" for x, y in zip(xs, ys, strict=True))
    return f'<path class="line {style}" d="M{path}">{_title(title)}</path>'


def band(panel: Panel, xs: Sequence[float], lows: Sequence[float], highs: Sequence[float], *, style: str) -> str:
    """Return the area between two lines."""
    there = [f"{panel.across(x):.1f} {panel.up(y):.1f}" for x, y in zip(xs, highs, strict=True)]
    back = [f"{panel.across(x):.1f} {panel.up(y):.1f}" for x, y in zip(xs, lows, strict=True)]
    return f'<path class="band {style}" d="M{"L".join([*there, *reversed(back)])}Z"/>'


def dot(panel: Panel, x: float, y: float, *, style: str, title: str = "", radius: float = 4.5) -> str:
    """Return a point."""
    return (
        f'<circle class="dot {style}" cx="{panel.across(x):.1f}" cy="{panel.up(y):.1f}" r="{radius}">'
        f"{_title(title)}</circle>"
    )


def whisker(panel: Panel, x: float, low: float, high: float, *, style: str) -> str:
    """Return an upright error bar, cut off at the ends of the panel."""
    low, high = (min(max(value, min(panel.y)), max(panel.y)) for value in (low, high))
    return f'<path class="whisker {style}" d="M{panel.across(x):.1f} {panel.up(low):.1f}V{panel.up(high):.1f}"/>'


def text(x: float, y: float, content: str, *, style: str = "", anchor: str = "start") -> str:
    """Return a text at a place of the view box."""
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def picture(content: str, *, width: float, height: float, name: str) -> Markup:
    """Return the whole SVG, marked as safe for a template; `name` is its text for screen readers.

    The functions of this module escape every text, so nothing else may enter `content`.
    """
    opening = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(name)}">'
    return Markup(f"{opening}{content}</svg>")


def _title(title: str) -> str:
    return f"<title>{escape(title)}</title>" if title else ""
