"""Comparable results: seeds of one variant, names of variants, learning curves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from comparedata import CELL

from zoo.data.phases import Phase
from zoo.results.cell import SCHEMA
from zoo.results.comparison import group_variants, learning_curves, problem_key, spread_note
from zoo.results.differences import compare_pairs
from zoo.results.schema import Failed


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
    one, other = make("toy/b", signal=2.0, seed=1), make("toy/b", signal=1.0, seed=1, train_seed=1)
    names = [variant.name for variant in group_variants([one, other])]
    assert names == ["toy/b", "toy/b (training images of each seed)"]
    # Where one of two variants has several seeds, either says whose training images it had.
    one = make("toy/c", signal=1.0, seed=1, train_seed=1)
    others = [make("toy/c", signal=2.0, seed=seed, train_seed=seed, training={"lr": 0.3}) for seed in (0, 1)]
    names = [variant.name for variant in group_variants([one, *others])]
    assert names == ["toy/c (lr 0.3)", "toy/c (lr 0.1)"]
    shared = make("toy/c", signal=3.0, training={"lr": 0.5})
    names = [variant.name for variant in group_variants([one, *others, shared])]
    of_each = "training images of each seed"
    assert names == ["toy/c (lr 0.5)", f"toy/c (lr 0.3, {of_each})", f"toy/c (lr 0.1, {of_each})"]


def test_beside_trainings_with_the_seed_of_the_data_set_names_state_no_training_images(make):
    recipe = replace(CELL.recipe, simulator="toy/paint")
    several = [make("toy/a", signal=2.0, seed=seed, train_seed=seed, recipe=recipe) for seed in (0, 1)]
    once = make("toy/a", signal=1.0, recipe=recipe, training={"lr": 0.3})
    assert [variant.name for variant in group_variants([*several, once])] == ["toy/a (lr 0.1)", "toy/a (lr 0.3)"]
    again = make("toy/a", signal=1.0, seed=1, recipe=recipe, training={"lr": 0.3})  # with the images of seed 0
    names = [variant.name for variant in group_variants([*several, once, again])]
    assert names == ["toy/a (lr 0.1, training images of each seed)", "toy/a (lr 0.3)"]
    same = make("toy/a", signal=1.0, recipe=recipe)  # differs in nothing else
    names = [variant.name for variant in group_variants([*several, same])]
    assert names == ["toy/a (training images of each seed)", "toy/a"]


def test_a_curve_joins_the_same_seeds_as_the_table_of_each_size(make):
    recipe = replace(CELL.recipe, simulator="toy/paint")

    def at(size, seed, train_seed=None):
        sizes = {**CELL.sizes, "train": size}
        return make("toy/a", signal=2.0, seed=seed, train_seed=train_seed, recipe=recipe, sizes=sizes)

    table = [at(100, 0), at(100, 1, 1), at(100, 2, 2)]
    assert [len(variant.results) for variant in group_variants(table)] == [3]
    for other in (at(200, 1), at(200, 0, 0)):
        variants = group_variants([*table, other], any_train_size=True)
        own = next(variant for variant in variants if table[0] in variant.results)
        assert set(map(id, table)) <= set(map(id, own.results))


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
