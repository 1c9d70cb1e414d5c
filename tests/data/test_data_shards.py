"""Shards: what was written is what is read, and any damage is noticed."""

import contextlib
import os
import resource

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.data.shards import DamagedShard, read_shard, shard_path, write_shard

RECIPE = "0123456789abcdef"


def arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "image": random.normal(size=(3, 1, 2, 2)).astype(np.float32),
        "label": np.array([2, 0, 1], dtype=np.int64),
        "parameter.snr": random.normal(size=3),
    }


def same(read: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> bool:
    return read.keys() == wanted.keys() and all(
        read[name].dtype == array.dtype and np.array_equal(read[name], array) for name, array in wanted.items()
    )


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A path to write damaged shards to, and the content of a good one."""
    path = shard_path(tmp_path_factory.mktemp("shards"), 0)
    write_shard(path, arrays(), identity=RECIPE)
    return path.with_name("damaged.safetensors"), path.read_bytes()


def test_round_trip(tmp_path):
    path = shard_path(tmp_path, 12)
    assert path.name == "000012.safetensors"
    write_shard(path, arrays(), identity=RECIPE)
    assert same(read_shard(path, identity=RECIPE), arrays())
    assert [file.name for file in tmp_path.iterdir()] == ["000012.safetensors"]


def test_it_is_a_plain_safetensors_file(scratch):
    _, content = scratch
    assert same(safetensors.numpy.load(content), arrays())


def test_arrays_in_any_memory_order_and_empty_ones(tmp_path):
    wanted = {"image": np.asfortranarray(arrays()["image"]), "label": np.arange(6)[::2], "nothing": np.zeros((0, 4))}
    write_shard(shard_path(tmp_path, 0), wanted, identity=RECIPE)
    assert same(read_shard(shard_path(tmp_path, 0), identity=RECIPE), wanted)


def test_what_is_read_cannot_be_changed(tmp_path):
    write_shard(shard_path(tmp_path, 0), arrays(), identity=RECIPE)
    read = read_shard(shard_path(tmp_path, 0), identity=RECIPE)
    with pytest.raises(ValueError, match="read-only"):
        read["image"][0] = 0


def test_a_missing_file_is_not_a_damaged_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_shard(shard_path(tmp_path, 0), identity=RECIPE)


def test_another_recipe(tmp_path):
    write_shard(shard_path(tmp_path, 0), arrays(), identity=RECIPE)
    with pytest.raises(DamagedShard, match=r"000000\.safetensors is damaged: it is another shard"):
        read_shard(shard_path(tmp_path, 0), identity="fedcba9876543210")


@pytest.mark.slow
def test_every_single_flipped_bit_is_noticed_or_harmless(scratch):
    path, content = scratch
    noticed = 0
    for position in range(len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                assert same(read_shard(path, identity=RECIPE), arrays())
            except DamagedShard:
                noticed += 1
    assert noticed > 0.95 * 8 * len(content)  # blanks that pad the header may change and still be blanks


@settings(deadline=None)
@given(data=st.data())
def test_any_replaced_stretch_of_bytes_is_noticed_or_harmless(scratch, data):
    path, content = scratch
    start = data.draw(st.integers(0, len(content)))
    stop = data.draw(st.integers(start, len(content)))
    path.write_bytes(content[:start] + data.draw(st.binary(max_size=40)) + content[stop:])
    with contextlib.suppress(DamagedShard):
        assert same(read_shard(path, identity=RECIPE), arrays())


@pytest.mark.parametrize("extra", [b"\0", b"more"])
def test_bytes_too_many(scratch, extra):
    path, content = scratch
    path.write_bytes(content + extra)
    with pytest.raises(DamagedShard):
        read_shard(path, identity=RECIPE)


@pytest.mark.slow
def test_every_truncation_is_noticed(scratch):
    path, content = scratch
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DamagedShard):
            read_shard(path, identity=RECIPE)


@settings(deadline=None)
@given(garbage=st.binary(max_size=200))
def test_garbage_is_noticed(scratch, garbage):
    path, _ = scratch
    path.write_bytes(garbage)
    with pytest.raises(DamagedShard):
        read_shard(path, identity=RECIPE)


@pytest.mark.parametrize("header", [b"[]", b"1", b"null", b'{"__metadata__":1}', b"[" * 100_000, b"9" * 5000, b"\xff"])
def test_headers_that_are_json_but_no_header(scratch, header):
    path, _ = scratch
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(DamagedShard):
        read_shard(path, identity=RECIPE)


def test_the_checksum_covers_names_types_and_shapes(tmp_path):
    path = shard_path(tmp_path, 0)
    write_shard(path, arrays(), identity=RECIPE)
    with safetensors.safe_open(path, "np") as file:
        metadata = file.metadata()
    renamed = {name.replace("snr", "sky"): array for name, array in arrays().items()}
    reshaped = arrays() | {"image": arrays()["image"].reshape(3, 1, 4, 1)}
    retyped = arrays() | {"label": arrays()["label"].view(np.float64)}
    for other in (renamed, reshaped, retyped):
        path.write_bytes(safetensors.numpy.save(other, metadata=metadata))
        with pytest.raises(DamagedShard, match="checksum"):
            read_shard(path, identity=RECIPE)
        read_shard(path, identity=RECIPE, verify=False)  # so it was the checksum that noticed


def test_more_shards_than_files_may_be_open(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    write_shard(shard_path(tmp_path, 0), arrays(), identity=RECIPE)
    for number in range(1, 100):
        shard_path(tmp_path, number).hardlink_to(shard_path(tmp_path, 0))
    held = [read_shard(shard_path(tmp_path, 0), identity=RECIPE)]
    there = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 64
    resource.setrlimit(resource.RLIMIT_NOFILE, (there + 20, hard))
    try:
        held += [read_shard(shard_path(tmp_path, number), identity=RECIPE) for number in range(1, 100)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert all(same(shard, held[0]) for shard in held)
