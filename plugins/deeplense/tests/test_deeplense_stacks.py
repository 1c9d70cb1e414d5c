"""Arrays of many images with labels or masses beside them, folders of PNGs, and pickled loaders, which are refused."""

import pickle

import numpy as np
import pytest
from foldertools import SIZE, opened, picture, put
from PIL import Image

from zoo.errors import DataError

pytestmark = pytest.mark.usefixtures("own_cache")
COUNT = 12


def stack(first=0):
    """Return images [N, 1, H, W] and labels [N]; pixel 0, 0 is the label, 0, 1 the number."""
    images = np.stack([picture(first + number) for number in range(COUNT)])
    labels = np.random.default_rng(first).permutation(np.arange(COUNT) % 3)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = labels, first + np.arange(COUNT)
    return images, labels


@pytest.mark.parametrize("form", [
    lambda images: images, lambda images: images[:, 0], lambda images: images.reshape(3, 4, 1, SIZE, SIZE),
    lambda images: images.astype(np.float64), lambda images: np.moveaxis(images, 1, 3),
])  # fmt: skip
@pytest.mark.parametrize("shape", [(-1,), (-1, 1), "batches"])
def test_labels_beside_an_array(form, shape, tmp_path):
    images, labels = stack()
    shaped = form(images)
    if shape == "batches":
        shape = shaped.shape[:2] if shaped.ndim == 5 else (-1,)
    put(tmp_path / "images.npy", shaped)
    put(tmp_path / "labels.npy", labels.reshape(shape).astype(float if len(shape) == 1 else int))
    content = opened(tmp_path)
    assert content.images.shape == (COUNT, 1, SIZE, SIZE)
    np.testing.assert_array_equal(content.images[:, 0, 0, 0], content.labels)
    assert sorted(content.images[:, 0, 0, 1].astype(int)) == list(range(COUNT))
    assert len(set(content.ids)) == COUNT
    assert content.split is None


@pytest.mark.parametrize("names", [("x_{}.npy", "y_{}.npy"), ("{}/images.npy", "{}/labels.npy")])
def test_splits_of_arrays(names, tmp_path):
    for k, split in enumerate(("train", "test")):
        images, labels = stack(100 * k)
        put(tmp_path / names[0].format(split), images)
        put(tmp_path / names[1].format(split), labels)
    content = opened(tmp_path)
    np.testing.assert_array_equal(content.images[:, 0, 0, 0], content.labels)
    numbers = content.images[:, 0, 0, 1]
    assert [split == "test" for split in content.split] == (numbers >= 100).tolist()


def test_masses_beside_the_images_of_a_class(tmp_path):
    masses = np.geomspace(1e-24, 1e-22, COUNT)
    for folder in ("no", "cdm", "axion"):
        put(tmp_path / folder / "images.npy", stack()[0])
    put(tmp_path / "axion" / "masses.npy", masses)
    content = opened(tmp_path)
    axions = content.labels == 2
    numbers = content.images[axions, 0, 0, 1].astype(int)
    np.testing.assert_allclose(content.metadata["axion_mass"][axions], masses[numbers])
    assert np.isnan(content.metadata["axion_mass"][~axions]).all()


def test_single_images_beside_a_stack_in_the_folder_of_a_class_count(tmp_path):
    images = stack()[0]
    for folder in ("no", "cdm", "axion"):
        put(tmp_path / folder / "images.npy", images)
        put(tmp_path / folder / "numbers.npy", np.arange(COUNT))
        put(tmp_path / folder / "one.npy", images[0])
    assert np.bincount(opened(tmp_path).labels).tolist() == [COUNT + 1] * 3


def test_labels_beside_the_images_of_a_class_are_not_masses(tmp_path):
    for folder in ("no", "cdm", "axion"):
        put(tmp_path / folder / "images.npy", stack()[0])
        put(tmp_path / folder / "labels.npy", np.arange(COUNT) % 3)
    assert np.isnan(opened(tmp_path).metadata["axion_mass"]).all()


@pytest.mark.parametrize("mode", ["L", "RGB", "LA", "I;16"])
def test_pngs_in_folders_of_classes(mode, tmp_path):
    for label, folder in enumerate(("no", "sphere", "vort")):
        for number in range(4):
            levels = np.full((SIZE, SIZE), 40 * label + number, np.uint16 if mode == "I;16" else np.uint8)
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(levels).convert(mode if mode != "I;16" else None).save(tmp_path / folder / f"{number}.png")
    content = opened(tmp_path)
    assert content.images.shape == (12, 3 if mode == "RGB" else 1, SIZE, SIZE)
    np.testing.assert_array_equal(content.images[:, 0, 5, 5] // 40, content.labels)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"images.npy": stack()[0]}, "no array beside it holds as many labels"),
        ({"images.npy": stack()[0], "labels.npy": np.linspace(0, 1, COUNT)}, "not labels from 0 to 2"),
        ({"images.npy": stack()[0], "labels.npy": np.arange(COUNT)}, "holds 3, not labels"),
        ({"images.npy": stack()[0], "a.npy": stack()[1], "b.npy": stack()[1]}, "which are its labels"),
        ({"images.npy": stack()[0], "labels.npy": np.zeros(COUNT, int)}, "no images of the class subhalo"),
    ],
)
def test_what_is_wrong_with_labels_is_said(files, told, tmp_path):
    for name, array in files.items():
        put(tmp_path / name, array)
    with pytest.raises(DataError, match=told):
        opened(tmp_path)


@pytest.mark.parametrize("name", ["loader.pkl", "train.pth"])
def test_a_pickled_loader_is_refused_with_advice(name, tmp_path):
    ran = tmp_path / "ran"

    class Loader:
        def __reduce__(self):
            return ran.touch, ()

    (tmp_path / "set").mkdir()
    (tmp_path / "set" / name).write_bytes(pickle.dumps(Loader()))
    with pytest.raises(DataError, match=r"a pickled data loader is a program(?s:.*)numpy.save"):
        opened(tmp_path / "set")
    assert not ran.exists()
