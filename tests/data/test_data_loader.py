"""Batches: the same whether the images stay on the device or stream from disk."""

import threading

import numpy as np
import pytest
import torch

from zoo.data import loader
from zoo.data.loader import Batches, free_memory
from zoo.data.split import Split

CPU = torch.device("cpu")
LENGTHS = (7, 1, 12, 3)
COUNT = sum(LENGTHS)


def make_split(tmp_path=None) -> Split:
    """Images whose first pixel is their position; mapped from disk and read-only where a folder is given."""
    images = np.random.default_rng(0).normal(size=(COUNT, 2, 4, 4)).astype(np.float32)
    images[:, 0, 0, 0] = np.arange(COUNT)
    chunks = np.split(images, np.cumsum(LENGTHS)[:-1])
    if tmp_path is not None:
        for i, chunk in enumerate(chunks):
            np.save(tmp_path / f"{i}.npy", chunk)
        chunks = [np.load(tmp_path / f"{i}.npy", mmap_mode="r") for i in range(len(chunks))]
    return Split(
        name="train",
        classes=("a", "b", "c"),
        chunks=chunks,
        labels=np.arange(COUNT, dtype=np.int64) % 3,
        ids=[str(i) for i in range(COUNT)],
    )


@pytest.fixture(params=[True, False], ids=["resident", "streamed"])
def batches(request, tmp_path) -> Batches:
    return Batches(make_split(tmp_path), device=CPU, resident=request.param)


def read(batches: Batches, size: int, **options) -> tuple[list[int], list[int]]:
    """Return the positions in the order in which they came, and the sizes of the batches."""
    positions, sizes = [], []
    expected = make_split().images
    for images, labels in batches.batches(size, **options):
        index = images[:, 0, 0, 0].long()
        np.testing.assert_array_equal(images.numpy(), expected[index.numpy()])
        np.testing.assert_array_equal(labels.numpy(), index.numpy() % 3)
        positions += index.tolist()
        sizes.append(len(images))
    return positions, sizes


@pytest.mark.parametrize("size", [1, 5, COUNT - 1, COUNT, 1000])
def test_in_order_every_image_comes_once(batches, size):
    positions, sizes = read(batches, size)
    assert positions == list(range(COUNT))
    assert set(sizes[:-1]) <= {size}
    assert sum(sizes) == COUNT
    assert len(batches) == COUNT


def test_shuffled_every_image_comes_once_in_an_order_that_the_seed_decides(batches):
    generator = torch.Generator().manual_seed(3)
    first, second = (read(batches, 5, shuffle=generator)[0] for _ in range(2))
    again = read(batches, 5, shuffle=torch.Generator().manual_seed(3))[0]
    assert sorted(first) == sorted(second) == list(range(COUNT))
    assert first != list(range(COUNT))
    assert first != second  # another order in the next epoch
    assert first == again


def test_resident_and_streamed_batches_are_equal(tmp_path):
    resident, streamed = (
        list(
            Batches(make_split(tmp_path), device=CPU, resident=kept).batches(
                4, shuffle=torch.Generator().manual_seed(1), drop_last=True
            )
        )
        for kept in (True, False)
    )
    assert len(resident) == len(streamed) == COUNT // 4
    for (images, labels), (other_images, other_labels) in zip(resident, streamed, strict=True):
        assert torch.equal(images, other_images)
        assert torch.equal(labels, other_labels)
        assert images.dtype == other_images.dtype == torch.float32


@pytest.mark.parametrize(
    ("size", "sizes"), [(5, [5] * 4), (23, [23]), (24, [23]), (22, [22]), (12, [12]), (1, [1] * COUNT)]
)
def test_drop_last_leaves_out_a_smaller_batch_but_never_the_only_one(batches, size, sizes):
    assert read(batches, size, drop_last=True)[1] == sizes


def test_gather_takes_positions_in_any_order_and_twice(batches):
    wanted = torch.tensor([22, 0, 7, 7, 8, 19, 6])
    images = batches.gather(wanted)
    assert images[:, 0, 0, 0].tolist() == wanted.tolist()
    assert batches.gather(torch.tensor([], dtype=torch.long)).shape == (0, 2, 4, 4)


def test_changing_a_batch_does_not_change_the_images(batches):
    for images, _ in batches.batches(6):
        images.zero_()
    assert read(batches, 6)[0] == list(range(COUNT))


class Unreadable:
    """A chunk of a split on a disk that fails."""

    shape, nbytes = (12, 2, 4, 4), 12 * 128

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: object) -> np.ndarray:
        raise OSError("input/output error")


def test_an_error_in_the_reading_thread_is_raised_where_the_batches_are_read():
    split = make_split()
    split.chunks[2] = Unreadable()
    before = threading.active_count()
    stream = Batches(split, device=CPU, resident=False).batches(4)
    assert [next(stream)[0][:, 0, 0, 0].tolist() for _ in range(2)] == [[0, 1, 2, 3], [4, 5, 6, 7]]  # before the error
    with pytest.raises(OSError, match="input/output error"):
        next(stream)
    assert threading.active_count() == before


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_leaving_early_ends_the_reading_thread(tmp_path, taken):
    before = threading.active_count()
    stream = Batches(make_split(tmp_path), device=CPU, resident=False).batches(1)
    for _ in range(taken):
        next(stream)
    stream.close()
    del stream
    assert threading.active_count() == before


def test_resident_images_of_one_chunk_are_copied_piece_by_piece():
    """Half of the free memory may be theirs, so a second copy of all of them would take all of it."""
    images = np.arange(5000, dtype=np.float32).reshape(5000, 1, 1, 1)
    split = Split(
        name="train", classes=("a",), chunks=[images], labels=np.zeros(5000, np.int64), ids=[""] * 5000
    )  # fmt: skip
    copied = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "_tensor", lambda rows: copied.append(len(rows)) or torch.from_numpy(np.array(rows)))
        found = Batches(split, device=loader.CPU, resident=True)
    assert copied == [1024] * 4 + [904]
    assert found.gather(torch.arange(5000)).flatten().tolist() == list(range(5000))


@pytest.mark.parametrize(("free", "resident"), [(1 << 30, True), (1000, False)])
def test_images_that_do_not_fit_are_streamed(monkeypatch, free, resident):
    monkeypatch.setattr("zoo.data.loader.free_memory", lambda device: free)
    batches = Batches(make_split(), device=CPU)
    assert batches.resident is resident
    assert read(batches, 5)[0] == list(range(COUNT))


def test_free_memory_is_that_of_this_machine():
    assert 1 << 20 < free_memory(CPU) < 1 << 50
