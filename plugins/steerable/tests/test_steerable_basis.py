"""Filter bases are stored in zoo's cache folder, and derived again if they cannot be read from it."""

import dataclasses
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from zoo_steerable import basis
from zoo_steerable.basis import Field, FilterQuery, filter_basis
from zoo_steerable.symmetry import Symmetry, parse

QUERY = FilterQuery(
    library="e2cnn", symmetry=Symmetry(4, False), incoming=Field("scalar"), outgoing=Field("regular"), kernel_size=3,
    frequency_cutoff=None,
)  # fmt: skip


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    filter_basis.cache_clear()
    yield tmp_path / "cache"
    filter_basis.cache_clear()


def test_cached_filters_are_read_and_not_derived_again(fresh, monkeypatch):
    expected = filter_basis(QUERY).filters
    assert QUERY.path.is_relative_to(fresh)
    filter_basis.cache_clear()
    monkeypatch.setattr(basis, "_derive", None)
    assert torch.equal(filter_basis(QUERY).filters, expected)


def test_the_readme_names_the_folder_of_the_filters():
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    query = dataclasses.replace(QUERY, library="escnn")
    assert f"/{query.path.parent.relative_to(query.path.parents[2])})" in readme


def test_an_unwritable_cache_is_reported_and_filters_are_still_derived(fresh, caplog):
    fresh.write_text("a file where the folder should be")
    with caplog.at_level(logging.INFO):
        assert len(filter_basis(QUERY).filters) > 0
    assert "derived in" in caplog.text
    assert "not stored: Cannot create the folder" in caplog.text


def test_a_slow_derivation_logs_a_warning(fresh, caplog, monkeypatch):
    monkeypatch.setattr(basis, "WARNING_SECONDS", 0.0)
    filter_basis(QUERY)
    (record,) = [record for record in caplog.records if "derived in" in record.message]
    assert record.levelno == logging.WARNING
    assert "filters of 3x3 pixels under c4 from scalar to regular" in record.message


@pytest.mark.parametrize("content", [b"", b"not a safetensors file at all"])
def test_a_damaged_cache_file_is_replaced(fresh, caplog, content):
    expected = filter_basis(QUERY).filters
    QUERY.path.write_bytes(content)
    filter_basis.cache_clear()
    assert torch.equal(filter_basis(QUERY).filters, expected)
    assert "cannot be read and is derived again" in caplog.text
    assert len(QUERY.path.read_bytes()) > len(content)


@pytest.mark.parametrize("damage", ["a flipped bit", "another query's"])
def test_a_basis_that_is_not_as_it_was_written_is_derived_again(fresh, caplog, damage):
    expected = filter_basis(QUERY).filters
    whole = QUERY.path.read_bytes()
    if damage == "a flipped bit":
        QUERY.path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    else:
        other = dataclasses.replace(QUERY, kernel_size=5)
        filter_basis(other)
        QUERY.path.write_bytes(other.path.read_bytes())
    filter_basis.cache_clear()
    assert torch.equal(filter_basis(QUERY).filters, expected)
    assert "its checksum does not fit its content or its name" in caplog.text
    assert QUERY.path.read_bytes() == whole


def test_both_libraries_span_the_same_filters():
    """They derive them independently: by formulas (e2cnn) and by Wigner and Eckart's theorem (escnn)."""
    for name in ("c8", "o2"):
        symmetry = parse(name)
        field = Field("regular") if symmetry.order else Field("irreps", 1)
        spans = []
        for library in ("e2cnn", "escnn"):
            query = FilterQuery(
                library=library, symmetry=symmetry, incoming=Field("scalar"), outgoing=field, kernel_size=5,
                frequency_cutoff=None,
            )  # fmt: skip
            filters = filter_basis(query).filters.double().flatten(1)
            spans.append(torch.linalg.qr(filters.T)[0])
        assert spans[0].shape == spans[1].shape
        # Two spaces are one if their projections are.
        torch.testing.assert_close(spans[0] @ spans[0].T, spans[1] @ spans[1].T, rtol=0, atol=1e-4)


def about_o2(outgoing):
    return FilterQuery(
        library="escnn", symmetry=parse("o2"), incoming=Field("irreps", 1), outgoing=outgoing, kernel_size=3,
        frequency_cutoff=None,
    )  # fmt: skip


DERIVE = """
import sys, torch
sys.path.insert(0, {folder!r})
from {module} import about_o2
from zoo_steerable.basis import Field, _derive
for outgoing in (Field("gated", 1), Field("scalar")):
    torch.save(_derive(about_o2(outgoing)).filters, {to!r} + outgoing.kind)
"""


@pytest.mark.slow
def test_escnn_filters_do_not_depend_on_random_state_or_earlier_requests(tmp_path):
    """It searches from a random point of numpy's generator, which is left as it was."""
    code = DERIVE.format(folder=str(Path(__file__).parent), module=Path(__file__).stem, to=str(tmp_path / "filters-"))
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": "1"}, check=True)
    before = np.random.get_state()[1].tolist()  # noqa: NPY002 - what escnn must not change
    for outgoing in (Field("scalar"), Field("gated", 1)):
        there = torch.load(tmp_path / f"filters-{outgoing.kind}", weights_only=True)
        torch.testing.assert_close(basis._derive(about_o2(outgoing)).filters, there, rtol=0, atol=1e-5)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002 - what escnn must not change


@pytest.mark.parametrize(
    ("name", "order", "mirrors", "size"),
    [("c4", 4, False, 4), ("d8", 8, True, 16), ("so2", 0, False, 0), ("o2", 0, True, 0), ("c12", 12, False, 12)],
)
def test_names_of_groups_are_parsed(name, order, mirrors, size):
    symmetry = parse(name)
    assert (symmetry.order, symmetry.mirrors, symmetry.size, symmetry.name) == (order, mirrors, size, name)
    assert symmetry.exact == (order == 4)


@pytest.mark.parametrize("name", ["c0", "c33", "p4", "so3", "d", "C4x", ""])
def test_invalid_group_names_are_rejected(name):
    assert parse(name) is None


def test_cutoffs_that_differ_little_have_files_of_their_own():
    paths = {dataclasses.replace(QUERY, frequency_cutoff=cutoff).path for cutoff in (2, 2.0, 1.9999999)}
    assert len(paths) == 2
