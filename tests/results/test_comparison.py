"""Comparable results, and the error rates of the tests of differences."""

from __future__ import annotations

import json
import re
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from storedata import SCORES

from zoo.data.phases import Phase
from zoo.data.recipe import Recipe
from zoo.results import store
from zoo.results.cell import SCHEMA, Cell
from zoo.results.comparison import group_variants, learning_curves, problem_key, spread_note
from zoo.results.differences import compare_pairs, compare_samples
from zoo.results.samples import Sample, make_sample
from zoo.results.schema import Failed
from zoo.scores.stats import macro_components, softmax
from zoo.tasks.classify import area_contributions

COVERAGE = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks/interval_coverage.py"))

CLASSES = ("none", "subhalo", "vortex")
CELL = Cell(
    model="toy/a",
    model_version=1,
    hparams={"width": 4},
    recipe=Recipe(dataset="toy/set", dataset_version=1),
    sizes={"train": 100, "val": 10, "test": 300},
    training={"lr": 0.1},
    seed=0,
    budget="smoke",
    rule="last",
    precision="fp32",
    versions={},
)


def result_of(folder, cell, logits, labels, ids=None):
    """Store predictions; return a result with the areas that follow from them."""
    run_dir = store.prepare_run(folder, cell)
    arrays = {"test.logits": logits.astype(np.float32), "test.labels": labels}
    store.write_arrays(
        run_dir / store.PREDICTIONS, arrays, {"test.ids": json.dumps(ids or [f"{i}" for i in range(len(labels))])}
    )
    areas, components = macro_components(softmax(logits), labels)
    reach = 1.96 * np.sqrt((components[-1] ** 2).sum())
    content = {
        **SCORES,
        "files": {store.PREDICTIONS: store.file_sha256(run_dir / store.PREDICTIONS)},
        "schema": SCHEMA,
        "status": "ok",
        "run_id": cell.run_id,
        "cell": cell.to_json(),
        "classes": list(CLASSES),
        "test": {
            **SCORES["test"],
            "auc": dict(zip([*CLASSES, "macro"], areas.tolist(), strict=True)),
            "intervals": {"auc.macro": [float(areas[-1] - reach), float(areas[-1] + reach)]},
            "confusion": [[0] * 3] * 3,
        },
        "data": {**SCORES["data"], "counts": {"val": [0] * 3, "test": [0] * 3}},
    }
    return store.result_from(content, run_dir=run_dir)


@pytest.fixture
def make(tmp_path):
    """Return a maker of results: a network's logits are the truth, luck of its seed, and noise of the images."""

    def make(model, *, signal, seed=0, luck=0.0, images=300, world=0, **changes):
        shared = np.random.default_rng(world)
        labels = shared.integers(0, 3, images)
        noise = shared.normal(size=(images, 3))
        own = np.random.default_rng([seed, *map(ord, model)])
        strength = signal + luck * own.normal()
        logits = strength * np.eye(3)[labels] + noise + 0.5 * own.normal(size=(images, 3))
        return result_of(tmp_path, replace(CELL, model=model, seed=seed, **changes), logits, labels)

    return make


def test_variants_are_named_by_their_differences(make):
    results = [
        make("toy/a", signal=1.0, seed=1),
        make("toy/a", signal=1.0, seed=0),
        make("toy/a", signal=3.0, training={"lr": 0.3}),
        make("toy/b", signal=2.0),
    ]
    failed = Failed(
        schema=SCHEMA, status="failed", run_id=CELL.run_id, cell=CELL, run_dir=results[0].run_dir, error="no such luck"
    )
    variants = group_variants([*results, failed])
    assert [variant.name for variant in variants] == ["toy/a (lr 0.3)", "toy/b", "toy/a (lr 0.1)"]
    assert [result.cell.seed for result in variants[2].results] == [0, 1]
    assert variants[2].auc() == [result.test.auc["macro"] for result in (results[1], results[0])]


def test_phases_are_part_of_the_variant_and_not_of_the_problem(make):
    """Another training for the same test images: in one table, compared, and never taken for another seed of it."""
    training = {"lr": 0.1, "epochs": 3}
    phases = (Phase(epochs=1, params={"snr": "U(1, 4)"}), Phase(epochs=2, params={"snr": 1.0}))
    plain = make("toy/a", signal=1, training=training)
    phased = [make("toy/a", signal=2, seed=seed, training=training, phases=phases) for seed in (0, 1)]
    assert len({problem_key(result.cell) for result in (plain, *phased)}) == 1
    names = {variant.name: len(variant.results) for variant in group_variants([plain, *phased])}
    assert names == {"toy/a": 1, "toy/a (phases)": 2}
    pairs, _ = compare_pairs(group_variants([plain, *phased]))
    assert {name for pair in pairs for name in (pair.first, pair.second)} == {*names}
    other = make("toy/a", signal=3, training=training, phases=(Phase(epochs=3, params={"snr": 2.0}),))
    assert {variant.name for variant in group_variants([plain, *phased, other])} == {
        "toy/a", "toy/a (phases)", "toy/a (trained on snr 2)"
    }  # fmt: skip


def test_seeds_with_training_images_of_their_own_are_one_variant(make):
    own = [make("toy/a", signal=2.0, seed=seed, train_seed=seed) for seed in range(3)]
    shared = [make("toy/a", signal=1.0, seed=seed) for seed in range(3)]
    alone = group_variants(own)
    assert [(variant.name, len(variant.results)) for variant in alone] == [("toy/a", 3)]
    both = group_variants([*own, *shared])
    assert [variant.name for variant in both] == ["toy/a (training images of each seed)", "toy/a"]
    assert len({problem_key(result.cell) for result in [*own, *shared]}) == 1
    comparisons, problems = compare_pairs(both)  # on the same test images
    assert problems == []
    assert comparisons[0].seeds == (3, 3)
    note = spread_note(both)
    assert "choice of the training images of toy/a (training images of each seed)" in note
    assert "of toy/a, on the same training images" in note
    assert spread_note(group_variants(own[:1])) == ""


def test_the_seed_of_the_data_set_is_a_seed_with_training_images_of_its_own(make):
    """Without --data-seeds, its images are the same: nobody has to train it again."""
    recipe = replace(CELL.recipe, simulator="toy/paint")
    first = make("toy/a", signal=2.0, seed=0, recipe=recipe)
    own = [make("toy/a", signal=2.0, seed=seed, train_seed=seed, recipe=recipe) for seed in (1, 2)]
    [variant] = group_variants([*own, first])
    assert (variant.name, [result.cell.seed for result in variant.results]) == ("toy/a", [0, 1, 2])
    assert "choice of the training images of toy/a" in spread_note([variant])
    again = make("toy/a", signal=2.0, seed=0, train_seed=0, recipe=recipe)
    assert sorted(len(variant.results) for variant in group_variants([*own, first, again])) == [1, 3]
    shared = make("toy/a", signal=2.0, seed=1, recipe=recipe)  # two that share their training images stay together
    assert sorted(len(variant.results) for variant in group_variants([*own, first, shared])) == [2, 2]
    existing = [make("toy/a", signal=2.0), *(make("toy/a", signal=2.0, seed=seed, train_seed=seed) for seed in (1, 2))]
    assert sorted(len(variant.results) for variant in group_variants(existing)) == [1, 2]


def test_a_single_training_is_not_named_by_its_training_images(make):
    there = replace(CELL.recipe, device_type="cuda")
    one, other = make("toy/a", signal=2.0, recipe=there), make("toy/a", signal=1.0, seed=1, train_seed=1)
    names = [variant.name for variant in group_variants([one, other])]
    assert names == ["toy/a (rendered on cuda)", "toy/a (rendered on cpu)"]


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
    assert "same images" in problems[0]
    [lost] = [result for result in results if result.cell.model == "toy/a"]
    (tmp_path / lost.run_dir / store.PREDICTIONS).unlink()
    comparisons, problems = compare_pairs(group_variants(results))
    assert comparisons == []
    assert re.search(r"toy/a is not compared: \S*predictions.safetensors is gone", problems[0])


def test_learning_curves_join_what_differs_in_training_size_only(make):
    results = [
        make("toy/a", signal=size / 100, seed=seed, sizes={**CELL.sizes, "train": size})
        for size in (200, 100)
        for seed in (0, 1)
    ]
    results += [make("toy/b", signal=1.0), make("toy/a", signal=1.0, training={"lr": 0.3})]
    assert len({problem_key(result.cell) for result in results}) == 2
    assert len({problem_key(result.cell, any_train_size=True) for result in results}) == 1
    [(name, points)] = learning_curves(results).items()
    assert name == "toy/a (lr 0.1)"
    assert [point.train_images for point in points] == [100, 200]
    assert [point.seeds for point in points] == [2, 2]
    at_200 = [result.test.auc["macro"] for result in results[:2]]
    assert points[1].score == pytest.approx(np.mean(at_200))
    assert points[1].spread == pytest.approx(np.std(at_200, ddof=1))
    assert points[1].low < min(points[1].score, *at_200) <= max(at_200) < points[1].high
    # Two seeds leave one degree of freedom: Student's 12.7, joined with the interval over images.
    reach = 12.706 * points[1].spread / np.sqrt(2)
    images = np.mean([result.test.intervals["auc.macro"][1] for result in results[:2]]) - points[1].score
    assert points[1].high == pytest.approx(points[1].score + np.hypot(reach, images), rel=1e-4)
