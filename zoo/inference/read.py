"""From paths to images, one at a time, of every kind of file in `READERS`. What cannot be read is named."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from zoo.data.image_file import Unreadable, images_of, is_hidden
from zoo.errors import MissingError, UsageError
from zoo.inference.arrays import read_npy_file, read_npz_file, read_picture_file, read_safetensors_file
from zoo.inference.fits import read_fits
from zoo.inference.hdf5 import read_hdf5
from zoo.inference.part import Origin, Part, PixelScale
from zoo.remote import readable_path, shown


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image.

    Args:
        name: Path of the file, with [NAME] or [i] if the file holds several images.
        pixels: Pixels [C, H, W] of any type of number, possibly mapped from disk.
        pixel_scale: Pixel scale that the file states, or None.
        scale_error: Reason why the stated pixel scale cannot be used, or "".
        notes: Remarks for the reader of the answer.
        origin: Split that the image was simulated for; None where the file states none.
    """

    name: str
    pixels: NDArray[Any]
    pixel_scale: PixelScale | None = None
    scale_error: str = ""
    notes: tuple[str, ...] = ()
    origin: Origin | None = None


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A file, or an image in it, that cannot be classified.

    Args:
        name: Name as in `Picture`.
        reason: Reason in a few words.
    """

    name: str
    reason: str


def expand(names: Iterable[str], *, stdin: Iterable[str]) -> Iterator[Path | Skipped]:
    """Yield the files that names stand for: a folder's images, sorted, whatever its depth; "-" reads names from stdin.

    Hidden files and folders in a folder are left out. A folder that cannot be listed becomes a `Skipped`.
    """
    for name in names:
        if name == "-":
            yield from expand((line.rstrip("\r\n") for line in stdin if line.strip() not in ("", "-")), stdin=())
            continue
        try:
            path = readable_path(name)
        except (UsageError, MissingError) as error:
            yield Skipped(name=name, reason=str(error.args[0]).removesuffix("."))
            continue
        if os.path.isdir(path):  # Path.is_dir raises where a name is too long or may not be looked at
            yield from _walk(path)
        else:
            yield path


def read_pictures(paths: Iterable[Path | Skipped], *, channels: int) -> Iterator[Picture | Skipped]:
    """Yield every image of every file, in order; one that cannot be used becomes a `Skipped`, and the others follow.

    Args:
        paths: Paths of files; a `Skipped` stays one.
        channels: Number of channels C of the network.

    Raises:
        MissingError: A library that a file needs is not installed.
        UsageError: `FILE[NAME]` chooses a mask, noise, weights or a PSF.
    """
    for path in paths:
        if isinstance(path, Skipped):
            yield path
            continue
        try:
            origin = _origin_of_export(path)
            for part in _open(path, channels):
                yield from _pictures(path, replace(part, origin=part.origin or origin), channels)
        except Exception as error:
            yield _skipped(shown(path), error)


def _origin_of_export(path: Path) -> Origin | None:
    """Return the split that `zoo data export` wrote to a file; None for other files."""
    from zoo.data.export import export_of

    export = export_of(path)
    return None if export is None else Origin(export.data, export.recipe.dataset_version, export.split)


def _pictures(path: Path, part: Part, channels: int) -> Iterator[Picture | Skipped]:
    """Yield the images of one array of a file."""
    name = f"{shown(path)}[{part.label}]" if part.label else shown(path)
    try:
        several, images = images_of(part.load(), channels=channels)
    except Exception as error:
        yield _skipped(name, error)
        return
    for index, pixels in enumerate(images):
        yield Picture(
            name=f"{name}[{index}]" if several else name,
            pixels=pixels,
            pixel_scale=part.pixel_scale,
            scale_error=part.scale_error,
            notes=part.notes,
            origin=part.origin,
        )


def _skipped(name: str, error: Exception) -> Skipped:
    """Return the reason why a file is left out.

    Raises:
        MissingError: A library is not installed, which concerns more than this file.
        UsageError: What was asked for is not an image.
    """
    if isinstance(error, UsageError):
        raise UsageError(f"{name}: {error.args[0]}", hint=error.hint) from error
    if isinstance(error, MissingError):
        raise error
    if isinstance(error, Unreadable):
        return Skipped(name=name, reason=str(error))
    if isinstance(error, OSError):
        return Skipped(name=name, reason=_refusal(error))
    # Libraries raise what they like on damaged files.
    return Skipped(name=name, reason=_reason(f"{type(error).__name__}: {error}"))


def _refusal(error: OSError) -> str:
    """Return the system's reason, without the path that its message repeats; libraries' own have a text alone."""
    return _reason(error.strerror or f"{type(error).__name__}: {error}")


def _reason(text: str) -> str:
    return f"cannot be read: {text.strip().splitlines()[0]}"[:300]


def _walk(folder: Path) -> Iterator[Path | Skipped]:
    refused: list[OSError] = []  # os.walk goes on after each

    def name_refused() -> Iterator[Skipped]:
        while refused:
            error = refused.pop(0)
            yield Skipped(name=str(error.filename), reason=_refusal(error))

    for where, folders, files in os.walk(folder, onerror=refused.append):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        yield from name_refused()
        yield from (Path(where, name) for name in sorted(files) if not is_hidden(name) and _suffix(name) in READERS)
    yield from name_refused()


def _suffix(name: str) -> str:
    name = name.lower()
    return next((suffix for suffix in READERS if name.endswith(suffix)), Path(name).suffix)


def _open(path: Path, channels: int) -> Iterator[Part]:
    """Return the arrays of a file; `FILE[NAME]` stands for one of them.

    Raises:
        Unreadable: The file was not found, or has an unsupported format.
        OSError: The system denies access to the file.
    """
    chosen = None
    status = _status(path)
    if status is None and path.name.endswith("]"):
        name, _, chosen = str(path).removesuffix("]").rpartition("[")  # names in HDF5 hold slashes
        path = Path(name) if Path(name).name and name[-1] not in ("/", os.sep) else path
        status = _status(path)
    if status is None:
        raise Unreadable("file not found")
    if not stat.S_ISREG(status.st_mode):
        raise Unreadable("is not a file")
    reader = READERS.get(_suffix(path.name))
    if reader is None:
        raise Unreadable(f"not one of {', '.join(READERS)}")
    return reader(path, channels, chosen)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


READERS: dict[str, Callable[[Path, int, str | None], Iterator[Part]]] = {
    ".npy": read_npy_file,
    ".npz": read_npz_file,
    **dict.fromkeys((".fits", ".fit", ".fts", ".fits.gz", ".fits.fz"), read_fits),
    **dict.fromkeys((".png", ".jpg", ".jpeg"), read_picture_file),
    ".safetensors": read_safetensors_file,
    **dict.fromkeys((".h5", ".hdf5"), read_hdf5),
}


def require_files(paths: Iterator[Path | Skipped], names: Iterable[str]) -> Iterator[Path | Skipped]:
    """Yield the paths.

    Raises:
        UsageError: The list of paths is empty.
    """
    first = next(paths, None)
    if first is None:
        where = f"found in {', '.join(names)}" if (names := list(names)) else "were given"
        raise UsageError(f"No image files {where}.", hint=f"Files: {', '.join(READERS)}")
    yield first
    yield from paths


def each_once(paths: Iterable[Path | Skipped], repeated: Callable[[Path], object]) -> Iterator[Path | Skipped]:
    """Yield each file once, by whichever path it is named; call `repeated` with every further path of it."""
    seen: set[str] = set()
    for path in paths:
        if isinstance(path, Skipped):
            yield path
        elif (real := os.path.realpath(path)) not in seen:
            seen.add(real)
            yield path
        else:
            repeated(path)
