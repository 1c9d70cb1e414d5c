"""Layers are compared with the definition of the group convolution and with the group's action."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from zoo_gconv.groups import GROUPS, Z2
from zoo_gconv.layers import (
    GroupBatchNorm,
    GroupPool,
    P4ConvP4,
    P4ConvZ2,
    P4MConvP4M,
    P4MConvZ2,
    Z2ConvZ2,
)
from zoo_gconv.sampling import downsample

LAYERS = [P4ConvZ2, P4ConvP4, P4MConvZ2, P4MConvP4M, Z2ConvZ2]
layers = pytest.mark.parametrize("layer_class", LAYERS, ids=lambda layer: layer.__name__)


def act_on_image(matrix, image):
    """[L_g f](x) = f(g^-1 x), pixel by pixel from the matrix; [..., S, S]."""
    (a, b), (c, d) = matrix
    size = image.shape[-1]
    moved = torch.empty_like(image)
    for i, j in itertools.product(range(size), repeat=2):
        row, column = 2 * i - size + 1, 2 * j - size + 1
        to_row, to_column = a * row + b * column, c * row + d * column
        moved[..., (to_row + size - 1) // 2, (to_column + size - 1) // 2] = image[..., i, j]
    return moved


def matrix_product(a, b):
    return tuple(tuple(sum(a[i][k] * b[k][j] for k in range(2)) for j in range(2)) for i in range(2))


def act_on_group_map(group, matrix, maps):
    """[L_g f](x, s) = f(g^-1 x, g^-1 s): turn every map, and move map s to g s; [N, C*|G|, S, S]."""
    turned = act_on_image(matrix, maps).unflatten(1, (-1, group.order))
    moved = torch.empty_like(turned)
    for s, element in enumerate(group.elements):
        moved[:, :, group.elements.index(matrix_product(matrix, element))] = turned[:, :, s]
    return moved.flatten(1, 2)


def takes_images(layer_class):
    return layer_class in (P4ConvZ2, P4MConvZ2, Z2ConvZ2)


def random_maps(layer_class, features, size, *, batch=2):
    order = 1 if takes_images(layer_class) else layer_class.group.order
    return torch.randn(batch, features * order, size, size, dtype=torch.float64)


def brute_force(layer, maps):
    """[f * psi](g) = sum_h f(h) psi(g^-1 h), one element h = (y, s) of the plane group after the other."""
    group, size, radius = layer.group, maps.shape[-1], layer.kernel_size // 2
    lifting = takes_images(type(layer))
    weight = layer.weight.detach()
    psi = weight[:, :, None] if lifting else weight
    f = maps.unflatten(1, (layer.in_features, -1))
    out = maps.new_zeros(len(maps), layer.out_features, group.order, size, size)
    pixels = list(itertools.product(range(size), repeat=2))
    for r, matrix in enumerate(group.elements):
        inverse = next(m for m in group.elements if matrix_product(m, matrix) == ((1, 0), (0, 1)))
        (a, b), (c, d) = inverse
        for s in range(f.shape[2]):
            s_back = 0 if lifting else group.elements.index(matrix_product(inverse, group.elements[s]))
            for (i, j), (m, n) in itertools.product(pixels, pixels):
                u, v = m - i, n - j
                row, column = a * u + b * v + radius, c * u + d * v + radius
                if 0 <= row <= 2 * radius and 0 <= column <= 2 * radius:
                    out[:, :, r, i, j] += f[:, :, s, m, n] @ psi[:, :, s_back, row, column].T
    return out.flatten(1, 2)


@layers
def test_layers_agree_with_the_definition(layer_class):
    layer = layer_class(2, 3, 3).double()
    maps = random_maps(layer_class, 2, 4)
    torch.testing.assert_close(layer(maps), brute_force(layer, maps), rtol=1e-12, atol=1e-12)


@layers
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [8, 9, 10, 11])
def test_layer_commutes_with_the_group(layer_class, stride, size):
    layer = layer_class(2, 3, 5, stride=stride, bias=True).double()
    nn.init.normal_(layer.bias)
    maps = random_maps(layer_class, 2, size)
    group_in = Z2 if takes_images(layer_class) else layer.group
    for matrix in layer.group.elements:
        moved = act_on_image(matrix, maps) if group_in is Z2 else act_on_group_map(group_in, matrix, maps)
        expected = act_on_group_map(layer.group, matrix, layer(maps))
        torch.testing.assert_close(layer(moved), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(8, 8), (9, 9), (8, 9), (9, 8)])
def test_stride_two_is_convolution_then_mean(shape):
    """Away from the border; at the border of an odd line the two differ in what they call outside."""
    layer = P4ConvZ2(2, 3, 3, stride=2).double()
    images = torch.randn(1, 2, *shape, dtype=torch.float64)
    expected = downsample(F.conv2d(images, layer.expand(), padding=1))
    assert layer(images).shape == expected.shape
    torch.testing.assert_close(layer(images)[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])


@pytest.mark.parametrize("size", range(32, 225, 7))
def test_downsampling_commutes_with_turns_and_mirrors(size):
    maps = torch.randn(1, 2, size, size, dtype=torch.float64)
    small = downsample(maps)
    assert small.shape[-2:] == ((size + 1) // 2,) * 2
    torch.testing.assert_close(downsample(maps.rot90(1, (-2, -1))), small.rot90(1, (-2, -1)))
    torch.testing.assert_close(downsample(maps.flip(-1)), small.flip(-1))


def test_downsampling_weighs_an_odd_line_by_quarter_half_quarter():
    line = torch.zeros(1, 1, 5, 5)
    line[..., 2, 2], line[..., 2, 3] = 1.0, 1.0
    assert downsample(line)[0, 0, 1].tolist() == [0.0, 0.375, 0.125]


@layers
@pytest.mark.parametrize(("stride", "size"), [(1, 4), (2, 4), (2, 5)])
def test_gradients_match_finite_differences(layer_class, stride, size):
    layer = layer_class(1, 2, 3, stride=stride, bias=True).double()
    maps = random_maps(layer_class, 1, size, batch=1).requires_grad_()

    def convolve(maps, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (maps,))

    assert torch.autograd.gradcheck(convolve, (maps, layer.weight, layer.bias))


@layers
@pytest.mark.parametrize(("size", "kernel"), [(4, 2), (4, 0), (4, -1)])
def test_even_kernels_are_refused(layer_class, size, kernel):
    with pytest.raises(ValueError, match=f"kernel_size is {kernel}; it must be odd"):
        layer_class(1, size, kernel)


@pytest.mark.parametrize("order", [1, 4, 8])
def test_batch_norm_pools_over_batch_group_and_space(order):
    norm = GroupBatchNorm(3, order).double()
    maps = torch.randn(4, 3 * order, 5, 6, dtype=torch.float64) * 3 + 1
    by_feature = maps.unflatten(1, (3, order))
    mean = by_feature.mean((0, 2, 3, 4), keepdim=True)
    variance = by_feature.var((0, 2, 3, 4), keepdim=True, unbiased=False)
    expected = ((by_feature - mean) / (variance + norm.eps).sqrt()).flatten(1, 2)
    torch.testing.assert_close(norm(maps), expected)
    torch.testing.assert_close(norm.running_mean, 0.1 * mean.flatten())
    assert list(norm.state_dict()) == list(nn.BatchNorm2d(3).state_dict())


def test_batch_norm_with_relu_is_batch_norm_then_relu_with_the_same_gradient():
    maps = torch.randn(4, 12, 5, 6, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(4, 12, 5, 6, dtype=torch.float64)
    fused = GroupBatchNorm(3, 4, relu=True).double()(maps)
    separate = GroupBatchNorm(3, 4).double()(maps).relu()
    torch.testing.assert_close(fused, separate)
    (gradient,) = torch.autograd.grad((fused * weights).sum(), maps)
    (expected,) = torch.autograd.grad((separate * weights).sum(), maps)
    torch.testing.assert_close(gradient, expected)


def test_batch_norm_takes_any_memory_format():
    norm = GroupBatchNorm(3, 4).eval()
    nn.init.uniform_(norm.weight)
    norm.running_mean.uniform_()
    maps = torch.randn(2, 12, 5, 6)
    channels_last = maps.to(memory_format=torch.channels_last)
    torch.testing.assert_close(norm(channels_last), norm(maps))


@pytest.mark.parametrize("reduction", ["max", "mean"])
def test_group_pool_reduces_each_features_orbit(reduction):
    maps = torch.tensor([1.0, 2.0, 3.0, 6.0, -1.0, -2.0, -3.0, -6.0]).view(1, 8, 1, 1)
    expected = {"max": [6.0, -1.0], "mean": [3.0, -3.0]}[reduction]
    assert GroupPool(4, reduction)(maps).flatten().tolist() == expected


def test_group_pool_refuses_an_unknown_reduction():
    with pytest.raises(ValueError, match="'median'"):
        GroupPool(4, "median")


@pytest.mark.parametrize("name", GROUPS)
def test_expanded_bank_holds_every_weight_once_for_each_element(name):
    layer = {"z2": Z2ConvZ2, "p4": P4ConvP4, "p4m": P4MConvP4M}[name](2, 3, 3)
    bank = layer.expand().view(3, layer.group.order, -1)
    for r in range(layer.group.order):
        assert torch.equal(bank[:, r].sort(-1).values, layer.weight.view(3, -1).sort(-1).values)
