"""Real galaxies as sources: what is cut out, where it is put, and that no galaxy is in two splits."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import zoo_deeplense.galaxies as galaxies_module
from scipy.special import gammaincinv
from zoo_caustics.simulator import render
from zoo_deeplense.galaxies import CUT_SIZE, cut_out, load_galaxies
from zoo_deeplense.photometry import sersic_flux
from zoo_deeplense.population import build as build_lenses
from zoo_deeplense.real_sources import build
from zoo_deeplense.tables import MODEL_B

from zoo.errors import DataError, UsageError, ZooError
from zoo.lensing.population import Population
from zoo.lensing.scenes import PixelSource, Scenes, sersic_source

SMALL = {"image_size": 48, "pixel_scale": 0.15}


@pytest.fixture
def picture(tmp_path) -> str:
    """A picture of a sky with twelve round galaxies of known size, one star, and one that is cut by the edge."""
    random = np.random.default_rng(0)
    sky = random.normal(10, 1, (300, 400))
    row, column = np.indices(sky.shape)
    for i in range(12):
        y, x = 50 + 100 * (i // 4) + random.uniform(-5, 5), 50 + 90 * (i % 4) + random.uniform(-5, 5)
        sky += 100 * np.exp(-((row - y) ** 2 + (column - x) ** 2) / (2 * 5**2))
    sky += 100 * np.exp(-((row - 5) ** 2 + (column - 5) ** 2) / (2 * 5**2))
    sky[98:101, 80:110] += 80  # a star: spikes, and not much between them
    sky[84:115, 94:97] += 80
    np.save(tmp_path / "sky.npy", sky)
    return str(tmp_path / "sky.npy")


def sample(pictures: str, split: str = "train", count: int = 60, **changes) -> Scenes:
    return build(pictures=pictures, **(MODEL_B | SMALL | changes)).sample(np.arange(count), f"x/1/0/{split}")


def test_galaxies_are_cut_out_clean_and_of_the_right_size(picture):
    galaxies = load_galaxies(picture)
    assert len(galaxies) == 12
    np.testing.assert_allclose(galaxies.pixels.sum((1, 2)), 1)
    assert galaxies.pixels.min() >= 0
    edge = np.concatenate([galaxies.pixels[:, 0], galaxies.pixels[:, -1], galaxies.pixels[:, :, 0]], axis=1)
    assert edge.max() < 1e-3 * galaxies.pixels.max()
    # A Gaussian holds half of its light inside 1.177 sigma; the cut-out is a square of known side.
    rows, columns = np.indices((CUT_SIZE, CUT_SIZE))
    for pixels, radius in zip(galaxies.pixels, galaxies.half_light_radius, strict=True):
        deviation = np.sqrt(
            (pixels * ((rows - (pixels * rows).sum()) ** 2 + (columns - (pixels * columns).sum()) ** 2)).sum() / 2
        )
        assert radius == pytest.approx(1.177 * deviation, rel=0.12)


def test_hubbles_picture_gives_many():
    pytest.importorskip("skimage")
    galaxies = load_galaxies(None)
    assert len(galaxies) == 157
    assert 3 < galaxies.half_light_radius.min() < galaxies.half_light_radius.max() < CUT_SIZE / 3


def test_hubbles_picture_is_not_a_measurement(monkeypatch):
    """The figures of docs/populations.md: bytes for a screen, galaxies of a few pixels, without a bright middle."""
    data = pytest.importorskip("skimage.data")
    sides: list[int] = []
    resized = galaxies_module._resized
    monkeypatch.setattr(galaxies_module, "_resized", lambda cut: sides.append(max(cut.shape)) or resized(cut))
    picture = data.hubble_deep_field()
    assert (picture.dtype, picture.shape) == (np.uint8, (872, 1000, 3))
    galaxies = cut_out(picture)
    assert np.median(galaxies.half_light_radius * sides / CUT_SIZE) == pytest.approx(3.4, abs=0.05)
    rows, columns = np.indices((CUT_SIZE, CUT_SIZE))
    concentration = []
    for pixels in galaxies.pixels:
        distance = np.hypot(rows - (pixels * rows).sum(), columns - (pixels * columns).sum()).ravel()
        order = np.argsort(distance)
        inner, outer = np.interp([0.2, 0.8], np.cumsum(pixels.ravel()[order]), distance[order])
        concentration.append(5 * np.log10(outer / inner))
    low, middle, high = np.percentile(concentration, [5, 50, 95])
    assert (round(low, 1), round(middle, 1), round(high, 1)) == (1.8, 2.2, 2.7)
    exponential, of_models = (5 * n * np.log10(np.divide(*gammaincinv(2 * n, [0.8, 0.2]))) for n in (1, 1.5))
    assert (round(exponential, 1), round(of_models, 1)) == (2.8, 3.3)


def test_a_galaxy_takes_place_size_and_light_of_the_sersic_source(picture):
    scenes = sample(picture)
    law = build_lenses(**(MODEL_B | SMALL)).sample(np.arange(60), "x/1/0/train").source
    source = scenes.source
    assert isinstance(source, PixelSource)
    np.testing.assert_array_equal(source.x, law.x)
    np.testing.assert_array_equal(source.angle, law.angle)
    galaxies = load_galaxies(picture)
    which = scenes.parameters["galaxy"].astype(int)
    np.testing.assert_allclose(source.pixel_scale * galaxies.half_light_radius[which], law.effective_radius)
    np.testing.assert_allclose(source.pixels.sum((1, 2)) * source.pixel_scale**2, sersic_flux(law), rtol=1e-9)
    assert isinstance(build(pictures=picture, **MODEL_B), Population)


def test_no_galaxy_is_in_test_images_and_in_others(picture):
    used = {split: set(sample(picture, split, 500).parameters["galaxy"]) for split in ("train", "val", "test", "fresh")}
    assert used["train"] == used["val"]
    assert used["test"] == used["fresh"]
    assert not used["train"] & used["test"]
    assert used["train"] | used["test"] == set(range(len(load_galaxies(picture))))


def test_galaxies_are_alike_in_all_classes_and_do_not_depend_on_the_batch(picture):
    scenes = sample(picture, count=900)
    counts = np.array(
        [np.bincount(scenes.parameters["galaxy"][scenes.label == k].astype(int), minlength=12) for k in range(3)]
    )
    used = counts.sum(0) > 0
    expected = counts.sum(0) / 3
    assert (np.abs(counts - expected)[:, used] < 5 * np.sqrt(expected[used])).all()
    some = build(pictures=picture, **(MODEL_B | SMALL)).sample(np.array([7, 3]), "x/1/0/train")
    np.testing.assert_array_equal(some.source.pixels, scenes.source.pixels[[7, 3]])
    np.testing.assert_array_equal(scenes[[7, 3]].source.pixels, some.source.pixels)


def test_rendered_light_is_that_of_the_source(picture):
    """Without a lens the image of each galaxy holds the light that the table says."""
    scenes = sample(picture, count=6, mass_scale=0.0, shear=0.0, source_effective_radius="U(0.25, 0.5)")
    scenes = replace(scenes, halo=replace(scenes.halo, einstein_radius=np.zeros(6)))
    camera = build(pictures=picture, **(MODEL_B | SMALL)).instrument
    image = render(scenes, camera, device="cpu", dtype=torch.float64).source
    flux = image.sum((1, 2)).numpy() * camera.pixel_scale**2
    wanted = scenes.source.pixels.sum((1, 2)) * scenes.source.pixel_scale**2
    np.testing.assert_allclose(flux, wanted, rtol=5e-3)


def test_a_simulator_that_draws_sersic_laws_only_refuses(picture):
    with pytest.raises(
        UsageError, match=r"toy/toy renders Sersic profiles only, not PixelSource.\n.*see: zoo list-simulators"
    ):
        sersic_source(sample(picture, count=3), simulator="toy/toy")
    lenses = build_lenses(**MODEL_B).sample(np.arange(3), "s")
    assert sersic_source(lenses, simulator="toy/toy") is lenses.source


def test_cut_outs_of_ones_own(tmp_path):
    row, column = np.indices((40, 40)) - 20
    cuts = np.stack([np.exp(-(row**2 + column**2) / (2 * s**2)) for s in (4, 5, 6)])
    np.save(tmp_path / "cuts.npy", cuts)
    galaxies = load_galaxies(str(tmp_path / "cuts.npy"))
    np.testing.assert_allclose(galaxies.half_light_radius, 1.177 * np.array([4, 5, 6]) * CUT_SIZE / 40, rtol=0.1)


def test_cut_outs_that_are_not_square_keep_their_shape(tmp_path):
    row, column = np.indices((64, 96))
    cuts = np.exp(-((row - 31.5) ** 2 + (column - 47.5) ** 2) / (2 * 6.0**2))
    np.save(tmp_path / "cuts.npy", np.stack([cuts, cuts]))
    [first, _] = load_galaxies(str(tmp_path / "cuts.npy")).pixels
    row, column = np.indices(first.shape)
    spreads = [np.sqrt((first * (place - (first * place).sum()) ** 2).sum()) for place in (row, column)]
    assert spreads[0] == pytest.approx(spreads[1], rel=0.02)


def test_a_file_that_changes_is_read_again(tmp_path):
    """Otherwise images of the old galaxies would be kept under the digest of the new ones."""
    path = tmp_path / "cuts.npy"
    cuts = np.random.default_rng(0).uniform(size=(4, 16, 16))
    np.save(path, cuts)
    before = load_galaxies(str(path))
    assert load_galaxies(str(path)) is before
    np.save(path, cuts[:, ::-1])
    after = load_galaxies(str(path))
    np.testing.assert_allclose(after.pixels, before.pixels[:, ::-1], atol=1e-12)


def test_what_cannot_be_read_is_said(tmp_path):
    for name, array in (("flat", np.ones(5)), ("nan", np.full((20, 20), np.nan)), ("empty", np.zeros((60, 60)))):
        np.save(tmp_path / f"{name}.npy", array)
        with pytest.raises(ZooError, match=r"flat|nan|galaxies"):
            load_galaxies(str(tmp_path / f"{name}.npy"))
    with pytest.raises(DataError, match="Cannot read"):
        load_galaxies(str(tmp_path / "nowhere.npy"))
    with pytest.raises(UsageError, match="pictures=3"):
        build(pictures=3, **MODEL_B)
    with pytest.raises(DataError, match="galaxies found: 0"):
        cut_out(np.random.default_rng(0).normal(size=(80, 80)))
