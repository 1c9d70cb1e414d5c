"""The rule of what an image is; files and pickles of any size and byte order."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys

import numpy as np
import pytest

from zoo.data.image_file import Unreadable, content_of, images_of, read_npy
from zoo.data.pickled import load_arrays
from zoo.data.shards import read_shard, write_shard

SIZE = 12


def picture(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape or (SIZE, SIZE))


@pytest.mark.parametrize(
    ("shape", "channels", "several", "found"),
    [
        ((12, 10), 1, False, (1, 1, 12, 10)),
        ((144,), 1, False, (1, 1, 12, 12)),
        ((1, 12, 10), 1, False, (1, 1, 12, 10)),
        ((12, 10, 1), 1, False, (1, 1, 12, 10)),
        ((64, 64, 1), 1, False, (1, 1, 64, 64)),
        ((5, 12, 10), 1, True, (5, 1, 12, 10)),
        ((3, 12, 10), 1, True, (3, 1, 12, 10)),
        ((5, 1, 12, 10), 1, True, (5, 1, 12, 10)),
        ((5, 12, 10, 1), 1, True, (5, 1, 12, 10)),
        ((3, 12, 10), 3, False, (1, 3, 12, 10)),
        ((12, 10, 3), 3, False, (1, 3, 12, 10)),
        ((5, 12, 10, 3), 3, True, (5, 3, 12, 10)),
        ((12, 10, 3), None, False, (1, 3, 12, 10)),
        ((12, 10, 1), None, False, (1, 1, 12, 10)),
        ((12, 10), None, False, (1, 1, 12, 10)),
    ],
)
def test_what_an_image_is(shape, channels, several, found):
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    images = images_of(array, channels=channels)
    assert (images.several, images.pixels.shape) == (several, found)
    last = shape[-1] == found[1] and len(shape) > 2 and shape[-3] != found[1]
    first_of_second_channel = array[..., -1].ravel()[0] if last else images.pixels[0, -1, 0, 0]
    assert images.pixels[0, -1, 0, 0] == first_of_second_channel
    assert images.pixels[0, 0, 0, 1] == array.ravel()[found[1] if last else 1]


@pytest.mark.parametrize(
    ("shape", "channels"),
    [
        ((), 1), ((7,), 1), ((49,), 1), ((7, 12), 1), ((12, 7), 1), ((64, 64, 2), 1), ((64, 64, 3), 1), ((12, 12), 3),
        ((5, 64, 64), 3), ((5, 64, 64), None), ((2, 2, 12, 12), None), ((1, 1, 1, 12, 12), 1), ((0, 12, 12), 1),
        ((10_000_000, 1), 1),
    ],
)  # fmt: skip
def test_what_an_image_is_not(shape, channels):
    with pytest.raises(Unreadable, match=r"is of shape|is empty"):
        images_of(np.broadcast_to(np.float32(0), shape), channels=channels)


@pytest.mark.parametrize("shape", [(40_000, 40_000), (3, 1, 40_000, 40_000), (10, 10_000_000)])
def test_an_image_larger_than_the_limit_is_refused(shape):
    with pytest.raises(Unreadable, match=r"is too large: .* and the limit is 0\.375 GiB"):
        images_of(np.broadcast_to(np.float32(0), shape), channels=1)


def objects(items: list) -> np.ndarray:
    array = np.empty(len(items), dtype=object)
    for i, item in enumerate(items):
        array[i] = item
    return array


VALUES = {
    "array": lambda image: image,
    "a list with it": lambda image: [image],
    "image and number": lambda image: objects([image, 3.0]),
    "image and NumPy's number": lambda image: [image, image.dtype.type(3)],
    "flat image and number": lambda image: objects([image.ravel(), 3.0]),
    "appended number": lambda image: np.append(image, np.array(3, image.dtype)).astype(image.dtype),
    "rows": lambda image: objects(list(image)),
    "rows and number": lambda image: objects([objects(list(image)), 3.0]),
    "Python's numbers": lambda image: image.astype(object),
    "flat, Python's numbers": lambda image: image.ravel().astype(object),
    "transposed": lambda image: np.ascontiguousarray(image.T).T,
}


@pytest.mark.parametrize("dtype", [">f8", "<f8", ">f4", ">i2", "<i4", "u1", "<f2", ">f2"])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_keep_every_value_in_every_byte_order(dtype, protocol):
    image = (picture() * 200).astype(dtype)
    image[3, 4] = 33
    for name, form in VALUES.items():
        content = content_of(load_arrays(pickle.dumps(form(image), protocol=protocol)))
        [[[pixels]]] = [images_of(content.array).pixels]
        assert np.array_equal(pixels, image), (name, pixels.dtype)
        assert content.number == (3.0 if "number" in name and "numbers" not in name else None), name


def test_axes_keep_their_order_in_every_protocol():
    cube = picture(3, 12, 10).transpose(1, 2, 0)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for array in (cube, np.asfortranarray(cube), cube.transpose(2, 1, 0)):
            assert np.array_equal(load_arrays(pickle.dumps(array, protocol=protocol)), array)


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i8"])
def test_shards_keep_values_of_any_byte_order(dtype, tmp_path):
    array = np.arange(6).astype(dtype)
    write_shard(tmp_path / "a", {"x": array}, identity="i")
    assert np.array_equal(read_shard(tmp_path / "a", identity="i")["x"], array)


def object_npy(pickled: bytes) -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": (2,)})
    return header.getvalue() + pickled


def nested(depth: int) -> list:
    value: list = [1.0]
    for _ in range(depth):
        value = [value, value]
    return value


def itself() -> list:
    value: list = [1.0, 2.0, 3.0]
    value.append(value)
    return value


HOSTILE = {
    "memo": b"]r\xff\xff\xff\x1f.",
    "bytes": b"\x80\x05\x8e" + (2**33).to_bytes(8, "little") + b"x.",
    "bytearray": b"\x80\x05\x96" + (2**33).to_bytes(8, "little") + b"x.",
    "frame": b"\x80\x05\x95" + (2**33).to_bytes(8, "little") + b"].",
    "sets": b"\x80\x04(" + b"\x8f" * 2_000_000 + b"t.",
    "itself": pickle.dumps(itself()),
    "powers of two": pickle.dumps(nested(60)),
    "one row many times": pickle.dumps(objects([np.zeros(100_000)] * 100_000)),
    "a long row many times": pickle.dumps([[0.0] * 1000] * 100_000),
    "type with a state": b"cnumpy\ndtype\n(S'f8'\nI0\nI1\ntR(I3\nS'<'\nN(S'a'\ntNI-1\nI-1\nI0\ntb.",
    "function with a state": b"cnumpy\ndtype\n}S'a'\nI1\nsb.",
    "shape": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I100000\nI100000\nt"
    b"cnumpy\ndtype\n(S'f8'\nI0\nI1\ntRI0\nS'abc'\ntb.",
    "dict": pickle.dumps({"image": 1}),
    "set": pickle.dumps({1, 2}),
    "structured": pickle.dumps(np.zeros(3, dtype=[("a", "f8")])),
    "words": pickle.dumps(np.array(["a", "b"])),
}

_PEAK = """
import sys
from pathlib import Path
from zoo.data.image_file import Unreadable, read_npy
from zoo.environment import peak_memory_bytes
start = peak_memory_bytes()
for path in sys.argv[1:]:
    try:
        print(read_npy(Path(path)).array.shape)
    except Unreadable as error:
        print(error)
print((peak_memory_bytes() - start) / 2**20)
"""


@pytest.mark.slow
def test_no_pickle_takes_memory_or_time(tmp_path):
    paths = []
    for number, content in enumerate(HOSTILE.values()):
        for inside, form in enumerate((content, object_npy(content))):
            paths.append(tmp_path / f"{number}-{inside}.npy")
            paths[-1].write_bytes(form)
    command = [sys.executable, "-c", _PEAK, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    *reasons, peak = done.stdout.splitlines()
    assert len(reasons) == len(paths), reasons
    for path, reason in zip(paths, reasons, strict=True):
        assert reason.startswith(("cannot be read: it is not a .npy file", "holds Python objects", "is too large")), (
            list(HOSTILE)[int(path.name.partition("-")[0])],
            reason,
        )
    assert float(peak) < 300  # MB


def test_headers_decide_before_anything_is_read(tmp_path):
    for name, shape in {"more": (1000, 1000), "less": (3, 3), "negative": (-1, -80)}.items():
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": shape})
        (tmp_path / f"{name}.npy").write_bytes(header.getvalue() + b"\0" * 80)
        with pytest.raises(Unreadable, match=r"announces .* bytes of data, 80 are there|impossible shape"):
            read_npy(tmp_path / f"{name}.npy")
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f8'(")
    with pytest.raises(Unreadable, match="its header is damaged"):
        read_npy(tmp_path / "broken.npy")
