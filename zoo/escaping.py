"""Text from outside, such as names and errors, made harmless for a terminal, for CSV and for Markdown."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from typing import Any

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""C0 and C1 without line feed and tab, the characters that change the direction or the line of a text, and halves of
characters (surrogates), which no file can hold and no terminal can show."""
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
"""First characters that make a spreadsheet evaluate a cell; the wide ones do so in East Asian versions."""


def visible(text: str) -> str:
    r"""Return a text with its control characters written out, such as "\x1b"; line feeds and tabs stay.

    A terminal obeys control characters: an escape sequence in the name of a file could clear the screen, change the
    title of the window, or hide the rest of the line.
    """
    return _CONTROLS.sub(_written_out, text)


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def one_line(text: str) -> str:
    """Return a visible text with a blank in place of each line break, tab or run of blanks."""
    return visible(" ".join(text.split()))


def csv_line(values: Iterable[Any]) -> str:
    """Return a line of CSV in which a spreadsheet evaluates nothing.

    A text that begins like a formula gets a leading apostrophe; numbers, also formatted ones, stay as they are.
    """
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(_inert(value) for value in values)
    return out.getvalue()


def _inert(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    # A bare carriage return ends the line for some readers, so control characters are written out here, too.
    return visible(f"'{value}" if value.startswith(_FORMULA) and not _is_number(value) else value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def markdown_cell(text: str) -> str:
    """Return a text for a cell of a Markdown table: on one line, without bars that end it and without HTML."""
    return one_line(re.sub(r"[\\|<]", r"\\\g<0>", text))
