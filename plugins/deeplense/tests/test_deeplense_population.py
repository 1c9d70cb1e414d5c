"""Models A and B: every row of the published table, and nothing but the substructure tells the classes apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scenetools import (
    MANY,
    POSITIONS,
    SUBSTRUCTURE,
    TABLES,
    UNLIKELY,
    drawn,
    every_leaf,
    every_scene,
    population,
    sample,
    uniform,
)
from scipy import constants, integrate, stats
from zoo_deeplense.population import NO_SUBSTRUCTURE, SUBHALO, VORTEX
from zoo_deeplense.tables import MODEL_A, MODEL_B

from zoo.lensing.draws import Draws
from zoo.lensing.observe import Rendered, observe
from zoo.lensing.population import Population
from zoo.lensing.scenes import Scenes


@pytest.fixture(params=["modelA", "modelB"])
def scenes(request) -> Scenes:
    return drawn(request.param)


def einstein_radius_by_quadrature(lens: float, source: float, mass: float = 1e12) -> float:
    chi = [
        constants.c / 7e4 * integrate.quad(lambda z: (0.3 * (1 + z) ** 3 + 0.7) ** -0.5, 0, end)[0]
        for end in (lens, source)
    ]
    ratio = (chi[1] - chi[0]) / (1 + source) / (chi[0] / (1 + lens) * chi[1] / (1 + source)) / (1e6 * constants.parsec)
    return float(np.degrees(np.sqrt(4 * 1.32712440018e20 * mass / constants.c**2 * ratio)) * 3600)


def test_the_two_tables_differ_where_the_papers_say_and_nowhere_else():
    assert MODEL_A.keys() == MODEL_B.keys()
    different = {name for name in MODEL_A if MODEL_A[name] != MODEL_B[name]}
    assert different == {"lens_redshift", "source_redshift", "sky", "snr", "peak"}


def test_redshifts():
    fixed, varied = drawn("modelA").parameters, drawn("modelB").parameters
    assert (fixed["lens_redshift"] == 0.5).all()
    assert (fixed["source_redshift"] == 1.0).all()
    assert uniform(varied["lens_redshift"], 0.4, 0.6)
    assert uniform(varied["source_redshift"], 0.8, 1.2)
    assert abs(stats.spearmanr(varied["lens_redshift"], varied["source_redshift"]).statistic) < 4 / np.sqrt(MANY)


def test_einstein_radius_is_that_of_the_mass_at_its_redshifts():
    assert drawn("modelA").parameters["total_einstein_radius"] == pytest.approx(np.full(MANY, 1.6645), abs=5e-5)
    varied = drawn("modelB").parameters
    total = varied["total_einstein_radius"]
    for i in range(0, 60, 7):
        expected = einstein_radius_by_quadrature(varied["lens_redshift"][i], varied["source_redshift"][i])
        assert total[i] == pytest.approx(expected, rel=1e-5)
    assert total.min() > einstein_radius_by_quadrature(0.6, 0.8) > 1.1
    assert total.max() < einstein_radius_by_quadrature(0.4, 1.2) < 2.1


def test_halo_is_a_sphere_at_the_centre(scenes):
    assert (scenes.halo.axis_ratio == 1).all()
    assert not scenes.halo.x.any()
    assert not scenes.halo.y.any()


def test_shear(scenes):
    strength = np.hypot(scenes.shear.gamma_1, scenes.shear.gamma_2)
    doubled = np.arctan2(scenes.shear.gamma_2, scenes.shear.gamma_1)
    assert uniform(strength, 0, 0.3)
    assert uniform(doubled, -np.pi, np.pi)
    assert uniform(scenes.parameters["shear_angle"], 0, 2 * np.pi)
    np.testing.assert_allclose(strength, scenes.parameters["shear"])
    # gamma_1 = gamma cos 2 phi: the angle counts twice.
    turns = (doubled - 2 * scenes.parameters["shear_angle"]) / (2 * np.pi)
    np.testing.assert_allclose(turns, np.round(turns), atol=1e-9)


def test_source(scenes):
    source = scenes.source
    assert uniform(np.hypot(source.x, source.y), 0, 0.5)
    assert uniform(np.arctan2(source.y, source.x), -np.pi, np.pi)
    assert uniform(source.axis_ratio, 0.4, 1)
    assert uniform(source.angle, 0, 2 * np.pi)
    assert uniform(source.effective_radius, 0.25, 1)
    assert (source.index == 1.5).all()
    assert scenes.lens_light is None


def test_independent_quantities_are_not_correlated(scenes):
    leaves = every_leaf(scenes)
    chosen = ["shear.gamma_1", "shear.gamma_2", "source.x", "source.y", "source.axis_ratio", "source.angle",
              "source.effective_radius", "label"]  # fmt: skip
    correlation = stats.spearmanr(np.stack([leaves[name] for name in chosen], 1)).statistic
    assert np.abs(correlation[np.triu_indices(len(chosen), 1)]).max() < 4 / np.sqrt(MANY)


def test_exposure():
    easy, hard = drawn("modelA").exposure, drawn("modelB").exposure
    assert (easy.seconds == 300).all()
    assert (hard.seconds == 300).all()
    assert (easy.sky == 0.1).all()
    assert (easy.peak == 4.06).all()
    assert np.isnan(easy.snr).all()
    assert uniform(hard.sky, 0.1, 0.5)
    assert uniform(hard.snr, 10, 30)
    assert np.isnan(hard.peak).all()


def test_instrument():
    camera = population().instrument
    assert (camera.image_size, camera.pixel_scale, camera.psf, camera.psf_width, camera.over_sampling) == (
        150, 0.05, "gaussian", 0.1, 4,
    )  # fmt: skip
    assert isinstance(population(), Population)


@pytest.mark.parametrize("table", TABLES)
def test_peak_snr_and_background_of_the_observed_images(table):
    """Whatever a simulator returns, Model A's images have a peak SNR of 34 and the published ones' background."""
    scenes = drawn(table)[:40]
    row, column = np.mgrid[:40, :40]
    ring = np.exp(-((np.hypot(row - 20, column - 20) - 8) ** 2) / 4) * (np.hypot(row - 20, column - 20) < 14)
    source = torch.tensor(ring) * torch.linspace(0.01, 100, 40)[:, None, None]
    observed = observe(Rendered(source=source), scenes.exposure, draws=Draws("s", np.arange(40)))
    snr = observed.snr.numpy()
    if table == "modelA":
        assert snr == pytest.approx(np.full(40, 34), abs=0.6)
        dark = observed.image.numpy()[:, ring == 0]
        background = dark.std(1) / 4.06
        assert ((background > 0.0039) & (background < 0.0051)).all()  # rms over peak, as in the released images
    else:
        assert snr == pytest.approx(scenes.exposure.snr, rel=1e-5)
        assert 10 <= snr.min() < snr.max() <= 30
    assert snr.mean() == pytest.approx({"modelA": 34, "modelB": 20}[table], abs=3)  # A is the easy one


def test_labels_are_balanced_in_every_triple_and_in_no_fixed_order(scenes):
    triples = scenes.label.reshape(-1, 3)
    np.testing.assert_array_equal(np.sort(triples, axis=1), np.tile([0, 1, 2], (len(triples), 1)))
    orders = np.unique(triples, axis=0, return_counts=True)[1]
    assert len(orders) == 6
    assert stats.chisquare(orders).pvalue > UNLIKELY
    pairs = np.unique(np.c_[triples[:-1, 0], triples[1:, 0]], axis=0, return_counts=True)[1]
    assert len(pairs) == 9
    assert stats.chisquare(pairs).pvalue > UNLIKELY


def test_labels_differ_between_streams_and_not_between_populations():
    train, val = (population().sample(np.arange(999), seed).label for seed in ("train", "val"))
    assert (train == val).mean() == pytest.approx(1 / 3, abs=0.06)
    np.testing.assert_array_equal(train, population("modelB", mass_scale=3.0).sample(np.arange(999), "train").label)


@pytest.mark.parametrize("table", TABLES)
@settings(deadline=None)
@given(indices=st.lists(st.integers(0, 299), max_size=12))
def test_scene_i_is_the_same_in_every_batch(table, indices):
    whole = every_leaf(every_scene(table))
    part = every_leaf(population(table).sample(np.array(indices, dtype=np.int64), "stream"))
    assert part.keys() == whole.keys()
    for name, values in part.items():
        expected = whole[name][indices]
        if name.startswith("points."):  # padded to the most masses in the batch
            present = whole["points.einstein_radius"][indices] > 0
            assert not part["points.einstein_radius"][:, : present.shape[1]][~present[:, : values.shape[1]]].any()
            assert not present[:, values.shape[1] :].any()
            expected = np.where(present, expected, 0)[:, : values.shape[1]]
            values = np.where(part["points.einstein_radius"] > 0, values, 0)
        np.testing.assert_array_equal(values, expected, err_msg=name)


def test_a_count_that_is_no_whole_number_does_not_depend_on_the_batch_either():
    uneven = population(subhalo_count="U(10, 40)")
    together = uneven.sample(np.arange(60), "s").parameters["substructure_count"]
    apart = [uneven.sample(np.array([i]), "s").parameters["substructure_count"][0] for i in range(60)]
    np.testing.assert_array_equal(together, apart)


# What may differ between the classes: the substructure, and the halo mass that it replaces.
OWN = {*SUBSTRUCTURE, *POSITIONS, "label", "parameters.substructure_count", "parameters.vortex_length",
       "parameters.axion_mass"}  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
def test_everything_but_the_substructure_is_distributed_alike_in_all_classes(table):
    scenes = drawn(table)
    leaves = every_leaf(scenes)
    assert leaves.keys() > OWN
    for name in leaves.keys() - OWN:
        groups = [leaves[name][scenes.label == label] for label in (NO_SUBSTRUCTURE, SUBHALO, VORTEX)]
        for first, second in ((0, 1), (0, 2), (1, 2)):
            if not np.isnan(groups[0]).all() and len(np.unique(leaves[name])) > 1:
                assert stats.ks_2samp(groups[first], groups[second]).pvalue > UNLIKELY, name
            else:
                np.testing.assert_array_equal(groups[first], groups[second], err_msg=name)


def test_arrays_have_one_type_and_shape_whatever_the_classes_in_the_batch(scenes):
    whole = every_leaf(scenes)
    for label in (NO_SUBSTRUCTURE, SUBHALO, VORTEX):
        alone = every_leaf(population("modelA").sample(np.flatnonzero(drawn("modelA").label == label)[:5], "stream"))
        assert set(alone) == set(whole)
        for name, values in alone.items():
            assert values.dtype == whole[name].dtype == (np.int64 if name == "label" else np.float64)
            assert values.ndim == whole[name].ndim
            assert len(values) == 5
    assert whole["points.x"].shape == whole["points.y"].shape == whole["points.einstein_radius"].shape


def test_no_images():
    scenes = sample(count=0)
    assert len(scenes) == 0
    assert all(len(values) == 0 for values in every_leaf(scenes).values())


def test_a_drawn_slope_of_the_masses_is_stored_for_subhaloes():
    """Steeper mass functions hold a smaller share of their mass in the heaviest sub-halo."""
    drawn = sample("modelA", count=3000, beta="U(-1.9, -0.3)", subhalo_mass_fraction=0.04)
    assert "subhalo_mass_slope" not in sample("modelA").parameters
    slope, subhalo = drawn.parameters["subhalo_mass_slope"], drawn.label == SUBHALO
    np.testing.assert_array_equal(np.isfinite(slope), subhalo)
    assert -1.9 <= np.nanmin(slope) < -1.8 < -0.4 < np.nanmax(slope) <= -0.3
    squared = drawn.points.einstein_radius[subhalo] ** 2
    heaviest = squared.max(1) / squared.sum(1)
    steep = slope[subhalo] < np.nanmedian(slope)
    assert heaviest[steep].mean() > 1.5 * heaviest[~steep].mean()


def test_a_drawn_mass_scale_is_stored_and_changes_nothing_but_the_masses():
    """The draw of an image multiplies all of its masses; one number for all images adds no column."""
    mixed, plain = sample("modelA", mass_scale="U(1, 4)"), sample("modelA", mass_scale=1.0)
    assert "mass_scale" not in plain.parameters
    scale = mixed.parameters["mass_scale"]
    assert 1 <= scale.min() < 1.5 < 3.5 < scale.max() <= 4
    name = "substructure_mass_fraction"
    np.testing.assert_allclose(mixed.parameters[name], scale * plain.parameters[name], rtol=1e-12)
    np.testing.assert_array_equal(mixed.label, plain.label)
    np.testing.assert_array_equal(mixed.source.x, plain.source.x)
