"""Every number in a card agrees with the store."""

from __future__ import annotations

import dataclasses
import json

import pytest
import yaml
from click.testing import CliRunner
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from msgspec.structs import replace
from smallrun import write_result

from zoo.cli import cli
from zoo.data.phases import Phase
from zoo.errors import DataError, UsageError
from zoo.models.weights_file import read_header
from zoo.results import store
from zoo.results.find import good_result
from zoo.scores.schema import Measure, Measures
from zoo.specs import DatasetSpec, ModelSpec
from zoo.weights import card
from zoo.weights.card import make_card


def test_the_card_agrees_with_the_store(run_dir, host):
    result = json.loads((run_dir / store.RESULT).read_text())
    text = make_card(host, run_dir, licence="cc-by-4.0")
    assert ModelCard(text).data.license == "cc-by-4.0"
    sections = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert sections == [
        "Classes and input", "Training data", "Training", "Scores", "Equivariance", "Cost", "Limits", "How to load",
        "Licence",
    ]  # fmt: skip
    recipe = result["cell"]["recipe"]
    assert text.count(f"of `{recipe['dataset']}`, version {recipe['dataset_version']}.") == 2
    for name in result["classes"]:
        low, high = result["test"]["intervals"][f"auc.{name}"]
        row = f"| AUC {name}, one against the rest | {result['test']['auc'][name]:.4f} | {low:.4f} to {high:.4f} |"
        assert row in text
    for name, row in zip(result["classes"], result["test"]["confusion"], strict=True):
        assert f"| {name} | {row[0]} | {row[1]} | {row[2]} |" in text
    assert f"{result['cost']['parameters']:,} parameters" in text
    # The network is in a file, which nobody can install.
    assert f"zoo --plugin toyzoo.py predict {run_dir.name} " in text
    assert f'zoo.load("{run_dir.name}", host=load_plugins(files=["toyzoo.py"]))' in text
    assert f"`toyzoo.py` (digest `{good_result(run_dir).cell.versions['toyzoo.py']}`)" in text
    assert str(run_dir) not in text


def test_the_card_states_metrics_of_plugins_and_what_the_images_are(run_dir, host, monkeypatch):
    result = good_result(run_dir)
    recipe = dataclasses.replace(
        result.cell.recipe, params={"file": "/home/me/sky.h5"}, content={"file": "content:0123456789"}, simulator=None
    )
    result = replace(
        result, cell=dataclasses.replace(result.cell, recipe=recipe),
        test=replace(result.test, extra={"sky/rates": {"pauc": 0.25}}),
    )  # fmt: skip
    plain = DatasetSpec(
        id="sky/rings", target="sky:rings", classes=("a", "b"), params={"file": None}, required=("file",)
    )
    lenses = dataclasses.replace(plain, tags=("lens",))
    monkeypatch.setattr(card, "good_result", lambda _: result)
    for data, words in ((plain, False), (lenses, True)):
        monkeypatch.setattr(card, "_spec", lambda host, kind, name, data=data: data if kind is DatasetSpec else None)
        text = make_card(host, run_dir)
        assert "| sky/rates pauc | 0.2500 |" in text
        assert ("sky/rates", 0.25) in [(e.metric_type, e.metric_value) for e in ModelCard(text).data.eval_results]
        assert "| file | sky.h5 (01234567) | none: it is required |" in text
        assert ("strong-lens images" in text, "dark-matter" in text) == (words, words)


def hub_scores(text, folder):
    """Return kind and value of each score of the test split that the hub's own reader finds in a card."""
    path = folder / "README.md"
    path.write_text(text, encoding="utf-8")
    found = ModelCard.load(path).data.eval_results
    assert {entry.dataset_split for entry in found} == {"test"}
    return [(entry.metric_type, entry.metric_value) for entry in found]


def test_the_hub_reads_every_score_of_the_run(run_dir, host, tmp_path):
    result = good_result(run_dir)
    test = result.test
    areas = [("roc_auc", test.auc[name]) for name in ("macro", *result.classes)]
    others = [("accuracy", test.accuracy), ("log_loss", test.log_loss), ("brier_score", test.brier)]
    scores = [*areas, *others, ("expected_calibration_error", test.ece)]
    assert hub_scores(make_card(host, run_dir), tmp_path) == scores


def test_the_hub_reads_every_score_of_any_task(run_dir, host, tmp_path, monkeypatch):
    measures = {
        "skill": Measure(label="CRPS skill", value=0.75, interval=(0.5, 1.0)),
        "bias": Measure(label="bias: of the mean", value=-0.125, higher_is_better=None),
    }
    test = Measures(order=("skill", "bias"), measures=measures, images=90)
    result = good_result(run_dir)
    monkeypatch.setattr(card, "good_result", lambda _: replace(result, test=test))
    assert hub_scores(make_card(host, run_dir), tmp_path) == [("skill", 0.75), ("bias", -0.125)]


def test_a_failed_run_gets_no_card(run_dir, host):
    result = json.loads((run_dir / store.RESULT).read_text())
    kept = {name: result[name] for name in ("schema", "run_id", "cell")}
    write_result(run_dir, {**kept, "status": "oom", "error": "out of memory"})
    with pytest.raises(DataError, match=r"did not end well \(oom\): out of memory"):
        make_card(host, run_dir)


def test_the_card_states_the_actual_numbers_of_images(run_dir, host):
    """300 training images are asked for, and there are 600 in all; a folder has what it has."""
    result = json.loads((run_dir / store.RESULT).read_text())
    result["data"]["counts"]["train"] = [10, 20, 7]
    del result[store.CHECKSUM]  # as in a result of an older zoo
    write_result(run_dir, result)
    assert " 37 images for training, " in make_card(host, run_dir)


def test_the_card_describes_streamed_training(run_dir, host):
    """Of a stream no classes are counted, and no image is seen twice."""
    result = json.loads((run_dir / store.RESULT).read_text())
    del result["data"]["counts"]["train"], result[store.CHECKSUM]
    result["data"]["counts"]["val"] = [25, 25, 50]
    result["stream"] = {"images": 12_345, "images_per_second": 100.0, "waited_share": 0.1}
    write_result(run_dir, result)
    text = make_card(host, run_dir)
    assert "12,345 images for training, streamed" in text
    assert "(a 25%, b 25%, c 50%)" in text


def test_the_card_states_other_training_images_and_a_training_that_has_not_begun(run_dir, host, monkeypatch):
    """They are part of the cell, whose id names the folder: made here from the result that the card reads."""
    result = good_result(run_dir)
    cell = dataclasses.replace(
        result.cell, phases=(Phase(epochs=1, params={"count": 9}), Phase(epochs=1, params={"count": 600}))
    )
    monkeypatch.setattr(card, "good_result", lambda _: replace(result, cell=cell, not_begun=3))
    text = make_card(host, run_dir)
    assert "The training images changed from phase to phase: trained on count 9 for 1 epoch, then 600 for 1." in text
    assert "- The network has not begun to learn images as those of the test after 3 epochs" in text
    of_budget = dataclasses.replace(cell, phases_from="budget")
    monkeypatch.setattr(card, "good_result", lambda _: replace(result, cell=of_budget))
    assert "then 600 for 1 (phases of the budget)." in make_card(host, run_dir)
    monkeypatch.setattr(card, "good_result", lambda _: result)
    assert "The training images changed" not in make_card(host, run_dir)
    assert "not begun" not in make_card(host, run_dir)


def test_the_card_states_what_is_unknown(run_dir, host):
    result = json.loads((run_dir / store.RESULT).read_text())
    del result[store.CHECKSUM]
    result["cost"]["macs"] = None
    result["equivariance"]["after"]["square"]["error"] = None
    write_result(run_dir, result)
    text = make_card(host, run_dir)
    assert "parameters, an unknown number of multiply-accumulates per image" in text
    assert "the answers are the same for every image, so their change under symmetries is undefined.\n" in text


def test_the_card_of_a_run_of_an_earlier_version_states_no_equivariance_error(run_dir, host):
    result = json.loads((run_dir / store.RESULT).read_text())
    del result[store.CHECKSUM], result["equivariance"]["before"], result["equivariance"]["after"]
    old = {"error": 0.123, "flips": 0.456, "elements": 8}
    result["equivariance"] |= {"initial": old, "trained": old}
    write_result(run_dir, result)
    text = make_card(host, run_dir)
    assert "was not measured in today's form; measure it: `zoo equivariance" in text
    assert "0.123" not in text
    assert "1.2e-01" not in text


@pytest.mark.parametrize("lost", ["cost", "equivariance", "val"])
def test_a_damaged_result_gets_no_card(run_dir, host, lost):
    result = json.loads((run_dir / store.RESULT).read_text())
    write_result(run_dir, {**result, lost: None})
    with pytest.raises(DataError, match=rf"result\.json is damaged: {lost} of the run is missing") as caught:
        make_card(host, run_dir)
    assert "zoo verify" in caught.value.hint


def test_a_folder_is_refused_as_the_path_of_a_card(run_dir, host, tmp_path):
    for out in (".", str(tmp_path)):
        done = CliRunner().invoke(cli, ["card", str(run_dir), "--out", out], obj=host)
        assert isinstance(done.exception, DataError)
        assert f"Cannot write {out}: it is a folder." in str(done.exception)


def test_a_card_of_bundled_weights_refuses_a_licence():
    """It states the licence that its weights were shipped under; a run's card says what the option says."""
    done = CliRunner().invoke(cli, ["card", "p4m.modelA"])
    assert done.exit_code == 0
    assert "\nlicense: mit\n" in done.output.split("---\n")[1]
    refused = CliRunner().invoke(cli, ["card", "p4m.modelA", "--licence", "gpl"])
    assert isinstance(refused.exception, UsageError)
    assert "--licence is for cards of your own runs" in str(refused.exception)


HOSTILE = [
    "a: [b", "- x", "no", "# x", "'\"", "x\n---\nevil: 1", "&a *a !!python/none", "\x1b[2J\u202e", "a | b\\| c",
    "`<b>`", "{{ x }}", "```\n# x",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_no_value_changes_the_structure_of_a_card(run_dir, host, text, monkeypatch):
    """Names, classes, settings and the licence may hold anything: YAML, Markdown and the shell take them as texts."""
    result, header = good_result(run_dir), read_header(run_dir / store.WEIGHTS)

    def card_with(value):
        classes = (value, *result.classes[1:])
        recipe = dataclasses.replace(result.cell.recipe, params={value: value})
        names = {"model": value, "budget": value, "hparams": {value: value}, "versions": {value: value}}
        changed = replace(
            result,
            cell=dataclasses.replace(result.cell, recipe=recipe, **names),
            classes=classes,
            test=replace(result.test, auc={**result.test.auc, value: 0.5}),
            device=value,
            environment=replace(result.environment, processor=value),
        )
        about = replace(header.about, model=value, group=value, classes=classes, versions={value: value})
        specs = {
            ModelSpec: ModelSpec(id="a/b", target="a:b", summary=value, card="What it does.\x1b[2J"),
            DatasetSpec: DatasetSpec(id="a/c", target="a:c", summary=value, classes=("a", "b"), params={value: "x"}),
        }
        monkeypatch.setattr(card, "_spec", lambda host, kind, name: specs[kind])
        monkeypatch.setattr(card, "good_result", lambda _: changed)
        monkeypatch.setattr(card, "read_header", lambda _: dataclasses.replace(header, about=about))
        return make_card(host, run_dir, licence=value, name=value)

    written = card_with(text)
    assert structure(written) == structure(card_with("plain"))
    assert "## What it is\n\nWhat it does." in written
    front = yaml.safe_load(written.removeprefix("---\n").partition("\n---\n")[0])
    assert front["license"] == ModelCard(written).data.license == text
    assert front["tags"][-1] == text
    kinds = [entry["type"] for entry in front["model-index"][0]["results"][0]["metrics"]]
    assert kinds[:4] == ["roc_auc"] * 4
    assert kinds[4:6] == ["accuracy", "log_loss"]
    assert not set("\x1b\u202e") & set(written)


def structure(text):
    """Return headings, tables and code blocks of a card as a Markdown parser finds them."""
    tokens = MarkdownIt("commonmark").enable("table").parse(ModelCard(text).text)
    return [(token.type, token.tag) for token in tokens]
