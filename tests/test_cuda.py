"""CUDA against the CPU: networks, images, noise, runs. Skipped without a GPU: uv run pytest tests/test_cuda.py."""

from __future__ import annotations

import contextlib
import copy
import json

import numpy as np
import pytest
import torch
from torch import nn

import zoo
from zoo import registry
from zoo.data.augment import AUGMENTATIONS, augment
from zoo.data.drawn import first_scenes
from zoo.data.open import Dataset
from zoo.data.rotation import transform_d4
from zoo.data.stream import STREAM, Stream
from zoo.devices import in_float32
from zoo.host import load_plugins
from zoo.lensing.noise import poisson
from zoo.models.classifier import Classifier
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.results import store
from zoo.run.cell import run_cell
from zoo.specs import ModelSpec, SimulatorSpec
from zoo.train import loop
from zoo.train.accumulate import accumulate
from zoo.train.checkpoint import CHECKPOINT
from zoo.train.cuda_graphs import GraphedForward
from zoo.train.fabric import make_fabric
from zoo.train.few_channels import FewChannelsInPieces
from zoo.train.fit import prepare

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

NETWORKS = (
    "gconv/z2", "gconv/p4", "gconv/p4m", "gconv/p4m_resnet18", "gconv/p4m_convnext", "gconv/octic_small",
    "escnn/c4", "escnn/d4", "escnn/c8", "escnn/so2", "e2cnn/d8_2021",
    "timm/resnet18", "timm/vit_tiny", "timm/convnext_atto",
)  # fmt: skip
SIZES = {"train_images": 96, "val_images": 48, "test_images": 48}
SMALL = {**SIZES, "epochs": 2, "batch_size": 32}


@pytest.fixture(scope="module")
def plugins():
    return load_plugins(environment={})


def run(plugins, folder, model, *, data="modelA", precision="auto", device="cuda", render_on="auto", **settings):
    settings = {**(SIZES if model.startswith("baselines/") else SMALL), **settings}
    request = Request(
        models=[model], data=[data], budget="smoke", device=device, render_on=render_on, precision=precision,
        baselines=False, settings=settings, store=folder,
    )  # fmt: skip
    [cell] = make_plan(plugins, request)
    run_dir = store.prepare_run(folder, cell)
    return run_cell(plugins, cell, run_dir, device=device)


def distance(there: torch.Tensor, here: torch.Tensor) -> float:
    """Return |there - here| / |here|."""
    here = here.double()
    return float((there.detach().cpu().double() - here).norm() / here.norm().clamp(min=1e-12))


@pytest.mark.parametrize("model", NETWORKS)
def test_logits_and_gradients_are_those_of_the_cpu(model):
    torch.manual_seed(0)
    here = zoo.create_model(model, image_size=64).train()
    for module in here.modules():  # random numbers differ between devices
        if "drop" in type(module).__name__.lower():
            module.eval()
    there = copy.deepcopy(here).cuda()
    images, labels = torch.randn(6, 1, 64, 64), torch.arange(6) % 3
    logits = []
    with in_float32():
        for network, device in ((here, "cpu"), (there, "cuda")):
            logits.append(network(images.to(device)))
            nn.functional.cross_entropy(logits[-1], labels.to(device)).backward()
    assert distance(logits[1], logits[0].detach()) < 1e-3
    gradients = [
        torch.cat([p.grad.flatten().cpu() for p in net.parameters() if p.grad is not None]) for net in (there, here)
    ]
    assert distance(*gradients) < 1e-2


@pytest.mark.parametrize("model", ["gconv/p4m", "gconv/p4m_resnet18", "gconv/octic_small", "escnn/d4"])
def test_logits_do_not_change_under_the_symmetries(model):
    torch.manual_seed(0)
    network = zoo.create_model(model, image_size=65).eval().cuda()
    images = torch.randn(4, 1, 65, 65, device="cuda")
    with torch.inference_mode(), in_float32():
        logits = [network(transform_d4(images, element)) for element in range(8)]
    assert max(float((turned - logits[0]).abs().max()) for turned in logits) < 1e-4 * float(logits[0].abs().max())


@pytest.mark.parametrize("name", ["modelA", "modelB", "modelA_tnfw", "modelA_multipoles", "modelB_lens_light"])
@pytest.mark.parametrize("compiled", [False, True])
def test_rendered_images_are_those_of_the_cpu(plugins, name, compiled):
    size = {"image_size": 64, "pixel_scale": 0.1}
    _, population, scenes = first_scenes(plugins, name, images=12, params=size, seed=0)
    render = registry.load_target(registry.find(plugins, SimulatorSpec, "caustics"))
    exact = render(scenes, population.instrument, device="cpu", dtype=torch.float64).source
    there = render(scenes, population.instrument, device="cuda", compiled=compiled).source
    assert there.is_cuda
    assert float((there.cpu() - exact).abs().amax() / exact.amax()) < 1e-4
    one = render(scenes[np.array([5])], population.instrument, device="cuda", compiled=compiled).source
    np.testing.assert_allclose(one[0].cpu(), there[5].cpu(), atol=2e-6 * float(exact.amax()))


def test_noise_is_poisson_and_depends_on_the_seed_alone():
    means = torch.tensor([0.5, 20.0, 1e5], device="cuda")[:, None, None].expand(3, 256, 256)
    counts = poisson(means, seeds=[1, 2, 3])
    assert torch.equal(counts, poisson(means, seeds=[1, 2, 3]))
    assert torch.equal(counts[1:2], poisson(means[1:2], seeds=[2]))
    error = (counts.double().mean((1, 2)) - means[:, 0, 0]) / (means[:, 0, 0] / 256**2).sqrt()
    assert float(error.abs().max()) < 5
    np.testing.assert_allclose((counts.double().var((1, 2)) / means[:, 0, 0]).cpu(), 1, atol=0.03)


@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_augmentation_is_that_of_the_cpu(kind):
    images = torch.randn(64, 1, 33, 33)
    here = augment(images, kind, generator=torch.Generator().manual_seed(3))
    there = augment(images.cuda(), kind, generator=torch.Generator().manual_seed(3))
    np.testing.assert_allclose(there.cpu(), here, atol=0 if kind != "rotate" else 1e-3)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_a_run_is_scored_in_float32_and_its_weights_answer_the_same_on_the_cpu(plugins, tmp_path, precision):
    result = run(plugins, tmp_path, "gconv/p4m", precision=precision)
    assert result.status == "ok", result.error
    assert result.device.startswith("cuda")
    assert result.cell.recipe.device_type == "cuda"
    assert result.cost.peak_memory_bytes > 0
    data = Dataset(plugins, result.cell.recipe, result.cell.sizes)
    images = torch.from_numpy(np.concatenate([np.asarray(chunk) for chunk in data.split("test").chunks]))
    trained = zoo.load(result.run_dir, host=plugins)
    with torch.inference_mode():
        logits = trained(images)
    stored = torch.from_numpy(store.read_arrays(result.run_dir / store.PREDICTIONS)[0]["test.logits"])
    assert distance(stored, logits) < 1e-3
    assert float(result.equivariance.after.declared.error) < 1e-4


@pytest.mark.parametrize("model", ["escnn/c4", "timm/resnet18", "baselines/scalars_boosted", "baselines/flexible_lens"])
def test_networks_of_every_kind_run(plugins, tmp_path, model):
    result = run(plugins, tmp_path, model)
    assert result.status == "ok", result.error


def test_a_run_on_stored_images_of_either_device(plugins, tmp_path):
    """The images' noise is that of the device which made them; so the recipe says which."""
    here, there = (run(plugins, tmp_path, "gconv/z2", device=device, precision="fp32") for device in ("cpu", "cuda"))
    assert here.status == there.status == "ok"
    assert here.data.recipe_hash != there.data.recipe_hash


@pytest.mark.parametrize("setting", [{}, {"new_noise": True}, {"stream": True}])
def test_a_training_on_images_of_the_cpu(plugins, tmp_path, setting):
    result = run(plugins, tmp_path, "gconv/p4", render_on="cpu", **setting)
    assert (result.status, result.cell.recipe.device_type) == ("ok", "cpu")
    assert result.device.startswith("cuda")


@pytest.mark.parametrize("phases", ["", "mass_scale=4*1, mass_scale=1*1"])
def test_a_stream_gives_the_images_of_their_numbers(plugins, tmp_path, phases):
    extra = {"train.phases": phases} if phases else {}
    result = run(plugins, tmp_path, "gconv/z2", stream=True, **extra)
    assert result.status == "ok", result.error
    data = Dataset(plugins, result.cell.recipe, result.cell.sizes)
    simulation = data.simulation(expected_images=96)
    stream = Stream(simulation, images=96, device=torch.device("cuda"))
    expected = simulation.arrays(STREAM, np.arange(96))
    for threaded in (True, False):
        stream = Stream(simulation, images=96, device=torch.device("cuda"), threaded=threaded)
        images = torch.cat([some for some, _ in stream.epoch(1, 32)])
        np.testing.assert_allclose(images.cpu(), expected["image"], rtol=0, atol=1e-6)


def test_an_interrupted_training_goes_on(plugins, tmp_path, monkeypatch):
    request = Request(
        models=["gconv/z2"], data=["modelA"], budget="smoke", device="cuda", baselines=False, settings=SMALL,
        store=tmp_path,
    )  # fmt: skip
    [cell] = make_plan(plugins, request)
    run_dir = store.prepare_run(tmp_path, cell)

    whole = loop.write_checkpoint

    def interrupted(*args, **kwargs):
        whole(*args, **kwargs)
        raise RuntimeError("interrupted")

    monkeypatch.setattr(loop, "write_checkpoint", interrupted)
    assert run_cell(plugins, cell, run_dir, device="cuda").status == "failed"
    assert (run_dir / CHECKPOINT).exists()
    monkeypatch.setattr(loop, "write_checkpoint", whole)
    run_dir = store.prepare_run(tmp_path, cell)
    result = run_cell(plugins, cell, run_dir, device="cuda")
    assert result.status == "ok", result.error
    epochs = [json.loads(line)["epoch"] for line in (run_dir / store.HISTORY).read_text().splitlines()]
    assert epochs == [1, 2]


def test_a_batch_that_is_too_large_is_split_with_the_same_gradient():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 64, 3, padding=1), nn.GELU(), nn.Conv2d(64, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    network.cuda()
    images, labels = torch.randn(128, 1, 256, 256, device="cuda"), torch.arange(128, device="cuda") % 3
    fabric = make_fabric(torch.device("cuda"), "fp32")
    module = fabric.setup_module(network)

    def objective(images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = module(images)
        return nn.functional.cross_entropy(logits, labels), logits

    def gradient(micro_batches: int) -> tuple[torch.Tensor, int]:
        network.zero_grad()
        *_, used = accumulate(
            module, objective, images, labels, fraction=1.0, fabric=fabric, micro_batches=micro_batches,
            least_images=1,
        )  # fmt: skip
        return torch.cat([p.grad.flatten() for p in network.parameters()]), used

    whole, parts = gradient(1)
    assert parts == 1
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(1.5 * 2**30 / total)
    try:
        split, parts = gradient(1)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert parts > 1
    assert distance(split, whole.cpu()) < 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "shape", [(128, 10, 256, 32), (16, 4, 8 * 75, 75), (64, 64, 32, 32), (8, 3, 65, 65), (300, 7, 401)]
)
def test_batch_norm_of_few_channels_is_that_of_torch(shape, dtype):
    torch.manual_seed(0)
    maps, slope = (3 * torch.randn(shape, device="cuda") + 2).to(dtype), torch.randn(shape, device="cuda").to(dtype)
    exact = nn.BatchNorm1d(shape[1]).cuda().double()
    nn.init.uniform_(exact.weight), nn.init.uniform_(exact.bias)
    found: list[list[torch.Tensor]] = []
    for mode in (contextlib.nullcontext(), FewChannelsInPieces()):
        layer, own = copy.deepcopy(exact), maps
        if found:
            layer = layer.float()
        else:
            own = maps.double()
        own = own.detach().clone().requires_grad_()
        with mode:
            out = nn.functional.batch_norm(
                own, layer.running_mean, layer.running_var, layer.weight, layer.bias, True, 0.1, 1e-5
            )
        out.backward(slope.to(out.dtype))
        assert out.dtype == own.dtype
        found.append([out, own.grad, layer.weight.grad, layer.bias.grad, layer.running_mean, layer.running_var])
    for expected, got in zip(*found, strict=True):
        assert distance(got, expected.detach().cpu()) < (1e-5 if dtype == torch.float32 else 1e-2)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("model", NETWORKS)
def test_a_replayed_pass_is_the_usual_one(plugins, model, precision):
    """Losses, gradients and running statistics of steps on changing images."""
    if not registry.find(plugins, ModelSpec, model).cuda_graphs:
        pytest.skip("its spec does not declare it")
    fabric = make_fabric(torch.device("cuda"), precision)
    generator = torch.Generator().manual_seed(1)
    batches = [torch.randn(32, 1, 64, 64, generator=generator).cuda() for _ in range(4)]
    labels = torch.arange(32).cuda() % 3
    torch.manual_seed(0)
    network = zoo.create_model(model, image_size=64).train()
    for module in network.modules():  # its random numbers come in another order
        if "drop" in type(module).__name__.lower():
            module.eval()
    found = []
    for replayed in (False, True):
        classifier = Classifier(copy.deepcopy(network), channels=1).cuda()
        module, optimizer = fabric.setup(classifier, torch.optim.SGD(classifier.parameters(), lr=1e-4))
        forward = GraphedForward(module, classifier, fabric, allowed=lambda: True) if replayed else module
        logits = []
        for images in batches:
            with FewChannelsInPieces():
                logits.append(forward(images).float().clone())
            fabric.backward(nn.functional.cross_entropy(logits[-1], labels))
            gradient = torch.cat([each.grad.flatten() for each in classifier.parameters() if each.grad is not None])
            optimizer.step()
            optimizer.zero_grad()
        buffers = [each.flatten().float() for each in classifier.buffers()]
        found.append([torch.cat(logits).detach(), gradient.clone(), torch.cat(buffers)])
        if replayed:
            assert forward._captured is not None
    tolerance = 1e-3 if precision == "fp32" else 5e-2  # the libraries may choose other algorithms
    for usual, graphed in zip(*found, strict=True):
        assert distance(graphed, usual.cpu()) < tolerance


def test_a_training_is_replayed_and_goes_on(plugins, tmp_path, monkeypatch, caplog):
    """An interrupted training with graphs and dropout ends as the uninterrupted one does."""
    caplog.set_level("INFO", logger="zoo.train.cuda_graphs")
    whole = run(plugins, tmp_path / "whole", "gconv/p4m", epochs=3, **{"model.dropout": 0.2})
    written = loop.write_checkpoint

    def stop(path, state, *rest):
        written(path, state, *rest)
        if state.epoch == 1:
            raise RuntimeError("interrupted")

    monkeypatch.setattr(loop, "write_checkpoint", stop)
    assert run(plugins, tmp_path / "parts", "gconv/p4m", epochs=3, **{"model.dropout": 0.2}).status == "failed"
    monkeypatch.setattr(loop, "write_checkpoint", written)
    parts = run(plugins, tmp_path / "parts", "gconv/p4m", epochs=3, **{"model.dropout": 0.2})
    assert "no CUDA graph" not in caplog.text
    assert parts.test.auc == pytest.approx(whole.test.auc, abs=1e-3)


def test_training_does_not_leave_the_device(plugins, tmp_path):
    """Everything that a step needs is on the device: torch refuses operations that mix devices."""
    request = Request(
        models=["gconv/p4m"], data=["modelA"], budget="smoke", device="cuda", baselines=False, settings=SMALL,
        store=tmp_path,
    )  # fmt: skip
    [cell] = make_plan(plugins, request)
    prepared = prepare(plugins, cell, store.prepare_run(tmp_path, cell), device=torch.device("cuda"))
    tensors = [*prepared.classifier.parameters(), *prepared.classifier.buffers()]
    assert {tensor.device.type for tensor in tensors} == {"cuda"}


@pytest.mark.parametrize("angle", [0.0, 17.0])
def test_bundled_weights_score_as_on_the_cpu(angle):
    here, there = (zoo.evaluate("p4m.modelA", images=64, angle=angle, device=device) for device in ("cpu", "cuda"))
    assert abs(here.auc["macro"] - there.auc["macro"]) < 0.08  # other noise
