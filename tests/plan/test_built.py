"""Arguments that a builder refuses stop the plan, with exit code 2 and before a cell is queued."""

from __future__ import annotations

from dataclasses import replace

import pytest
from smallrun import TOY

from zoo.errors import UsageError
from zoo.host import load_plugins
from zoo.plan.built import check_turns
from zoo.plan.cells import make_plan
from zoo.plan.request import Request

FILES = [TOY, *(TOY.with_name(f"{name}.py") for name in ("pickynets", "oddones", "partszoo", "brokenregress"))]
HOST = load_plugins(files=FILES, environment={})
OTHERS = load_plugins(files=FILES, environment={})
for file in FILES:  # as if they were plugins of this repository
    HOST.records[file.stem] = replace(HOST.records[file.stem], distribution="lens-zoo-gconv", version="1")


def planned(models, data="toyzoo/stripes", notes=None, host=HOST, **request):
    asked = Request(models=models, data=[data], budget="smoke", device="cpu", **request)
    return make_plan(host, asked, note=notes.append if notes is not None else lambda note: None)


@pytest.mark.parametrize("name", ["sorry", "curt"])
def test_a_refused_argument_stops_the_plan(name):
    with pytest.raises(UsageError, match="width=0 must be 1 or more") as refused:
        planned([f"pickynets/{name}"], settings={"width": 0})
    assert refused.value.exit_code == 2
    [cell] = planned([f"pickynets/{name}"], settings={"width": 1})
    assert cell.hparams == {"width": 1}


def test_networks_of_others_are_not_built_where_they_could_end_the_command():
    [cell] = planned(["pickynets/sorry"], host=OTHERS, settings={"width": 0})
    assert cell.hparams == {"width": 0}


def test_a_wildcard_leaves_it_out_with_a_note():
    notes = []
    cells = planned(["pickynets/s*", "toyzoo/tiny"], notes=notes, settings={"model.width": 0})
    assert [cell.model for cell in cells] == ["toyzoo/tiny"]
    assert any("pickynets/sorry is left out" in note and "width=0 must be" in note for note in notes)


def test_images_that_exist_have_their_own_size():
    """They have 12 pixels, less than the images that a network is built for first: what these refuse is asked again."""
    [cell] = planned(["pickynets/small"], settings={"width": 2})
    assert cell.model == "pickynets/small"


def test_parts_of_the_training_that_a_network_brings_are_refused():
    with pytest.raises(UsageError, match="oddones/turns brings its own optimisers; optimizer=partszoo/sgd@1"):
        planned(["oddones/turns"], "oddones/bumps", task="anomaly", settings={"optimizer": "sgd"})


def test_a_fit_of_truths_is_built_with_all_defaults():
    with pytest.raises(UsageError, match="one truth by a normal distribution"):
        planned(["brokenregress/trial"], "oddones/bumps", task="regress:index,answer=quantiles")


def test_several_processes_cannot_train_in_turns():
    cells = planned(["oddones/coder", "oddones/turns"], "oddones/bumps", task="anomaly")
    check_turns(HOST, cells, 1)
    with pytest.raises(UsageError, match="2 processes cannot train oddones/turns"):
        check_turns(HOST, cells, 2)


@pytest.mark.parametrize("widths", [[1_000_000, 1_000, 8, 10, 10, 14], [99_999_999, 99_999_999, 8, 10, 10, 14]])
def test_a_network_that_no_memory_holds_is_refused_before_memory_is_taken(widths):
    with pytest.raises(UsageError, match="gconv/p4m has more than 1,073,741,824 numbers with these hyper-parameters"):
        planned(["gconv/p4m"], "modelB", settings={"widths": widths})


def test_defaults_are_tried_where_images_are_smaller_than_those_of_any_budget():
    with pytest.raises(UsageError, match="image_size is 16, but must be larger"):
        planned(["gconv/p4m"], "modelB", settings={"data.image_size": 16})


@pytest.mark.parametrize(
    ("model", "settings"), [("gconv/z2", {}), ("gconv/p4m", {"data.channels": ["image", "residual"]})]
)
def test_weights_that_do_not_fit_stop_the_plan(model, settings):
    with pytest.raises(UsageError, match=f"{model} cannot start from the weights of gconv/p4m .*of another shape"):
        planned([model], "modelB", settings={"init": "p4m.modelB", **settings})


def test_weights_of_another_number_of_classes_may_start_a_training():
    [cell] = planned(["gconv/p4m"], "modelA", settings={"init": "p4m.modelB"}, task="substructure")
    assert cell.training["init"].startswith("sha256:")


def test_an_auxiliary_truth_that_is_the_same_for_all_images_stops_the_plan():
    with pytest.raises(
        UsageError, match="auxiliary=total_einstein_radius is undefined, or the same, for all"
    ) as refused:
        planned(["gconv/p4m"], "modelA", settings={"auxiliary": "shear,total_einstein_radius"})
    assert "shear" in refused.value.hint


@pytest.mark.parametrize("name", ["p4cnn", "p4cnn_pooled", "p4mcnn", "z2cnn"])
def test_auxiliary_truths_of_a_network_without_features_stop_the_plan(name):
    with pytest.raises(UsageError, match=f"gconv/{name}: .* does not end with a linear layer of 3 outputs"):
        planned([f"gconv/{name}"], "modelA", settings={"auxiliary": "shear"})


def test_a_wildcard_leaves_out_networks_without_features_for_auxiliary_truths():
    notes = []
    cells = planned(["gconv/p4mcnn*", "gconv/p4m"], "modelA", notes, settings={"auxiliary": "shear"})
    assert [cell.model for cell in cells] == ["gconv/p4m"]
    assert any("gconv/p4mcnn is left out" in note for note in notes)


def test_spellings_of_an_auxiliary_truth_are_one_setting():
    rings = ("substructure_convergence:0-0.6", "substructure_convergence:0.0-0.60")
    one, other = (planned(["gconv/p4m"], "modelA", settings={"auxiliary": ring})[0].run_id for ring in rings)
    assert one == other
