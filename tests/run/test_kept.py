"""Reconstructions and residuals of the images that a report shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from zoo.models.classifier import Classifier
from zoo.models.residual import Residual
from zoo.run.kept import residual_maps


class Blank(nn.Module):
    """A network that reconstructs a flat sky, or fails to."""

    def __init__(self, fault: str = "") -> None:
        super().__init__()
        self.fault, self.residual = fault, Residual("mean_square")

    def residual_maps(self, images):
        if self.fault == "raises":
            raise ValueError("no maps")
        flat = torch.zeros_like(images)
        if self.fault == "shape":
            return flat[:, :, 1:], flat
        return flat, self.residual.over_noise(images, flat) * (torch.nan if self.fault == "nan" else 1)


def classified(network):
    classifier = Classifier(network, channels=1)
    classifier.normalise(mean=torch.tensor([7.0]), std=torch.tensor([2.0]))
    return classifier


def test_maps_are_in_the_units_of_image_and_noise():
    noise = np.random.default_rng(0).normal(7, 0.5, (4, 1, 64, 64)).astype(np.float32)
    noise[0, 0, 30, 30] = 7 + 40 * 0.5
    found = residual_maps(classified(Blank()), noise)
    np.testing.assert_allclose(found["reconstructions"], 7.0)
    assert found["residuals"][1:].std() == pytest.approx(1, rel=0.05)
    assert found["residuals"][0, 0, 30, 30] == pytest.approx(40, rel=0.05)


@pytest.mark.parametrize("fault", ["raises", "shape", "nan"])
def test_maps_that_fail_are_left_out(fault, caplog):
    assert residual_maps(classified(Blank(fault)), np.ones((2, 1, 8, 8), np.float32)) == {}
    assert "residual_maps of Blank" in caplog.text


def test_other_networks_have_no_maps():
    assert residual_maps(classified(nn.Flatten()), np.ones((2, 1, 8, 8), np.float32)) == {}
