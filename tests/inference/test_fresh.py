"""Fresh test images: they expose a network that knows the public ones by heart, and cost no training."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

import zoo
from zoo.cli import cli
from zoo.data.open import Dataset
from zoo.data.recipe import FRESH, SPLITS, Recipe
from zoo.data.stream import STREAM
from zoo.errors import UsageError
from zoo.host import load_plugins
from zoo.inference.fresh import check_fresh_test, fresh_recipe, with_fresh_tests
from zoo.lensing.population import is_test
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.report.tables import make_tables
from zoo.report.text import to_csv
from zoo.results import store
from zoo.results.verify import verify_run
from zoo.run import cell as run

TOYS = Path(__file__).parents[1] / "toys"
SIZES = {"train_images": 60, "val_images": 30, "test_images": 120, "epochs": 1, "batch_size": 30, "augment": "none"}


@pytest.fixture(scope="module")
def sky():
    return load_plugins(files=[TOYS / name for name in ("toyzoo.py", "toysky.py", "cheat.py")], environment={})


@pytest.fixture(scope="module")
def runs(sky, tmp_path_factory):
    """A store with a run of either network, and the cells."""
    folder = tmp_path_factory.mktemp("fresh")
    request = Request(
        models=["cheat/by_heart", "cheat/honest"], data=["toysky/discs"], budget="smoke", device="cpu",
        simulator="toysky/painter", settings=SIZES, store=folder / "results",
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(folder / "cache"))
        patch.setenv("CHEAT_SHEET", str(folder / "sheet.npz"))
        cells = make_plan(sky, request)
        public = Dataset(sky, cells[0].recipe, cells[0].sizes).split("test")
        np.savez(folder / "sheet.npz", images=public.images, labels=public.labels)
        for cell in cells:
            run_dir = store.prepare_run(folder / "results", cell)
            result = run.run_cell(sky, cell, run_dir, device="cpu")
            assert result.status == "ok", result.error
        yield folder / "results", cells


def results_of(folder, cells):
    return [store.open_result(folder / cell.folder) for cell in cells]


@pytest.mark.slow
def test_a_network_that_knows_the_test_images_is_exposed_without_a_training(sky, runs, monkeypatch):
    folder, cells = runs
    before = results_of(folder, cells)
    assert [result.fresh for result in before] == [None, None]
    assert before[0].test.macro == 1
    monkeypatch.setattr(run, "_run", lambda *_, **__: pytest.fail("trained again"))
    words = ["bench", "--model", "cheat/by_heart,cheat/honest", "--data", "toysky/discs", "--budget", "smoke"]
    words += ["--simulator", "toysky/painter", "--device", "cpu", "--store", str(folder), "--fresh-test", "7"]
    words += [word for name, value in SIZES.items() for word in ("--set", f"{name}={value}")]
    done = CliRunner().invoke(cli, words, obj=sky)
    assert done.exit_code == 0, done.output
    cheater, honest = after = results_of(folder, cells)
    for old, new in zip(before, after, strict=True):
        assert (new.run_id, new.test, new.files[store.WEIGHTS]) == (old.run_id, old.test, old.files[store.WEIGHTS])
        assert (new.fresh.seed, new.fresh.scores.images) == (7, new.test.images)
        low, high = new.fresh.interval
        assert low < new.fresh.difference < high
        assert new.fresh.difference == pytest.approx(new.test.macro - new.fresh.scores.macro)
        assert verify_run(new.run_dir).state == "true"
    assert cheater.fresh.interval[0] > 0.2  # of the labels, which are drawn, nothing can be known
    assert honest.fresh.interval[0] < 0 < honest.fresh.interval[1]
    text = " ".join(done.output.split())
    assert "fresh test" in text
    assert "cheat/by_heart, seed 0: macro AUC is" in text
    assert "cheat/honest, seed 0: macro AUC is" not in text


@pytest.mark.slow
def test_the_same_fresh_images_are_scored_once_and_others_replace_them(sky, runs, monkeypatch):
    folder, cells = runs
    found, problems = with_fresh_tests(sky, results_of(folder, cells), seed=7, device="cpu")
    assert problems == []
    with monkeypatch.context() as patch:
        patch.setattr("zoo.inference.fresh.load_weights", lambda *_: pytest.fail("scored again"))
        assert with_fresh_tests(sky, found, seed=7, device="cpu") == (found, [])
    # A command that was killed between its two files is mended by the same command, also for the seed of the result.
    path = found[0].run_dir / store.FRESH
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert with_fresh_tests(sky, found, seed=7, device="cpu") == (found, [])
    assert path.read_bytes() == good
    others = zoo.bench(
        "cheat/by_heart,cheat/honest", "toysky/discs", budget="smoke", simulator="toysky/painter", device="cpu",
        settings=SIZES, store=folder, fresh_test=8, host=sky,
    )  # fmt: skip
    assert [result.fresh.seed for result in others] == [8, 8]
    assert others[1].fresh.scores != found[1].fresh.scores
    assert results_of(folder, cells) == others


def test_tables_hold_the_difference_with_its_interval(sky, runs):
    folder, cells = runs
    found, _ = with_fresh_tests(sky, results_of(folder, cells), seed=7, device="cpu")
    [table] = make_tables(found)
    row = dict(zip(table.columns, table.rows[0], strict=True))
    fresh = found[0].fresh
    assert row["fresh test"] == f"{fresh.scores.macro:.4f}"
    assert row["test - fresh"] == f"{fresh.difference:+.4f} ({fresh.interval[0]:+.4f} to {fresh.interval[1]:+.4f})"
    assert "fresh.scores.auc.macro" in to_csv(found).splitlines()[0].split(",")
    [table] = make_tables([replace(result, fresh=None) for result in found])
    assert not {"fresh test", "test - fresh"} & set(table.columns)


def test_a_fresh_score_that_its_predictions_do_not_give_is_found(sky, runs):
    folder, cells = runs
    [result, _], _ = with_fresh_tests(sky, results_of(folder, cells), seed=7, device="cpu")
    altered = replace(result.fresh, scores=replace(result.fresh.scores, accuracy=0.99))
    store.write_result(replace(result, fresh=altered))
    try:
        verdict = verify_run(result.run_dir)
        assert verdict.state == "false"
        assert "fresh.accuracy is" in verdict.problems[0]
    finally:
        store.write_result(result)


@pytest.mark.slow
def test_a_run_without_its_weights_is_named_and_the_others_are_scored(sky, runs):
    folder, cells = runs
    weights = folder / cells[0].folder / store.WEIGHTS
    weights.rename(weights.with_suffix(".away"))
    try:
        found, problems = with_fresh_tests(sky, results_of(folder, cells), seed=9, device="cpu")
    finally:
        weights.with_suffix(".away").rename(weights)
    assert found[1].fresh.seed == 9
    assert len(problems) == 1
    assert problems[0].startswith("cheat/by_heart, seed 0: no fresh test: ")


@pytest.mark.slow
def test_fresh_images_are_those_of_no_split_of_any_seed(sky, runs):
    """The name of the stream is not that of a split, so even the benchmark's own seed gives other images."""
    _, [cell, _] = runs
    recipes = [fresh_recipe(cell, seed=seed, device="cpu") for seed in range(3)]
    streams = {recipe.stream(split) for recipe in recipes for split in (*SPLITS, FRESH)}
    assert len(streams) == len(recipes) * (len(SPLITS) + 1)
    images = [Dataset(sky, recipe, {split: 30}).split(split).images for recipe in recipes for split in (*SPLITS, FRESH)]
    flat = np.concatenate(images).reshape(len(images) * 30, -1)
    assert len(np.unique(flat, axis=0)) == len(flat)
    for one, other in pairwise(recipes):
        assert one.hash != other.hash


def test_a_population_is_told_which_streams_are_test_images(runs):
    _, [cell, _] = runs
    test_images = {split for split in (*SPLITS, FRESH, STREAM) if is_test(cell.recipe.stream(split))}
    assert test_images == {"test", FRESH}


def test_the_run_id_does_not_depend_on_a_fresh_test(runs):
    _, [cell, _] = runs
    assert "fresh" not in str(cell.to_json())
    assert "fresh" not in Request.__dataclass_fields__
    assert "fresh_test" not in Request.__dataclass_fields__


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "recipe", "message"),
    [
        (-1, None, "fresh_test=-1 must be a whole number from 0 to 9,223"),
        (1.5, None, "fresh_test=1.5 must be a whole number"),
        (0, Recipe(dataset="toyzoo/stripes", dataset_version=1), "toyzoo/stripes consists of existing images"),
    ],
)
def test_impossible_seeds_and_existing_images_are_refused(runs, seed, recipe, message):
    import dataclasses

    _, [cell, _] = runs
    cell = cell if recipe is None else dataclasses.replace(cell, recipe=recipe)
    with pytest.raises(UsageError, match=message):
        check_fresh_test([cell], seed=seed)


def test_the_command_refuses_existing_images_before_it_trains(host, tmp_path):
    words = ["bench", "--model", "toyzoo/tiny", "--data", "toyzoo/stripes", "--store", str(tmp_path / "results")]
    done = CliRunner().invoke(cli, [*words, "--budget", "smoke", "--device", "cpu", "--fresh-test", "1"], obj=host)
    assert isinstance(done.exception, UsageError)
    assert "no simulator makes fresh ones" in str(done.exception)
    assert not (tmp_path / "results").exists()
