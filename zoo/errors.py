"""Every error that zoo raises on purpose: one message for a person, one exit code for a program."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class ZooError(Exception):
    """Something went wrong that the user can mend.

    Args:
        message: what was wrong, with its value, and what is allowed.
        hint: the next command or step, on a line of its own.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}\n{self.hint}" if self.hint else message


class UsageError(ZooError):
    """The command or call cannot mean anything: unknown name, malformed value, impossible size."""

    exit_code = 2


class MissingError(ZooError):
    """A plugin or a library that the request needs is absent or broken."""

    exit_code = 3


class DataError(ZooError):
    """Data on disk are damaged, or cannot be written."""


class BusyError(ZooError):
    """Another process runs this cell."""


class TrainingError(ZooError):
    """A training run failed: loss not finite, model that does not build, and the like."""


def nearest(name: Any, candidates: Iterable[str]) -> str:
    """Return " Did you mean 'x' or 'y'?" for the closest candidates, or "" if none is close."""
    if not isinstance(name, str):  # from Python anything may come; it resembles nothing
        return ""
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    # One wrong letter of two is half of the name.
    cutoff = 0.5 if len(name) <= 3 else 0.6
    close = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=cutoff)
    if not close:
        return ""
    return " Did you mean " + " or ".join(f"'{by_lower[match]}'" for match in close) + "?"
