"""Differences between networks, and the error rates of their tests."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from comparedata import CLASSES

from zoo.results import store
from zoo.results.comparison import group_variants
from zoo.results.differences import compare_pairs, compare_samples
from zoo.results.samples import Sample, make_sample
from zoo.scores.stats import softmax
from zoo.tasks.classify import area_contributions

COVERAGE = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks/interval_shares.py"))


def test_single_trainings_are_compared_as_trainings(make):
    good, same, poor = (make(f"toy/{name}", signal=signal) for name, signal in (("a", 2.5), ("b", 2.5), ("c", 1.0)))
    comparisons, problems = compare_pairs(group_variants([good, same, poor]))
    assert problems == []
    assert all(one.p is one.corrected is None for one in comparisons)
    assert not any(" p " in one.in_words() or "has a higher" in one.in_words() for one in comparisons)
    macro = {frozenset((one.first, one.second)): one for one in comparisons if one.score == "macro"}
    assert len(comparisons) == 4 * len(macro) == 12
    for other in ("toy/a", "toy/b"):
        found = macro[frozenset((other, "toy/c"))]
        assert found.found
        assert found.first == other
        assert found.in_words().startswith(f"Two trainings differ in macro AUC, {other} above toy/c; ")
    equal = macro[frozenset(("toy/a", "toy/b"))]
    assert not equal.found
    assert equal.low < 0 < equal.high
    assert re.match(r"toy/. and toy/. cannot be told apart in macro AUC by single trainings: ", equal.in_words())


def test_one_training_of_either_network_is_not_enough(make):
    results = [make("toy/a", signal=2.5, seed=seed) for seed in range(4)] + [make("toy/b", signal=1.0)]
    [one, *_] = compare_pairs(group_variants(results))[0]
    assert (one.seeds, one.p, one.verdict) == ((4, 1), None, "trainings differ")
    assert one.in_words().startswith(
        "toy/a (mean of 4) above toy/b (one training) in macro AUC; one training does not rank a network: +"
    )
    assert "95 % over images and 4 trainings +" in one.in_words()


def one_and_several(*areas, single, images=0.0):
    """Compare a single training with several ones on images that add this error."""
    own = {"images": "test", "scores": ("macro",), "labels": ("macro AUC",), "largest": np.array([1e-3])}
    samples = [
        Sample(
            **own, name=name, areas=np.array(values)[:, None], components=np.array([effect]), own=np.zeros(1),
            ends=np.mean(values) + 1.96 * np.linalg.norm(effect) * np.array([[-1, 1]]),
        )
        for name, values, effect in (("a", areas, [images, 0.0]), ("bar", [single], [0.0, 0.0]))
    ]  # fmt: skip
    [found] = compare_samples(samples)
    return found


def test_a_difference_from_one_training_holds_the_spread_between_the_others():
    """Three areas as far apart as these do not tell their mean from another training, whatever the images say."""
    values = (0.6302, 0.8369, 0.7301)
    found = one_and_several(*values, single=0.9163, images=0.013)
    reach = np.hypot(4.303 * np.std(values, ddof=1) / np.sqrt(3), 1.96 * 0.013)
    assert (found.low, found.high) == pytest.approx((found.difference - reach, found.difference + reach), abs=1e-4)
    assert found.in_words() == (
        "bar (one training) and a (mean of 3) cannot be told apart in macro AUC: "
        f"+0.1839, 95 % over images and 3 trainings {found.low:+.4f} to {found.high:+.4f}"
    )
    near = one_and_several(0.73, 0.731, 0.7302, single=0.9163, images=0.013)
    assert near.found
    assert near.in_words().startswith("bar (one training) above a (mean of 3) in macro AUC; ")


@pytest.mark.parametrize("spread", [0.0, 0.01, 0.1])
def test_a_difference_from_one_training_is_found_where_its_interval_ends_above_0(spread):
    areas = 0.7 + spread * np.array([-1, 0, 1])
    for single in np.linspace(0.701, 0.96, 30):
        found = one_and_several(*areas, single=single, images=0.02)
        assert found.found == (found.low > 0)


@pytest.mark.parametrize(
    ("seeds", "signals", "luck", "images", "verdict"),
    [
        (5, (2.5, 1.0), 0.05, 300, "higher"),
        (2, (2.6, 1.0), 0.9, 300, "too few trainings"),  # far apart, but two trainings each that scatter
        (2, (2.0, 2.0), 0.0, 300, "too few trainings"),
        (3, (2.0, 2.0), 0.5, 3000, "too few trainings"),
        (6, (2.0, 2.0), 0.02, 3000, "none found"),
    ],
)
def test_no_difference_is_said_only_where_one_would_have_been_found(make, seeds, signals, luck, images, verdict):
    results = [
        make(f"toy/{name}", signal=signal, seed=seed, luck=luck, images=images)
        for name, signal in zip("ab", signals, strict=True)
        for seed in range(seeds)
    ]
    [one, *_] = compare_pairs(group_variants(results))[0]
    assert one.score == "macro"
    assert one.verdict == verdict
    assert ("No difference" in one.in_words()) == (verdict == "none found")
    assert one.in_words().startswith({"h": "toy/a has a higher", "t": "Too few ", "n": "No difference"}[verdict[0]])
    if verdict.startswith("too few"):
        assert "would often be missed" in one.in_words()


def test_images_may_be_too_few_with_any_number_of_trainings():
    for images, verdict in ((60, "too few images"), (6000, "none found")):
        samples = COVERAGE["trainings"](np.random.default_rng(0), images, networks=[0.9, 0.9], seeds=8, spread=0.0)
        assert COVERAGE["macro"](samples)[0].verdict == verdict


def test_what_would_have_been_found_depends_on_the_number_of_pairs():
    """A difference must survive the correction to be called one."""
    samples = COVERAGE["trainings"](np.random.default_rng(0), 2000, networks=[0.9] * 6, seeds=40, spread=0.05)
    [alone] = COVERAGE["macro"](samples[:2])
    [among] = (one for one in COVERAGE["macro"](samples) if {one.first, one.second} == {alone.first, alone.second})
    assert (among.low, among.high, among.p) == (alone.low, alone.high, alone.p)
    # Levels of 5 % and of 5 % over 15 pairs, for a normal distribution: 1.96 + 0.84 and 2.94 + 0.84 standard errors.
    assert among.detectable / alone.detectable == pytest.approx(1.35, abs=0.02)


@pytest.mark.parametrize("spread", [0.0, 0.02])
def test_the_interval_of_a_mean_over_seeds_holds_the_truth(spread):
    """The reduced form of benchmarks/interval_coverage.py, up to what 60 repetitions show."""
    assert COVERAGE["mean_coverage"](300, area=0.9, seeds=3, spread=spread, repetitions=60) > 0.9


def test_identical_predictions_do_not_differ(make):
    logits, labels = np.eye(3)[np.arange(300) % 3] * 9, np.arange(300) % 3
    samples = [make_sample(name, "", [area_contributions(softmax(logits), labels, CLASSES)] * 3) for name in "ab"]
    for one in compare_samples(samples):
        assert (one.difference, one.p, one.found) == (0.0, 1.0, False)
        assert one.low < 0 < one.high


def test_a_pair_whose_interval_excludes_0_says_where_the_table_has_too_many_pairs():
    """The numbers of a sentence would contradict its words otherwise."""
    random, labels = np.random.default_rng(0), np.arange(300) % 3
    samples = [
        make_sample(f"{name}", "", [area_contributions(softmax(np.eye(3)[labels] + noise), labels, CLASSES)])
        for name, noise in enumerate(random.normal(0, 1.2, (9, 300, 3)))
    ]
    alone = [one for one in compare_samples(samples) if one.score == "macro" and one.verdict == "trainings alike"]
    excluding = [one for one in alone if one.low > 0]
    assert excluding
    for one in alone:
        assert ("corrected for all pairs" in one.in_words()) == (one in excluding)


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "spread"), [(3, 0.0016), (3, 0.0051)])
def test_equal_networks_are_rarely_called_different(seeds, spread):
    """The reduced form of benchmarks/interval_coverage.py: between 3 and 7 %, up to what 120 repetitions show."""
    rate = COVERAGE["false_findings"](networks=2, seeds=seeds, spread=spread, repetitions=120)
    assert 0 < rate < 0.07 + 3 * np.sqrt(0.07 * 0.93 / 120)


@pytest.mark.slow
def test_the_false_positive_rate_is_as_stated(make):
    """Equal networks with luck of the seed: about one comparison in twenty is called a difference, not more."""
    called = 0
    for world in range(40):
        results = [
            make(f"toy/{name}", signal=1.5, seed=seed + 10 * world, luck=0.15, images=150, world=world)
            for name in "ab"
            for seed in range(3)
        ]
        [comparison] = [one for one in compare_pairs(group_variants(results))[0] if one.score == "macro"]
        assert comparison.seeds == (3, 3)
        called += comparison.p < 0.05
    assert called <= 6  # binomial(40, 0.05): a chance of 0.3 % to exceed it


def test_seeds_add_their_spread(make):
    def error(luck, seeds):
        results = [make(f"toy/{n}", signal=1.5, seed=seed, luck=luck) for n in "ab" for seed in range(seeds)]
        comparison = compare_pairs(group_variants(results))[0][0]
        return comparison.high - comparison.low

    assert error(0.0, 4) < error(0.5, 4) / 2


def test_only_the_same_images_are_compared(make, tmp_path):
    results = [make("toy/a", signal=1.0), make("toy/b", signal=1.0), make("toy/c", signal=1.0, world=1)]
    comparisons, problems = compare_pairs(group_variants(results))
    assert {(one.first, one.second) for one in comparisons} | {(one.second, one.first) for one in comparisons} == {
        ("toy/a", "toy/b"),
        ("toy/b", "toy/a"),
    }
    first, *_ = names = [variant.name for variant in group_variants(results)]
    others = ["toy/a", "toy/b"] if first == "toy/c" else ["toy/c"]
    told = ", ".join(name for name in names if name in others)
    assert problems[0].startswith(
        f"Tested on other images, labels or groups of images than {first}: {told}. Only variants"
    )
    [lost] = [result for result in results if result.cell.model == "toy/a"]
    (tmp_path / lost.run_dir / store.PREDICTIONS).unlink()
    comparisons, problems = compare_pairs(group_variants(results))
    assert comparisons == []
    assert re.search(r"toy/a is not compared: \S*predictions.safetensors is gone", problems[0])
