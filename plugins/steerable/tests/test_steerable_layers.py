"""Each layer equals the module of the libraries, or is equivariant where that module is not."""

import itertools

import pytest
import torch
from zoo_steerable.basis import Field, FilterQuery, field_type, filter_basis, gspace
from zoo_steerable.layers import AntialiasedPool, GroupPool, IrrepsNorm, RegularNorm, SteerableConv
from zoo_steerable.libraries import LIBRARIES, load, quiet
from zoo_steerable.sampling import disc, halve
from zoo_steerable.symmetry import Symmetry, parse

from zoo.train.average import MovingAverage

SCALAR, REGULAR, IRREPS = Field("scalar"), Field("regular"), Field("irreps", 2)


def query(library="e2cnn", group="c4", incoming=REGULAR, outgoing=REGULAR, kernel_size=5, **changes):
    values = {"library": library, "symmetry": parse(group), "incoming": incoming, "outgoing": outgoing}
    return FilterQuery(**{**values, "kernel_size": kernel_size, "frequency_cutoff": None, **changes})


def theirs(asked, in_fields, out_fields, **more):
    """Return the library's own convolution for the same fields, with its own initial weights."""
    library = load(asked.library)
    space = gspace(library, asked.symmetry)
    types = [
        field_type(library, space, field, count)
        for field, count in ((asked.incoming, in_fields), (asked.outgoing, out_fields))
    ]
    with quiet():
        return library, library.nn.R2Conv(
            *types, asked.kernel_size, padding=asked.kernel_size // 2, frequencies_cutoff=asked.frequency_cutoff,
            bias=False, **more,
        )  # fmt: skip


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("group", "incoming", "outgoing"),
    [("c4", SCALAR, REGULAR), ("c8", REGULAR, REGULAR), ("so2", IRREPS, Field("gated", 2)), ("o2", IRREPS, SCALAR)],
)
def test_convolution_equals_the_librarys(library, group, incoming, outgoing):
    asked = query(library, group, incoming, outgoing, frequency_cutoff=1.5)
    module, convolution = theirs(asked, 2, 3, initialize=False)
    ours = SteerableConv(asked, 2, 3)
    (block,) = convolution.basisexpansion.children()
    # escnn finds some of its filters with either sign; ours have a fixed one.
    signs = (block.sampled_basis * ours.filters.flatten(3)).flatten(1).sum(1).sign()
    with torch.no_grad():
        convolution.weights.copy_((ours.weight * signs).flatten())
    maps = torch.randn(2, convolution.in_type.size, 9, 9)
    expected = convolution(module.nn.GeometricTensor(maps, convolution.in_type)).tensor
    torch.testing.assert_close(ours(maps), expected, rtol=1e-5, atol=1e-5)


def test_the_fingerprint_is_computed_once_and_every_layer_has_its_own(monkeypatch):
    """Layers are built many times: for trials, copies, loading, searches."""
    basis = filter_basis(query())
    first = SteerableConv(query(), 1, 1)
    monkeypatch.setattr(torch, "stack", lambda parts: pytest.fail("the fingerprint is computed again"))
    second = SteerableConv(query(), 1, 1)
    first.fingerprint += 1
    assert torch.equal(second.fingerprint, basis.fingerprint)
    assert not torch.equal(first.fingerprint, basis.fingerprint)


def test_weights_start_with_the_librarys_deviations():
    asked = query("e2cnn", "c8")
    module, convolution = theirs(asked, 3, 2, initialize=False)
    expected = module.nn.init._generalized_he_init_variances(convolution.basisexpansion).view(2, 3, -1)
    ours = SteerableConv(asked, 3, 2)
    torch.manual_seed(7)
    again = SteerableConv(asked, 3, 2)
    torch.manual_seed(7)
    torch.testing.assert_close(again.weight / torch.randn(again.weight.shape), expected)
    assert not torch.equal(ours.weight, again.weight)


@pytest.mark.parametrize("nonlinearity", ["relu", "elu"])
def test_norm_of_regular_fields_equals_the_librarys(nonlinearity):
    library = load("e2cnn")
    kind = field_type(library, gspace(library, parse("d4")), REGULAR, 3)
    module = library.nn.SequentialModule(
        library.nn.InnerBatchNorm(kind), (library.nn.ReLU if nonlinearity == "relu" else library.nn.ELU)(kind)
    )
    ours = RegularNorm(3, 8, nonlinearity=nonlinearity)
    maps = torch.randn(4, 24, 5, 5) * 3 + 1
    for mode in (True, True, False):
        module.train(mode)
        ours.train(mode)
        expected = module(library.nn.GeometricTensor(maps, kind)).tensor
        torch.testing.assert_close(ours(maps), expected, rtol=1e-4, atol=1e-5)


def test_pooling_equals_the_librarys():
    library = load("e2cnn")
    kind = field_type(library, gspace(library, parse("d4")), REGULAR, 3)
    maps = torch.randn(2, 24, 9, 9)
    wrapped = library.nn.GeometricTensor(maps, kind)
    torch.testing.assert_close(GroupPool(8)(maps), library.nn.GroupPooling(kind)(wrapped).tensor)
    for stride, padding in ((2, 2), (1, 0)):
        module = library.nn.PointwiseAvgPoolAntialiased(kind, sigma=0.66, stride=stride, padding=padding)
        torch.testing.assert_close(AntialiasedPool(stride=stride, padding=padding)(maps), module(wrapped).tensor)


@pytest.mark.parametrize("size", [9, 16])
def test_disc_equals_the_librarys(size):
    library = load("e2cnn")
    kind = field_type(library, gspace(library, parse("c4")), SCALAR, 1)
    torch.testing.assert_close(disc(size), library.nn.MaskModule(kind, size, margin=1).mask[0, 0])


def orbit(maps):
    turned = [maps.rot90(k, (-2, -1)) for k in range(4)]
    return turned + [image.flip(-1) for image in turned]


@pytest.mark.parametrize("size", [7, 8, 9, 16, 33])
def test_halving_commutes_with_the_symmetries_of_the_square(size):
    maps = torch.randn(1, 2, size, size, dtype=torch.float64)
    assert halve(maps).shape[-1] == (size + 1) // 2
    for turned, expected in zip(orbit(maps), orbit(halve(maps)), strict=True):
        torch.testing.assert_close(halve(turned), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_stride_at_an_even_size_breaks_equivariance_in_the_libraries_only(library):
    module = load(library)
    kind = field_type(module, gspace(module, parse("c4")), SCALAR, 1)
    pool = module.nn.PointwiseAvgPoolAntialiased(kind, sigma=0.66, stride=2)

    def error(down, size):
        maps = torch.randn(1, 1, size, size)
        difference = down(maps.rot90(1, (-2, -1))) - down(maps).rot90(1, (-2, -1))
        return float(difference.abs().max())

    def published(maps):
        return pool(module.nn.GeometricTensor(maps, kind)).tensor

    assert error(published, 33) < 1e-5
    assert error(published, 32) > 0.1
    assert error(halve, 33) < 1e-5
    assert error(halve, 32) < 1e-5


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("nonlinearity", ["gated", "norm"])
def test_norm_of_irreps_commutes_with_every_rotation(library, nonlinearity):
    """The action of an angle on a field is taken from the library: its representation, not our idea of it."""
    module = load(library)
    incoming = Field("gated", 2) if nonlinearity == "gated" else IRREPS
    space = gspace(module, Symmetry(0, True))
    norm = IrrepsNorm(3, 2, nonlinearity=nonlinearity)
    maps = torch.randn(2, 3 * incoming.dimension(Symmetry(0, True)), 4, 4)
    norm(maps)  # training: running statistics move
    with torch.no_grad():
        norm.scale.uniform_(0.5, 2)
    for mode, mirror in itertools.product((True, False), (0, 1)):
        norm.train(mode)
        element = (mirror, 0.7) if library == "e2cnn" else space.fibergroup.element((mirror, 0.7), "radians")
        before, after = (
            torch.as_tensor(field_type(module, space, field, 3).representation(element), dtype=torch.float32)
            for field in (incoming, IRREPS)
        )
        with torch.no_grad():
            torch.testing.assert_close(
                norm(torch.einsum("ij,njhw->nihw", before, maps)),
                torch.einsum("ij,njhw->nihw", after, norm(maps)),
                rtol=1e-4, atol=1e-5,
            )  # fmt: skip


def test_the_moving_average_of_a_network_does_not_grow_stale():
    """The average is in evaluation mode for validation only: layers of the libraries keep an expanded filter there."""
    asked = query()
    ours = SteerableConv(asked, 1, 1)
    module, published = theirs(asked, 1, 1)
    maps = torch.randn(1, 4, 9, 9)

    def outputs(network, wrap):
        average = MovingAverage(network, decay=0.5)
        before = wrap(average.module.eval())
        average.module.train()  # as after each validation
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(3)
        average.update(network, step=100)
        return before, wrap(average.module.eval())

    with torch.no_grad():
        before, after = outputs(ours, lambda network: network(maps))
        torch.testing.assert_close(after, 2 * before)
        wrapped = module.nn.GeometricTensor(maps, published.in_type)
        before, after = outputs(published, lambda network: network(wrapped).tensor)
        torch.testing.assert_close(after, 2 * before)


def test_autocast_rounds_the_filter_once():
    """Put together in bfloat16, its copies for the elements of the group would no longer be copies."""
    convolution = SteerableConv(query(), 1, 1)
    expected = convolution.expand()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(convolution.expand(), expected)
        assert convolution(torch.randn(1, 4, 9, 9)).dtype == torch.bfloat16


def test_gradients_of_the_filter_match_finite_differences():
    convolution = SteerableConv(query(kernel_size=3), 1, 1).double()
    maps = torch.randn(1, 4, 4, 4, dtype=torch.float64, requires_grad=True)

    def run(weight, maps):
        return torch.func.functional_call(convolution, {"weight": weight}, (maps,))

    assert torch.autograd.gradcheck(run, (convolution.weight, maps))
