"""Everything that first-party plugins register keeps the contracts; and the kit notices what does not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from zoo import registry
from zoo.host import load_plugins
from zoo.specs import ChannelSpec, DatasetSpec, ModelSpec
from zoo.testing.conformance import (
    ConformanceError,
    check_channel,
    check_dataset,
    check_model,
    check_parameters,
    check_simulator,
)

pytestmark = pytest.mark.slow  # every registered model

HOST = load_plugins(environment={})
# Plugin timm runs its own, larger models; one of them stands for the contract here. Others that are large are tested
# by their plugins in a narrow shape.
LISTED = [spec for spec in registry.listed(HOST, ModelSpec) if spec.namespace != "timm" and "large" not in spec.tags]
MODELS = [spec.id for spec in LISTED] + ["timm/resnet18"]

# A reader of the user's own files has nothing to show until it is told where they are; its plugin tests it.
DATASETS = [spec.id for spec in registry.listed(HOST, DatasetSpec) if "files" not in spec.tags]


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str) -> None:
    # One even size, a power of two, and one odd size, as by default, but quicker.
    check_model(HOST, name, image_sizes=(32, 33))


# `check_model` counts those of the others.
@pytest.mark.parametrize(
    "spec", [spec for spec in registry.listed(HOST, ModelSpec) if spec.id not in MODELS], ids=lambda spec: spec.id
)
def test_parameters_of_large_models(spec: ModelSpec) -> None:
    check_parameters(spec)


def test_every_model_states_its_parameters() -> None:
    assert [spec.id for spec in registry.listed(HOST, ModelSpec) if spec.parameters is None] == []


def test_a_wrong_number_of_parameters_is_noticed() -> None:
    spec = registry.find(HOST, ModelSpec, "gconv/z2cnn")
    with pytest.raises(ConformanceError, match=f"{spec.parameters:,} trainable parameters, but its spec states 7"):
        check_parameters(dataclasses.replace(spec, parameters=7))


@pytest.mark.parametrize("name", DATASETS)
def test_datasets(name: str) -> None:
    check_dataset(HOST, name)


@pytest.mark.parametrize("name", [spec.id for spec in registry.listed(HOST, ChannelSpec)])
def test_channels(name: str) -> None:
    check_channel(HOST, name, "modelB")


def test_simulator() -> None:
    check_simulator(HOST, "caustics", "modelB")


FAULTS = {
    "returned a Tensor, not a torch": "import torch; return torch.zeros(3)",
    "logits of shape": "return nn.Sequential(nn.Flatten(), nn.Linear(image_size**2, 2))",
    "changes no weight": "net = nn.Sequential(nn.Flatten(), nn.Linear(image_size**2, 3));"
    "net.register_forward_hook(lambda m, i, o: o * 0 + net[1].weight.sum() * 0); return net",
    "other images of its batch": "return nn.Sequential(nn.BatchNorm2d(1, track_running_stats=False), "
    "nn.Flatten(), nn.Linear(image_size**2, 3))",
    "declared exact under p4m": "return nn.Sequential(nn.Flatten(), nn.Linear(image_size**2, 3))",
}


@pytest.mark.parametrize("complaint", FAULTS)
def test_the_kit_notices(complaint: str, tmp_path: Path) -> None:
    name = f"faulty{list(FAULTS).index(complaint)}"
    source = tmp_path / f"{name}.py"
    source.write_text(
        "from zoo import ModelSpec, hookimpl\n"
        "def build(*, in_chans, num_classes, image_size):\n"
        "    from torch import nn\n"
        f"    {FAULTS[complaint]}\n"
        "@hookimpl\n"
        "def zoo_models():\n"
        f"    return [ModelSpec(id='{name}/net', target='{name}:build', group='p4m', equivariance='exact')]\n"
    )
    with pytest.raises(ConformanceError, match=complaint):
        check_model(load_plugins(files=[source], environment={}), f"{name}/net", image_sizes=(16,))


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"captions": {"colours": "{:.1f}"}}, "captions name 'colours'"),
        ({"slices": {"colours": "colour"}}, "slices name 'colours'"),
        ({"budgets": {"desktop": {"snr": 3.0}}}, "'desktop' is not a budget"),
        ({"budget_notes": {"desktop": "larger"}}, "'desktop' is not a budget"),
        ({"budget_phases": {"desktop": "*1"}}, "'desktop' is not a budget"),
    ],
)
def test_the_kit_notices_declarations_without_meaning(fields: dict[str, object], complaint: str) -> None:
    host = load_plugins(files=[Path(__file__).parent / "toys" / "toysky.py"], environment={})
    spec = host.specs[DatasetSpec]["toysky/discs"]
    check_dataset(host, spec.id)
    host.specs[DatasetSpec][spec.id] = dataclasses.replace(spec, **fields)
    with pytest.raises(ConformanceError, match=complaint):
        check_dataset(host, spec.id)
