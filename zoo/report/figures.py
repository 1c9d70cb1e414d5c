"""Figures of the page: a drawing with its texts, and the numbers that it shows as CSV."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from zoo.escaping import csv_line
from zoo.results.comparison import Variant
from zoo.results.digest import Digest

Digests = Mapping[str, Digest]
"""Run id -> `read_digest`."""
Rows = Sequence[Sequence[Any]]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A chart with its texts.

    Args:
        name: Text for screen readers, and for the names of files.
        drawing: SVG.
        near_one: SVG of the same curves on logarithmic axes that show values near 1, or None.
        heading: Text above it, or "".
        caption: Text below it, or "".
        data: Numbers that are drawn: names of the columns, then a row for each mark.
    """

    name: str
    drawing: Markup
    near_one: Markup | None = None
    heading: str = ""
    caption: str = ""
    data: Rows = ()

    @property
    def csv(self) -> str:
        """The numbers as the target of a link, in CSV."""
        return rows_address(self.data)


def rows_address(rows: Rows) -> str:
    """Return rows as the target of a link that saves them as CSV."""
    return csv_address("".join(csv_line(map(_text, row)) for row in rows))


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else str(value)


def csv_address(content: str) -> str:
    """Return CSV as the target of a link that saves it."""
    return "data:text/csv;charset=utf-8," + quote(content, safe=",/:()")


def file_stem(text: str) -> str:
    """Return a text as the name of a file: lower-case letters and digits, with hyphens for all else."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")


def words(name: str) -> str:
    """Return a name as words: "no_substructure" becomes "no substructure"."""
    return name.replace("_", " ")


def breakable(name: str) -> Markup:
    """Return a name that a narrow column may break after "/" and "_"."""
    return Markup("<wbr>").join(re.findall("[^/_]*[/_]|[^/_]+", name))


def mean_of(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def digests_of(variant: Variant, digests: Digests) -> list[Digest]:
    """Return the digests of a variant's runs, of those that have one."""
    return [digests[result.run_id] for result in variant.results if result.run_id in digests]
