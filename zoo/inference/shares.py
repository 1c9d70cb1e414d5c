"""Shares of many files as jobs of a launcher: each classifies its part of them; at the end their answers are joined."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo import registry
from zoo.data.recipe import short_hash
from zoo.devices import planned_device, resolve_device
from zoo.errors import BusyError, DataError, UsageError
from zoo.inference.files import blocks, predict_files, size_and_time
from zoo.inference.predict import Prediction, Preparation
from zoo.inference.read import Skipped
from zoo.inference.share_work import ANSWERS, FAILED, FILES, SCHEMA, FilesEnd, FilesShare, FilesWork
from zoo.models.load import load_weights
from zoo.paths import absolute_variables, parse_json, read_json, regular_file, written_whole
from zoo.plan.unchanged import check_versions
from zoo.plurals import counted
from zoo.progress import ProgressFile, read_progress
from zoo.results.store import PROGRESS, claim, file_sha256, write_json
from zoo.run.job_queue import Entry
from zoo.run.launch import LOCAL, Launch
from zoo.run.launcher import Job
from zoo.run.queued import make_job, make_queue, wait_for
from zoo.schema import read_record

if TYPE_CHECKING:
    from zoo.host import Host

FOLDER = "predictions"


@dataclass(frozen=True, kw_only=True)
class Joined:
    """Result of `run_predictions`.

    Args:
        folder: Folder of all shares.
        shares: Number of shares.
        failed: Those that have failed.
    """

    folder: Path
    shares: int
    failed: tuple[FilesEnd, ...]

    def answers(self) -> Iterator[Prediction | Skipped]:
        """Yield the answers of all shares, in the order of the files.

        Raises:
            DataError: A file of answers cannot be read.
        """
        for number in range(self.shares):
            yield from _read_answers(self.folder / str(number) / ANSWERS)

    def forget(self) -> None:
        """Delete the answers, which have been printed."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # others are there
            self.folder.parent.rmdir()


def run_predictions(
    host: Host,
    weights: Path,
    files: Sequence[Path | Skipped],
    *,
    model: str,
    preparation: Preparation,
    average: str,
    batch_size: int,
    device: str,
    store: Path,
    shares: int,
    launch: Launch,
    watch: Callable[[int, int], None] | None = None,
) -> Joined:
    """Classify files through a launcher, as `predict_files` does in one process.

    A job that an earlier call has submitted and that still waits or runs is not submitted again. The share of a machine
    that dies is submitted again. Shares whose answers are there are not classified again.

    Args:
        host: The plugins.
        weights: Path of the weights.
        files: Files, and those that are left out.
        model: Id of the model of the weights.
        preparation, average, batch_size: Arguments of `predict_files`.
        device: Device requested.
        store: Folder in whose folder "predictions" the answers are kept.
        shares: Number of shares.
        launch: Launcher, its options, and the resources of each share.
        watch: Function called several times a second with the files that are classified, and all of them.

    Raises:
        UsageError: The launcher or an option is unknown, or there are fewer blocks of files than shares.
        MissingError: This machine lacks what the launcher needs.
        LauncherError: The launcher cannot be started, or does not know whether jobs submitted earlier still wait.
        DataError: The store cannot be written.
        KeyboardInterrupt: After the running jobs have been stopped.
    """
    resolved = launch.resolved(host, ())
    device = (resolve_device if resolved.spec.id == LOCAL else planned_device)(launch.device(host, device))
    resolved = launch.resolved(host, (), gpus=int(device == "cuda"))
    parts = list(blocks(files, most=batch_size))
    if shares > len(parts):
        raise UsageError(
            f"--shards {shares}: these files make {counted(len(parts), 'block')}, and each share needs at least one.",
            hint=f"At most: --shards {len(parts)}",
        )
    versions = registry.installed_versions(host, model)
    common: dict[str, Any] = {
        "schema": SCHEMA, "weights": str(weights.absolute()), "sha256": file_sha256(weights), "model": model,
        "versions": versions, **asdict(preparation), "average": average, "batch_size": batch_size, "device": device,
    }  # fmt: skip
    listed = [(*_entry(file), *size_and_time(file)) for file in files]
    name = short_hash({**common, "files": listed, "shares": shares, "folder": str(Path.cwd())})
    folder = store.absolute() / FOLDER / name
    works = [FilesWork(folder=folder, number=number, of=shares) for number in range(shares)]
    todo = [work for work in works if not (work.run_dir / ANSWERS).exists()]
    bounds = [number * len(parts) // shares for number in range(shares + 1)]
    mine = [[_entry(file) for part in parts[low:high] for file in part] for low, high in pairwise(bounds)]
    entries: list[Entry[FilesEnd]] = [Entry(work=work) for work in todo]
    if entries:
        absolute_variables()

        def job(entry: Entry[FilesEnd]) -> Job:
            command = (sys.executable, "-m", "zoo", "predict-share", str(entry.run_dir / FILES))
            return make_job(entry.run_dir, command, files=host.files, resources=resolved.basis, label=entry.work.label)

        queue = make_queue(resolved, entries, job=job)
        for work in todo:
            work.prepare(FilesShare(**common, files=tuple(mine[work.number])))

        def look() -> None:
            if watch is not None:
                left = sum(_left(entry, len(mine[int(entry.run_dir.name)])) for entry in entries)
                watch(len(files) - left, len(files))

        wait_for(queue, look=look)
    failed = tuple(entry.result for entry in entries if entry.result is not None and entry.result.error)
    return Joined(folder=folder, shares=shares, failed=failed)


def predict_share(host: Host, path: Path) -> None:
    """Classify a share in this process; its answers go beside its file.

    Args:
        host: The plugins.
        path: Path of files.json.

    Raises:
        BusyError: Another process classifies the share.
        ZooError: The share cannot be classified.
    """
    run_dir = path.absolute().parent
    try:
        asked = read_record(read_json(path), FilesShare, what=str(path))
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read {path}: {error}.") from error
    files = [Skipped(name=name, reason=reason) if reason else Path(name) for name, reason in asked.files]
    with claim(run_dir):
        (run_dir / FAILED).unlink(missing_ok=True)
        progress = ProgressFile(run_dir / PROGRESS)
        count = 0

        def done(more: int) -> None:
            nonlocal count
            count += more
            progress.report("predict", count, len(files))

        try:
            check_versions(host, asked.versions, asked.model)
            weights = Path(asked.weights)
            if file_sha256(weights) != asked.sha256:
                raise DataError(f"{weights} has changed since the command began.", hint="Run the same command again.")
            trained = load_weights(host, weights).to(resolve_device(asked.device))
            preparation = Preparation(
                pixel_scale=asked.pixel_scale, factor=asked.factor, match_scale=asked.match_scale
            )  # fmt: skip
            answers = predict_files(
                trained, files, preparation=preparation, average=asked.average, batch_size=asked.batch_size, done=done
            )  # fmt: skip
            done(0)
            with written_whole(run_dir / ANSWERS) as temporary, temporary.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(_plain(item)) + "\n" for item in answers)
        except Exception as error:
            if not isinstance(error, BusyError):
                write_json(run_dir / FAILED, {"error": str(error) or type(error).__name__})
            raise
        finally:
            progress.path.unlink(missing_ok=True)


def _entry(file: Path | Skipped) -> tuple[str, str]:
    """Return the name of a file, and the reason why it is left out or ""."""
    return (file.name, file.reason) if isinstance(file, Skipped) else (str(file), "")


def _left(entry: Entry[FilesEnd], files: int) -> int:
    """Return how many files of a share are still to be classified."""
    if entry.result is not None:
        return files if entry.result.error else 0
    progress = read_progress(entry.run_dir / PROGRESS) if entry.state in ("running", "elsewhere") else None
    return files if progress is None else round(progress.total - progress.done)


def _plain(item: Prediction | Skipped) -> dict[str, Any]:
    """Return an answer as JSON holds it; floats become the same again."""
    if isinstance(item, Skipped):
        return asdict(item)
    return {**asdict(item), "probabilities": item.probabilities.tolist()}


def _read_answers(path: Path) -> Iterator[Prediction | Skipped]:
    try:
        with regular_file(path).open(encoding="utf-8") as file:
            for line in file:
                yield _answer(parse_json(line))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(
            f"Cannot read {path}: {error}.", hint="Delete the file, and run the same command again."
        ) from error


def _answer(row: dict[str, Any]) -> Prediction | Skipped:
    if "reason" in row:
        return Skipped(**row)
    probabilities = np.array(row.pop("probabilities"), dtype=np.float32)
    notes, estimates = tuple(row.pop("notes")), tuple(row.pop("estimates"))
    return Prediction(**row, probabilities=probabilities, notes=notes, estimates=estimates)
