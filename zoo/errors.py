"""The errors that zoo raises deliberately, each with a message, an optional hint and an exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class ZooError(Exception):
    """An error that the user can fix.

    Args:
        message: The invalid value and the allowed ones.
        hint: The next command or step, shown on a separate line.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}\n{self.hint}" if self.hint else message


class Interrupted(KeyboardInterrupt):
    """The user, a launcher or the end of the parent process stops the work; a plugin's KeyboardInterrupt is not one."""


class UsageError(ZooError):
    """The command or call is invalid: unknown name, malformed value, impossible size."""

    exit_code = 2


class MissingError(ZooError):
    """A required plugin or library is missing or broken."""

    exit_code = 3


class DataError(ZooError):
    """Data on disk are damaged or cannot be written."""


class BusyError(ZooError):
    """Another process is running this cell."""


class LauncherError(ZooError):
    """A launcher failed, or does not keep its contract."""


class TrainingError(ZooError):
    """A training run failed, for example because the loss is not finite or the model cannot be built."""


def described(error: BaseException) -> str:
    """Return type and text of an error; the type alone where it has no text, as that of a bare `assert`."""
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def nearest(name: Any, candidates: Iterable[str]) -> str:
    """Return " Did you mean 'x' or 'y'?" for the closest candidates, or "" without a close candidate."""
    close = closest(name, candidates)
    return " Did you mean " + " or ".join(f"'{match}'" for match in close) + "?" if close else ""


def closest(name: Any, candidates: Iterable[str]) -> list[str]:
    """Return at most three candidates that a mistyped name may mean, the closest first.

    Names that differ in one letter come first.
    """
    if not isinstance(name, str):  # a caller from Python may pass any type
        return []
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    # In a name of two letters, one typo changes half of it.
    cutoff = 0.5 if len(name) <= 3 else 0.6
    typed = name.lower()
    close = difflib.get_close_matches(typed, by_lower, n=max(1, len(by_lower)), cutoff=cutoff)
    if not close:
        return []
    # difflib counts letters in common: to it, a letter left out is nearer than a wrong one.
    close.sort(key=lambda match: not _one_letter_apart(typed, match))
    best = _likeness(typed, close[0])
    close = [match for match in close if _likeness(typed, match) > best - _MUCH_LESS]
    return [by_lower[match] for match in close[:3]]


_MUCH_LESS = 0.2  # by which a candidate is less like the typed name than the closest one, and is left out


def _likeness(first: str, second: str) -> float:
    return difflib.SequenceMatcher(a=second, b=first).ratio()


def _one_letter_apart(first: str, second: str) -> bool:
    return len(first) == len(second) and sum(one != other for one, other in zip(first, second, strict=True)) <= 1
