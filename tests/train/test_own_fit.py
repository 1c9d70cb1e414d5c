"""A network that fits itself is planned, run, stored and loaded as any other, and what does not apply is refused."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import ownfits
import pytest
import torch
from smallrun import SMALL, TOY

import zoo
from zoo import registry
from zoo.cli.watch import describe
from zoo.data.open import Dataset
from zoo.data.question import all_classes
from zoo.errors import DataError, Interrupted, UsageError
from zoo.host import load_plugins
from zoo.models.load import load_weights
from zoo.models.own_fit import ImagesToFit
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.plan.unchanged import check_unchanged
from zoo.progress import Progress, ProgressFile
from zoo.results import store
from zoo.results.cell import Cell
from zoo.run import fixed_weights
from zoo.run.cell import run_cell
from zoo.specs import DatasetSpec, ModelSpec
from zoo.testing import ConformanceError, Options, check, require_passed
from zoo.testing.toys import with_toys
from zoo.train import fit as fit_module
from zoo.train.own_fit import fit_notes
from zoo.train.team import check_batches
from zoo.weights.card import make_card

UNTRAINED = Options(sizes=(12,), channels=(1,), classes=(3,), trainings=False)

SIZES = {name: value for name, value in SMALL.items() if name.endswith("_images")}


@pytest.fixture(scope="module")
def host():
    return load_plugins(files=[TOY, TOY.with_name("ownfits.py"), TOY.with_name("toysky.py")], environment={})


def plan(host, *models, data="toyzoo/stripes", match="", **settings):
    return make_plan(
        host,
        Request(models=models, data=[data], budget="smoke", device="cpu", match=match, settings={**SIZES, **settings}),
    )


def run(host, tmp_path, name):
    [cell] = plan(host, f"ownfits/{name}")
    run_dir = store.prepare_run(tmp_path, cell)
    return run_cell(host, cell, run_dir, device="cpu"), run_dir


def test_a_network_that_fits_itself_is_stored_scored_and_loaded_as_any_other(host, tmp_path, monkeypatch):
    opened = []
    split = Dataset.split
    monkeypatch.setattr(Dataset, "split", lambda self, name: opened.append(name) or split(self, name))
    monkeypatch.setattr(fit_module, "Training", lambda *_, **__: pytest.fail("the training loop ran"))
    written, write = [], fixed_weights.write_weights

    def note(*args, **kwargs):
        written.append(list(opened))
        write(*args, **kwargs)

    monkeypatch.setattr(fixed_weights, "write_weights", note)
    result, run_dir = run(host, tmp_path, "nearest")
    assert result.status == "ok", result.error
    assert written == [["train", "val"]]  # the test split is opened after the weights are written
    assert result.test.macro > 0.9
    assert dict(result.cell.training) == {}
    [line] = (run_dir / store.HISTORY).read_text().splitlines()
    assert json.loads(line)["val_auc"] == result.val.auc
    assert result.cost.processes == 1
    assert not (run_dir / store.PROGRESS).exists()

    build = registry.load_target(registry.find(host, ModelSpec, "ownfits/nearest"))
    splits = build.__globals__["Splits"].last
    assert (splits.train.name, splits.val.name) == ("train", "val")
    assert (len(splits.train), len(splits.val)) == (300, 60)  # 600 images in all
    assert splits.instrument is None
    assert splits.params == {"count": 600}
    images, labels = next(splits.train.batches(7))
    direct = Dataset(host, result.cell.recipe, result.cell.sizes).split("train")
    np.testing.assert_array_equal(images.numpy(), direct.images[:7])  # neither normalised nor augmented
    np.testing.assert_array_equal(labels.numpy(), direct.labels[:7])
    assert list(splits.train.ids) == direct.ids

    trained = load_weights(host, run_dir / store.WEIGHTS)
    arrays, _ = store.read_arrays(run_dir / store.PREDICTIONS)
    test_images = zoo.open_dataset("toyzoo/stripes", split="test", images=120, host=host).images
    np.testing.assert_allclose(
        trained.predict_proba(test_images, calibrated=False),
        torch.from_numpy(arrays["test.logits"]).softmax(1),
        atol=1e-5,
    )
    text = make_card(host, run_dir)
    assert "fitted itself to the training images" in text
    assert "no augmentation" in text
    assert "AdamW" not in text
    assert "They are not normalised." in text


def test_two_runs_have_the_same_bits(host, tmp_path):
    (_, one), (_, two) = (run(host, tmp_path / folder, "nearest") for folder in ("one", "two"))
    assert (one / store.WEIGHTS).read_bytes() == (two / store.WEIGHTS).read_bytes()


def test_training_settings_of_other_networks_do_not_reach_it(host):
    [alone] = plan(host, "ownfits/nearest")
    own, other = plan(host, "ownfits/nearest,toyzoo/tiny", lr=0.5, augment="none", epochs=3)
    assert own.run_id == alone.run_id
    assert own.fits_itself
    assert not other.fits_itself
    assert Cell.from_json(json.loads(json.dumps(own.to_json()))) == own
    [changed] = plan(host, "ownfits/nearest", **{"model.scale": 3.0})
    assert changed.run_id != alone.run_id
    check_batches(4000, [alone])


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        ("ownfits/nearest", {"data": "toysky/discs", "stream": True}, "nearest fits itself to stored training images"),
        ("ownfits/nearest,toyzoo/tiny", {"data": "toysky/discs", "stream": True}, "fits itself to stored"),
        ("ownfits/nearest", {"init": "anything"}, "cannot start from weights"),
        ("ownfits/nearest", {"epochs": 3}, "--set epochs: ownfits/nearest fits itself"),
        ("ownfits/nearest", {"lr": 3}, "hyper-parameter: --set model.lr"),
        ("ownfits/nearest,toyzoo/tiny", {"nearest.epochs": 3}, "no training setting applies"),
        ("toyzoo/tiny,ownfits/nearest", {"match": "params"}, "can neither be matched"),
        ("ownfits/nearest,toyzoo/tiny", {"match": "params"}, "can neither be matched"),
    ],
)
def test_what_does_not_apply_is_refused_before_anything_is_simulated(host, models, options, message):
    with pytest.raises(UsageError, match=message):
        plan(host, models, **options)


def test_a_hyper_parameter_called_like_a_training_setting_is_reached(host):
    own, _ = plan(host, "ownfits/nearest,toyzoo/tiny", **{"nearest.lr": 7.0})
    assert own.hparams["lr"] == 7.0


@pytest.mark.parametrize("name", ownfits.FAULTS)
def test_a_faulty_fit_is_a_failed_run_with_its_reason_and_the_kit_notices(host, tmp_path, name):
    said = ownfits.FAULTS[name][0]
    result, run_dir = run(host, tmp_path, name)
    assert result.status == "failed"
    assert said in result.error
    assert not (run_dir / store.WEIGHTS).exists()
    if name != "exits":
        with pytest.raises(ConformanceError) as caught:
            require_passed(check(host, f"ownfits/{name}", options=UNTRAINED))
        assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"), [("undeclared", "does not state fits_itself=True"), ("unable", "has no method fit_splits")]
)
def test_spec_and_network_agree_on_the_fit(host, tmp_path, name, said):
    result, _ = run(host, tmp_path, name)
    assert said in result.error


@pytest.mark.parametrize(("name", "said"), [("random", "the same seed differ"), ("idle", "The fit changes nothing")])
def test_the_kit_notices_fits_that_run_cannot_tell(host, name, said):
    with pytest.raises(ConformanceError, match=said):
        require_passed(check(host, f"ownfits/{name}", options=UNTRAINED))


def test_the_kit_accepts_a_network_that_fits_itself(host):
    require_passed(check(host, "ownfits/nearest", options=UNTRAINED))


def test_an_interrupted_fit_leaves_no_result_and_starts_again(host, tmp_path, monkeypatch):
    report = ProgressFile.report

    def interrupted(self, phase, done, total, **values):
        if phase == "means" and done > 100:
            raise Interrupted
        report(self, phase, done, total, **values)

    with monkeypatch.context() as patch:
        patch.setattr(ProgressFile, "report", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(host, tmp_path, "nearest")
    [cell] = plan(host, "ownfits/nearest")
    assert store.done(tmp_path, cell) is None
    result, _ = run(host, tmp_path, "nearest")
    assert result.status == "ok"


def test_a_plan_for_another_kind_of_network_is_refused(host):
    own, other = plan(host, "ownfits/nearest,toyzoo/tiny")
    for cell in (replace(own, training=other.training), replace(other, training={})):
        with pytest.raises(DataError, match="by itself"):
            check_unchanged(host, cell, images=None)


def test_its_progress_is_shown_with_its_rate():
    text = describe(Progress(phase="fit lens", done=120, total=1200, seconds=10, rate=12))
    assert text == "fit lens 120/1,200, 12/s, 1 min 30 s left"


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (None, ()),
        (lambda: ["1 of 3 images could not be fitted.", 7], ("1 of 3 images could not be fitted.", "7")),
        (lambda: 1 / 0, ()),
        (lambda: sys.exit(3), ()),
        (lambda: None, ()),
    ],
)
def test_the_notes_of_a_fit_are_texts_and_cannot_end_a_run(method, expected):
    network = torch.nn.Identity()
    if method is not None:
        network.fit_notes = method
    assert fit_notes(network, name="toy/network") == expected


def test_a_fit_reads_truths_of_the_images_that_it_may_be_trained_on(host, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    [cell] = plan(host, "ownfits/nearest", data="toysky/discs")
    whole = Dataset(host, cell.recipe, cell.sizes).split("train")
    normal = replace(all_classes(registry.find(host, DatasetSpec, "toysky/discs")), trained_on=(1,))
    images = ImagesToFit(normal.apply(whole), device=torch.device("cpu"))
    truths = images.truths(["colour", "sersic.effective_radius"])
    own = whole.labels == 1
    assert images.ids == tuple(np.array(whole.ids)[own])
    assert truths[:, 0].tolist() == pytest.approx(whole.parameters["colour"][own].tolist())
    with pytest.raises(UsageError, match="No truth 'label'"):
        images.truths(["label"])


@pytest.mark.parametrize(
    ("truths", "words"),
    [
        (["colour"], ""),
        (["color"], "No truth 'color' is stored.*Did you mean 'colour'"),
        (["sersic.x"], "changes when an image is turned"),
        (["halo.einstein_radius"], "undefined, or the same, for all images of toysky/discs"),
        ("colour", "must be a list of names"),
    ],
)
def test_truths_that_a_fit_cannot_have_are_refused_by_the_plan_and_a_wildcard_leaves_the_network_out(
    host, truths, words
):
    spec = ModelSpec(
        id="ownfits/truthful", target="ownfits:nearest", fits_itself=True, truths=("names",), defaults={"names": truths}
    )
    host = with_toys(host, spec)
    if not words:
        assert [cell.hparams for cell in plan(host, spec.id, data="toysky/discs")] == [{"names": truths}]
        return
    with pytest.raises(UsageError, match=words) as refused:
        plan(host, spec.id, data="toysky/discs")
    assert "colour" in str(refused.value.hint) or truths == "colour"
    assert spec.id not in {cell.model for cell in plan(host, "ownfits/*", data="toysky/discs")}


def test_a_wildcard_leaves_it_out_where_truths_are_not_known_before_the_run(host):
    spec = ModelSpec(
        id="ownfits/truthful", target="ownfits:nearest", fits_itself=True, truths=("n",), defaults={"n": ["colour"]}
    )
    host = with_toys(host, spec)
    assert spec.id in {cell.model for cell in plan(host, spec.id)}
    assert spec.id not in {cell.model for cell in plan(host, "ownfits/*")}


@pytest.mark.parametrize("wrong", [{"truths": ("mass",)}, {"truths": ("names",), "fits_itself": False}])
def test_a_spec_states_truths_of_its_own_fit_only(wrong):
    with pytest.raises(ValueError, match="truths"):
        ModelSpec(**{"id": "a/b", "target": "a:b", "fits_itself": True, "defaults": {"names": ["x"]}, **wrong})
