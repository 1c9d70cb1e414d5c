"""Auxiliary truths: what a training estimates beside its task, which is left out of everything that is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from smallrun import TOY
from torch import nn

from zoo import registry
from zoo.data.question import all_classes
from zoo.data.split import Split
from zoo.errors import DataError, TrainingError, UsageError
from zoo.host import load_plugins
from zoo.models.auxiliary import AuxiliaryHead, standardise_auxiliary
from zoo.models.classifier import Classifier
from zoo.models.load import load_weights
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.plan.settings import TrainingSettings
from zoo.report.tables import make_tables
from zoo.results import store
from zoo.results.verify import verify_run
from zoo.run.cell import run_cell
from zoo.specs import DatasetSpec
from zoo.tasks.find import task_of_cell
from zoo.train.accumulate import make_objectives
from zoo.train.checkpoint import CHECKPOINT

SKY = TOY.with_name("toysky.py")
NAMES = "sersic.effective_radius,colour"
SETTINGS = {
    "train_images": 256, "val_images": 64, "test_images": 90, "epochs": 2, "batch_size": 32, "lr": 0.02,
    "augment": "none", "model.dropout": 0.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def host():
    return load_plugins(files=[TOY, SKY], environment={})


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path_factory.getbasetemp() / "auxiliary"))


def plan(host, *, task="", **settings):
    request = Request(
        models=["toyzoo/tiny"], data=["toysky/discs"], budget="smoke", device="cpu", task=task,
        settings={**SETTINGS, **settings}, baselines=False,
    )  # fmt: skip
    return make_plan(host, request)


def test_truths_are_part_of_the_run_id_and_the_defaults_are_not(host):
    [plain], [cell], [other] = plan(host), plan(host, auxiliary=NAMES), plan(host, auxiliary="colour")
    assert not {"auxiliary", "auxiliary_weight"} & plain.training.keys()
    assert cell.training["auxiliary"] == NAMES
    assert len({plain.run_id, cell.run_id, other.run_id}) == 3
    for none in ("none", None, ""):
        assert plan(host, auxiliary=none, auxiliary_weight=0.5) == [plain]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"auxiliary": "color"}, "No truth 'color' is stored .* Did you mean 'colour'"),
        ({"auxiliary": "halo.angle"}, "halo.angle cannot be estimated: it changes when"),
        ({"auxiliary": "colour,"}, "must be names of stored truths"),
        ({"auxiliary": "colour", "stream": True}, "a stream keeps the labels only"),
        ({"auxiliary": "colour", "auxiliary_weight": -1}, "auxiliary_weight=-1"),
        ({"auxiliary": "colour", "auxiliary_weight": 0}, "auxiliary=colour has no use with auxiliary_weight=0"),
        ({"auxiliary_weight": 0.3}, "auxiliary_weight=0.3 has no use in a training without auxiliary truths"),
        ({"auxiliary": "none", "tiny.auxiliary_weight": 0.3}, "auxiliary_weight=0.3 has no use"),
        ({"auxiliary": "colour,colour"}, "auxiliary=colour,colour names colour twice"),
        ({"auxiliary": "colour", "task": "regress:colour"}, "auxiliary=colour is estimated by the task already"),
    ],
)
def test_what_cannot_be_is_refused_in_the_plan(host, settings, message):
    with pytest.raises(UsageError, match=message):
        plan(host, **settings)


@pytest.mark.parametrize("name", ["val", "test"])
def test_only_training_images_carry_them(host, name):
    question = all_classes(registry.find(host, DatasetSpec, "toysky/discs"))
    images = Split(
        name=name, classes=question.classes, chunks=[np.zeros((3, 1, 8, 8), np.float32)], labels=np.arange(3),
        ids=list("abc"), parameters={"colour": np.array([0.1, np.nan, 0.3])},
    )  # fmt: skip
    asking = replace(question, auxiliary=("colour",))
    assert asking.apply(images).asked.tolist() == [0, 1, 2]
    training = asking.apply(replace(images, name="train"))
    np.testing.assert_allclose(training.asked, [[0, 0.1], [1, np.nan], [2, 0.3]], rtol=1e-6)
    assert training.select(np.array([2])).auxiliary.tolist() == [[0.3]]


def split_with(*columns) -> Split:
    values = np.array(columns, np.float64).T
    return Split(
        name="train", classes=("a", "b"), chunks=[np.zeros((len(values), 1, 2, 2), np.float32)],
        labels=np.arange(len(values)) % 2, ids=[f"train-{k}" for k in range(len(values))], auxiliary=values,
    )  # fmt: skip


def test_the_images_of_each_phase_have_units_of_their_own():
    """Masses that are larger in the first phase would have a loss many times that of the task."""
    masses, colours = np.array([0.0, 0.01, 0.02, np.nan]), np.array([1.0, 2, 3, 5])
    first, last = standardise_auxiliary([split_with(4 * masses, [7] * 4), split_with(masses, colours)], ["a", "b"])
    for split in (first, last):
        mean_square = np.nanmean(split.auxiliary[:, 0] ** 2)
        assert mean_square == pytest.approx(1)
        np.testing.assert_array_equal(np.isnan(split.auxiliary[:, 0]), np.isnan(masses))
    assert np.isnan(first.auxiliary[:, 1]).all()  # the same for all images of this phase: nothing to learn there
    np.testing.assert_allclose(last.auxiliary[:, 1], (colours - 2.75) / colours.std())
    with pytest.raises(DataError, match="auxiliary=b is undefined or the same for all training images"):
        standardise_auxiliary([last, split_with(masses, [7] * 4)], ["a", "b"])


def test_a_network_learns_them_from_the_features_of_its_last_layer():
    torch.manual_seed(0)
    images = torch.randn(256, 1, 6, 6)
    truths = torch.stack([images[:, 0, 0, 0], 2.5 * images[:, 0, 5].mean(1)], 1)
    truths[::3, 1] = torch.nan
    classifier = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(36, 16), nn.Linear(16, 3)), channels=1)
    head = AuxiliaryHead(classifier.network, outputs=3, truths=2, weight=1.0, seed=0)
    classifier.auxiliary = head
    optimizer = torch.optim.Adam(classifier.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        answers = classifier(images)
        assert answers.shape == (256, 5)
        loss = head.loss(answers[:, 3:], truths)
        loss.backward()
        optimizer.step()
    assert loss < 1e-3
    assert classifier.network[1].weight.grad.abs().sum() > 0
    assert classifier.eval()(images).shape == (256, 3)


def test_the_loss_that_is_recorded_is_that_of_the_task_alone(host):
    """It is compared with that of chance, and with that of validation images, which have no auxiliary truths."""
    spec = registry.find(host, DatasetSpec, "toysky/discs")
    task, classifier = task_of_cell(host, spec, "classify"), Classifier(nn.Linear(4, 3), channels=1)
    head = AuxiliaryHead(classifier.network, outputs=3, truths=1, weight=1.0, seed=0)
    weight = torch.randn(4, 4, requires_grad=True)
    images, labels = torch.randn(6, 4), torch.arange(6.0) % 3
    [objective] = make_objectives(
        lambda images: images @ weight, classifier.network, task, TrainingSettings(), turns=1, auxiliary=head
    )
    loss, predictions = objective(images, torch.stack([labels, torch.full((6,), 5.0)], 1))
    torch.testing.assert_close(loss, task.loss(predictions, labels.long()), rtol=0, atol=0)
    loss.backward()
    answers = (images @ weight)[:, 3]
    torch.testing.assert_close(weight.grad[:, 3], images.T @ (2 * (answers - 5) / 6))


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Conv2d(1, 3, 6), nn.Flatten()),
        nn.Sequential(nn.Flatten(), nn.Linear(36, 4)),
    ],
    ids=["no linear layer", "other outputs"],
)
def test_a_network_without_a_last_linear_layer_is_refused(network):
    with pytest.raises(TrainingError, match="does not end with a linear layer of 3 outputs"):
        AuxiliaryHead(network, outputs=3, truths=1, weight=1.0, seed=0)


def test_a_layer_that_is_applied_to_every_pixel_is_refused():
    network = nn.Linear(6, 3)
    head = AuxiliaryHead(network, outputs=3, truths=1, weight=1.0, seed=0)
    with pytest.raises(TrainingError, match="once to one row of features"):
        head.predict(network, torch.zeros(2, 1, 6, 6))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("", {}),
        ("", {"train.phases": "snr=50*1, *1"}),
        ("regress:sersic.effective_radius,classes=b+c", {}),
    ],
    ids=["classify", "phases", "regress"],
)
def test_a_training_leaves_them_out_of_what_it_keeps_and_resumes_to_the_same_bits(
    host, tmp_path, monkeypatch, task, settings
):
    [cell] = plan(host, task=task, auxiliary="colour", **settings)
    whole = run_cell(host, cell, store.prepare_run(tmp_path / "whole", cell), device="cpu")
    assert whole.status == "ok", whole.error
    [plain] = plan(host, task=task, **settings)
    without = run_cell(host, plain, store.prepare_run(tmp_path / "whole", plain), device="cpu")
    assert verify_run(whole.run_dir).problems == []
    network = load_weights(host, whole.run_dir / store.WEIGHTS)
    assert not [name for name in network.state_dict() if "auxiliary" in name]
    assert whole.cost.parameters == without.cost.parameters
    logits = {
        one.run_id: store.read_arrays(one.run_dir / store.PREDICTIONS)[0]["test.logits"] for one in (whole, without)
    }
    assert len({each.shape for each in logits.values()}) == 1
    assert not np.array_equal(*logits.values())
    assert "auxiliary colour" in str(make_tables([whole, without])[0].rows)

    halves = store.prepare_run(tmp_path / "halves", cell)
    with monkeypatch.context() as patch:
        patch.setattr(host, "emit", _interrupt)
        assert run_cell(host, cell, halves, device="cpu").status == "failed"
    assert (halves / CHECKPOINT).exists()
    again = run_cell(host, cell, store.prepare_run(tmp_path / "halves", cell), device="cpu")
    assert again.status == "ok", again.error
    np.testing.assert_array_equal(
        store.read_arrays(again.run_dir / store.PREDICTIONS)[0]["test.logits"], logits[whole.run_id]
    )


def _interrupt(event, **arguments):
    if event == "zoo_epoch_ended":
        raise RuntimeError("stopped")
