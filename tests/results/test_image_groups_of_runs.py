"""Runs on images that are not independent: scores, fresh test, checks, comparisons, tables, card and evaluation."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from smallrun import write_result

from zoo.cli import cli
from zoo.host import load_plugins
from zoo.inference.fresh import with_fresh_tests
from zoo.paths import file_sha256
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.report.tables import make_tables
from zoo.results import store
from zoo.results.comparison import group_variants
from zoo.results.differences import compare_pairs
from zoo.results.digest import read_digest
from zoo.results.files import groups_in, read_resampled
from zoo.results.metric_differences import compare_metrics
from zoo.results.samples import read_sample
from zoo.results.verify import verify_run
from zoo.run.cell import run_cell
from zoo.scores.intervals import Grouping, intervals
from zoo.scores.schema import SharedBy
from zoo.scores.stats import difference_of_independent, macro_components, softmax
from zoo.specs import MetricSpec
from zoo.tasks.find import CORE
from zoo.testing.toys import with_toys
from zoo.weights.card import make_card

TOYS = Path(__file__).parents[1] / "toys"
SIZES = {"train_images": 90, "val_images": 30, "test_images": 240, "epochs": 1, "batch_size": 30, "augment": "none"}
MODELS = ("toyzoo/tiny", "toyzoo/normed")
TEXT = (
    "The 95 % intervals are over 12 groups of test images with the same galaxy: images of one group are not "
    "independent."
)


@pytest.fixture(scope="module")
def crowds():
    host = load_plugins(files=[TOYS / name for name in ("toyzoo.py", "toysky.py", "brokenothers.py")], environment={})
    return with_toys(host, MetricSpec(id="toyzoo/brier", target="brokenothers:directions", better={"brier": "lower"}))


@pytest.fixture(scope="module")
def runs(crowds, tmp_path_factory):
    """Results of two networks with a fresh test, in a store of their own."""
    folder = tmp_path_factory.mktemp("crowds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(folder / "cache"))
        request = Request(
            models=list(MODELS), data=["toysky/crowds"], budget="smoke", device="cpu", simulator="toysky/painter",
            settings=SIZES, store=folder / "results",
        )  # fmt: skip
        results = []
        for cell in make_plan(crowds, request):
            run_dir = store.prepare_run(folder / "results", cell)
            results.append(run_cell(crowds, cell, run_dir, device="cpu"))
            assert results[-1].status == "ok", results[-1].error
        results, problems = with_fresh_tests(crowds, results, seed=1, device="cpu")
        assert not problems
        yield results


def stored_groups(result, file=store.PREDICTIONS, split="test"):
    arrays, metadata = store.read_arrays(result.run_dir / file)
    groups = groups_in(metadata, split, images=len(arrays[f"{split}.labels"]))
    return softmax(arrays[f"{split}.logits"]), arrays[f"{split}.labels"], groups


def test_intervals_are_over_the_groups(runs):
    for result in runs:
        for scores, file, split in (
            (result.test, store.PREDICTIONS, "test"), (result.fresh.scores, store.FRESH, "fresh"),
        ):  # fmt: skip
            probabilities, labels, groups = stored_groups(result, file, split)
            assert scores.image_groups == SharedBy(name=groups.name, values=groups.count)
            assert (groups.name, groups.count) == ("galaxy", 12)
            ends = intervals(probabilities, labels, groups=groups.numbers)["auc_macro"]
            assert scores.headline.interval == pytest.approx(ends, abs=1e-6)
            assert scores.headline.interval != pytest.approx(intervals(probabilities, labels)["auc_macro"], abs=1e-3)


def test_groups_are_those_of_the_stored_parameter(runs):
    arrays, _ = store.read_arrays(runs[0].run_dir / store.PREDICTIONS)
    galaxies, (_, _, groups) = arrays["test.parameter.galaxy"], stored_groups(runs[0])
    order = np.argsort(galaxies, kind="stable")
    assert all((a == b) == (g == h) for (a, b), (g, h) in zip(
        pairwise(galaxies[order]), pairwise(groups.numbers[order]), strict=True
    ))  # fmt: skip


def test_a_fresh_test_on_the_same_galaxies_is_compared_over_images(runs):
    """The spread between galaxies is no part of the difference."""
    for result in runs:
        (own, labels, _), (new, other_labels, _) = (
            stored_groups(result), stored_groups(result, store.FRESH, "fresh")
        )  # fmt: skip
        ends = [intervals(*pair)["auc_macro"] for pair in ((own, labels), (new, other_labels))]
        first, second = result.test.macro, result.fresh.scores.macro
        expected = difference_of_independent(first, ends[0], second, ends[1])[1]
        assert result.fresh.interval == pytest.approx(expected, abs=1e-6)


def test_verify_finds_an_interval_over_images(runs, crowds):
    assert [verify_run(result.run_dir).state for result in runs] == ["true", "true"]
    result = runs[0]
    content = json.loads((result.run_dir / store.RESULT).read_text())
    probabilities, labels, _ = stored_groups(result)
    wrong = list(intervals(probabilities, labels)["auc_macro"])
    altered = {**content["test"], "intervals": {**content["test"]["intervals"], "auc.macro": wrong}}
    write_result(result.run_dir, {**content, "test": altered})
    found = verify_run(result.run_dir)
    write_result(result.run_dir, content)
    assert found.state == "false"
    assert any("intervals.auc.macro" in problem for problem in found.problems)


def test_comparisons_are_over_the_groups(runs):
    first, second = (read_sample(variant, CORE) for variant in group_variants(runs))
    probabilities, labels, groups = stored_groups(next(run for run in runs if run.cell.model == first.name))
    expected = Grouping.of(groups.numbers, labels).sums(macro_components(probabilities, labels)[1])
    np.testing.assert_allclose(first.components, expected, atol=1e-12)
    assert first.components.shape == second.components.shape == (4, 12)
    comparisons, problems = compare_pairs(group_variants(runs))
    assert not problems
    assert comparisons[0].low < comparisons[0].difference < comparisons[0].high
    assert "95 % over groups of images" in comparisons[0].in_words()


def test_a_run_without_groups_is_not_compared_with_one_that_has_them(runs):
    result = runs[1]
    path = result.run_dir / store.PREDICTIONS
    before = path.read_bytes()
    arrays, metadata = store.read_arrays(path)
    store.write_arrays(path, arrays, {name: text for name, text in metadata.items() if "image_groups" not in name})
    older = replace(
        result, files={**result.files, store.PREDICTIONS: file_sha256(path)},
        test=replace(result.test, image_groups=None),
    )  # fmt: skip
    comparisons, problems = compare_pairs(group_variants([runs[0], older]))
    [table] = make_tables([runs[0], older])[:1]
    path.write_bytes(before)
    assert not comparisons
    assert any("Tested on other images" in problem for problem in problems)
    assert any(note.startswith(f"The intervals of {older.cell.model} are over images") for note in table.notes)


def test_metrics_of_plugins_are_drawn_by_group(runs):
    assert "brier" in [one.label for one in compare_metrics(group_variants(runs))]
    for result in runs:
        probabilities, labels, groups = stored_groups(result)
        error = ((probabilities - np.eye(3)[labels]) ** 2).sum(1) - result.test.brier
        expected = np.sqrt((np.bincount(groups.numbers, error) ** 2).sum()) / len(labels)
        drawn = read_resampled(result)["toyzoo/brier", "brier"]
        assert drawn.std() == pytest.approx(expected, rel=0.2)
        assert drawn.std() != pytest.approx(error.std() / np.sqrt(len(labels)), rel=0.1)


def test_curves_and_slices_are_made(runs):
    digest = read_digest(runs[0])
    assert set(digest.roc) == {"a", "b", "c"}
    bins = [one for entry in digest.slices for one in entry.bins]
    assert len(bins) > 5
    assert all(0 <= one.interval[0] <= one.auc <= one.interval[1] <= 1 for one in bins)


def test_readers_are_told(runs, crowds):
    [table, *_] = make_tables(runs)
    assert TEXT in table.notes
    assert TEXT in make_card(crowds, runs[0].run_dir)
    shown = CliRunner().invoke(cli, ["show", str(runs[0].run_dir)], obj=crowds)
    assert TEXT in " ".join(shown.output.split())


def test_an_evaluation_has_the_intervals_of_the_run(runs, crowds):
    run = runs[0]
    words = ["evaluate", str(run.run_dir / store.WEIGHTS), "--json", "-n", str(SIZES["test_images"])]
    found = CliRunner().invoke(cli, words, obj=crowds)
    assert found.exit_code == 0, found.output
    content = json.loads(found.stdout)
    assert content["image_groups"] == {"name": "galaxy", "values": 12}
    assert content["intervals"]["auc.macro"] == pytest.approx(run.test.headline.interval, abs=1e-5)
