"""Draws from the shared generators of torch, NumPy and Python are decided by the seed of the run."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from smallrun import SMALL, TOY

from zoo.host import load_plugins
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.results import store
from zoo.run.cell import run_cell
from zoo.train.random_states import random_states, seed_all, set_random_states

NETWORK = """
import random

import numpy as np

from zoo import ModelSpec, hookimpl


@hookimpl
def zoo_models():
    return [ModelSpec(id="drawing/net", target="drawing:build")]


def build(*, in_chans, num_classes, image_size):
    import torch

    class Drawing(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(in_chans * 16, num_classes)
            self.scale = torch.nn.Parameter(torch.tensor(float(np.random.uniform(0.5, 1.5))))

        def forward(self, images):
            pooled = torch.nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)
            dropped = random.random() if self.training else 0.5
            return self.scale * self.layer(pooled) * (1 + dropped)

    return Drawing()
"""


def test_states_are_set_back():
    seed_all(2**62 + 5)  # seeds of epochs are hashes
    generator = torch.Generator().manual_seed(1)
    random.gauss(0, 1)
    np.random.normal(size=3)  # noqa: NPY002 - the shared generator is meant

    def draws():
        shared = np.random.normal(size=5)  # noqa: NPY002 - the shared generator is meant
        return [
            torch.rand(3).tolist(),
            shared.tolist(),
            random.gauss(0, 1),
            torch.rand(2, generator=generator).tolist(),
        ]

    states = random_states(torch.device("cpu"), generator)
    before = draws()
    assert draws() != before
    set_random_states(states, torch.device("cpu"), generator)
    assert draws() == before


@pytest.mark.slow
def test_a_network_that_draws_from_numpy_and_python_ends_in_the_same_bits(tmp_path):
    path = tmp_path / "drawing.py"
    path.write_text(NETWORK)
    host = load_plugins(files=[TOY, path], environment={})
    request = {"models": ["drawing/net"], "data": ["toyzoo/stripes"], "budget": "smoke", "device": "cpu"}
    [cell] = make_plan(host, Request(**request, settings=SMALL))
    found = []
    for name in ("one", "two"):
        random.seed(name)
        np.random.seed(len(found))  # noqa: NPY002 - as a new process would have it
        result = run_cell(host, cell, store.prepare_run(tmp_path / name, cell), device="cpu")
        assert result.status == "ok", result.error
        found.append((result.run_dir / store.WEIGHTS).read_bytes())
    assert found[0] == found[1]
