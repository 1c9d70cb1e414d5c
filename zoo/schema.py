"""Typed values that are stored as JSON or TOML, and the functions that check what is read and written.

msgspec does the checking: it compares every field with its annotation, names the place of a wrong one, and imports
about four times as fast as pydantic (compare `python -X importtime`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar, dataclass_transform

import msgspec

from zoo.errors import DataError

R = TypeVar("R")
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A number of things. The upper bound keeps out what no float can hold."""


# For type checkers, which else expect `frozen=True` at every class that derives from a frozen one.
@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the values that files hold: frozen, with typed fields and no others."""


def read_record(content: Any, kind: type[R], *, what: str) -> R:
    """Return plain values as a typed one.

    Args:
        content: Plain values from `json.loads` or `tomllib.loads`.
        kind: Type of the value: a `Record`, or any type that msgspec supports.
        what: Name of the value for the message, such as "result.json".

    Raises:
        DataError: A field is missing, unknown or of the wrong type; the error names it.
    """
    try:
        return msgspec.convert(content, kind, dec_hook=_from_plain)
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        text = _TWO_PLACES.sub(r" - at `\2\1`", str(error))
        raise DataError(f"{what} is damaged: {text}.") from error


def plain(value: Any) -> Any:
    """Return a typed value as dictionaries, lists, texts and numbers, as JSON gives them; a path becomes a text."""
    return _with_lists(msgspec.to_builtins(value, enc_hook=_path_as_text))


def json_text(content: Any, *, what: str, indent: int | None = None, sort_keys: bool = False) -> str:
    """Return plain values as JSON, which has no word for NaN and infinity.

    Args:
        content: Dictionaries, lists, texts and numbers, as `plain` returns them.
        what: Name of the file for the message.
        indent, sort_keys: Format, as for `json.dumps`.

    Raises:
        DataError: A number is not finite; the error names it.
    """
    try:
        return json.dumps(content, indent=indent, sort_keys=sort_keys, allow_nan=False)
    except ValueError as error:
        raise DataError(f"{what} cannot hold a number that is not finite: {not_finite(content) or error}.") from error


def not_finite(content: Any, name: str = "") -> str:
    """Return place and value of the first number in plain values that is not finite, such as "test.ece=nan", or ""."""
    if isinstance(content, float):
        return "" if math.isfinite(content) else f"{name}={content}"
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(content, dict):
        pairs = content.items()
    elif isinstance(content, (list, tuple)):
        pairs = enumerate(content)
    found = (not_finite(value, f"{name}.{key}" if name else str(key)) for key, value in pairs)
    return next(filter(None, found), "")


_TWO_PLACES = re.compile(r" - at `\$(\S*)` - at `(\$\S*)`$")
"""Place in a value that `_from_plain` read, and place of this value."""


def _from_plain(kind: Any, content: Any) -> Any:
    """Read a type that msgspec does not know, by its function `from_plain`."""
    if isinstance(content, kind):
        return content
    reader = getattr(kind, "from_plain", None)
    if reader is None:
        # msgspec's protocol of a hook for a type that it does not read: a mistake in a Record, not in a file.
        raise NotImplementedError(f"values of type {kind} cannot be read")
    return reader(content)


def _with_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_lists(inner) for name, inner in value.items()}
    return [_with_lists(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _path_as_text(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON")
