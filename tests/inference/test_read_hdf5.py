"""Images of HDF5 files: which array, its pixel scale, and what is left out."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

import zoo.inference.hdf5
from zoo.errors import DataError
from zoo.inference.read import Picture, Skipped, read_pictures

IMAGES = np.random.default_rng(0).random((3, 8, 10), dtype=np.float32)


def read(path):
    return list(read_pictures([path], channels=1))


@pytest.fixture
def file(tmp_path):
    with h5py.File(tmp_path / "lenses.hdf5", "w") as opened:
        yield opened


def test_arrays_are_chosen_by_name_and_groups_belong_to_it(tmp_path, file):
    file["labels"] = np.arange(3)
    file["names"] = np.array([["a", "b"]], dtype="S1")
    file["exposure/cutouts"] = IMAGES
    file.close()
    found = read(tmp_path / "lenses.hdf5")  # the only array of numbers with two sides or more
    assert [picture.name.rpartition("/")[2] for picture in found] == [f"lenses.hdf5[{k}]" for k in range(3)]
    np.testing.assert_array_equal([picture.pixels[0] for picture in found], IMAGES)
    with h5py.File(tmp_path / "lenses.hdf5", "a") as opened:
        opened["exposure/psf"] = IMAGES[0]
        opened["other"] = 2 * IMAGES
    [skipped] = read(tmp_path / "lenses.hdf5")
    assert "it has exposure/cutouts, exposure/psf, other); choose one with FILE[NAME]" in skipped.reason
    assert read(tmp_path / "lenses.hdf5[Other]")[2].pixels.max() == 2 * IMAGES[2].max()
    assert len(read(tmp_path / "lenses.hdf5[exposure/cutouts]")) == 3


@pytest.mark.parametrize(("stated", "scale", "error"), [
    (0.05, 0.05, ""), (np.float32(0.25), 0.25, ""), (1, 1.0, ""),
    *((value, None, "its attribute pixel_scale is not a positive number")
      for value in (-1.0, 0, np.nan, np.inf, "0.05", [0.05, 0.05])),
])  # fmt: skip
def test_an_attribute_states_the_pixel_scale(tmp_path, file, stated, scale, error):
    file.create_dataset("images", data=IMAGES).attrs["pixel_scale"] = stated
    file.close()
    picture, *_ = read(tmp_path / "lenses.hdf5")
    assert (picture.pixel_scale and picture.pixel_scale.arcsec, picture.scale_error) == (scale, error)


def test_numbers_of_other_files_are_not_read(tmp_path, file):
    """A file of unknown origin may name any file of this machine."""
    IMAGES.tofile(tmp_path / "raw")
    file.create_dataset("images", IMAGES.shape, "f4", external=[(str(tmp_path / "raw"), 0, IMAGES.nbytes)])
    with h5py.File(tmp_path / "other.hdf5", "w") as other:
        other["images"] = IMAGES
    with h5py.File(tmp_path / "virtual.hdf5", "w") as virtual:
        layout = h5py.VirtualLayout(IMAGES.shape, "f4")
        layout[:] = h5py.VirtualSource(tmp_path / "other.hdf5", "images", IMAGES.shape)
        virtual.create_virtual_dataset("images", layout)
    with h5py.File(tmp_path / "linked.hdf5", "w") as linked:
        linked["images"] = h5py.ExternalLink(tmp_path / "other.hdf5", "images")
    file.close()
    for name, reason in (("lenses", "in other files"), ("virtual", "in other files"), ("linked", "it has none")):
        [skipped] = read(tmp_path / f"{name}.hdf5")
        assert isinstance(skipped, Skipped)
        assert reason in skipped.reason


def test_only_arrays_that_must_be_read_whole_have_a_limit(tmp_path, file, monkeypatch):
    def refuse(shape, **_):
        raise DataError(f"{shape} is read whole")

    monkeypatch.setattr(zoo.inference.hdf5, "check_size", refuse)
    file["images"] = IMAGES
    file.create_dataset("pressed", data=IMAGES, compression="gzip")
    file.create_dataset("unwritten", IMAGES.shape, "f4")
    file.close()
    assert all(isinstance(found, Picture) for found in read(tmp_path / "lenses.hdf5"))
    for name in ("pressed", "unwritten"):
        [skipped] = read(tmp_path / f"lenses.hdf5[{name}]")
        assert "is read whole" in skipped.reason


def test_a_cut_file_is_named(tmp_path, file):
    file["images"] = IMAGES
    file.close()
    content = (tmp_path / "lenses.hdf5").read_bytes()
    for length in (len(content) - 100, len(content) // 2, 100):
        (tmp_path / "cut.hdf5").write_bytes(content[:length])
        [skipped] = read(tmp_path / "cut.hdf5")
        assert "cannot be read" in skipped.reason
