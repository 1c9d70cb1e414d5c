"""A console that prints every text as it is: no markup, no emoji codes, and control characters written out."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import Task, TextColumn
from rich.text import Text

from zoo.escaping import visible


class PlainConsole(Console):
    """A console for names, values and errors from outside; `styled` gives a text its style.

    Args:
        stderr: Whether it prints to stderr.
        width: Number of columns; default: those of the terminal.
    """

    def __init__(self, *, stderr: bool, width: int | None) -> None:
        super().__init__(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return the text of a title, a cell or a line; rich converts each `str` here."""
        return super().render_str(visible(text), **options)


class PlainColumn(TextColumn):
    """A text beside a progress bar."""

    def render(self, task: Task) -> Text:
        """Return the text of a task."""
        return Text(visible(self.text_format.format(task=task)), style=self.style)


def styled(text: str, style: str) -> Text:
    """Return a text with a style, such as "bold red"."""
    return Text(visible(text), style=style)
