"""Typed values that are stored as JSON or TOML, and the one function that checks what was read.

msgspec does the checking: it compares every field with its annotation, names the place of a wrong one, and imports
about four times as fast as pydantic (compare `python -X importtime`).
"""

from __future__ import annotations

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
        content: What `json.loads` or `tomllib.loads` returned.
        kind: Type of the value: a `Record`, or any type that msgspec supports.
        what: Name of the value for the message, such as "result.json".

    Raises:
        DataError: A field is missing, unknown or of the wrong type; names the field.
    """
    try:
        return msgspec.convert(content, kind)
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        raise DataError(f"{what} is damaged: {error}.") from error


def plain(value: Any) -> Any:
    """Return a typed value as dictionaries, lists, texts and numbers, as JSON gives them; a path becomes a text."""
    return _with_lists(msgspec.to_builtins(value, enc_hook=_path_as_text))


def _with_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_lists(inner) for name, inner in value.items()}
    return [_with_lists(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _path_as_text(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON")
