"""One function builds every network: fixed arguments, defaults and settings reach the target; faults are named."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo.errors import MissingError, TrainingError, UsageError
from zoo.models.network import build_network
from zoo.specs import ModelSpec

SHAPE = {"in_chans": 1, "num_classes": 3, "image_size": 8}


class Recorder(nn.Module):
    """Keep what the target was called with, and change a list in it."""

    def __init__(self, **given):
        super().__init__()
        self.given = {name: list(value) if isinstance(value, list) else value for name, value in given.items()}
        for value in given.values():
            if isinstance(value, list):
                value.append("changed")


def raises(**given):
    raise ValueError("no such luck")


def asserts(**given):
    raise AssertionError


def refuses(**given):
    raise UsageError("width is 0, but must be 1 or more.")


def spec(target="Recorder", **fields):
    return ModelSpec(id="mine/net", target=f"{__name__}:{target}", **fields)


def test_arguments_defaults_and_settings_reach_the_target():
    described = spec(arguments={"group": "p4", "layers": [1, 2]}, defaults={"widths": [4, 5], "dropout": 0.0})
    network = build_network(described, **SHAPE, hparams={"dropout": 0.5})
    assert network.given == {**SHAPE, "group": "p4", "layers": [1, 2], "widths": [4, 5], "dropout": 0.5}


def test_a_target_that_changes_a_list_changes_no_spec_and_no_setting():
    described = spec(arguments={"layers": [1]}, defaults={"widths": [4], "blocks": [2]})
    hparams = {"blocks": [3]}
    for _ in range(2):
        network = build_network(described, **SHAPE, hparams=hparams)
        assert network.given == {**SHAPE, "layers": [1], "widths": [4], "blocks": [3]}
    assert hparams == {"blocks": [3]}


def test_arguments_cannot_be_set():
    described = spec(arguments={"group": "p4"}, defaults={"width": 4})
    with pytest.raises(UsageError, match="mine/net has no hyper-parameter 'group'"):
        build_network(described, **SHAPE, hparams={"group": "p4m"})
    with pytest.raises(UsageError, match=r"no hyper-parameter 'widht'\. Did you mean 'width'"):
        build_network(described, **SHAPE, hparams={"widht": 3})


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("raises", TrainingError, "mine/net cannot be built: ValueError: no such luck"),
        ("asserts", TrainingError, "mine/net cannot be built: AssertionError$"),
        ("refuses", UsageError, "^width is 0, but must be 1 or more.$"),
        ("dict", TrainingError, r"mine/net: .*:dict returned a dict, not a torch\.nn\.Module"),
        ("absent", MissingError, "mine/net cannot be loaded from .*absent"),
    ],
)
def test_what_the_target_does_wrong_is_named(monkeypatch, target, error, message):
    monkeypatch.setitem(globals(), "dict", dict)
    with pytest.raises(error, match=message):
        build_network(spec(target), **SHAPE, hparams={})


def test_a_listed_network_is_built_by_its_family():
    from zoo.host import load_plugins
    from zoo.registry import find

    host = load_plugins(environment={})
    p4, p4m = (find(host, ModelSpec, f"gconv/{name}") for name in ("p4", "p4m"))
    assert p4.target == p4m.target
    orders = [build_network(each, **{**SHAPE, "image_size": 64}, hparams={}).order for each in (p4, p4m)]
    assert orders == [4, 8]
    assert torch.is_tensor(build_network(p4, **{**SHAPE, "image_size": 64}, hparams={})(torch.zeros(1, 1, 64, 64)))
