"""Training images whose noise is drawn anew in every epoch."""

import numpy as np
import pytest
import torch
from safetensors import safe_open

import zoo
from zoo.data.new_noise import NewNoise
from zoo.data.open import Dataset
from zoo.data.part import BatchPart
from zoo.errors import UsageError
from zoo.host import load_plugins
from zoo.models.pixels import peak_and_noise
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.plan.settings import TrainingSettings
from zoo.scores.unlike import Detector

CPU = torch.device("cpu")
SETTINGS = {"train_images": 96, "val_images": 48, "test_images": 48, "epochs": 2, "train.phases": "none"}


@pytest.fixture(scope="module")
def host():
    return load_plugins(environment={})


def plan(host, **settings):
    names = {"data": ["modelB"], **{name: settings.pop(name) for name in ("data", "images") if name in settings}}
    request = Request(models=["gconv/z2"], budget="smoke", baselines=False, settings={**SETTINGS, **settings}, **names)
    return make_plan(host, request)[0]


def dataset(host, cell, **options):
    return Dataset(host, cell.recipe, cell.sizes, **options)


@pytest.fixture(scope="module")
def splits(host):
    cell = plan(host, new_noise=True)
    return [dataset(host, cell, new_noise=new).split("train") for new in (False, True)]


def images(batches, epoch, **options):
    return torch.cat([found for found, _ in batches.epoch(epoch, 32, **options)])


def test_only_training_images_are_without_noise(host, splits):
    noisy, noiseless = splits
    assert not np.array_equal(noisy.images, noiseless.images)
    cell = plan(host, new_noise=True)
    for name in ("val", "test"):
        usual, same = (dataset(host, cell, new_noise=new).recipe_of(name) for new in (False, True))
        assert usual.hash == same.hash
    assert np.array_equal(noisy.labels, noiseless.labels)


def test_the_noise_is_that_of_the_telescope(splits):
    """Mean 0, variance that of the counts, as in images that are simulated with noise."""
    noisy, noiseless = splits
    exposed = np.stack([images(NewNoise(noiseless, device=CPU, seed=0), epoch).numpy() for epoch in range(1, 41)])
    seconds, sky = (noiseless.truth[f"truth.exposure.{name}"][:, None, None, None] for name in ("seconds", "sky"))
    sigma = np.sqrt((noiseless.images + sky) / seconds)
    pull = (exposed - noiseless.images) / sigma
    assert abs(pull.mean()) < 0.003  # of 4e6 pixels
    assert abs(pull.std() - 1) < 0.003
    assert abs((exposed.mean(0) - noiseless.images).std() / sigma.mean() - 40**-0.5) < 0.01
    once = (noisy.images - noiseless.images) / sigma
    assert abs(once.mean()) < 0.01
    assert abs(once.std() - 1) < 0.01


def test_noise_depends_on_seed_epoch_and_image_alone(splits):
    def order():
        return torch.Generator().manual_seed(3)

    first, again, other = (NewNoise(splits[1], device=CPU, seed=seed) for seed in (0, 0, 1))
    whole = images(first, 1)
    assert torch.equal(whole, images(again, 1))
    assert not torch.equal(whole, images(first, 2))
    assert not torch.equal(whole, images(other, 1))
    shuffled = images(first, 1, shuffle=order())
    assert torch.equal(shuffled, whole[torch.randperm(96, generator=order())])
    parts = [images(first, 1, part=BatchPart.of_process(rank, processes=2, whole=32)) for rank in (0, 1)]
    assert torch.equal(torch.cat([parts[0][:16], parts[1][:16]]), whole[:32])


def test_run_ids_without_it_still_hold(host):
    assert "new_noise" not in TrainingSettings().recorded()
    assert plan(host).run_id == plan(host, new_noise=False).run_id != plan(host, new_noise=True).run_id


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": ["rotmnist5k"], "train.phases": ""}, "contain noise already"),
        ({"stream": True}, "a stream"),
        ({"data.channels": "image,residual"}, "computed again in every epoch"),
        ({"new_noise": "often"}, "must be true or false"),
        ({"data.scaling": "minmax"}, "scaled by their own noise"),
        ({"train.scaling": "minmax"}, "scaled by their own noise"),
        ({"train.phases": "scaling=minmax*1, *1"}, "scaled by their own noise"),
        ({"new_noise": False, "z2.new_noise": True, "train.scaling": "minmax"}, "scaled by their own noise"),
    ],
)
def test_it_needs_simulated_images(host, settings, message):
    with pytest.raises(UsageError, match=message):
        plan(host, **{"new_noise": True, **settings})


def test_a_network_without_new_noise_may_be_trained_on_scaled_images(host):
    cell = plan(host, **{"new_noise": True, "z2.new_noise": False, "train.scaling": "minmax"})
    assert not cell.training.get("new_noise")


@pytest.mark.slow
def test_what_weights_state_of_the_training_images_is_of_images_with_noise(tmp_path, monkeypatch):
    """Brightness, noise and the detector of other images; without noise, `zoo predict` would warn of every image."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    sizes = {"train_images": 96, "val_images": 32, "test_images": 32, "epochs": 1, "batch_size": 32}
    abouts, distances = [], []
    for settings in (sizes, {**sizes, "new_noise": True}):
        [result] = zoo.bench(
            "gconv/z2", "modelB", budget="smoke", device="cpu", baselines=False, settings=settings, store=tmp_path
        )
        assert result.status == "ok", result.error
        trained = zoo.load(result.run_dir)
        abouts.append(trained.about)
        lenses = zoo.open_dataset("modelB", split="test", images=32, image_size=64, pixel_scale=0.1)
        distances.append(np.median(Detector.of(trained.detector).distances(lenses.images)))
        with safe_open(result.run_dir / "examples.safetensors", "np") as examples:
            noise = peak_and_noise(examples.get_tensor("images"))[1]
        assert trained.about.pixels.noise[0] < np.median(noise) < trained.about.pixels.noise[-1]
    plain, new = (about.pixels for about in abouts)
    assert new.peak == pytest.approx(plain.peak, rel=0.2)
    assert new.noise == pytest.approx(plain.noise, rel=0.1)
    assert distances[1] == pytest.approx(distances[0], rel=0.2)
