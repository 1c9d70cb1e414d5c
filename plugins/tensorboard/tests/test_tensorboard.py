"""TensorBoard reads the stored values of a run; nothing is written or imported without the variable."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from zoo_tensorboard.events import SCALARS
from zoo_tensorboard.pictures import draw, draw_confusion
from zoo_tensorboard.plugin import event_folder

from zoo.data.recipe import Recipe
from zoo.host import load_plugins
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.results import store
from zoo.results.cell import SCHEMA, Cell
from zoo.results.schema import Failed
from zoo.run.cell import run_cell

pytestmark = pytest.mark.slow  # trainings


@pytest.fixture(scope="module")
def host():
    return load_plugins(files=[Path(__file__).parent / "tracked.py"], environment={})


@pytest.fixture
def go(host, tmp_path, monkeypatch):
    """Run a cell with the switch at a value; return result and folder of the run."""

    def go(switch, model="linear", **options):
        monkeypatch.setenv("ZOO_TENSORBOARD", switch)
        sizes = {"train_images": 120, "val_images": 40, "test_images": 40}
        settings = {**sizes, "epochs": 3, "batch_size": 40}
        request = Request(
            models=[f"tracked/{model}"], data=["tracked/noise"], budget="smoke", device="cpu", settings=settings
        )
        [cell] = make_plan(host, request)
        run_dir = store.prepare_run(tmp_path / "store", cell, force=options.get("force", False))
        return run_cell(host, cell, run_dir, device="cpu", **options), run_dir

    return go


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()


def test_events_agree_with_the_stored_run(go, tmp_path):
    result, run_dir = go("1")
    assert result.status == "ok"
    events = read(tmp_path / "store" / "tensorboard" / run_dir.relative_to(tmp_path / "store"))
    history = [json.loads(line) for line in (run_dir / store.HISTORY).read_text().splitlines()]
    assert SCALARS.keys() - history[0].keys() == {"val_score"}  # of tasks of plugins
    for name, tag in ((name, tag) for name, tag in SCALARS.items() if name in history[0]):
        told = [(event.step, event.value) for event in events.Scalars(tag)]
        assert told == [(entry["epoch"], pytest.approx(entry[name], rel=1e-6)) for entry in history]
    assert len(history) == 3
    for name, area in result.test.auc.items():
        [event] = events.Scalars(f"test/auc/{name}")
        assert (event.step, event.value) == (result.val.epoch, pytest.approx(area, rel=1e-6))
    for tag in ("test/roc", "test/confusion", "images/examples", "images/worst"):
        [event] = events.Images(tag)
        pixels = np.array(Image.open(io.BytesIO(event.encoded_image_string)))
        assert min(pixels.shape[:2]) > 200
        assert pixels.std() > 10
    text = events.Tensors("cell/text_summary")[0].tensor_proto.string_val[0].decode()
    assert json.loads(textwrap.dedent(text)) == result.cell.to_json()
    # Events are no run: who reads the store does not stumble over them.
    found, rest = store.scan(tmp_path / "store")
    assert [entry.run_id for entry in found] == [result.run_id]
    assert rest == []


def test_a_task_without_roc_curves_has_its_other_pictures(go):
    """An error here would be logged as a fault of the plugin, and no picture would be written."""
    result, _ = go("")
    assert "test/roc" in dict(draw(result))
    without = replace(result, cell=dataclasses.replace(result.cell, task="regress:shear"))
    found = dict(draw(without))
    assert "images/examples" in found
    assert "test/roc" not in found
    absent = replace(result, cell=dataclasses.replace(result.cell, task="others/count"))
    assert dict(draw(absent)).keys() == found.keys()


def test_a_forced_run_replaces_the_events_and_shows_its_failure(go, tmp_path):
    go(str(tmp_path / "events"))
    result, run_dir = go(str(tmp_path / "events"), force=True)
    folder = tmp_path / "events" / run_dir.relative_to(tmp_path / "store")
    assert [event.step for event in read(folder).Scalars("loss/train")] == [1, 2, 3]
    result, run_dir = go(str(tmp_path / "events"), model="raises")
    folder = tmp_path / "events" / run_dir.relative_to(tmp_path / "store")
    assert result.error.encode() in read(folder).Tensors("failed/text_summary")[0].tensor_proto.string_val[0]


def test_a_resumed_run_keeps_its_curves(tmp_path):
    from zoo_tensorboard import events

    folder, run_dir = tmp_path / "events", tmp_path / "run"
    run_dir.mkdir()
    events.start({}, run_dir, folder)
    events.add_epoch(folder, 1, {"train_loss": 1.0})
    (run_dir / "checkpoint.safetensors").touch()
    events._open.pop(folder)  # killed
    events.start({}, run_dir, folder)
    events.add_epoch(folder, 2, {"train_loss": 0.5})
    recipe = Recipe(dataset="a/b", dataset_version=1)
    cell = Cell(
        model="c/d", model_version=1, hparams={}, recipe=recipe, sizes={"train": 1, "val": 1, "test": 1}, training={},
        seed=0, budget="smoke", rule="last", precision="fp32", versions={},
    )  # fmt: skip
    failed = Failed(schema=SCHEMA, status="failed", run_id=cell.run_id, cell=cell, run_dir=run_dir, error="x")
    events.finish(run_dir, folder, store.plain_result(failed))
    assert [(event.step, event.value) for event in read(folder).Scalars("loss/train")] == [(1, 1.0), (2, 0.5)]


@pytest.mark.parametrize("switch", ["", "0"])
def test_without_the_variable_no_heavy_library_is_imported(switch):
    code = (
        "import sys; from pathlib import Path; from zoo_tensorboard import plugin\n"
        "run = Path('a/b/c')\n"
        "plugin.zoo_run_started(cell={}, run_dir=run); plugin.zoo_epoch_ended(run_dir=run, epoch=1, metrics={})\n"
        "plugin.zoo_run_finished(run_dir=run, result={})\n"
        "assert not {'torch', 'numpy', 'tensorboard'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "ZOO_TENSORBOARD": switch}, check=True)


def test_folders_are_named_by_data_model_and_run(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_TENSORBOARD", "~/all")
    assert event_folder(tmp_path / "d" / "m" / "r") == Path.home() / "all" / "d" / "m" / "r"


def test_names_of_classes_are_no_formulas():
    assert draw_confusion([[9, 1], [0, 1]], ["$\\frac$", "b"]).ndim == 3


def test_confusion_is_dark_where_the_images_are():
    pixels = draw_confusion([[90, 10], [0, 100]], ["a", "b"]).astype(float).mean(2)
    height, width = pixels.shape
    quarters = {
        (row, column): np.median(pixels[row * height // 2 :][: height // 2, column * width // 2 :][:, : width // 2])
        for row in (0, 1)
        for column in (0, 1)
    }
    assert max(quarters[0, 0], quarters[1, 1]) < min(quarters[0, 1], quarters[1, 0]) - 50


def test_readme_lists_the_tags():
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    tags = set(re.findall(r"`([a-z]+/[a-z_]+)`", readme))
    assert tags >= {*SCALARS.values(), "test/roc", "test/confusion", "images/examples", "images/worst"}
