"""Share of many files or images as work of a queue: its files, its end, and whether another attempt is worthwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zoo.data.recipe import Recipe
from zoo.data.share import SHARE
from zoo.paths import make_dir
from zoo.results.store import PROGRESS, remove_unless_locked, write_json
from zoo.run.failure import failure_text
from zoo.run.launcher import JobState
from zoo.run.share_work import FAILED, has_died, share_error
from zoo.schema import Count, Record, plain

ANSWERS = "answers"
SCHEMA = 1


class AnswersShare(Record):
    """What share.json states of every share: the weights, and how they answer.

    Args:
        schema: Version of this format.
        weights: Path of the weights.
        sha256: SHA-256 of their file.
        model: Id of the model.
        versions: Distribution -> version, of the core and of the plugins that take part.
        average: Average over rotated and mirrored images, as for `TrainedClassifier.predict_proba`.
        device: "cpu", "cuda" or "mps".
    """

    schema: int
    weights: str
    sha256: str
    model: str
    versions: Mapping[str, str]
    average: str
    device: str

    @property
    def plugins(self) -> tuple[str | None, ...]:
        """Ids of what takes part."""
        return (self.model,)


class FilesShare(AnswersShare):
    """The content of share.json, from which any machine classifies a share of many files.

    Args:
        files: Name of each file, and the reason why it is left out or "".
        pixel_scale, factor, match_scale: Fields of `Preparation`.
        batch_size: Argument of `zoo.inference.predict.predict`.
    """

    files: tuple[tuple[str, str], ...]
    pixel_scale: float | None
    factor: float
    match_scale: bool
    batch_size: Count


class ImagesShare(AnswersShare):
    """The content of share.json, from which any machine answers a share of the test images of a recipe.

    Args:
        recipe: Recipe of the images.
        images: Number of images of the split.
        angle: Rotation of each image in degrees before the network.
        machine, of: Share.
        size: Number of its images, before the question leaves out some.
    """

    recipe: Recipe
    images: Count
    angle: float
    machine: Count
    of: Count
    size: Count

    @property
    def plugins(self) -> tuple[str | None, ...]:
        """Ids of what takes part."""
        return (self.model, *self.recipe.plugins)


@dataclass(frozen=True, kw_only=True)
class AnswersEnd:
    """End of a share.

    Args:
        number: Number of the share, from 0.
        error: Cause of a failure; "" where its answers are there.
    """

    number: int
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class AnswersWork:
    """A share of many files or images as work of a queue.

    Args:
        folder: Folder of all shares.
        number: Number of the share, from 0.
        of: Number of shares.
        what: Noun of the divided items: "files" or "images".
    """

    folder: Path
    number: int
    of: int
    what: str

    @property
    def run_dir(self) -> Path:
        """Folder of its answers and of its job."""
        return self.folder / str(self.number)

    @property
    def label(self) -> str:
        """Name for people."""
        return f"share {self.number}:{self.of} of the {self.what}"

    def prepare(self, content: AnswersShare) -> None:
        """Write share.json, and remove the failure of an earlier attempt unless one is at work.

        Raises:
            DataError: The folder cannot be written.
        """
        write_json(make_dir(self.run_dir) / SHARE, plain(content))
        remove_unless_locked(self.run_dir, FAILED, PROGRESS)

    def has_ended(self) -> bool:
        """Whether its answers or its failure are there."""
        return any((self.run_dir / name).exists() for name in (ANSWERS, FAILED))

    def result(self) -> AnswersEnd | None:
        """Return its end."""
        if (self.run_dir / ANSWERS).exists():  # written whole
            return AnswersEnd(number=self.number)
        error = share_error(self.run_dir)
        return None if error is None else AnswersEnd(number=self.number, error=error)

    def has_advanced(self, since: float) -> bool:
        """Whether the attempt has made progress that stays: answers are kept when all are there."""
        return False

    def goes_on(self, state: JobState) -> bool:
        """Whether its machine has died."""
        return has_died(state)

    def failed(self, *, detail: str = "", engine_log: str = "", summary: str = "", keep: bool = True) -> AnswersEnd:
        """Return a failure; arguments as those of `Work.failed`. It is not stored: the same command goes on with it."""
        text = failure_text(self.run_dir, detail=detail, engine_log=engine_log, summary=summary)
        return AnswersEnd(number=self.number, error=text)
