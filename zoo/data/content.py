"""Files and folders from outside, named by a digest of their content in place of their path."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.data.recipe import short_hash
from zoo.errors import DataError, MissingError, UsageError
from zoo.paths import cache_dir, make_dir, read_json, regular_file, write_text
from zoo.remote import readable_path

PREFIX = "content:"
_SETTLED_NS = 2 * 10**9
"""A file that changed a moment ago is read again next time: within one tick of the clock it may change unnoticed."""


def content_digest(path: Path) -> str:
    """Return "content:" and the SHA-256 over the names and contents of all files of a folder, or of one file.

    The digests of the files are kept in the cache with their sizes, times and numbers on the disk, so that a file is
    read again only where one of these has changed. Files whose name begins with a dot are left out: file managers,
    editors and network disks leave such files behind.

    Args:
        path: File or folder; links are followed for files, not for folders inside of it.

    Raises:
        DataError: A file cannot be read, or the path does not exist.
    """
    path = path.absolute()
    try:
        listed = {name: _mark(entry) for name, entry in _files(path)}
        kept_in = cache_dir() / "digests" / f"{short_hash(str(path))}.json"
        kept = _kept(kept_in)
        marks: dict[str, list[Any]] = {
            name: [*mark, _digest_of(path / name, mark, kept.get(name))] for name, mark in listed.items()
        }
    except OSError as error:
        raise DataError(f"Cannot read {error.filename or path}: {error.strerror or error}.") from error
    now = time.time_ns()
    settled = {name: mark for name, mark in marks.items() if max(mark[1], mark[2]) < now - _SETTLED_NS}
    if settled and settled != kept:
        with contextlib.suppress(DataError):  # a cache that is not writable only costs time
            text = json.dumps({"files": settled, "checksum": _checksum(settled)})
            write_text(make_dir(kept_in.parent) / kept_in.name, text)
    whole = hashlib.sha256(json.dumps(sorted((name, mark[-1]) for name, mark in marks.items())).encode())
    return PREFIX + whole.hexdigest()


def pin_paths(values: Mapping[str, Any], names: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return values with absolute paths, and the digest of what lies at each.

    A text that is not the name of an existing file or folder stays as it is: the target refuses it, or takes it as a
    name of its own.

    Args:
        values: Parameters or hyper-parameters.
        names: Those that are paths where their value is a text.

    Raises:
        DataError: A file cannot be read.
    """
    pinned, digests = dict(values), {}
    for name in names:
        value = values.get(name)
        if isinstance(value, str) and value and (path := _existing(value)) is not None:
            pinned[name], digests[name] = str(path), content_digest(path)
    return pinned, digests


def check_content(values: Mapping[str, Any], names: Sequence[str], content: Mapping[str, str], *, what: str) -> None:
    """Compare what lies at the paths among some values now with what lay there when the cell was planned.

    Args:
        values: Parameters or hyper-parameters.
        names: Those that are paths.
        content: Name -> digest at that time.
        what: Id of the data set or model, for the message.

    Raises:
        DataError: A file was changed, added or removed since, or the digest is missing.
    """
    _, digests = pin_paths(values, names)
    for name in {*digests, *content}:
        if digests.get(name) != content.get(name):
            raise DataError(
                f"{what}: the files at {name}={values.get(name)!r} are not those that this run was planned with.",
                hint="Plan it again: repeat the command that made the plan.",
            )


def _existing(text: str) -> Path | None:
    try:
        path = readable_path(text).absolute()
        return path if path.exists() else None
    except (UsageError, MissingError, OSError):  # ~nobody/x; a name of 300 letters; a null character
        return None


def _files(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield name relative to the path, and status, of every regular file."""
    if not path.is_dir():
        yield "", path.stat()
        return
    for folder, _, names in os.walk(path, onerror=_raise):
        for name in names:
            full = Path(folder, name)
            if name.startswith("."):
                continue
            try:
                entry = full.stat()
            except FileNotFoundError:
                continue  # a link to nothing
            if stat.S_ISREG(entry.st_mode):
                yield full.relative_to(path).as_posix(), entry


def _raise(error: OSError) -> None:
    raise error


def _mark(entry: os.stat_result) -> list[int]:
    return [entry.st_size, entry.st_mtime_ns, entry.st_ctime_ns, entry.st_ino]


def _digest_of(path: Path, mark: list[int], kept: Any) -> str:
    """Return the SHA-256 of a file, from the cache where size, times and number on the disk are the same."""
    if isinstance(kept, list) and len(kept) == len(mark) + 1 and kept[:-1] == mark:
        return str(kept[-1])
    with regular_file(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _kept(path: Path) -> dict[str, Any]:
    """Return name -> mark and digest of the files as they were last time; empty where the cache is damaged."""
    try:
        content = read_json(path)
        files = content["files"]
        return files if isinstance(files, dict) and content["checksum"] == _checksum(files) else {}
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}


def _checksum(files: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
