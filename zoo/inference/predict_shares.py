"""Shares of many files as jobs of a launcher: each classifies its part of them; at the end their answers are joined."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from zoo.data.recipe import short_hash
from zoo.errors import DataError
from zoo.inference.answer import Prediction
from zoo.inference.answers_work import FilesShare
from zoo.inference.files import blocks, predict_files, size_and_time
from zoo.inference.prepare import Preparation
from zoo.inference.read import Skipped
from zoo.inference.share_jobs import Joined, answering, check_blocks, run_answers, stated
from zoo.paths import parse_json, regular_file, written_whole
from zoo.run.launch import Launch

if TYPE_CHECKING:
    from zoo.host import Host

FOLDER = "predictions"


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
    submitted: Callable[[], bool | None] = lambda: False,
) -> Joined:
    """Classify files through a launcher, as `predict_files` does in one process; see `run_answers`.

    Args:
        host: The plugins.
        weights: Path of the weights.
        files: Files, and those that are left out.
        model: Id of the model of the weights.
        preparation, average, batch_size: Arguments of `predict_files`.
        device: "cpu", "cuda" or "mps".
        store: Folder in whose folder "predictions" the answers are kept.
        shares: Number of shares.
        launch, watch, submitted: Arguments of `run_answers`.

    Raises:
        UsageError: There are fewer blocks of files than shares.
        ZooError: An error of `run_answers`.
    """
    parts = list(blocks(files, most=batch_size))
    check_blocks(shares, len(parts), what="files")
    common = {
        **stated(host, weights, model=model, average=average, device=device, ids=()),
        **asdict(preparation), "batch_size": batch_size,
    }  # fmt: skip
    bounds = [number * len(parts) // shares for number in range(shares + 1)]
    mine = [tuple(_entry(file) for part in parts[low:high] for file in part) for low, high in pairwise(bounds)]
    listed = [(*_entry(file), *size_and_time(file)) for file in files]
    name = short_hash({**common, "files": listed, "shares": shares, "folder": str(Path.cwd())})
    return run_answers(
        host, [FilesShare(**common, files=some) for some in mine], folder=store.absolute() / FOLDER / name,
        command="predict-share", what="files", sizes=[len(some) for some in mine], launch=launch, watch=watch,
        submitted=submitted,
    )  # fmt: skip


def predict_share(host: Host, path: Path) -> None:
    """Classify a share in this process; its answers go beside its file.

    Args:
        host: The plugins.
        path: Path of share.json.

    Raises:
        BusyError: Another process classifies the share.
        ZooError: The share cannot be classified.
    """
    with answering(host, path, FilesShare) as (asked, trained, place, progress):
        files = [Skipped(name=name, reason=reason) if reason else Path(name) for name, reason in asked.files]
        count = 0

        def done(more: int) -> None:
            nonlocal count
            count += more
            progress.report("predict", count, len(files))

        preparation = Preparation(pixel_scale=asked.pixel_scale, factor=asked.factor, match_scale=asked.match_scale)
        answers = predict_files(
            trained, files, preparation=preparation, average=asked.average, batch_size=asked.batch_size, done=done
        )  # fmt: skip
        done(0)
        with written_whole(place) as temporary, temporary.open("w", encoding="utf-8") as file:
            # Floats become the same again.
            file.writelines(
                json.dumps(msgspec.to_builtins(item, enc_hook=np.ndarray.tolist)) + "\n" for item in answers
            )


def joined_predictions(joined: Joined) -> Iterator[Prediction | Skipped]:
    """Yield the answers of all shares, in the order of the files.

    Raises:
        DataError: A file of answers cannot be read.
    """
    for path in joined.paths:
        yield from _read_answers(path)


def _entry(file: Path | Skipped) -> tuple[str, str]:
    """Return the name of a file, and the reason why it is left out or ""."""
    return (file.name, file.reason) if isinstance(file, Skipped) else (str(file), "")


def _read_answers(path: Path) -> Iterator[Prediction | Skipped]:
    try:
        with regular_file(path).open(encoding="utf-8") as file:
            for line in file:
                yield _answer(parse_json(line))
    except (OSError, ValueError, TypeError, msgspec.MsgspecError) as error:
        raise DataError(
            f"Cannot read {path}: {error}.", hint="Delete the file, and run the same command again."
        ) from error


def _answer(row: dict[str, Any]) -> Prediction | Skipped:
    if "reason" in row:
        return msgspec.convert(row, Skipped)
    return msgspec.convert(row, Prediction, dec_hook=lambda kind, values: np.array(values, dtype=np.float32))
