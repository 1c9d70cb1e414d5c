"""Files and folders at addresses such as s3://bucket/cutouts, copied into the cache and read from there.

fsspec reads them; most kinds of storage need a package of their own (s3fs, gcsfs, aiohttp, ...), and take accounts and
endpoints from their own settings. Each address has a folder of its own in the cache, named by its digest.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from zoo.errors import DataError, MissingError, UsageError, ZooError
from zoo.locks import lock_held
from zoo.paths import cache_dir, is_address, make_dir, read_json, user_path, write_text

logger = logging.getLogger(__name__)

Files = dict[str, tuple[str, str]]
"""Relative name of each file, "" for a single one -> path there, text that changes with its content ("": unknown)."""
_LIST = "copied.json"
_HTTP = ("http", "https")
_LONGEST_NAME = 100


def readable_path(text: str | os.PathLike[str]) -> Path:
    """Return the path of a file or folder that a user typed and that is read only: a path, or an address.

    Raises:
        UsageError: As for `user_path`, or nothing lies at the address.
        MissingError, DataError: As for `local_copy`.
    """
    return local_copy(os.fspath(text)) if is_address(text) else user_path(text)


@functools.lru_cache(maxsize=256)
def local_copy(address: str) -> Path:
    """Return the copy in the cache of what lies at an address; files that have changed there are copied again.

    A process asks once for each address. Without a connection, an earlier whole copy serves, with a warning.

    Args:
        address: "PROTOCOL://PATH" of a file or a folder.

    Raises:
        UsageError: Nothing lies there, or the protocol is unknown.
        MissingError: A package is absent, access is denied, or there is neither a connection nor a copy.
        DataError: The cache cannot be written.
    """
    parts = PurePosixPath(urlsplit(address).netloc + urlsplit(address).path).parts
    if not parts or ".." in parts or "::" in address or "\0" in address:
        raise UsageError(f"{address!r} is not an address of the form PROTOCOL://PATH.")
    place = make_dir(cache_dir() / "remote" / hashlib.sha256(address.encode()).hexdigest()[:16])
    copy, listing = place / parts[-1][-_LONGEST_NAME:], place / _LIST
    with lock_held(place / "lock"):
        whole, before = _listed(listing)
        try:
            system, files = _files_at(address)
            _copy(system, files, before, copy=copy, listing=listing, address=address)
        except FileNotFoundError as error:
            raise UsageError(f"Nothing was found at {address}.") from error
        except ZooError:
            raise
        except Exception as error:
            if whole and copy.exists():
                logger.warning("%s cannot be read (%s); the copy in %s is used", address, error, copy)
                return copy
            raise MissingError(
                f"{address} cannot be read: {type(error).__name__}: {error}",
                hint=f"Check the connection, the account of the storage, and the space in {place.parent}.",
            ) from error
    return copy


def shown(path: Path) -> str:
    """Return the name of a file for people: of a copy its address, without a query or an account, else its path."""
    copies = cache_dir() / "remote"
    if not path.is_relative_to(copies):
        return str(path)
    place, _, *inside = path.relative_to(copies).parts
    address = _address_of(copies / place)
    return "/".join([address, *inside]) if address else str(path)


@functools.lru_cache(maxsize=256)
def _address_of(place: Path) -> str:
    """Return the address whose copy a folder of the cache holds; "" where it is unknown."""
    try:
        return str(read_json(place / _LIST)["address"])
    except (OSError, ValueError, TypeError, KeyError, DataError):
        return ""


def _public(address: str) -> str:
    """Return an address without what may be a secret."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl().rstrip("/")


def _listed(listing: Path) -> tuple[bool, dict[str, str]]:
    """Return whether the copy was completed, and the file names with their keys as they were copied."""
    try:
        content = read_json(listing)
        return bool(content["whole"]), {str(name): str(key) for name, key in content["files"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, DataError):
        return False, {}


def _files_at(address: str) -> tuple[Any, Files]:
    """Return the file system of an address, and each file below it.

    Raises:
        FileNotFoundError: Nothing lies there.
        UsageError: The protocol is unknown, or a folder of a web server was named.
        MissingError: A package is absent.
    """
    import fsspec

    protocol = address.partition("://")[0]
    try:
        system, root = fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise MissingError(f"{address} needs a package: {error}") from error
    except ValueError as error:
        raise UsageError(
            f"'{protocol}' is not a protocol of fsspec: {error}",
            hint="Protocols are s3, gs, az, http, https, ftp, sftp, hf and others.",
        ) from error
    system.invalidate_cache()
    try:
        about = system.info(root)
    except FileNotFoundError as error:
        # fsspec raises the same for a web server that does not answer; its cause then has no status, or another one.
        cause = error.__cause__
        if protocol in _HTTP and cause is not None and getattr(cause, "status", 0) not in (404, 410):
            raise ConnectionError(str(cause)) from error
        about = {"type": "directory"}  # some storages list folders by their content only
    if protocol in _HTTP and (address.endswith("/") or about.get("mimetype") == "text/html"):
        raise UsageError(f"{address} is a page and not a file: folders of a web server cannot be read.")
    if about.get("type") == "file":
        return system, {"": (root, _key(about))}
    found = system.find(root, detail=True)
    if not found:
        raise FileNotFoundError(address)
    above = root.rstrip("/") + "/"
    return system, {path.removeprefix(above): (path, _key(one)) for path, one in sorted(found.items())}


def _key(about: Mapping[str, Any]) -> str:
    """Return a text that changes with a file's content; "" where the storage states nothing of the kind."""
    names = ("ETag", "etag", "md5Hash", "mtime", "created", "LastModified", "last_modified", "Last-Modified")
    stated = [str(about[name]) for name in names if about.get(name)]
    return " ".join([str(about.get("size")), *stated]) if stated else ""


def _copy(system: Any, files: Files, before: Mapping[str, str], *, copy: Path, listing: Path, address: str) -> None:
    """Copy the files that are absent or have changed; remove those that are no longer there."""
    if "" in files and copy.is_dir():
        shutil.rmtree(copy)
    elif "" not in files and copy.is_file():
        copy.unlink()
    for name in before.keys() - files.keys():
        if name:
            (copy / name).unlink(missing_ok=True)
    after = {name: key for name, key in before.items() if name in files}
    part = listing.with_name("part")
    for number, (name, (path, key)) in enumerate(files.items(), start=1):
        target = copy / name if name else copy
        if key and before.get(name) == key and target.is_file():
            continue
        if ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
            raise UsageError(f"{address} holds a file with the name {name!r}.")
        if target.is_dir():  # a folder was there before
            shutil.rmtree(target)
        make_dir(target.parent)
        system.get_file(path, str(part))
        os.replace(part, target)
        after[name] = key
        if number % 100 == 0:
            write_text(listing, json.dumps({"whole": False, "files": after, "address": _public(address)}))
        logger.info("copied %s, %d of %d", path, number, len(files))
    write_text(listing, json.dumps({"whole": True, "files": after, "address": _public(address)}))
