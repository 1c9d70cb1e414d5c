"""Anomaly detection from the plan to the report: methods see normal images only, whatever way they are trained."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from smallrun import TOY

import zoo
from zoo import registry
from zoo.cli import cli
from zoo.data.open import Dataset
from zoo.errors import Interrupted, UsageError
from zoo.host import load_plugins
from zoo.inference.evaluate import TaskEvaluation, evaluate
from zoo.models.load import load_weights
from zoo.plan.baselines import with_baselines
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.plan.tasks import require_area
from zoo.report.page import write_page
from zoo.report.plots import draw_all
from zoo.report.problems import find_problems
from zoo.report.tables import make_tables
from zoo.report.text import to_csv
from zoo.results import store
from zoo.results.verify import verify_run
from zoo.run.cell import run_cell
from zoo.scores.schema import Measures
from zoo.specs import DatasetSpec
from zoo.tasks.find import task_of_option
from zoo.train.fit import prepare
from zoo.weights.card import make_card

PLUGIN = TOY.with_name("oddones.py")
NORMAL = 1
SIZES = {"train_images": 120, "val_images": 40, "test_images": 90}


@pytest.fixture(scope="module")
def host():
    return load_plugins(files=[TOY, PLUGIN], environment={})


def seen():
    """Return what the detectors were given, by their own account."""
    return sys.modules["oddones"].SEEN


def plan(host, *models, task="anomaly", data="oddones/bumps", fitted=False, **settings):
    settings = {**SIZES, **({} if fitted else {"epochs": 2, "batch_size": 16, "lr": 0.02}), **settings}
    request = Request(models=models, data=[data], budget="smoke", device="cpu", task=task, settings=settings)
    return make_plan(host, request)


@pytest.fixture(scope="module")
def runs(host, tmp_path_factory):
    """Return the results of three detectors, which are trained in all the ways there are."""
    folder = tmp_path_factory.mktemp("store")
    seen().clear()
    cells = [*plan(host, "oddones/coder", "oddones/turns"), *plan(host, "oddones/mean", fitted=True)]
    found = [run_cell(host, cell, store.prepare_run(folder, cell), device="cpu") for cell in cells]
    assert [result.status for result in found] == ["ok"] * 3, [getattr(result, "error", "") for result in found]
    return found


def test_no_method_sees_another_label(host, runs):
    """Training, validation, trial and fit: the labels of every batch, by the networks' own account."""
    ways = {way for way, _ in seen()}
    assert ways == {"loss", "turn 0", "turn 1", "fit train", "fit val", "fit batch"}
    assert {label for _, labels in seen() for label in labels} == {NORMAL}


@pytest.mark.parametrize("model", ["oddones/coder", "oddones/mean"])
def test_splits_and_normalisation_hold_normal_images_only(host, tmp_path, monkeypatch, model):
    moments = []
    monkeypatch.setattr("zoo.train.fit.normalisation", lambda split, **about: moments.append(split) or (0.0, 1.0))
    monkeypatch.setattr("zoo.models.classifier.Classifier.normalise", lambda *_, **__: None)
    [cell] = plan(host, model, fitted=model.endswith("mean"))
    prepared = prepare(host, cell, tmp_path / "a" / "b" / "c", device=torch.device("cpu"))
    splits = [*prepared.train_splits, prepared.val_split, *moments]
    assert {label for split in splits for label in split.labels.tolist()} == {NORMAL}
    whole = Dataset(host, cell.recipe, cell.sizes).split("train")
    chosen = np.flatnonzero(whole.labels == NORMAL)
    assert prepared.train_split.ids == [whole.ids[i] for i in chosen]
    assert np.array_equal(prepared.train_split.images, whole.images[chosen])


def test_the_test_split_holds_all_classes_and_the_scores_are_those_of_its_predictions(runs):
    from sklearn.metrics import roc_auc_score

    for result in runs:
        arrays, _ = store.read_arrays(result.run_dir / store.PREDICTIONS)
        labels, scores = arrays["test.labels"], arrays["test.logits"]
        assert scores.shape == (90, 1)
        assert set(labels.tolist()) == {0, 1, 2}
        assert set(arrays["val.labels"].tolist()) == {NORMAL}
        assert isinstance(result.test, Measures)
        assert result.test.headline.value == pytest.approx(roc_auc_score(labels != NORMAL, scores[:, 0]))
        assert result.test.headline.value > 0.9
        assert list(result.test.in_order)[:3] == ["auroc", "auroc.left", "auroc.right"]
        assert (result.cell.rule, result.val.auc) == ("val_loss", None)
        assert result.data.trained_on == ("plain",)
        assert verify_run(result.run_dir).problems == []


def test_the_epoch_with_the_lowest_loss_is_kept(runs):
    history = [json.loads(line) for line in (runs[0].run_dir / store.HISTORY).read_text().splitlines()]
    losses = [entry["val_loss"] for entry in history]
    assert runs[0].val.epoch == 1 + int(np.argmin(losses))
    assert runs[0].val.loss == min(losses)
    assert "val_auc" not in history[0]


def test_an_altered_score_is_noticed(runs, tmp_path):
    import shutil

    copy = shutil.copytree(runs[2].run_dir, tmp_path / runs[2].run_dir.name)
    content = json.loads((copy / store.RESULT).read_text())
    content["test"]["measures"]["auroc"]["value"] = 0.5
    (copy / store.RESULT).write_text(json.dumps(content))
    assert any("measures.auroc.value is" in problem for problem in verify_run(copy).problems)


def test_a_training_in_turns_goes_on_to_the_same_bits(host, runs, tmp_path, monkeypatch):
    whole = runs[1]
    emit = host.emit

    def interrupt(event, **arguments):
        emit(event, **arguments)
        if event == "zoo_epoch_ended":
            raise Interrupted

    run_dir = store.prepare_run(tmp_path, whole.cell)
    with monkeypatch.context() as patch:
        patch.setattr(host, "emit", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_cell(host, whole.cell, run_dir, device="cpu")
    assert not (run_dir / store.RESULT).exists()
    run_cell(host, whole.cell, run_dir, device="cpu")
    first, second = (store.read_arrays(folder / store.PREDICTIONS)[0] for folder in (whole.run_dir, run_dir))
    assert np.array_equal(first["test.logits"], second["test.logits"])


@pytest.mark.slow
def test_tables_page_pictures_and_card_show_a_task_that_is_no_classification(host, runs, tmp_path):
    [table] = make_tables(runs)
    assert "task anomaly" in table.title
    assert table.columns[table.columns.index("95 %") - 1] == "AUROC"
    assert {"AUROC left", "AUROC right", "TPR at 1 % FPR", "TPR / sqrt(FPR)"} <= set(table.columns)
    assert not {"accuracy", "Brier", "class flips"} & set(table.columns)
    assert "test.measures.auroc.value" in to_csv(runs).splitlines()[0].split(",")
    problems = find_problems(runs)
    assert {one.label for one in problems[0].comparisons} == {"AUROC", "AUROC of left", "AUROC of right"}
    write_page(problems, [], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "ROC curves at low rates of false alarms" in page
    assert "Scores of the classes" in page
    assert "Highest scores of" in page
    assert "images\nof one class against all normal images" in page
    write_page(find_problems(runs[:1]), [], tmp_path / "coder.html")  # of the best network, which reconstructs images
    page = (tmp_path / "coder.html").read_text()
    assert page.count('alt="reconstruction"') == page.count('alt="residual over noise, -5 to 5"') == 12
    assert "Confusion" not in page
    assert "highest AUROC" in page
    assert [path.name.partition("-")[0] for path in draw_all(runs, tmp_path)[0]] == ["roc", "images"]
    card = make_card(host, runs[0].run_dir)
    assert "trained for the task `anomaly` on images of plain" in card
    assert "predict_scores" in card


def test_weights_answer_a_score_and_the_share_of_normal_images_below_it(host, runs, tmp_path):
    result = runs[0]
    trained = load_weights(host, result.run_dir / store.WEIGHTS)
    arrays, _ = store.read_arrays(result.run_dir / store.PREDICTIONS)
    known = arrays["val.logits"][:, 0]
    shares = trained.share_below(np.sort(known))
    assert shares == pytest.approx(np.linspace(0, 1, len(known)), abs=0.01)
    assert trained.share_below(np.array([known.min() - 1, known.max() + 1])).tolist() == [0.0, 1.0]
    with pytest.raises(UsageError, match="predict_scores"):
        trained.predict_proba(np.zeros((1, 8, 8)))
    images = np.zeros((2, 8, 8), np.float32)
    images[1, 2:6, 2:6] = 1
    assert trained.predict_scores(images, average="d4").shape == (2,)
    np.save(tmp_path / "images.npy", images + np.random.default_rng(0).normal(size=images.shape) * 0.1)
    command = ["--plugin", str(PLUGIN), "predict", str(result.run_dir), str(tmp_path / "images.npy"), "--json"]
    done = CliRunner().invoke(cli, command)
    rows = json.loads(done.stdout)
    assert [sorted(row)[-1] for row in rows] == ["share_of_validation_below"] * 2
    assert all(0 <= row["share_of_validation_below"] <= 1 for row in rows)


def test_shifted_images_are_scored_with_the_area_of_their_normal_ones(host, runs):
    trained = load_weights(host, runs[2].run_dir / store.WEIGHTS)
    plain = evaluate(host, trained, trained.about.recipe, images=90)
    assert isinstance(plain, TaskEvaluation)
    assert plain.measures == runs[2].test.measures
    turned = evaluate(host, trained, trained.about.recipe, images=90, angle=30.0)
    assert list(turned.in_order)[-1] == "auroc_nuisance"
    nuisance = turned.measures["auroc_nuisance"]
    assert abs(nuisance.value - 0.5) > 0.2  # corners are lost
    assert nuisance.higher_is_better is None


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            {"models": "toyzoo/tiny"},
            r"toyzoo/tiny answers the task classify, not anomaly. Models that answer",
        ),
        ({"models": "oddones/coder", "task": ""}, r"oddones/coder answers the task anomaly, not classify"),
        ({"models": "oddones/coder", "data": "toyzoo/stripes"}, r"toyzoo/stripes cannot answer the task anomaly"),
        ({"models": "oddones/coder", "task": "anomaly:left"}, r"takes no option, such as 'left'"),
    ],
)
def test_what_does_not_go_together_is_refused_with_what_does(host, request_, message):
    models = request_.pop("models")
    with pytest.raises(UsageError, match=message):
        plan(host, models, **request_)


def test_a_stream_is_refused(host):
    with pytest.raises(UsageError, match="trains on some classes only; a stream renders all classes"):
        plan(host, "oddones/coder", stream=True)


def test_a_search_that_compares_areas_is_refused(host):
    [cell] = plan(host, "oddones/coder")
    with pytest.raises(UsageError, match="which the task anomaly does not have"):
        require_area(host, cell)


def test_wildcards_leave_out_models_of_other_tasks_with_a_note(host):
    notes = []
    request = Request(models=["oddones/*", "toyzoo/t*"], data=["oddones/bumps"], budget="smoke", task="anomaly")
    cells = make_plan(host, request, note=notes.append)
    assert {cell.model.partition("/")[0] for cell in cells} == {"oddones"}
    assert any("toyzoo/tiny" in note for note in notes)


@pytest.mark.parametrize(("task", "added"), [("anomaly", ["oddones/mean"]), ("", ["toyzoo/tiny"])])
def test_baselines_of_the_task_are_added(host, task, added):
    request = Request(models=["oddones/both"], data=["oddones/bumps"], budget="smoke", task=task)
    cells = make_plan(host, request)
    found = with_baselines(host, request, cells, note=lambda sentence: pytest.fail(sentence))
    assert [cell.model for cell in found[len(cells) :]] == added


def test_a_network_that_nothing_can_train_is_refused(host, tmp_path):
    [cell] = plan(host, "oddones/lossless")
    result = run_cell(host, cell, store.prepare_run(tmp_path, cell), device="cpu")
    assert result.status == "failed"
    assert "has no method loss(images, labels)" in result.error


def test_normal_classes_are_some_of_the_classes():
    for wrong, text in ((("c",), "not one of its classes"), (("a", "b"), "no image is an anomaly")):
        with pytest.raises(ValueError, match=text):
            DatasetSpec(id="a/b", target="a:b", classes=("a", "b"), normal=wrong)


def test_deeplense_declares_its_normal_class():
    host = load_plugins(environment={})
    for spec in registry.listed(host, DatasetSpec, pattern="deeplense/*"):
        _, task = task_of_option(host, spec, "anomaly")
        assert task.question.trained_on_names == ("no_substructure",)


def test_scenes_of_selected_images_are_theirs(tmp_path):
    """The truth that a fit may use is that of normal images only."""
    sky = load_plugins(files=[TOY.with_name("foreignsky.py"), TOY.with_name("toysky.py")], environment={})
    spec = registry.find(sky, DatasetSpec, "foreignsky/bare")
    recipe = zoo.plan.recipes.make_recipe(sky, spec, params=dict(spec.params), simulator="", device="cpu")
    whole = Dataset(sky, recipe, {"train": 12, "val": 4, "test": 4}).split("train")
    chosen = np.flatnonzero(whole.labels == 0)
    some = whole.select(chosen)
    assert some.ids == [whole.ids[i] for i in chosen]
    assert np.array_equal(some.images, whole.images[chosen])
    assert np.array_equal(some.scenes().source.x, whole.scenes(chosen).source.x)
    assert not some.scenes().points.einstein_radius.any()
    assert whole.scenes().points.einstein_radius.any()
