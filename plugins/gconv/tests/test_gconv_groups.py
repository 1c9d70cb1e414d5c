"""The groups satisfy the axioms and act on pixels as rotations and flips of torch do."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from zoo_gconv.groups import GROUPS, MIRROR, P4, P4M, ROTATION, multiply

groups = pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)


def elements(count):
    return st.tuples(*[st.integers(0, P4M.order - 1)] * count)


@settings(deadline=None)
@given(elements(3))
def test_p4m_composition_is_associative(abc):
    a, b, c = abc
    t = P4M.composition
    assert t[t[a][b]][c] == t[a][t[b][c]]


@settings(deadline=None)
@given(elements(2))
def test_p4m_inverse_of_a_product_is_the_reversed_product(ab):
    a, b = ab
    t, inverse = P4M.composition, P4M.inverse
    assert inverse[t[a][b]] == t[inverse[b]][inverse[a]]


@groups
def test_identity_and_inverse(group):
    t = group.composition
    for a in range(group.order):
        assert t[0][a] == t[a][0] == a
        assert t[group.inverse[a]][a] == t[a][group.inverse[a]] == 0


@settings(deadline=None)
@given(elements(2), st.integers(1, 6), st.booleans())
def test_turning_filters_is_a_homomorphism(ab, size, on_the_group):
    """L_a L_b = L_ab for filters on the plane and on the group, read through the index tables."""
    a, b = ab
    tables = torch.tensor(P4M.regular_table(size) if on_the_group else P4M.lifting_table(size))
    psi = torch.randperm(tables.shape[1])
    assert torch.equal(psi[tables[b]][tables[a]], psi[tables[P4M.composition[a][b]]])


@groups
def test_groups_are_closed_under_multiplication(group):
    for a, b in itertools.product(group.elements, repeat=2):
        assert multiply(a, b) in group.elements


def test_orders_and_the_relations_that_define_the_dihedral_group():
    assert [group.order for group in GROUPS.values()] == [1, 4, 8]
    assert len(set(P4M.elements)) == 8
    half_turn = multiply(ROTATION, ROTATION)
    assert multiply(MIRROR, multiply(ROTATION, MIRROR)) == multiply(half_turn, ROTATION)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("element", range(8))
def test_action_on_pixels_agrees_with_torch(size, element):
    """L_r f = f(r^-1 x); element 4*m + k is k quarter turns after m mirrors."""
    image = torch.arange(size**2).view(size, size)
    expected = torch.rot90(image.flip(-1) if element >= 4 else image, element % 4)
    read = P4M.moved_pixels(P4M.inverse[element], size)
    assert torch.equal(image.flatten()[read].view(size, size), expected)


@pytest.mark.parametrize("size", [2, 4, 6])
@pytest.mark.parametrize("element", range(8))
def test_elements_carry_the_grid_of_every_second_pixel(size, element):
    grid = torch.zeros(size, size)
    grid[::2, ::2] = 1
    moved = torch.rot90(grid.flip(-1) if element >= 4 else grid, element % 4)
    row, column = P4M.grid_offset(element)
    expected = torch.zeros(size, size)
    expected[row::2, column::2] = 1
    assert torch.equal(moved, expected)


def test_p4_is_the_first_half_of_p4m():
    assert P4M.elements[:4] == P4.elements
