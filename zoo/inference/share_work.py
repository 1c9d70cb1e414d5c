"""Share of many files as work of a queue: its files, its end, and whether another attempt is worthwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zoo.locks import lock_held
from zoo.paths import make_dir, read_json
from zoo.results.store import LOCK, PROGRESS, write_json
from zoo.run.failure import failure_text
from zoo.run.launcher import JobState
from zoo.schema import Count, Record, plain

FILES, ANSWERS, FAILED = "files.json", "answers.jsonl", "failed.json"
SCHEMA = 1


class FilesShare(Record):
    """The content of files.json, from which any machine classifies a share.

    Args:
        schema: Version of this format.
        weights: Path of the weights.
        sha256: Its SHA-256.
        model: Id of the model.
        versions: Distribution -> version, of the core and of the plugin of the model.
        files: Name of each file, and the reason why it is left out or "".
        pixel_scale, factor, match_scale: Fields of `Preparation`.
        average, batch_size: Arguments of `zoo.inference.predict.predict`.
        device: "cpu", "cuda" or "mps".
    """

    schema: int
    weights: str
    sha256: str
    model: str
    versions: Mapping[str, str]
    files: tuple[tuple[str, str], ...]
    pixel_scale: float | None
    factor: float
    match_scale: bool
    average: str
    batch_size: Count
    device: str


@dataclass(frozen=True, kw_only=True)
class FilesEnd:
    """End of a share.

    Args:
        number: Number of the share, from 0.
        error: Cause of a failure; "" where its answers are there.
    """

    number: int
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class FilesWork:
    """A share of many files as work of a queue.

    Args:
        folder: Folder of all shares.
        number: Number of the share, from 0.
        of: Number of shares.
    """

    folder: Path
    number: int
    of: int

    @property
    def run_dir(self) -> Path:
        """Folder of its answers and of its job."""
        return self.folder / str(self.number)

    @property
    def label(self) -> str:
        """Name for people."""
        return f"share {self.number}:{self.of} of the files"

    def prepare(self, content: FilesShare) -> None:
        """Write files.json, and remove the failure of an earlier attempt unless one is at work.

        Raises:
            DataError: The folder cannot be written.
        """
        import filelock

        write_json(make_dir(self.run_dir) / FILES, plain(content))
        with contextlib.suppress(filelock.Timeout), lock_held(self.run_dir / LOCK, seconds=0):
            for name in (FAILED, PROGRESS):
                (self.run_dir / name).unlink(missing_ok=True)

    def has_ended(self) -> bool:
        """Whether its answers or its failure are there."""
        return any((self.run_dir / name).exists() for name in (ANSWERS, FAILED))

    def result(self) -> FilesEnd | None:
        """Return its end."""
        if (self.run_dir / ANSWERS).exists():  # written whole
            return FilesEnd(number=self.number)
        try:
            return FilesEnd(number=self.number, error=str(read_json(self.run_dir / FAILED)["error"]))
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def has_advanced(self, since: float) -> bool:
        """Whether the attempt has made progress that stays: answers are kept when all are there."""
        return False

    def goes_on(self, state: JobState) -> bool:
        """Whether its machine has died: an error of its own is in failed.json."""
        return state.reason not in ("cancelled", "oom") if state.retryable is None else state.retryable

    def failed(self, *, detail: str = "", engine_log: str = "", summary: str = "", keep: bool = True) -> FilesEnd:
        """Return a failure; arguments as those of `Work.failed`. It is not stored: the same command goes on with it."""
        text = failure_text(self.run_dir, detail=detail, engine_log=engine_log, summary=summary)
        return FilesEnd(number=self.number, error=text)
