"""Predictions for a file of the challenge, as the table that it grades."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import DataError, UsageError
from zoo.paths import written_whole
from zoo_roman.challenge_file import open_challenge_file, read_bands

DATA = "roman/challenge"
_AT_A_TIME = 256


def bands_of(trained: Any) -> tuple[str, ...]:
    """Return the bands that weights were trained on.

    Args:
        trained: Weights, as `zoo.load` returns them.

    Raises:
        UsageError: The weights are of another data set or task.
    """
    about = trained.about
    if about.recipe.dataset != DATA or about.outputs is not None:
        task = f" for the task {about.task}" if about.outputs is not None else ""
        raise UsageError(
            f"These weights of {about.model} were trained on {about.recipe.dataset}{task}; the challenge needs "
            f"a classifier that was trained on {DATA}.",
            hint=f"Train one: zoo bench --model p4m --data {DATA} --set data.file=LABELLED.h5",
        )
    return read_bands(about.recipe.params["bands"])


def classify(
    trained: Any,
    path: Path,
    *,
    bands: tuple[str, ...],
    average: str,
    report: Callable[[int, int], None],
) -> tuple[list[str], NDArray[np.float32]]:
    """Return the uids of a file's lenses and their probabilities of substructure [N]; a block is in memory at a time.

    Args:
        trained: Weights on their device.
        path: File of the challenge; labels in it are not read.
        bands: Bands of the channels.
        average: "none", "p4" or "d4".
        report: Function called with the number of classified lenses and of all.

    Raises:
        UsageError: There is no such file.
        DataError: The file is damaged, lacks a band, or its images have another shape than the training images.
    """
    parts = []
    with open_challenge_file(path) as source:
        uids = source.uids
        for start in range(0, len(uids), _AT_A_TIME):
            block = uids[start : start + _AT_A_TIME]
            images = [source.image(uid, bands) for uid in block]
            for uid, image in zip(block, images, strict=True):
                if image.shape != trained.image_shape:
                    raise DataError(
                        f"{path}: strong_lens_{uid} is an image of {image.shape}; the weights were trained on "
                        f"{trained.image_shape}."
                    )
            parts.append(trained.predict_proba(np.stack(images), average=average)[:, 1])
            report(start + len(block), len(uids))
    return uids, np.concatenate(parts)


def write_submission(
    table: Path, uids: Sequence[str], probabilities: NDArray[np.float32], *, threshold: float
) -> tuple[Path, Path]:
    """Write the table of labels, and beside it that of the probabilities; each is written whole.

    Args:
        table: Path of the table.
        uids: N uids.
        probabilities: [N].
        threshold: Lowest probability that counts as substructure.

    Returns:
        Both paths.

    Raises:
        DataError: A file cannot be written.
    """
    beside = table.with_suffix(".probabilities.csv")
    labels = (probabilities >= threshold).astype(int).tolist()
    _write(beside, ("ID", "probability"), zip(uids, (f"{one:.6g}" for one in probabilities.tolist()), strict=True))
    _write(table, ("ID", "has_substructure"), zip(uids, labels, strict=True))
    return table, beside


def _write(path: Path, header: Sequence[str], rows: Iterable[tuple[object, ...]]) -> None:
    with written_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
