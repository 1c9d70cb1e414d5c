"""From paths to images, one at a time: .npy, .npz, FITS, PNG, JPEG and .safetensors. What cannot be read is named.

astropy and pillow are imported when the first file that needs them is met.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import DataError, MissingError, UsageError
from zoo.inference.fits import PixelScale, Unreadable, import_library, read_fits

ARRAY_NAMES = ("images", "image", "data")
"""Where .npz and .safetensors files hold several arrays, the images are the first of these."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image.

    Args:
        name: Path of the file, with [i] if the file holds several images.
        pixels: Finite pixels [C, H, W], float32.
        pixel_scale: Pixel scale that the file states, or None.
    """

    name: str
    pixels: NDArray[np.float32]
    pixel_scale: PixelScale | None = None


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

    A folder that cannot be listed becomes a `Skipped`.
    """
    for name in names:
        if name == "-":
            yield from expand((line.rstrip("\r\n") for line in stdin if line.strip() not in ("", "-")), stdin=())
        elif os.path.isdir(name):  # Path.is_dir raises where a name is too long or may not be looked at
            yield from _walk(Path(name))
        else:
            yield Path(name)


def read_pictures(paths: Iterable[Path | Skipped], *, channels: int) -> Iterator[Picture | Skipped]:
    """Yield every image of every file, in order; one that cannot be used becomes a `Skipped`, and the others follow.

    Args:
        paths: Paths of files; a `Skipped` stays one.
        channels: Number of channels C of the network.

    Raises:
        MissingError: a library that a file needs is not installed.
    """
    for path in paths:
        if isinstance(path, Skipped):
            yield path
            continue
        try:
            arrays, pixel_scale = _open(path, channels)
            several, images = _split(arrays, channels)
            for index, image in enumerate(images):
                name = f"{path}[{index}]" if several else str(path)
                yield _checked(name, image, pixel_scale)
        except MissingError:
            raise
        except Unreadable as error:
            yield Skipped(name=str(path), reason=str(error))
        except OSError as error:
            yield Skipped(name=str(path), reason=_refusal(error))
        except Exception as error:  # libraries raise what they like on damaged files
            yield Skipped(name=str(path), reason=_reason(f"{type(error).__name__}: {error}"))


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
        folders.sort()
        yield from name_refused()
        yield from (Path(where, name) for name in sorted(files) if _suffix(Path(name)) in READERS)
    yield from name_refused()


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return next((suffix for suffix in READERS if name.endswith(suffix)), path.suffix.lower())


def _open(path: Path, channels: int) -> tuple[NDArray[Any], PixelScale | None]:
    """Return a file's array and pixel scale.

    Raises:
        Unreadable: The file was not found, or has an unsupported format.
        OSError: the system refuses to look at it or to read it.
    """
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        raise Unreadable("file not found") from None
    if not regular:
        raise Unreadable("is not a file")
    reader = READERS.get(_suffix(path))
    if reader is None:
        raise Unreadable(f"not one of {', '.join(READERS)}")
    return reader(path, channels)


def _split(array: NDArray[Any], channels: int) -> tuple[bool, Iterable[NDArray[Any]]]:
    """Return whether an array holds several images, and them as [C, H, W].

    Raises:
        Unreadable: it does not have the shape of an image.
    """
    shape = array.shape
    if array.dtype.kind not in "fiub":
        raise Unreadable(f"holds {array.dtype}, not numbers")
    if 0 in shape:
        raise Unreadable(f"is empty, of shape {list(shape)}")
    if len(shape) == 2 and channels == 1:
        return False, [array[None]]
    if len(shape) == 3 and shape[2] in (3, 4) and min(shape[:2]) > 4:
        raise Unreadable(f"is of shape {list(shape)}, which looks like a colour picture; give one band, or [N, H, W]")
    if len(shape) == 3 and shape[0] == channels:
        return False, [array]
    if len(shape) == 3 and channels == 1:
        return True, (image[None] for image in array)
    if len(shape) == 4 and shape[1] == channels:
        return True, array
    wanted = "[H, W], [N, H, W] or [N, 1, H, W]" if channels == 1 else f"[{channels}, H, W] or [N, {channels}, H, W]"
    raise Unreadable(f"is of shape {list(shape)}; an image is {wanted}")


def _checked(name: str, image: NDArray[Any], pixel_scale: PixelScale | None) -> Picture | Skipped:
    with np.errstate(over="ignore"):
        pixels = np.array(image, dtype=np.float32)  # also turns FITS' byte order into the machine's
    bad = pixels.size - int(np.isfinite(pixels).sum())
    if bad:
        broken = image.size - int(np.isfinite(image).sum())
        count, what = (broken, "NaN or infinite") if broken else (bad, "too large for single precision")
        return Skipped(name=name, reason=f"{count:,} of {pixels.size:,} pixels are {what}")
    return Picture(name=name, pixels=pixels, pixel_scale=pixel_scale)


def _read_npy(path: Path, channels: int) -> tuple[NDArray[Any], None]:
    _require_start(path, b"\x93NUMPY", ".npy")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False), None
    except ValueError as error:
        if "object" in str(error).lower():
            raise Unreadable(
                "holds Python objects, which could run code when they are read; save plain arrays"
            ) from None
        raise


def _read_npz(path: Path, channels: int) -> tuple[NDArray[Any], None]:
    _require_start(path, b"PK", ".npz")
    with np.load(path, allow_pickle=False) as content:
        return content[_choose(content.files)], None


def _require_start(path: Path, magic: bytes, kind: str) -> None:
    """Check that a file is of its kind: numpy takes all others for pickled objects.

    Raises:
        Unreadable: it is not.
    """
    with path.open("rb") as file:
        if file.read(len(magic)) != magic:
            raise Unreadable(f"cannot be read: it is not a {kind} file, whatever its name")


def _read_safetensors(path: Path, channels: int) -> tuple[NDArray[Any], PixelScale | None]:
    """Return a file's images; of one that `zoo simulate` made those that were asked for, and their pixel scale.

    A shard always holds 256 images; the manifest of its folder states the number requested.
    """
    from safetensors import safe_open

    from zoo.data.manifest import MANIFEST, read_manifest
    from zoo.data.shards import SHARD_SIZE

    with safe_open(path, framework="numpy") as file:
        images: NDArray[Any] = file.get_tensor(_choose(list(file.keys())))
    try:
        manifest = read_manifest(path.parent.parent)
    except DataError:  # a file of this name is not always ours
        manifest = None
    split = manifest and manifest.splits.get(path.parent.name)
    if not manifest or not split or path.name not in split.shards:
        return images, None
    scale = manifest.recipe.params.get("pixel_scale")
    asked = max(0, split.images - int(path.stem) * SHARD_SIZE)
    return images[:asked], PixelScale(scale, f"{MANIFEST} of its folder") if scale else None


def _choose(names: list[str]) -> str:
    """Return the array that holds the images.

    Raises:
        Unreadable: it is not clear which one.
    """
    for name in [*ARRAY_NAMES, *(names if len(names) == 1 else [])]:
        if name in names:
            return name
    shown = ", ".join(names[:6]) or "none"
    raise Unreadable(f"has no array named {', '.join(ARRAY_NAMES)} (it has {shown})")


def _read_picture(path: Path, channels: int) -> tuple[NDArray[Any], None]:
    """Return a PNG or JPEG as [H, W], or [3, H, W] for a network with colour channels.

    Raises:
        Unreadable: a PNG has 16 bits and more than grey, or is wanted in colours: pillow would keep 8 of them.
    """
    image_module = import_library("PIL.Image", "PNG and JPEG files need pillow", "pillow")
    with path.open("rb") as file:
        start = file.read(26)
    # The bit depth and the colour type of a PNG's first chunk, IHDR: https://www.w3.org/TR/png-3/#11IHDR
    if start.startswith(b"\x89PNG\r\n\x1a\n") and start[24:25] == b"\x10":
        if channels == 3:
            raise Unreadable("is a 16-bit PNG, whose colours cannot be read; convert to 8 bits, FITS or .npy")
        if start[25:26] != b"\x00":
            raise Unreadable("is a 16-bit PNG with colours or transparency; convert to plain grey, FITS or .npy")
    with image_module.open(path) as image:
        if channels == 3:
            return np.moveaxis(np.asarray(image.convert("RGB")), 2, 0), None
        deep = image.mode in ("L", "I", "F") or image.mode.startswith("I;16")
        return np.asarray(image if deep else image.convert("L")), None


READERS: dict[str, Callable[[Path, int], tuple[NDArray[Any], PixelScale | None]]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    **dict.fromkeys((".fits", ".fit", ".fts", ".fits.gz", ".fits.fz"), read_fits),
    **dict.fromkeys((".png", ".jpg", ".jpeg"), _read_picture),
    ".safetensors": _read_safetensors,
}


def require_files(paths: Iterator[Path | Skipped], names: Iterable[str]) -> Iterator[Path | Skipped]:
    """Yield the paths.

    Raises:
        UsageError: The list of paths is empty.
    """
    first = next(paths, None)
    if first is None:
        raise UsageError(f"No image files found in {', '.join(names)}.", hint=f"Files: {', '.join(READERS)}")
    yield first
    yield from paths
