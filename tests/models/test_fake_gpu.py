"""Forward passes on a CUDA device that is not there: torch's fake tensors refuse operations that mix devices."""

from __future__ import annotations

import pytest
import torch
from fakegpu import Copies, needs_fake_gpu
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import zoo
from zoo.data.augment import augment
from zoo.models.classifier import Classifier

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
