"""A split as files for programs that do not use zoo: images as npy, FITS or HDF5, ids, labels, and their recipe.

export.json is written first; every other file is written whole, and its SHA-256 is then added to export.json. An
interrupted export continues: files that are complete stay, and images that were rendered are in the cache.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from zoo.data.image_files import WRITERS, Progress
from zoo.data.recipe import SPLITS, Recipe
from zoo.data.split import Split
from zoo.errors import DataError, UsageError
from zoo.paths import file_sha256, make_dir, read_json, write_text, written_whole
from zoo.plurals import counted
from zoo.schema import Count, Record, json_text, plain, read_record

FORMAT = 1
DESCRIPTION, IDS, LABELS = "export.json", "ids.csv", "labels.csv"
CLASS_COLUMN = "class"


class Export(Record, omit_defaults=True):
    """The content of export.json.

    Args:
        format: Version of this format.
        zoo: Version of zoo that wrote it.
        data: Id of the data set.
        split: Name of the split.
        image_shape: Channels, height, width.
        pixel_scale: Arcsec per pixel; None where the data set states none.
        classes: Names of the classes, which are also the columns of a file of predictions.
        task: Task, as a cell states it; "" for classification of all classes.
        budget: Name of the budget.
        sizes: Split -> number of images, of all splits of the problem.
        recipe: Recipe of the images; with a commitment in place of a hidden seed.
        images: Name of the file of images.
        labels: Whether labels.csv is part of the export.
        number: Number of images in the file; 0 until the export is complete.
        files: File that is complete -> its SHA-256.
    """

    format: int
    zoo: str
    data: str
    split: str
    image_shape: tuple[Count, Count, Count]
    pixel_scale: float | None
    classes: tuple[str, ...]
    task: str
    budget: str
    sizes: Mapping[str, Count]
    recipe: Recipe
    images: str
    labels: bool
    number: Count = 0
    files: Mapping[str, str] = {}

    def __post_init__(self) -> None:
        if self.split not in SPLITS or any(not self.sizes.get(name) for name in SPLITS):
            raise ValueError(f"split or sizes: there are images of {', '.join(SPLITS)}, one or more of each")
        if self.recipe.dataset != self.data:
            raise ValueError(f"data is {self.data}, and the recipe makes images of {self.recipe.dataset}")


def read_export(path: Path) -> Export:
    """Return the description of an export.

    Args:
        path: Folder of the export, or its export.json.

    Raises:
        DataError: The file was not found, is damaged, or is of another version.
    """
    path = path / DESCRIPTION if path.is_dir() else path
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read {path}: {getattr(error, 'strerror', None) or error}.") from error
    if isinstance(content, dict) and content.get("format") != FORMAT:
        raise DataError(f"{path} is of format {content.get('format')}; this zoo reads format {FORMAT}.")
    return read_record(content, Export, what=str(path))


def export_of(path: Path) -> Export | None:
    """Return the description of the export whose file of images lies at a path; None where it is of no export."""
    try:
        export = read_export(path.with_name(DESCRIPTION))
    except (DataError, ValueError):  # nearly always there is none; a path without a name has no neighbours
        return None
    return export if export.images == path.name else None


def check_files(folder: Path, export: Export) -> None:
    """Compare the files of an export that are there with their checksums: predictions are made from them.

    Raises:
        DataError: A file has been altered.
    """
    for name, sha256 in export.files.items():
        if (folder / Path(name).name).exists():
            _check_file(folder / Path(name).name, sha256)


def prepare_export(folder: Path, export: Export) -> Export:
    """Write the description of an export into its folder, and return what is there.

    Args:
        folder: Folder of the export, which is made.
        export: Description without checksums.

    Raises:
        UsageError: The folder holds another export, or other files.
        DataError: The folder cannot be written.
    """
    make_dir(folder)
    if (folder / DESCRIPTION).exists():
        there = read_export(folder)
        if words := differences(there, export):
            raise UsageError(f"{folder} holds another export: {words}.", hint="Choose another folder: --out DIR")
        return there
    # Files of others would be handed on with a blind challenge. Hidden ones are those of the system.
    if taken := sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")):
        names = ", ".join(taken[:3]) + (", ..." if len(taken) > 3 else "")
        raise UsageError(
            f"{folder} holds {names}, but no {DESCRIPTION}: it is not an export.",
            hint="Choose another folder: --out DIR",
        )
    _write_description(folder, export)
    return export


def differences(there: Export, wanted: Export) -> str:
    """Return in words what a stored description states otherwise than it should, or ""."""
    names = [name for name in wanted.__struct_fields__ if name not in ("number", "files", "zoo")]
    pairs = [(name, getattr(there, name), getattr(wanted, name)) for name in names]
    return ", ".join(_difference(name, found, asked) for name, found, asked in pairs if found != asked)


def _difference(name: str, there: Any, wanted: Any) -> str:
    if isinstance(there, Recipe | Mapping):  # long values; a recipe holds nothing that must stay hidden
        return f"another {name.replace('_', ' ')}"
    return f"{name} {there} and not {wanted}"


def write_export(folder: Path, export: Export, split: Split, *, progress: Progress | None = None) -> Export:
    """Write the files of an export, of those that are not complete, and return its description with checksums.

    Args:
        folder: Folder of the export.
        export: Return value of `prepare_export`.
        split: The images.
        progress: Function called with images written, images in all.

    Raises:
        DataError: A file has been altered since it was written, or cannot be written.
        MissingError: A library for the format is not installed.
    """
    order = np.argsort(split.ids, kind="stable") if export.recipe.commitment else np.arange(len(split))
    suffix = Path(export.images).suffix
    writers: dict[str, Callable[[Path], None]] = {
        IDS: lambda path: _write_csv(path, ["id"], [[split.ids[i]] for i in order]),
        export.images: lambda path: WRITERS[suffix](path, split, order, export.pixel_scale, progress),
    }
    if export.labels:
        writers[LABELS] = lambda path: _write_labels(path, split, order)
    for name, write in writers.items():
        if name in export.files:
            _check_file(folder / name, export.files[name])
            continue
        with written_whole(folder / name) as temporary:
            write(temporary)
        export = msgspec.structs.replace(export, files={**export.files, name: file_sha256(folder / name)})
        _write_description(folder, export)
    if export.number != len(split):
        export = msgspec.structs.replace(export, number=len(split))
        _write_description(folder, export)
    return export


def _check_file(path: Path, sha256: str) -> None:
    """Compare a file with its checksum.

    Raises:
        DataError: The file is missing or altered.
    """
    if not path.is_file() or file_sha256(path) != sha256:
        raise DataError(
            f"{path} is missing, or has been altered since it was exported.",
            hint=f"Delete {path.parent}, or choose another folder: --out DIR",
        )


def _write_description(folder: Path, export: Export) -> None:
    write_text(folder / DESCRIPTION, json_text(plain(export), what=DESCRIPTION, indent=2, sort_keys=True) + "\n")


def _write_labels(path: Path, split: Split, order: NDArray[np.int64]) -> None:
    """Write id, class and scene parameters of each image; a parameter that an image does not have is empty."""
    columns = list(split.parameters)
    rows = [
        [
            split.ids[i],
            split.classes[split.labels[i]],
            *(value if math.isfinite(value := float(split.parameters[name][i])) else "" for name in columns),
        ]
        for i in order
    ]
    _write_csv(path, ["id", CLASS_COLUMN, *columns], rows)


def _write_csv(path: Path, heading: list[str], rows: list[list[Any]]) -> None:
    # Not zoo.escaping.csv_line: programs must find the ids as they are.
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(heading)
        writer.writerows(rows)


def describe(export: Export) -> str:
    """Return a line on an export."""
    with_labels = "with labels" if export.labels else "without labels"
    return f"{counted(export.number, 'image')} of {export.data}, split {export.split}, {with_labels}"
