"""Numbers that are not finite end a run as a failure that names the image and the time; files hold none of them."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from msgspec import structs
from smallrun import SMALL, TOY

from zoo.data.loader import Batches
from zoo.data.open import Dataset
from zoo.data.question import grouped_classes
from zoo.data.split import Split
from zoo.data.stream import Stream
from zoo.errors import DataError, TrainingError
from zoo.host import load_plugins
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.registry import find
from zoo.results import store
from zoo.results.tasks import stored_question
from zoo.run.cell import run_cell
from zoo.run.metrics import plugin_metrics
from zoo.schema import json_text
from zoo.scores.finite import require_finite
from zoo.scores.score import score
from zoo.specs import DatasetSpec
from zoo.tasks.find import task_of_question
from zoo.train import fit as fit_module

NANS = TOY.with_name("nannets.py")


@pytest.fixture(scope="module")
def host():
    return load_plugins(files=[TOY, NANS], environment={})


@pytest.fixture
def plan(host):
    def make(model="nannets/nan_for_some", rule="val_auc", **settings):
        request = Request(
            models=[model], data=["toyzoo/stripes"], budget="smoke", device="cpu", rule=rule,
            settings={**SMALL, **settings},
        )  # fmt: skip
        return make_plan(host, request)[0]

    return make


def order_of_epoch(epoch):
    from zoo.lensing.draws import stable_hash

    return torch.randperm(300, generator=torch.Generator().manual_seed(stable_hash(f"0/{epoch}/order") >> 1))


@pytest.mark.parametrize(("call", "epoch", "step"), [(1, 1, 1), (4, 1, 4), (10, 1, 10), (17, 2, 7)])
def test_a_loss_names_epoch_step_and_image(plan, run_in, host, call, epoch, step):
    cell = plan(step=call)
    result, _ = run_in(cell)
    assert result.status == "failed"
    assert (
        f"The loss became nan in epoch {epoch}, step {step}: the logits of 1 of 30 images are not finite"
        in result.error
    )
    names = Dataset(host, cell.recipe, cell.sizes).split("train").ids
    position = int(order_of_epoch(epoch)[30 * (step - 1) + 2])  # the third image of the batch
    assert f"the first is image {names[position]}: nan, nan, nan" in result.error


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("before", "Validation images before the training: the logits of"),
        ("val", "Validation images after epoch 1: the logits of"),
        ("test", "Test images after the training: the logits of"),
        ("golden", "Golden predictions (validation images on the CPU in float32): the logits of"),
    ],
)
def test_logits_that_are_not_finite_name_their_image(plan, run_in, host, where, said):
    cell = plan("nannets/turns_nan", where=where, epochs=1)
    result, run_dir = run_in(cell)
    assert result.status == "failed"
    assert said in result.error
    split = Dataset(host, cell.recipe, cell.sizes).split("test" if where == "test" else "val")
    name = result.error.split("the first is image ")[1].split(":")[0]
    # The toy's rule, applied to the image that is named: its first pixel is brighter than the mean.
    assert split.images[split.ids.index(name)][0, 0, 0] > split.images.mean() - 0.2
    assert store.open_result(run_dir) == result


def test_a_metric_that_is_not_finite_fails_the_cell(tmp_path, monkeypatch):
    monkeypatch.setenv("NANNETS_METRIC", "1")
    host = load_plugins(files=[TOY, NANS], environment={})
    with pytest.raises(TrainingError, match=r"metric nannets/nan is not finite for the test images: bad=nan") as caught:
        plugin_metrics(
            host,
            torch.zeros(3, 3),
            torch.tensor([0, 1, 2]),
            task=task_of_question("", stored_question(("a", "b", "c"))),
        )
    assert "without --plugin" in caught.value.hint  # the plugin is a file


def test_images_in_a_stream_and_in_a_split_have_names():
    split = Split(
        name="train", classes=("a",), chunks=[np.zeros((5, 1, 2, 2), np.float32)], labels=np.zeros(5, np.int64),
        ids=list("vwxyz"),
    )  # fmt: skip
    batches = Batches(split, device=torch.device("cpu"))
    order = torch.randperm(5, generator=torch.Generator().manual_seed(3))
    shuffles = [torch.Generator().manual_seed(3) for _ in range(10)]
    assert [batches.image_at(7, k, shuffle=shuffles[k]) for k in range(5)] == ["vwxyz"[k] for k in order]
    stream = object.__new__(Stream)
    stream._images = 5
    assert stream.image_at(3, 4, shuffle=shuffles[5]) == f"stream-{10 + int(order[4]):09d}"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_of_every_kind_are_noticed(value):
    logits = torch.zeros(4, 2)
    logits[2, 1] = value
    with pytest.raises(
        TrainingError, match=f"Now: the logits of 1 of 4 images are not finite; the first is image c: 0, {value}"
    ):
        require_finite(logits, "abcd".__getitem__, when="Now")
    require_finite(torch.zeros(4, 2), "abcd".__getitem__, when="Now")


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("rule", ["val_auc", "last"])
def test_a_class_missing_from_a_split_is_refused_before_the_training(plan, run_in, monkeypatch, split, rule):
    monkeypatch.setattr(fit_module, "Training", lambda *_, **__: pytest.fail("trained"))
    monkeypatch.setattr(Dataset, "split", lambda *_: pytest.fail("opened"))
    result, _ = run_in(plan("toyzoo/tiny", rule, **{f"{split}_images": 2}))
    words = {"train": "training", "val": "validation", "test": "test"}[split]
    assert f"toyzoo/stripes: the 2 {words} images show no " in result.error
    all_there_are = {"train": 420, "val": 60, "test": 120}[split]
    assert f"Try: --set {split}_images={all_there_are}" in result.error


def test_a_simulated_class_that_is_missing_is_refused_before_anything_is_rendered(tmp_path, monkeypatch):
    host = load_plugins(environment={})
    request = Request(models=["z2"], data=["modelA"], budget="smoke", device="cpu", settings={"test_images": 2})
    [cell] = make_plan(host, request)
    monkeypatch.setattr(Dataset, "split", lambda *_: pytest.fail("opened"))
    result = run_cell(host, cell, store.prepare_run(tmp_path, cell), device="cpu")
    assert "the 2 test images show no " in result.error


def test_classes_of_a_task_are_those_that_must_be_there(host, plan):
    cell = plan("toyzoo/tiny")
    question = grouped_classes(find(host, DatasetSpec, cell.data), "middle")
    data = Dataset(host, cell.recipe, {"train": 2, "val": 2, "test": 2}, question=question)
    for split in ("train", "val", "test"):
        present = set(data.split(split).labels.tolist())
        if len(present) == 2:
            data.check(split)
        else:
            with pytest.raises(DataError, match=r"show no (other|middle)"):
                data.check(split)


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_not_finite_are_refused_before_the_training(plan, run_in, host, monkeypatch, split, value):
    import toyzoo

    monkeypatch.setattr(fit_module, "Training", lambda *_, **__: pytest.fail("trained"))
    cell = plan("toyzoo/tiny")
    name = Dataset(host, cell.recipe, cell.sizes).split(split).ids[-1]
    original = toyzoo.stripes

    def bad(*, count):
        content = original(count=count)
        content.images[content.ids.index(name), 0, 3, 4] = value
        return content

    monkeypatch.setattr(toyzoo, "stripes", bad)
    result, _ = run_in(cell)
    assert "images hold values that are not finite" in result.error
    assert f"the first is image {name}." in result.error


def test_constant_images_are_refused_before_the_training(plan, run_in, monkeypatch):
    import toyzoo

    monkeypatch.setattr(fit_module, "Training", lambda *_, **__: pytest.fail("trained"))
    original = toyzoo.stripes
    monkeypatch.setattr(
        toyzoo,
        "stripes",
        lambda *, count: replace(original(count=count), images=np.full((count, 1, 12, 12), 0.5, "f4")),
    )
    result, _ = run_in(plan("toyzoo/tiny"))
    assert "all pixels of all training images are 0.5; a network cannot learn from them" in result.error


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("label", [-1, 3])
def test_labels_of_no_class_are_refused_before_the_training(plan, run_in, monkeypatch, split, label):
    import toyzoo

    monkeypatch.setattr(fit_module, "Training", lambda *_, **__: pytest.fail("trained"))
    original = toyzoo.stripes

    def mislabelled(*, count):
        images = original(count=count)
        labels, marks = images.labels.copy(), np.repeat(["train", "val", "test"], count // 3)
        labels[np.flatnonzero(marks == split)[5]] = label
        return replace(images, labels=labels, split=marks.tolist())

    monkeypatch.setattr(toyzoo, "stripes", mislabelled)
    result, _ = run_in(plan("toyzoo/tiny", train_images=200, val_images=200, test_images=200))
    assert f"The split '{split}' has labels from {min(label, 0)} to {max(label, 2)} for 3 classes" in result.error


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_files_hold_no_number_that_is_not_finite(tmp_path, value):
    content = {"test": {"auc": [0.5, value]}}
    with pytest.raises(DataError, match=r"result.json cannot hold a number that is not finite: test.auc.1=-?(nan|inf)"):
        json_text(content, what="result.json")
    with pytest.raises(DataError, match=r"not finite: test\.auc\.1"):
        store.write_json(tmp_path / "result.json", content)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_result_with_a_number_that_is_not_finite_is_not_shown(plan, run_in, value):
    result, run_dir = run_in(plan("toyzoo/tiny", epochs=1))
    content = store.plain_result(result)
    content["test"]["auc"]["macro"] = value
    (run_dir / store.RESULT).write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"holds a number that is not finite: test\.auc\.macro="):
        store.open_result(run_dir)
    assert store.scan(run_dir.parents[2])[0] == []


def test_a_score_that_a_file_cannot_hold_is_a_failed_cell(plan, run_in, monkeypatch):
    monkeypatch.setattr(
        "zoo.scores.score.score", lambda *args, **named: structs.replace(score(*args, **named), ece=math.nan)
    )
    result, run_dir = run_in(plan("toyzoo/tiny", epochs=1))
    assert result.status == "failed"
    assert "not finite: test.ece=nan" in result.error
    assert store.open_result(run_dir) == result


def test_a_test_split_with_few_images_has_an_interval():
    """No resample of ten images holds all ten classes but by rare chance: nothing is known, and that is no NaN."""
    labels = torch.arange(40)
    scores = score(torch.eye(40), labels, [str(k) for k in range(40)])
    assert all(math.isfinite(end) for interval in scores.intervals.values() for end in interval)
    assert scores.intervals["auc.macro"] == (0.0, 1.0)
