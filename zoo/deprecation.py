"""Warnings of names that will go, each with its successor."""

from __future__ import annotations

import warnings


def deprecated(name: str, *, successor: str, removed_in: str) -> None:
    """Warn the code that called the deprecated function.

    Args:
        name: Deprecated name, with its module.
        successor: Name or call to use in its place.
        removed_in: Version of zoo that no longer has it.
    """
    warnings.warn(
        f"{name} is deprecated and will be removed in zoo {removed_in}: use {successor}",
        DeprecationWarning,
        stacklevel=3,
    )
