"""The tables of the README are what the record of the headline experiment says, and bear docs/findings.md."""

import re
from dataclasses import replace as replace_cell
from pathlib import Path
from statistics import mean, stdev

import pytest
from headlineruns import on_images_of, recorded, trained_on, with_area, with_cell

from zoo.budgets import BUDGETS
from zoo.results.comparison import estimate, group_variants

FINDINGS = (Path(__file__).parents[1] / "docs" / "findings.md").read_text(encoding="utf-8")


@pytest.fixture
def runs(headline):
    return [headline.read_run(run) for run in headline.read_record()]


def chosen(readme, runs, budget):
    return {
        data: readme.chosen(runs, data=data, budget=budget, trainings=readme.TABLES[budget]) for data in readme.SHOWN
    }


def cells_of(table):
    """Cells of the rows of a table, by the network's name."""
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    return {line.split("`")[1]: [cell.strip() for cell in line.strip("|").split("|")] for line in lines}


def of_budget(run, budget):
    return with_cell(run, budget=budget, sizes=BUDGETS[budget].sizes)


def test_the_readme_keeps_to_what_its_text_says(headline, readme):
    newer = headline.read_run(recorded(headline, "35bd"))
    recipe = newer.cell.recipe
    run = with_cell(newer, recipe=replace_cell(recipe, dataset_version=1))
    paper, laptop = (of_budget(run, budget) for budget in ("paper", "laptop"))
    assert readme.readme_tables([paper]) == "No run is recorded yet."
    assert readme.readme_tables([laptop]) == "No run is recorded yet."  # one training is not enough there
    text = readme.readme_tables([laptop, run, paper])
    assert text.startswith("Budget evening, 67,500 training images")
    assert "| network | parameters | million MACs | Model B, macro AUC (95 %) | trainings |\n" in text
    assert "of the old definition" in text
    assert readme.readme_tables([run, newer]) == readme.readme_tables([newer])
    mass = replace_cell(recipe, params={**recipe.params, "mass_scale": 4.0})
    [*_, heading] = readme.readme_tables([with_cell(newer, recipe=mass)]).partition(":")[0].split(", ")
    assert heading == "`mass_scale` 4.0"


@pytest.mark.parametrize(
    "changes",
    [
        {"training": {"auxiliary": "shear"}},
        {"training": {"new_noise": True}},
        {"training": {"lr": 0.5}},
        {"hparams": {"widths": [2]}},
        {"recipe": "4342"},
    ],
)
def test_what_was_tried_with_one_network_is_not_in_the_readme(headline, readme, changes):
    run = headline.read_run(recorded(headline, "35bd"))
    [(field, value)] = changes.items()
    if field == "recipe":
        channels = headline.read_run(recorded(headline, value)).cell.recipe.channels
        tried = with_cell(run, recipe=replace_cell(run.cell.recipe, channels=channels))
    else:
        tried = with_cell(run, **{field: {**getattr(run.cell, field), **value}})
    assert readme.readme_tables([run, tried]) == readme.readme_tables([run])
    assert readme.readme_tables([tried]) == "No run is recorded yet."


def test_trainings_on_images_of_a_gpu_and_of_a_cpu_stand_in_one_row_and_a_note_names_them(headline, readme):
    on_gpu = headline.read_run(recorded(headline, "35bd"))
    on_cpu = trained_on(on_images_of(on_gpu, "cpu"), None)
    second = with_cell(on_cpu, seed=1, train_seed=1)
    [(name, row)] = cells_of(readme.readme_tables([on_gpu, second])).items()
    assert (name, row[-1]) == (on_gpu.cell.model, "2")
    assert "on Model B those of all networks with seed 0. " in " ".join(readme.readme_tables([on_gpu, second]).split())
    assert "GPU" not in readme.readme_tables([on_cpu, second])


def test_one_training_on_other_images_displaces_no_several(headline, readme):
    first = headline.read_run(recorded(headline, "35bd"))
    shared = [with_cell(first, seed=seed) for seed in range(3)]
    runs = [*shared, with_cell(first, seed=1, train_seed=1)]
    assert [run.cell.seed for run in readme.chosen(runs, data="modelB", budget="evening", trainings=3)] == [0, 1, 2]
    runs += [with_cell(first, seed=2, train_seed=2)]
    found = readme.chosen(runs, data="modelB", budget="evening", trainings=2)
    assert [(run.cell.seed, run.cell.train_seed) for run in found] == [(1, 1), (2, 2)]


def test_of_two_variants_of_a_baseline_the_better_one_stands_in_the_table(headline, readme):
    network, baseline = (headline.read_run(recorded(headline, name)) for name in ("35bd", "9c00"))
    other = with_area(with_cell(baseline, versions={**baseline.cell.versions, "scikit-learn": "0.1"}), 0.55)
    rows = cells_of(readme.readme_tables([network, baseline, other]))
    assert rows[baseline.cell.model][-2].startswith(readme.area(baseline.result.test.auc["macro"]))


def test_the_note_on_noise_names_the_seeds_of_each_network(headline, readme):
    one, other = (headline.read_run(recorded(headline, name)) for name in ("35bd", "bb06"))
    runs = [one, on_images_of(one, "cpu", seed=1, train_seed=1)]
    runs += [on_images_of(other, "cpu"), with_cell(other, seed=1, train_seed=1), with_cell(other, seed=2, train_seed=2)]
    note = readme.noise_note({"on Model B": runs})
    first, second = "`gconv/z2_p4m_macs` with seeds 1 and 2", "`gconv/z2` with seed 0"  # in the order of the rows
    assert f": on Model B those of {first}; on Model B those of {second}. " in note
    assert readme.noise_note({"on Model B": [one, with_cell(one, seed=1, train_seed=1)]}) == ""


def test_the_heading_states_what_differs_between_the_data_sets(headline, readme):
    on_a, on_b = (headline.read_run(recorded(headline, name)) for name in ("c1c0", "35bd"))
    assert readme.table_of({"modelA": [on_a], "modelB": [on_b]}).startswith("Budget evening, 67,500 training images:\n")
    heavier = replace_cell(on_b.cell.recipe, params={**on_b.cell.recipe.params, "mass_scale": 4.0})
    heading = readme.table_of({"modelA": [on_a], "modelB": [with_cell(on_b, recipe=heavier)]}).partition(":\n")[0]
    images = "budget evening, 67,500 training images"
    assert heading == f"Model A: {images}; Model B: {images}, `mass_scale` 4.0"


@pytest.mark.parametrize("budget", ["laptop", "evening"])
def test_every_score_is_that_of_the_recorded_trainings(readme, runs, budget):
    tables = chosen(readme, runs, budget)
    assert set(tables) == set(readme.SHOWN)
    rows = cells_of(readme.table_of(tables))
    for column, own in zip((3, 5), tables.values(), strict=True):
        for name, row in rows.items():
            trainings = [run for run in own if run.cell.model == name]
            areas = [run.result.test.auc["macro"] for run in trainings]
            score = row[column].partition(" ")[0]
            assert score == (readme.area(sum(areas) / len(areas)) if areas else "-")
            assert row[column + 1] == (str(len(areas)) if areas else "-")
            assert len({run.cell.seed for run in trainings}) == len(trainings)
            if not name.startswith("baselines/"):
                assert len(areas) >= readme.TABLES[budget] or not areas
                assert all(run.cell.train_seed is not None for run in trainings if run.cell.seed)
    assert {"gconv/p4m", "gconv/z2_p4m_macs", "timm/resnet18", "baselines/scalars_boosted"} <= set(rows)


def test_the_first_table_has_several_trainings_of_each_network(readme, runs):
    tables = chosen(readme, runs, "laptop")
    rows = cells_of(readme.table_of(tables))
    assert "baselines/flexible_lens" in rows
    assert "gconv/p4" not in rows  # trained once
    two = [run for run in runs if run.cell.seed < 2]
    assert chosen(readme, two, "laptop") == {"modelA": [], "modelB": []}
    # The README says that these intervals do not overlap.
    for own in tables.values():
        found = {variant.model: estimate(variant.results) for variant in group_variants(run.result for run in own)}
        highest = max(found[name].high for name in ("gconv/z2_p4m_macs", "timm/resnet18"))
        assert found["gconv/p4m"].low > highest


def test_the_findings_quote_the_means_of_the_readme_s_tables(readme, runs):
    [paragraph] = re.findall(r"\*\*With four times the images.*?In equally many", FINDINGS, flags=re.DOTALL)
    shown = {cell for row in cells_of(readme.table_of(chosen(readme, runs, "evening"))).values() for cell in row}
    quoted = re.findall(r"\.\d{4} \(\.\d{4} to \.\d{4}\)", " ".join(paragraph.split()))
    assert len(quoted) == 6
    assert set(quoted) <= {cell.removesuffix(" †") for cell in shown}


def test_the_findings_state_the_differences_with_fewer_images(readme, runs):
    text = " ".join(FINDINGS.split())
    areas = {
        (model, count): {
            run.cell.seed: run.result.test.auc["macro"]
            for run in runs
            if (run.cell.model, run.cell.data, run.cell.budget) == (model, "deeplense/modelA", "laptop")
            and run.cell.sizes["train"] == count
            and (count < 16384 or run in chosen(readme, runs, "laptop")["modelA"])
        }
        for model in ("gconv/p4m", "gconv/z2_p4m_macs")
        for count in (512, 1024, 4096, 16384)
    }
    assert [len(of_seed) for of_seed in areas.values()] == [1, 3, 3, 3] * 2
    above = {
        count: mean(areas["gconv/p4m", count].values()) - mean(areas["gconv/z2_p4m_macs", count].values())
        for count in (4096, 16384)
    }
    assert "by {} and {} with 4,096 and 16,384 images".format(*map(readme.area, above.values())) in text
    pairs = [areas["gconv/p4m", 1024][seed] - areas["gconv/z2_p4m_macs", 1024][seed] for seed in range(3)]
    said = [f"{pair:+.4f}".replace("0.", ".") for pair in pairs]
    assert "with 1,024 by {}, {} and {} in the pairs with the same seed".format(*said) in text
    assert mean(pairs) < 4.3 * stdev(pairs) / 3**0.5  # Student's interval with two degrees of freedom holds 0
    fewest = [readme.area(areas[model, 512][0]) for model in ("gconv/p4m", "gconv/z2_p4m_macs")]
    assert fewest[0] < fewest[1]
    assert "with 512, in one training each, p4m has {}, `z2_p4m_macs` {}.".format(*fewest) in text


def test_the_findings_state_how_many_images_changed_their_class_when_turned(readme, runs):
    text = " ".join(FINDINGS.split())
    said = re.search(r"By construction no image changes .* images do, for ResNet-18 (\d+) % .* images, seed 0\)", text)
    assert said
    flips = {
        run.cell.model: run.result.equivariance.after.square.flips
        for run in chosen(readme, runs, "evening")["modelB"]
        if run.cell.seed == 0
    }
    assert flips["gconv/p4m"] == 0
    assert said.group(1) == f"{flips['timm/resnet18']:.0%}".removesuffix("%")
    assert f"for `z2_p4m_macs` {flips['gconv/z2_p4m_macs']:.0%}".replace("%", " %") in said.group(0)


def test_the_findings_state_where_the_trainings_of_model_b_are_at_their_best(headline, readme, runs):
    text = " ".join(FINDINGS.split())
    said = re.search(r"In all (\w+) trainings on Model B p4m is best after (\d+) of (\d+) epochs", text)
    assert said
    own = [run for run in chosen(readme, runs, "evening")["modelB"] if run.cell.model == "gconv/p4m"]
    assert len(own) == {"two": 2, "three": 3}[said.group(1)]
    assert {(run.result.val.epoch, run.cell.training["epochs"]) for run in own} == {tuple(map(int, said.groups()[1:]))}
    # The validation loss rises after that, while the training loss falls; the twin and ResNet-18 go on improving.
    for run in own:
        kept, last = run.history[run.result.val.epoch - 1], run.history[-1]
        assert kept.val_loss < last.val_loss
        assert kept.train_loss > last.train_loss
    others = [run for run in chosen(readme, runs, "evening")["modelB"] if run.cell.model in headline.LEADING[1:]]
    assert {run.result.val.epoch for run in others} == {32}
    said = re.search(
        r"With new noise in each epoch .*? of (\w+) further trainings of p4m falls to the end, too, "
        r"and they reach (\.\d+) each",
        text,
    )
    every = [run for run in runs if run.cell.training.get("new_noise") and run.cell.hparams == own[0].cell.hparams]
    assert {run.cell.budget for run in every} == {"evening"}
    new_noise = [run for run in every if run.cell.data == "deeplense/modelB"]
    assert len(new_noise) == {"two": 2, "three": 3}[said.group(1)]
    [on_a] = [run for run in every if run.cell.data == "deeplense/modelA"]
    [without] = [
        run for run in chosen(readme, runs, "evening")["modelA"]
        if (run.cell.model, run.cell.train_seed) == ("gconv/p4m", on_a.cell.train_seed)
    ]  # fmt: skip
    figures = [readme.area(run.result.test.auc["macro"]) for run in (on_a, without)]
    said_of_a = "On Model A one training with new noise has {}, the one without it on the same lenses {}."
    assert said_of_a.format(*figures) in text
    assert {f"{run.result.test.auc['macro']:.4f}".removeprefix("0") for run in new_noise} == {said.group(2)}
    for run in new_noise:  # the validation loss falls to the end
        losses = [epoch.val_loss for epoch in run.history]
        assert losses[-1] < 1.01 * min(losses) < losses[run.cell.training["epochs"] // 2]


@pytest.mark.parametrize(
    ("data", "words"),
    [("modelB", "with p4m above it by {} in the pairs"), ("modelA", "p4m ahead by {} in these pairs")],
)
def test_the_findings_state_the_difference_of_each_pair_of_trainings(readme, runs, data, words):
    text = " ".join(FINDINGS.split())
    said = re.search(words.format(r"(\.\d{4}), (\.\d{4}) and (\.\d{4})"), text)
    areas = {"gconv/p4m": {}, "gconv/z2_p4m_macs": {}}
    for run in chosen(readme, runs, "evening")[data]:
        if run.cell.model in areas:
            areas[run.cell.model][run.cell.seed] = run.result.test.auc["macro"]
    assert sorted(areas["gconv/p4m"]) == sorted(areas["gconv/z2_p4m_macs"]) == [0, 1, 2]
    pairs = [[of_seed[seed] for of_seed in areas.values()] for seed in range(3)]
    assert said.groups() == tuple(readme.area(one - other) for one, other in pairs)


def test_the_findings_state_the_scores_with_muon(readme, runs):
    text = " ".join(FINDINGS.split())
    said = text.partition("**With another optimiser")[2].partition("So Muon helps")[0]
    own = [
        run for run in runs
        if (run.cell.data, run.cell.budget) == ("deeplense/modelB", "laptop") and run.cell.sizes["train"] == 16384
        and not run.cell.training.get("auxiliary") and not run.cell.recipe.channels and run.part == "table"
    ]  # fmt: skip
    with_muon = [run for run in own if run.cell.training.get("optimizer") == "timm/muon@1"]
    scores = {each.model: estimate(each.results) for each in group_variants(run.result for run in with_muon)}
    assert {model: score.seeds for model, score in scores.items()} == {
        "gconv/p4m": 3, "gconv/z2_p4m_macs": 3, "timm/resnet18": 1,
    }  # fmt: skip
    intervals = [
        f"{readme.area(one.score)} ({readme.area(one.low)} to {readme.area(one.high)})" for one in scores.values()
    ]
    assert set(re.findall(r"\.\d{4} \(\.\d{4} to \.\d{4}\)", said)) == set(intervals)
    plain = chosen(readme, runs, "laptop")["modelB"]
    for trained, words in ((with_muon, "above it by"), (plain, "with AdamW by")):
        areas = {(run.cell.model, run.cell.seed): run.result.test.auc["macro"] for run in trained}
        pairs = [areas["gconv/p4m", seed] - areas["gconv/z2_p4m_macs", seed] for seed in range(3)]
        first, second, third = map(readme.area, pairs)
        assert f"{words} {first}, {second} and {third}" in said
    # So Muon helps `z2_p4m_macs` and, in one training, ResNet-18, and p4m not beyond the spread between seeds.
    usual = {each.model: estimate(each.results).score for each in group_variants(run.result for run in plain)}
    gains = {model: one.score - usual[model] for model, one in scores.items()}
    assert min(gains["gconv/z2_p4m_macs"], gains["timm/resnet18"]) > 0.02
    assert abs(gains["gconv/p4m"]) < scores["gconv/p4m"].spread
