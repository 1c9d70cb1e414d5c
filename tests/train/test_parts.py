"""Augmentations, losses and optimisers of plugins: names, run ids, errors, checks, and a training that resumes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from smallrun import SMALL, TOY

from zoo.errors import DataError, UsageError
from zoo.host import load_plugins
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.plan.unchanged import check_unchanged
from zoo.results import store
from zoo.run.cell import run_cell
from zoo.run.rerun import _as_installed
from zoo.testing import kit
from zoo.testing.conformance import ConformanceError
from zoo.testing.training_parts import check_augmentation, check_loss, check_optimizer
from zoo.train.checkpoint import CHECKPOINT

PLUGIN = TOY.with_name("partszoo.py")
ALL = {"augment": "flip", "loss": "partszoo/smooth", "optimizer": "sgd", "lr": 0.05}


@pytest.fixture(scope="module")
def host():
    return load_plugins(files=[TOY, PLUGIN], environment={})


@pytest.fixture(scope="module")
def plan(host):
    def make(model="toyzoo/tiny", task="", **settings):
        settings = {**SMALL, **settings}
        [cell] = make_plan(
            host,
            Request(
                models=[model], data=["toyzoo/stripes"], budget="smoke", device="cpu", task=task, settings=settings
            ),
        )
        return cell

    return make


def test_names_are_kept_with_their_version_and_decide_the_run_id(plan):
    plain, cell = plan(), plan(**ALL)
    assert {name: cell.training[name] for name in ("augment", "loss", "optimizer")} == {
        "augment": "partszoo/flip@1", "loss": "partszoo/smooth@1", "optimizer": "partszoo/sgd@1",
    }  # fmt: skip
    assert "partszoo.py" in cell.versions
    assert "partszoo.py" not in plain.versions
    assert len({plain.run_id, *(plan(**{name: ALL[name]}).run_id for name in ("augment", "loss", "optimizer"))}) == 4
    assert plan(**{name: f"{value}@1" if "/" in str(value) else value for name, value in ALL.items()}) == cell


def test_a_part_that_changes_after_the_plan_is_found(host, plan):
    cell = plan(**ALL)
    check_unchanged(host, cell, images=None)
    changed = replace(cell, versions={**cell.versions, "partszoo.py": "another"})
    with pytest.raises(DataError, match=r"planned with partszoo\.py another; .* has "):
        check_unchanged(host, changed, images=None)


def test_a_repetition_keeps_the_plugins_of_the_parts(host, plan):
    """Without them it would have another run id, and could lie beside the run in its store."""
    cell = plan(**ALL)
    assert _as_installed(host, cell) == cell


def test_names_of_the_core_change_no_run_id(plan):
    plain = plan()
    assert not {"loss", "optimizer"} & plain.training.keys()
    assert plan(optimizer="adamw", loss="task").run_id == plain.run_id


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"augment": "flipp"}, "augment='flipp' is not one of .*none.* Did you mean 'flip'"),
        ({"optimizer": "sdg"}, "optimizer='sdg' is not one of adamw, .* Did you mean 'sgd'"),
        ({"loss": "partszoo/smoth"}, "Unknown loss 'partszoo/smoth'. Did you mean 'partszoo/smooth'"),
        ({"loss": 3}, "loss=3 is not one of"),
        ({"optimizer": "partszoo/sgd@2"}, "installed version of partszoo/sgd is 1"),
        ({"loss": "smooth", "label_smoothing": 0.1}, "label_smoothing"),
        ({"train.optimizer": "sgd"}, "this is a training setting"),
    ],
)
def test_what_cannot_be_is_named(plan, settings, message):
    with pytest.raises(UsageError, match=message):
        plan(**settings)


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (check_augmentation, "flip", {"crops": "returns", "ignores": "same images", "in_place": "changes the images"}),
        (check_loss, "smooth", {"sums": "not a mean", "vector": "scalar", "nan": "finite", "constant": "no gradient"}),
        (
            check_optimizer,
            "sgd",
            {
                "nothing": "NoneType",
                "lacks_one": "does not hold",
                "forgets": "continues otherwise",
                "keeps_objects": "keeps past as list",
            },
        ),
    ],
)
def test_the_checks_find_what_breaks_a_contract(host, check, good, bad):
    check(host, f"partszoo/{good}")
    assert [one.state for one in kit.check(host, f"partszoo/{good}")] == ["passed"]
    for name, message in bad.items():
        assert [one.state for one in kit.check(host, f"partszoo/{name}")] == ["failed"]
        with pytest.raises(Exception, match=message) as error:
            check(host, f"partszoo/{name}")
        assert isinstance(error.value, ConformanceError) or name in ("nothing", "lacks_one", "keeps_objects")


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"optimizer": "counts"}], ids=["sgd", "numbers in groups"])
def test_a_training_with_parts_of_plugins_learns_and_resumes_to_the_same_bits(
    host, plan, tmp_path, monkeypatch, settings
):
    cell = plan(**ALL | settings)
    whole = run_cell(host, cell, store.prepare_run(tmp_path / "whole", cell), device="cpu")
    assert whole.status == "ok", whole.error
    assert whole.test.macro > (0.6 if settings else 0.9)
    assert whole.not_begun == 0  # the scale of a plugin's loss is not known

    run_dir = store.prepare_run(tmp_path / "halves", cell)
    with monkeypatch.context() as patch:
        patch.setattr(host, "emit", _interrupt)
        stopped = run_cell(host, cell, run_dir, device="cpu")
    assert (stopped.status, stopped.error) == ("failed", "RuntimeError: stopped")
    assert (run_dir / CHECKPOINT).exists()
    halves = run_cell(host, cell, store.prepare_run(tmp_path / "halves", cell), device="cpu")
    assert halves.status == "ok", halves.error
    logits = [store.read_arrays(one.run_dir / store.PREDICTIONS)[0]["test.logits"] for one in (whole, halves)]
    assert torch.equal(*(torch.from_numpy(each) for each in logits))


def _interrupt(event, **arguments):
    if event == "zoo_epoch_ended":
        raise RuntimeError("stopped")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"augment": "raises"}, "partszoo/raises failed: RuntimeError: no such images"),
        ({"augment": "crops"}, "partszoo/crops returns"),
        ({"loss": "vector"}, "partszoo/vector returns a tensor of shape"),
        ({"optimizer": "nothing"}, "partszoo/nothing returns NoneType"),
    ],
)
def test_a_part_that_breaks_its_contract_is_named(host, plan, tmp_path, settings, message):
    cell = plan(**settings)
    failed = run_cell(host, cell, store.prepare_run(tmp_path, cell), device="cpu")
    assert failed.status == "failed"
    assert message in failed.error
