"""Classifies files block by block, so that an answer does not depend on which process classifies the other blocks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from zoo.inference.answer import Prediction
from zoo.inference.predict import predict
from zoo.inference.prepare import Preparation
from zoo.inference.read import Skipped, read_pictures
from zoo.models.trained import TrainedClassifier

BLOCK_BYTES = 16 * 2**20
"""A block ends with the file by which it reaches this size: a file may hold thousands of images."""


def blocks(files: Iterable[Path | Skipped], *, most: int) -> Iterator[list[Path | Skipped]]:
    """Yield files in blocks. A block that begins at a given file is the same whatever stands before it.

    Args:
        files: Files, and those that are left out.
        most: Number of files of a block, unless they are large.
    """
    block: list[Path | Skipped] = []
    size = 0
    for file in files:
        block.append(file)
        size += size_and_time(file)[0]
        if len(block) >= most or size >= BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


def size_and_time(file: Path | Skipped) -> tuple[int, int]:
    """Return the number of bytes of a file and the time of its last change; zeros for what is not there."""
    try:
        status = os.stat(file) if isinstance(file, Path) else None
    except (OSError, ValueError):
        status = None
    return (status.st_size, status.st_mtime_ns) if status is not None else (0, 0)


def predict_files(
    trained: TrainedClassifier,
    files: Iterable[Path | Skipped],
    *,
    preparation: Preparation | None = None,
    average: str = "none",
    batch_size: int = 64,
    done: Callable[[int], None] = lambda count: None,
) -> Iterator[Prediction | Skipped]:
    """Return an iterator over the answers for every image of files, in order. No batch holds images of two blocks.

    Args:
        trained: The classifier.
        files: Files, and those that are left out.
        preparation, average, batch_size: Arguments of `zoo.inference.predict.predict`.
        done: Function called after each block with its number of files.

    Raises:
        MissingError: A library that a file needs is not installed.
        UsageError: The preparation's pixel scale is out of reach of the training images', or these have none.
    """
    for block in blocks(files, most=batch_size):
        pictures = read_pictures(block, channels=trained.stored_channels)
        yield from predict(trained, pictures, preparation=preparation, average=average, batch_size=batch_size)
        done(len(block))
