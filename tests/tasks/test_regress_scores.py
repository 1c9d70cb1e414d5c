"""The task regress: its text, the classes that it leaves out, and its scores."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import toysky

from zoo.errors import DataError, MissingError, UsageError
from zoo.results.differences import compare_samples
from zoo.results.samples import make_sample
from zoo.results.tasks import stored_question
from zoo.scores.distributions import form_of
from zoo.scores.target_scores import TargetScores, draws
from zoo.specs import DatasetSpec, ModelSpec
from zoo.tasks.find import read_task, task_of_question
from zoo.tasks.regress import Regress, RegressOption

DATA = DatasetSpec(id="toysky/discs", target="toysky:Discs", classes=("a", "b", "c"), simulated=True)


def scenes(**by_class):
    """Return scenes with parameters that have a list of values for each class, repeated."""
    found = toysky.Discs().sample(np.arange(12), "seed/train")
    parameters = {
        name: np.array([values[k % 3][(k // 3) % len(values[k % 3])] for k in range(12)], float)
        for name, values in by_class.items()
    }
    return replace(found, parameters=parameters)


def task(option="mass", classes=("a", "b", "c")):
    return task_of_question(f"regress:{option}", stored_question(classes))


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("", "names no stored truth"),
        ("classes=a", "names no stored truth"),
        ("x,x", "names a truth twice"),
        ("x,clases=a", "Did you mean 'classes'"),
        ("x,answer=quantile", "Did you mean 'quantiles'"),
        ("x,answer=flows", "Did you mean 'flow'"),
    ],
)
def test_a_text_that_cannot_be_read_is_refused(option, words):
    with pytest.raises(UsageError, match=words):
        RegressOption.read(option)


def test_the_text_has_one_form():
    asked = RegressOption.read("x, y,answer=gaussian,classes=b+a")
    assert asked.text == "x,y,classes=b+a"
    assert RegressOption.read("x,answer=quantiles").text == "x,answer=quantiles"


@pytest.mark.parametrize(
    ("values", "option", "words"),
    [
        ([[0], [1, 2], [3, 4]], "m,classes=b+c", "m is 0 for every image of a"),
        ([[np.nan], [1, 2], [3, 4]], "m,classes=b+c", "m is undefined for a"),
        ([[1, 2], [1, 2], [1, np.nan]], "m,classes=a+b", "m is undefined for c"),
        ([[1, 2], [1, 2], [3, 4]], "m", ""),
    ],
)
def test_classes_without_a_varying_truth_are_left_out_and_named(values, option, words):
    found, note = Regress.complete(DATA, "m", scenes(m=values))
    assert found == option
    assert words in note


def test_classes_that_are_named_decide_unless_the_truth_is_undefined():
    constant = scenes(m=[[0], [1, 2], [3, 4]])
    assert Regress.complete(DATA, "m,classes=a+b", constant) == ("m,classes=a+b", "")
    with pytest.raises(UsageError, match="undefined for a") as refused:
        Regress.complete(DATA, "m,classes=a+b", scenes(m=[[np.nan], [1, 2], [3, 4]]))
    assert "classes=b+c" in refused.value.hint
    with pytest.raises(UsageError, match="No class is left"):
        Regress.complete(DATA, "m", scenes(m=[[0], [1], [2]]))


def test_all_splits_hold_the_chosen_classes_only():
    question = Regress.ask(DATA, "colour,classes=b+c")
    assert [question.of_split(name) for name in ("train", "val", "test")] == [(1, 2)] * 3
    assert Regress.ask(DATA, "colour,classes=a+b+c") == Regress.ask(DATA, "colour")
    with pytest.raises(UsageError, match="no class 'd'"):
        Regress.ask(DATA, "colour,classes=d")


def test_networks_of_classification_answer_it_but_those_that_fit_themselves():
    from zoo.tasks.find import answers

    asked = read_task("regress:mass")
    assert answers(ModelSpec(id="x/y", target="x:y"), asked.spec)
    assert not answers(ModelSpec(id="x/y", target="x:y", fits_itself=True), asked.spec)
    assert not answers(ModelSpec(id="x/y", target="x:y", tasks=("anomaly",)), asked.spec)
    assert answers(ModelSpec(id="x/y", target="x:y", fits_itself=True, tasks=("regress",)), asked.spec)


def draw(count=400, targets=1, *, seed=0):
    random = np.random.default_rng(seed)
    truth = random.normal(5, 2, (count, targets))
    answers = np.stack([truth + random.normal(0, 0.5, truth.shape), np.full(truth.shape, np.log(0.5))], -1)
    return torch.tensor(answers.reshape(count, -1)), torch.tensor(truth)


def test_scores_are_those_of_their_definitions():
    answers, truth = draw()
    found = task().score(answers, truth)
    error = (answers[:, 0] - truth[:, 0]).numpy()
    values = {name: one.value for name, one in found.measures.items()}
    assert values["mae"] == pytest.approx(np.abs(error).mean())
    assert values["rmse"] == pytest.approx(np.sqrt((error**2).mean()))
    assert values["r2"] == pytest.approx(1 - (error**2).mean() / truth.numpy().var())
    assert values["coverage_68"] == pytest.approx((np.abs(error) <= 0.5 * 0.99446).mean(), abs=0.01)
    # 1 - sigma / spread, for Gaussian truths and errors
    assert values["crps_skill"] == pytest.approx(1 - 0.5 / 2, abs=0.03)
    assert found.headline.label == "CRPS skill"
    assert found.headline.higher_is_better
    assert all(one.interval[0] <= one.value <= one.interval[1] for one in found.measures.values())
    directions = {name: one.higher_is_better for name, one in found.measures.items()}
    assert directions == {
        "crps_skill": True, "mae": False, "rmse": False, "r2": True, "crps": False, "coverage_68": None,
        "coverage_95": None,
    }  # fmt: skip


def test_a_network_that_has_learned_nothing_has_no_skill():
    truth = torch.tensor(np.random.default_rng(0).normal(5, 2, (2000, 1)))
    answers = torch.tensor([[float(truth.mean()), float(truth.std().log())]]).expand(2000, 2)
    assert task().score(answers, truth).headline.value == pytest.approx(0, abs=0.01)


def test_several_targets_have_scores_of_their_own_and_their_mean_ranks():
    answers, truth = draw(targets=2)
    found = task("mass,length").score(answers, truth).measures
    alone = [task().score(answers[:, 2 * k : 2 * k + 2], truth[:, k : k + 1]).measures for k in range(2)]
    assert found["mae.mass"].value == pytest.approx(alone[0]["mae"].value)
    assert found["mae.length"].label == "MAE of length"
    assert found["crps_skill"].value == pytest.approx(np.mean([one["crps_skill"].value for one in alone]))


@pytest.mark.parametrize("targets", [1, 2])
def test_contributions_give_the_error_of_the_skill_over_images(targets):
    """The spread of the skill between samples is that which the parts of one sample state."""
    option = ",".join("ab"[:targets])
    many = [task(option).contributions(*(t.numpy() for t in draw(targets=targets, seed=seed))) for seed in range(200)]
    stated = np.sqrt(np.mean([(one.components[-1] ** 2).sum() for one in many]))
    assert stated == pytest.approx(np.std([one.values[-1] for one in many]), rel=0.15)
    assert many[0].names == ((*option.split(","), "macro") if targets > 1 else ("macro",))


@pytest.mark.parametrize("bias", [0.0, 3.0])  # a skill near 0.5, and one far below 0, which an area never has
def test_the_interval_of_a_difference_between_trainings_is_that_of_drawn_images(bias):
    answers, truth = (found.numpy() for found in draw(600))
    others = answers.copy()
    others[:, 0] += bias + np.random.default_rng(1).normal(0, 0.3, len(others))
    both = {"a": answers, "b": others}
    samples = [make_sample(name, "", [task().contributions(one, truth)]) for name, one in both.items()]
    [found] = compare_samples(samples)
    random, skills = np.random.default_rng(2), []
    for _ in range(400):
        drawn = random.integers(0, len(truth), len(truth))
        pair = [task().contributions(one[drawn], truth[drawn]).values[-1] for one in both.values()]
        skills.append(pair[0] - pair[1])
    assert (found.first, found.verdict) == ("a", "trainings differ")
    assert found.low < found.difference < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.std(skills), rel=0.2)


def test_the_width_is_calibrated_for_each_target():
    answers, truth = draw(4000, targets=2)
    answers[:, 1] += np.log(3)
    measured = task("a,b").measured(truth.numpy())
    calibrated, changed = measured.calibrated(answers, truth)
    assert [one.spread for one in calibrated.targets] == pytest.approx([1 / 3, 1], rel=0.05)
    again, _ = calibrated.calibrated(changed, truth)
    assert [one.spread for one in again.targets] == pytest.approx([one.spread for one in calibrated.targets])
    assert measured.targets[0].spread == 1.0


def test_the_skill_on_the_validation_images_is_stated():
    answers, truth = draw(400)
    good, _ = task().measured(truth.numpy()).calibrated(answers, truth)
    blind, _ = task().measured(truth.numpy()).calibrated(answers, truth[torch.randperm(400)])
    assert good.targets[0].skill == pytest.approx(good.score(answers, truth).measures["crps_skill"].value, abs=0.02)
    assert good.targets[0].skill > 0 >= blind.targets[0].skill


def test_a_truth_that_does_not_vary_in_training_is_refused():
    with pytest.raises(DataError, match="mass is the same for all of 3 training images"):
        task().measured(np.ones((3, 1)))


def test_reports_show_the_images_with_the_largest_errors():
    answers, truth = draw(50)
    truth[17] += 100
    assert task().notable(answers.numpy(), truth.numpy())[0] == 17


def test_a_form_whose_library_is_absent_is_refused_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingError, match="answer=flow needs zuko") as refusal:
        RegressOption.read("x,answer=flow")
    assert refusal.value.hint == 'Install it: pip install "lens-zoo[flow]"'
    assert RegressOption.read("x,answer=quantiles").answer == "quantiles"


@pytest.mark.parametrize("different", [1, 2, 4])
def test_a_truth_that_nearly_all_images_share_has_finite_scores(different):
    """Draws without a different truth have no R²; where most are so, it has no interval."""
    truth = np.full((3000, 1), 1e9)
    truth[:different] += 1
    answers = np.stack([truth[:, 0] + 0.1, np.zeros(3000)], 1)[:, None, :]
    measures = TargetScores.of(form_of(2), answers, truth, name="").measures(draws(3000))
    r2 = measures["r2"]
    assert math.isfinite(r2.value)
    assert r2.interval is None or (r2.interval[0] <= r2.value <= r2.interval[1] <= 1)
    assert all(measure.interval is None or np.isfinite(measure.interval).all() for measure in measures.values())
    alike = TargetScores.of(form_of(2), answers, np.full((3000, 1), 1e9), name="")
    with np.errstate(divide="ignore", invalid="ignore"):
        assert "r2" not in alike.measures(draws(3000))
