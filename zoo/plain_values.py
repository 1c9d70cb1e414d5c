"""Values of specs and settings: plain ones of Python's own types, within limits of size, as lists and JSON need."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from zoo.errors import UsageError
from zoo.paths import parse_json

LONGEST_ID = 100
"""Characters of an id, which is part of the name of a folder."""
LONGEST_SUMMARY, LONGEST_TEXT, MOST_ENTRIES, DEEPEST = 1_000, 100_000, 10_000, 20
"""Limits of what lists, tables and JSON files can hold: characters, characters, entries, levels."""


def plain_value(value: Any, depth: int = 0) -> Any:
    """Return a copy made of Python's own types, so that no code of a plugin runs when it is printed or compared.

    What JSON cannot hold stays as it is, to be refused by the form of its field.

    Raises:
        ValueError: A value is too large or too deep for lists, tables and JSON; the text continues a field's name.
    """
    if value is None or isinstance(value, bool):
        return value
    if type(value) is str and value.isascii() and len(value) <= LONGEST_TEXT:  # most values, so it comes first
        return value
    if isinstance(value, str):
        text = str.__str__(value)
        if len(text) > LONGEST_TEXT:
            raise ValueError(f"has a text of more than {LONGEST_TEXT:,} characters")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("has a text with half a character (a surrogate), which no file can hold") from None
        return text
    if isinstance(value, int):
        number = int.__int__(value)
        if not -(2**63) <= number < 2**64:
            raise ValueError("has a whole number of more than 64 bits")
        return number
    if isinstance(value, float):
        return float.__float__(value)
    if not isinstance(value, (dict, list, tuple, Mapping)):  # Mapping last: its test is slow
        return value
    if depth == DEEPEST:
        raise ValueError(f"is nested more than {DEEPEST} levels deep")
    if len(value) > MOST_ENTRIES:
        raise ValueError(f"has more entries than {MOST_ENTRIES:,}")
    if isinstance(value, (list, tuple)):
        inner_values = [plain_value(inner, depth + 1) for inner in value]
        return tuple(inner_values) if isinstance(value, tuple) else inner_values
    return {plain_value(key, depth): plain_value(inner, depth + 1) for key, inner in value.items()}


def parse_value(text: str, *, of: str) -> Any:
    """Return the value that a text stands for: JSON where it can be, text where not.

    Args:
        text: Text of the value.
        of: Name of the setting for an error.

    Raises:
        UsageError: It is a number that is not finite.
    """
    try:
        value = parse_json(text)
    except ValueError:
        value = {"True": True, "False": False, "None": None}.get(text, text)
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{of}: {text} is not a finite number.")
    return value


def _is_plain(value: Any) -> bool:
    """Whether JSON can hold a value: text, finite number, truth value, None, and lists and mappings of them."""
    if value is None or isinstance(value, (str, int)):
        return True
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return isinstance(value, Mapping) and all(isinstance(key, str) and _is_plain(each) for key, each in value.items())


MOST_SEED = 2**63 - 1
"""Largest seed of images: torch and NumPy hold it."""


def check_seed(seed: object, *, name: str = "seed") -> None:
    """Refuse what is not a seed of images.

    Args:
        seed: A value from outside.
        name: What the message calls it.

    Raises:
        UsageError: It is not a whole number from 0 to `MOST_SEED`.
    """
    if type(seed) is not int or not 0 <= seed <= MOST_SEED:
        raise UsageError(f"{name}={seed!r} must be a whole number from 0 to {MOST_SEED:,}.")


FORMS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "str": ("a text", lambda value: isinstance(value, str)),
    "str | None": ("a text or None", lambda value: value is None or isinstance(value, str)),
    "int | None": (
        "a whole number from 0 to 2^63 - 1, or None",
        lambda value: value is None or (type(value) is int and 0 <= value <= MOST_SEED),
    ),
    "int": ("a whole number from 0 to 2^63 - 1", lambda value: type(value) is int and 0 <= value <= MOST_SEED),
    "bool": ("True or False", lambda value: isinstance(value, bool)),
    # A forgotten comma makes ("timm") a text, and each letter would be taken for a name.
    "tuple[str, ...]": (
        "a list of texts",
        lambda value: isinstance(value, tuple) and all(isinstance(entry, str) for entry in value),
    ),
    "tuple[Any, ...]": (
        "a list of values that JSON can hold",
        lambda value: isinstance(value, tuple) and _is_plain(value),
    ),
    "Mapping[str, Any]": (
        "a mapping from names to values that JSON can hold",
        lambda value: isinstance(value, Mapping) and _is_plain(value),
    ),
    "Mapping[str, str]": (
        "a mapping from names to texts",
        lambda value: (
            isinstance(value, Mapping) and all(isinstance(text, str) for pair in value.items() for text in pair)
        ),
    ),
}
"""Annotation of a field -> allowed values in words, and their test."""
