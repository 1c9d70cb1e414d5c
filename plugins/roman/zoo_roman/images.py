"""The data set `roman/challenge`: a labelled file of the challenge, read once into a file that is mapped."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.content import content_digest
from zoo.data.image_cache import ImageFile, cached_images
from zoo.data.images import ImageSet
from zoo.errors import DataError, UsageError
from zoo.remote import readable_path
from zoo_roman.challenge_file import LABEL, ChallengeFile, open_challenge_file, read_bands

_LABELS = {"false": 0, "0": 0, "true": 1, "1": 1}
_MISSING = ("", "none", "nan")


def check(*, file: str | None, bands: str) -> None:
    """Refuse impossible parameters; see `build`.

    Raises:
        UsageError: No file is named, or the bands are impossible.
    """
    if not isinstance(file, str) or not file:
        raise UsageError(
            f"data.file={file!r} must name a file of the challenge.", hint="Write: --set data.file=FILE.h5"
        )
    read_bands(bands)


def build(*, file: str | None, bands: str) -> ImageSet:
    """Return the images of a labelled file, with the numbers among their attributes as stored truths.

    Lenses are read one at a time into one array in the cache, which later calls map; it is made again when the file
    changed.

    Args:
        file: Path or address of the file.
        bands: Bands of the channels, such as "F106,F158".

    Raises:
        UsageError: There is no such file, or the bands are impossible.
        DataError: The file is damaged or of another layout, is not labelled, or the cache cannot be written.
    """
    check(file=file, bands=bands)
    assert file is not None
    names, path = read_bands(bands), readable_path(file).absolute()
    with open_challenge_file(path) as source:  # what is wrong is found before gigabytes are read for their digest
        _label(source, source.uids[0])
        count = len(source.uids)
    cached = cached_images(
        ["roman", 1, content_digest(path), *names], lambda out: _read(out, path, names), expected=count
    )
    truths = {name: np.array(values, dtype=np.float64) for name, values in cached.index["truths"].items()}
    return ImageSet(
        images=cached.images,
        labels=np.array(cached.index["labels"], dtype=np.int64),
        ids=cached.index["uids"],
        metadata=truths,
    )


def _read(out: ImageFile, path: Path, bands: tuple[str, ...]) -> dict[str, Any]:
    """Write all images into one file, and return ids, labels and truths.

    Raises:
        DataError: The errors of `build`.
    """
    labels: list[int] = []
    truths: dict[str, list[float | None]] = {}
    with open_challenge_file(path) as source:
        for uid in source.uids:
            labels.append(_label(source, uid))
            _add_truths(truths, source, uid, first=len(labels) == 1)
            try:
                out.add(source.image(uid, bands))
            except ValueError as error:
                raise DataError(f"{path}: strong_lens_{uid}: {error}.") from error
        uids = source.uids
    return {
        "uids": uids,
        "labels": labels,
        "truths": {name: values for name, values in truths.items() if any(value is not None for value in values)},
    }


def _label(source: ChallengeFile, uid: str) -> int:
    """Return the index of a lens's class.

    Raises:
        DataError: The lens is not labelled, or in other words.
    """
    text = source.attribute(uid, source.lens(uid), LABEL)
    if text is None:
        raise DataError(
            f"{source.path}: strong_lens_{uid} has no attribute {LABEL}, so it has no label.",
            hint=f"To classify it with trained weights: zoo roman-submit WEIGHTS {source.path} --out submission.csv",
        )
    if text.lower() not in _LABELS:
        raise DataError(f"{source.path}: strong_lens_{uid} has {LABEL}={text!r}, which is neither True nor False.")
    return _LABELS[text.lower()]


def _add_truths(truths: dict[str, list[float | None]], source: ChallengeFile, uid: str, *, first: bool) -> None:
    """Add a lens's numbers to the columns; a column ends where a lens lacks the attribute, or has something else."""
    group = source.lens(uid)
    if first:
        truths |= {name: [] for name in group.attrs if name not in ("uid", LABEL)}
    for name in list(truths):
        text = source.attribute(uid, group, name)
        try:
            number = math.nan if text is None or text.lower() in _MISSING else float(text)
        except ValueError:
            text = None
        if text is None:
            del truths[name]
        else:
            truths[name].append(number if math.isfinite(number) else None)
