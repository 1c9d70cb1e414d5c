"""Text of pages that scripts write. Parts lie between a comment that names the script and "until here"."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

ENDS = "\n<!-- until here -->"


def replaced(page: Path, script: str, part: str) -> str:
    """Return the text of a page with the part of a script replaced.

    Args:
        page: Markdown file.
        script: Name of the script, such as "accuracy.py".
        part: New lines of the part.

    Raises:
        SystemExit: The page does not contain this part, or contains it more than once.
    """
    begins = f"<!-- benchmarks/{script} --write -->\n"
    before, *rests = page.read_text(encoding="utf-8").split(begins)
    if len(rests) != 1 or ENDS not in rests[0]:
        sys.exit(f"{page} must contain the lines {begins.strip()} and {ENDS.strip()} once, in this order.")
    return f"{before}{begins}{part}{ENDS}{rests[0].partition(ENDS)[2]}"


def enumerated(words: Sequence[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def wrapped(text: str) -> str:
    """Return a paragraph in lines of the documents' width."""
    return textwrap.fill(text, 120, break_on_hyphens=False, break_long_words=False)
