"""Images of .npy, .npz and .safetensors files, and of PNG and JPEG; pillow is imported for the first of these."""

from __future__ import annotations

import functools
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from zoo.data.image_file import Content, Unreadable, check_size, read_npy, read_npy_stream
from zoo.errors import DataError
from zoo.inference.part import Origin, Part, PixelScale, choose, describes_image, import_library
from zoo.paths import parse_json

ARRAY_NAMES = ("images", "image", "data")
"""Names of the array with the images in files that hold several; the first present is read."""

_SAFETENSORS_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8",
    "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
_MOST_BYTES_PER_PIXEL = 8  # pillow's image, its conversion, and the array


def read_npy_file(path: Path, channels: int, chosen: str | None) -> Iterator[Part]:
    """Yield the array of a .npy file; the folder of `zoo data export` states its pixel scale."""
    if chosen is not None:
        raise Unreadable(f"holds one array, so [{chosen}] cannot choose one")
    yield replace(_part(read_npy(path)), pixel_scale=_scale_of_export(path))


def _scale_of_export(path: Path) -> PixelScale | None:
    from zoo.data.export import DESCRIPTION, export_of

    export = export_of(path)
    return PixelScale(export.pixel_scale, DESCRIPTION) if export is not None and export.pixel_scale else None


def _part(content: Content) -> Part:
    notes = () if content.number is None else (f"the number {content.number:g} beside the image is not used",)
    return Part(load=lambda: content.array, notes=notes)


def read_npz_file(path: Path, channels: int, chosen: str | None) -> Iterator[Part]:
    """Yield the array of images of a .npz file.

    Raises:
        Unreadable: The file has another format, or its arrays are larger than the limit.
    """
    require_start(path, (b"PK",), ".npz")
    with zipfile.ZipFile(path) as content:
        members = {info.filename.removesuffix(".npy"): info for info in content.infolist()}
        member = members[choose_array(list(members), chosen)]
        with content.open(member) as stream:
            yield _part(read_npy_stream(cast("BinaryIO", stream), member.file_size))


def require_start(path: Path, starts: tuple[bytes, ...], kind: str) -> None:
    """Check that a file is of its kind, because libraries also read others by content.

    Raises:
        Unreadable: The file begins with other bytes.
    """
    with path.open("rb") as file:
        if not file.read(max(map(len, starts))).startswith(starts):
            raise Unreadable(f"cannot be read: it is not a {kind} file, whatever its name")


def read_safetensors_file(path: Path, channels: int, chosen: str | None) -> Iterator[Part]:
    """Yield a file's images, mapped from disk; of a shard of `zoo simulate` those that were requested.

    A shard always holds 256 images; the manifest of its folder states the number requested, pixel scale and origin.
    """
    from safetensors import safe_open

    from zoo.data.manifest import MANIFEST, read_manifest
    from zoo.data.shards import SHARD_SIZE

    with safe_open(path, framework="numpy") as file:  # checks the whole header
        name = choose_array(list(file.keys()), chosen)
    images = _mapped(path, name)
    try:
        manifest = read_manifest(path.parent.parent)
    except DataError:  # a file of this name is not always ours
        manifest = None
    split = manifest and manifest.splits.get(path.parent.name)
    if not manifest or not split or path.name not in split.shards:
        yield Part(load=lambda: images)
        return
    recipe = manifest.recipe
    scale = recipe.params.get("pixel_scale")
    requested = max(0, split.images - int(path.stem) * SHARD_SIZE)
    pixel_scale = PixelScale(scale, f"{MANIFEST} of its folder") if scale else None
    origin = Origin(recipe.dataset, recipe.dataset_version, path.parent.name)
    yield Part(load=lambda: images[:requested], pixel_scale=pixel_scale, origin=origin)


def _mapped(path: Path, name: str) -> NDArray[Any]:
    """Return an array of a safetensors file: eight bytes of length, JSON, then the arrays' bytes."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entry = parse_json(file.read(length))[name]
    if entry["dtype"] not in _SAFETENSORS_TYPES:
        raise Unreadable(f"holds {entry['dtype']}, which NumPy cannot read")
    shape = tuple(entry["shape"])
    dtype = np.dtype(_SAFETENSORS_TYPES[entry["dtype"]])
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype=dtype, shape=shape, mode="r", offset=8 + length + entry["data_offsets"][0])


def choose_array(names: list[str], chosen: str | None) -> str:
    """Return the array that holds the images; the names of HDF5 begin with those of groups.

    Raises:
        Unreadable: Several arrays could be the images.
    """
    if chosen is not None:
        return choose({name: name.rpartition("/")[2] for name in names}, chosen, "array")
    only = [name for name in names if len(names) == 1 and not describes_image(name.rpartition("/")[2])]
    for name in [*ARRAY_NAMES, *only]:
        if name in names:
            return name
    shown = ", ".join(names[:6]) or "none"
    raise Unreadable(f"has no array named {', '.join(ARRAY_NAMES)} (it has {shown}); choose one with FILE[NAME]")


def read_picture_file(path: Path, channels: int, chosen: str | None) -> Iterator[Part]:
    """Yield a PNG or JPEG as [H, W], or [3, H, W] for a network with colour channels.

    Raises:
        Unreadable: The image is larger than the limit; or it is a 16-bit PNG that has colours or is read in colours:
            pillow would keep 8 of them.
    """
    if chosen is not None:
        raise Unreadable(f"holds one picture, so [{chosen}] cannot choose one")
    image_module = import_library("PIL.Image", "PNG and JPEG files need pillow", "pillow")
    with path.open("rb") as file:
        start = file.read(26)
    # The bit depth and the colour type of a PNG's first chunk, IHDR: https://www.w3.org/TR/png-3/#11IHDR
    if start.startswith(b"\x89PNG\r\n\x1a\n") and start[24:25] == b"\x10":
        if channels == 3:
            raise Unreadable("is a 16-bit PNG, whose colours cannot be read; convert to 8 bits, FITS or .npy")
        if start[25:26] != b"\x00":
            raise Unreadable("is a 16-bit PNG with colours or transparency; convert to plain grey, FITS or .npy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pillow's own about large pictures
        with image_module.open(path, formats=("PNG", "JPEG")) as image:
            check_size(image.size, itemsize=_MOST_BYTES_PER_PIXEL)
            frames = getattr(image, "n_frames", 1)
            notes = (f"picture 1 of {frames} in the file",) if frames > 1 else ()
            yield Part(load=functools.partial(_pixels, image, channels), notes=notes)


def _pixels(image: Any, channels: int) -> NDArray[Any]:
    if channels == 3:
        return np.moveaxis(np.asarray(image.convert("RGB")), 2, 0)
    deep = image.mode in ("L", "I", "F") or image.mode.startswith("I;16")
    return np.asarray(image if deep else image.convert("L"))
