"""Fixtures of several tests of results."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from comparedata import CELL, result_of


@pytest.fixture
def make(tmp_path):
    """Return a maker of results: a network's logits are the truth, luck of its seed, and noise of the images."""

    def make(model, *, signal, seed=0, luck=0.0, images=300, world=0, **changes):
        shared = np.random.default_rng(world)
        labels = shared.integers(0, 3, images)
        noise = shared.normal(size=(images, 3))
        own = np.random.default_rng([seed, *map(ord, model)])
        strength = signal + luck * own.normal()
        logits = strength * np.eye(3)[labels] + noise + 0.5 * own.normal(size=(images, 3))
        return result_of(tmp_path, replace(CELL, model=model, seed=seed, **changes), logits, labels)

    return make
