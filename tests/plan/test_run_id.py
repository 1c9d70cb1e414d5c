"""Every value that determines a result changes the run id, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest
from smallrun import TOY

from zoo.errors import UsageError
from zoo.host import load_plugins
from zoo.plan import cells as plan
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.results.cell import Cell
from zoo.specs import DatasetSpec, ModelSpec


def one(cells):
    [cell] = cells
    return cell


VARIANTS = [
    {"models": "planzoo/narrow"},
    {"data": "planzoo/sky"},
    {"seeds": [1]},
    {"budget": "laptop"},
    {"rule": "last"},
    {"precision": "bf16"},
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


def test_versions_change_the_run_id(make, plan_host, monkeypatch):
    before = one(make()).run_id
    with monkeypatch.context() as patch:
        patch.setattr("zoo.provenance.__version__", "0.1.1")
        assert one(make()).run_id != before
    for kind, name in ((ModelSpec, "toyzoo/tiny"), (DatasetSpec, "toyzoo/stripes")):
        with monkeypatch.context() as patch:
            spec = plan_host.specs[kind][name]
            raised = type(spec)(**{**spec.to_json(), "version": spec.version + 1})
            patch.setitem(plan_host.specs[kind], name, raised)
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


def test_the_spelling_of_a_prior_does_not_change_the_run_id(make):
    def run_id(**settings):
        return one(make("gconv/p4m", "deeplense/modelB", settings=settings)).run_id

    usual = run_id()
    for text in ("U(10,30)", "u( 10.0, 3e1 )", "10:30"):  # that of the data set is "U(10, 30)"
        assert run_id(**{"data.snr": text}) == usual
        assert run_id(**{"train.snr": text}) == usual  # a phase that changes nothing
    assert run_id(**{"data.mass_scale": "1.0"}) == usual
    other = run_id(**{"data.snr": "U(10,31)"})
    assert other != usual
    for text in ("U(10, 31.0)", "10:31", "10.0:31.0"):
        assert run_id(**{"data.snr": text}) == other
    assert len({run_id(**{"data.snr": value}) for value in (31, 31.0, "31", "31.0")}) == 1
    assert len({run_id(**{"data.mass_scale": value}) for value in (1.5, "1.50", "15e-1")}) == 1
    assert run_id(**{"train.mass_scale": "U(1,4)"}) == run_id(**{"train.mass_scale": "1:4"}) != usual
    precise = run_id(**{"data.snr": "U(10,30.0000001)"})  # no digit is lost
    assert precise not in (usual, other)


@pytest.mark.parametrize(
    ("name", "spellings"),
    [
        ("clip", (1, 1.0)), ("lr", (1, 1.0)), ("ema", (0, 0.0, -0.0)), ("weight_decay", (0, 0.0, -0.0)),
        ("label_smoothing", (0, 0.0)), ("dropout", (0, 0.0, -0.0)), ("data.shear", (0, 0.0, -0.0)),
        ("data.snr", (50, 50.0, "U(50,50)")), ("data.source_index", (1.5, "U(1.5,1.5)")),
        ("train.mass_scale", (0, -0.0)),
    ],
)  # fmt: skip
def test_equal_numbers_give_one_run_id(make, name, spellings):
    ids = {one(make("gconv/p4m", "deeplense/modelB", settings={name: value})).run_id for value in spellings}
    assert len(ids) == 1


def test_images_rendered_elsewhere_are_other_images(make, monkeypatch):
    here = one(make(data="planzoo/sky", simulator="planzoo/anywhere"))
    monkeypatch.setattr(plan, "planned_device", lambda _: "cuda")
    there = one(make(data="planzoo/sky", simulator="planzoo/anywhere", precision="fp32"))
    assert (here.recipe.device_type, there.recipe.device_type) == ("cpu", "cuda")
    assert here.run_id != there.run_id
    again = one(make(data="planzoo/sky", simulator="planzoo/anywhere", precision="fp32", render_on="cpu"))
    assert again.recipe == here.recipe
    assert again.run_id == here.run_id  # the device of a training is not part of it


def test_a_baseline_has_the_run_id_of_its_images_on_every_device(make, monkeypatch):
    own = one(make("baselines/scalars_boosted", "deeplense/modelB"))
    monkeypatch.setattr(plan, "planned_device", lambda _: "cuda")
    assert one(make("baselines/scalars_boosted", "deeplense/modelB", render_on="cpu")).run_id == own.run_id
    assert one(make("baselines/scalars_boosted", "deeplense/modelB")).recipe.device_type == "cuda"


def test_stored_images_are_not_rendered(plan_host):
    notes = []
    words = {"models": ["toyzoo/tiny"], "data": ["toyzoo/stripes"], "budget": "smoke", "render_on": "cpu"}
    make_plan(plan_host, Request(**words, simulator="anywhere"), note=notes.append)
    assert notes == [
        f"toyzoo/stripes consists of stored images: {flag} has no effect" for flag in ("--render-on", "--simulator")
    ]
    with pytest.raises(UsageError, match="Unknown simulator 'nosuch'"):
        make_plan(plan_host, Request(**words, simulator="nosuch"))
