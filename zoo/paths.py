"""The cache folder, and functions that write files atomically."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from zoo.errors import DataError


def cache_dir() -> Path:
    """Return the folder of simulated data sets and compiled code: $ZOO_CACHE, or the user's cache folder."""
    chosen = os.environ.get("ZOO_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("lens-zoo"))


def make_dir(path: Path) -> Path:
    """Create a folder and check that it is writable.

    Raises:
        DataError: The folder cannot be created or is not writable.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"Cannot create the folder {path}: {error.strerror or error}.", hint=_ELSEWHERE) from error
    if not os.access(path, os.W_OK):
        raise DataError(f"Cannot write to the folder {path}.", hint=_ELSEWHERE)
    return path


_ELSEWHERE = "Choose another folder with --store DIR (results), --out DIR or the variable ZOO_CACHE (simulated images)."


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; on success rename it to `path` in one step, on failure delete it.

    Raises:
        DataError: The file cannot be written: disk full, permission denied, or `path` is a folder.
    """
    if path.is_dir():  # "." has no file name to derive the temporary name from
        raise DataError(f"Cannot write {path}: it is a folder.", hint=f"Give a file path, for example {path / 'NAME'}")
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except Exception as error:
        from safetensors import SafetensorError  # not at the top: listing imports this module

        if not isinstance(error, (OSError, SafetensorError)):
            raise
        cause = getattr(error, "strerror", None) or error
        raise DataError(f"Cannot write {path}: {cause}.", hint=_ELSEWHERE) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
