"""Parameters of a population: what each changes, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scenetools import (
    INSIDE,
    POSITIONS,
    SUBSTRUCTURE,
    TABLES,
    drawn,
    every_leaf,
    every_scene,
    population,
    sample,
    subhaloes,
)
from zoo_deeplense.meanings import MEANINGS
from zoo_deeplense.plugin import zoo_datasets
from zoo_deeplense.tables import ADDED, MODEL_A, SLICES

from zoo.data.about import shown_params
from zoo.errors import UsageError
from zoo.lensing.scenes import Scenes


@pytest.fixture(params=["modelA", "modelB"])
def scenes(request) -> Scenes:
    return drawn(request.param)


COSMOLOGY = {"points.einstein_radius", "parameters.total_einstein_radius", *INSIDE}


SHEAR = {"shear.gamma_1", "shear.gamma_2"}


# For each prior: another value, and the only arrays that it may change.
CHANGES = {
    "lens_redshift": ("U(0.2, 0.3)", {*COSMOLOGY, "parameters.lens_redshift"}),
    "source_redshift": ("U(1.5, 2)", {*COSMOLOGY, "parameters.source_redshift"}),
    "total_mass": (2e12, {*COSMOLOGY, "parameters.substructure_mass_fraction"}),
    "einstein_radius": (1.2, {*COSMOLOGY, "parameters.substructure_mass_fraction"}),
    "halo_axis_ratio": ("U(0.5, 1)", {"halo.axis_ratio", *INSIDE}),
    "halo_angle": ("U(0, 3)", {"halo.angle"}),
    "conserve_mass": ("none", {"halo.einstein_radius"}),
    "shear": ("U(0, 0.1)", {*SHEAR, "parameters.shear"}),
    "shear_angle": ("U(-0.1, 0.1)", {*SHEAR, "parameters.shear_angle"}),
    "source_x": ("U(-0.1, 0.1)", {"source.x"}),
    "source_y": (0.2, {"source.y"}),
    "source_radius": ("U(0, 0.1)", {"source.x", "source.y"}),
    "source_polar_angle": (0.0, {"source.x", "source.y"}),
    "source_axis_ratio": (0.7, {"source.axis_ratio"}),
    "source_angle": (0.0, {"source.angle"}),
    "source_index": ("U(1, 4)", {"source.index"}),
    "source_effective_radius": (0.3, {"source.effective_radius"}),
    "source_intensity": ("U(0.7, 0.9)", {"source.intensity"}),
    "source_magnitude": (20.0, {"source.intensity"}),
    "mass_scale": (2.0, SUBSTRUCTURE),
    "mass_fraction": (0.01, SUBSTRUCTURE),
    "vortex_mass_fraction": (0.01, SUBSTRUCTURE),
    "vortex_points": (7, {*SUBSTRUCTURE, *POSITIONS, "parameters.substructure_count"}),
    "vortex_x": (0.0, POSITIONS),
    "vortex_y": (0.0, POSITIONS),
    "vortex_length": (1.0, {*POSITIONS, "parameters.vortex_length"}),
    "axion_mass": ("LogU(1e-24, 1e-22)", {*POSITIONS, "parameters.vortex_length", "parameters.axion_mass"}),
    "vortex_angle": (0.0, POSITIONS),
    "subhalo_count": ("Poisson(10)", {*SUBSTRUCTURE, *POSITIONS, "parameters.substructure_count"}),
    "subhalo_radius": ("U(1, 2)", POSITIONS),
    "subhalo_mass_fraction": (0.03, SUBSTRUCTURE),
    "subhalo_mass_low": (1e8, SUBSTRUCTURE),
    "subhalo_mass_high": (1e9, SUBSTRUCTURE),
    "beta": (-1.9, SUBSTRUCTURE),
    "exposure_seconds": (600.0, {"exposure.seconds"}),
    "sky": (0.3, {"exposure.sky"}),
    "zero_point": (25.0, set()),
    "sky_magnitude": (22.0, {"exposure.sky"}),
    "background_rms": (0.02, {"exposure.sky"}),
    "read_noise": (4.0, {"exposure.sky"}),
    "peak": (3.0, {"exposure.peak"}),
    "snr": (50.0, {"exposure.snr"}),
}


LENS_LIGHT = {"lens_light_axis_ratio": "axis_ratio", "lens_light_angle": "angle", "lens_light_index": "index",
              "lens_light_effective_radius": "effective_radius", "lens_light_intensity": "intensity"}  # fmt: skip


INSTRUMENT = {"image_size": 64, "over_sampling": 1, "psf": "airy", "psf_width": 0.2}


# Parameters that mean nothing without another one.
NEEDS = {"source_magnitude": {"zero_point": 25.0}, "sky_magnitude": {"zero_point": 25.0}}


def test_every_parameter_is_tried():
    others = {"lens_light", "scaling", "pixel_scale", "reference_pixel_scale"}
    # Those of ADDED add arrays: test_deeplense_variants.py.
    assert {*CHANGES, *LENS_LIGHT, *INSTRUMENT, *others, *ADDED} == set(MODEL_A)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", CHANGES)
def test_changing_one_prior_changes_its_own_quantities_and_no_others(name, table):
    value, allowed = CHANGES[name]
    before, after = every_leaf(every_scene(table)), every_leaf(sample(table, **{name: value}, **NEEDS.get(name, {})))
    assert before.keys() == after.keys()
    changed = {key for key in before if not np.array_equal(before[key], after[key], equal_nan=True)}
    assert changed or not allowed
    assert changed <= allowed


@pytest.mark.parametrize("name", LENS_LIGHT)
def test_lens_light_comes_on_its_own_and_changes_nothing_else(name):
    dark, lit = every_leaf(every_scene("modelA")), every_leaf(sample(lens_light=True))
    new = {key for key in lit if key not in dark}
    assert new == {f"lens_light.{field}" for field in (*LENS_LIGHT.values(), "x", "y")}
    assert all(np.array_equal(lit[key], dark[key], equal_nan=True) for key in dark)
    changed = every_leaf(sample(lens_light=True, **{name: 0.77}))
    assert {key for key in lit if not np.array_equal(lit[key], changed[key], equal_nan=True)} == {
        f"lens_light.{LENS_LIGHT[name]}"
    }


@pytest.mark.parametrize("name", INSTRUMENT)
def test_instrument_options_reach_the_instrument_and_no_scene(name):
    changed = population(**{name: INSTRUMENT[name]})
    assert getattr(changed.instrument, name) == INSTRUMENT[name]
    before, after = every_leaf(every_scene("modelA")), every_leaf(changed.sample(np.arange(300), "stream"))
    assert all(np.array_equal(before[key], after[key], equal_nan=True) for key in before)


def test_pixel_scale_reaches_the_instrument_and_the_sky_alone():
    """Sky and noise are stated for a reference pixel; a pixel of four times its area collects four times as much."""
    changed = population(pixel_scale=0.1)
    before, after = every_leaf(every_scene("modelA")), every_leaf(changed.sample(np.arange(300), "stream"))
    assert {key for key in before if not np.array_equal(before[key], after[key], equal_nan=True)} == {"exposure.sky"}
    np.testing.assert_allclose(after["exposure.sky"], 4 * before["exposure.sky"], rtol=1e-12)
    own = population(pixel_scale=0.1, reference_pixel_scale=None).sample(np.arange(300), "stream")
    np.testing.assert_array_equal(own.exposure.sky, before["exposure.sky"])


def test_the_snr_asked_for_and_the_snr_shown_name_their_pixels():
    """One is of the reference pixel, the other is measured in the pixels of the image."""
    assert "reference pixel" in MEANINGS["snr"]
    assert "image's pixels" in SLICES["snr"]
    for spec in (spec for spec in zoo_datasets() if spec.simulated):
        title = ", ".join(shown_params(spec, spec.params))
        pixel, snr = (f"{key} {spec.params[key]}" for key in ("reference_pixel_scale", "snr"))
        assert pixel in title, spec.id
        assert snr == "snr None" or f"{snr}, {pixel}" in title, spec.id
        assert "reference_pixel" not in ", ".join(shown_params(spec, {**spec.params, "reference_pixel_scale": None}))


def test_a_narrow_shear_angle_reproduces_the_orientation_of_the_published_sets():
    scenes = sample(shear_angle="U(0, 0.109)")  # a uniform angle in [0, 2 pi] read as degrees
    assert (np.degrees(0.5 * np.arctan2(scenes.shear.gamma_2, scenes.shear.gamma_1)) < 6.3).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conserve_mass": "rings"}, "conserve_mass='rings' is not one of ring, components, none. Did you mean 'ring'"),
        ({"reference_pixel_scale": 0}, "reference_pixel_scale=0 must be a positive number of arcsec"),
        ({"lens_light": 1}, "lens_light=1 must be true or false"),
        ({"vortex_points": 0}, "vortex_points=0 must be a whole number from 1 to 10000"),
        ({"vortex_points": 10_001}, "vortex_points=10001 must be a whole number"),
        ({"vortex_points": 2.5}, "vortex_points=2.5 must be a whole number"),
        ({"vortex_points": True}, "vortex_points=True must be a whole number"),
        ({"source_magnitude": 20.0}, "source_magnitude is set and zero_point is not"),
        ({"sky_magnitude": 20.0}, "sky_magnitude is set and zero_point is not"),
        ({"scaling": "max"}, "scaling='max' is not one of none, minmax"),
        ({"image_size": 3}, "image_size=3 must be a whole number from 8 to 4096"),
        ({"psf": "gauss"}, "Did you mean 'gaussian'"),
        ({"psf_width": 50.0}, "psf_width=50 arcsec is wider than the image"),
        ({"sky": "bright"}, "sky='bright' is not a number or a prior"),
        ({"sky": None}, "sky='None' is not a number or a prior"),
        ({"beta": "Norml(0, 1)"}, "Did you mean 'Normal'"),
        ({"shear": "U(0.3, 0)"}, "shear: U(0.3, 0) has its lower end above its upper end"),
    ],
)
def test_impossible_tables_are_refused_at_once(changes, message):
    with pytest.raises(UsageError) as caught:
        population(**changes)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source_redshift": 0.5}, "source_redshift must lie above lens_redshift"),
        ({"source_redshift": "U(0.3, 2)"}, "source_redshift must lie above lens_redshift"),
        ({"lens_redshift": -0.5}, "lens_redshift: the prior reaches -0.5 to -0.5; the possible range is 0.001 to 20"),
        ({"total_mass": -1e12}, "total_mass"),
        ({"halo_axis_ratio": 1.2}, "halo_axis_ratio"),
        ({"shear": "Normal(0, 0.1)"}, "shear"),
        ({"shear": 1.0}, "shear"),
        ({"source_axis_ratio": 0.0}, "source_axis_ratio"),
        ({"source_index": 20.0}, "source_index"),
        ({"source_effective_radius": 0.0}, "source_effective_radius"),
        ({"source_intensity": 0.0}, "source_intensity"),
        ({"einstein_radius": 0.0}, "einstein_radius"),
        ({"axion_mass": 1e-10}, "axion_mass"),
        ({"background_rms": -0.1}, "background_rms"),
        ({"read_noise": -4.0}, "read_noise"),
        ({"lens_light": True, "lens_light_intensity": -1.0}, "lens_light_intensity"),
        ({"mass_scale": -1.0}, "mass_scale"),
        ({"mass_fraction": 1.0}, "mass_fraction"),
        ({"vortex_mass_fraction": -0.1}, "vortex_mass_fraction"),
        ({"vortex_length": -1.0}, "vortex_length"),
        ({"subhalo_count": -1.0}, "subhalo_count must lie between 0 and 10000"),
        ({"subhalo_count": 20_000.0}, "subhalo_count must lie between 0 and 10000"),
        ({"subhalo_radius": "U(-1, 1)"}, "subhalo_radius"),
        ({"subhalo_mass_low": 1.1e10}, "subhalo_mass_low must not lie above subhalo_mass_high"),
        ({"subhalo_mass_high": 1e5}, "subhalo_mass_low must not lie above subhalo_mass_high"),
        ({"beta": 50.0}, "beta"),
        ({"exposure_seconds": 0.0}, "exposure_seconds"),
        ({"sky": "Normal(0, 1)"}, "sky"),
        ({"snr": 0.0}, "snr"),
        ({"peak": -4.0}, "peak"),
        ({"mass_scale": 30.0}, "of the total mass.\nLower mass_scale, mass_fraction or subhalo_mass_high."),
        ({"mass_fraction": 0.5, "mass_scale": 2.0}, "holds 1.00 of the total mass"),
    ],
    ids=str,
)
def test_impossible_draws_are_refused_with_their_range(changes, message):
    chosen = population(**changes)
    with np.errstate(all="raise"), pytest.raises(UsageError) as caught:
        chosen.sample(np.arange(300), "stream")
    assert message in str(caught.value)


@pytest.mark.parametrize("beta", [-10.0, 10.0])
@pytest.mark.parametrize(("low", "high"), [(1e6, 1e10), (1.0, 1e10)])
def test_the_steepest_mass_functions_are_finite(beta, low, high):
    scenes = sample(beta=beta, subhalo_mass_low=low, subhalo_mass_high=high, subhalo_count=25.0)
    *_, mass = subhaloes(scenes)
    assert np.isfinite(mass).all()
    assert low * (1 - 1e-6) < mass.min() <= mass.max() < high * (1 + 1e-6)
