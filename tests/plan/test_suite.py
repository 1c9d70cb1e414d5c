"""Suites: contents of a file, errors with line and key, and the resulting plan."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import replace
from storedata import SCORES, content_of

from zoo.cli import main
from zoo.errors import MissingError, UsageError
from zoo.host import load_plugins
from zoo.plan.suite import compare_expected, plan_suite
from zoo.plan.suite_file import changed, read_suite
from zoo.results.store import result_from

TOY = Path(__file__).parents[1] / "toys" / "toyzoo.py"
OURS = Path(__file__).parents[2] / "benchmarks" / "classify_ab.toml"
TEXT = """\
title = "Toys"
models = ["tiny", "hungry"]
data = ["stripes"]
seeds = [0, 1]
budget = "smoke"

[settings]
lr = 0.01
data.count = 500

[[expected]]
model = "tiny"
data = "stripes"
auc = 0.9
within = 0.05
minutes = 2

[[expected]]
model = "absent"
data = "stripes"
auc = 0.8
within = 0.05
"""


def on_cpu(suite):
    return changed(suite, device="cpu")


@pytest.fixture(scope="module")
def host():
    return load_plugins(files=[TOY], environment={})


@pytest.fixture
def suite_of(tmp_path):
    def write(text=TEXT):
        (tmp_path / "suite.toml").write_text(text)
        return read_suite(tmp_path / "suite.toml")

    return write


def test_a_suite_expands_to_its_matrix(suite_of, host):
    suite = suite_of()
    plan = plan_suite(host, on_cpu(suite))
    assert [(cell.model, cell.seed) for cell in plan.cells] == [
        ("toyzoo/tiny", 0), ("toyzoo/tiny", 1), ("toyzoo/hungry", 0), ("toyzoo/hungry", 1),
    ]  # fmt: skip
    assert {cell.training["lr"] for cell in plan.cells} == {0.01}
    assert {cell.recipe.params["count"] for cell in plan.cells} == {500}
    assert plan.problems == []
    assert [plan.minutes.get(cell.run_id) for cell in plan.cells] == [2, 2, None, None]


def test_budgets_and_settings_multiply(suite_of, host):
    text = TEXT.replace('budget = "smoke"', 'budget = ["smoke", "laptop"]').replace("[settings]", "[[settings]]")
    suite = suite_of(text + "\n[[settings]]\ntrain_images = 100\n")
    cells = plan_suite(host, on_cpu(suite)).cells
    assert len(cells) == 16
    assert [cell.budget for cell in cells] == ["smoke"] * 8 + ["laptop"] * 8
    assert [cell.sizes["train"] for cell in cells[:8]] == [512] * 4 + [100] * 4
    assert compare_expected(host, suite, []) == []


def test_an_absent_model_drops_only_its_own_cells(suite_of, host):
    plan = plan_suite(host, on_cpu(suite_of(TEXT.replace('"hungry"', '"tniy", "nosuch/net"'))))
    assert {cell.model for cell in plan.cells} == {"toyzoo/tiny"}
    assert len(plan.problems) == 2
    assert "model 'tniy' is left out" in plan.problems[0]
    assert "Did you mean 'tiny'" in plan.problems[0]
    with pytest.raises(MissingError, match=r"No model or data set of .*suite.toml can run"):
        plan_suite(host, on_cpu(suite_of(TEXT.replace('"tiny", "hungry"', '"nosuch/net"'))))


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "words"),
    [
        ("models =", "modles =", 2, "modles", "Did you mean 'models'"),
        ("seeds = [0, 1]", 'seeds = [0, "1"]', 4, "seeds", "list of whole numbers"),
        ("seeds = [0, 1]", "seeds = [0, 1", 5, "budget", "not TOML"),
        ('title = "Toys"', 'title = "Toys', 1, "title", "not TOML"),
        ("[settings]", "[setings]", 7, "setings", "Did you mean 'settings'"),
        ("auc = 0.8", "auk = 0.8", 21, "auk", "Did you mean 'auc'"),
        ("auc = 0.8", 'auc = "high"', 21, "auc", "must be a number"),
        ("auc = 0.8\n", "", 18, "expected", "'auc' is missing"),
        ('data = ["stripes"]', "data = 3", 3, "data", "list of texts"),
        ("budget =", "data_seeds = 3\nbudget =", 5, "data_seeds", "must be true or false"),
        ("budget =", "seeds = [2]\nbudget =", 5, "seeds", "not TOML"),
    ],
)
def test_errors_in_a_suite_name_line_and_key(suite_of, old, new, line, key, words):
    assert old in TEXT
    with pytest.raises(UsageError) as error:
        suite_of(TEXT.replace(old, new, 1))
    assert f"suite.toml, line {line}, key '{key}'" in str(error.value)
    assert words in str(error.value)


def test_an_error_outside_of_keys_names_none(suite_of):
    for text, where in (
        (f"{TEXT}more = [\n", "end of the file"),
        (TEXT.replace("[0, 1]", "[0,\n1 2,\n]"), "line 5"),
    ):
        with pytest.raises(UsageError, match=f"suite.toml, {where}: not TOML: "):
            suite_of(text)


def test_suites_written_by_editors_and_scripts_are_read(suite_of):
    assert suite_of("\ufeff" + TEXT) == suite_of(TEXT)
    assert suite_of('models = ["tiny"]\ndata = ["stripes"]\nsettings = []').variants == [{}]


@pytest.mark.parametrize("text", ["x = " + 5000 * "[" + 5000 * "]", "x = " + 5000 * "{a=" + "1" + 5000 * "}"])
def test_a_suite_that_is_nested_too_deeply_is_refused_in_one_sentence(tmp_path, text):
    path = tmp_path / "deep.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"deep\.toml: its arrays or tables are nested too deeply\.\n"):
        read_suite(path)


def test_missing_models_and_missing_suites_are_reported(suite_of, tmp_path):
    with pytest.raises(UsageError, match="names no models"):
        suite_of('data = ["stripes"]')
    with pytest.raises(UsageError, match=r"The suite .* cannot be read"):
        read_suite(tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"The suite .* cannot be read"):
        read_suite(tmp_path / "binary.toml")


def test_a_wrong_setting_names_the_file_and_the_line(suite_of, host):
    line = next(number for number, text in enumerate(TEXT.splitlines(), start=1) if text.startswith("lr ="))
    with pytest.raises(UsageError, match=rf"suite.toml, line {line}: .*Did you mean 'lr'"):
        plan_suite(host, on_cpu(suite_of(TEXT.replace("lr =", "lrr ="))))
    with pytest.raises(UsageError, match=rf"suite.toml, line {line}: lr='fast' must be a number"):
        plan_suite(host, on_cpu(suite_of(re.sub(r"lr = .*", 'lr = "fast"', TEXT))))
    inside = suite_of(TEXT.replace("data.count = 500", "[settings.data]\nwidht = 3"))
    with pytest.raises(UsageError, match=r"suite.toml, line 10: --set data.widht: "):
        plan_suite(host, on_cpu(inside))
    assert inside.path.read_text(encoding="utf-8").splitlines()[9] == "widht = 3"
    with pytest.raises(UsageError, match=r"suite.toml: --set data.widht: "):
        plan_suite(host, changed(on_cpu(inside), overridden=["data.widht"]))
    two = TEXT.replace("[settings]\nlr = 0.01\ndata.count = 500", "[[settings]]\nlr = 0.01\n[[settings]]\nlr = 'fast'")
    with pytest.raises(UsageError, match=r"suite.toml: lr='fast' must be a number"):
        plan_suite(host, on_cpu(suite_of(two)))
    outside = suite_of(TEXT.replace("data.count = 500", "[settings.data]\nseeds = 3"))
    with pytest.raises(UsageError, match=r"suite.toml, line 10: --set data.seeds: "):
        plan_suite(host, on_cpu(outside))
    inside.path.write_text("")
    with pytest.raises(UsageError, match=r"suite.toml: --set data.widht: "):
        plan_suite(host, on_cpu(inside))
    inside.path.unlink()
    with pytest.raises(UsageError, match=r"suite.toml: --set data.widht: "):
        plan_suite(host, on_cpu(inside))


def test_settings_of_a_model_that_takes_no_part_are_left_out(suite_of, host):
    text = TEXT.replace('"hungry"', '"hungry", "absent"').replace(
        "[settings]", '[settings]\n"hungry.epochs" = 3\n"absent.epochs" = 4'
    )
    suite = changed(suite_of(text), models=["tiny"])
    assert [cell.training["epochs"] for cell in plan_suite(host, on_cpu(suite)).cells] == [1, 1]
    epochs = [cell.training["epochs"] for cell in plan_suite(host, on_cpu(suite_of(text))).cells]
    assert epochs == [1, 1, 3, 3]
    with pytest.raises(UsageError, match="no model of this plan is called 'hungri'"):
        plan_suite(host, on_cpu(suite_of(text.replace("hungry.epochs", "hungri.epochs"))))


def test_expectations_are_compared_with_the_mean_over_seeds(suite_of, host):
    suite = suite_of()
    results = [
        result_from(
            content_of(cell, test={**SCORES["test"], "auc": {"x": auc, "y": auc, "macro": auc}}), run_dir=Path()
        )
        for cell, auc in zip(plan_suite(host, on_cpu(suite)).cells, (0.95, 0.93, 0.5, 0.5), strict=True)
    ]
    [found] = compare_expected(host, suite, results)
    assert "macro AUC 0.9400, mean of 2; 0.9000 within 0.05 is expected: as expected" in found.sentence
    assert found.holds
    [found] = compare_expected(host, suite, results[:1])
    assert found.holds
    results[1] = replace(results[1], test=replace(results[1].test, auc={"x": 1.0, "y": 1.0, "macro": 0.97}))
    [found] = compare_expected(host, suite, results)
    assert not found.holds
    assert found.sentence.endswith("NOT as expected")
    assert compare_expected(host, changed(suite, budgets=["laptop"]), results) == []
    assert compare_expected(host, changed(suite, seeds=[0]), results)


def test_expectations_that_are_not_compared_are_noted(suite_of, host):
    notes = []
    plan_suite(host, on_cpu(suite_of()), note=notes.append)
    assert [note for note in notes if "absent" in note] == [
        "the expected score of absent on stripes is left out: Unknown model 'absent'."
    ]
    assert "several" not in "".join(notes)
    assert changed(suite_of(), baselines=False).expected == suite_of().expected
    text = TEXT.replace("[settings]", "[[settings]]") + "\n[[settings]]\ntrain_images = 100\n"
    plan_suite(host, on_cpu(suite_of(text)), note=notes.append)
    assert "the expected scores are not compared: the suite has several settings or budgets" in notes


@pytest.mark.parametrize(("key", "value"), [("auc", 1.5), ("auc", -0.1), ("within", -1), ("minutes", -2)])
def test_impossible_expectations_are_refused(suite_of, key, value):
    with pytest.raises(UsageError, match=rf"suite.toml, line \d+, key '{key}': {value}"):
        suite_of(re.sub(rf"^{key} = .*", f"{key} = {value}", TEXT, count=1, flags=re.M))


def test_the_command_combines_a_suite_with_options(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ZOO_PLUGIN_FILES", str(TOY))
    monkeypatch.chdir(tmp_path)
    Path("suite.toml").write_text(TEXT.replace('"hungry"', '"nosuch/net"'))

    def run(*words):
        with pytest.raises(SystemExit) as leave:
            main(["bench", *words, "--device", "cpu", "--dry-run"])
        return leave.value.code, *capsys.readouterr()

    code, _, told = run("suite.toml")
    assert code == 1  # a model is missing
    assert "Toys" in told
    assert "2 cells, 0 of them in results already" in told
    assert "about 4 minutes" in told
    assert "'nosuch/net' is left out" in told
    code, out, told = run(
        "suite.toml", "--model", "tiny", "--seeds", "0-2", "--set", "lr=0.5", "--task", "middle", "--json"
    )
    assert code == 0
    assert "3 cells" in told
    assert out.count('"lr": 0.5') == out.count('"task": "middle"') == 3
    assert run("suite.toml", "--stream")[0] == 2
    assert run("--model", "tiny")[0] == 2


def test_the_suite_of_the_repository_gives_a_plan():
    suite = read_suite(OURS)
    host = load_plugins(environment={})
    plan = plan_suite(host, on_cpu(suite))
    assert len(plan.cells) == 6 * 2 * 3 + 2  # and a baseline for each data set
    assert plan.problems == []
    assert set(plan.minutes) <= {cell.run_id for cell in plan.cells}
    assert all(0.5 < entry.auc <= 1 and entry.within < 0.05 for entry in suite.expected)


@pytest.mark.parametrize("name", ["few_images.toml", "few_images_laptop.toml"])
def test_suites_of_few_images_draw_them_for_each_seed(name):
    plan = plan_suite(load_plugins(environment={}), on_cpu(read_suite(OURS.with_name(name))))
    assert all(cell.train_seed == cell.seed for cell in plan.cells)


def test_the_plan_distinguishes_variants(tmp_path, monkeypatch, capsys):
    """By what most of them have not; what all have, or most, is not said of each."""
    monkeypatch.setenv("ZOO_PLUGIN_FILES", str(TOY))
    variants = "".join(f"[[settings]]\nlr = {lr}\nepochs = {epochs}\n" for lr, epochs in ((0.1, 1), (0.2, 1), (0.3, 2)))
    (tmp_path / "suite.toml").write_text(
        f'models = ["tiny"]\ndata = ["stripes"]\nbudget = "smoke"\n{variants}', encoding="utf-8"
    )
    with pytest.raises(SystemExit) as ended:
        main(["bench", str(tmp_path / "suite.toml"), "--device", "cpu", "--dry-run"])
    assert not ended.value.code
    told = capsys.readouterr().err
    for words in ("seed 0, lr 0.1\n", "seed 0, lr 0.2\n", "seed 0, epochs 2, lr 0.3\n"):
        assert words in told
