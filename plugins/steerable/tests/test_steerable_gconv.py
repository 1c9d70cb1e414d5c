"""Independent check: layers of plugin gconv are layers of escnn, with the same weights in another basis.

gconv turns filters by tables of integers, escnn solves for filters that commute with the group. A regular-to-regular
filter of escnn is read as gconv's filter at the identity; gconv must then make the other rows of the planar
filter itself.
"""

import pytest
import torch
from zoo_gconv.groups import P4, P4M
from zoo_gconv.layers import P4ConvP4, P4ConvZ2, P4MConvP4M, P4MConvZ2
from zoo_steerable.basis import Field, FilterQuery, field_type, gspace
from zoo_steerable.layers import SteerableConv
from zoo_steerable.libraries import load, quiet
from zoo_steerable.symmetry import parse

FIELDS_IN, FIELDS_OUT = 2, 3


def positions(symmetry, group):
    """Return, for each element of escnn's group in the order of its regular representation, its place in gconv's."""
    library = load("escnn")
    space = gspace(library, symmetry)
    # (row, column) is (-y, x).
    to_rows = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    found = []
    for element in space.fibergroup.elements:
        matrix = torch.as_tensor(space.basespace_action(element), dtype=torch.float32)
        matrix = (to_rows @ matrix @ to_rows.T).round().int()
        found.append(group.elements.index(tuple(map(tuple, matrix.tolist()))))
    assert sorted(found) == list(range(group.order))
    return found


@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize(
    ("name", "group", "lifting", "regular"),
    [("c4", P4, P4ConvZ2, P4ConvP4), pytest.param("d4", P4M, P4MConvZ2, P4MConvP4M, marks=pytest.mark.slow)],
)
def test_a_layer_of_gconv_equals_one_of_escnn(name, group, lifting, regular, kernel_size):
    library, symmetry = load("escnn"), parse(name)
    order, space = group.order, gspace(load("escnn"), parse(name))
    inverse = torch.tensor(positions(symmetry, group)).argsort()  # gconv's place -> escnn's place
    torch.manual_seed(0)
    for incoming, layer, orders in ((Field("scalar"), lifting, 1), (Field("regular"), regular, order)):
        asked = FilterQuery(
            library="escnn", symmetry=symmetry, incoming=incoming, outgoing=Field("regular"),
            kernel_size=kernel_size, frequency_cutoff=None,
        )  # fmt: skip
        weights = SteerableConv(asked, FIELDS_IN, FIELDS_OUT).weight.detach()
        kinds = [
            field_type(library, space, field, count)
            for field, count in ((incoming, FIELDS_IN), (Field("regular"), FIELDS_OUT))
        ]
        with quiet():
            theirs = library.nn.R2Conv(*kinds, kernel_size, padding=kernel_size // 2, bias=False, initialize=False)
        with torch.no_grad():
            theirs.weights.copy_(weights.flatten())
        bank = theirs.expand_parameters()[0].detach()
        bank = bank.view(FIELDS_OUT, order, FIELDS_IN, orders, kernel_size, kernel_size)
        at_identity = bank[:, inverse[0]]
        ours = layer(FIELDS_IN, FIELDS_OUT, kernel_size)
        with torch.no_grad():
            chosen = at_identity[:, :, inverse] if orders > 1 else at_identity
            ours.weight.copy_(chosen.reshape(ours.weight.shape))
        maps = torch.randn(2, FIELDS_IN, orders, 11, 11)
        their_maps = torch.empty_like(maps)
        their_maps[:, :, inverse if orders > 1 else slice(None)] = maps
        with torch.no_grad():
            expected = theirs(library.nn.GeometricTensor(their_maps.flatten(1, 2), kinds[0])).tensor
            expected = expected.view(2, FIELDS_OUT, order, 11, 11)[:, :, inverse].flatten(1, 2)
            actual = ours(maps.flatten(1, 2))
        assert expected.std() > 0.01
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)
