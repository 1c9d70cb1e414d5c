"""Every number in a card agrees with the store."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from zoo.cli import cli
from zoo.errors import DataError, UsageError
from zoo.results import store
from zoo.weights.card import make_card


def test_the_card_agrees_with_the_store(run_dir, host):
    result = json.loads((run_dir / store.RESULT).read_text())
    text = make_card(host, run_dir, licence="cc-by-4.0")
    assert text.startswith("---\nlicense: cc-by-4.0\n")
    sections = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert sections == [
        "Classes and input", "Training data", "Training", "Scores", "Equivariance", "Cost", "Limits", "How to load",
        "Licence",
    ]  # fmt: skip
    for name in result["classes"]:
        low, high = result["test"]["intervals"][f"auc.{name}"]
        row = f"| AUC {name}, one against the rest | {result['test']['auc'][name]:.4f} | {low:.4f} to {high:.4f} |"
        assert row in text
    for name, row in zip(result["classes"], result["test"]["confusion"], strict=True):
        assert f"| {name} | {row[0]} | {row[1]} | {row[2]} |" in text
    assert f"{result['cost']['parameters']:,} parameters" in text
    assert f'zoo.load("{run_dir.name}")' in text
    assert str(run_dir) not in text


def test_a_failed_run_gets_no_card(run_dir, host):
    result = json.loads((run_dir / store.RESULT).read_text())
    kept = {name: result[name] for name in ("schema", "run_id", "cell")}
    (run_dir / store.RESULT).write_text(json.dumps({**kept, "status": "oom", "error": "out of memory"}))
    with pytest.raises(DataError, match=r"did not end well \(oom\): out of memory"):
        make_card(host, run_dir)


def test_the_card_states_the_actual_numbers_of_images(run_dir, host):
    """300 training images are asked for, and there are 600 in all; a folder has what it has."""
    result = json.loads((run_dir / store.RESULT).read_text())
    result["data"]["counts"]["train"] = [10, 20, 7]
    del result[store.CHECKSUM]  # as in a result of an older zoo
    (run_dir / store.RESULT).write_text(json.dumps(result))
    assert " 37 images for training, " in make_card(host, run_dir)


def test_the_card_describes_streamed_training(run_dir, host):
    """Of a stream no classes are counted, and no image is seen twice."""
    result = json.loads((run_dir / store.RESULT).read_text())
    del result["data"]["counts"]["train"], result[store.CHECKSUM]
    result["data"]["counts"]["val"] = [25, 25, 50]
    result["stream"] = {"images": 12_345, "images_per_second": 100.0, "waited_share": 0.1}
    (run_dir / store.RESULT).write_text(json.dumps(result))
    text = make_card(host, run_dir)
    assert "12,345 images for training, streamed" in text
    assert "(a 25%, b 25%, c 50%)" in text


@pytest.mark.parametrize("lost", ["cost", "equivariance", "val"])
def test_a_damaged_result_gets_no_card(run_dir, host, lost):
    result = json.loads((run_dir / store.RESULT).read_text())
    (run_dir / store.RESULT).write_text(json.dumps({**result, lost: None}))
    with pytest.raises(DataError, match=rf"result\.json is damaged: .* got `null` - at `\$\.{lost}`") as caught:
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
    assert (done.exit_code, done.output.startswith("---\nlicense: mit\n")) == (0, True)
    refused = CliRunner().invoke(cli, ["card", "p4m.modelA", "--licence", "gpl"])
    assert isinstance(refused.exception, UsageError)
    assert "--licence is for cards of your own runs" in str(refused.exception)
