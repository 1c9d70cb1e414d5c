"""Shares of a network's answers as jobs of a launcher: what those of files and of test images have in common."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from zoo import provenance
from zoo.data.share import SHARE
from zoo.devices import resolve_device
from zoo.errors import DataError, LauncherError, UsageError
from zoo.inference.answers_work import ANSWERS, SCHEMA, AnswersEnd, AnswersShare, AnswersWork
from zoo.models.load import load_weights
from zoo.paths import absolute_variables, file_sha256
from zoo.plan.unchanged import check_versions
from zoo.plurals import counted
from zoo.progress import ProgressFile, read_progress
from zoo.results.store import PROGRESS
from zoo.run.job_queue import Entry
from zoo.run.launch import Launch
from zoo.run.launcher import Job
from zoo.run.queued import make_job, make_queue, wait_for
from zoo.run.share_work import share_at_work

if TYPE_CHECKING:
    from zoo.host import Host
    from zoo.models.trained import TrainedClassifier

S = TypeVar("S", bound=AnswersShare)


@dataclass(frozen=True, kw_only=True)
class Joined:
    """Result of `run_answers`.

    Args:
        folder: Folder of all shares.
        shares: Number of shares.
        failed: Those that have failed.
    """

    folder: Path
    shares: int
    failed: tuple[AnswersEnd, ...]

    @property
    def paths(self) -> list[Path]:
        """The files of the answers, in the order of the shares."""
        return [self.folder / str(number) / ANSWERS for number in range(self.shares)]

    @property
    def complete(self) -> bool:
        """Whether all answers are there."""
        return all(path.exists() for path in self.paths)

    def check(self) -> None:
        """Refuse answers of which some are missing.

        Raises:
            LauncherError: A share has failed.
        """
        if self.failed:
            first = self.failed[0]
            raise LauncherError(
                f"{counted(len(self.failed), 'share')} of {self.shares} failed; share {first.number}: {first.error}",
                hint="The same call goes on with what is missing.",
            )

    def forget(self) -> None:
        """Delete the answers, which have been printed or scored."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # others are there
            self.folder.parent.rmdir()


def check_blocks(shares: int, blocks: int, *, what: str) -> None:
    """Refuse shares without a block.

    Raises:
        UsageError: There are more shares than blocks.
    """
    if shares > blocks:
        raise UsageError(
            f"--shards {shares}: these {what} make {counted(blocks, 'block')}, and each share needs at least one.",
            hint=f"At most: --shards {blocks}",
        )


def stated(
    host: Host, weights: Path, *, model: str, average: str, device: str, ids: Sequence[str | None]
) -> dict[str, Any]:
    """Return the fields of `AnswersShare`.

    Args:
        host: The plugins.
        weights: Path of the weights.
        model: Id of the model of the weights.
        average, device: Fields of `AnswersShare`.
        ids: Ids of what takes part beside the model.
    """
    return {
        "schema": SCHEMA, "weights": str(weights.absolute()), "sha256": file_sha256(weights), "model": model,
        "versions": provenance.installed_versions(host, model, *ids), "average": average, "device": device,
    }  # fmt: skip


def run_answers(
    host: Host,
    contents: Sequence[AnswersShare],
    *,
    folder: Path,
    command: str,
    what: str,
    sizes: Sequence[int],
    launch: Launch,
    watch: Callable[[int, int], None] | None = None,
    submitted: Callable[[], bool | None] = lambda: False,
) -> Joined:
    """Give shares without answers to a launcher, and wait for them.

    A job that an earlier call has submitted and that still waits or runs is not submitted again. The share of a machine
    that dies is submitted again. Shares whose answers are there are not answered again.

    Args:
        host: The plugins.
        contents: Content of share.json of each share.
        folder: Folder of all shares.
        command: Command of zoo that answers a share.
        what: Noun of the divided items: "files" or "images".
        sizes: Number of files or images of each share.
        launch: Launcher, its options, and the resources of each share.
        watch: Function called several times a second with the files or images that are answered, and all of them.
        submitted: Function called when all shares have been given to the launcher; if it returns True, this function
            returns what there is, and the jobs go on.

    Raises:
        UsageError: The launcher or an option is unknown.
        MissingError: This machine lacks what the launcher needs.
        LauncherError: The launcher cannot be started, or cannot find out whether jobs submitted earlier still wait.
        DataError: The folder cannot be written.
        KeyboardInterrupt: After the running jobs have been stopped.
    """
    resolved = launch.resolved(host, (), gpus=int(contents[0].device == "cuda"))
    works = [AnswersWork(folder=folder, number=number, of=len(contents), what=what) for number in range(len(contents))]
    todo = [work for work in works if not (work.run_dir / ANSWERS).exists()]
    entries: list[Entry[AnswersEnd]] = [Entry(work=work) for work in todo]
    if entries:
        absolute_variables()

        def job(entry: Entry[AnswersEnd]) -> Job:
            words = (sys.executable, "-m", "zoo", command, str(entry.run_dir / SHARE))
            return make_job(entry.run_dir, words, files=host.files, resources=resolved.basis, label=entry.work.label)

        queue = make_queue(resolved, entries, job=job)
        for work in todo:
            work.prepare(contents[work.number])

        def look() -> None:
            if watch is not None:
                left = sum(_left(entry, sizes[int(entry.run_dir.name)]) for entry in entries)
                watch(sum(sizes) - left, sum(sizes))

        wait_for(queue, look=look, submitted=submitted)
    failed = tuple(entry.result for entry in entries if entry.result is not None and entry.result.error)
    return Joined(folder=folder, shares=len(contents), failed=failed)


@contextlib.contextmanager
def answering(host: Host, path: Path, kind: type[S]) -> Iterator[tuple[S, TrainedClassifier, Path, ProgressFile]]:
    """Make a share this process's own, and load its weights; a failure goes beside its file.

    Args:
        host: The plugins.
        path: Path of share.json.
        kind: Type of its content.

    Returns:
        Context of the content, the weights, the path for the answers, and the progress file.

    Raises:
        BusyError: Another process answers the share.
        DataError: Plugins or weights have changed since the command began.
    """
    with share_at_work(path, kind) as (asked, run_dir, progress):
        check_versions(host, asked.versions, *asked.plugins)
        weights = Path(asked.weights)
        if file_sha256(weights) != asked.sha256:
            raise DataError(f"{weights} has changed since the command began.", hint="Run the same command again.")
        trained = load_weights(host, weights).to(resolve_device(asked.device))
        yield asked, trained, run_dir / ANSWERS, progress


def _left(entry: Entry[AnswersEnd], size: int) -> int:
    """Return how many files or images of a share are still to be answered."""
    if entry.result is not None:
        return size if entry.result.error else 0
    progress = read_progress(entry.run_dir / PROGRESS) if entry.state in ("running", "elsewhere") else None
    return size if progress is None else round(progress.total - progress.done)
