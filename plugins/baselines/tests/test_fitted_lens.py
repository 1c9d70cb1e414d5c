"""The classifier of what a fitted smooth lens leaves: features, scores, and what it accepts."""

import dataclasses
import threading

import numpy as np
import pytest
import torch
from fittools import CAMERA, COMMON, FLEXIBLE, SECONDS, SKY, any_rows, build, splits_of
from zoo_baselines import fit_cache, fitted_lens, lens_fit
from zoo_baselines.fitted_lens import FittedLens
from zoo_baselines.lens_features import FEATURES, _correlation, features_of
from zoo_baselines.lens_fit import Effort, fit_smooth_lens
from zoo_baselines.lens_noise import observed
from zoo_baselines.lens_pixels import grids
from zoo_baselines.smooth_lens import Kind

from zoo.data.truth import CommonTruth
from zoo.errors import UsageError

GRIDS = grids(CAMERA)


def columns_of(images: torch.Tensor) -> dict[str, np.ndarray]:
    """Return the features by name."""
    seen = observed(images, seconds=SECONDS, sky=SKY)
    fitted = fit_smooth_lens(seen, GRIDS, Kind(), Effort())
    return dict(zip(FEATURES, features_of(seen, fitted, GRIDS[1], Kind()).T.numpy(), strict=True))


def test_a_smooth_lens_leaves_noise(noisy):
    columns = columns_of(noisy(6))
    pixels = CAMERA.image_size**2
    assert np.abs(columns["log_chi_square"]).max() < 5 * np.sqrt(2 / pixels)
    for name in ("correlation_1", "correlation_2", "correlation_3", "correlation_diagonal"):
        assert np.abs(columns[name]).max() < 5 / np.sqrt(pixels)
    assert np.exp(columns["largest_smoothed"]).max() < 5.5  # of about 1,000 values of a normal distribution
    assert np.exp(columns["log_gain"]).max() < 25
    assert np.abs(columns["log_rms_smoothed"]).max() < 0.5


def test_an_added_mass_is_found_where_it_is(noisy):
    smooth, lumpy = columns_of(noisy(6)), columns_of(noisy(6, mass=0.02))
    assert (lumpy["log_gain"] > smooth["log_gain"] + 1).all()
    assert (lumpy["log_chi_square"] > smooth["log_chi_square"]).all()
    # In units of the Einstein radius of 1.5 arcsec; the trial masses are 0.2 arcsec apart.
    assert np.median(np.abs(lumpy["radius_of_best"] * 1.5 - 1.5)) < 0.25


@pytest.mark.slow
def test_logits_do_not_depend_on_the_batch(tmp_path, monkeypatch, noisy):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    smooth, lumpy = noisy(8), noisy(8, mass=0.02)
    images = torch.stack([smooth, lumpy], 1).flatten(0, 1)
    network, reports = build(), []
    network.fit_splits(splits_of(images, progress=lambda *report: reports.append(report)))
    assert reports[-1] == (16, 16, "fit lenses")
    network._known = fit_cache.InMemory()  # so that they are fitted again
    logits = network(images[:, None])
    network._known = fit_cache.InMemory()
    alone = torch.cat([network(images[i : i + 1, None]) for i in (0, 9)])
    assert torch.equal(logits[[0, 9]], alone)


@pytest.mark.slow
def test_smooth_lenses_are_told_from_others_among_images_that_were_not_fitted(tmp_path, monkeypatch, noisy):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    seen, unseen = (
        torch.stack([noisy(count, seed=seed), noisy(count, seed=seed, mass=0.02)], 1).flatten(0, 1)
        for count, seed in ((20, 7), (10, 8))
    )
    network = build()
    network.fit_splits(splits_of(seen))
    right = network(unseen[:, None]).argmax(1) == torch.arange(20) % 2
    assert right.sum() >= 18


@pytest.mark.parametrize("step", [(1, 0), (2, 0), (1, 1)])
def test_correlations_of_a_turned_residual_are_the_same(step):
    residual = torch.randn(3, 9, 9, generator=torch.Generator().manual_seed(0))
    residual = residual + 0.5 * residual.roll((1, 1), (1, 2))  # along one diagonal only
    expected = _correlation(residual, *step)
    for turned in (residual.rot90(1, (1, 2)), residual.flip(-1), residual.mT):
        assert torch.allclose(_correlation(turned, *step), expected, atol=1e-6)


def test_colour_images_are_refused():
    with pytest.raises(UsageError, match="one channel, not 3"):
        fitted_lens.fitted_lens(in_chans=3, num_classes=2, image_size=32, halo="auto", strength=1.0, most_images=9)


def test_the_number_of_threads_of_other_work_stays(noisy):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        build().features(noisy(2)[:, None])
        found = [torch.get_num_threads()]

        def elsewhere():
            torch.ones(1 << 20).exp()  # a thread takes the number over when it first uses it
            found.append(torch.get_num_threads())

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert found == [2, 2]
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("score", ["chi_square", "gain"])
def test_the_residual_of_the_fit_is_an_anomaly_score(score, noisy):
    network = fitted_lens.fitted_lens_residual(in_chans=1, num_classes=1, image_size=32, halo="auto", score=score)
    smooth, lumpy = noisy(4), noisy(4, mass=0.05)
    network.fit_splits(splits_of(smooth))
    scores = [network(images[:, None]) for images in (smooth, lumpy)]
    assert scores[0].shape == (4,)
    assert scores[0].max() < scores[1].min()


@pytest.mark.parametrize("score", ["chi_square", "gain"])
def test_a_flexible_fit_takes_nuisances_for_no_substructure(score, noisy):
    rigid, flexible = (
        fitted_lens.fitted_lens_residual(in_chans=1, num_classes=1, image_size=32, score=score, flexible=flag)
        for flag in (False, True)
    )
    smooth, lumpy, nuisances = noisy(6), noisy(6, mass=0.05), noisy(6, nuisances=True)
    scores = {}
    for name, network in (("rigid", rigid), ("flexible", flexible)):
        network.fit_splits(splits_of(smooth))
        scores[name] = [network(images[:, None]) for images in (smooth, lumpy, nuisances)]
    assert scores["rigid"][2].min() > scores["rigid"][0].max()  # the nuisances look like substructure
    assert scores["flexible"][1].min() > scores["flexible"][0].max()
    assert scores["flexible"][2].max() < scores["flexible"][1].min()
    assert (scores["flexible"][2].mean() - scores["flexible"][0].mean()).abs() < scores["flexible"][0].std()


def test_the_width_of_a_psf_that_is_not_gaussian_stays_known(tmp_path, monkeypatch, noisy):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    monkeypatch.setattr(FittedLens, "_fit", any_rows)
    network = build(flexible=True)
    network.fit_splits(splits_of(noisy(4)))
    assert network._kind() == FLEXIBLE
    assert network.fit_notes() == []
    network.fit_splits(splits_of(noisy(4), instrument=dataclasses.replace(CAMERA, psf="airy", psf_width=0.3)))
    assert network._kind() == dataclasses.replace(FLEXIBLE, psf_width=False)
    assert network.fit_notes() == ["The PSF is not a Gaussian, so the fits took its width as known."]


def test_an_unknown_score_is_refused():
    with pytest.raises(UsageError, match="score='mass' is not one of chi_square, gain"):
        fitted_lens.fitted_lens_residual(in_chans=1, num_classes=1, image_size=32, halo="auto", score="mass")


def test_images_of_an_unknown_camera_are_refused(noisy):
    with pytest.raises(UsageError, match="pixel scale and PSF"):
        build().fit_splits(splits_of(noisy(2), instrument=None))


def test_an_unknown_halo_is_refused():
    with pytest.raises(UsageError, match="halo='disk' is not one of auto, sphere, ellipsoid"):
        build(halo="disk")


@pytest.mark.parametrize(("common", "expected"), [
    (COMMON, [SECONDS, SKY]),
    (dataclasses.replace(COMMON, sky=None), [SECONDS, 0.0]),
    (CommonTruth(), [0.0, 0.0]),  # measured in the images
])  # fmt: skip
def test_only_noise_that_all_images_share_is_taken_as_known(common, expected, tmp_path, monkeypatch, noisy):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    monkeypatch.setattr(FittedLens, "_fit", any_rows)
    network = build()
    network.fit_splits(splits_of(noisy(4), common=common))
    assert network.noise.tolist() == expected


@pytest.mark.parametrize(("common", "ellipsoid", "light"), [
    (COMMON, False, False), (dataclasses.replace(COMMON, round_haloes=False), True, False),
    (dataclasses.replace(COMMON, round_haloes=False, lens_light=True), True, True), (CommonTruth(), False, False),
])  # fmt: skip
def test_the_parts_of_the_lens_follow_the_population(common, ellipsoid, light, tmp_path, monkeypatch, noisy):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    monkeypatch.setattr(FittedLens, "_fit", any_rows)
    network = build()
    network.fit_splits(splits_of(noisy(4), common=common))
    assert network._kind() == Kind(ellipsoid=ellipsoid, lens_light=light)


@pytest.mark.parametrize("kind", [Kind(), Kind(shapelets=3)], ids=["sersic", "shapelets"])
def test_a_failed_fit_has_the_features_of_an_image_without_a_lens(kind, monkeypatch, noisy):
    blind_starts = lens_fit.blind_starts

    def second_without(*arguments):
        starts = blind_starts(*arguments)
        starts[1] = torch.nan
        return starts

    seen = observed(noisy(3), seconds=SECONDS, sky=SKY)
    whole = features_of(seen, fit_smooth_lens(seen, GRIDS, kind, Effort()), GRIDS[1], kind)
    monkeypatch.setattr(lens_fit, "blind_starts", second_without)
    fitted = fit_smooth_lens(seen, GRIDS, kind, Effort())
    assert fitted.failed.tolist() == [False, True, False]
    columns = features_of(seen, fitted, GRIDS[1], kind)
    assert columns.isfinite().all()
    np.testing.assert_allclose(columns[[0, 2]], whole[[0, 2]], atol=1e-3)
    failed = dict(zip(FEATURES, columns[1].tolist(), strict=True))
    nothing_subtracted = (seen.images[1] ** 2 / seen.law.floor[1]).mean().log()
    assert failed["log_chi_square"] == pytest.approx(float(nothing_subtracted), rel=1e-4)
    assert failed["log_gain"] == pytest.approx(np.log(1e-3))  # no light that a mass could deflect


def test_failed_fits_are_counted_once_each(monkeypatch, noisy):
    def second_failed(*arguments):
        rows = any_rows(*arguments)
        rows[1, -1] = 1
        return rows

    monkeypatch.setattr(FittedLens, "_fit", second_failed)
    network = build()
    for _ in range(2):
        network(noisy(3)[:, None])
    [note] = network.fit_notes()
    assert note.startswith("Fits that failed: 1 of 3,")
