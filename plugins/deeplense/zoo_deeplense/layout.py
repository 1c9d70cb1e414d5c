"""Classes and splits of the files of a DeepLense folder, whatever its folders are called."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from zoo.data.image_file import is_hidden
from zoo.errors import DataError, UsageError
from zoo_deeplense.array_file import HEAVIEST
from zoo_deeplense.stacks import Stack, find_stacks, labels_of

SUFFIXES, PICKLED = (".npy", ".png"), (".pkl", ".pickle", ".pt", ".pth")
OTHERS = (".fits", ".fits.gz", ".fit", ".fz", ".h5", ".hdf5", ".hdf", ".npz", ".jpg", ".jpeg", ".tif", ".tiff")
"""Ends of the names of images in other formats, which a plugin of a few lines reads."""

CLASS_ALIASES = {
    "no_substructure": ("no", "no_sub", "no_substructure", "nosub"),
    "subhalo": ("sphere", "cdm", "subhalo", "sub", "subhaloes", "subhalos"),
    "vortex": ("vort", "axion", "vortex", "superfluid"),
}
SPLIT_ALIASES = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}

_CLASS_OF = {alias: label for label, aliases in enumerate(CLASS_ALIASES.values()) for alias in aliases}
_SPLIT_OF = {alias: split for split, aliases in SPLIT_ALIASES.items() for alias in aliases}


@dataclass(frozen=True, kw_only=True)
class Found:
    """One image.

    Args:
        path: Path of its file relative to the root, with forward slashes.
        label: Index of the class.
        split: "train", "val", "test", or "" where its folders name none.
        row: Row of an array of several images; None for a file of one image.
        mass: Axion mass from an array beside it, in eV; NaN without one.
    """

    path: str
    label: int
    split: str
    row: int | None = None
    mass: float = math.nan

    @property
    def key(self) -> str:
        """Path, with the row of an image among several."""
        return self.path if self.row is None else f"{self.path}#{self.row}"


def find_files(root: Path) -> list[Found]:
    """Return all images below a folder: array files and PNGs, without hidden files and folders.

    A file's class is the one folder above it, up to the root, that is called like a class; a split is a folder
    called train, val or test, or one whose name ends so, as in Model_I_test. The other folders must be the same for
    all files: two sets side by side are not mixed. An array of several images needs no folder of a class where an
    array of their labels is beside it (`zoo_deeplense.stacks`); in the folder of a class, that array holds masses.

    Raises:
        UsageError: The root is not a folder, or contains several sets.
        DataError: The folder does not contain arrays of every class.
    """
    if not os.path.isdir(root):  # Path.is_dir raises where a name is too long
        raise UsageError(f"data.root={str(root)!r} is not a folder.", hint="Write: --set data.root=DIR")
    found: list[Found] = []
    pickled: list[str] = []
    others: list[str] = []
    sets: dict[tuple[str, ...], str] = {}
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not is_hidden(name))
        shown = sorted(name for name in names if not is_hidden(name))
        arrays = [name for name in shown if name.lower().endswith(SUFFIXES)]
        pickled += [str(Path(folder, name)) for name in shown if name.lower().endswith(PICKLED)]
        others += [str(Path(folder, name)) for name in shown if name.lower().endswith(OTHERS)]
        if not arrays:
            continue
        stacks, lists = find_stacks(Path(folder), [name for name in arrays if name.lower().endswith(".npy")])
        relative = Path(folder).relative_to(root).as_posix()
        parts = PurePosixPath(relative).parts
        labels = {_CLASS_OF[part.lower()] for part in parts if part.lower() in _CLASS_OF}
        if len(labels) > 1 or not (labels or stacks):
            known = "; ".join(", ".join(aliases) for aliases in CLASS_ALIASES.values())
            raise DataError(
                f"{Path(folder)} holds arrays, but its path names {'no' if not labels else 'more than one'} class.",
                hint=f"Folders of a class are called: {known}.",
            )
        label = labels.pop() if labels else None
        rest, splits = [], set()
        for part in parts:
            stem, split = _split_of(part)
            if split:
                splits.add(split)
            if stem and part.lower() not in _CLASS_OF:
                rest.append(stem)
        if len(splits) > 1:
            raise DataError(f"{Path(folder)}: its path names more than one split.")
        sets.setdefault(tuple(rest), relative)
        mark = splits.pop() if splits else ""
        prefix = "" if relative == "." else f"{relative}/"
        if stacks:
            found += _of_stacks(Path(folder), stacks, label=label, split=mark, prefix=prefix)
            arrays = [name for name in arrays if name not in {*lists, *(stack.images for stack in stacks)}]
        if label is not None:
            found += [Found(path=f"{prefix}{name}", label=label, split=mark) for name in arrays]
    if len(sets) > 1:
        names_of_sets = ", ".join(sorted("/".join(key) or "." for key in sets))
        raise UsageError(f"{root} holds several sets: {names_of_sets}.", hint="Point data.root at one of them.")
    if not found and pickled:
        raise DataError(
            f"{root} holds no arrays, but {pickled[0]}: a pickled data loader is a program, which is not run.",
            hint="Where it was made: numpy.save('images.npy', images), [N, 1, H, W], numpy.save('labels.npy', labels)",
        )
    if not found:
        there = f", but files of other formats, such as {others[0]}" if others else ""
        raise DataError(
            f"There are no .npy files and no PNGs in {root}{there}.",
            hint="For FITS, HDF5 and other formats: docs/tutorials/your_own_data.md, 'Any format, your own classes'",
        )
    _check_classes(root, found)
    return _with_test_split(found)


def _of_stacks(folder: Path, stacks: list[Stack], *, label: int | None, split: str, prefix: str) -> list[Found]:
    """Return the images of the stacks of a folder; a file's name may state the split."""
    found = []
    for stack in stacks:
        named = {_SPLIT_OF[word] for word in re.findall("[a-z]+", stack.images.lower()) if word in _SPLIT_OF}
        if label is None:
            labels, masses = labels_of(stack, folder, classes=len(CLASS_ALIASES)), [math.nan] * stack.count
        else:
            labels = [label] * stack.count
            numbers = [math.nan] * stack.count if stack.numbers is None else stack.numbers.tolist()
            masses = [number if 0 < number < HEAVIEST else math.nan for number in numbers]  # others are labels
        mark = split or (named.pop() if len(named) == 1 else "")
        found += [
            Found(path=f"{prefix}{stack.images}", label=labels[row], split=mark, row=row, mass=masses[row])
            for row in range(stack.count)
        ]
    return found


def _split_of(folder: str) -> tuple[str, str]:
    """Return a folder's name without its split, and the split: "Model_I_test" gives "Model_I" and "test"."""
    lowered = folder.lower()
    if lowered in _SPLIT_OF:
        return "", _SPLIT_OF[lowered]
    stem, _, last = folder.rpartition("_")
    return (stem, _SPLIT_OF[last.lower()]) if last.lower() in _SPLIT_OF else (folder, "")


def _check_classes(root: Path, found: list[Found]) -> None:
    present = {file.label for file in found}
    missing = [name for label, name in enumerate(CLASS_ALIASES) if label not in present]
    if missing:
        known = ", ".join(CLASS_ALIASES[missing[0]])
        raise DataError(
            f"{root} holds no images of the class {missing[0]}.", hint=f"Its folder may be called: {known}."
        )


def _with_test_split(found: list[Found]) -> list[Found]:
    """Give a split to the files beside a marked folder, and a test split to sets that come with train and val only.

    Scores on such a set were published on `val`: it becomes the test split, and validation images are taken from the
    training part, so that no checkpoint is chosen on the images that are scored.
    """
    from dataclasses import replace

    marks = {file.split for file in found}
    if marks == {""}:
        return found
    rename = {"": "train"}
    if "test" not in marks and "val" in marks:
        rename["val"] = "test"
    return [replace(file, split=rename.get(file.split, file.split)) for file in found]
