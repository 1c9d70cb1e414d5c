"""Runs that fail, run out of memory, or have invalid training images."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import zoo
from zoo.data.open import Dataset
from zoo.errors import DataError, Interrupted, UsageError
from zoo.host import load_plugins
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.report.tables import accumulation_note
from zoo.results import store
from zoo.results.tasks import stored_question
from zoo.run.failure import failure_text
from zoo.run.metrics import plugin_metrics
from zoo.specs import DatasetSpec
from zoo.tasks.find import task_of_question
from zoo.train.help import help_fit
from zoo.train.phases import faults_of
from zoo.train.team import Team


def test_a_network_that_cannot_be_built_starts_no_simulation(host, run_in, monkeypatch):
    [cell] = make_plan(host, Request(models=["raises"], data=["modelB"], budget="laptop", device="cpu"))
    monkeypatch.setattr(Dataset, "split", lambda *_: pytest.fail("simulated"))
    result, _ = run_in(cell)
    assert "no such luck" in result.error


@pytest.mark.parametrize(
    ("model", "settings", "status", "words"),
    [
        ("toyzoo/explodes", {}, "failed", ["loss became nan", "epoch 1", "lr"]),
        ("toyzoo/explodes", {"after": 25}, "failed", ["loss became nan", "epoch 3"]),
        ("toyzoo/raises", {}, "failed", ["toyzoo/raises cannot be built", "no such luck"]),
        ("toyzoo/no_module", {}, "failed", ["returned a str", "torch.nn.Module"]),
        *(
            ("toyzoo/leaves", {"by": by, "after": after}, "failed", [f"{by}: no more"])
            for by in ("SystemExit", "KeyboardInterrupt", "GeneratorExit", "BaseException")
            for after in (0, 6)  # in the trial, in the training
        ),
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


def test_the_place_of_a_fault_is_in_the_message_and_its_traceback_in_the_log(plan, run_in, caplog):
    result, _ = run_in(plan("toyzoo/raises"))
    assert re.fullmatch(r"toyzoo/raises cannot be built: .*no such luck.* \(toyzoo\.py, line \d+\)", result.cause)
    assert "Traceback" in caplog.text
    caplog.clear()
    result, _ = run_in(plan("toyzoo/no_module"))  # zoo's own error has its words
    assert ".py, line" not in result.error
    assert "Traceback" not in caplog.text


def test_a_fault_of_a_data_set_names_it_and_its_files(plan):
    cell = plan()
    cell = replace(cell, recipe=replace(cell.recipe, params={"file": "/home/me/sky.h5", "more": ""}))
    dataset = DatasetSpec(
        id="sky/rings", target="sky:rings", classes=("a", "b"), params={"file": "", "more": ""}, paths=("file", "more")
    )
    named = r"sky/rings \(file=/home/me/sky\.h5\): "
    for error, text in ((OSError("no file"), "OSError: no file"), (DataError("images must be [N]."), "images must be")):
        with pytest.raises(DataError, match=named + text), faults_of(dataset, cell):
            raise error
    for error in (DataError("sky/rings: no class."), MemoryError("full")):
        with pytest.raises(type(error)) as caught, faults_of(dataset, cell):
            raise error
        assert caught.value is error


GONE = RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:545] Read error: Connection reset by peer.")


@pytest.mark.parametrize(
    ("started_by", "error", "stopped"),
    [
        ("torchrun", GONE, True),
        ("slurm", GONE, True),
        ("zoo", GONE, False),  # which knows who has ended first, and why
        ("torchrun", RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_a_process_that_has_lost_another_leaves_no_result(host, plan, run_in, monkeypatch, started_by, error, stopped):
    """The cell goes on when it is submitted again; a failure that stays would be the other process's."""

    def fails(*_, **__):
        raise error

    team = Team(num_nodes=2, started_by=started_by)
    monkeypatch.setattr("zoo.run.cell._run", fails)
    monkeypatch.setattr("zoo.train.help.make_fabric", fails)
    with pytest.raises(Interrupted, match="another process") if stopped else contextlib.nullcontext():
        assert run_in(plan(), team=team)[0].status == "failed"
    with pytest.raises(SystemExit) as ended:
        help_fit(host, plan(), Path(), device=torch.device("cpu"), team=replace(team, rank=1))
    assert ended.value.code == (75 if stopped else 70)


@pytest.mark.slow
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
    names = {result.run_id: result.cell.model for result in (whole, parts)}
    assert accumulation_note(whole, names) == ""
    assert "each batch of 30 was accumulated over 4 parts" in accumulation_note(parts, names)


def test_out_of_memory_for_a_single_image_is_a_result_of_its_own(plan, run_in):
    result, _ = run_in(plan("toyzoo/hungry", limit=0))
    assert result.status == "oom"


def test_predictions_are_made_in_parts_where_memory_runs_out():
    import toyzoo

    from zoo.data.loader import Batches
    from zoo.data.split import Split
    from zoo.train.validation import predict

    images = np.random.default_rng(0).normal(size=(50, 1, 6, 6)).astype(np.float32)
    split = Split(name="test", classes=("a", "b"), chunks=[images], labels=np.arange(50) % 2, ids=[""] * 50)
    network = toyzoo.hungry(in_chans=1, num_classes=2, image_size=6, limit=7)
    network.eval = lambda: network  # stays in training mode, where it has a limit
    logits, _ = predict(network, Batches(split, device=torch.device("cpu")), when="")
    assert torch.allclose(logits, network.linear(torch.from_numpy(images).flatten(1)), atol=1e-6)


def test_invalid_training_images_are_reported(plan, run_in, monkeypatch):
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
        ({"count": np.int64(9)}, "is not a finite number, a text or a list of them"),
        ({"count": float("nan")}, "is not a finite number, a text or a list of them"),
    ],
)
def test_invalid_arguments_of_open_dataset_are_refused(host, options, said):
    with pytest.raises(UsageError, match=said):
        zoo.open_dataset("stripes", host=host, **options)


def test_a_metric_that_exits_or_sorts_in_place_does_not_affect_others(tmp_path, caplog):
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
    extra = plugin_metrics(host, torch.zeros(3, 3), labels, task=task_of_question("", stored_question(("a", "b", "c"))))
    assert {name: extra[name] for name in extra if name.startswith("rude/")} == {
        "rude/sorts": {"first": 0.0},
        "rude/then_shows": {"first": 2.0},
    }
    assert labels.tolist() == [2, 1, 0]
    assert "metric rude/exits failed" in caplog.text


def test_a_process_that_could_write_nothing_is_told_from_others_by_the_full_disk(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    assert "disk" not in failure_text(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10_000, 6_000, 4_000))
    assert "its disk is full (4,000 bytes are left); the end of" in failure_text(tmp_path)
