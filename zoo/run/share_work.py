"""Share of a split as work of a queue: its files, its end, and whether another attempt is worthwhile."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from zoo.data.recipe import Recipe
from zoo.data.shards import shard_name, shard_path
from zoo.data.share import PART, SHARE, Share, read_part
from zoo.errors import BusyError, DataError
from zoo.paths import make_dir, read_json
from zoo.progress import ProgressFile
from zoo.results.store import PROGRESS, claim, remove_unless_locked, write_json
from zoo.run.failure import failure_text
from zoo.run.launcher import JobState
from zoo.schema import Count, Record, plain, read_record

logger = logging.getLogger(__name__)
R = TypeVar("R")

FAILED = "failed.json"
SCHEMA = 1
_FINAL = ("cancelled", "oom")
"""Ends after which a share would end in the same way again."""


class ShareFile(Record):
    """The content of share.json, from which any machine makes a share.

    Args:
        schema: Version of this format.
        recipe: Recipe of the images.
        split: "train", "val" or "test".
        images: Number of images of the split.
        machine, of: Share.
        versions: Distribution -> version, of the core and of the plugins that make the images.
    """

    schema: int
    recipe: Recipe
    split: str
    images: Count
    machine: Count
    of: Count
    versions: Mapping[str, str]


class ShareFailure(Record):
    """The content of failed.json.

    Args:
        error: Error that ended the share.
    """

    error: str


def share_error(run_dir: Path) -> str | None:
    """Return the error that ended a share; None where none is stored, or the file is damaged."""
    try:
        return read_record(read_json(run_dir / FAILED), ShareFailure, what=FAILED).error
    except (OSError, ValueError, DataError):
        return None


@dataclass(frozen=True, kw_only=True)
class ShareEnd:
    """End of a share.

    Args:
        share: Share.
        error: Cause of a failure; "" where its shards are made.
    """

    share: Share
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class ShareWork:
    """A share of a split.

    Args:
        share: Share.
        recipe: Recipe of the images.
        split: "train", "val" or "test".
        images: Number of images of the split.
        folder: Folder of the shards of all splits.
    """

    share: Share
    recipe: Recipe
    split: str
    images: int
    folder: Path

    @property
    def run_dir(self) -> Path:
        """Folder of its part and of its job."""
        return self.share.folder(self.folder, self.split)

    @property
    def label(self) -> str:
        """Name for people."""
        return f"share {self.share.machine}:{self.share.of} of {self.split}"

    def prepare(self, versions: Mapping[str, str]) -> None:
        """Write share.json, and remove what an earlier attempt has left beside it unless one is at work.

        Args:
            versions: Distribution -> version.

        Raises:
            DataError: The folder cannot be written.
        """
        content = ShareFile(
            schema=SCHEMA, recipe=self.recipe, split=self.split, images=self.images, machine=self.share.machine,
            of=self.share.of, versions=versions,
        )  # fmt: skip
        write_json(make_dir(self.run_dir) / SHARE, plain(content))
        remove_unless_locked(self.run_dir, PART, FAILED, PROGRESS)

    def has_ended(self) -> bool:
        """Whether its part or its failure is there."""
        return any((self.run_dir / name).exists() for name in (PART, FAILED))

    def result(self) -> ShareEnd | None:
        """Return its end: that its part states all of its shards, or its failure."""
        try:
            part = read_part(self.run_dir / PART, recipe=self.recipe, split=self.split)
            if all(shard_name(number) in part.shards for number in self.share.numbers(self.images)):
                return ShareEnd(share=self.share)
        except FileNotFoundError:
            pass
        except DataError as error:
            logger.warning("%s The share is made again.", error)
            (self.run_dir / PART).unlink(missing_ok=True)
        failure = share_error(self.run_dir)
        return None if failure is None else ShareEnd(share=self.share, error=failure)

    def has_advanced(self, since: float) -> bool:
        """Whether the attempt has made a shard."""
        for number in self.share.numbers(self.images):
            with contextlib.suppress(OSError):
                if shard_path(self.folder / self.split, number).stat().st_mtime >= since:
                    return True
        return False

    def goes_on(self, state: JobState) -> bool:
        """Whether its machine has died."""
        return has_died(state)

    def failed(self, *, detail: str = "", engine_log: str = "", summary: str = "", keep: bool = True) -> ShareEnd:
        """Return a failure; arguments as those of `Work.failed`. It is not stored: the same command goes on with it."""
        text = failure_text(self.run_dir, detail=detail, engine_log=engine_log, summary=summary)
        return ShareEnd(share=self.share, error=text)


def has_died(state: JobState) -> bool:
    """Whether the job of a share without an end has lost its machine: an error of its own would be in failed.json."""
    return state.reason not in _FINAL if state.retryable is None else state.retryable


@contextlib.contextmanager
def share_at_work(path: Path, kind: type[R]) -> Iterator[tuple[R, Path, ProgressFile]]:
    """Make a share this process's own while it is made; a failure goes beside its file.

    Args:
        path: Path of its file.
        kind: Type of the content of the file.

    Returns:
        Context of the content, the folder of the file, and the progress file.

    Raises:
        BusyError: Another process makes the share.
        DataError: The file cannot be read.
    """
    run_dir = path.absolute().parent
    try:
        asked = read_record(read_json(path), kind, what=str(path))
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read {path}: {error}.") from error
    with claim(run_dir):
        (run_dir / FAILED).unlink(missing_ok=True)
        progress = ProgressFile(run_dir / PROGRESS)
        try:
            yield asked, run_dir, progress
        except Exception as error:
            if not isinstance(error, BusyError):
                write_json(run_dir / FAILED, {"error": str(error) or type(error).__name__})
            raise
        finally:
            progress.path.unlink(missing_ok=True)
