"""Notes beside a table."""

from __future__ import annotations

import csv
import functools
import io
from pathlib import Path

import pytest
import reportdata
import torch

from zoo import registry
from zoo.data.recipe import Recipe
from zoo.host import load_plugins
from zoo.models.cost import count_cost
from zoo.models.network import build_network
from zoo.plan.suite_file import read_suite
from zoo.report.notes import missing_twins, search_note
from zoo.report.problems import find_problems
from zoo.report.tables import make_tables
from zoo.report.text import to_csv
from zoo.results.cell import Search
from zoo.results.comparison import group_variants, names_of_rows
from zoo.specs import ModelSpec

good, bad = reportdata.good, reportdata.bad

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
HOST = load_plugins(environment={})
TWINS = registry.twins_by_id(HOST)


def test_a_table_without_twins_names_the_command_that_adds_them():
    results = [good(0.9, model="gconv/p4m"), good(0.8, model="gconv/p4"), good(0.7, model="gconv/z2")]
    [table] = make_tables(results, twins=TWINS)
    [note] = [note for note in table.notes if "twins" in note]
    assert "missing: gconv/z2_p4m_macs of gconv/p4m; gconv/z2_p4_macs of gconv/p4. To add them: zoo bench" in note
    assert "zoo bench --model gconv/z2_p4m_macs,gconv/z2_p4_macs --data toyzoo/stripes" in note


@pytest.mark.parametrize("rest", [[], ["gconv/z2"], ["gconv/z2_p4m_macs"], ["gconv/z2", "gconv/z2_p4m_macs"]])
def test_a_twin_in_the_table_is_not_asked_for(rest):
    results = [good(0.9, model="gconv/p4m"), *(bad("cause", model=model) for model in rest)]
    missing = [twin for twin in TWINS["gconv/p4m"] if twin not in rest]
    assert missing_twins(results, TWINS).partition(" --data")[0].endswith(",".join(missing))
    assert bool(missing) == bool(missing_twins(results, TWINS))


def test_a_plain_network_needs_no_twin():
    assert missing_twins([good(0.9, model="gconv/z2")], TWINS) == ""


@functools.cache  # several networks have the same twin
def cost(name):
    spec = registry.find(HOST, ModelSpec, name)
    network = build_network(spec, in_chans=1, num_classes=3, image_size=64, hparams={})
    return count_cost(network, torch.zeros(1, 1, 64, 64))


@pytest.mark.slow
@pytest.mark.parametrize("model", TWINS)
def test_every_declared_twin_has_equal_parameters_or_multiply_accumulates(model):
    """About 64 pixels: strides that round differently make the work of two ResNets differ by a tenth."""
    own = cost(model)
    for twin in TWINS[model]:
        other = cost(twin)
        ratios = (other.parameters / own.parameters, other.macs / own.macs)
        assert min(abs(ratio - 1) for ratio in ratios) < 0.12, twin
        assert registry.find(HOST, ModelSpec, twin).group is None


@pytest.mark.parametrize("name", ["headline", "few_images", "few_images_laptop", "classify_ab"])
def test_the_suites_hold_both_twins_of_the_small_networks(name):
    models = {registry.find(HOST, ModelSpec, model).id for model in read_suite(BENCHMARKS / f"{name}.toml").listed}
    small = {model for model in ("gconv/p4", "gconv/p4m") if model in models}
    assert small
    assert {twin for model in small for twin in TWINS[model]} <= models


def searched(trials, **changes):
    return good(0.9, reportdata.make_cell(search=Search(study="s", trials=trials), **changes))


def test_rows_hold_learning_rate_weight_decay_and_trials_of_the_search():
    plain = good(0.8, reportdata.make_cell(model="toyzoo/other", training={"lr": 0.005, "weight_decay": 1e-4}))
    [table] = make_tables([searched(12), plain])
    shown = [table.columns.index(name) for name in ("learning rate", "weight decay", "search trials")]
    assert [[row[index] for index in shown] for row in table.rows] == [["-", "-", "12"], ["0.005", "0.0001", "0"]]
    [note] = [note for note in table.notes if "search budgets" in note]
    assert "12 for toyzoo/tiny; 0 for toyzoo/other" in note
    heading, *lines = to_csv([searched(12), searched(None, seed=1), plain]).splitlines()
    column = heading.split(",").index("search_trials")
    assert [line.split(",")[column] for line in lines] == ["12", "?", "0"]


@pytest.mark.parametrize(("first", "second", "said"), [(12, 12, False), (12, 13, True), (None, 12, True)])
def test_only_searches_of_different_length_are_mentioned(first, second, said):
    results = [searched(first), searched(second, model="toyzoo/other")]
    assert bool(search_note(results, names_of_rows(group_variants(results)))) == said


SIMULATED = {"dataset": "toysky/discs", "dataset_version": 2, "simulator": "toysky/painter", "simulator_version": 3}
IN_FILES = {"dataset": "toyzoo/files", "dataset_version": 1, "params": {"path": "/data/a"}, "content": {"path": "ab12"}}


@pytest.mark.parametrize(
    ("recipe", "changes", "expected"),
    [
        ({**SIMULATED, "seed": 7}, {}, {"simulator": "toysky/painter", "simulator_version": "3", "images_seed": "7"}),
        ({**SIMULATED, "seed": 7}, {"train_seed": 5}, {"images_seed": "7", "train_seed": "5"}),
        ({**SIMULATED}, {"images": {"test": "cd34"}}, {"images_seed": "0", "images.test": "cd34"}),
        ({**SIMULATED, "commitment": "salt:ef56"}, {}, {"images_seed": "", "commitment": "salt:ef56"}),
        (IN_FILES, {}, {"simulator": "", "content.path": "ab12", "data.path": "/data/a"}),
    ],
)
def test_the_csv_states_simulator_seed_and_digest_of_the_images(recipe, changes, expected):
    cell = reportdata.make_cell(recipe=Recipe(**recipe), **changes)
    for result in (good(0.9, cell), bad("no memory", recipe=Recipe(**recipe), **changes)):
        [row] = csv.DictReader(io.StringIO(to_csv([result])))
        assert {name: row[name] for name in expected} == expected
        assert row["recipe_hash"] == Recipe(**recipe).hash


def test_the_caution_tells_two_trainings_from_one_and_a_mean(tmp_path):
    once = [reportdata.stored(tmp_path, good(0.9, model=f"toyzoo/{name}")) for name in "ab"]
    again = reportdata.stored(tmp_path, good(0.8, model="toyzoo/a", seed=1))
    [problem] = find_problems(once)
    assert problem.caution.endswith("with a single seed, two trainings are compared.")
    [problem] = find_problems([*once, again])
    assert problem.caution.endswith("with a single seed, the spread of its trainings is unknown.")
    assert all("(one training)" in sentence and "(mean of 2)" in sentence for sentence in problem.sentences())
