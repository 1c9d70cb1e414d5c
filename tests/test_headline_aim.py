"""The aim on docs/results.md: the best networks of the record, by how much they meet or miss it, and what was tried."""

import json
from itertools import product
from statistics import mean

import pytest
from headlineruns import on_images_of, recorded, with_area, with_cell


@pytest.fixture
def aim(benchmark_script):
    return benchmark_script("headline_aim")


def rows_of(text, header):
    """Return the rows of the table with this first column, as lists of cells."""
    [table] = [part for part in text.split("\n\n") if part.startswith(f"| {header} |")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]


def settings_of(cell):
    """Return what the trainings of one row share: all but the seeds, and where the images were rendered."""
    parts = [cell["budget"], cell["model"], cell["hparams"], cell["training"], cell["recipe"].get("channels"),
             cell["precision"], cell.get("phases")]  # fmt: skip
    return json.dumps(parts, sort_keys=True)


def plain_lines(headline, data):
    """Return the lines of whole training sets on a model as it is defined today, without baselines."""
    return [
        line
        for line in headline.read_record()
        if line["part"] == "table"
        and line["cell"]["recipe"]["dataset"] == f"deeplense/{data}"
        and not line["cell"]["model"].startswith("baselines/")
        and headline.full_size(headline.read_run(line).cell)
    ]


def test_the_best_networks_stand_beside_the_aim(headline, aim):
    runs = [headline.read_run(line) for line in headline.read_record()]
    rows = rows_of(aim.aim_section(runs), "data")
    channels = {"image alone": [], "image and residual_centred": ["baselines/residual_centred"],
                "image and residual_flexible": ["baselines/residual_flexible"]}  # fmt: skip
    aims = {"Model A": ".998", "Model B": ".993"}
    assert {(row[0], row[2]) for row in rows} >= {("Model A", "image alone"), *product(["Model B"], channels)}
    plain = {model: plain_lines(headline, f"model{model[-1]}") for model in aims}
    for row in rows:
        assert row[1] == aims[row[0]]
        lines = [
            line for line in plain[row[0]] if list(line["cell"]["recipe"].get("channels") or {}) == channels[row[2]]
        ]
        trainings = {}  # settings -> those that differ in the seed; a row has their mean
        for line in lines:
            trainings.setdefault(settings_of(line["cell"]), []).append(line)
        [best] = max(trainings.values(), key=lambda own: mean(line["test"]["auc"]["macro"] for line in own))
        score, goal = best["test"]["auc"]["macro"], float(row[1])
        assert row[4:6] == [best["cell"]["budget"], best["run_id"][:4]]
        assert row[6].startswith(f"{score:.4f}".removeprefix("0"))
        low, high = best["test"]["intervals"]["auc.macro"]
        assert int(row[7]) == len(trainings)
        if fresh := best.get("fresh"):
            assert row[8] == f"{fresh['scores']['auc']['macro']:.4f}".removeprefix("0")
        assert float(row[9]) == pytest.approx(score - goal, abs=6e-5)
        assert row[10] == ("met" if low > goal else "missed" if high < goal else "not decided")
        low, high = best["test"]["intervals"]["auc.micro"]
        assert row[11] == f"{best['test']['auc']['micro']:.4f} ({low:.4f} to {high:.4f})".replace("0.", ".")
        assert row[12] == ("met" if low > goal else "missed" if high < goal else "not decided")


def test_what_was_tried_on_model_b_stands_beside_the_plain_training(headline, aim):
    runs = [headline.read_run(line) for line in headline.read_record()]
    areas = {line["run_id"][:4]: line["test"]["auc"]["macro"] for line in plain_lines(headline, "modelB")}
    rows = rows_of(aim.aim_section(runs), "tried")
    told = " ".join(row[0] for row in rows)
    for what in ("wider network", "new noise", "auxiliary truths", "residual_centred", "residual_flexible"):
        assert what in told
    apart = [row for row in rows if row[0].startswith("learning rate")]  # in records of their own
    assert any("learning rate 0.0255" in row[0] and "mean .8028" in row[3] for row in apart)
    assert len({row[0] for row in apart}) == len(apart) == 3
    for _, _, ids, _, _, _, without in apart:
        assert without == "b2c6 dbf2 8354"[: 5 * len(ids.split()) - 1]
    for _, _, ids, shown, missed, gain, without in [row for row in rows if row not in apart]:
        score, beside = (sum(areas[name] for name in some.split()) / len(some.split()) for some in (ids, without))
        assert len(ids.split()) == len(without.split()) == len({*without.split()})
        assert shown.startswith(f"{score:.4f}".removeprefix("0"))
        assert float(missed) == pytest.approx(score - 0.993, abs=6e-5)
        assert float(gain) == pytest.approx(score - beside, abs=6e-5)


def test_what_was_tried_stands_beside_trainings_on_the_same_images(headline, aim):
    plain, tried = (headline.read_run(recorded(headline, name)) for name in ("c2e0", "7b64"))
    on_own_images = with_area(with_cell(plain, train_seed=7), 0.99)
    [row, *_] = rows_of(aim.aim_section([plain, on_own_images, tried]), "tried")
    gain = tried.result.test.auc["macro"] - plain.result.test.auc["macro"]
    assert (row[0], row[6]) == ("new noise in each epoch", "c2e0")
    assert float(row[5]) == pytest.approx(gain, abs=6e-5)
    twice = with_area(with_cell(plain, seed=plain.cell.seed), 0.99)  # the same seeds count once
    [row, *_] = rows_of(aim.aim_section([plain, twice, tried]), "tried")
    assert row[6] == "c2e0"


def test_what_was_tried_stands_beside_the_training_with_the_noise_of_the_same_device(headline, aim):
    plain, tried = (headline.read_run(recorded(headline, name)) for name in ("c2e0", "7b64"))
    again = with_area(on_images_of(plain, "cpu"), 0.99)
    [row, *_] = rows_of(aim.aim_section([again, plain, tried]), "tried")
    assert row[6] == "c2e0"
    assert float(row[5]) == pytest.approx(tried.result.test.auc["macro"] - plain.result.test.auc["macro"], abs=6e-5)
    on_cpu = on_images_of(tried, "cpu")
    [row, *_] = rows_of(aim.aim_section([again, plain, on_cpu]), "tried")
    assert row[6] == again.result.run_id[:4]
    [row, *_] = rows_of(aim.aim_section([plain, on_cpu]), "tried")  # only the noise differs
    assert row[6] == "c2e0"


@pytest.mark.parametrize(
    ("changed", "told"), [({"stream": True}, "new images in each epoch"), ({"batch_size": 256}, "batch_size 256")]
)
def test_every_setting_of_a_training_is_one_that_was_tried(headline, aim, readme, changed, told):
    plain = headline.read_run(recorded(headline, "c2e0"))
    other = with_cell(plain, training={**plain.cell.training, **changed})
    [row, *_] = rows_of(aim.aim_section([plain, other]), "tried")
    assert row[0] == told
    assert readme.readme_tables([plain, other]) == readme.readme_tables([plain])


def test_other_images_and_baselines_do_not_count(headline, aim, page):
    runs = [headline.read_run(line) for line in headline.read_record()]
    others = [run for run in runs if run.part != "table" or run.cell.model.startswith("baselines/")]
    others += [
        run for run in runs if run.cell.recipe.dataset == "deeplense/published" or not headline.full_size(run.cell)
    ]
    assert aim.aim_section(others) == ""
    assert "## How to read the tables" not in page.make_page(others)
    wide = next(run for run in runs if run.result.run_id.startswith("8861"))
    row, *apart = rows_of(aim.aim_section([wide]), "tried")
    assert all(other[0].startswith("learning rate") and other[5:] == ["-", "-"] for other in apart)
    assert row[0] == "wider network, learning rate 0.003, new noise in each epoch"
    assert row[5:] == ["-", "-"]
