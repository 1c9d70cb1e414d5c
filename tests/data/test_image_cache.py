"""Images read once into the cache: progress, and what leaves no file behind."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from zoo.data.image_cache import cached_images, reading_reported
from zoo.errors import DataError

IMAGES = np.arange(24, dtype=np.float32).reshape(6, 1, 2, 2)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))


def read(out):
    for image in IMAGES:
        out.add(image)
    return {"names": ["a"]}


def files(folder):
    return [path.name for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]


def test_images_are_read_once_and_the_progress_is_reported():
    reports = []
    for _ in range(2):
        with reading_reported(lambda done, total: reports.append((done, total))):
            cached = cached_images(["key"], read, expected=8)
        np.testing.assert_array_equal(cached.images, IMAGES)
        assert cached.index["names"] == ["a"]
    cached_images(["another key"], read, expected=6)  # nobody listens any more
    assert reports == [(count, 8) for count in range(1, 7)]


def test_a_disk_that_is_too_small_is_named_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**9))
    with pytest.raises(DataError, match=r"100,000,000 images need 1\.6 GB in \S+, where 1\.0 GB are free"):
        cached_images(["key"], read, expected=10**8)
    assert files(tmp_path) == []


def test_no_images_are_no_data_set(tmp_path):
    with pytest.raises(DataError, match="no images"):
        cached_images(["key"], lambda out: {}, expected=0)
    assert files(tmp_path) == []


def test_an_image_of_another_shape_is_refused():
    def shapes(out):
        out.add(IMAGES[0])
        out.add(IMAGES[1, :, :1])

    with pytest.raises(ValueError, match=r"its shape is \(1, 1, 2\), that of the first image \(1, 2, 2\)"):
        cached_images(["key"], shapes, expected=2)
