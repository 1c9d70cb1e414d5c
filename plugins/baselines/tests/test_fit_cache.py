"""The cache of fits: each image is fitted once, and no fit of another image or kind is taken for its own."""

import dataclasses

import numpy as np
import pytest
import torch
from fittools import CAMERA, COMMON, SECONDS, any_rows, build, splits_of
from zoo_baselines import fit_cache
from zoo_baselines.fitted_lens import FittedLens

from zoo.models.copies import copy_of


@pytest.mark.slow
def test_features_are_fitted_once(tmp_path, monkeypatch, noisy):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    images = noisy(3)
    first, again = build(), build()
    first.fit_splits(splits_of(images))
    monkeypatch.setattr(FittedLens, "_fit", lambda *_: pytest.fail("fitted again"))
    again.fit_splits(splits_of(images))
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in first.state_dict().items())
    (file,) = (tmp_path / "fitted_lens").glob("*.features")
    monkeypatch.undo()
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[200] ^= 1
    # The results of other images, as many as these.
    build().fit_splits(splits_of(images * 1.01))
    (others,) = (one.read_bytes() for one in (tmp_path / "fitted_lens").glob("*.features") if one != file)
    assert len(others) == len(whole)
    for damaged in (b"", b"PK", whole[:-1], bytes(flipped), others):
        file.write_bytes(damaged)
        build().fit_splits(splits_of(images))
        assert file.read_bytes() == whole


def test_an_image_is_fitted_once(tmp_path, monkeypatch, noisy):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    fitted = []
    fit = FittedLens._fit
    monkeypatch.setattr(FittedLens, "_fit", lambda self, mono: fitted.append(len(mono)) or fit(self, mono))
    images = noisy(4)
    network = build()
    network.fit_splits(splits_of(images))
    assert sum(fitted) == 4
    again = network(torch.cat([images, images])[:, None])
    assert torch.equal(again[:4], again[4:])
    assert sum(fitted) == 4
    copy_of(network)(images[:, None])
    network(torch.cat([images[:1], images[:1] * 1.01, images[:1] * 1.01])[:, None])  # one new image, twice
    assert sum(fitted) == 5
    assert network.fit_notes() == []


@pytest.mark.parametrize("change", ["pixels", "noise", "camera", "halo", "code"])
def test_other_images_or_another_fit_use_no_cached_features(change, tmp_path, monkeypatch, noisy):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    monkeypatch.setattr(FittedLens, "_fit", any_rows)
    images = noisy(4)
    build().fit_splits(splits_of(images))
    changes = {}
    if change == "pixels":
        images = images * 1.01
    elif change == "noise":
        changes["common"] = dataclasses.replace(COMMON, exposure_seconds=2 * SECONDS)
    elif change == "camera":
        changes["instrument"] = dataclasses.replace(CAMERA, psf_width=2 * CAMERA.psf_width)
    elif change == "halo":
        changes["common"] = dataclasses.replace(COMMON, round_haloes=False)
    else:
        monkeypatch.setattr(fit_cache, "_code", lambda: "other code")
    build().fit_splits(splits_of(images, **changes))
    assert len(list((tmp_path / "fitted_lens").glob("*.features"))) == 2


def test_fits_of_another_kind_are_not_taken_from_the_cache(noisy):
    images = noisy(2)
    assert build()._keys(images) != build(flexible=True)._keys(images)


def test_fits_that_cannot_be_stored_are_no_failure(tmp_path, caplog):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "a.features"
    fit_cache.write(path, np.zeros((2, 3)))
    assert "the fits are not stored" in caplog.text
    assert fit_cache.read(path, rows=2) is None
