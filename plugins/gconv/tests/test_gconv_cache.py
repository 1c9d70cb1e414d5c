"""The cached filter bank follows every change of the weight, is not part of the state, and does not block gradients."""

import copy
import io

import pytest
import torch
from torch import nn
from zoo_gconv.layers import P4ConvZ2, P4MConvP4M


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return P4MConvP4M(2, 3, 3).eval()


@pytest.fixture
def maps():
    return torch.randn(2, 16, 6, 6)


def fresh(layer, maps):
    """The output without any cache."""
    return nn.functional.conv2d(maps.to(layer.weight.dtype), layer.expand(), padding=1)


def warm(layer, maps):
    """Fill the cache, and show that it is used: the very same bank twice."""
    with torch.no_grad():
        layer(maps.to(layer.weight.dtype))
        assert layer.filter_bank() is layer.filter_bank()


def assert_fresh(layer, maps):
    with torch.no_grad():
        assert torch.equal(layer(maps.to(layer.weight.dtype)), fresh(layer, maps))


def step_with(optimizer_class, **options):
    def change(layer):
        optimizer = optimizer_class(layer.parameters(), lr=0.1, **options)
        layer.weight.grad = torch.ones_like(layer.weight)
        optimizer.step()

    return change


def load(layer, *, assign):
    state = {name: torch.randn_like(value) for name, value in layer.state_dict().items()}
    layer.load_state_dict(state, assign=assign)


def edit_in_place(layer):
    with torch.no_grad():
        layer.weight[0].mul_(2)


def replace_data(layer):
    layer.weight.data = torch.randn_like(layer.weight)


def replace_data_twice(layer):
    for _ in range(2):
        layer.weight.data = torch.randn_like(layer.weight)


def replace_parameter(layer):
    layer.weight = nn.Parameter(torch.randn_like(layer.weight))


def edit_data(layer):
    layer.weight.data.mul_(2)


CHANGES = {
    "sgd": step_with(torch.optim.SGD),
    "adamw": step_with(torch.optim.AdamW),
    "adamw foreach": step_with(torch.optim.AdamW, foreach=True),
    "adamw fused": step_with(torch.optim.AdamW, fused=True),
    "load_state_dict": lambda layer: load(layer, assign=False),
    "load_state_dict assign": lambda layer: load(layer, assign=True),
    "in place": edit_in_place,
    "replace data": replace_data,
    "replace data twice": replace_data_twice,
    "replace parameter": replace_parameter,
    "edit data": edit_data,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_output_follows_the_weight(layer, maps, change):
    warm(layer, maps)
    before = layer.filter_bank().detach().clone()
    change(layer)
    assert not torch.equal(layer.expand(), before)
    assert_fresh(layer, maps)


def test_output_follows_the_dtype(layer, maps):
    warm(layer, maps)
    layer.double()
    assert layer(maps.double()).dtype == torch.float64
    assert_fresh(layer, maps)


def test_train_mode_drops_the_cache_and_makes_none(layer, maps):
    warm(layer, maps)
    layer.train()
    with torch.no_grad():
        assert layer.filter_bank() is not layer.filter_bank()


def test_gradients_reach_the_weight_in_eval_mode(layer, maps):
    warm(layer, maps)
    layer(maps).sum().backward()
    assert layer.weight.grad.abs().sum() > 0


def test_frozen_weight_is_cached_and_lets_gradients_reach_the_input(layer, maps):
    layer.requires_grad_(False)
    with torch.inference_mode():
        layer(maps)
    maps.requires_grad_()
    layer(maps).sum().backward()
    assert layer.filter_bank() is layer.filter_bank()
    assert maps.grad.abs().sum() > 0


def test_weights_made_in_inference_mode_work(maps):
    with torch.inference_mode():
        layer = P4MConvP4M(2, 3, 3).eval()
        first = layer(maps)
        layer.weight.mul_(2)
        torch.testing.assert_close(layer(maps), 2 * first)


def test_substituted_weights_are_used(layer, maps):
    warm(layer, maps)
    weight = torch.randn_like(layer.weight)
    with torch.no_grad():
        result = torch.func.functional_call(layer, {"weight": weight}, (maps,))
        assert_fresh(layer, maps)
        layer.weight.copy_(weight)
    assert torch.equal(result, fresh(layer, maps))


def test_state_dict_is_the_same_in_train_and_eval_mode_warm_or_cold(layer, maps):
    warm(layer, maps)
    in_eval = layer.state_dict()
    in_train = layer.train().state_dict()
    assert list(in_eval) == list(in_train) == ["weight"]
    assert layer.state_dict()["weight"].shape == (3, 2, 8, 3, 3)


def through_pickle(layer):
    stream = io.BytesIO()
    torch.save(layer, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=False)


@pytest.mark.parametrize("copy_of", [copy.deepcopy, copy.copy, through_pickle])
def test_copies_are_right_and_carry_no_cache(layer, maps, copy_of):
    warm(layer, maps)
    twin = copy_of(layer)
    assert twin._cache is None
    with torch.no_grad():
        assert torch.equal(twin(maps), layer(maps))
    edit_in_place(twin)
    assert_fresh(twin, maps)
    assert_fresh(layer, maps)


def test_one_layer_serves_odd_and_even_images_from_one_cache(maps):
    layer = P4ConvZ2(1, 2, 3, stride=2).eval()
    with torch.no_grad():
        for size in (8, 9, 8):
            images = torch.randn(1, 1, size, size)
            cached = layer(images)
            assert torch.equal(cached, copy.deepcopy(layer)(images))
