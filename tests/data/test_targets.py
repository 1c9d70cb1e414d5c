"""Stored truths as targets: names, values, and what cannot be estimated."""

from __future__ import annotations

import numpy as np
import pytest
import toysky

from zoo.data.targets import one_spelling, target_values, truth_names, turns
from zoo.data.truth import truth_arrays
from zoo.errors import UsageError
from zoo.lensing.cosmology import einstein_radius
from zoo.lensing.scenes import PointMasses


@pytest.fixture
def columns():
    scenes = toysky.Discs().sample(np.arange(4), "seed/train")
    limit = float(einstein_radius(1e8, 0.5, 1.0))
    radii = np.array([[0.5, 2.0, 3.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.9, 1.1, 0.0]]) * limit
    place = np.array([[0.4, 1.0, 2.0], [1.5, 0.0, 0.0], [0.0, 0.0, 0.0], [0.5, 0.6, 0.0]])
    parameters = {**scenes.parameters, "lens_redshift": np.full(4, 0.5), "source_redshift": np.full(4, 1.0)}
    arrays = truth_arrays(scenes) | {
        key: values
        for key, values in truth_arrays(
            type(scenes)(**{**vars(scenes), "points": PointMasses(x=place, y=0 * place, einstein_radius=radii)})
        ).items()
        if key.startswith("truth.points.")
    }
    return {"parameters": parameters, "truth": arrays}


def test_parameters_fields_and_counts_have_the_values_that_are_stored(columns):
    found = target_values(["colour", "sersic.effective_radius", "substructure_count_above:1e8"], **columns)
    assert np.array_equal(found[:, 0], columns["parameters"]["colour"])
    assert np.array_equal(found[:, 1], columns["truth"]["truth.sersic.effective_radius"])
    assert found[:, 2].tolist() == [2, 1, 0, 1]


def test_the_convergence_of_a_ring_is_that_of_the_masses_inside_it(columns):
    names = ["substructure_convergence:0.5-1.5", "substructure_convergence:0-3"]
    centre = columns["truth"]["truth.halo.x"]
    columns["truth"]["truth.points.x"] += np.repeat(centre, np.diff(columns["truth"]["truth.points.offset"]))
    columns["truth"]["truth.halo.y"] = np.zeros_like(centre)
    ring, disc = target_values(names, **columns).T
    limit = float(einstein_radius(1e8, 0.5, 1.0)) ** 2
    np.testing.assert_allclose(ring * 2, np.array([4.0, 0, 0, 0.81 + 1.21]) * limit, rtol=1e-12)
    np.testing.assert_allclose(disc * 9, np.array([0.25 + 4 + 9, 4, 0, 0.81 + 1.21]) * limit, rtol=1e-12)


def test_every_name_that_is_offered_has_values(columns):
    names = truth_names(**columns)
    assert {"colour", "halo.axis_ratio", "exposure.snr", "substructure_count_above:1e8"} <= set(names)
    assert target_values(names, **columns).shape == (4, len(names))


@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        ("substructure_convergence:0.0-0.60", "substructure_convergence:0-0.6"),
        ("substructure_convergence:.5-1.", "substructure_convergence:0.5-1"),
        ("substructure_count_above:100000000", "substructure_count_above:1e8"),
        ("substructure_count_above:1.50E+08", "substructure_count_above:1.5e8"),
        ("substructure_count_above:50", "substructure_count_above:50"),
        ("substructure_count_above:many", "substructure_count_above:many"),
        ("substructure_convergence:1", "substructure_convergence:1"),
        ("halo.axis_ratio", "halo.axis_ratio"),
    ],
)
def test_a_truth_has_one_spelling_which_means_the_same(name, spelling):
    assert one_spelling(name) == spelling
    assert one_spelling(spelling) == spelling


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("color", "Did you mean 'colour'"),
        ("sersic.angle", "changes when an image is turned"),
        ("shear_angle", "changes when an image is turned"),
        ("shear.gamma_1", "changes when an image is turned"),
        ("sersic.x", "changes when an image is turned"),
        ("points.einstein_radius", "No truth"),
        ("substructure_count_above:much", "no mass"),
        ("substructure_count_above:-1", "no mass"),
        ("substructure_count_above", "no mass"),
        ("substructure_convergence", "inner and the outer radius"),
        ("substructure_convergence:1.5-0.5", "inner and the outer radius"),
        ("substructure_convergence:1-", "inner and the outer radius"),
        ("substructure_convergence:1..2-3", "inner and the outer radius"),
    ],
)
def test_what_cannot_be_estimated_is_refused_with_its_reason(columns, name, words):
    with pytest.raises(UsageError, match=words):
        target_values([name], **columns)


def test_masses_are_not_counted_without_redshifts(columns):
    parameters = {"colour": columns["parameters"]["colour"]}
    with pytest.raises(UsageError, match="No truth"):
        target_values(["substructure_count_above:1e8"], parameters=parameters, truth=columns["truth"])


@pytest.mark.parametrize("name", ["source_x", "source.y", "halo_angle", "shear.gamma_1"])
def test_what_turns_with_the_image_is_known_by_its_name(name):
    assert turns(name)


@pytest.mark.parametrize("name", ["einstein_radius", "index", "matrix"])
def test_what_does_not_turn_is_known_by_its_name(name):
    assert not turns(name)
