"""Locks of files on every file system: those of the operating system, and leases where there are none.

A lock of the operating system (flock) ends with its process. Some shared file systems refuse it, such as Lustre that is
mounted without `-o flock`, or NFS without a lock server. There the lock is a lease: a marker file that its holder
touches every ten seconds, and that another process takes over when it has not changed for `LEASE_SECONDS`. All nodes
must see the same of the two, so that `zoo doctor` is worth a run on each of them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from zoo.errors import DataError

if TYPE_CHECKING:
    from filelock import BaseFileLock

Kind: TypeAlias = Literal["flock", "lease"]
LEASE_SECONDS = 30.0
"""Time without a sign of life after which the lease of a dead process may be taken."""
_REFUSED = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)
_kinds: dict[int, Kind] = {}


def file_lock(path: Path, *, seconds: float | None = None, reentrant: bool = False) -> BaseFileLock:
    """Return the lock of a path, to be held with `with` or `acquire` and `release`.

    Its `acquire` raises `filelock.Timeout` where another process holds it for too long, and OSError where the folder
    cannot be written.

    Args:
        path: File that stands for the lock, in a folder that exists.
        seconds: Time to wait for it; 0 not to wait, None to wait for ever. Whoever waits for a lease waits long enough
            for that of a dead process to end.
        reentrant: Whether the process that holds it may acquire it again.
    """
    import filelock  # takes a third of a second, which reading does not need

    if kind_of(path.parent) == "flock":
        return filelock.FileLock(path, timeout=-1 if seconds is None else seconds, is_singleton=reentrant)
    patience = -1 if seconds is None else seconds and max(seconds, 1.5 * LEASE_SECONDS)
    return filelock.SoftFileLease(
        _marker(path), lease_duration=LEASE_SECONDS, timeout=patience, is_singleton=reentrant
    )  # fmt: skip


@contextlib.contextmanager
def lock_held(path: Path, *, seconds: float | None = None, reentrant: bool = False) -> Iterator[None]:
    """Hold the lock of a path; arguments as those of `file_lock`.

    Raises:
        Timeout: Of filelock; another process holds it for too long.
        DataError: The folder cannot be written.
    """
    import filelock

    lock = file_lock(path, seconds=seconds, reentrant=reentrant)
    try:
        lock.acquire()
    except filelock.Timeout:  # an OSError as well
        raise
    except OSError as error:
        raise DataError(f"Cannot write to the folder {path.parent}: {error.strerror or error}.") from error
    try:
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Return whether some process holds the lock of a path right now; False where the folder cannot be written."""
    import filelock

    if kind_of(path.parent) == "lease":
        return _is_fresh(_marker(path))
    if not path.exists():
        return False
    try:
        with filelock.FileLock(path, blocking=False):
            return False
    except filelock.Timeout:
        return True
    except OSError:
        return False


def kind_of(folder: Path) -> Kind:
    """Return which locks the file system of a folder has; "flock" for a folder that is absent or not writable."""
    try:
        device = os.stat(folder).st_dev
        if device not in _kinds:
            with tempfile.TemporaryFile(dir=folder) as file:
                _kinds[device] = "flock" if _has_flock(file.fileno()) else "lease"
        return _kinds[device]
    except OSError:
        return "flock"  # acquiring the lock states what is wrong


def _has_flock(descriptor: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows has locks of its own
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _REFUSED
    return True


def _marker(path: Path) -> Path:
    return path.with_name(f"{path.name}.lease")


def _is_fresh(marker: Path) -> bool:
    """Return whether a marker shows a sign of life, by the clock of the file server alone."""
    with contextlib.suppress(OSError):
        touched = marker.stat().st_mtime
        with tempfile.NamedTemporaryFile(dir=marker.parent, prefix=".clock.") as now:
            return os.fstat(now.fileno()).st_mtime - touched < 2 * LEASE_SECONDS
    return False
