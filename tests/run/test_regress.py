"""Regression from the plan to predictions of files: one small training, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from smallrun import TOY

from zoo.cli import cli
from zoo.errors import UsageError
from zoo.host import load_plugins
from zoo.inference.estimates import estimate_names, estimates
from zoo.inference.evaluate import evaluate
from zoo.models.load import load_weights
from zoo.models.weights_file import read_header
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.report.page import write_page
from zoo.report.problems import find_problems
from zoo.results import store
from zoo.results.schema import Finished
from zoo.results.store import read_arrays
from zoo.results.verify import verify_run
from zoo.run.cell import run_cell
from zoo.scores.schema import Measures
from zoo.weights.card import make_card

SKY = TOY.with_name("toysky.py")
SETTINGS = {"train_images": 256, "val_images": 64, "test_images": 90, "epochs": 3, "batch_size": 32, "lr": 0.02}
RADIUS = "sersic.effective_radius"


@pytest.fixture(scope="module")
def host():
    return load_plugins(files=[TOY, SKY], environment={})


def plan(host, task, *, data="toysky/discs", notes=None, **settings):
    request = Request(
        models=["toyzoo/tiny"], data=[data], budget="smoke", device="cpu", task=task,
        settings={**SETTINGS, "augment": "none", "model.dropout": 0.0, **settings}, baselines=False,
    )  # fmt: skip
    return make_plan(host, request, note=(notes if notes is not None else []).append)


@pytest.fixture(scope="module")
def result(host, tmp_path_factory) -> Finished:
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(folder / "cache"))
        [cell] = plan(host, f"regress:{RADIUS},colour,classes=b+c")
        found = run_cell(host, cell, store.prepare_run(folder, cell), device="cpu")
    assert found.status == "ok", found.error
    return found


def test_a_network_of_classification_learns_a_truth_and_nothing_of_what_is_not_in_the_image(result):
    assert isinstance(result.test, Measures)
    values = {name: one.value for name, one in result.test.measures.items()}
    assert values[f"r2.{RADIUS}"] > 0.5
    assert abs(values["r2.colour"]) < 0.3


def test_all_splits_hold_the_chosen_classes_and_the_result_says_so(result):
    assert result.data.trained_on == ("b", "c")
    assert all(counts[0] == 0 and min(counts[1:]) > 0 for counts in result.data.counts.values())


def test_units_and_spread_stand_in_result_and_weights_alike(result):
    about = read_header(result.run_dir / store.WEIGHTS).about
    assert about.targets == result.targets
    assert about.outputs == 4
    assert [one.name for one in result.targets] == [RADIUS, "colour"]
    assert result.targets[0].centre == pytest.approx(0.6, abs=0.05)
    assert result.targets[0].spread != 1.0


def test_stored_predictions_are_calibrated_on_the_validation_split(result):
    arrays, _ = read_arrays(result.run_dir / store.PREDICTIONS)
    errors = (arrays["val.labels"][:, 0] - arrays["val.logits"][:, 0]) * np.exp(-arrays["val.logits"][:, 1])
    assert np.sqrt((errors**2).mean()) == pytest.approx(1, abs=1e-3)
    assert set(arrays["test.classes"].tolist()) == {1, 2}


def test_the_equivariance_error_has_the_unit_of_each_answer(result):
    assert result.equivariance.after.square.error > 0
    assert result.equivariance.after.square.flips is None


def test_verify_and_evaluate_give_the_same_scores(host, result, monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    assert verify_run(result.run_dir).problems == []
    trained = load_weights(host, result.run_dir / store.WEIGHTS)
    again = evaluate(host, trained, result.cell.recipe, images=result.cell.sizes["test"])
    for name, one in result.test.measures.items():
        assert again.measures[name].value == pytest.approx(one.value, rel=1e-4), name


def test_predict_prints_estimates_with_intervals(result, tmp_path):
    arrays, _ = read_arrays(result.run_dir / store.EXAMPLES)
    np.save(tmp_path / "some.npy", arrays["images"][:3, 0])
    weights = str(result.run_dir / store.WEIGHTS)
    found = CliRunner().invoke(
        cli, ["--plugin", str(TOY), "--plugin", str(SKY), "predict", weights, str(tmp_path / "some.npy"), "--json"]
    )
    assert found.exit_code == 0, found.output
    rows = json.loads(found.stdout)
    assert {RADIUS, f"{RADIUS}_low_68", f"{RADIUS}_high_95", "colour"} <= rows[0].keys()
    for row in rows:
        inner, outer = ([row[f"colour_{end}_{level}"] for end in ("low", "high")] for level in (68, 95))
        assert outer[0] < inner[0] < row["colour"] < inner[1] < outer[1]


def test_estimates_are_in_the_order_of_their_names(result):
    found = estimates(result.targets, np.array([[1.0, 0.0, 2.0, 0.0]]))
    values = dict(zip(estimate_names(result.targets), found[0], strict=True))
    assert (values[RADIUS], values["colour"]) == (1.0, 2.0)
    assert values["colour_high_95"] == pytest.approx(3.96, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["quantiles", "flow"])
def test_other_forms_train_and_are_scored(host, tmp_path, monkeypatch, form):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    [cell] = plan(host, f"regress:{RADIUS},answer={form}", epochs=1, train_images=96)
    found = run_cell(host, cell, store.prepare_run(tmp_path, cell), device="cpu")
    assert found.status == "ok", found.error
    assert verify_run(found.run_dir).problems == []


@pytest.mark.parametrize(
    ("task", "settings", "words"),
    [
        ("regress:colur", {}, "Did you mean 'colour'"),
        ("regress:sersic.angle", {}, "changes when an image is turned"),
        ("regress:halo.einstein_radius", {}, "No class is left"),
        ("regress:colour", {"stream": True}, "a stream renders"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused(host, task, settings, words):
    with pytest.raises(UsageError, match=words):
        plan(host, task, **settings)


def test_the_text_of_a_task_decides_the_run(host):
    tasks = ("", "regress:colour", "regress:colour,answer=quantiles", "regress:colour,answer=flow")
    ids = {plan(host, task)[0].run_id for task in tasks}
    assert len(ids) == 4


def test_the_page_shows_predicted_against_true_and_the_ranks(result, tmp_path):
    [problem] = find_problems([result])
    write_page([problem], [], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Predicted against true" in page
    assert len(set(re.findall(r"Ranks of [\w ]+", page))) == 2
    assert "Test images with the largest CRPS" in page
    assert "estimated" in page


@pytest.mark.slow
def test_the_code_of_the_card_gives_the_answers_of_zoo_predict(result, host, tmp_path):
    card = make_card(host, result.run_dir, licence="mit", name=str(result.run_dir / store.WEIGHTS))
    assert "The probabilities apply" not in card
    arrays, _ = read_arrays(result.run_dir / store.EXAMPLES)
    code = card.split("```python\n")[1].split("```")[0].replace("zoo.load(", "load(")
    code = re.sub(r", host=load_plugins\(.*?\)\)", ")", code)  # the host of this test has these files
    names = {"images": arrays["images"][:, 0], "load": lambda path: load_weights(host, Path(path))}
    exec(code, names)
    found = predict_population(result, tmp_path, "all.json").stdout.splitlines()[1].split()
    assert float(found[0]) == pytest.approx(names["values"][RADIUS][0], rel=1e-3)
    assert float(found[1]) == pytest.approx(names["values"][f"{RADIUS}_low_68"][0], rel=1e-3)


def predict_population(result, tmp_path, name, *, factor=1.0):
    arrays, _ = read_arrays(result.run_dir / store.EXAMPLES)
    np.save(tmp_path / "some.npy", arrays["images"][:, 0] * factor)
    words = ["--plugin", str(TOY), "--plugin", str(SKY), "predict", str(result.run_dir / store.WEIGHTS)]
    return CliRunner().invoke(cli, [*words, str(tmp_path / "some.npy"), "--population", str(tmp_path / name)])


@pytest.mark.slow
def test_predict_joins_images_to_the_posterior_of_their_population(result, tmp_path):
    found = predict_population(result, tmp_path, "all.json")
    assert found.exit_code == 0, found.output
    assert "population of 8 lenses: mean" in found.stderr
    radius, colour = json.loads((tmp_path / "all.json").read_text())
    assert (radius["name"], colour["lenses"], colour["unusual"]) == (RADIUS, 8, 0)
    value, *rest = found.stdout.splitlines()[1].split()
    words = found.stdout.splitlines()[0].split()
    assert words == f"{RADIUS} 68 % 95 % colour 68 % 95 % image".split()
    assert [rest[1], rest[4]] == ["to", "to"]
    assert float(rest[3]) < float(rest[0]) < float(value) < float(rest[2]) < float(rest[5])
    assert colour["mean_95"][0] < colour["mean_68"][0] < colour["mean"] < colour["mean_68"][1] < colour["mean_95"][1]
    assert predict_population(result, tmp_path, "all.png").exit_code == 0
    assert (tmp_path / "all.png").stat().st_size > 1000


@pytest.mark.slow
def test_images_unlike_those_of_the_training_are_counted_in_a_population(result, tmp_path):
    found = predict_population(result, tmp_path, "all.json", factor=1e4)
    assert "; 8 with pixels or a sky far outside the training images" in found.stderr
    assert json.loads((tmp_path / "all.json").read_text())[0]["unusual"] == 8


def test_no_population_is_inferred_of_no_image(result, tmp_path):
    found = predict_population(result, tmp_path, "all.json", factor=np.nan)
    assert "all.json is not written" in found.stderr
    assert not (tmp_path / "all.json").exists()


def test_a_population_of_another_kind_of_file_is_refused(result, tmp_path):
    found = predict_population(result, tmp_path, "all.txt")
    assert isinstance(found.exception, UsageError)
    assert "does not end with .json or .png" in str(found.exception)
