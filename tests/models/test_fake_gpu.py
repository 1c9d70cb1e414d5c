"""Networks on devices that are not there: fake tensors of a CUDA device refuse operations that mix devices.

A backward pass of them needs the driver, so training steps are tried on the meta device, where most operations that mix
devices are refused, too.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from fakegpu import Copies, needs_fake_gpu
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import zoo
from zoo.data.augment import augment
from zoo.models.classifier import Classifier
from zoo.train.accumulate import accumulate
from zoo.train.average import MovingAverage

NETWORKS = (
    "gconv/z2", "gconv/p4", "gconv/p4m", "gconv/p4m_resnet18", "gconv/p4m_convnext", "gconv/octic_small",
    "escnn/c4", "escnn/d4", "e2cnn/d8_2021", "timm/resnet18", "timm/vit_tiny", "timm/convnext_atto",
)  # fmt: skip
LARGE = ("gconv/p4m_convnext", "gconv/octic_small", "e2cnn/d8_2021", "timm/resnet18", "timm/vit_tiny")


def logits_on_a_gpu(network: nn.Module, *, image_size: int) -> tuple[Tensor, list[str]]:
    """Return logits of four images on a fake CUDA device, and the copies between devices on the way."""
    named = [*network.named_parameters(), *network.named_buffers()]
    with torch.no_grad(), FakeTensorMode(), Copies() as copies:
        there = {name: torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda") for name, tensor in named}
        images = torch.empty(4, 1, image_size, image_size, device="cuda")
        return torch.func.functional_call(network, there, (images,)), copies.found


@pytest.mark.parametrize(
    ("model", "image_size"),
    [
        pytest.param(model, size, marks=[pytest.mark.slow] if model in LARGE else [])
        for model, size in zip(NETWORKS, (64, 65) * len(NETWORKS), strict=False)
    ],
)
@needs_fake_gpu
def test_networks_stay_on_the_device_of_their_images(model, image_size):
    network = Classifier(zoo.create_model(model, image_size=image_size), channels=1).train()
    logits, copies = logits_on_a_gpu(network, image_size=image_size)
    assert (logits.device.type, tuple(logits.shape)) == ("cuda", (4, 3))
    assert copies == []


@pytest.mark.parametrize("model", ["gconv/z2", "gconv/p4m", "gconv/p4m_resnet18", "gconv/octic_small", "timm/resnet18"])
def test_a_training_step_stays_on_the_device_of_the_images(model):
    """In micro-batches: loss, backward pass, clipping, AdamW, averaged weights."""
    classifier = Classifier(zoo.create_model(model, image_size=32), channels=1).to_empty(device="meta").train()
    average = MovingAverage(classifier, decay=0.9)
    optimizer = torch.optim.AdamW(classifier.parameters())
    images, labels = torch.empty(4, 1, 32, 32, device="meta"), torch.zeros(4, dtype=torch.int64, device="meta")
    fabric = SimpleNamespace(world_size=1, backward=Tensor.backward)

    def objective(some: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        logits = classifier(some)
        return nn.functional.cross_entropy(logits, own), logits

    with Copies() as copies:
        loss, logits, _ = accumulate(
            classifier, objective, images, labels, fraction=1.0, fabric=fabric, micro_batches=2, least_images=1
        )
        nn.utils.clip_grad_norm_(classifier.parameters(), 1.0)
        optimizer.step()
        average.update(classifier, step=1)
    assert copies.found == []
    assert (loss.device.type, tuple(logits.shape)) == ("meta", (4, 3))
    assert {tensor.device.type for tensor in average.module.state_dict().values()} == {"meta"}


@pytest.mark.parametrize(("kind", "copied"), [("none", 0), ("rotate", 1)])  # one matrix for each image
@needs_fake_gpu
def test_augmentation_copies_its_random_numbers_only(kind, copied):
    with FakeTensorMode(), Copies() as copies:
        images = torch.empty(4, 1, 32, 32, device="cuda")
        assert augment(images, kind, generator=torch.Generator()).device.type == "cuda"
    assert len(copies.found) == copied


@pytest.mark.parametrize("constant", ["torch.ones(2, 1, 1)", "torch.tensor(2.0).expand(2, 1, 1)"])
def test_a_constant_of_the_cpu_is_noticed(constant):
    class Mixed(nn.Module):
        def forward(self, images):
            return (images * eval(constant)).mean((1, 2, 3))

    with pytest.raises(RuntimeError, match="device"):
        logits_on_a_gpu(Mixed(), image_size=8)


def test_a_copy_to_the_device_is_noticed():
    class Copying(nn.Module):
        def forward(self, images):
            return images * torch.tensor([2.0, 3.0])[:, None, None].to(images.device)

    assert logits_on_a_gpu(Copying(), image_size=8)[1]
