"""Tables: grouping of runs, order of rows, and widths that fit the terminal."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import reportdata
from msgspec.structs import replace

from zoo.budgets import BUDGETS
from zoo.data.about import budget_note, changed_note
from zoo.data.phases import Phase
from zoo.data.recipe import Recipe
from zoo.models.target import Target
from zoo.report.tables import make_tables, result_notes
from zoo.report.text import to_markdown
from zoo.results.comparison import group_variants, names_of_rows
from zoo.results.store import plain_result, result_from
from zoo.scores.schema import Change, Invariance, LargestChange, Rotation, Rotations
from zoo.specs import DatasetSpec

good, bad, make_cell = reportdata.good, reportdata.bad, reportdata.make_cell
UNDEFINED = Invariance(
    square=Change(error=None, flips=None, elements=8),
    angles={angle: Rotation(error=None, floor=None, flips=None) for angle in ("17", "45")},
    rotations=Rotations(error=None, floor=None, flips=None, angles_degrees=(45.0,), mirrors=False),
)


def test_cells_that_all_failed_state_no_score():
    [table] = make_tables([bad("no such luck", model="toyzoo/broken"), bad("", "oom", model="toyzoo/large", seed=3)])
    assert not [name for name in table.columns if "AUC" in name]
    assert [row[table.columns.index("score")] for row in table.rows] == ["failed", "oom"]


def test_a_cause_that_several_cells_share_is_stated_once():
    text = "sky/rings: ValueError: no images"
    [table] = make_tables([*(bad(text, model=f"toyzoo/{name}") for name in "ab"), bad("no luck", model="toyzoo/c")])
    assert table.notes[-2:] == [f"toyzoo/a, seed 0; toyzoo/b, seed 0: {text}", "toyzoo/c, seed 0: no luck"]


def test_rows_of_one_model_name_the_code_and_the_hyper_parameters_that_differ():
    rows = [
        *(good(0.9, versions={"lens-zoo": "1", "nets": code}, hparams={"width": 4}) for code in ("one", "two")),
        good(0.9, model="toyzoo/other", versions={"lens-zoo": "1"}),
        bad("no such luck", versions={"lens-zoo": "1", "nets": "two"}, hparams={"width": 0}),
    ]
    [table] = make_tables(rows)
    names = [f"toyzoo/tiny (width {width}, nets {code})" for width, code in ((4, "one"), (4, "two"), (0, "two"))]
    assert sorted(row[0] for row in table.rows) == sorted(["toyzoo/other", *names])
    assert f"{names[2]}, seed 0: no such luck" in table.notes


def test_problems_of_an_absent_plugin_are_told_apart_and_no_path_of_the_machine_is_shown():
    recipes = [
        Recipe(dataset="sky/rings", dataset_version=1, params={"file": f"/home/me/{name}"}, content={"file": digest})
        for name, digest in (("sky.h5", "content:0123456789"), ("sky2.h5", "content:abcdef0123"))
    ]
    titles = [table.title for table in make_tables(good(0.9, make_cell(recipe=recipe)) for recipe in recipes)]
    assert sorted(title.partition("\n")[2] for title in titles) == ["file sky.h5 (01234567)", "file sky2.h5 (abcdef01)"]


def test_a_required_parameter_has_no_default_to_differ_from():
    spec = DatasetSpec(
        id="sky/rings", target="sky:rings", classes=("a", "b"), params={"file": None, "snr": 20}, required=("file",)
    )
    assert changed_note(spec, {"file": "/home/me/sky.h5", "snr": 30}) == "snr 30, not 20"


def test_best_first_and_failed_last_with_their_cause(table):
    assert [row[0] for row in table.rows] == [
        "toyzoo/best",
        "toyzoo/middle",
        "toyzoo/worst",
        "toyzoo/broken",
        "toyzoo/large",
    ]
    assert [row[table.columns.index("AUC macro")] for row in table.rows][3:] == ["failed", "oom"]
    assert [row[table.columns.index("parameters")] for row in table.rows][3:] == ["", ""]
    assert table.notes[-2:] == [
        "toyzoo/broken, seed 0: RuntimeError: no such luck", "toyzoo/large, seed 3: the cause is unknown",
    ]  # fmt: skip
    assert table.notes[0] == "stripes four times as wide"
    assert {len(row) for row in table.rows} == {len(table.columns)}


def test_a_row_has_the_expected_values(table):
    row = dict(zip(table.columns, table.rows[0], strict=True))
    run = row.pop("run")
    assert re.fullmatch(r"[0-9a-f]{8}", run)
    assert row == {
        "model": "toyzoo/best",
        "seed": "0",
        "parameters": "51,234",
        "MACs": "3.21 M",
        "AUC no substructure": "0.9700",
        "AUC subhalo": "0.9710",
        "AUC vortex": "0.9720",
        "AUC macro": "0.9700",
        "95 %": "0.9600 to 0.9800",
        "accuracy": "0.750",
        "log loss": "0.700",
        "Brier": "0.250",
        "calibration error": "0.100",
        "equivariance error": "3e-07",
        "search trials": "0",
        "class flips": "0.0%",
        "at 17 deg": "2e-01",
        "at 45 deg": "3e-01",
        "train images/s": "1,234",
        "minutes": "2.5",
    }


def test_unknown_values_are_dashes():
    result = good(0.9, model="toyzoo/odd")
    result = replace(
        result,
        cost=replace(result.cost, macs=None),
        test=replace(result.test, brier=None),
        equivariance=replace(result.equivariance, after=UNDEFINED),
    )
    assert result_from(plain_result(result), run_dir=result.run_dir) == result
    [table] = make_tables([result, good(0.8)], datasets=reportdata.DATASETS)
    row = dict(zip(table.columns, table.rows[0], strict=True))
    for heading in ("MACs", "Brier", "equivariance error", "class flips", "at 17 deg", "at 45 deg"):
        assert row[heading] == "-"
    assert "other angles" not in table.columns
    assert "own group" not in table.columns
    [table] = make_tables([result], datasets=reportdata.DATASETS)
    assert not {"MACs", "Brier", "equivariance error", "class flips", "at 17 deg"} & set(table.columns)
    assert {"parameters", "AUC macro", "minutes"} <= set(table.columns)
    assert "interpolation alone" not in " ".join(table.notes)


def test_the_measure_of_earlier_versions_is_not_shown_under_the_name_of_the_new_one():
    result = good(0.9)
    old = LargestChange(error=0.123, flips=0.456, elements=8)
    result = replace(
        result, equivariance=replace(result.equivariance, before=None, after=None, initial=old, trained=old)
    )
    assert result_from(plain_result(result), run_dir=result.run_dir) == result
    [table] = make_tables([result], datasets=reportdata.DATASETS)
    assert not {"equivariance error", "class flips"} & set(table.columns)
    assert "equivariance error: not shown for runs of earlier versions of zoo" in " ".join(table.notes)
    assert "0.123" not in to_markdown(table)


def test_the_title_lists_shared_values(table):
    for words in ("toyzoo/stripes", "budget laptop", "9,216 training", "2,048 test", "rule val_auc", "fp32"):
        assert words in table.title
    assert table.title.endswith("\nimage_size 32")


def test_the_title_states_the_actual_numbers_of_images():
    """A folder of images has fewer than a budget asks for; streamed training images are not counted."""
    result = good(0.9)
    counts = {"train": (70, 70, 70), "val": (5, 5, 5), "test": (20, 20, 21)}
    [table] = make_tables([replace(result, data=replace(result.data, counts=counts))])
    assert "210 training, 15 validation, 61 test images" in table.title
    del counts["train"]
    [table] = make_tables([replace(result, data=replace(result.data, counts=counts))])
    assert "9,216 training, 15 validation, 61 test images" in table.title


@pytest.mark.parametrize(
    "change",
    [
        {"data": "toyzoo/dots"},
        {"budget": "paper"},
        {"sizes": {"train": 9216, "val": 1024, "test": 4096}},
        {"rule": "last"},
        {"params": {"image_size": 64}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_incomparable_runs_have_separate_tables(change):
    tables = make_tables([good(0.9), good(0.8, **change), good(0.7, seed=1)])
    assert sorted(len(table.rows) for table in tables) == [1, 2]


def test_trainings_of_different_precision_share_a_table_that_shows_it():
    """A network may decline bf16, and its scores are in float32 as all others."""
    runs = [good(0.9, precision="bf16"), good(0.8, model="toyzoo/other"), bad("no", seed=2)]
    [table] = make_tables(runs)
    assert "rule val_auc · bf16 and fp32" in table.title
    at = list(table.columns).index("precision")
    assert [row[at] for row in table.rows] == ["bf16", "fp32", "fp32"]
    assert (
        "Trained differently: precision is bf16 for toyzoo/tiny (precision bf16); fp32 for toyzoo/other." in table.notes
    )
    [table] = make_tables([good(0.9, precision="bf16"), good(0.8, precision="bf16", training={})])
    assert "rule val_auc · bf16" in table.title
    assert "precision" not in table.columns


def test_comparable_runs_share_a_table():
    """Seeds and models do, and results read back from JSON, whose keys come in another order."""
    content = plain_result(good(0.8, seed=1))
    content["cell"]["sizes"] = dict(sorted(content["cell"]["sizes"].items()))
    read_back = result_from(content, run_dir=Path())
    assert list(read_back.cell.sizes) != list(good(0.9).cell.sizes)
    [table] = make_tables([good(0.9), read_back, good(0.7, model="toyzoo/other"), bad("no", seed=2)])
    assert [row[1] for row in table.rows] == ["0", "1", "0", "2"]


def test_differing_trainings_are_listed_below_the_table():
    training = {"epochs": 3, "lr": 0.1}
    alike = [good(auc, model=model, training=training) for auc, model in ((0.9, "toyzoo/a"), (0.8, "toyzoo/b"))]
    [table] = make_tables(alike)
    assert not [note for note in table.notes if "Trained differently" in note]
    [table] = make_tables([alike[0], good(0.8, model="toyzoo/b", training={**training, "new_noise": True})])
    assert "toyzoo/b (new noise)" in [row[0] for row in table.rows]  # which states it
    assert not [note for note in table.notes if "Trained differently" in note]
    [table] = make_tables([alike[0], good(0.8, model="toyzoo/b", training={**training, "optimizer": "timm/muon@1"})])
    assert "toyzoo/b (optimizer timm/muon@1)" in [row[0] for row in table.rows]
    assert not [note for note in table.notes if "Trained differently" in note]
    both = [alike[0], good(0.8, model="toyzoo/b", training={**training, "optimizer": "timm/muon@1"})]
    names = names_of_rows(group_variants(both))  # of a page, which names what differs within a network
    assert result_notes(both, names) == [
        "Trained differently: optimizer is adamw for toyzoo/a; timm/muon@1 for toyzoo/b."
    ]
    longer = good(0.8, model="toyzoo/b", training={"epochs": 77, "lr": 0.5})
    [table] = make_tables([alike[0], longer])
    [line] = [note for note in table.notes if "Trained differently" in note]
    assert "77 for toyzoo/b" in line
    assert "epochs" in line
    many = [good(0.9, model=f"toyzoo/{name}", training=training) for name in "acdef"]
    [table] = make_tables([longer, *many])
    assert "Trained differently: epochs is 77 for toyzoo/b; 3 for the other trainings." in table.notes


def test_other_training_images_and_trainings_that_have_not_begun_are_listed_below_the_table():
    phases = (Phase(epochs=3, params={"image_size": "U(1, 4)"}), Phase(epochs=5, params={"image_size": 32}))
    [shared] = make_tables([good(0.9, phases=phases), replace(good(0.5, seed=1), not_begun=8)])
    assert [row[0] for row in shared.rows] == ["toyzoo/tiny (phases)", "toyzoo/tiny"]
    words = "trained on image_size U(1, 4) for 3 epochs, then 32 for 5"
    assert sum(note.startswith(f"toyzoo/tiny (phases): {words};") for note in shared.notes) == 1
    assert (
        sum(note.startswith("toyzoo/tiny, seed 1: has not begun to learn after 8 epochs") for note in shared.notes) == 1
    )
    [of_budget] = make_tables([good(0.9, phases=phases, phases_from="budget")])
    assert any(note.startswith(f"toyzoo/tiny (phases): {words} (phases of the budget);") for note in of_budget.notes)
    targets = tuple(Target(name=f"a{skill}", centre=0, scale=1, skill=skill) for skill in (0.1, 0.0))
    [blind] = make_tables([replace(good(0.9), targets=targets)])
    assert any("hold no information on a0.0, and neither does a posterior" in note for note in blind.notes)
    [plain] = make_tables([good(0.9)])
    assert not any("trained on" in note or "not begun" in note or "nothing" in note for note in plain.notes)


def test_rows_of_trainings_on_other_images_have_names_that_their_notes_begin_with():
    phases = [
        (Phase(epochs=3, params={"mass_scale": 4.0}),),
        (Phase(epochs=3, params={"psf_width": 0.2}),),
        (
            Phase(epochs=1, params={"mass_scale": 4}), Phase(epochs=2, params={"mass_scale": 1})
        ),
        (
            Phase(epochs=1, params={"mass_scale": 2}), Phase(epochs=2, params={"mass_scale": 1})
        ),
    ]  # fmt: skip
    training = {"epochs": 3}
    runs = [good(0.8, phases=own, seed=seed, training=training) for own in phases for seed in (0, 1)]
    [table] = make_tables(runs)
    names = {row[0] for row in table.rows}
    assert {"toyzoo/tiny (trained on mass_scale 4)", "toyzoo/tiny (trained on psf_width 0.2)"} < names
    assert len(names) == 4
    assert sum(re.fullmatch(r"toyzoo/tiny \(phases [0-9a-f]{4}\)", name) is not None for name in names) == 2
    assert names == {variant.name for variant in group_variants(runs)}
    told = dict(note.split(": trained on ") for note in table.notes if ": trained on " in note)
    assert set(told) == names
    for words in ("mass_scale 4", "psf_width 0.2"):
        assert told[f"toyzoo/tiny (trained on {words})"].startswith(f"{words} for 3 epochs;")
    # A single variant in several phases, beside others.
    [table] = make_tables(runs[:5])
    assert "toyzoo/tiny (phases)" in [row[0] for row in table.rows]


def test_rows_that_would_share_a_name_state_the_setting_that_differs():
    sizes = {16: good(0.9, training={"batch_size": 16}), 32: bad("no luck", training={"batch_size": 32})}
    [table] = make_tables([*sizes.values(), good(0.8, model="toyzoo/other"), good(0.8, model="toyzoo/other", seed=1)])
    names = [f"toyzoo/tiny (batch_size {size})" for size in sizes]
    assert [row[0] for row in table.rows] == [names[0], "toyzoo/other", "toyzoo/other", names[1]]
    assert f"{names[1]}, seed 0: no luck" in table.notes


def test_markdown_is_one_complete_table(table):
    lines = to_markdown(table).splitlines()
    assert lines[0].startswith("### toyzoo/stripes")
    body = [line for line in lines if line.startswith("|")]
    assert {line.count("|") for line in body} == {len(table.columns) + 1}
    assert re.fullmatch(r"\| --- (\| ---: )+\|", body[1])
    assert len(body) == 2 + len(table.rows)
    assert lines[1] == ""
    assert lines.index(body[-1]) - lines.index(body[0]) == len(body) - 1  # nothing tears it apart
    assert [line for line in lines if line.startswith("*")] == [f"*{note}*" for note in table.notes]


def test_markdown_is_parsed_as_a_table(table):
    markdown_it = pytest.importorskip("markdown_it")
    tokens = markdown_it.MarkdownIt("commonmark").enable("table").parse(to_markdown(table))
    assert sum(token.type == "tr_open" for token in tokens) == 1 + len(table.rows)
    assert sum(token.type == "th_open" for token in tokens) == len(table.columns)


def test_what_a_network_that_fits_itself_notes_stands_below_the_table():
    noted = replace(good(0.9, model="toyzoo/fits", seed=4), fit_notes=("2 of 9 images could not be fitted.",))
    [table] = make_tables([noted, good(0.8, model="toyzoo/other")], datasets=reportdata.DATASETS)
    assert "toyzoo/fits, seed 4: 2 of 9 images could not be fitted." in table.notes


def test_the_note_of_a_budget_is_left_out_where_its_images_were_changed():
    small = {"image_size": 64, "rays": 2}
    dataset = dataclasses.replace(
        reportdata.STRIPES, params={"image_size": 99, "rays": 1}, budgets={"laptop": small}, shown=("image_size",)
    )
    images = [small, {**small, "rays": 1}, {**small, "image_size": 99}]
    sizes = [BUDGETS["laptop"].sizes]
    said = [budget_note("laptop", dataset, params, sizes=sizes, simulated=True) for params in images]
    assert [text.endswith("; stripes four times as wide") for text in said] == [True, True, False]
    assert all("laptop-size" in text for text in said)


@pytest.mark.parametrize(
    ("budget", "changed", "simulated", "said"),
    [
        ("laptop", {}, True, "a laptop-size problem; 67,500 training images: --budget evening"),
        ("laptop", {"train": 1024}, True, ""),
        ("laptop", {}, False, ""),
        ("evening", {"test": 100}, True, ""),
        ("paper", {}, False, ""),
        ("smoke", {"train": 100}, False, "smoke: checks that everything runs; the scores are not meaningful"),
    ],
)
def test_the_note_on_the_size_of_a_budget_is_of_simulated_images_in_its_numbers(budget, changed, simulated, said):
    usual = BUDGETS[budget].sizes
    assert budget_note(budget, None, {}, sizes=[usual, {**usual, **changed}], simulated=simulated) == said
