"""A cell survives JSON, and altered files are detected."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace

import pytest

from zoo.data.phases import Phase
from zoo.data.recipe import Recipe, short_hash
from zoo.errors import DataError
from zoo.results.cell import SCHEMA, Cell, Search

CELL = Cell(
    model="toyzoo/tiny",
    model_version=1,
    hparams={"width": 4, "widths": [1, 2], "name": "ü"},
    recipe=Recipe(dataset="toyzoo/stripes", dataset_version=2, params={"snr": "U(1, 2)"}),
    sizes={"train": 10, "val": 2, "test": 3},
    training={"lr": 1e-3, "epochs": 5},
    seed=5,
    budget="smoke",
    rule="val_auc",
    precision="fp32",
    versions={"lens-zoo": "0.1.0"},
)
CHANGES = {
    "model": "toyzoo/huge",
    "model_version": 2,
    "hparams": {"width": 5},
    "recipe": Recipe(dataset="toyzoo/stripes", dataset_version=2, params={"snr": "U(1, 3)"}),
    "sizes": {"train": 11, "val": 2, "test": 3},
    "training": {"lr": 2e-3, "epochs": 5},
    "seed": 6,
    "budget": "laptop",
    "rule": "last",
    "precision": "bf16",
    "versions": {"lens-zoo": "0.1.1"},
    "task": "substructure",
    "content": {"width": "content:0"},
    "images": {"val": "0"},
    "train_seed": 0,
    "phases": (Phase(epochs=3, params={"snr": "U(1, 9)"}), Phase(epochs=2, params={"snr": "U(1, 2)"})),
    "predictions": "0" * 64,
    "task_version": 2,
}


def test_a_cell_survives_json():
    text = json.dumps(CELL.to_json())
    again = Cell.from_json(json.loads(text))
    assert again == CELL
    assert again.run_id == CELL.run_id
    assert again.recipe.hash == CELL.recipe.hash
    assert (CELL.data, str(CELL.folder)) == ("toyzoo/stripes", f"toyzoo.stripes/toyzoo.tiny/{CELL.run_id}")


def test_every_field_changes_the_run_id():
    assert set(CHANGES) == {field.name for field in fields(Cell)} - {"search", "phases_from"}
    run_ids = {replace(CELL, **{name: value}).run_id for name, value in CHANGES.items()}
    assert len(run_ids | {CELL.run_id}) == len(CHANGES) + 1


@pytest.mark.parametrize("trials", [12, None])
def test_the_search_is_recorded_and_changes_neither_run_id_nor_equality(trials):
    found = replace(CELL, search=Search(study="first", trials=trials))
    assert (found, found.run_id) == (CELL, CELL.run_id)
    content = json.loads(json.dumps(found.to_json()))
    assert content["search"] == {"study": "first", "trials": trials, "selected_by": "val_auc"}
    assert Cell.from_json(content).search == found.search
    with pytest.raises(DataError, match="search"):
        Cell.from_json(content | {"search": {"study": "first", "trials": -1}})


def test_a_cell_without_the_fields_that_came_later_keeps_its_run_id():
    later = (
        "task", "content", "images", "search", "train_seed", "phases", "phases_from", "predictions", "task_version",
    )  # fmt: skip
    before = {name: value for name, value in asdict(CELL).items() if name not in later}
    later_of_recipe = ("content", "code", "commitment", "noiseless", "channels")
    before["recipe"] = {name: value for name, value in before["recipe"].items() if name not in later_of_recipe}
    assert CELL.run_id == short_hash({"schema": SCHEMA, **before})
    assert not {*later} & CELL.to_json().keys()
    assert Cell.from_json(replace(CELL, task="substructure").to_json()).task == "substructure"


def test_a_cell_with_phases_survives_json_and_they_are_as_long_as_the_training():
    cell = replace(CELL, phases=CHANGES["phases"])
    assert Cell.from_json(json.loads(json.dumps(cell.to_json()))) == cell
    of_budget = replace(cell, phases_from="budget")
    assert (of_budget, of_budget.run_id) == (cell, cell.run_id)
    assert of_budget.trained_on == f"{cell.trained_on} (phases of the budget)"
    assert Cell.from_json(json.loads(json.dumps(of_budget.to_json()))).phases_from == "budget"
    with pytest.raises(DataError, match="have 5 epochs in all; the training has 6"):
        replace(cell, training={"epochs": 6})
    with pytest.raises(DataError, match="0 epochs"):
        Phase(epochs=0)


def test_order_of_entries_does_not_change_the_run_id():
    turned = replace(CELL, hparams=dict(reversed(CELL.hparams.items())), sizes=dict(reversed(CELL.sizes.items())))
    assert turned.run_id == CELL.run_id
    assert len(CELL.run_id) == 16
    int(CELL.run_id, 16)


@pytest.mark.parametrize("name", CHANGES)
def test_an_altered_field_is_detected(name):
    with pytest.raises(DataError, match="has been altered"):
        Cell.from_json({**CELL.to_json(), name: replace(CELL, **{name: CHANGES[name]}).to_json()[name]})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({**CELL.to_json(), "run_id": "0" * 16}, "cell 0{16} has been altered"),
        ({key: value for key, value in CELL.to_json().items() if key != "run_id"}, "None has been altered"),
        ({**CELL.to_json(), "schema": SCHEMA + 1}, f"schema {SCHEMA + 1} cannot be read"),
        ({}, "schema None"),
        ({"schema": SCHEMA}, "missing"),
        ({**CELL.to_json(), "more": 1}, "unknown field more"),
        ({**CELL.to_json(), "recipe": {**CELL.recipe.to_json(), "more": 1}}, "unknown field more"),
        ({**CELL.to_json(), "seed": "5"}, r"Expected `int`, got `str` - at `\$\.seed`"),
        ({**CELL.to_json(), "rule": "best"}, r"Invalid enum value 'best' - at `\$\.rule`"),
        ({**CELL.to_json(), "sizes": {"train": 10, "val": 2}}, "no size of test"),
        ({**CELL.to_json(), "hparams": {"width": float("nan")}}, "Not a cell: Out of range float values"),
        ([], "Not a cell: list"),
        ("cell", "Not a cell: str"),
        (None, "Not a cell: NoneType"),
    ],
)
def test_invalid_cells_are_refused(content, words):
    with pytest.raises(DataError, match=words):
        Cell.from_json(content)


def test_files(tmp_path):
    path = tmp_path / "cell.json"
    with pytest.raises(DataError, match=r"Cannot read a cell from .*cell\.json"):
        Cell.read(path)
    path.write_text(json.dumps(CELL.to_json()), encoding="utf-8")
    assert Cell.read(path) == CELL
    for damaged in (b"", b"{", b"\xff\xfe", path.read_bytes()[:-20]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="Cannot read a cell"):
            Cell.read(path)
