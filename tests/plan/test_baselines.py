"""Baselines of a data set join every plan on it, once, and only where they are wanted and there."""

from __future__ import annotations

import dataclasses

import pytest
from smallrun import TOY

from zoo.host import load_plugins
from zoo.plan.baselines import with_baselines
from zoo.plan.bench import plan_bench
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.specs import DatasetSpec
from zoo.train.own_fit import images_key

OWN, SKY = "ownfits/nearest", "toysky/discs"


@pytest.fixture
def host():
    host = load_plugins(files=[TOY, TOY.with_name("ownfits.py"), TOY.with_name("toysky.py")], environment={})
    host.specs[DatasetSpec][SKY] = dataclasses.replace(host.specs[DatasetSpec][SKY], baselines=(OWN,))
    return host


def request(models="toyzoo/tiny", data=SKY, **options):
    return Request(models=[models], data=[data], **{"budget": "smoke", "device": "cpu", **options})


def plan(host, wanted, note=print):
    return with_baselines(host, wanted, make_plan(host, wanted), note=note)


def planned(host, **options):
    notes = []
    cells = plan(host, request(**options), notes.append)
    return [(cell.model, cell.data, cell.seed) for cell in cells], notes


def test_a_baseline_is_added_once_with_the_first_seed(host):
    cells, notes = planned(host, seeds=[3, 4], settings={"lr": 0.1, "tiny.width": 7, "model.dropout": 0.1})
    assert cells == [("toyzoo/tiny", SKY, 3), ("toyzoo/tiny", SKY, 4), (OWN, SKY, 3)]
    assert notes == []


def test_a_baseline_is_fitted_for_every_seed_where_each_has_images_of_its_own(host):
    cells, _ = planned(host, seeds=[3, 4], data_seeds=True)
    assert cells == [("toyzoo/tiny", SKY, 3), ("toyzoo/tiny", SKY, 4), (OWN, SKY, 3), (OWN, SKY, 4)]
    keys = [images_key(cell) for cell in plan(host, request(seeds=[3, 4], data_seeds=True))[2:]]
    assert len({*keys, images_key(plan(host, request())[1])}) == 3


def test_a_baseline_has_the_images_of_the_networks_and_none_of_their_settings(host):
    settings = {"train_images": 99, "data.snr": 3.0, "lr": 0.1, "epochs": 2}
    network, baseline = plan(host, request(settings=settings))
    assert baseline.recipe == network.recipe
    assert baseline.sizes == network.sizes
    [plain] = make_plan(host, request(OWN, settings={"train_images": 99, "data.snr": 3.0}))
    assert baseline.run_id == plain.run_id


@pytest.mark.parametrize(
    "options", [{"models": OWN}, {"models": f"{OWN},toyzoo/tiny"}, {"baselines": False}, {"data": "toyzoo/stripes"}]
)
def test_nothing_is_added_where_it_is_named_unwanted_or_undeclared(host, options):
    cells, _ = planned(host, **options)
    assert len(cells) == len(make_plan(host, request(**options)))


@pytest.mark.parametrize("options", [{"match": "params"}, {"rule": "last"}])
def test_options_of_networks_do_not_stop_it(host, tmp_path, options):
    cells, notes = planned(host, store=tmp_path, **options)
    assert [model for model, _, _ in cells] == ["toyzoo/tiny", OWN]
    assert notes == []


def test_a_stream_and_a_missing_plugin_leave_it_out_with_a_note(host):
    cells, notes = planned(host, settings={"stream": True})
    assert len(cells) == 1
    assert notes == [f"{OWN}, the baseline of {SKY}, is left out: it needs stored training images"]
    host.specs[DatasetSpec][SKY] = dataclasses.replace(host.specs[DatasetSpec][SKY], baselines=("absent/net",))
    cells, [note] = planned(host)
    assert len(cells) == 1
    assert note.startswith(f"absent/net, the baseline of {SKY}, is left out")


def test_an_absent_baseline_of_this_project_comes_with_the_command_that_installs_it():
    host = load_plugins(files=[TOY], environment={"ZOO_DISABLE_PLUGINS": "baselines"})
    notes = []
    plan(host, request(data="deeplense/modelA"), notes.append)
    assert "baselines/scalars_boosted, the baseline of deeplense/modelA, is left out" in notes[0]
    assert "ZOO_DISABLE_PLUGINS" in notes[0] or "pip install" in notes[0]


def test_suites_and_lens_data_sets_hold_their_baselines(host, tmp_path):
    suite = tmp_path / "suite.toml"
    suite.write_text('models = ["toyzoo/tiny"]\ndata = ["deeplense/modelA"]\nbudget = "smoke"\n')
    both = plan_bench(host, request(models="", data=""), suite=suite)
    assert [cell.model for cell in both.cells] == ["toyzoo/tiny", "baselines/scalars_boosted"]
    suite.write_text(suite.read_text() + "baselines = false\n")
    assert len(plan_bench(host, request(models="", data=""), suite=suite).cells) == 1
    without = plan_bench(host, request(models="", data="", baselines=False), suite=suite, given=["baselines"])
    assert len(without.cells) == 1
    for name, spec in host.specs[DatasetSpec].items():
        if name.startswith("deeplense/"):
            assert spec.baselines == (
                "baselines/scalars_boosted",
                "baselines/scalars_boosted_regression",
                "anomaly/mahalanobis_scalars",
                "anomaly/pca_residual",
            )


@pytest.mark.parametrize("name", ["boosted", "Baselines/x", ""])
def test_a_baseline_is_named_by_its_id(name):
    with pytest.raises(ValueError, match="baselines name"):
        DatasetSpec(id="mine/data", target="mine:data", classes=("a", "b"), baselines=(name,))
