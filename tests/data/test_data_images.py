"""Image sets that exist already: what is refused, and who is dealt into which split."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo import open_dataset
from zoo.data.images import ImageSet, assign_splits
from zoo.errors import DataError
from zoo.host import load_plugins


def image_set(count: int, **changes) -> ImageSet:
    fields = {
        "images": np.zeros((count, 1, 2, 2), np.float32),
        "labels": np.zeros(count, np.int64),
        "ids": [f"image-{i}" for i in range(count)],
    }
    return ImageSet(**(fields | changes))


def sizes(train: int, val: int, test: int) -> dict[str, int]:
    return {"train": train, "val": val, "test": test}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((4, 2, 2), np.float32)}, r"images must be \[N, C, H, W\], not of shape \(4, 2, 2\)"),
        ({"labels": np.zeros(3, np.int64)}, "labels has 3 entries for 4 images"),
        ({"ids": ["a", "b"]}, "ids has 2 entries for 4 images"),
        ({"ids": ["a", "b", "c", "a"]}, "ids must be unique"),
        ({"split": ["train"] * 5}, "split has 5 entries for 4 images"),
        ({"metadata": {"snr": np.zeros(1)}}, "snr has 1 entry for 4 images"),
        ({"split": ["train", "train", "valid", "test"]}, "split holds 'valid', which is not one of train, val, test"),
        ({"labels": np.zeros(4)}, "labels holds float64, and must hold whole numbers"),
        ({"metadata": {"survey": np.array(["a", "b", "c", "d"])}}, "survey holds <U1, and must hold numbers"),
        ({"split": ["training"] * 4}, "Did you mean 'train'"),
        ({"split": ["train", "", "val", "test"]}, "split holds ''"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(DataError, match=message):
        image_set(4, **changes)


wanted = st.builds(sizes, *[st.integers(1, 60)] * 3)


@settings(deadline=None)
@given(wanted, wanted, st.integers(10, 300), st.integers(0, 5))
def test_an_image_belongs_to_one_split_whatever_sizes_are_wanted(first, second, count, seed):
    images = image_set(count)
    one, two = (assign_splits(images, chosen, seed=seed) for chosen in (first, second))
    for split in ("train", "val", "test"):
        assert len(one[split]) <= first[split]
        for other in {"train", "val", "test"} - {split}:
            assert not set(one[split].tolist()) & set(two[other].tolist())
    assert len(one["test"]) == min(first["test"], math.ceil(count / 5))


@settings(deadline=None)
@given(wanted, st.lists(st.sampled_from(["train", "val", "test"]), min_size=3, max_size=80), st.integers(0, 5))
def test_marked_images_keep_their_mark(sizes, marks, seed):
    try:
        chosen = assign_splits(image_set(len(marks), split=marks), sizes, seed=seed)
    except DataError as error:
        empty = str(error).partition("split '")[2].partition("'")[0]
        assert empty not in marks or (empty != "test" and "val" not in marks)
        return
    dealt = np.concatenate(list(chosen.values()))
    assert len(set(dealt.tolist())) == len(dealt)
    own_validation = "val" in marks
    for split, index in chosen.items():
        source = split if own_validation or split != "val" else "train"
        assert {marks[i] for i in index} == {source}
        assert len(index) <= sizes[split]
    assert len(chosen["test"]) == min(sizes["test"], marks.count("test"))


@settings(deadline=None)
@given(st.integers(0, 100), st.integers(0, 5))
def test_a_larger_training_set_changes_neither_test_nor_validation(more, seed):
    images = image_set(300)
    small = assign_splits(images, sizes(50, 20, 30), seed=seed)
    large = assign_splits(images, sizes(50 + more, 20, 30), seed=seed)
    np.testing.assert_array_equal(large["test"], small["test"])
    np.testing.assert_array_equal(large["val"], small["val"])
    np.testing.assert_array_equal(large["train"][:50], small["train"])


def test_another_validation_size_leaves_the_test_set():
    images = image_set(300)
    few, many = (assign_splits(images, sizes(50, count, 30), seed=0) for count in (20, 90))
    np.testing.assert_array_equal(few["test"], many["test"])


def test_a_larger_test_set_holds_the_smaller_one():
    images = image_set(300)
    small, large = (assign_splits(images, sizes(50, 20, count), seed=0)["test"] for count in (30, 60))
    assert set(small) < set(large)


def test_splits_follow_the_ids_and_not_the_order_of_the_files():
    images = image_set(100)
    shuffled = np.random.default_rng(0).permutation(100)
    reordered = image_set(100, ids=[images.ids[i] for i in shuffled])
    for split, index in assign_splits(images, sizes(50, 20, 30), seed=0).items():
        other = assign_splits(reordered, sizes(50, 20, 30), seed=0)[split]
        assert [images.ids[i] for i in index] == [reordered.ids[i] for i in other]


def test_another_seed_deals_anew_and_no_split_follows_the_order_of_the_images():
    images = image_set(1500)
    first, second = (assign_splits(images, sizes(300, 300, 300), seed=seed)["test"] for seed in (0, 1))
    assert 30 < len(set(first) & set(second)) < 95  # 60 by chance, standard deviation 6
    assert 625 < first.mean() < 875  # 749.5 by chance, standard deviation 22


@pytest.mark.parametrize(("count", "expected"), [(100, (70, 10, 20)), (50, (35, 5, 10)), (10, (7, 1, 2))])
def test_all_images_are_used_where_more_are_wanted(count, expected):
    chosen = assign_splits(image_set(count), sizes(500, 200, 300), seed=0)
    assert tuple(len(chosen[split]) for split in ("train", "val", "test")) == expected
    assert len(set(np.concatenate(list(chosen.values())).tolist())) == count


def test_validation_is_cut_from_the_training_part_where_none_is_marked():
    marks = ["train"] * 60 + ["test"] * 30
    chosen = assign_splits(image_set(90, split=marks), sizes(40, 10, 100), seed=0)
    assert {split: len(index) for split, index in chosen.items()} == sizes(40, 6, 30)
    fewer = assign_splits(image_set(90, split=marks), sizes(500, 100, 100), seed=0)
    assert {split: len(index) for split, index in fewer.items()} == sizes(54, 6, 30)


@pytest.mark.parametrize(
    ("marks", "missing"),
    [
        (["train"] * 9, "test"),
        (["test"] * 9, "train"),
        (["train"] * 5 + ["test"] * 4, None),
        (["val", "test"] * 5, "train"),
    ],
)
def test_a_split_without_images_is_named(marks, missing):
    images = image_set(len(marks), split=marks)
    if missing is None:
        assert assign_splits(images, sizes(3, 1, 1), seed=0)
        return
    stated = f"no image for the split '{missing}' .* in all, marked {' and '.join(sorted(set(marks)))}"
    with pytest.raises(DataError, match=stated) as caught:
        assign_splits(images, sizes(3, 1, 1), seed=0)
    assert f"Mark some as {missing}" in caught.value.hint


def test_two_images_cannot_fill_three_splits():
    with pytest.raises(DataError, match=r"2 images in all"):
        assign_splits(image_set(2), sizes(1, 1, 1), seed=0)


@pytest.mark.parametrize("dtype", ["float64", "float16", "uint8", ">f4", "complex64", "object"])
def test_images_are_of_single_precision(dtype):
    images = np.zeros((3, 1, 8, 8), dtype)
    with pytest.raises(DataError, match=r"images hold .*, and must hold float32\."):
        ImageSet(images=images, labels=np.arange(3), ids=["a", "b", "c"])


@pytest.mark.parametrize("mark", [None, "train"])
def test_another_train_seed_draws_another_subset_of_the_training_images(mark):
    images = image_set(400, split=None if mark is None else ["test"] * 60 + ["val"] * 40 + ["train"] * 300)
    usual = assign_splits(images, sizes(50, 20, 30), seed=0)
    drawn = [assign_splits(images, sizes(50, 20, 30), seed=0, train_seed=seed) for seed in (0, 1, 1)]
    for splits in drawn:
        assert len(splits["train"]) == 50
        for name in ("val", "test"):
            np.testing.assert_array_equal(splits[name], usual[name])
        whole = assign_splits(images, sizes(10**6, 20, 30), seed=0)["train"]
        assert set(splits["train"]) <= set(whole)
    first, second, again = (set(splits["train"]) for splits in drawn)
    assert first != second == again
    assert len({frozenset(usual["train"]), frozenset(first), frozenset(second)}) == 3


def test_the_first_images_of_a_file_in_class_order_are_of_all_classes(tmp_path):
    """Baselines, the detector of unlike images and the measurement of invariance use the first images of a split."""
    path = tmp_path / "ordered.py"
    path.write_text(ORDERED)
    host = load_plugins(files=[path], environment={})
    split = open_dataset("ordered/digits", split="train", images=1000, host=host)
    assert len(split) == 210  # of 300: a fifth for testing, a tenth for validation
    assert set(split.labels[:20].tolist()) == {0, 1, 2}
    numbers = [int(name) for name in split.ids]
    assert numbers != sorted(numbers)
    np.testing.assert_array_equal(split.first(20)[:, 0, 0, 0], numbers[:20])
    np.testing.assert_array_equal(split.labels, np.array(numbers) // 100)


ORDERED = """
import numpy as np

from zoo import DatasetSpec, hookimpl


@hookimpl
def zoo_datasets():
    return [DatasetSpec(id="ordered/digits", target="ordered:build", classes=("a", "b", "c"))]


def build():
    from zoo.data.images import ImageSet

    images = np.arange(300, dtype=np.float32)[:, None, None, None] + np.zeros((1, 1, 8, 8), np.float32)
    return ImageSet(images=images, labels=np.arange(300) // 100, ids=[str(i) for i in range(300)])
"""
