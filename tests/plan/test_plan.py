"""From names, wildcards and settings to cells: order, precedence, and the values that determine the run id."""

from __future__ import annotations

import dataclasses
import math
import re
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from zoo import devices
from zoo.budgets import BUDGETS
from zoo.devices import resolve_device
from zoo.errors import MissingError, UsageError
from zoo.host import load_plugins
from zoo.plan import cells as plan
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.results.cell import Cell
from zoo.specs import DatasetSpec, ModelSpec

TOY = Path(__file__).parents[1] / "toys" / "toyzoo.py"
OWN = """
import toysky
from zoo.hookspecs import hookimpl
from zoo.specs import DatasetSpec, ModelSpec, SimulatorSpec

@hookimpl
def zoo_models():
    return [
        ModelSpec(id="planzoo/narrow", target="planzoo:none", defaults={"width": 1},
                  training={"lr": 0.5, "epochs": 77}),
        ModelSpec(id="planzoo/clipped", target="planzoo:none", defaults={"clip": 3, "width": 2}),
    ]

@hookimpl
def zoo_datasets():
    return [
        DatasetSpec(id=f"planzoo/{name}", target=f"planzoo:{name}", classes=("a", "b"), simulated=True,
                    params={"image_size": 99, "depth": 1}, budgets={"smoke": {"image_size": 33}})
        for name in ("sky", "needs", "raises", "unimportable")
    ]

@hookimpl
def zoo_simulators():
    return [SimulatorSpec(id="planzoo/anywhere", target="planzoo:none", device="any")]

class sky:
    def __init__(self, image_size, depth):
        if depth > 5:
            from zoo.errors import UsageError
            raise UsageError(f"depth={depth} is above 5.", hint="Dig less.")
        self.depth = depth

    def sample(self, indices, seed):
        if self.depth < 0:
            raise ArithmeticError("log of a negative depth")
        return toysky.Discs().sample(indices, seed)

def raises(image_size, depth):
    return 1 / 0
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugin") / "planzoo.py"
    path.write_text(OWN)
    return load_plugins(files=[TOY, path], environment={})


@pytest.fixture
def make(host):
    def make(models="toyzoo/tiny", data="toyzoo/stripes", settings=None, **more):
        request = {"budget": "smoke", "device": "cpu"} | more
        names = {"models": [models], "data": [data], "settings": settings or {}}
        return make_plan(host, Request(**names, **request))

    return make


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
    """Budgets for small networks multiply masses by four; whoever types a mass means that one."""
    host = load_plugins(environment={})
    request = Request(models=["p4m"], data=["modelB"], budget="smoke", device="cpu")
    assert one(make_plan(host, request)).recipe.params["mass_scale"] == 4.0
    stated = dataclasses.replace(request, settings={f"data.{name}": 0.1 if name == "mass_fraction" else 1e9})
    assert one(make_plan(host, stated)).recipe.params["mass_scale"] == 1.0
    both = dataclasses.replace(request, settings={**stated.settings, "data.mass_scale": 2.0})
    assert one(make_plan(host, both)).recipe.params["mass_scale"] == 2.0


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
        ({"model.lr": 1}, "has no setting of this name"),
        ({"data.width": 1}, "has no setting of this name"),
        ({"count": 1}, "Write: --set data.count="),
        ({"train_images": True}, "train_images=True"),
        ({"test_images": 10**15}, "from 1 to 100,000,000"),
        ({7: 1}, "a name is not a text"),
        ({"width": math.nan}, "finite"),
        ({"width": [1, -math.inf]}, "finite"),
        ({"width": object()}, "finite number, text or list"),
    ],
)
def test_unknown_settings_are_refused(make, settings, words):
    with pytest.raises(UsageError, match=words):
        make(settings=settings)


def test_impossible_populations_are_found_before_anything_runs(make):
    assert len(make(data="planzoo/sky", settings={"data.depth": 5})) == 1
    with pytest.raises(UsageError, match=r"^planzoo/sky: depth=6 is above 5\.\nDig less\.$"):
        make(data="planzoo/sky", settings={"data.depth": 6})
    with pytest.raises(UsageError, match=r"planzoo/sky cannot be drawn .*ArithmeticError: log of a negative depth"):
        make(data="planzoo/sky", settings={"data.depth": -1})
    with pytest.raises(UsageError, match="ZeroDivisionError"):
        make(data="planzoo/raises")
    with pytest.raises(MissingError, match="planzoo/unimportable cannot be loaded"):
        make(data="planzoo/unimportable")


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


VARIANTS = [
    {"models": "planzoo/narrow"},
    {"data": "planzoo/sky"},
    {"seeds": [1]},
    {"budget": "laptop"},
    {"rule": "last"},
    {"precision": "tf32"},
    {"settings": {"width": 5}},
    {"settings": {"dropout": 0.1}},
    {"settings": {"lr": 0.002}},
    {"settings": {"test_images": 99}},
    {"settings": {"data.count": 601}},
    {"data": "planzoo/sky", "settings": {"data.depth": 3}},
    {"data": "planzoo/sky", "simulator": "planzoo/anywhere"},
    {"data_seeds": True},
]


def test_every_determining_value_changes_the_run_id(make):
    run_ids = [one(make(**variant)).run_id for variant in ({}, *VARIANTS)]
    assert len(set(run_ids)) == len(run_ids)


def test_training_images_of_each_seed_are_part_of_the_cell_only_where_used(make):
    shared, own = make(seeds=[0, 1]), make(seeds=[0, 1], data_seeds=True)
    assert [cell.train_seed for cell in [*shared, *own]] == [None, None, 0, 1]
    assert all("train_seed" not in cell.to_json() for cell in shared)
    assert own[0].to_json()["train_seed"] == 0
    assert all(Cell.from_json(cell.to_json()) == cell for cell in [*shared, *own])
    assert len({cell.run_id for cell in [*shared, *own]}) == 4
    assert len({cell.recipe.hash for cell in [*shared, *own]}) == 1  # validation and test images stay the same
    with pytest.raises(UsageError, match="--data-seeds needs those of each"):
        make(data="planzoo/sky", data_seeds=True, images=Path("anywhere"))


def test_versions_change_the_run_id(make, host, monkeypatch):
    before = one(make()).run_id
    with monkeypatch.context() as patch:
        patch.setattr("zoo.registry.__version__", "0.1.1")
        assert one(make()).run_id != before
    for kind, name in ((ModelSpec, "toyzoo/tiny"), (DatasetSpec, "toyzoo/stripes")):
        with monkeypatch.context() as patch:
            spec = host.specs[kind][name]
            raised = type(spec)(**{**spec.to_json(), "version": spec.version + 1})
            patch.setitem(host.specs[kind], name, raised)
            assert one(make()).run_id != before
    assert one(make()).run_id == before
    distributions = one(make("gconv/p4m", "deeplense/modelA")).versions
    assert list(distributions) == ["lens-zoo", "lens-zoo-caustics", "lens-zoo-deeplense", "lens-zoo-gconv"]


def test_an_edited_file_changes_the_run_id(tmp_path):
    path = tmp_path / "edited.py"
    path.write_text(TOY.read_text().replace("toyzoo", "edited"))

    def run_id():
        host = load_plugins(files=[path], environment={})
        request = Request(models=["edited/tiny"], data=["edited/stripes"], budget="smoke", device="cpu")
        return one(make_plan(host, request)).run_id

    before = run_id()
    assert run_id() == before
    path.write_text(path.read_text().replace("nn.ReLU()", "nn.GELU()"))
    assert run_id() != before


def test_unknown_training_settings_of_a_plugin_are_refused(tmp_path):
    path = tmp_path / "eager.py"
    path.write_text(
        "from zoo import ModelSpec, hookimpl\n@hookimpl\ndef zoo_models():\n"
        "    return [ModelSpec(id='eager/net', target='eager:net', training={'learning_rat': 1})]\n"
    )
    host = load_plugins(files=[path, TOY], environment={})
    with pytest.raises(UsageError, match=r"eager/net: its plugin sets 'learning_rat', which is not a training setting"):
        make_plan(host, Request(models=["eager/net"], data=["stripes"], budget="smoke", device="cpu"))


def test_nothing_else_changes_the_run_id(make, monkeypatch):
    """Not the device, nor how things were named, nor who else takes part."""
    before = one(make(precision="fp32")).run_id
    same = [
        make("tiny", "STRIPES", precision="fp32"),
        make("toyzoo/raises,toyzoo/tiny", seeds=[7, 0], precision="fp32")[3:],
        make(settings={"width": 4, "lr": 1e-3}, precision="fp32"),
        make(simulator="planzoo/anywhere", precision="fp32"),  # no image of this data set is simulated
    ]
    for device in ("cuda", "mps"):
        monkeypatch.setattr(plan, "planned_device", lambda _, device=device: device)
        same.append(make(device=device, precision="fp32"))
    assert [one(cells).run_id for cells in same] == [before] * len(same)


def test_images_rendered_elsewhere_are_other_images(make, monkeypatch):
    here = one(make(data="planzoo/sky", simulator="planzoo/anywhere"))
    monkeypatch.setattr(plan, "planned_device", lambda _: "cuda")
    there = one(make(data="planzoo/sky", simulator="planzoo/anywhere", precision="fp32"))
    assert (here.recipe.device_type, there.recipe.device_type) == ("cpu", "cuda")
    assert here.run_id != there.run_id


def test_budgets_grow():
    for smaller, larger in pairwise(BUDGETS.values()):
        assert all(smaller.sizes[split] < larger.sizes[split] for split in ("train", "val", "test"))
        assert smaller.note
        assert smaller.note != larger.note


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
