"""From names, wildcards and settings to cells: order, precedence, and what is refused."""

from __future__ import annotations

import dataclasses
import math
import re
import sys
from itertools import pairwise
from types import SimpleNamespace

import pytest
from smallrun import TOY

from zoo import devices, registry
from zoo.budgets import BUDGETS
from zoo.devices import resolve_device
from zoo.errors import MissingError, UsageError
from zoo.host import load_plugins
from zoo.plan import cells as plan
from zoo.plan.cells import make_plan
from zoo.plan.overrides import data_params, typed_hparams
from zoo.plan.request import Request
from zoo.specs import DatasetSpec, ModelSpec


def one(cells):
    [cell] = cells
    return cell


def test_cells_are_ordered_by_data_set_model_and_seed(make):
    cells = make("toyzoo/tiny,planzoo/narrow", "planzoo/sky,toyzoo/stripes", seeds=[3, 0])
    assert [(cell.data, cell.model, cell.seed) for cell in cells] == [
        (data, model, seed)
        for data in ("planzoo/sky", "toyzoo/stripes")
        for model in ("toyzoo/tiny", "planzoo/narrow")
        for seed in (3, 0)
    ]
    assert len({cell.run_id for cell in cells}) == len(cells)


def test_wildcards_and_repetitions_name_each_thing_once(make):
    assert [cell.model for cell in make("planzoo/*, toyzoo/TINY, narrow", seeds=[1, 1])] == [
        "planzoo/clipped",
        "planzoo/narrow",
        "toyzoo/tiny",
    ]
    assert [cell.model for cell in make("t?ny")] == ["toyzoo/tiny"]


@pytest.mark.parametrize(
    ("default", "kind", "others", "allowed"),
    [
        (4, "a number", ["abc", True, [4]], [4.5, None]),
        (0.5, "a number", ["abc", False], [1, None]),
        (False, "true or false", [1, "yes"], [True]),
        ([4, 8], "a list", [4, "4,8"], [[1], None]),
        ("auto", "", [], ["other", 3, False]),
        (None, "", [], ["mean", 3]),
    ],
)
def test_a_hyper_parameter_of_another_kind_than_its_default_is_refused(default, kind, others, allowed):
    model = ModelSpec(id="mine/net", target="mine:net", defaults={"width": default})
    for value in others:
        with pytest.raises(UsageError, match=f"mine/net: width=.* must be {kind}, as its default"):
            typed_hparams(model, {"width": value})
    for value in [default, *allowed]:
        typed_hparams(model, {"width": value})


def test_a_plan_refuses_kinds(make):
    with pytest.raises(UsageError, match="planzoo/narrow: width='abc' must be a number"):
        make("planzoo/narrow", settings={"width": "abc"})


@pytest.mark.parametrize("seeds", [[], [-1], [2**31], [0.5], [True], ["1"], 3, None])
def test_invalid_seeds_are_refused(make, seeds):
    with pytest.raises(UsageError, match="seeds"):
        make(seeds=seeds)


def test_the_user_overrides_the_budget_which_overrides_the_model_which_overrides_the_defaults(make):
    cell = one(make("planzoo/narrow", "planzoo/sky"))
    budget = BUDGETS["smoke"]
    assert cell.training["lr"] == 0.5  # the model's
    assert cell.training["epochs"] == budget.training["epochs"] != 77  # the budget's before the model's
    assert cell.training["augment"] == "d4"  # nobody's but the default
    assert cell.recipe.params == {"image_size": 33, "depth": 1}
    assert cell.sizes == budget.sizes
    chosen = one(
        make(
            "planzoo/narrow",
            "planzoo/sky",
            {"epochs": 3, "lr": 0.25, "data.image_size": 48, "data.depth": 2, "val_images": 7},
        )
    )
    assert (chosen.training["epochs"], chosen.training["lr"]) == (3, 0.25)
    assert chosen.recipe.params == {"image_size": 48, "depth": 2}
    assert chosen.sizes == {**budget.sizes, "val": 7}
    assert BUDGETS["smoke"].sizes["val"] != 7


@pytest.mark.parametrize("name", ["mass_fraction", "subhalo_mass_high"])
def test_a_stated_mass_overrides_the_budget(name):
    """As a budget of another plugin may multiply masses; a stated mass means that one."""
    host = load_plugins(environment={})
    specs = host.specs[DatasetSpec]
    spec = specs["deeplense/modelB"]
    specs[spec.id] = dataclasses.replace(spec, budgets={"smoke": {**spec.budgets["smoke"], "mass_scale": 4.0}})
    request = Request(models=["p4m"], data=["modelB"], budget="smoke", device="cpu")
    assert one(make_plan(host, request)).recipe.params["mass_scale"] == 4.0
    stated = dataclasses.replace(request, settings={f"data.{name}": 0.1 if name == "mass_fraction" else 1e9})
    assert one(make_plan(host, stated)).recipe.params["mass_scale"] == 1.0
    both = dataclasses.replace(request, settings={**stated.settings, "data.mass_scale": 2.0})
    assert one(make_plan(host, both)).recipe.params["mass_scale"] == 2.0


def test_every_budget_has_the_published_masses():
    specs = registry.listed(load_plugins(environment={}), DatasetSpec, pattern="deeplense/*")
    simulated = [spec for spec in specs if spec.simulated]
    masses = [data_params(spec, budget, {})["mass_scale"] for spec in simulated for budget in BUDGETS.values()]
    assert set(masses) == {1.0}
    assert len(masses) >= 10 * len(BUDGETS)


def test_a_parameter_without_a_default_must_be_given():
    request = Request(models=["p4m"], data=["deeplense-folder"], budget="smoke", device="cpu")
    with pytest.raises(UsageError, match="deeplense-folder needs root"):
        make_plan(load_plugins(environment={}), request)


def test_settings_of_one_model_leave_the_others_alone(make):
    settings = {"lr": 0.1, "width": 5, "tiny.lr": 0.2, "toyzoo/*.width": 7, "planzoo/narrow.epochs": 3}
    tiny, narrow = make("toyzoo/tiny,planzoo/narrow", settings=settings)
    assert (tiny.training["lr"], tiny.hparams["width"]) == (0.2, 7)
    assert (narrow.training["lr"], narrow.hparams["width"], narrow.training["epochs"]) == (0.1, 5, 3)
    plain = one(make("planzoo/narrow", settings={"lr": 0.1, "width": 5, "epochs": 3}))
    assert narrow.run_id == plain.run_id


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tinny.lr": 1}, "no model of this plan is called 'tinny'. Did you mean 'tiny'"),
        ({"p4m.width": 1}, "no model of this plan is called 'p4m'.\nIts models: toyzoo/tiny. Parameters of"),
        ({"seed": 3}, "--set seed: seeds have an option of their own.\nWrite: --seeds 0,1,2"),
        ({"dat.count": 1}, "Did you mean 'data'"),
        ({"tiny.widht": 1}, "toyzoo/tiny has no setting 'widht'. Did you mean 'width'"),
        ({"tiny.train_images": 1}, "has no setting 'train_images'"),
    ],
)
def test_settings_of_an_absent_model_are_refused(make, settings, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        make(settings=settings)


def test_hyper_parameters_are_set_with_and_without_prefix(make):
    assert one(make()).hparams == {"width": 4, "dropout": 0.2}
    assert one(make(settings={"width": 8})).hparams == {"width": 8, "dropout": 0.2}
    assert one(make(settings={"model.width": 8})).run_id == one(make(settings={"width": 8})).run_id
    wide, narrow = make("toyzoo/tiny,planzoo/narrow", settings={"width": 8, "dropout": 0.5})
    assert (wide.hparams, narrow.hparams) == ({"width": 8, "dropout": 0.5}, {"width": 8})
    with pytest.raises(UsageError, match="given twice"):
        make(settings={"width": 8, "model.width": 9})


def test_a_training_setting_differs_from_a_hyper_parameter_of_the_same_name(make):
    cell = one(make("planzoo/clipped", settings={"clip": 9}))
    assert (cell.training["clip"], cell.hparams["clip"]) == (9, 3)
    cell = one(make("planzoo/clipped", settings={"clip": 9, "model.clip": 5}))
    assert (cell.training["clip"], cell.hparams["clip"]) == (9, 5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"widht": 1}, "Did you mean 'width'"),
        ({"model.lr": 1}, "no setting of .* has this name"),
        ({"data.width": 1}, "no setting of .* has this name"),
        ({"count": 1}, "Write: --set data.count="),
        ({"train_images": True}, "train_images=True"),
        ({"test_images": 10**15}, "from 1 to 100,000,000"),
        ({7: 1}, "The name of a setting is not a text: 7"),
        ({"width": math.nan}, "finite"),
        ({"width": [1, -math.inf]}, "finite"),
        ({"width": object()}, "width=<object object at .*> is not a finite number, a text or a list of them"),
    ],
)
def test_unknown_settings_are_refused(make, settings, words):
    with pytest.raises(UsageError, match=words):
        make(settings=settings)


def test_impossible_populations_are_found_before_anything_runs(make):
    assert len(make(data="planzoo/sky", settings={"data.depth": 5})) == 1
    with pytest.raises(UsageError, match=r"^planzoo/sky: depth=6 is above 5\.\nDig less\.$"):
        make(data="planzoo/sky", settings={"data.depth": 6})
    with pytest.raises(
        UsageError, match=r"planzoo/sky cannot be drawn with .*depth=-1 \(default 1\): Ar.*: log of a negative depth"
    ):
        make(data="planzoo/sky", settings={"data.depth": -1})
    with pytest.raises(UsageError, match="ZeroDivisionError"):
        make(data="planzoo/raises")
    with pytest.raises(MissingError, match="planzoo/unimportable cannot be loaded"):
        make(data="planzoo/unimportable")


def test_impossible_parameters_of_existing_images_are_found_before_anything_runs(make):
    assert len(make(data="planzoo/photos", settings={"data.depth": 5})) == 1  # without its images being opened
    with pytest.raises(UsageError, match=r"^planzoo/photos: depth=6 is above 5\.\nDig less\.$"):
        make(data="planzoo/photos", settings={"data.depth": 6})
    with pytest.raises(UsageError, match=r"planzoo/photos cannot be opened .*ZeroDivisionError"):
        make(data="planzoo/photos", settings={"data.depth": -1})


def test_the_names_of_a_request_are_checked(make):
    for wrong in (
        {"models": "planzoo/narow"},
        {"data": "planzoo/skye"},
        {"simulator": "causticz", "data": "planzoo/sky"},
        {"budget": "smoky"},
        {"precision": "bf61"},
        {"rule": "lasd"},
        {"device": "cpuu"},
    ):
        with pytest.raises(UsageError, match="Did you mean"):
            make(**wrong)


def test_the_default_budget_depends_on_the_device(make, monkeypatch):
    assert one(make(budget=None)).budget == "laptop"
    monkeypatch.setattr(plan, "planned_device", lambda device: "cuda")
    assert one(make(budget=None)).budget == "paper"
    assert one(make()).precision == "bf16"


def test_unknown_training_settings_of_a_plugin_are_refused(tmp_path):
    path = tmp_path / "eager.py"
    path.write_text(
        "from zoo import ModelSpec, hookimpl\n@hookimpl\ndef zoo_models():\n"
        "    return [ModelSpec(id='eager/net', target='eager:net', training={'learning_rat': 1})]\n"
    )
    host = load_plugins(files=[path, TOY], environment={})
    with pytest.raises(UsageError, match=r"eager/net: its plugin sets 'learning_rat', which is not a training setting"):
        make_plan(host, Request(models=["eager/net"], data=["stripes"], budget="smoke", device="cpu"))


def test_budgets_grow():
    for smaller, larger in pairwise(BUDGETS.values()):
        assert all(smaller.sizes[split] <= larger.sizes[split] for split in ("train", "val", "test"))
        assert smaller.sizes != larger.sizes
        told, more = (f"{budget.note}{budget.size_note}" for budget in (smaller, larger))
        assert told
        assert told != more


def test_devices_are_resolved(monkeypatch):
    assert resolve_device("cpu") == "cpu"
    monkeypatch.setattr(devices, "_surely_no_gpu", lambda: True)
    assert resolve_device("auto") == "cpu"
    monkeypatch.setattr(devices, "_surely_no_gpu", lambda: False)
    for available, device in ((False, "cpu"), (True, "cuda")):
        cuda = SimpleNamespace(is_available=lambda available=available: available)
        backends = SimpleNamespace(mps=SimpleNamespace(is_available=lambda: False))
        monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda, backends=backends))
        assert resolve_device("auto") == device
    assert resolve_device("cuda") == "cuda"
    with pytest.raises(MissingError, match="'mps' is not available"):
        resolve_device("mps")
