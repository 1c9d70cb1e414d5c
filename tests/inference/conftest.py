"""Weights that were trained at 0.1 arcsec per pixel, and images for them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

import zoo
from zoo.models.about import About
from zoo.models.weights_file import read_weights, write_weights


@pytest.fixture
def weights(run_dir, tmp_path):
    """Weights that were trained at 0.1 arcsec per pixel."""
    content = read_weights(run_dir / "weights.safetensors")
    about: About = replace(content.header.about, pixel_scale=0.1)
    path = tmp_path / "scaled.safetensors"
    write_weights(path, content.state, about=about, golden=content.golden)
    return path


@pytest.fixture
def model(weights, host):
    return zoo.load(weights, host=host)
