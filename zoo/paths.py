"""The cache folder, paths that users type, and functions that read and write files safely."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import shlex
import stat
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from zoo.errors import DataError, UsageError

logger = logging.getLogger(__name__)

_RANDOM = re.compile(r"[0-9a-f]{8}")
_NAME_LENGTH = 50  # characters of a file's name that its temporary name repeats: file systems allow 255 bytes


def cache_dir() -> Path:
    """Return the folder of simulated data sets and compiled code: $ZOO_CACHE, or the user's cache folder.

    Raises:
        UsageError: ZOO_CACHE begins with `~` of an unknown user, or `provide_home` failed.
    """
    chosen = os.environ.get("ZOO_CACHE")
    if chosen:
        return user_path(chosen).absolute()
    import platformdirs

    provide_home()
    return Path(platformdirs.user_cache_dir("lens-zoo"))


def absolute_variables() -> None:
    """Make the paths in ZOO_CACHE and ZOO_PLUGIN_FILES absolute, since processes may be started in another folder.

    Raises:
        UsageError: A path begins with `~` of an unknown user.
    """
    for name, separator in (("ZOO_CACHE", None), ("ZOO_PLUGIN_FILES", os.pathsep)):
        value = os.environ.get(name, "")
        paths = [path for path in (value.split(separator) if separator else [value]) if path]
        if paths:
            os.environ[name] = (separator or "").join(str(user_path(path).absolute()) for path in paths)


def provide_home() -> None:
    """Set HOME to a folder among the temporary files if the user has no home folder, as in many containers.

    Libraries such as astropy cannot be imported without one. Processes that this one starts inherit it.

    Raises:
        UsageError: That folder belongs to another user, or cannot be made.
    """
    if os.path.isabs(os.path.expanduser("~")) or not hasattr(os, "getuid"):
        return
    user = os.getuid()
    folder = Path(tempfile.gettempdir(), f"lens-zoo-{user}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        owner = folder.lstat().st_uid
    except OSError as error:
        raise UsageError(f"Cannot use {folder} as home folder: {error.strerror}.", hint="Set HOME.") from error
    if owner != user:
        raise UsageError(f"There is no home folder, and {folder} belongs to another user.", hint="Set HOME.")
    os.environ["HOME"] = str(folder)
    os.environ.setdefault("USER", f"user{user}")  # torch asks for a name, too
    logger.warning("There is no home folder: %s takes its place. Set HOME to choose another one.", folder)


def user_path(text: str | os.PathLike[str]) -> Path:
    """Return a path that a user typed, with a leading `~` or `~USER` replaced by the home folder.

    Raises:
        UsageError: The text is empty, contains a null character, or is an address; or the home folder is unknown.
    """
    if not os.fspath(text):
        raise UsageError("The path is empty.", hint="The current folder is: .")
    if is_address(text):
        raise UsageError(
            f"{os.fspath(text)} is an address, and a path is needed here.",
            hint="Addresses may stand for weights, --images, data.root and the files of zoo predict.",
        )
    if "\0" in os.fspath(text):
        raise UsageError(f"The path {os.fspath(text)!r} contains a null character.")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(
            f"The path {text}: the home folder of {Path(text).parts[0]} is unknown.", hint="Write the path without ~."
        ) from error


def is_address(text: str | os.PathLike[str]) -> bool:
    """Return whether a text is an address such as s3://bucket/file, and not a path."""
    return re.match(r"[a-z][a-z0-9+.-]*://", os.fspath(text)) is not None


def regular_file(path: Path) -> Path:
    """Return the path of a file that is about to be read, after a check that it is a regular file.

    Opening a named pipe waits for a writer, possibly for ever; a device may have no end.

    Raises:
        OSError: The file was not found, or is a folder, a named pipe, a socket or a device.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        kind = "a named pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
        raise OSError(errno.EINVAL, f"it is {kind} and not a regular file", str(path))
    return path


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a regular file, 64 hex digits, as sha256sum prints it."""
    with regular_file(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_log(path: Path, *, append: bool = True) -> int:
    """Open a log file for writing and return its file descriptor.

    Args:
        path: File of the log; its folder exists.
        append: Whether to keep what is there.

    Raises:
        DataError: The file cannot be written, or is not a regular file.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (0 if append else os.O_TRUNC)
    try:
        if os.path.lexists(path):
            regular_file(path)
        return os.open(path, flags, 0o666)
    except OSError as error:
        raise DataError(f"Cannot write {path}: {error.strerror or error}.", hint=_ELSEWHERE) from error


def log_tail(path: Path, lines: int) -> str:
    """Return the last lines of a log, for a message; or a note that it cannot be read."""
    try:
        text = regular_file(path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return "(empty)"
    except OSError as error:
        return f"(cannot be read: {error.strerror or error})"
    return "\n".join(text.splitlines()[-lines:]) or "(empty)"


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: The text is not JSON, or is nested more deeply than Python can follow.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        OSError: The file was not found, is not a regular file, or is not readable.
        ValueError: The text is not JSON, or is nested more deeply than Python can follow.
    """
    return parse_json(regular_file(path).read_text(encoding="utf-8"))


def make_dir(path: Path) -> Path:
    """Create a folder and check that it is writable.

    Raises:
        DataError: The folder cannot be created or is not writable.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        cause = "it is a file" if isinstance(error, FileExistsError) else error.strerror or error
        raise DataError(f"Cannot create the folder {path}: {cause}.", hint=_ELSEWHERE) from error
    if not os.access(path, os.W_OK):
        raise DataError(f"Cannot write to the folder {path}.", hint=_ELSEWHERE)
    return path


_ELSEWHERE = "Choose another folder with --store DIR (results), --out DIR or the variable ZOO_CACHE (simulated images)."


def in_shell(path: str | Path) -> str:
    """Return a path as a command that is printed for copying names it, such as one with blanks in quotes."""
    return shlex.quote(str(path))


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; on success rename it to `path` in one step, on failure delete it.

    A link stays one: the file that it leads to is written.

    Raises:
        DataError: The file cannot be written: disk full, permission denied, or `path` is a folder, a device or a pipe.
    """
    if os.path.isdir(path):  # "." has no file name to derive the temporary name from
        raise DataError(f"Cannot write {path}: it is a folder.", hint=f"Give a file path, for example {path / 'NAME'}")
    if os.path.exists(path) and not os.path.isfile(path):  # it would be replaced by a file
        raise DataError(f"Cannot write {path}: it is a device, a pipe or a socket.", hint="Give the path of a file.")
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f"{_temporary_prefix(path)}{uuid.uuid4().hex[:8]}.part")
    try:
        # The file is created here, since some writers, such as safetensors, ignore the umask and choose 0600.
        with os.fdopen(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), "r+b") as created:
            _try_lock(created)
            _remove_leftovers(path)
            mode = stat.S_IMODE(temporary.stat().st_mode)
            yield temporary
            with temporary.open("r+b") as file:
                _try_lock(file)  # safetensors puts another file in its place
                os.fsync(file.fileno())
                if stat.S_IMODE(temporary.stat().st_mode) != mode:
                    temporary.chmod(mode)
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


def _temporary_prefix(path: Path) -> str:
    """Return the first characters of the names of a file's temporary files."""
    return f".{path.name[:_NAME_LENGTH]}."


def _remove_leftovers(path: Path) -> None:
    """Delete temporary files of `path` whose writer was killed: no process holds their lock."""
    prefix = _temporary_prefix(path)
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(path.parent)):
            random = entry.name.removeprefix(prefix).removesuffix(".part")
            if entry.name != f"{prefix}{random}.part" or not _RANDOM.fullmatch(random):
                continue
            # A file of the last second may belong to a writer that has not locked it yet.
            with contextlib.suppress(OSError), open(entry.path, "r+b") as file:
                if time.time() - os.fstat(file.fileno()).st_mtime > 1 and _try_lock(file):
                    os.unlink(entry.path)


def _try_lock(file: IO[bytes]) -> bool:
    """Lock an open file for this process, and return whether that was possible."""
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
