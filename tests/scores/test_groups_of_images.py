"""Intervals over groups of images that are not independent, against independent images and drawing groups anew."""

import math

import numpy as np
import pytest
import torch

from zoo.data.image_groups import ImageGroups
from zoo.data.question import Question
from zoo.schema import json_text, plain
from zoo.scores.intervals import Grouping, by_group, interval_of_area, interval_of_share, intervals
from zoo.scores.roc import roc_band
from zoo.scores.stats import auc_components, critical_value, softmax
from zoo.scores.target_scores import draws, ends
from zoo.tasks.anomaly import Anomaly
from zoo.tasks.classify import Classify
from zoo.tasks.regress import Regress

CLASSES = ("a", "b", "c")


def clustered(random, *, groups, size, alike, signal=1.5):
    """Logits and labels of images, a part of whose error is that of their group."""
    numbers = np.repeat(np.arange(groups), size)
    labels = random.integers(0, 3, groups * size)
    common = random.normal(size=(groups, 3))[numbers]
    own = random.normal(size=(len(labels), 3))
    logits = math.sqrt(alike) * common + math.sqrt(1 - alike) * own + signal * np.eye(3)[labels]
    return logits, labels, numbers


def test_images_that_are_their_own_groups_are_independent():
    logits, labels, _ = clustered(np.random.default_rng(0), groups=3000, size=1, alike=0.0)
    alone = intervals(softmax(logits), labels)
    order = np.random.default_rng(1).permutation(3000)
    for name, found in intervals(softmax(logits), labels, groups=order).items():
        assert found == pytest.approx(alone[name], abs=2e-5), name


def test_one_group_shows_nothing_of_the_spread_between_groups():
    logits, labels, _ = clustered(np.random.default_rng(0), groups=300, size=1, alike=0.0)
    one = np.full(300, 7)
    assert intervals(softmax(logits), labels, groups=one) == intervals(softmax(logits), labels)


def test_copies_of_images_make_no_interval_narrower():
    logits, labels, _ = clustered(np.random.default_rng(2), groups=300, size=1, alike=0.0)
    alone = intervals(softmax(logits), labels)
    copied, wrong = (
        intervals(softmax(np.tile(logits, (9, 1))), np.tile(labels, 9), groups=groups)
        for groups in (np.tile(np.arange(300), 9), None)
    )
    for name, (low, high) in alone.items():
        assert copied[name][1] - copied[name][0] == pytest.approx(high - low, rel=0.03), name
        assert wrong[name][1] - wrong[name][0] == pytest.approx((high - low) / 3, rel=0.1), name


def test_components_of_groups_are_obuchowskis():
    """Her variance of a clustered area (Biometrics 53, 567, equation 2), for groups that all have both kinds."""
    random = np.random.default_rng(3)
    numbers = np.repeat(np.arange(30), 10)
    positive = np.tile(np.arange(10) < 4, 30)
    scores = random.normal(size=300) + 1.2 * positive + 0.8 * random.normal(size=30)[numbers]
    area, components = auc_components(scores, positive)
    wins = scores[positive][:, None] > scores[~positive]
    hits, misses = (np.bincount(numbers[kind], minlength=30) for kind in (positive, ~positive))
    of_hits = np.bincount(numbers[positive], wins.mean(1), minlength=30) - hits * area
    of_misses = np.bincount(numbers[~positive], wins.mean(0), minlength=30) - misses * area
    m, n = positive.sum(), (~positive).sum()
    factor = 30 / 29
    expected = factor * ((of_hits**2).sum() / m**2 + (of_misses**2).sum() / n**2 + 2 * of_hits @ of_misses / (m * n))
    grouping = Grouping.of(numbers, positive)
    assert grouping.effective == pytest.approx(30)
    assert (grouping.sums(components) ** 2).sum() == pytest.approx(expected, rel=0.01)
    parts = by_group(components, ImageGroups(name="galaxy", numbers=numbers), positive)
    reach = critical_value(degrees_of_freedom=29) * math.sqrt(expected)
    assert 1.96 * math.sqrt((parts**2).sum()) == pytest.approx(reach, rel=0.01)
    assert by_group(components, None) is components


@pytest.mark.parametrize("alike", [0.0, 0.5])
def test_intervals_hold_the_truth_of_other_groups(alike):
    """40 groups of 25 images: intervals over images hold it far too rarely where those of a group are alike."""
    random = np.random.default_rng(4)
    names = ("auc_0", "auc_macro", "auc_micro", "accuracy")
    logits, labels, _ = clustered(random, groups=200_000, size=1, alike=0.0)
    truth = dict(
        zip(names, (np.mean(intervals(softmax(logits), labels)[name]) for name in names), strict=True)
    )  # intervals of 200,000 images are points
    held = {kind: dict.fromkeys(names, 0) for kind in ("groups", "images")}
    count = 150
    for _ in range(count):
        logits, labels, numbers = clustered(random, groups=40, size=25, alike=alike)
        for kind, groups in (("groups", numbers), ("images", None)):
            found = intervals(softmax(logits), labels, groups=groups)
            for name in names:
                held[kind][name] += found[name][0] <= truth[name] <= found[name][1]
    least = 0.95 - 3.5 * math.sqrt(0.05 * 0.95 / count)
    assert all(held["groups"][name] >= least * count for name in names), held
    assert (held["images"]["auc_0"] < 0.85 * count) == (alike > 0), held


@pytest.mark.parametrize("of_class", [1, 2, 3, 20])
def test_a_class_in_few_groups_leaves_the_area_uncertain(of_class):
    """Groups of one class each, such as repeated images of lenses: the fewest groups of a class decide."""
    random, held, count = np.random.default_rng(8), 0, 150
    numbers = np.repeat(np.arange(40), 25)
    positive = numbers < of_class
    for _ in range(count):
        noise = math.sqrt(0.5) * (random.normal(size=40)[numbers] + random.normal(size=1000))
        area, components = auc_components(noise + 1.4 * positive, positive)
        low, high = interval_of_area(area, components, largest_effect=1 / 25, grouping=Grouping.of(numbers, positive))
        held += low <= 0.8389 <= high  # of normal scores that are 1.4 apart
        assert ((low, high) == (0, 1)) == (of_class == 1)
    assert held >= 0.93 * count


def test_groups_of_unequal_sizes_count_as_fewer():
    alike = Grouping.of(np.repeat(np.arange(10), 5))
    assert (alike.count, alike.effective) == (10, pytest.approx(10))
    unlike = Grouping.of(np.repeat(np.arange(10), [500] + 9 * [1]))
    assert unlike.effective == pytest.approx(509**2 / (500**2 + 9))
    low, high = interval_of_share(np.arange(509) % 2 == 0, groups=unlike.numbers)
    assert high - low > 0.5


@pytest.mark.parametrize("groups", [2, 5, 10])
def test_intervals_of_a_bootstrap_over_few_groups_hold_the_truth(groups):
    random, held, count = np.random.default_rng(9), 0, 200
    numbers = np.repeat(np.arange(groups), 20)
    for _ in range(count):
        values = 3.0 + random.normal(size=groups)[numbers] + random.normal(size=20 * groups)
        low, high = ends(values.mean(), draws(len(values), numbers) @ values, numbers)
        held += low <= 3.0 <= high
    assert held >= (0.87 if groups == 2 else 0.9) * count  # two groups have three different draws only


def test_a_perfect_score_counts_a_group_as_one_image():
    labels = np.arange(300) % 3
    groups = np.arange(300) // 30
    low, high = intervals(np.eye(3)[labels], labels, groups=groups)["auc_0"]
    assert high == 1
    assert low < 0.9 < intervals(np.eye(3)[labels], labels)["auc_0"][0]
    assert interval_of_share(np.ones(300, bool), groups=groups) == pytest.approx((0.7225, 1), abs=1e-4)  # 10 of 10


def test_an_unknown_area_has_the_whole_interval():
    components = np.array([math.inf, 0.1, 0.2, 0.3])
    grouping = Grouping.of(np.array([0, 0, 1, 1]))
    assert interval_of_area(0.9, components, largest_effect=0.5, grouping=grouping) == (0, 1)


def test_the_share_of_alike_images_is_that_of_the_groups():
    """Groups that hit together count as one image, those whose images are unrelated as all of them."""
    random = np.random.default_rng(5)
    numbers = np.repeat(np.arange(50), 20)
    together = (random.random(50) < 0.7)[numbers]
    low, high = interval_of_share(together, groups=numbers)
    own_low, own_high = interval_of_share(together[::20])
    assert high - low == pytest.approx(own_high - own_low, rel=0.05)
    apart = random.random(1000) < 0.7
    assert interval_of_share(apart, groups=numbers) == pytest.approx(interval_of_share(apart), abs=0.02)


def test_the_band_of_a_roc_curve_is_that_of_drawn_groups():
    random = np.random.default_rng(6)
    logits, labels, numbers = clustered(random, groups=40, size=25, alike=0.6)
    scores, positive, grid = logits[:, 0], labels == 0, np.linspace(0, 1, 41) ** 2
    _, low, high = roc_band(scores, positive, grid, groups=numbers, resamples=400)
    drawn = []
    for _ in range(400):
        chosen = np.concatenate([np.flatnonzero(numbers == k) for k in random.choice(40, 40)])
        drawn.append(roc_band(scores[chosen], positive[chosen], grid, resamples=1)[0])
    least, most = np.quantile(drawn, [0.025, 0.975], axis=0)
    middle = slice(8, 24)  # rates of 0.04 to 0.36
    assert (high - low)[middle] == pytest.approx((most - least)[middle], rel=0.3)
    _, narrow, wide = roc_band(scores, positive, grid)
    assert (high - low)[middle].mean() > 1.2 * (wide - narrow)[middle].mean()


def task_with_images(kind, random):
    """A task, and predictions, labels and groups of 40 groups of 25 images that are alike."""
    logits, labels, numbers = clustered(random, groups=40, size=25, alike=0.7)
    if kind is Regress:
        task = Regress(Question(classes=CLASSES, merged=(0, 1, 2), targets=("mass",)), name="regress", option="mass")
        truth = random.normal(size=(len(labels), 1))
        wrong = 0.5 * random.normal(size=(40, 1))[numbers] + 0.1 * random.normal(size=truth.shape)
        answers = np.concatenate([truth + wrong, np.full_like(truth, math.log(0.5))], 1)
        return task.measured(truth), torch.from_numpy(answers), torch.from_numpy(truth), numbers
    trained_on = (0,) if kind is Anomaly else ()
    task = kind(Question(classes=CLASSES, merged=(0, 1, 2), trained_on=trained_on), name="any")
    answers = -logits[:, :1] if kind is Anomaly else logits
    return task, torch.from_numpy(answers), torch.from_numpy(labels), numbers


@pytest.mark.parametrize("kind", [Classify, Anomaly, Regress])
@pytest.mark.parametrize(
    "numbers",
    [[0], [0] * 999 + [1], np.arange(1000) // 500, np.arange(1000) % 3],
    ids=["one", "nearly one", "a class in one", "three"],
)
def test_scores_of_the_fewest_groups_can_be_stored(kind, numbers):
    """Also where a class is in one group only: ends are finite, hold the value, and are possible values."""
    task, answers, labels, _ = task_with_images(kind, np.random.default_rng(7))
    order = torch.argsort(labels.reshape(1000, -1)[:, 0], stable=True)
    groups = ImageGroups.by("galaxy", np.resize(numbers, 1000))
    found = task.score(answers[order], labels[order], groups)
    assert json_text(plain(found), what="the scores")
    pairs = list(found.intervals.items()) if kind is Classify else [
        (name, one.interval) for name, one in found.measures.items() if one.interval is not None
    ]  # fmt: skip
    for name, (low, high) in pairs:
        assert np.isfinite([low, high]).all(), name
        if name.startswith(("au", "tpr", "accuracy", "coverage")):
            assert 0 <= low <= high <= 1, name
    headline = found.headline
    assert headline.interval[0] <= headline.value <= headline.interval[1]


@pytest.mark.parametrize("kind", [Classify, Anomaly, Regress])
def test_every_task_has_wider_intervals_and_the_same_scores(kind):
    task, answers, labels, numbers = task_with_images(kind, np.random.default_rng(7))
    groups = ImageGroups(name="galaxy", numbers=numbers)
    found, alone = task.score(answers, labels, groups), task.score(answers, labels)
    assert (found.image_groups.name, found.image_groups.values) == ("galaxy", 40)
    assert alone.image_groups is None
    if kind is Classify:
        assert found.auc == alone.auc
        pairs = [(found.intervals[name], alone.intervals[name]) for name in found.intervals]
    else:
        for name, one in found.measures.items():
            assert one.value == pytest.approx(alone.measures[name].value, rel=1e-12), name
        pairs = [(one.interval, alone.measures[name].interval) for name, one in found.measures.items()]
    ratios = [(high - low) / (most - least) for (low, high), (least, most) in pairs]
    assert all(1.2 < ratio < 6 for ratio in ratios), ratios
