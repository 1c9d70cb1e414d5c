"""Files of DeepLense's folders: every form of array is read, nothing in a pickle is run, broken files are named."""

import io
import logging
import os
import pickle

import numpy as np
import pytest
from foldertools import SIZE, fill, opened, pair, picture, put
from zoo_deeplense.array_file import BrokenFile, read_image

from zoo.errors import DataError

pytestmark = pytest.mark.usefixtures("own_cache")


FORMS = {
    "rows and columns": lambda image: image[0],
    "one channel": lambda image: image,
    "integers": lambda image: np.round(image[0] * 255).astype(np.int64),
    "doubles": lambda image: image[0].astype(np.float64),
    "big-endian": lambda image: image[0].astype(">f8"),
    "channel last": lambda image: image[0][..., None],
    "objects, big-endian": lambda image: pair(image[0].astype(">f8"), np.float64(3e-23)),
    "mass appended": lambda image: np.append(image.astype(np.float64), 3e-23),
    "fortran order": lambda image: np.asfortranarray(image[0]),
    "flat": lambda image: image.reshape(-1),
    "image and mass": lambda image: pair(image[0].astype(float), np.float64(3e-23)),
    "row vectors": lambda image: _objects(list(image[0].astype(float))),
    "row vectors and mass": lambda image: _objects([*image[0].astype(float), 3e-23]),
    "row vectors and a row of the mass": lambda image: _objects([*image[0].astype(float), np.array([3e-23])]),
    "row vectors and label": lambda image: _objects([*image[0].astype(float), 2]),
    "label appended": lambda image: np.append(image.astype(np.float64), 1.0),
    "flat rows and mass": lambda image: pair(image.reshape(-1).astype(float), 3e-23),
}


def _objects(items: list) -> np.ndarray:
    array = np.empty(len(items), dtype=object)
    for i, item in enumerate(items):
        array[i] = item
    return array


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_an_array(form, tmp_path):
    image = picture(1)
    array = FORMS[form](image)
    put(tmp_path / "1.npy", array, allow_pickle=True)
    read, mass = read_image(tmp_path / "1.npy")
    expected = np.round(image * 255) if form == "integers" else image
    np.testing.assert_allclose(read, expected, rtol=1e-6)
    assert read.dtype == np.float32
    assert (mass == pytest.approx(3e-23)) if "mass" in form or "objects" in form else np.isnan(mass)


def test_colours_come_first(tmp_path):
    image = picture(2, SIZE, SIZE, 3)
    put(tmp_path / "1.npy", image)
    np.testing.assert_array_equal(read_image(tmp_path / "1.npy")[0], np.moveaxis(image, 2, 0))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("bare", [True, False])
def test_pickles_of_every_protocol(protocol, bare, tmp_path):
    image = picture(3)
    content = pickle.dumps(pair(image[0].astype(float), np.float64(3e-23)), protocol=protocol)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": (2,)})
    (tmp_path / "1.npy").write_bytes(content if bare else header.getvalue() + content)
    read, mass = read_image(tmp_path / "1.npy")
    np.testing.assert_allclose(read, image, rtol=1e-6)
    assert mass == pytest.approx(3e-23)


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("bare", [True, False], ids=["bare pickle", "inside .npy"])
@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("way", ["system", "eval", "getattr", "ndarray", "open"])
def test_a_malicious_pickle_does_not_run(way, nested, bare, tmp_path):
    mark = tmp_path / "it_ran"
    evil = {
        "system": Evil(os.system, f"touch {mark}"),
        "eval": Evil(eval, f"open({str(mark)!r}, 'w')"),
        "open": Evil(open, str(mark), "w"),
        "getattr": Evil(getattr, np.ndarray, "tofile"),
        "ndarray": Evil(np.ndarray, (10**12,)),
    }[way]
    content = pickle.dumps(_objects([picture(0)[0], evil]) if nested else evil)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": (2,)})
    path = tmp_path / "1.npy"
    path.write_bytes(content if bare else header.getvalue() + content)
    with pytest.raises(BrokenFile) as caught:
        read_image(path)
    assert not mark.exists()
    assert str(path) in str(caught.value)
    if way != "ndarray":
        assert "it was not called" in str(caught.value)
    if way in ("system", "eval", "open") and bare and not nested:  # the test itself: it would have run
        pickle.loads(content)
        assert mark.exists()


def announced(shape: tuple[int, ...]) -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return header.getvalue() + b"\0" * 80


BROKEN = {
    "empty": b"",
    "text": b"not an array at all",
    "cut": announced((SIZE, SIZE)),
    "huge": announced((10**9, 10**9)),
    "no square": None,
    "not finite": None,
    "text array": None,
    "negative length": announced((-1, -80)),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_files_are_named_and_may_be_skipped(kind, tmp_path, caplog):
    root = tmp_path / "set"
    fill(root, {"no": 0, "sphere": 1, "vort": 2})
    path = root / "sphere" / "2.npy"
    if BROKEN[kind] is not None:
        path.write_bytes(BROKEN[kind])
    else:
        put(
            path,
            {"no square": picture(0, 5, 7), "not finite": picture(0) * np.nan, "text array": np.array(["a"])}[kind],
        )
    with pytest.raises(DataError, match="skip_broken=true") as caught:
        opened(root)
    assert str(path) in str(caught.value)
    for _ in range(2):  # the second time from the cache
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            content = opened(root, skip_broken=True)
        assert len(content.images) == 11
        np.testing.assert_array_equal(content.images[:, 0, 0, 0], content.labels)
        assert "1 of 12 files" in caplog.text
        assert str(path) in caplog.text


def test_mixed_shapes_are_named(tmp_path):
    root = tmp_path / "set"
    fill(root, {"no": 0, "sphere": 1, "vort": 2}, count=20)
    put(root / "vort" / "odd.npy", picture(0, 1, SIZE + 1, SIZE + 1))
    with pytest.raises(DataError, match=r"odd\.npy: its shape is \(1, 13, 13\), that of .* \(1, 12, 12\)"):
        opened(root)
    assert len(opened(root, skip_broken=True).images) == 60
