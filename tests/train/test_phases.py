"""Training on the images of several phases: which images an epoch has, and the same bits after an interruption."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from zoo.data.open import Dataset
from zoo.data.phases import Phase
from zoo.data.recipe import Recipe
from zoo.data.split import Split
from zoo.data.stream import Stream
from zoo.errors import Interrupted
from zoo.host import load_plugins
from zoo.plan.cells import make_plan
from zoo.plan.recipes import plan_images
from zoo.plan.request import Request
from zoo.report.tables import make_tables
from zoo.results import store
from zoo.results.files import read_history
from zoo.run.cell import run_cell
from zoo.train.phases import PhasedBatches

TOYS = Path(__file__).parents[1] / "toys"
CPU = torch.device("cpu")
PHASES = (Phase(epochs=2, params={"snr": 50.0}), Phase(epochs=1, params={"snr": 20.0}))
SMALL = {"train_images": 90, "val_images": 60, "test_images": 60, "batch_size": 30, "data.image_size": 12}


@pytest.fixture(scope="module")
def host():
    return load_plugins(files=[TOYS / "toyzoo.py", TOYS / "toysky.py"], environment={})


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("ZOO_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def plan(host, cache):
    def plan(**settings):
        request = Request(
            models=["toyzoo/tiny"], data=["toysky/discs"], settings={**SMALL, **settings}, budget="smoke", device="cpu",
            simulator="painter", rule="last",
        )  # fmt: skip
        [cell] = make_plan(host, request)
        return cell

    return plan


@pytest.fixture(scope="module")
def run(host, tmp_path_factory):
    def run(cell, folder=None):
        run_dir = store.prepare_run(folder or tmp_path_factory.mktemp("store"), cell)
        result = run_cell(host, cell, run_dir, device="cpu")
        assert result.status == "ok", result
        return result

    return run


def split_of(value: float) -> Split:
    return Split(
        name="train", classes=("a", "b"), chunks=[np.full((10, 1, 2, 2), value, np.float32)],
        labels=np.arange(10) % 2, ids=[f"train-{k}" for k in range(10)],
    )  # fmt: skip


def test_each_epoch_has_the_images_of_its_phase():
    data = PhasedBatches([split_of(1), split_of(2)], PHASES, device=CPU)
    assert len(data) == 10
    assert not data.resident
    seen = [float(images.mean()) for epoch in (1, 2, 3) for images, _ in data.epoch(epoch, 10)]
    assert seen == [1, 1, 2]
    assert data.resident
    # A training that goes on in the last phase opens it at once.
    later = PhasedBatches([split_of(1), split_of(2)], PHASES, device=CPU)
    assert [float(images.mean()) for images, _ in later.epoch(3, 10)] == [2]
    assert later.image_at(1, 0, shuffle=torch.Generator().manual_seed(0)).endswith(" of phase 1")


def test_each_epoch_of_a_stream_has_the_images_of_its_phase(host, cache):
    simulations = []
    for snr in (500, 1):
        _, recipe = plan_images(
            host, "toysky/discs", settings={"data.snr": snr}, simulator="painter", device="cpu"
        )  # fmt: skip
        simulations.append(Dataset(host, recipe, {}).simulation(expected_images=100))
    stream = Stream(simulations[1], images=8, device=CPU, earlier=[(2, simulations[0])])
    brightness = [float(images.mean()) for epoch in (1, 2, 3) for images, _ in stream.epoch(epoch, 8)]
    assert min(brightness[:2]) > 10 * brightness[2]
    assert stream.first().images.mean() < 0.1 * min(brightness[:2])


@pytest.mark.slow
def test_training_on_other_images_is_training_on_these_images(plan, run):
    """Bit by bit the weights of a training whose data set has these parameters: only the judging images differ."""
    own = run(plan(**{"data.snr": 50, "epochs": 2}))
    for settings in ({"train.snr": 50, "epochs": 2}, {"train.phases": "snr=50*1, snr=50*1"}):
        other = run(plan(**settings))
        weights, expected = (load_file(result.run_dir / store.WEIGHTS) for result in (other, own))
        learnt = [name for name in expected if not name.startswith(("golden.", "detector."))]  # of other images
        assert learnt
        assert all(torch.equal(weights[name], expected[name]) for name in learnt)
        assert other.test != own.test
    kept = {store.read_arrays(result.run_dir / store.EXAMPLES)[0]["images"].tobytes() for result in (own, other)}
    assert len(kept) == 1


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_a_training_that_goes_on_inside_or_after_a_phase_ends_in_the_same_bits(
    host, plan, run, tmp_path, monkeypatch, cache, stream
):
    cell = plan(**{"train.phases": "snr=50*2, *1", "stream": stream})
    assert cell.phases == PHASES
    whole = run(cell)
    emit = host.emit
    for stop_after in (1, 2):

        def interrupting(event, stop_after=stop_after, **arguments):
            if event == "zoo_epoch_ended" and arguments["epoch"] == stop_after:
                raise Interrupted
            emit(event, **arguments)

        with monkeypatch.context() as patch:
            patch.setattr(host, "emit", interrupting)
            with pytest.raises(KeyboardInterrupt):
                run(cell, tmp_path / str(stop_after))
        resumed = run(cell, tmp_path / str(stop_after))
        assert resumed.test == whole.test
        assert [entry.phase for entry in read_history(resumed)] == [1, 1, 2]
        bits = {(result.run_dir / store.WEIGHTS).read_bytes() for result in (resumed, whole)}
        assert len(bits) == 1
    if not stream:
        folders = {folder.name for folder in (cache / "datasets").iterdir() if (folder / "train").is_dir()}
        recipes = [Recipe(**json.loads((cache / "datasets" / name / "recipe.json").read_text())) for name in folders]
        assert {recipe.params["snr"] for recipe in recipes} >= {20.0, 50.0}
    [table] = make_tables([whole])
    assert any("trained on snr 50 for 2 epochs, then 20 for 1" in note for note in table.notes), table.notes
    assert "phases" in table.rows[0][0]


@pytest.mark.slow
def test_only_the_last_phase_ends_a_training_early(plan, run):
    whole = run(plan(**{"train.phases": "snr=50*4, *9", "lr": 0.0, "patience": 2}))
    assert [entry.phase for entry in read_history(whole)] == [1] * 4 + [2] * 2
