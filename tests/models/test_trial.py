"""The trial before a training: unusual networks run to the end, and what cannot run is refused before it."""

from __future__ import annotations

import random
import signal

import numpy as np
import oddnets
import pytest
import refusednets
import torch
from smallrun import SMALL, TOY

import zoo
from zoo.host import load_plugins
from zoo.models.classifier import build_classifier
from zoo.models.copies import copy_of
from zoo.models.load import load_weights
from zoo.models.trial import try_classifier, try_network
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.results import store
from zoo.run.cell import run_cell
from zoo.testing import ConformanceError, Options, check, require_passed
from zoo.train import fit as fit_module

UNTRAINED = Options(sizes=(12,), channels=(1,), classes=(3,), trainings=False)

PLUGINS = [TOY, TOY.with_name("oddnets.py"), TOY.with_name("refusednets.py")]


@pytest.fixture(scope="module")
def host():
    return load_plugins(files=PLUGINS, environment={})


@pytest.fixture
def bench(host, tmp_path):
    def go(model, folder="store", **settings):
        request = Request(
            models=[model],
            data=["toyzoo/stripes"],
            budget="smoke",
            device="cpu",
            settings={**SMALL, "train_images": 90, "epochs": 2, **settings},
        )
        [cell] = make_plan(host, request)
        run_dir = store.prepare_run(tmp_path / folder, cell)
        return run_cell(host, cell, run_dir, device="cpu"), run_dir

    return go


@pytest.mark.slow
@pytest.mark.parametrize("name", oddnets.TRAINABLE)
def test_unusual_networks_are_trained_saved_and_loaded(bench, host, name):
    result, run_dir = bench(f"oddnets/{name}", lr=0.01, epochs=1)
    assert result.status == "ok", result.error
    trained = load_weights(host, run_dir / store.WEIGHTS)
    arrays, _ = store.read_arrays(run_dir / store.PREDICTIONS)
    images = zoo.open_dataset("toyzoo/stripes", split="test", images=120, host=host).images
    np.testing.assert_allclose(
        trained.predict_proba(images, calibrated=False),
        torch.from_numpy(arrays["test.logits"]).softmax(1),
        atol=1e-5,
    )
    assert result.cost.macs != 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shared", "e2cnn"])
def test_unusual_networks_resume_to_the_same_bits(bench, host, monkeypatch, name):
    whole, whole_dir = bench(f"oddnets/{name}", "whole")
    emit = host.emit

    def interrupting(event, **arguments):
        if event == "zoo_epoch_ended":
            signal.raise_signal(signal.SIGINT)
        emit(event, **arguments)

    with monkeypatch.context() as patch:
        patch.setattr(host, "emit", interrupting)
        with pytest.raises(KeyboardInterrupt):
            bench(f"oddnets/{name}", "cut")
    epochs = []
    monkeypatch.setattr(host, "emit", lambda event, **arguments: epochs.append(arguments.get("epoch")))
    resumed, resumed_dir = bench(f"oddnets/{name}", "cut")
    assert [epoch for epoch in epochs if epoch] == [2]  # the first one is not trained again
    assert (resumed_dir / store.WEIGHTS).read_bytes() == (whole_dir / store.WEIGHTS).read_bytes()
    assert resumed.test == whole.test


@pytest.mark.parametrize("name", ["shared", "old_weight_norm", "lazy", "e2cnn"])
def test_the_kit_accepts_unusual_networks(host, name):
    require_passed(check(host, f"oddnets/{name}", options=UNTRAINED))


@pytest.mark.parametrize("name", refusednets.REFUSED)
def test_what_cannot_run_is_refused_before_training_by_bench_and_kit_alike(bench, host, monkeypatch, name):
    monkeypatch.setattr(fit_module, "Training", lambda *_, **__: pytest.fail("trained"))
    result, _ = bench(f"refusednets/{name}")
    assert result.status == "failed"
    said = refusednets.REFUSED[name]
    assert said in result.error
    with pytest.raises(ConformanceError) as caught:
        require_passed(check(host, f"refusednets/{name}", options=UNTRAINED))
    assert said.replace("network.", "") in str(caught.value)


@pytest.mark.parametrize("model", ["toyzoo/tiny", "oddnets/shared", "oddnets/old_spectral_norm"])
def test_the_trial_changes_neither_the_network_nor_random_numbers(host, model):
    torch.manual_seed(3)
    hparams = {"width": 4, "dropout": 0.2} if model == "toyzoo/tiny" else {}
    classifier = build_classifier(host, model, hparams, image_shape=(1, 12, 12), num_classes=3)
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    training = [module.training for module in classifier.modules()]
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002 - the global one is watched
    try_classifier(
        host,
        classifier,
        torch.randn(2, 1, 12, 12, generator=torch.Generator()),
        model=model,
        hparams=hparams,
        classes=3,
    )
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()  # noqa: NPY002 - the global one is watched
    assert states[2] == random.getstate()
    assert all(torch.equal(tensor, before[name]) for name, tensor in classifier.state_dict().items())
    assert [module.training for module in classifier.modules()] == training
    assert all(parameter.grad is None for parameter in classifier.parameters())


def test_a_network_that_fits_into_memory_for_one_image_only_is_tried_on_one():
    def build(limit):
        return oddnets.pooled_norm(in_chans=1, num_classes=3, image_size=6, limit=limit)

    images = torch.randn(2, 1, 6, 6)
    trial = try_network(build(2), images, classes=3, build=lambda: build(2), name="pooled")
    assert "Expected more than 1 value per channel" in trial.refuses_single
    with pytest.raises(torch.OutOfMemoryError, match="two images are too much, and pooled cannot be trained on one"):
        try_network(build(1), images, classes=3, build=lambda: build(1), name="pooled")
    import toyzoo

    hungry = toyzoo.hungry(in_chans=1, num_classes=3, image_size=6, limit=1)
    assert try_network(hungry, images, classes=3, build=lambda: copy_of(hungry), name="hungry").refuses_single == ""


def test_batch_norm_refuses_batches_of_one_image_before_training(bench, monkeypatch):
    monkeypatch.setattr(fit_module, "Training", lambda *_, **__: pytest.fail("trained"))
    result, _ = bench("oddnets/pooled_norm", batch_size=1)
    assert "oddnets/pooled_norm cannot be trained on batches of one image" in result.error
    assert "Expected more than 1 value per channel" in result.error


@pytest.mark.parametrize("images", [61, 31])
def test_a_last_batch_of_one_image_is_left_out(bench, images):
    result, _ = bench("oddnets/pooled_norm", train_images=images)
    assert result.status == "ok", result.error


@pytest.mark.parametrize(("limit", "batch_size", "parts"), [(2, 30, 15), (3, 30, 15), (3, 31, 15), (16, 31, 2)])
def test_out_of_memory_never_leaves_batch_norm_a_single_image(bench, limit, batch_size, parts):
    """31 images in 15 parts are 14 pairs and three images; in 31 parts, batch norm would end the run."""
    result, _ = bench("oddnets/pooled_norm", limit=limit, batch_size=batch_size, epochs=1)
    assert result.status == "ok", result.error
    assert result.cost.micro_batches == parts


@pytest.mark.parametrize("limit", [0, 1])
def test_too_little_memory_for_batch_norm_is_out_of_memory(bench, limit):
    result, _ = bench("oddnets/pooled_norm", limit=limit)
    assert result.status == "oom"
    assert "no room for" in result.error or "cannot be trained on one" in result.error


def test_memory_that_is_exhausted_later_is_out_of_memory_with_its_reason(bench, monkeypatch):
    """The trial passes, and two images do not fit into the memory that the optimizer leaves."""
    from zoo.train import loop

    class Small(loop.MovingAverage):
        def __init__(self, module, **options):
            super().__init__(module, **options)
            monkeypatch.setattr(type(module.network), "forward", self._fail)

        def _fail(self, images):
            raise torch.OutOfMemoryError(f"no room for {len(images)} images")

    monkeypatch.setattr(loop, "MovingAverage", Small)
    result, _ = bench("oddnets/pooled_norm")
    assert result.status == "oom"
    assert "cannot be trained on fewer than 2 images at a time, because of batch norm" in result.error
