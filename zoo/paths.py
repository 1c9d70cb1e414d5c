"""Where things are kept, and how a file comes to be there whole or not at all."""

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
    """Create a folder that must be writable.

    Raises:
        DataError: it cannot be created, or nothing can be written there.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"Cannot create the folder {path}: {error.strerror or error}.", hint=_ELSEWHERE) from error
    if not os.access(path, os.W_OK):
        raise DataError(f"Cannot write to the folder {path}.", hint=_ELSEWHERE)
    return path


_ELSEWHERE = "Choose another with --store DIR (results), --out DIR or the variable ZOO_CACHE (simulated images)."


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success move it there in one step, on any failure remove it.

    Raises:
        DataError: the file cannot be written: disk full, no permission, a folder of this name.
    """
    if path.is_dir():  # "." has no name to write beside
        raise DataError(f"Cannot write {path}: it is a folder.", hint=f"Name a file, such as {path / 'NAME'}")
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
    """Write a text file whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
