"""One cell from plan to result, and the contents of the stored result."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from msgspec import structs
from safetensors.torch import load_file
from smallrun import SMALL

import zoo
from zoo.data.open import Dataset
from zoo.errors import UsageError
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.report.tables import make_tables
from zoo.results import store
from zoo.results.cell import SCHEMA
from zoo.results.comparison import group_variants
from zoo.results.digest import DIGEST, Digest, read_kept
from zoo.results.schema import Failed
from zoo.results.verify import verify_run
from zoo.run import cell as run
from zoo.run.cell import run_cell
from zoo.scores.schema import Change, Invariance
from zoo.train.checkpoint import CHECKPOINT

pytestmark = pytest.mark.slow  # trainings


def test_the_result_is_complete_and_correct(plan, run_in, host):
    cell = plan(epochs=8, lr=0.02)
    result, run_dir = run_in(cell)
    assert result.status == "ok"
    assert result == store.open_result(run_dir)
    written = json.loads((run_dir / store.RESULT).read_text())
    content = json.loads(json.dumps(store.plain_result(result)))
    assert written == {**content, store.CHECKSUM: store.content_checksum(content)}
    assert result.test.auc["macro"] > 0.9
    assert np.sum(result.test.confusion) == result.test.images == 120
    low, high = result.test.intervals["auc.macro"]
    assert low < result.test.auc["macro"] < high
    assert not (run_dir / CHECKPOINT).exists()
    assert "probe" not in content
    kept = read_kept(run_dir / DIGEST, Digest)  # so that no report has to compute the curves
    assert kept.mark[1] == result.files[store.PREDICTIONS]
    assert set(kept.roc) == set(result.classes)

    # The scores follow from the stored predictions, and those from the stored weights and the images.
    arrays, metadata = store.read_arrays(run_dir / store.PREDICTIONS)
    accuracy = (arrays["test.logits"].argmax(1) == arrays["test.labels"]).mean()
    assert accuracy == pytest.approx(result.test.accuracy, abs=1e-6)
    classifier = zoo.load(run_dir, host=host)
    import toyzoo

    images = toyzoo.stripes(count=600).images[arrays["test.parameter.index"].astype(int)]
    with torch.no_grad():
        logits = classifier(torch.from_numpy(images))
    assert torch.allclose(logits, torch.from_numpy(arrays["test.logits"]), atol=1e-5)

    # No image is in two splits.
    test_ids, val_ids = (set(json.loads(metadata[f"{split}.ids"])) for split in ("test", "val"))
    assert len(test_ids) == 120
    assert len(val_ids) == 60
    assert not test_ids & val_ids


def test_normalisation_comes_from_the_train_split(plan, run_in):
    _, run_dir = run_in(plan())
    weights = load_file(run_dir / store.WEIGHTS)
    import toyzoo

    content = toyzoo.stripes(count=600)
    _, metadata = store.read_arrays(run_dir / store.PREDICTIONS)
    used = {int(name.split("-")[1]) for split in ("test", "val") for name in json.loads(metadata[f"{split}.ids"])}
    rest = np.array([i for i in range(600) if i not in used])
    # 300 of the images that are in neither other split; their moments are close to those of all of them.
    assert weights["mean"].item() == pytest.approx(content.images[rest].mean(), abs=0.01)
    assert weights["std"].item() == pytest.approx(content.images[rest].std(), abs=0.01)


def test_test_split_is_opened_after_the_weights_are_written(plan, run_in, monkeypatch):
    opened = []
    original = Dataset.split

    def watched(self, name):
        folder = next(iter(watched.run_dirs), None)
        opened.append((name, folder is not None and (folder / store.WEIGHTS).exists()))
        return original(self, name)

    cell = plan()
    watched.run_dirs = []
    monkeypatch.setattr(Dataset, "split", watched)
    prepare = store.prepare_run
    monkeypatch.setattr(
        store, "prepare_run", lambda *args, **kw: watched.run_dirs.append(prepare(*args, **kw)) or watched.run_dirs[-1]
    )
    run_in(cell)
    assert opened == [("train", False), ("val", False), ("test", True)]


def test_same_cell_gives_the_same_result_and_seeds_differ(plan, run_in, host):
    first, first_dir = run_in(plan(), "one")
    second, second_dir = run_in(plan(), "two")
    assert first.test == second.test
    assert (first_dir / store.WEIGHTS).read_bytes() == (second_dir / store.WEIGHTS).read_bytes()
    [other] = make_plan(
        host,
        Request(
            models=["toyzoo/tiny"], data=["toyzoo/stripes"], seeds=[1], budget="smoke", device="cpu", settings=SMALL
        ),
    )
    third, _ = run_in(other, "three")
    assert third.test.log_loss != first.test.log_loss


def test_a_stored_result_is_not_run_again_unless_forced(plan, run_in, host, monkeypatch):
    cell = plan()
    first, run_dir = run_in(cell)
    monkeypatch.setattr(run, "_run", lambda *_, **__: pytest.fail("ran again"))
    second, _ = run_in(cell)
    assert second == first
    monkeypatch.setattr(run, "_run", lambda *_, **__: structs.replace(first, device="forced"))
    assert run_cell(host, cell, run_dir, device="cpu", force=True).device == "forced"


def test_plugin_values_that_a_result_cannot_store_are_failures_with_a_cause(plan, run_in, monkeypatch):
    monkeypatch.setattr(run, "declared_symmetry", lambda spec, network: (3, None))
    measured = Invariance(square=Change(error=0.0, flips=0.0, elements=1), angles={})
    monkeypatch.setattr(run, "measure_equivariance", lambda *_, **__: measured)
    result, run_dir = run_in(plan(epochs=1))
    assert result.status == "failed"
    assert "Expected `str | null`, got `int` - at `$.equivariance.group`" in result.error
    assert store.open_result(run_dir) == result


def test_the_rule_selects_the_epoch(plan, run_in, host):
    result, run_dir = run_in(plan(epochs=6, lr=0.05))
    history = [json.loads(line) for line in (run_dir / store.HISTORY).read_text().splitlines()]
    best = max(range(6), key=lambda i: (history[i]["val_auc"], -i)) + 1
    assert result.val.epoch == best
    [cell] = make_plan(
        host,
        Request(
            models=["toyzoo/tiny"],
            data=["toyzoo/stripes"],
            budget="smoke",
            device="cpu",
            rule="last",
            settings={**SMALL, "epochs": 6, "lr": 0.05},
        ),
    )
    last, _ = run_in(cell)
    assert last.val.epoch == 6


def test_early_stopping_ends_the_training(plan, run_in):
    _, run_dir = run_in(plan(epochs=40, lr=0.0, patience=2))
    # With a learning rate of 0 the first epoch is the best for ever.
    assert len((run_dir / store.HISTORY).read_text().splitlines()) <= 10


def test_streamed_images_train_to_the_same_weights(plan, run_in, monkeypatch):
    resident, resident_dir = run_in(plan(), "resident")
    monkeypatch.setattr("zoo.data.loader.RESIDENT_FRACTION", 0.0)
    streamed, streamed_dir = run_in(plan(), "streamed")
    assert resident.cost.resident
    assert not streamed.cost.resident
    assert (resident_dir / store.WEIGHTS).read_bytes() == (streamed_dir / store.WEIGHTS).read_bytes()


def test_a_task_trains_and_scores_its_own_classes(host, run_in):
    request = {"models": ["toyzoo/tiny"], "data": ["stripes"], "budget": "smoke", "device": "cpu"}
    [cell] = make_plan(host, Request(**request, task="middle", settings={**SMALL, "epochs": 8, "lr": 0.02}))
    result, run_dir = run_in(cell)
    assert result.classes == ("other", "middle")
    assert np.shape(result.test.confusion) == (2, 2)
    assert result.test.auc["middle"] == pytest.approx(result.test.auc["other"])
    assert result.test.auc["macro"] > 0.8
    arrays, metadata = store.read_arrays(run_dir / store.PREDICTIONS)
    ids = [int(name.split("-")[1]) for name in json.loads(metadata["test.ids"])]
    assert arrays["test.labels"].tolist() == [int(number % 3 == 1) for number in ids]
    [table] = make_tables([result])
    assert "task middle" in table.title
    assert [name for name in table.columns if name.startswith("AUC")] == ["AUC"]
    [whole] = make_plan(host, Request(**request, settings={**SMALL, "epochs": 8, "lr": 0.02}))
    assert whole.run_id != cell.run_id
    failed = Failed(
        schema=SCHEMA, status="failed", run_id=whole.run_id, cell=whole, run_dir=run_dir, error="no such luck"
    )
    assert len(make_tables([result, failed])) == 2
    with pytest.raises(UsageError, match="Did you mean 'middle'"):
        make_plan(host, Request(**request, task="midle"))


def test_the_test_images_that_were_most_wrong_are_kept(plan, run_in):
    _, run_dir = run_in(plan())
    arrays, metadata = store.read_arrays(run_dir / store.MISTAKES)
    predictions, about = store.read_arrays(run_dir / store.PREDICTIONS)
    logits, labels = predictions["test.logits"], predictions["test.labels"]
    chance = torch.from_numpy(logits).softmax(1).numpy()[np.arange(len(labels)), labels]
    ids = json.loads(about["test.ids"])
    for k in range(3):
        least = {ids[i] for i in np.flatnonzero(labels == k)[np.argsort(chance[labels == k])[:4]]}
        assert {
            name for name, label in zip(json.loads(metadata["ids"]), arrays["labels"], strict=True) if label == k
        } == (least)
    import toyzoo

    content = toyzoo.stripes(count=600)
    for name, image in zip(json.loads(metadata["ids"]), arrays["images"], strict=True):
        assert (image == content.images[content.ids.index(name)]).all()


def test_the_python_interface_runs_a_benchmark(host):
    assert zoo.list_models("tiny", host=host) == ["toyzoo/tiny"]
    model = zoo.create_model("toyzoo/tiny", image_size=12, width=7, host=host)
    assert model(torch.zeros(2, 1, 12, 12)).shape == (2, 3)
    with pytest.raises(zoo.ZooError, match="Did you mean 'width'"):
        zoo.create_model("toyzoo/tiny", image_size=12, widht=7, host=host)
    split = zoo.open_dataset("stripes", split="test", images=50, host=host)
    assert split.images.shape == (50, 1, 12, 12)


def test_seeds_with_training_images_of_their_own_are_tested_on_the_same_images(plan, run_in):
    results = [run_in(replace(plan(epochs=1), seed=seed, train_seed=seed))[0] for seed in (0, 1)]
    ids, examples = [], []
    for result in results:
        assert verify_run(result.run_dir).problems == []
        ids.append(store.read_arrays(result.run_dir / store.PREDICTIONS)[1])
        examples.append(store.read_arrays(result.run_dir / store.EXAMPLES)[0]["images"])
    assert ids[0] == ids[1]
    assert not np.array_equal(*examples)
    [variant] = group_variants(results)
    assert len(variant.results) == 2
