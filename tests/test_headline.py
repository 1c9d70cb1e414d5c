"""The headline experiment: docs/results.md is what its record says, its pieces can be planned and interrupted."""

import itertools
import json
import re
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from headlineruns import recorded, with_cell

from zoo.budgets import BUDGETS
from zoo.host import load_plugins
from zoo.plan.suite import plan_suite
from zoo.plan.suite_file import changed, read_suite
from zoo.results.comparison import group_variants, problem_key

BEGINS, ENDS = "<!-- benchmarks/headline.py --write -->\n", "\n<!-- until here -->"
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def is_on(run, data):
    return run["cell"]["recipe"]["dataset"] == f"deeplense/{data}"


def test_the_page_is_what_the_record_says(headline, page, readme, tables):
    runs = headline.read_record()
    text = headline.README.read_text(encoding="utf-8")
    assert f"{BEGINS}{readme.readme_tables(list(map(headline.read_run, runs)))}{ENDS}" in text
    assert headline.PAGE.read_text(encoding="utf-8") == page.make_page(list(map(headline.read_run, runs)))
    pictures = page.pictures_of(list(map(headline.read_run, runs)))
    assert pictures
    assert all((headline.PAGE.parent / "images" / name).is_file() for name in pictures)
    shown, problems = headline.PAGE.read_text(encoding="utf-8"), {}
    for run in runs:
        assert run["status"] == "ok"
        if run["part"] == "task":
            assert f"{headline.read_run(run).result.test.headline.value:.4f}" in shown
        elif headline.full_size(headline.read_run(run).result.cell):
            result = headline.read_run(run).result
            problems.setdefault(problem_key(result.cell), []).append(result)
    for variant in itertools.chain(*map(group_variants, problems.values())):
        assert tables.area(tables.mean(variant.auc())) in shown


@pytest.mark.slow
@pytest.mark.parametrize("name", [path.name for path in sorted(BENCHMARKS.glob("*.toml"))])
def test_every_suite_can_be_planned(name, tmp_path):
    suite = changed(read_suite(BENCHMARKS / name), device="cpu", store=str(tmp_path))
    plan = plan_suite(load_plugins(environment={}), suite)
    assert plan.cells
    assert plan.problems == []


@pytest.mark.parametrize(
    "budget", ["smoke", *(pytest.param(name, marks=pytest.mark.slow) for name in BUDGETS if name != "smoke")]
)
def test_every_piece_is_a_suite_whose_options_fit(headline, budget, tmp_path):
    options = headline.argparse.Namespace(budget=budget, model="p4m,z2", store=tmp_path, only_table=False)
    pieces = list(headline.trainings(options))
    assert len(pieces) == 4
    for _, suite, *words in pieces:
        words = [word for word in words if word != "--data-seeds"]
        told = dict(zip(words[::2], words[1::2], strict=True))
        assert told.pop("--budget") == budget
        models = told.get("--model", "").split(",") if "--model" in told else None
        values = {"budgets": [budget], "device": "cpu", "baselines": False} | ({"models": models} if models else {})
        read = changed(read_suite(Path(suite)), **values)
        plan = plan_suite(load_plugins(environment={}), changed(read, store=told["--store"]))
        assert plan.problems == []
    seeds = {words[words.index("--model") + 1]: "--data-seeds" in words for _, _, *words in pieces[:2]}
    assert seeds == {"gconv/z2": False, "gconv/p4m": True}
    assert pieces[3][pieces[3].index("--store") + 1] != str(tmp_path)


@pytest.mark.slow
def test_a_piece_is_interrupted_at_the_deadline(headline, tmp_path):
    seen = tmp_path / "seen"
    code = (
        "import signal, sys, time, pathlib\n"
        f"signal.signal(signal.SIGINT, lambda *_: (pathlib.Path({str(seen)!r}).touch(), sys.exit(130)))\n"
        f"pathlib.Path({str(tmp_path / 'ready')!r}).touch()\n"
        "time.sleep(60)"
    )
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        headline.run_until(started + 3, [sys.executable, "-c", code])
    assert time.monotonic() - started < 30
    assert (tmp_path / "ready").exists()
    assert seen.exists()
    assert headline.run_until(float("inf"), [sys.executable, "-c", "raise SystemExit(1)"]) == 1
    with pytest.raises(SystemExit, match=str(2)):
        headline.run_until(float("inf"), [sys.executable, "-c", "raise SystemExit(2)"])


def test_a_shift_is_scored_once_and_kept_beside_the_others(headline, page, tmp_path, monkeypatch):
    asked = []

    def evaluate(run_dir, **options):
        asked.append(options)
        return SimpleNamespace(
            auc={"macro": 0.5}, intervals={}, accuracy=0.5, images=options["images"], angle=0.0
        )  # fmt: skip

    monkeypatch.setattr(headline.zoo, "evaluate", evaluate)
    [first, *_] = headline.read_record()
    run = headline.read_run(first | {"run_id": "abc"}).result
    for _ in range(2):
        for shift in headline.SHIFTS:
            headline.evaluate_shift(tmp_path, run, shift, images=7)
    assert len(asked) == len(headline.SHIFTS)
    assert {options["images"] for options in asked} == {7}
    other = "modelB" if "modelA" in run.cell.data else "modelA"
    assert sum(options.get("data") == other for options in asked) == 1
    kept = json.loads((tmp_path / "shifts" / "abc.json").read_text())
    assert list(kept) == list(headline.SHIFTS)
    # Scores of fewer images than are asked for now are no answer, and a damaged file is none.
    headline.evaluate_shift(tmp_path, run, shift, images=70)
    headline.evaluate_shift(tmp_path, run, shift, images=8)
    assert [options["images"] for options in asked[len(headline.SHIFTS) :]] == [70]
    (tmp_path / "shifts" / "abc.json").write_text('{"cut')
    headline.evaluate_shift(tmp_path, run, shift, images=7)
    assert len(asked) == len(headline.SHIFTS) + 2


def test_at_paper_size_published_numbers_stand_in_the_table_with_verdict_and_times(headline, page):
    def at_paper(run, micro):
        cell = run["cell"] | {"budget": "paper", "sizes": dict(BUDGETS["paper"].sizes)}
        [epoch, *_] = run["history"]
        history = [epoch | {"epoch": n, "seconds": 60.0, "val_auc": auc} for n, auc in ((1, 0.9), (2, micro))]
        changed = run | {
            "cell": cell,
            "test": run["test"] | {"auc": run["test"]["auc"] | {"micro": micro}},
            "device": "cuda",
            "environment": run["environment"] | {"gpu": "Some GPU"},
            "cost": run["cost"] | {"simulation_seconds": 90.0},
            "history": history,
        }
        return headline.read_run(changed)

    table = [run for run in headline.read_record() if run["part"] == "table" and is_on(run, "modelB")]
    table = [run for run in table if headline.full_size(headline.read_run(run).result.cell)]
    of_z2 = next(run for run in table if run["cell"]["model"] == "gconv/z2" and run["cell"]["budget"] == "evening")
    by_model = {run["cell"]["model"]: run for run in table if run["cell"]["recipe"] == of_z2["cell"]["recipe"]}
    text = page.make_page([at_paper(by_model["gconv/p4m"], 0.997), at_paper(by_model["gconv/z2"], 0.99)])
    assert "missing for modelA**" in text  # there is no run on it
    assert "modelA: DeepLense's equivariant project of 2021" in text
    assert "modelB: DeepLense's equivariant project of 2021" not in text
    assert "*published: e2cnn D8*" in text
    assert "e2cnn D8: .9961, on other images of the same kind. Above it: `gconv/p4m`. Not above it: `gconv/z2`." in text
    assert "| to the published .9961 |" in text
    minutes = {
        line.split("`")[1]: line.split("|")[5].strip()
        for line in text.splitlines()
        if " MiB" not in line and "`" in line and line.count("|") == 7
    }
    assert minutes == {"gconv/p4m": "3.5", "gconv/z2": "not reached"}


def test_difficulty_names_what_was_changed(headline, page, difficulty):
    run = recorded(headline, "7a25")

    def with_params(**params):
        recipe = run["cell"]["recipe"]
        changed_recipe = recipe | {"params": recipe["params"] | {"mass_scale": 1.0} | params}
        return run | {"part": "difficulty", "cell": run["cell"] | {"recipe": changed_recipe}}

    all_of_them = [with_params(), with_params(conserve_mass="none"), with_params(psf_width=0.05)]
    text = difficulty.difficulty_table(list(map(headline.read_run, all_of_them)))
    for told in ("nothing", "`conserve_mass` none", "`psf_width` 0.05"):
        assert f"| {told} |" in text
    # A choice is named by what it is, whichever others are recorded, and budgets never share a table.
    alone = with_params(conserve_mass="none")
    assert "| `conserve_mass` none |" in difficulty.difficulty_table([headline.read_run(alone)])
    paper = alone | {"cell": alone["cell"] | {"budget": "paper", "sizes": dict(BUDGETS["paper"].sizes)}}
    both = page.make_page([headline.read_run(alone), headline.read_run(paper)])
    assert "16,384 training images, budget laptop, trained on" in both.replace("\n", " ")
    assert "67,500 training images, budget paper, trained on" in both.replace("\n", " ")


def test_a_baseline_stands_in_the_table_of_difficulty_without_the_end_of_a_training(headline, difficulty):
    runs = [headline.read_run(run) for run in headline.read_record() if is_on(run, "modelB") and run["part"] == "table"]
    chosen = [
        next(run for run in runs if run.cell.model == model and run.cell.budget == "laptop")
        for model in ("baselines/scalars_boosted", "gconv/p4")
    ]
    *_, row = difficulty.difficulty_table(chosen).splitlines()
    _, data, changed, boosted, network, ids, _ = (cell.strip() for cell in row.split("|"))
    assert (data, changed) == ("modelB", "nothing")
    assert ids == " ".join(run.result.run_id[:4] for run in chosen)
    assert re.fullmatch(r"\.\d{4} / \.\d{4} \(\.\d{4} to \.\d{4}\)", boosted)
    assert re.fullmatch(r"\.\d{4} / \.\d{4} \(\.\d{4} to \.\d{4}\) \(training loss .*\)", network)


def test_what_failed_is_told(headline, page, tmp_path, monkeypatch, capsys):
    def fails(run_dir, **options):
        raise headline.ZooError("The weights are gone.")

    run = headline.read_run(headline.read_record()[0]).result
    monkeypatch.setattr(headline.result_store, "results", lambda _: [run])
    monkeypatch.setattr(headline.zoo, "evaluate", fails)
    monkeypatch.setattr(headline, "trainings", lambda options: [["bench", "some/table.toml"]])
    monkeypatch.setattr(headline, "run_until", lambda deadline, command: 1)
    monkeypatch.setattr(headline.signal, "signal", lambda *_: None)
    assert headline.main(["--store", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "Failed: table.toml, " in told
    assert "own test images" in told
    assert "The weights are gone." in told


def test_few_images_are_averaged_over_seeds(headline, difficulty):
    run = recorded(headline, "7a25")
    run["cell"] = run["cell"] | {"phases": []}

    def of(train, macro):
        cell = run["cell"] | {"sizes": run["cell"]["sizes"] | {"train": train}}
        return run | {"cell": cell, "test": run["test"] | {"auc": run["test"]["auc"] | {"macro": macro}}}

    other = of(16384, 0.99)  # of other settings than the rest of the curve, and with as many seeds
    other["cell"] = other["cell"] | {"training": other["cell"]["training"] | {"auxiliary": "shear"}}
    longer = of(500, 0.1)
    longer["cell"] = longer["cell"] | {"training": longer["cell"]["training"] | {"epochs": 99}}
    lines = (other, longer, of(500, 0.7), of(500, 0.8), of(16384, 0.9))
    text = difficulty.few_table([headline.read_run(run) for run in lines])
    assert f"| `{run['cell']['model']}` | .7500 (0.0707; 2) | .9000 (1) |" in text
    assert difficulty.few_table([headline.read_run(of(16384, 0.9))]) == ""
    assert "Seeds share" not in text
    one, two = (headline.read_run(of(size, 0.9)) for size in (500, 16384))
    for own, shared in (({}, True), ({"train_seed": 1}, False)):
        assert ("Seeds share" in difficulty.few_table([with_cell(one, seed=1, **own), two])) == shared
