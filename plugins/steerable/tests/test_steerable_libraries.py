"""Both patched libraries work as published, and each patched text is in the published source."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from zoo_steerable import libraries
from zoo_steerable.basis import Field, field_type, gspace
from zoo_steerable.libraries import LIBRARIES, MENDED, load, quiet
from zoo_steerable.symmetry import parse

from zoo.errors import MissingError, UsageError


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("group", ["c4", "so2", "o2"])
def test_modules_of_the_library_work_and_are_equivariant(name, group):
    """These are the groups that fail on numpy 2 without mending; the 2-D parts of both libraries come along."""
    library, symmetry = load(name), parse(group)
    field = Field("regular") if symmetry.order else Field("irreps", 1)
    space = gspace(library, symmetry)
    scalar, hidden = field_type(library, space, Field("scalar"), 1), field_type(library, space, field, 2)
    with quiet():
        torch.manual_seed(0)
        layers = library.nn.SequentialModule(
            library.nn.R2Conv(scalar, hidden, 5, padding=2), library.nn.R2Conv(hidden, scalar, 5, padding=2)
        )
    images = torch.randn(1, 1, 9, 9)
    for mode in (True, False):
        layers.train(mode)
        with torch.no_grad():
            turned = layers(library.nn.GeometricTensor(images.rot90(1, (-2, -1)), scalar)).tensor
            expected = layers(library.nn.GeometricTensor(images, scalar)).tensor.rot90(1, (-2, -1))
        torch.testing.assert_close(turned, expected, rtol=1e-4, atol=1e-5)
        assert expected.abs().max() > 0


@pytest.mark.parametrize("module", MENDED)
def test_every_patched_text_is_in_the_published_source(module):
    library = module.partition(".")[0]
    load(library)
    # On disk it is as it was: nobody has edited site-packages.
    source = Path(importlib.util.find_spec(module).origin).read_text(encoding="utf-8")
    for published, count, _ in MENDED[module]:
        assert source.count(published) == count


def test_the_fast_sylvester_matrix_equals_the_published_one():
    import numpy as np
    from scipy import sparse

    load("escnn")
    from escnn.group._numerical import build_sylvester_constraint

    generator = np.random.default_rng(0)
    left, right = [generator.normal(size=(3, 3)) for _ in range(2)], [generator.normal(size=(2, 2)) for _ in range(2)]
    published = sparse.vstack([sparse.kronsum(a, -b.T) for a, b in zip(left, right, strict=True)])
    mended = build_sylvester_constraint(left, [sparse.csc_matrix(b) for b in right])
    np.testing.assert_allclose(mended.todense(), published.todense(), atol=1e-15)


def test_escnn_writes_nothing_to_site_packages():
    load("escnn")
    import escnn.group

    assert escnn.group.__cache_path__ is None


def test_another_version_is_refused_with_the_install_command(tmp_path):
    module = "e2cnn.kernels.utils"
    (tmp_path / "utils.py").write_text("k = np.array(k)\n")
    with pytest.raises(MissingError, match=r"e2cnn.kernels.utils differs from e2cnn 0.2.3") as caught:
        libraries._Mender(module, str(tmp_path / "utils.py")).get_code(module)
    assert "pip install --no-deps e2cnn==0.2.3" in str(caught.value)


def test_a_missing_library_is_reported_with_the_install_command(monkeypatch):
    monkeypatch.setattr(libraries.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match=r"escnn.* is not installed") as caught:
        load("escnn")
    assert "pip install --no-deps escnn==1.0.11" in str(caught.value)


def test_a_library_imported_without_the_patches_is_refused(monkeypatch):
    load("e2cnn")
    monkeypatch.setattr(sys.modules["e2cnn.kernels.utils"], "__loader__", None)
    with pytest.raises(MissingError, match="e2cnn was imported before zoo could patch it"):
        load("e2cnn")


def test_an_unknown_library_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match=r"'escn' is not one of escnn, e2cnn. Did you mean 'escnn'"):
        load("escn")
