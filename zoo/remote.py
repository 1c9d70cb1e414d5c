"""Files and folders at addresses such as s3://bucket/cutouts, copied into the cache and read from there.

fsspec reads them; most kinds of storage need a package of their own (s3fs, gcsfs, aiohttp, ...), and take accounts and
endpoints from their own settings.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from zoo.errors import MissingError, UsageError
from zoo.locks import file_lock
from zoo.paths import cache_dir, is_address, make_dir, read_json, user_path, write_text

logger = logging.getLogger(__name__)

_LIST = "copied.json"
"""File beside a copy that holds address, size and key of each file as it was copied."""


def readable_path(text: str | os.PathLike[str]) -> Path:
    """Return the path of a file or folder that a user typed and that is read only: a path, or an address.

    Raises:
        UsageError: As for `user_path`, or nothing lies at the address.
        MissingError: As for `local_copy`.
    """
    return local_copy(os.fspath(text)) if is_address(text) else user_path(text)


@functools.lru_cache(maxsize=256)
def local_copy(address: str) -> Path:
    """Return the copy in the cache of what lies at an address; files that have changed there are copied again.

    A process asks once for each address. Without a connection, an earlier copy serves, with a warning.

    Args:
        address: "PROTOCOL://PATH" of a file or a folder.

    Raises:
        UsageError: Nothing lies there, or the protocol is unknown.
        MissingError: A package is absent, access is denied, or there is neither a connection nor a copy.
        DataError: The cache cannot be written.
    """
    protocol, _, place = address.partition("://")
    place = place.strip("/")
    parts = PurePosixPath(place).parts
    if not parts or ".." in parts or "::" in address:
        raise UsageError(f"'{address}' is not an address of the form PROTOCOL://PATH.")
    beside = make_dir(cache_dir() / "remote" / protocol / Path(*parts[:-1]))
    copy, listing = beside / parts[-1], beside / f".{parts[-1]}.{_LIST}"
    with file_lock(beside / f".{parts[-1]}.lock"):
        try:
            found, files = _files_at(address, protocol)
        except FileNotFoundError as error:
            raise UsageError(f"Nothing was found at {address}.") from error
        except Exception as error:
            if isinstance(error, UsageError | MissingError):
                raise
            if listing.is_file() and copy.exists():
                logger.warning("%s cannot be read (%s); the copy in %s is used", address, error, copy)
                return copy
            raise MissingError(
                f"{address} cannot be read: {type(error).__name__}: {error}",
                hint="Check the connection and the account that the storage asks for.",
            ) from error
        _copy(found, files, copy=copy, listing=listing, address=address)
    return copy


def _files_at(address: str, protocol: str) -> tuple[Any, dict[str, tuple[str, str]]]:
    """Return the file system of an address, and each file below it: relative name -> path there, key of its content.

    The relative name of a single file is "".
    """
    import fsspec

    try:
        system, root = fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise MissingError(f"{address} needs a package: {error}") from error
    except ValueError as error:
        raise UsageError(
            f"'{protocol}' is not a protocol that fsspec knows: {error}",
            hint="Known are s3, gs, az, http, https, ftp, sftp, hf and others.",
        ) from error
    system.invalidate_cache()
    if system.isfile(root):
        return system, {"": (root, _key(system, root, system.info(root)))}
    found = system.find(root, detail=True)
    if not found:
        raise FileNotFoundError(address)
    above = root.rstrip("/") + "/"
    return system, {
        path.removeprefix(above): (path, _key(system, path, about)) for path, about in sorted(found.items())
    }


def _key(system: Any, path: str, about: Mapping[str, Any]) -> str:
    """Return a text that changes with a file's content, as far as the storage states one."""
    stated = [
        str(about[name]) for name in ("size", "ETag", "etag", "md5Hash", "mtime", "LastModified") if name in about
    ]
    return " ".join(stated) if len(stated) > 1 else str(system.ukey(path))


def _copy(system: Any, files: Mapping[str, tuple[str, str]], *, copy: Path, listing: Path, address: str) -> None:
    """Copy the files that are absent or have changed; remove those that are no longer there."""
    before: dict[str, str] = {}
    if listing.is_file() and copy.exists():
        stored = read_json(listing)
        before = stored if isinstance(stored, dict) else {}
    elif copy.is_dir():
        shutil.rmtree(copy)
    for name in before.keys() - files.keys():
        (copy / name if name else copy).unlink(missing_ok=True)
    after = {name: key for name, key in before.items() if name in files}
    for number, (name, (path, key)) in enumerate(files.items(), start=1):
        target = copy / name if name else copy
        if before.get(name) == key and target.is_file():
            continue
        if re.search(r"(^|/)\.\.(/|$)", name):
            raise UsageError(f"{address} holds a file with the name {name!r}.")
        make_dir(target.parent)
        part = target.with_name(f".{target.name}.part")
        system.get_file(path, str(part))
        os.replace(part, target)
        after[name] = key
        if number % 100 == 0 or number == len(files):
            write_text(listing, json.dumps(after))
        logger.info("copied %s, %d of %d", path, number, len(files))
    write_text(listing, json.dumps(after))
