"""The endless stream: no image twice, the same after an interruption, nothing on disk, the other splits as ever."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from zoo.cli import main
from zoo.data.open import Dataset
from zoo.data.part import BatchPart
from zoo.data.simulate import Simulation
from zoo.data.stream import FIRST_IMAGES, Stream
from zoo.host import Host, load_plugins
from zoo.plan.cells import make_plan
from zoo.plan.recipes import plan_images
from zoo.plan.request import Request
from zoo.results import store
from zoo.results.cell import Cell
from zoo.run.cell import run_cell

PLUGINS = [Path(__file__).parents[1] / "toys" / "toyzoo.py", Path(__file__).parents[1] / "toys" / "toysky.py"]
CPU = torch.device("cpu")
SIZES = {"train_images": 100, "val_images": 60, "test_images": 60}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def host() -> Host:
    return load_plugins(files=PLUGINS, environment={})


@pytest.fixture(scope="module")
def simulation(host) -> Simulation:
    _, recipe = plan_images(host, "toysky/discs", settings={}, simulator="painter", device="cpu")
    return Dataset(host, recipe, {}).simulation(expected_images=100)


def plan(host: Host, *, stream: bool, epochs: int = 3) -> Cell:
    settings = {**SIZES, "epochs": epochs, "batch_size": 32, "stream": stream}
    [cell] = make_plan(
        host,
        Request(
            models=["toyzoo/tiny"], data=["toysky/discs"], simulator="painter", budget="smoke", device="cpu",
            settings=settings,
        ),
    )  # fmt: skip
    return cell


def images_of(stream: Stream, epochs: range, **options) -> list[torch.Tensor]:
    return [image for number in epochs for images, _ in stream.epoch(number, 32, **options) for image in images]


def test_no_image_is_shown_twice_in_two_epochs(simulation):
    stream = Stream(simulation, images=100, device=CPU)
    shown = images_of(stream, range(1, 3), shuffle=torch.Generator().manual_seed(0))
    assert len(shown) == stream.made == 2 * 96  # full batches of 32
    assert len({image.numpy().tobytes() for image in shown}) == len(shown)
    assert stream.seconds > 0


def test_image_k_depends_on_its_number_alone(simulation):
    """By order, batch size, thread and epoch size, the stream is image for image what a single rendering gives."""
    reference = simulation.arrays("stream", np.arange(200))
    for images, threaded in ((100, False), (50, True)):
        stream = Stream(simulation, images=images, device=CPU, threaded=threaded)
        for number in range(1, 200 // images + 1):
            order = torch.randperm(images, generator=torch.Generator().manual_seed(number))
            batches = list(stream.epoch(number, 25, shuffle=torch.Generator().manual_seed(number)))
            index = (number - 1) * images + order.numpy()
            np.testing.assert_array_equal(torch.cat([batch for batch, _ in batches]), reference["image"][index])
            np.testing.assert_array_equal(torch.cat([labels for _, labels in batches]), reference["label"][index])


def test_the_stream_is_no_other_split(simulation):
    own = simulation.arrays("stream", np.arange(64))["image"]
    for split in ("train", "val", "test"):
        other = simulation.arrays(split, np.arange(64))["image"]
        assert not {image.tobytes() for image in own} & {image.tobytes() for image in other}


@pytest.mark.slow
def test_the_first_images_stand_for_all(simulation):
    stream = Stream(simulation, images=10_000_000, device=CPU)
    first = stream.first()
    assert len(first) == FIRST_IMAGES
    np.testing.assert_array_equal(first.images[:32], simulation.arrays("stream", np.arange(32))["image"])
    assert len(Stream(simulation, images=50, device=CPU).first()) == 50
    mean, deviation = first.moments()
    later = simulation.arrays("stream", np.arange(5000, 9000))["image"]
    assert abs(later.mean() - mean[0]) < 0.1 * deviation[0]


@pytest.mark.parametrize("threaded", [True, False])
def test_leaving_early_and_errors_end_the_rendering(simulation, threaded, monkeypatch):
    before = threading.active_count()
    stream = Stream(simulation, images=1000, device=CPU, threaded=threaded)
    batches = stream.epoch(1, 8)
    next(batches)
    del batches
    assert threading.active_count() == before
    assert stream.made <= 5 * 8  # the one that was read, two that are ready, one in work, one on its way
    monkeypatch.setattr(Stream, "render", lambda self, index: [][0])
    with pytest.raises(IndexError):
        next(stream.epoch(1, 8))
    assert threading.active_count() == before


@pytest.mark.slow
def test_a_training_that_goes_on_ends_in_the_same_bits(host, tmp_path, monkeypatch, cache):
    cell = plan(host, stream=True)
    folder = cache / "datasets" / cell.recipe.hash
    whole_dir, cut_dir = (store.prepare_run(tmp_path / name, cell) for name in ("whole", "cut"))
    whole = run_cell(host, cell, whole_dir, device="cpu")
    assert whole.status == "ok", whole
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["test", "val"]
    emit = host.emit

    def interrupting(event, **arguments):
        if event == "zoo_epoch_ended" and arguments["epoch"] == 2:
            signal.raise_signal(signal.SIGINT)
        emit(event, **arguments)

    with monkeypatch.context() as patch:
        patch.setattr(host, "emit", interrupting)
        with pytest.raises(KeyboardInterrupt):
            run_cell(host, cell, cut_dir, device="cpu")
    resumed = run_cell(host, cell, cut_dir, device="cpu")
    assert (cut_dir / store.WEIGHTS).read_bytes() == (whole_dir / store.WEIGHTS).read_bytes()
    assert resumed.test == whole.test
    for result in (whole, resumed):
        assert result.stream.images == 300
        assert 0 < result.stream.waited_share < 1
        assert result.stream.images_per_second > 0
        assert set(result.data.counts) == {"val", "test"}

    # Validation and test images are byte for byte those of an ordinary training.
    monkeypatch.setenv("ZOO_CACHE", str(cache / "ordinary"))
    ordinary = plan(host, stream=False)
    assert ordinary.run_id != cell.run_id
    run_dir = store.prepare_run(tmp_path / "ordinary", ordinary)
    assert run_cell(host, ordinary, run_dir, device="cpu").stream is None
    assert "stream" not in json.loads((run_dir / store.RESULT).read_text())
    for split in ("val", "test"):
        shard = Path("datasets", cell.recipe.hash, split, "000000.safetensors")
        assert (cache / "ordinary" / shard).read_bytes() == (cache / shard).read_bytes()
    # The normalisation is that of the stream's own images, and close to that of the train split.
    streamed, fixed = (load_file(path / store.WEIGHTS) for path in (whole_dir, run_dir))
    assert streamed["mean"] != fixed["mean"]
    assert abs(streamed["mean"] - fixed["mean"]) < 0.1 * fixed["std"]


def bench(*words: str, data: str = "toysky/discs") -> list[str]:
    sizes = [word for name, value in SIZES.items() for word in ("--set", f"{name}={value}")]
    plan_of = ["bench", "--model", "toyzoo/tiny", "--data", data, "--simulator", "painter", "--device", "cpu"]
    return [*plan_of, "--budget", "smoke", *sizes, *words]


def test_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_PLUGIN_FILES", os.pathsep.join(map(str, PLUGINS)))
    plans = []
    for words in (["--stream"], ["--set", "stream=true"], []):
        with pytest.raises(SystemExit) as exit_request:
            main(bench(*words, "--dry-run", "--json"))
        assert exit_request.value.code == 0
        told = capsys.readouterr()
        plans.append(json.loads(told.out))
        assert ("streamed: 100 new training images an epoch" in told.err) == bool(words)
    assert plans[0] == plans[1] != plans[2]
    for words, said in (
        (bench("--stream", "--set", "stream=false"), "exclude each other"),
        (bench("--set", "stream=1"), "stream=1 must be true or false"),
        (bench("--stream", data="toyzoo/stripes"), "toyzoo/stripes consists of stored images"),
    ):
        with pytest.raises(SystemExit) as exit_request:
            main(words)
        assert exit_request.value.code == 2
        assert said in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(
            ["bench", "--model", "toyzoo/tiny", "--data", "modelB", "--device", "cpu", "--budget", "paper", "--dry-run"]
        )
    assert "with --stream, no training image is shown twice" in capsys.readouterr().err


def test_processes_render_their_own_part_of_every_batch(simulation):
    def epoch(part=None, skip=0):
        stream = Stream(simulation, images=50, device=CPU)
        return list(stream.epoch(2, 15, shuffle=torch.Generator().manual_seed(0), part=part, skip=skip)), stream.made

    (whole, made), *shares = epoch(), *(epoch(BatchPart.of_process(rank, processes=2, whole=15)) for rank in range(2))
    assert (made, [count for _, count in shares]) == (45, [21, 24])
    for (images, labels), *parts in zip(whole, *(share for share, _ in shares), strict=True):
        assert torch.equal(torch.cat([part for part, _ in parts]), images)
        assert torch.equal(torch.cat([part for _, part in parts]), labels)
    [(images, labels)], made = epoch(skip=2)  # an epoch that was stopped after two steps
    assert made == 15
    assert torch.equal(images, whole[2][0])
    assert torch.equal(labels, whole[2][1])
