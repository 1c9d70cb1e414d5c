"""Tasks: which classes are one, in the splits, in the stream, and in what plugins may register."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from zoo.data.open import Dataset
from zoo.data.question import grouped_classes
from zoo.data.recipe import Recipe
from zoo.data.simulate import Simulation
from zoo.data.stream import Stream
from zoo.errors import UsageError
from zoo.host import load_plugins
from zoo.provenance import image_code
from zoo.registry import find
from zoo.specs import DatasetSpec

TOY = Path(__file__).parents[1] / "toys" / "toyzoo.py"
TASKS = {"substructure": {"none": ["smooth"], "substructure": ["halo", "vortex"]}}
SPEC = DatasetSpec(id="a/b", target="a:b", classes=("halo", "smooth", "vortex"), tasks=TASKS)


def test_labels_follow_the_names_and_not_their_order():
    task = grouped_classes(SPEC, "substructure")
    assert task.classes == ("none", "substructure")
    assert task.labels(np.array([0, 1, 2, 1])).tolist() == [1, 0, 1, 0]
    whole = grouped_classes(SPEC, "")
    assert whole.classes == SPEC.classes
    assert whole.labels(np.array([0, 1, 2])).tolist() == [0, 1, 2]
    with pytest.raises(UsageError, match="Did you mean 'substructure'"):
        grouped_classes(SPEC, "substructur")


@pytest.mark.parametrize(
    "groups",
    [
        {"none": ["smooth"], "some": ["halo"]},
        {"none": ["smooth", "halo"], "some": ["halo", "vortex"]},
        {"all": ["halo", "smooth", "vortex"]},
        {"none": ["smooth"], "some": ["halo", "vortex", "other"]},
        "none",
    ],
)
def test_a_task_takes_every_class_once(groups):
    with pytest.raises(ValueError, match="every class"):
        DatasetSpec(id="a/b", target="a:b", classes=SPEC.classes, tasks={"bad": groups})


def test_a_split_has_the_same_images_under_other_labels():
    host = load_plugins(files=[TOY], environment={})
    code = image_code(host, "toyzoo/stripes", None)
    recipe = Recipe(dataset="toyzoo/stripes", dataset_version=1, params={"count": 90}, code=code)
    sizes, spec = {"train": 40, "val": 10, "test": 18}, find(host, DatasetSpec, "toyzoo/stripes")
    whole, task = (
        Dataset(host, recipe, sizes, question=grouped_classes(spec, name)).split("test") for name in ("", "middle")
    )
    assert task.ids == whole.ids
    assert (task.images == whole.images).all()
    assert task.classes == ("other", "middle")
    assert task.labels.tolist() == [int(label == 1) for label in whole.labels]


def test_a_stream_has_the_labels_of_its_task(monkeypatch):
    class Drawn:
        label = np.array([0, 1, 2, 1])
        image = torch.zeros(4, 8, 8)

    simulation = Simulation(
        recipe=Recipe(dataset="a/b", dataset_version=1), classes=SPEC.classes, population=None, render=None,
        device="cpu", expected_images=4,
    )  # fmt: skip
    monkeypatch.setattr(Simulation, "expose", lambda *_: (Drawn, Drawn))
    monkeypatch.setattr(Simulation, "arrays", lambda *_: {"image": np.zeros((4, 1, 8, 8)), "label": Drawn.label})
    stream = Stream(simulation, images=4, device=torch.device("cpu"), question=grouped_classes(SPEC, "substructure"))
    assert stream.render(torch.arange(4))[1].tolist() == [1, 0, 1, 0]
    assert stream.first().labels.tolist() == [1, 0, 1, 0]
    assert stream.first().classes == ("none", "substructure")
