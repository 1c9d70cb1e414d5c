"""One cell from plan to result: what is stored, what an interruption costs, how failures are told."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec import structs
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import zoo
from zoo.data.open import Dataset
from zoo.errors import DataError, UsageError
from zoo.host import load_plugins
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.report.tables import accumulation_note, make_tables
from zoo.results import store
from zoo.results.cell import SCHEMA
from zoo.results.schema import Failed
from zoo.run import cell as run
from zoo.run.cell import run_cell
from zoo.scores.schema import Invariance
from zoo.train import loop as train_module
from zoo.train.checkpoint import CHECKPOINT

TOY = Path(__file__).parents[1] / "toys" / "toyzoo.py"
SMALL = {"train_images": 300, "val_images": 90, "test_images": 120, "epochs": 3, "batch_size": 30, "augment": "none"}


@pytest.fixture(scope="module")
def host():
    return load_plugins(files=[TOY], environment={})


@pytest.fixture
def plan(host):
    def make(model="toyzoo/tiny", **settings):
        [cell] = make_plan(
            host,
            Request(
                models=[model], data=["toyzoo/stripes"], budget="smoke", device="cpu", settings={**SMALL, **settings}
            ),
        )
        return cell

    return make


@pytest.fixture
def run_in(host, tmp_path):
    def go(cell, folder="store", **options):
        run_dir = store.prepare_run(tmp_path / folder, cell)
        return run_cell(host, cell, run_dir, device="cpu", **options), run_dir

    return go


def test_result_is_complete_and_true(plan, run_in, host):
    cell = plan(epochs=8, lr=0.02)
    result, run_dir = run_in(cell)
    assert result.status == "ok"
    assert result == store.open_result(run_dir)
    assert json.loads(json.dumps(store.plain_result(result))) == json.loads((run_dir / store.RESULT).read_text())
    assert result.test.auc["macro"] > 0.9
    assert np.sum(result.test.confusion) == result.test.images == 120
    low, high = result.test.intervals["auc.macro"]
    assert low < result.test.auc["macro"] < high
    assert not (run_dir / CHECKPOINT).exists()
    assert result.probe.images == {"train": 300, "test": 120}
    assert result.probe.auc["macro"] < result.test.auc["macro"]  # where a band lies, no scalar tells

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


@contextlib.contextmanager
def interrupted(host, monkeypatch, *, after):
    """A Ctrl-C comes as soon as this epoch has ended."""
    original = host.tell

    def interrupting(event, **arguments):
        if event == "zoo_epoch_ended" and arguments["epoch"] == after:
            raise KeyboardInterrupt
        original(event, **arguments)

    with monkeypatch.context() as patch:
        patch.setattr(host, "tell", interrupting)
        with pytest.raises(KeyboardInterrupt):
            yield


@pytest.mark.parametrize("stop_after", [1, 2])
def test_interrupted_training_goes_on_to_the_same_bits(plan, run_in, host, monkeypatch, stop_after):
    whole, whole_dir = run_in(plan(augment="d4"), "whole")
    with interrupted(host, monkeypatch, after=stop_after):
        run_in(plan(augment="d4"), "cut")
    epochs = []
    monkeypatch.setattr(
        host, "tell", lambda event, **arguments: epochs.append(arguments.get("epoch")) if "epoch" in event else None
    )
    resumed, resumed_dir = run_in(plan(augment="d4"), "cut")
    assert epochs == list(range(stop_after + 1, 4))
    assert resumed.test == whole.test
    assert (whole_dir / store.WEIGHTS).read_bytes() == (resumed_dir / store.WEIGHTS).read_bytes()
    assert len((resumed_dir / store.HISTORY).read_text().splitlines()) == 3


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "other run", "other network"])
def test_a_damaged_checkpoint_is_not_used(plan, run_in, host, monkeypatch, caplog, damage):
    cell = plan()
    whole, whole_dir = run_in(cell, "whole")
    with interrupted(host, monkeypatch, after=2):
        run_in(cell, "cut")
    path = whole_dir.parents[3] / "cut" / cell.folder / CHECKPOINT
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "bit":
        content[-5] ^= 16
        path.write_bytes(content)
    else:
        other = plan(width=5) if damage == "other network" else plan(lr=0.5)
        with interrupted(host, monkeypatch, after=2):
            run_in(other, "other")
        source = whole_dir.parents[3] / "other" / other.folder / CHECKPOINT
        if damage == "other run":
            path.write_bytes(source.read_bytes())
        else:  # as if the model's code had been changed in between
            monkeypatch.setattr("zoo.train.checkpoint._checksum", lambda *_: "same")
            with safe_open(source, framework="pt") as file:
                state = file.metadata()["state"]
            save_file(load_file(source), path, metadata={"state": state, "checksum": "same"})
    result, run_dir = run_in(cell, "cut")
    assert "Training starts again from the first epoch" in caplog.text
    assert result.test == whole.test
    assert (whole_dir / store.WEIGHTS).read_bytes() == (run_dir / store.WEIGHTS).read_bytes()


def test_a_run_that_cannot_write_its_result_need_not_train_again(plan, run_in, host, monkeypatch):
    """The disk is full, or the process killed, after everything else."""
    write_json = store.write_json

    def full(path, content):
        if path.name == store.RESULT:
            raise DataError("No space left on device")
        write_json(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_json", full)
        with pytest.raises(DataError):
            run_in(plan())
    epochs = []
    monkeypatch.setattr(host, "tell", lambda event, **arguments: epochs.append(arguments.get("epoch")))
    result, run_dir = run_in(plan())
    assert result.status == "ok"
    assert not any(epochs)
    assert not (run_dir / CHECKPOINT).exists()


def test_the_seconds_of_an_interrupted_run_are_those_of_all_its_sessions(plan, run_in, host, monkeypatch):
    with interrupted(host, monkeypatch, after=2):
        run_in(plan())
    take = train_module.take_checkpoint

    def slow(*arguments):
        state, best = take(*arguments)
        state.history = [structs.replace(entry, seconds=entry.seconds + 1000) for entry in state.history]
        return state, best

    monkeypatch.setattr(train_module, "take_checkpoint", slow)
    result, _ = run_in(plan())
    assert 2000 < result.seconds < 2100


def test_a_network_that_cannot_be_built_costs_no_simulation(host, run_in, monkeypatch):
    [cell] = make_plan(host, Request(models=["raises"], data=["modelB"], budget="laptop", device="cpu"))
    monkeypatch.setattr(Dataset, "split", lambda *_: pytest.fail("simulated"))
    result, _ = run_in(cell)
    assert "no such luck" in result.error


def test_a_stored_result_is_not_run_again_unless_forced(plan, run_in, host, monkeypatch):
    cell = plan()
    first, run_dir = run_in(cell)
    monkeypatch.setattr(run, "_run", lambda *_, **__: pytest.fail("ran again"))
    second, _ = run_in(cell)
    assert second == first
    monkeypatch.setattr(run, "_run", lambda *_, **__: structs.replace(first, device="forced"))
    assert run_cell(host, cell, run_dir, device="cpu", force=True).device == "forced"


def test_what_a_plugin_says_and_no_result_can_hold_is_a_failure_with_a_cause(plan, run_in, monkeypatch):
    monkeypatch.setattr(run, "declared_symmetry", lambda spec, network: (3, None))
    monkeypatch.setattr(run, "measure_equivariance", lambda *_: Invariance(error=0.0, flips=0.0, elements=1))
    result, run_dir = run_in(plan(epochs=1))
    assert result.status == "failed"
    assert "Expected `str | null`, got `int` - at `$.equivariance.group`" in result.error
    assert store.open_result(run_dir) == result


def test_rules(plan, run_in, host):
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


def test_early_stopping(plan, run_in):
    _, run_dir = run_in(plan(epochs=40, lr=0.0, patience=2))
    # With a learning rate of 0 the first epoch is the best for ever.
    assert len((run_dir / store.HISTORY).read_text().splitlines()) <= 10


def test_streamed_images_train_to_the_same_weights(plan, run_in, monkeypatch):
    resident, resident_dir = run_in(plan(), "resident")
    monkeypatch.setattr("zoo.data.loader.RESIDENT_SHARE", 0.0)
    streamed, streamed_dir = run_in(plan(), "streamed")
    assert resident.cost.resident
    assert not streamed.cost.resident
    assert (resident_dir / store.WEIGHTS).read_bytes() == (streamed_dir / store.WEIGHTS).read_bytes()


@pytest.mark.parametrize(
    ("model", "settings", "status", "words"),
    [
        ("toyzoo/explodes", {}, "failed", ["loss became nan", "epoch 1", "lr"]),
        ("toyzoo/explodes", {"after": 25}, "failed", ["loss became nan", "epoch 3"]),
        ("toyzoo/raises", {}, "failed", ["toyzoo/raises cannot be built", "no such luck"]),
        ("toyzoo/no_module", {}, "failed", ["returned a str", "torch.nn.Module"]),
        ("toyzoo/out_of_memory", {}, "failed", ["MemoryError"]),
    ],
)
def test_failures_are_results_with_a_cause(plan, run_in, model, settings, status, words):
    result, run_dir = run_in(plan(model, **settings))
    assert result.status == status
    for word in words:
        assert word in result.error
    assert "Traceback" in result.traceback
    assert store.read_result(run_dir).status == status
    assert store.done(run_dir.parents[2], plan(model, **settings)) is None  # so that it is tried again


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


def test_out_of_memory_takes_a_batch_in_parts_to_the_same_result(plan, run_in):
    """Thirty images a step where eight fit: four parts, the same weights up to rounding, and said so."""
    whole, whole_dir = run_in(plan("toyzoo/hungry"))
    parts, parts_dir = run_in(plan("toyzoo/hungry", limit=8))
    assert whole.status == parts.status == "ok"
    assert (whole.cost.micro_batches, parts.cost.micro_batches) == (1, 4)
    one, other = (load_file(folder / store.WEIGHTS) for folder in (whole_dir, parts_dir))
    for name, weight in one.items():
        assert torch.allclose(weight, other[name], atol=1e-6), name
    assert parts.test.auc["macro"] == pytest.approx(whole.test.auc["macro"], abs=1e-5)
    assert accumulation_note(whole) == ""
    assert "each batch of 30 was accumulated over 4 parts" in accumulation_note(parts)


def test_out_of_memory_for_a_single_image_is_a_result_of_its_own(plan, run_in):
    result, _ = run_in(plan("toyzoo/hungry", limit=0))
    assert result.status == "oom"


def test_predictions_are_made_in_parts_where_memory_runs_out():
    import toyzoo

    from zoo.data.loader import Batches
    from zoo.data.split import Split
    from zoo.train.loop import make_fabric, predict

    images = np.random.default_rng(0).normal(size=(50, 1, 6, 6)).astype(np.float32)
    split = Split(name="test", classes=("a", "b"), pieces=[images], labels=np.arange(50) % 2, ids=[""] * 50)
    fabric = make_fabric(torch.device("cpu"), "fp32")
    network = toyzoo.hungry(in_chans=1, num_classes=2, image_size=6, limit=7)
    network.eval = lambda: network  # stays in training mode, where it has a limit
    logits, _ = predict(network, Batches(split, device=torch.device("cpu")), fabric=fabric)
    assert torch.allclose(logits, network.linear(torch.from_numpy(images).flatten(1)), atol=1e-6)


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


def test_bench_goes_on_after_a_crash(host, tmp_path, monkeypatch):
    """The Python interface, with processes of their own: one cell dies, the other ends, a repetition is free.

    The processes know the plugin's file from the host alone.
    """
    request = {"budget": "smoke", "device": "cpu", "settings": SMALL, "store": tmp_path / "results", "host": host}
    killed, good = zoo.bench(["kills_itself", "tiny"], "stripes", **request)
    assert killed.status == "failed"
    assert "ended without a result" in killed.error
    assert good.status == "ok"
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["toyzoo.stripes"]
    assert json.loads((Path(good.run_dir) / store.RESULT).read_text())["run_id"] == good.run_id
    monkeypatch.setattr("zoo.run.local.subprocess.Popen", lambda *_, **__: pytest.fail("started a process"))
    assert zoo.bench("tiny", "stripes", **request) == [good]
    assert zoo.bench("tiny", "stripes", **request, devices=2) == [good]
    with pytest.raises(UsageError, match="1000 processes cannot share batches"):
        zoo.bench("tiny", "stripes", **request, devices=1000)


def test_killed_while_training_and_run_again(plan, host, tmp_path, monkeypatch):
    """kill -9 in the middle of training: nothing looks done, and the rest of the epochs are enough."""
    cell = plan(epochs=20, train_images=300, batch_size=4)
    run_dir = store.prepare_run(tmp_path, cell)
    command = [sys.executable, "-m", "zoo", "--plugin", str(TOY), "run-cell", str(run_dir / store.CELL)]
    process = subprocess.Popen([*command, "--device", "cpu"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 120
    while not (run_dir / "checkpoint.safetensors").exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.stdout.read().decode()
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert store.read_result(run_dir) is None
    epochs = []
    monkeypatch.setattr(host, "tell", lambda event, **arguments: epochs.append(arguments.get("epoch")))
    result = run_cell(host, cell, run_dir, device="cpu")
    assert result.status == "ok"
    assert next(epoch for epoch in epochs if epoch) > 1
    assert [epoch for epoch in epochs if epoch][-1] == 20
    assert not list(run_dir.glob("*.part"))


def test_images_that_cannot_be_trained_on_are_named(plan, run_in, monkeypatch):
    import toyzoo

    original = toyzoo.stripes

    def bad(*, count):
        content = original(count=count)
        if bad.images:
            content.images[content.labels == 0] = np.nan
        return content if bad.images else replace(content, labels=content.labels + 1)

    monkeypatch.setattr(toyzoo, "stripes", bad)
    for bad.images, said in ((True, "toyzoo/stripes: the training images hold values that are not finite"),
                             (False, "labels from 1 to 3 for 3 classes")):  # fmt: skip
        result, _ = run_in(plan())
        assert said in result.error


def test_one_validation_image_cannot_choose_an_epoch(plan, run_in):
    result, _ = run_in(plan(val_images=1))
    assert "no AUC can choose an epoch" in result.error


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": -1}, "seed=-1 must be"),
        ({"seed": 1.0}, "seed=1.0 must be"),
        ({"images": 0}, "images=0 must be"),
        ({"images": 10**12}, "images=1000000000000 must be"),
        ({"split": "tests"}, "Did you mean 'test'"),
        ({"count": np.int64(9)}, "not a finite number, text or list"),
        ({"count": float("nan")}, "not a finite number, text or list"),
    ],
)
def test_impossible_arguments_of_open_dataset(host, options, said):
    with pytest.raises(UsageError, match=said):
        zoo.open_dataset("stripes", host=host, **options)


def test_python_interface(host):
    assert zoo.list_models("tiny", host=host) == ["toyzoo/tiny"]
    model = zoo.create_model("toyzoo/tiny", image_size=12, width=7, host=host)
    assert model(torch.zeros(2, 1, 12, 12)).shape == (2, 3)
    with pytest.raises(zoo.ZooError, match="Did you mean 'width'"):
        zoo.create_model("toyzoo/tiny", image_size=12, widht=7, host=host)
    split = zoo.open_dataset("stripes", split="test", images=50, host=host)
    assert split.images.shape == (50, 1, 12, 12)


def test_a_metric_that_exits_or_sorts_in_place_costs_no_other_one(tmp_path, caplog):
    plugin = tmp_path / "rude.py"
    plugin.write_text(
        "from zoo import MetricSpec, hookimpl\n"
        "@hookimpl\n"
        "def zoo_metrics():\n"
        "    names = ('exits', 'sorts', 'then_shows')\n"
        "    return [MetricSpec(id=f'rude/{name}', target=f'rude:{name}') for name in names]\n"
        "def exits(probabilities, labels):\n"
        "    raise SystemExit(3)\n"
        "def sorts(probabilities, labels):\n"
        "    labels.sort()\n"
        "    return {'first': labels[0]}\n"
        "def then_shows(probabilities, labels):\n"
        "    return {'first': labels[0]}\n"
    )
    host = load_plugins(files=[plugin], environment={})
    labels = torch.tensor([2, 1, 0])
    extra = run._extra_metrics(host, torch.zeros(3, 3), labels)
    assert {name: extra[name] for name in extra if name.startswith("rude/")} == {
        "rude/sorts": {"first": 0.0},
        "rude/then_shows": {"first": 2.0},
    }
    assert labels.tolist() == [2, 1, 0]
    assert "metric rude/exits failed" in caplog.text
