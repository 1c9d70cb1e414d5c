"""Phases that a data set declares for the trainings of a budget."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from zoo.data.phases import Phase
from zoo.errors import UsageError
from zoo.host import load_plugins
from zoo.plan import shared
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.specs import DatasetSpec

TOYS = Path(__file__).parents[1] / "toys"


@pytest.fixture
def staged(tmp_path):
    """Return the plan of a population of another plugin, whose budget smoke has phases of its own parameters."""
    host = load_plugins(files=[TOYS / "toyzoo.py", TOYS / "toysky.py", TOYS / "foreignsky.py"], environment={})
    specs = host.specs[DatasetSpec]
    specs["foreignsky/clumps"] = replace(
        specs["foreignsky/clumps"], budget_phases={"smoke": "boost=9*2, boost=6*1, *3"}
    )

    def staged(settings=None, models="toyzoo/tiny", budget="smoke", note=lambda sentence: None, **more):
        request = Request(
            models=models.split(","), data=["foreignsky/clumps"], settings=settings or {}, budget=budget, device="cpu",
            baselines=False, **more,
        )  # fmt: skip
        return make_plan(host, request, note=note)

    return staged


STAGES = (9.0, 6.0, 3.0)


@pytest.mark.parametrize(
    ("settings", "epochs"),
    [
        ({"epochs": 6}, [2, 1, 3]),
        ({"epochs": 12}, [4, 2, 6]),
        ({"tiny.epochs": 6}, [2, 1, 3]),
        ({"epochs": 6, "data.boost": 3}, [2, 1, 3]),
        ({"epochs": 6, "data.side": 13}, [2, 1, 3]),
        ({"epochs": 6, "stream": True}, [2, 1, 3]),
        ({"epochs": 2}, [1, 0, 1]),
        ({}, []),  # one epoch is that of the last phase
        ({"epochs": 6, "data.boost": 2}, []),
        ({"epochs": 6, "data.clump_mass": 0.3}, []),
        ({"epochs": 6, "train.phases": ""}, []),
        ({"epochs": 6, "train.phases": "none"}, []),
        ({"epochs": 6, "train.phases": None}, []),
        ({"epochs": 6, "train.phases": []}, []),
    ],
)
def test_a_budget_has_the_phases_that_its_data_set_declares(staged, settings, epochs):
    [cell] = staged(settings)
    kept = [(count, value) for count, value in zip(epochs, STAGES, strict=False) if count]
    assert cell.phases == tuple(Phase(epochs=count, params={"boost": value}) for count, value in kept)
    assert cell.phases_from == ("budget" if kept else "")
    assert cell.trained_on.endswith("(phases of the budget)") == bool(kept)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epochs": 1}, "foreignsky/clumps: a training of 1 epoch has 1 of the 3 phases of budget smoke"),
        ({"epochs": 2}, "foreignsky/clumps: a training of 2 epochs has 2 of the 3 phases of budget smoke"),
        ({"epochs": 3}, ""),
        ({"epochs": 1, "train.phases": "none"}, ""),
        ({"epochs": 1, "data.boost": 2}, ""),
    ],
)
def test_phases_that_a_short_training_leaves_out_are_stated_once(staged, settings, words):
    notes = []
    staged(settings, models="toyzoo/*", note=notes.append)
    assert [note.partition(";")[0] for note in notes if "phases" in note] == [words] * bool(words)


def test_phases_of_the_budget_are_those_that_can_be_given(staged):
    [of_budget] = staged({"epochs": 6})
    [given] = staged({"train.phases": "boost=9*2, boost=6*1, boost=3*3"})
    assert given == of_budget
    assert given.run_id == of_budget.run_id
    assert (given.phases_from, of_budget.phases_from) == ("", "budget")
    assert staged({"epochs": 6, "train.phases": "none"})[0].run_id != of_budget.run_id


def test_given_parameters_of_the_training_replace_the_phases_of_the_budget(staged):
    for settings in ({"train.boost": 5, "epochs": 6}, {"train.phases": "none", "train.boost": 5, "epochs": 6}):
        [cell] = staged(settings)
        assert cell.phases == (Phase(epochs=6, params={"boost": 5.0}),)
        assert cell.phases_from == ""


def test_other_budgets_and_networks_that_fit_themselves_have_no_phases(staged):
    assert [cell.phases for cell in staged({"epochs": 6}, budget="laptop")] == [()]
    host = load_plugins(files=[TOYS / f"{name}.py" for name in ("toysky", "ownfits")], environment={})
    spec = host.specs[DatasetSpec]["toysky/discs"]
    host.specs[DatasetSpec][spec.id] = replace(spec, budget_phases={"smoke": "snr=90*1, *1"})
    request = Request(models=["ownfits/nearest"], data=["discs"], budget="smoke", device="cpu", simulator="painter")
    for settings in ({}, {"train.phases": "none"}):
        [cell] = make_plan(host, replace(request, settings=settings))
        assert (cell.phases, cell.phases_from) == ((), "")


def test_phases_of_the_budget_that_cannot_be_drawn_name_the_way_out():
    request = Request(
        models=["gconv/p4"], data=["modelA"], budget="laptop", device="cpu", settings={"data.subhalo_count": 150.0}
    )
    with pytest.raises(UsageError, match=r"(?s)phases of budget laptop, .*total mass.*--set train.phases=none"):
        make_plan(load_plugins(environment={}), request)
    [cell] = make_plan(
        load_plugins(environment={}), replace(request, settings={**request.settings, "train.phases": "none"})
    )
    assert cell.phases == ()


@pytest.mark.slow
def test_the_published_masses_are_reached_from_larger_ones():
    host = load_plugins(environment={})
    models = ["gconv/p4", "e2cnn/d8_2021"]
    for budget in ("laptop", "evening", "paper"):
        settings = {"d8_2021.epochs": 40}
        request = Request(models=models, data=["modelB_tnfw"], budget=budget, device="cpu", settings=settings)
        for cell in make_plan(host, request):
            assert [phase.params["mass_scale"] for phase in cell.phases] == [4.0, "U(1,4)", 1.0]
            assert cell.recipe.params["mass_scale"] == 1.0


def test_a_folder_of_images_has_no_phases_and_a_note_says_so(staged, monkeypatch):
    monkeypatch.setattr(shared, "recipe_of_folder", lambda dataset, recipe, folder, sizes: recipe)
    monkeypatch.setattr(shared, "folder_digest", lambda folder, split, size: split)
    notes: list[str] = []
    [cell] = staged({"epochs": 6}, images=Path("there"), note=notes.append)
    assert (cell.phases, cell.phases_from) == ((), "")
    assert [note.startswith("the phases of budget smoke on foreignsky/clumps are left out") for note in notes] == [True]
    notes.clear()
    for settings in ({"data.boost": 2}, {"train.phases": "none"}):
        staged(settings, images=Path("there"), note=notes.append)
    assert notes == []


@pytest.mark.parametrize(
    ("task", "settings", "epochs"),
    [
        ("regress:substructure_mass_fraction", {}, [4, 3, 7]),
        ("regress:substructure_mass_fraction", {"init": "p4m.modelA"}, []),  # which sees the published masses already
        ("regress:substructure_mass_fraction", {"init": "p4m.modelA", "train.phases": "mass_scale=4*3, *9"}, [3, 9]),
        ("", {"init": "p4m.modelA"}, []),
        ("", {"init": "p4m.modelA", "train.phases": "mass_scale=4*3, *9"}, [3, 9]),
        ("", {"init": "p4m.modelA", "data.mass_scale": 4}, []),  # without phases of the budget, whatever it starts from
        ("anomaly", {}, []),  # it sees no substructure
    ],
)
def test_phases_of_a_budget_hold_where_a_task_learns_to_see_more_at_larger_masses(task, settings, epochs):
    model = "gconv/p4m_ae" if task == "anomaly" else "gconv/p4m"
    request = Request(
        models=[model], data=["modelA"], budget="laptop", device="cpu", task=task, settings=settings, baselines=False
    )
    notes = []
    [cell] = make_plan(load_plugins(environment={}), request, note=notes.append)
    assert [phase.epochs for phase in cell.phases] == epochs
    assert any("--set init=p4m.modelA" in note for note in notes) == ("regress" in task and "init" not in settings)
    left_out = "the phases of budget laptop on deeplense/modelA are left out for gconv/p4m, which starts from weights"
    assert any(note.startswith(left_out) for note in notes) == (settings.keys() == {"init"})
