"""The other populations: each against the numbers that its paper or code gives."""

import dataclasses
import functools
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from zoo_deeplense import tables
from zoo_deeplense.legacy import einstein_radius_from_luminosity_distances
from zoo_deeplense.photometry import sersic_flux
from zoo_deeplense.plugin import zoo_datasets
from zoo_deeplense.population import NO_SUBSTRUCTURE, SUBHALO, VORTEX, build
from zoo_deeplense.values import CONSERVED

from zoo.lensing.draws import Draws
from zoo.lensing.observe import Rendered, observe
from zoo.lensing.scenes import Exposure, Scenes, Sersic

SPECS = {spec.name: spec for spec in zoo_datasets() if spec.target == "zoo_deeplense.population:build"}
MODELS_2019 = ["model_2019_ideal", "model_2019_representative"]
MODELS_SIM = ["model1", "model2", "model3"]
COUNT = 3000
UNLIKELY = 1e-4


@functools.cache
def sample(name: str, **changes) -> Scenes:
    return build(**{**SPECS[name].params, **changes}).sample(np.arange(COUNT), "stream/train")


def of_class(scenes: Scenes, label: int) -> Scenes:
    return scenes[scenes.label == label]


def uniform(values, low: float, high: float) -> bool:
    return stats.kstest(np.ravel(values), stats.uniform(low, high - low).cdf).pvalue > UNLIKELY


# Truncated haloes take four seconds.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name.endswith("_tnfw") else []) for name in SPECS]
)
def test_every_population_has_the_options_and_holds_what_they_say(name):
    """`conserve_mass`, `beta`, `shear_angle`, `lens_light` and the mass sum of every class, on and off."""
    params = SPECS[name].params
    assert set(tables.MODEL_A) <= set(params) <= {*tables.MODEL_A, "legacy"}
    for conserve in CONSERVED:
        scenes = sample(name, conserve_mass=conserve, lens_light=True, beta=-1.5, shear_angle="U(0, 0.1)")
        fraction = scenes.parameters["substructure_mass_fraction"]
        mass = scenes.halo.einstein_radius**2 + (scenes.points.einstein_radius**2).sum(1)
        if scenes.truncated_haloes is not None:
            mass += (scenes.truncated_haloes.einstein_radius**2).sum(1)
        inside = scenes.parameters["substructure_mass_fraction_inside"]
        wanted = {"ring": (1 - inside) ** 2 + fraction, "components": 1, "none": 1 + fraction}[conserve]
        np.testing.assert_allclose(mass, wanted * scenes.parameters["total_einstein_radius"] ** 2, rtol=1e-12)
        assert scenes.lens_light is not None
        assert (fraction[scenes.label != NO_SUBSTRUCTURE] > 0).all()
        assert scenes.parameters["shear_angle"].max() < 0.1


@pytest.mark.parametrize("name", SPECS)
def test_a_population_is_a_short_table(name):
    """It changes few lines of the table that it starts from, as many as docs/populations.md states."""
    starts = {
        "modelA": tables.MODEL_A, "modelB": tables.MODEL_A, "published": tables.MODEL_B,
        "model_2019_ideal": tables.MODEL_A, "model_2019_representative": tables.MODEL_2019_IDEAL,
        "model1": tables.MODEL_A, "model2": tables.MODEL_1, "model3": tables.MODEL_2,
        **{f"modelA_{variant}": tables.MODEL_A for variant in tables.VARIANTS},
        **{f"modelB_{variant}": tables.MODEL_B for variant in tables.VARIANTS},
    }  # fmt: skip
    params, start = SPECS[name].params, starts[name]
    changed = sum(params[key] != start.get(key, "absent") for key in params)
    assert changed <= 30
    page = (Path(__file__).parents[3] / "docs" / "populations.md").read_text(encoding="utf-8")
    stated = re.search(rf"^\| [^|]*`{name}`[^|]* \|[^|]*\|([\d ]*)\|", page, flags=re.M)
    assert stated is not None
    assert int(stated[1].strip() or 0) == changed


# --- arXiv:1909.07346, Table I ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS_2019)
def test_2019_halo_and_source(name):
    scenes = sample(name)
    np.testing.assert_array_equal(scenes.halo.einstein_radius, 1.2)  # mass is added, whatever the redshifts
    assert (scenes.halo.axis_ratio == 1).all()
    assert uniform(np.hypot(scenes.shear.gamma_1, scenes.shear.gamma_2), 0, 0.3)
    assert uniform(np.hypot(scenes.source.x, scenes.source.y), 0, 1.2)
    assert uniform(scenes.source.axis_ratio, 0.7, 1)
    assert uniform(scenes.source.intensity, 0.7, 0.9)
    assert (scenes.source.index == 1.5).all()
    assert (scenes.source.effective_radius == 0.5).all()


@pytest.mark.parametrize("name", MODELS_2019)
def test_2019_lens_light(name):
    light = sample(name).lens_light
    assert light is not None
    assert uniform(light.axis_ratio, 0.5, 1)
    assert (light.intensity == 1.2).all()
    assert (light.index == 2.5).all()
    if name == "model_2019_ideal":
        assert (light.effective_radius == 0.5).all()
    else:
        assert uniform(light.effective_radius, 0.5, 2)


@pytest.mark.parametrize("name", MODELS_2019)
def test_2019_substructure_holds_a_hundredth_of_the_halo_in_equal_parts(name):
    scenes = sample(name)
    subhaloes, vortices = of_class(scenes, SUBHALO), of_class(scenes, VORTEX)
    for some in (subhaloes, vortices):
        np.testing.assert_allclose((some.points.einstein_radius**2).sum(1) / 1.2**2, 0.01, rtol=1e-9)
    radius = subhaloes.points.einstein_radius
    count = (radius > 0).sum(1)
    for row, number in zip(radius[:100], count[:100], strict=True):
        np.testing.assert_allclose(row[row > 0], 1.2 * np.sqrt(0.01 / number), rtol=1e-9)
    if name == "model_2019_ideal":
        assert (count == 25).all()
    else:
        assert count.mean() == pytest.approx(25, abs=4 * 5 / np.sqrt(len(count)))
        assert count.var() == pytest.approx(25, rel=0.2)
    assert uniform(np.hypot(subhaloes.points.x, subhaloes.points.y)[radius > 0], 0, 1)


@pytest.mark.parametrize("name", MODELS_2019)
def test_2019_vortex(name):
    vortices = of_class(sample(name), VORTEX)
    x, y = vortices.points.x[:, :25], vortices.points.y[:, :25]
    length = vortices.parameters["vortex_length"]
    if name == "model_2019_ideal":
        assert (length == 1).all()
        assert np.abs(x.mean(1)).max() < 1e-12
    else:
        assert uniform(length, 0.5, 2)
        assert stats.kstest(y.mean(1), stats.norm(0, 0.5).cdf).pvalue > UNLIKELY
    ends = np.hypot(x[:, -1] - x[:, 0], y[:, -1] - y[:, 0])
    np.testing.assert_allclose(ends * 25 / 24, length, rtol=1e-9)


def test_2019_redshifts_and_noise():
    ideal, varied = sample("model_2019_ideal"), sample("model_2019_representative")
    assert (ideal.parameters["lens_redshift"] == 0.5).all()
    assert (ideal.parameters["source_redshift"] == 1).all()
    assert (ideal.exposure.snr == 34).all()
    assert uniform(varied.parameters["lens_redshift"], 0.4, 0.6)
    assert uniform(varied.parameters["source_redshift"], 0.8, 1.2)
    assert uniform(varied.exposure.snr, 10, 30)


# --- DeepLenseSim -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS_SIM)
def test_deeplensesim_lens(name):
    scenes = sample(name)
    np.testing.assert_allclose(scenes.parameters["total_einstein_radius"], 1.6645, atol=5e-5)
    q, angle = scenes.halo.axis_ratio[0], scenes.halo.angle[0]
    ellipticity = (1 - q) / (1 + q) * np.exp(2j * angle)
    assert ellipticity == pytest.approx(0.1, abs=1e-12)
    np.testing.assert_allclose(scenes.shear.gamma_1, 0.05)
    np.testing.assert_allclose(scenes.shear.gamma_2, 0, atol=1e-15)


@pytest.mark.parametrize("name", MODELS_SIM)
def test_deeplensesim_source(name):
    source = sample(name).source
    q, angle = source.axis_ratio[0], source.angle[0]
    assert (1 - q) / (1 + q) * np.exp(2j * angle) == pytest.approx(-0.1 + 0.1j, abs=1e-4)
    assert uniform(source.x, -0.35, 0.35)
    assert uniform(source.y, -0.35, 0.35)
    assert abs(stats.spearmanr(source.x, source.y).statistic) < 4 / np.sqrt(COUNT)
    assert (source.index == 1).all()
    assert (source.effective_radius == 0.25).all()


@pytest.mark.parametrize("name", MODELS_SIM)
def test_deeplensesim_vortex_length_follows_the_axion_mass(name):
    scenes = sample(name)
    vortices = of_class(scenes, VORTEX)
    mass, length = vortices.parameters["axion_mass"], vortices.parameters["vortex_length"]
    assert uniform(np.log10(mass), -24, -22)
    np.testing.assert_allclose(length / 2, 0.06 / (2 * mass / 1e-22), rtol=1e-12)
    x, y = vortices.points.x, vortices.points.y
    np.testing.assert_allclose(np.hypot(x[:, -1] - x[:, 0], y[:, -1] - y[:, 0]), length * 99 / 100, rtol=1e-9)
    assert np.hypot(x.mean(1), y.mean(1)).max() < 1e-9
    assert np.isnan(scenes.parameters["axion_mass"][scenes.label != VORTEX]).all()
    # 100 masses of 3e8, each with the Einstein radius of 3e8 solar masses.
    assert (vortices.points.einstein_radius > 0).sum(1).tolist() == [100] * len(vortices)
    np.testing.assert_allclose(vortices.points.einstein_radius, 1.6645 * np.sqrt(3e8 / 1e12), rtol=1e-4)


@pytest.mark.parametrize("name", MODELS_SIM)
def test_deeplensesim_subhaloes(name):
    points = of_class(sample(name), SUBHALO).points
    assert ((points.einstein_radius > 0).sum(1) == 25).all()
    here = points.einstein_radius > 0
    assert uniform(np.hypot(points.x, points.y)[here], 0.25, 2)
    mass = 1e12 * (points.einstein_radius[here] / 1.66451745) ** 2
    assert uniform(mass**0.1, 1e6**0.1, 1e10**0.1)  # dN/dm ~ m^-0.9: m^0.1 is uniform


def test_legacy_is_the_einstein_radius_of_the_released_sets():
    assert einstein_radius_from_luminosity_distances(1e12, 0.5, 1.0) == pytest.approx(1.2815, abs=1e-4)
    scenes = sample("model1", legacy=True)
    np.testing.assert_allclose(scenes.parameters["total_einstein_radius"], 1.2815, atol=1e-4)
    vortices = of_class(scenes, VORTEX)
    wanted = einstein_radius_from_luminosity_distances(3e8, 0.5, 1.0)
    np.testing.assert_allclose(vortices.points.einstein_radius, wanted, rtol=1e-9)


@pytest.mark.parametrize(("index", "radius"), [(0.8, 0.25), (1.0, 0.5), (2.5, 1.3)])
def test_sersic_flux_is_the_integral(index, radius):
    values = {"x": 0.0, "y": 0.0, "angle": 0.3, "axis_ratio": 0.6, "index": index, "effective_radius": radius}
    light = Sersic(**{name: np.array([value]) for name, value in values.items()}, intensity=np.array([1.7]))
    b = light.b[0]
    integral = integrate.quad(lambda r: 2 * np.pi * r * 1.7 * np.exp(-b * ((r / radius) ** (1 / index) - 1)), 0, 200)
    assert sersic_flux(light)[0] == pytest.approx(integral[0], rel=1e-6)


@pytest.mark.parametrize(("name", "zero_point", "pixel"), [("model2", 24.0, 0.101), ("model3", 25.96, 0.08)])
def test_magnitudes_become_counts(name, zero_point, pixel):
    """The pixels of an unlensed source of magnitude 20 add up to its counts per second, and so does the sky."""
    scenes = sample(name)[:1]
    axis = (np.arange(1600) - 799.5) * 0.005
    x, y = np.meshgrid(axis, axis)
    q, angle = scenes.source.axis_ratio[0], scenes.source.angle[0]
    along, across = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    radius = np.sqrt(q * along**2 + across**2 / q)
    per_pixel = scenes.source.intensity[0] * np.exp(-scenes.source.b[0] * (radius / 0.25 - 1))
    total = per_pixel.sum() * 0.005**2 / pixel**2
    assert total == pytest.approx(10 ** (0.4 * (zero_point - 20)), rel=1e-3)
    assert np.isnan(scenes.exposure.snr).all()
    assert np.isnan(scenes.exposure.peak).all()
    sky_magnitude, read_noise, seconds = {"model2": (22.35, 8.4, 2260), "model3": (22.3, 4.0, 5400)}[name]
    sky = 10 ** (0.4 * (zero_point - sky_magnitude)) * pixel**2
    variance = sky / seconds + (read_noise / seconds) ** 2
    assert scenes.exposure.seconds[0] == seconds
    assert scenes.exposure.sky[0] / seconds == pytest.approx(variance, rel=1e-9)


def test_larger_pixels_collect_more_light():
    """With a reference pixel the core scales the images; without one the population does."""
    small, large = sample("model2"), sample("model2", pixel_scale=0.202)
    np.testing.assert_array_equal(large.source.intensity, small.source.intensity)
    own = build(**{**SPECS["model2"].params, "pixel_scale": 0.202}).instrument
    assert own.area_in_reference_pixels == pytest.approx(4, rel=1e-12)
    np.testing.assert_allclose(large.exposure.sky, 4 * small.exposure.sky, rtol=1e-12)
    alone = sample("model2", pixel_scale=0.202, reference_pixel_scale=None)
    np.testing.assert_allclose(alone.source.intensity, 4 * small.source.intensity, rtol=1e-12)


def test_model1_background_has_the_wanted_rms():
    scenes = sample("model1")[:20]
    assert uniform(np.log10(sample("model1").exposure.seconds), 3, 3.5)
    np.testing.assert_allclose(scenes.source.intensity, 20 * 0.05**2)
    source = torch.full((20, 60, 60), 1e-9)
    source[:, 30, 30] = 0.2
    image = observe(Rendered(source=source), scenes.exposure, draws=Draws("s", np.arange(20))).image
    background = image[:, :25].flatten(1)
    np.testing.assert_allclose(background.std(1), 0.01, rtol=0.1)
    np.testing.assert_allclose(background.mean(1), 0, atol=0.01 * 4 / np.sqrt(background.shape[1]))


# --- The released images ----------------------------------------------------------------------------------------


def test_published_is_model_b_turned_to_one_side_and_stretched():
    ours, plain = sample("published"), sample("modelB")
    angle = 0.5 * np.arctan2(ours.shear.gamma_2, ours.shear.gamma_1)
    assert uniform(np.degrees(angle), 0, 2 * np.pi)
    assert uniform(np.degrees(ours.source.angle), 0, 2 * np.pi)
    np.testing.assert_array_equal(ours.points.einstein_radius, plain.points.einstein_radius)
    assert {key for key in tables.PUBLISHED if tables.PUBLISHED[key] != tables.MODEL_B[key]} == {
        "shear_angle", "source_angle", "scaling",
    }  # fmt: skip
    assert ours.exposure.scaling == "minmax"


def test_minmax_is_applied_after_the_noise():
    source = torch.rand(6, 16, 16, generator=torch.Generator().manual_seed(0))
    exposure = sample("modelB")[:6].exposure
    draws = Draws("s", np.arange(6))
    plain = observe(Rendered(source=source), exposure, draws=draws)
    stretched = observe(Rendered(source=source), dataclasses.replace(exposure, scaling="minmax"), draws=draws)
    low, high = plain.image.amin((1, 2), keepdim=True), plain.image.amax((1, 2), keepdim=True)
    torch.testing.assert_close(stretched.image, (plain.image - low) / (high - low))
    assert torch.equal(stretched.snr, plain.snr)
    assert isinstance(exposure, Exposure)
