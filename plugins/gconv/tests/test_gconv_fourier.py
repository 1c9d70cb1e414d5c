"""The Fourier basis of D4: an exact change of basis in which a 1x1 group convolution is block-diagonal."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from zoo_gconv.fourier import OcticLinear, OcticMLP, RegularLinear, RegularMLP, fourier_matrix, inverse_matrix
from zoo_gconv.groups import P4M
from zoo_gconv.layers import P4MConvP4M

ELEMENTS = st.integers(0, P4M.order - 1)


def act(element, features):
    """[L_g h](s) = h(g^-1 s) on rows [M, 8, C]."""
    back = P4M.inverse[element]
    return features[:, list(P4M.composition[back])]


def octic(layer_class=OcticLinear, *arguments):
    torch.manual_seed(0)
    layer = layer_class(*(arguments or (3, 5))).double()
    for name, parameter in layer.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    return layer


def test_the_inverse_matrix_is_exact():
    product = torch.tensor(inverse_matrix()) @ torch.tensor(fourier_matrix(), dtype=torch.float32)
    assert torch.equal(product, torch.eye(8))


@settings(deadline=None)
@given(ELEMENTS, ELEMENTS)
def test_scalar_kinds_are_the_four_homomorphisms_to_plus_and_minus_one(a, b):
    for rho in fourier_matrix()[:4]:
        assert rho[P4M.composition[a][b]] == rho[a] * rho[b]
    assert len({tuple(rho) for rho in fourier_matrix()[:4]}) == 4


@settings(deadline=None)
@given(ELEMENTS)
def test_the_pair_transforms_by_the_elements_own_matrix(element):
    features = torch.randn(2, 8, 3, dtype=torch.float64)
    fourier = torch.tensor(fourier_matrix(), dtype=torch.float64)
    before = (fourier @ features)[:, 4:].unflatten(1, (2, 2))
    after = (fourier @ act(element, features))[:, 4:].unflatten(1, (2, 2))
    matrix = torch.tensor(P4M.elements[element], dtype=torch.float64)
    torch.testing.assert_close(after, torch.einsum("ik,mkjc->mijc", matrix, before))


@pytest.mark.parametrize("layer_class", [OcticLinear, RegularLinear])
@settings(max_examples=20, deadline=None)
@given(element=ELEMENTS, seed=st.integers(0, 1000))
def test_linear_layers_commute_with_the_group(layer_class, element, seed):
    layer = octic(layer_class)
    features = torch.randn(4, 8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(layer(act(element, features)), act(element, layer(features)), rtol=1e-12, atol=1e-12)


def as_maps(features):
    """[M, 8, C] to maps [M, C*8, 1, 1] of `zoo_gconv.layers`."""
    return features.transpose(1, 2).flatten(1)[..., None, None]


@pytest.mark.parametrize("layer_class", [OcticLinear, RegularLinear])
def test_linear_layers_are_group_convolutions_of_one_pixel(layer_class):
    layer = octic(layer_class)
    convolution = P4MConvP4M(3, 5, 1, bias=True).double()
    weight = layer.dense() if layer_class is OcticLinear else layer.weight.permute(2, 1, 0)
    with torch.no_grad():
        convolution.weight.copy_(weight[..., None, None])
        convolution.bias.copy_(layer.bias)
    features = torch.randn(6, 8, 3, dtype=torch.float64)
    torch.testing.assert_close(as_maps(layer(features)), convolution(as_maps(features)), rtol=1e-12, atol=1e-12)


def test_octic_and_regular_layers_have_equally_many_parameters():
    assert len({sum(p.numel() for p in octic(kind, 3, 5).parameters()) for kind in (OcticLinear, RegularLinear)}) == 1


def test_octic_mlp_is_the_regular_mlp_of_mapped_weights():
    fast, plain = octic(OcticMLP, 3), octic(RegularMLP, 3)
    with torch.no_grad():
        for name in ("widen", "narrow"):
            ours, dense = fast.get_submodule(name), plain.get_submodule(name)
            dense.weight.copy_(ours.dense().permute(2, 1, 0))
            dense.bias.copy_(ours.bias)
    features = torch.randn(6, 8, 3, dtype=torch.float64)
    torch.testing.assert_close(fast(features), plain(features), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layer_class", [OcticMLP, RegularMLP])
def test_gradients_match_finite_differences(layer_class):
    layer = octic(layer_class, 2)
    names = [name for name, _ in layer.named_parameters()]

    def apply(features, *parameters):
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (features,))

    features = torch.randn(2, 8, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(apply, (features, *layer.parameters()), fast_mode=True)


@pytest.mark.slow
def test_block_products_are_a_fraction_of_the_dense_ones():
    """12/64 of the operations, counted by torch, for layers wide enough to forget the transforms."""
    from torch.utils.flop_counter import FlopCounterMode

    features = torch.randn(4, 8, 256)
    counts = []
    for layer in (OcticMLP(256), RegularMLP(256)):
        with FlopCounterMode(display=False) as counter:
            layer(features)
        counts.append(counter.get_total_flops())
    assert 12 / 64 <= counts[0] / counts[1] <= 1.05 * 12 / 64
