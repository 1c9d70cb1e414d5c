"""Noise: the SNR that is asked for is the one that can be measured; nothing depends on the batch."""

from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from zoo.errors import MissingError, UsageError
from zoo.lensing import noise
from zoo.lensing.draws import Draws
from zoo.lensing.observe import Observed, Rendered, observe
from zoo.lensing.scenes import Exposure

SIZE, MANY = 9, 6000
# Standard error of a standard deviation from MANY values is 1/sqrt(2 MANY) = 0.9 %; four of them.
TOLERANCE = 4 / np.sqrt(2 * MANY)


def blob(peak: float, *, centre: tuple[int, int] = (3, 5), width: float = 1.5) -> np.ndarray:
    row, column = np.mgrid[:SIZE, :SIZE]
    return peak * np.exp(-((row - centre[0]) ** 2 + (column - centre[1]) ** 2) / (2 * width**2))


def exposure(count: int, *, seconds=300.0, sky=0.1, snr=np.nan, peak=np.nan) -> Exposure:
    return Exposure(**{name: np.full(count, value) for name, value in
                       {"seconds": seconds, "sky": sky, "snr": snr, "peak": peak}.items()})  # fmt: skip


def repeat(source: np.ndarray, lens_light: np.ndarray | None, count: int, **values: float) -> Observed:
    """Observe the same scene `count` times; the image index makes the noise differ."""
    copies = [None if image is None else torch.tensor(image).expand(count, -1, -1) for image in (source, lens_light)]
    rendered = Rendered(source=copies[0], lens_light=copies[1])
    return observe(rendered, exposure(count, **values), draws=Draws("noise", np.arange(count)))


@pytest.mark.parametrize("snr", [5.0, 34.0])
@pytest.mark.parametrize("with_lens_light", [False, True])
def test_snr_measured_over_many_exposures_is_the_wanted_one(snr, with_lens_light):
    source = blob(0.7)
    lens_light = blob(3.0, centre=(5, 4), width=2) if with_lens_light else None
    observed = repeat(source, lens_light, MANY, snr=snr, sky=0.3)
    images, scale = observed.image.double().numpy(), float(observed.scale[0])
    pixel = images[:, 3, 5]  # where the source, not the sum, is brightest
    under = 0.0 if lens_light is None else scale * lens_light[3, 5]
    assert (pixel.mean() - under) / pixel.std() == pytest.approx(snr, rel=TOLERANCE)
    assert observed.snr.numpy() == pytest.approx(np.full(MANY, snr), rel=1e-5)
    assert scale * source[3, 5] == pytest.approx(pixel.mean() - under, rel=4 / snr / np.sqrt(MANY))


@pytest.mark.parametrize("values", [{"sky": 1e300}, {"peak": 1e300}, {"seconds": 1e30}, {"snr": 1e5}, {"sky": np.nan}])
def test_more_counts_than_can_be_drawn_are_refused(values):
    """Before: images of NaN, or flat ones, without a word."""
    with pytest.raises(UsageError, match=r"would collect .* at most 2e\+09"):
        repeat(blob(0.7), None, 2, **{"peak": 4.0, **values})


def test_lens_light_is_scaled_with_the_source():
    source, lens_light = blob(0.7), blob(3.0, centre=(5, 4))
    observed = repeat(source, lens_light, MANY, snr=34)
    expected = float(observed.scale[0]) * (source + lens_light)
    error = np.sqrt((expected + 0.1) / 300 / MANY)
    assert (np.abs(observed.image.double().mean(0).numpy() - expected) < 4.5 * error).all()


def test_images_are_unbiased_and_every_pixel_has_poisson_variance():
    source = blob(2.0)
    images = repeat(source, None, MANY, sky=0.5, seconds=100).image.double().numpy()
    variance = (source + 0.5) / 100  # the sky is subtracted from the mean, not from the noise
    assert (np.abs(images.mean(0) - source) < 4.5 * np.sqrt(variance / MANY)).all()
    assert images.var(0) == pytest.approx(variance, rel=0.09)  # 4.5 standard errors of a variance, and Poisson's tail
    counts = (images + 0.5) * 100
    np.testing.assert_allclose(counts, np.round(counts), atol=2e-3)


def test_scaling_to_a_peak():
    observed = repeat(blob(0.02), None, 3, peak=4.06)
    assert observed.scale.numpy() == pytest.approx(np.full(3, 4.06 / 0.02), rel=1e-5)
    assert observed.snr.numpy() == pytest.approx(np.full(3, 4.06 * 300 / np.sqrt((4.06 + 0.1) * 300)), rel=1e-5)


def test_no_scaling_where_nothing_is_wanted():
    observed = repeat(blob(0.8), blob(0.3), 2)
    assert observed.scale.tolist() == [1, 1]
    assert observed.snr.numpy() == pytest.approx(np.full(2, 0.8 * 300 / np.sqrt((0.8 + 0.3 + 0.1) * 300)), rel=1e-5)


def test_a_wanted_snr_comes_before_a_wanted_peak():
    assert repeat(blob(0.8), None, 1, snr=12, peak=4).snr.numpy() == pytest.approx([12], rel=1e-5)


def test_without_sky_the_snr_is_the_root_of_the_counts():
    observed = repeat(blob(1.0), None, 1, snr=20, sky=0)
    assert float(observed.scale[0]) * 300 == pytest.approx(20**2, rel=1e-5)


@pytest.fixture(scope="module")
def batch() -> tuple[Rendered, Exposure]:
    random = np.random.default_rng(0)
    rendered = Rendered(
        source=torch.tensor(random.uniform(0.1, 1, (12, SIZE, SIZE))),
        lens_light=torch.tensor(random.uniform(0, 1, (12, SIZE, SIZE))),
    )
    return rendered, Exposure(
        seconds=random.uniform(100, 300, 12),
        sky=random.uniform(0.1, 0.5, 12),
        snr=np.where(np.arange(12) % 2, random.uniform(10, 30, 12), np.nan),
        peak=random.uniform(1, 5, 12),
    )


@pytest.mark.parametrize("chosen", [[0], [11], [7, 2, 2], list(range(12))[::-1]], ids=str)
def test_image_i_is_the_same_in_every_batch(batch, chosen):
    rendered, exposed = batch
    whole = observe(rendered, exposed, draws=Draws("s", np.arange(100, 112)))
    part = observe(
        Rendered(source=rendered.source[chosen], lens_light=rendered.lens_light[chosen]),
        replace(exposed, **{name: vars(exposed)[name][chosen] for name in ("seconds", "sky", "snr", "peak")}),
        draws=Draws("s", 100 + np.array(chosen)),
    )
    for name in ("image", "snr", "scale"):
        assert torch.equal(getattr(part, name), getattr(whole, name)[chosen])


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("shape", [(0, 9, 9), (1, 40, 40), (7, 64, 64), (3, 200, 180)], ids=str)
@pytest.mark.parametrize("sky", [0.0, 0.02, 3.0])  # below and above 10 counts torch uses two methods
@pytest.mark.parametrize("expected_images", [None, 10**9])  # many images: compiled code
def test_noise_is_that_of_one_image_after_the_other(shape, sky, threads, expected_images):
    """Bit by bit the Poisson numbers of torch with the image's seed, on any number of threads."""
    count = shape[0]
    random = torch.Generator().manual_seed(0)
    source = torch.rand(shape, generator=random) ** 4
    draws = Draws("s", np.arange(count))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        observed = observe(
            Rendered(source=source), exposure(count, sky=sky), draws=draws, expected_images=expected_images
        )
    finally:
        torch.set_num_threads(before)
    expected = torch.empty(shape)
    for i, seed in enumerate((draws.bits("noise")[:, 0] >> np.uint64(1)).tolist()):
        counts = torch.poisson((source[i] + sky) * 300, generator=torch.Generator().manual_seed(seed))
        expected[i] = counts / 300 - sky
    assert torch.equal(observed.image, expected)


@pytest.fixture
def draw():
    found = noise._native()
    if found is None:
        pytest.skip("no C++ compiler on this machine")
    return found


def one_after_the_other(means: torch.Tensor, seeds: list[int]) -> torch.Tensor:
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return torch.stack([torch.poisson(mean, generator=one) for mean, one in zip(means, generators, strict=True)])


@pytest.mark.parametrize("mean", [0.0, 1e-45, 0.3, 9.9999, 10.0, 33.0, 400.0, 5000.0, 1e6, 1e9, 1e14, 1e18])
@pytest.mark.parametrize("images", [1, 7, 8, 16, 21])  # one by one, and up to 16 side by side
def test_compiled_numbers_are_those_of_torch(draw, mean, images):
    means = mean * (1 + torch.rand((images, 60, 61), generator=torch.Generator().manual_seed(0)))
    seeds = [2**62 + 3 * image for image in range(images)]
    for threads in (1, 3):
        assert torch.equal(draw(means, seeds, threads), one_after_the_other(means, seeds))


@pytest.mark.parametrize("other", [0.0, 1e-30, 3.0, 1e18, float("inf")])
@pytest.mark.parametrize("place", [0, 1, 777, 899])
def test_an_unusual_pixel_changes_no_other(draw, other, place):
    """Below a mean of 10, numbers are not drawn side by side: from that pixel on in none of the images."""
    means = 20 + 200 * torch.rand((16, 30, 30), generator=torch.Generator().manual_seed(1)) ** 4
    means[5].view(-1)[place] = other
    assert torch.equal(draw(means, list(range(16)), 1), one_after_the_other(means, list(range(16))))


def test_compiled_code_ends_for_means_that_are_not_numbers(draw):
    means = torch.full((16, 30, 30), 50.0)
    expected = draw(means, list(range(16)), 1)
    means[3, 20, 7] = float("nan")
    counts = draw(means, list(range(16)), 1)
    assert counts[3, 20, 7] == 0
    kept = torch.arange(16) != 3
    assert torch.equal(counts[kept], expected[kept])


def test_compiled_code_refuses_too_few_seeds(draw):
    with pytest.raises(ValueError, match="too short"):
        draw(torch.ones(3, 4, 4), [1, 2], 1)


@pytest.mark.parametrize("shape", [(16, 0, 5), (0, 5, 5)])
def test_noise_of_no_pixels(shape):
    assert noise.poisson(torch.ones(shape), seeds=range(shape[0]), expected_images=10**12).shape == shape


def test_only_long_runs_compile(monkeypatch):
    asked = []
    monkeypatch.setattr(noise, "_native", lambda: asked.append(1))
    mean = torch.ones(2, 64, 64)
    for images in (None, 2000, 100_000):
        noise.poisson(mean, seeds=[1, 2], expected_images=images)
    assert asked == [1]


@pytest.mark.parametrize("fault", ["no compiler", "other numbers"])
def test_torch_draws_where_compiled_code_cannot(monkeypatch, fault):
    if fault == "no compiler":
        monkeypatch.setattr(noise, "load_native", Mock(side_effect=MissingError("There is no C++ compiler.")))
    else:
        monkeypatch.setattr(noise, "_by_torch", lambda mean, seed: mean)
    assert noise._native.__wrapped__() is None


def test_noise_differs_between_images_and_between_streams():
    source = torch.tensor(blob(2.0)).expand(200, -1, -1)
    first, other = (
        observe(Rendered(source=source), exposure(200), draws=Draws(seed, np.arange(200))).image.double()
        for seed in ("train", "test")
    )
    noise = (torch.cat([first, other]) - source[0]) / torch.sqrt(source[0] + 0.1)
    correlation = np.corrcoef(noise.flatten(1).numpy())
    off_diagonal = correlation[np.triu_indices(400, 1)]
    assert np.abs(off_diagonal).max() < 6 / SIZE  # equal noise would give 1
    assert off_diagonal.std() == pytest.approx(1 / SIZE, rel=0.05)


def test_observing_does_not_touch_the_global_generator():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    repeat(blob(1.0), None, 2)
    assert torch.equal(torch.rand(3), expected)


def test_result_is_float32_whatever_the_simulator_returns():
    observed = repeat(blob(1.0).astype(np.float64), None, 2, snr=10)
    assert {observed.image.dtype, observed.snr.dtype, observed.scale.dtype} == {torch.float32}


def test_images_that_are_scaled_by_their_own_noise_have_none_without_it():
    with pytest.raises(UsageError, match="scaled by their own noise"):
        observe(
            Rendered(source=torch.tensor(blob(0.7))[None]),
            replace(exposure(1, snr=20.0), scaling="minmax"),
            draws=Draws("noise", np.arange(1)),
            noiseless=True,
        )
