"""Addressed random numbers: uniform, independent, the same in every batch, and the same for ever."""

import hashlib
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from zoo.lensing.draws import Draws, stable_hash

MANY = 60_000
MASK = 2**64 - 1
KNOWN_WORDS = [
    [14486010649977600606, 17201438641380687177],
    [2230424418058200281, 5480094886966740861],
    [16135975472448550096, 10601109365408279707],
]
KNOWN_UNIT = 0.3085487636604832
KNOWN_HASH = 6799751238563948828


def splitmix(word: int) -> int:
    """One output of splitmix64 in Python's integers (Steele, Lea & Flood 2014)."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
    return word ^ (word >> 31)


def word_by_hand(seed: str, name: str, index: int, slot: int) -> int:
    stream = int.from_bytes(hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest(), "little")
    image = splitmix((stream + (index + 1) * 0x9E3779B97F4A7C15) & MASK)
    return splitmix((image + (slot + 1) * 0x9E3779B97F4A7C15) & MASK)


@settings(deadline=None)
@given(st.text(max_size=20), st.text(max_size=20), st.integers(0, 2**63), st.integers(0, 40))
def test_words_are_splitmix_of_their_address(seed, name, index, slot):
    words = Draws(seed, [index]).bits(name, slots=slot + 1)
    assert int(words[0, slot]) == word_by_hand(seed, name, index, slot)


def test_known_values_so_that_a_change_of_the_generator_is_noticed():
    words = Draws("deeplense/modelB/1/0/train", [0, 1, 1_000_000]).bits("shear", slots=2)
    assert words.tolist() == KNOWN_WORDS
    assert Draws("s", [7]).unit("q")[0, 0] == KNOWN_UNIT
    assert stable_hash("modelB") == KNOWN_HASH


def test_uniform_in_each_slot_and_stream():
    for seed, name in (("a", "x"), ("a", "y"), ("b", "x")):
        unit = Draws(seed, np.arange(MANY)).unit(name, slots=3)
        assert unit.shape == (MANY, 3)
        for slot in range(3):
            assert stats.kstest(unit[:, slot], "uniform").pvalue > 1e-3


def test_every_bit_is_fair():
    words = Draws("a", np.arange(MANY)).bits("x")[:, 0]
    ones = np.unpackbits(words.view(np.uint8).reshape(MANY, 8), axis=1).sum(0)
    assert np.abs(ones - MANY / 2).max() < 4.5 * np.sqrt(MANY / 4)


def pairs():
    draws = Draws("stream", np.arange(MANY))
    x = draws.unit("x", slots=2)
    yield "names", x[:, 0], draws.unit("y")[:, 0]
    yield "slots", x[:, 0], x[:, 1]
    yield "images", x[:-1, 0], x[1:, 0]
    yield "slot and next image", x[:-1, 1], x[1:, 0]
    yield "seeds", x[:, 0], Draws("stream2", np.arange(MANY)).unit("x")[:, 0]
    yield "splits", x[:, 0], Draws("stream/val", np.arange(MANY)).unit("x")[:, 0]


@pytest.mark.parametrize(("first", "second"), [pair[1:] for pair in pairs()], ids=[pair[0] for pair in pairs()])
def test_independent_between(first, second):
    table, *_ = np.histogram2d(first, second, bins=16, range=[[0, 1], [0, 1]])
    assert stats.chisquare(table.ravel()).pvalue > 1e-3
    assert abs(np.corrcoef(first, second)[0, 1]) < 4.5 / np.sqrt(MANY)


@settings(deadline=None)
@given(st.lists(st.integers(0, 999), max_size=30), st.integers(1, 5))
def test_any_subset_in_any_order_gives_the_same_values(indices, slots):
    every = Draws("s", np.arange(1000)).unit("x", slots=5)
    chosen = np.array(indices, dtype=np.int64)
    np.testing.assert_array_equal(Draws("s", chosen).unit("x", slots=slots), every[chosen, :slots])


def test_no_warning_and_no_limit_at_the_largest_index():
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        unit = Draws("s", np.array([0, 2**63, 2**64 - 1], dtype=np.uint64)).unit("x", slots=4)
    assert np.isfinite(unit).all()
    assert len(np.unique(unit)) == 12


@pytest.mark.parametrize("word", [0, 2**64 - 1])
def test_the_interval_is_open_at_both_ends(monkeypatch, word):
    monkeypatch.setattr(Draws, "bits", lambda self, name, slots: np.full((1, slots), word, dtype=np.uint64))
    unit = Draws("s", [0]).unit("x")[0, 0]
    assert 0 < unit < 1


def test_name_and_seed_are_not_run_together():
    assert Draws("ab", [0]).bits("c") != Draws("a", [0]).bits("bc")


def test_no_images():
    draws = Draws("s", np.arange(0))
    assert len(draws) == 0
    assert draws.unit("x", slots=3).shape == (0, 3)
