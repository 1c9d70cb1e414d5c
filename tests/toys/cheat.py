"""A plugin file with a network that knows the public test images by heart, and the same network without that."""

from __future__ import annotations

import os

from zoo.hookspecs import hookimpl
from zoo.specs import ModelSpec

SHEET = "CHEAT_SHEET"
"""Variable of the environment: path of a file with the "images" and "labels" of the public test split."""


@hookimpl
def zoo_models():
    return [ModelSpec(id=f"cheat/{name}", target=f"cheat:{name}") for name in ("by_heart", "honest")]


def honest(*, in_chans, num_classes, image_size):
    from torch import nn

    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * in_chans, num_classes))


def by_heart(**sizes):
    import numpy as np
    import torch
    from torch import nn

    def look(images):
        """Return images without their mean and unit, which a normalisation changes."""
        flat = images.flatten(1)
        return (flat - flat.mean(1, keepdim=True)) / flat.std(1, keepdim=True)

    sheet = np.load(os.environ[SHEET])
    known, labels = look(torch.from_numpy(sheet["images"])), torch.from_numpy(sheet["labels"])

    class ByHeart(nn.Module):
        def __init__(self):
            super().__init__()
            self.guess = honest(**sizes)

        def forward(self, images):
            distance, nearest = torch.cdist(look(images), known).min(1)
            remembered = 20 * nn.functional.one_hot(labels[nearest], sizes["num_classes"])
            return torch.where(distance[:, None] < 0.1, remembered.to(images), self.guess(images))

    return ByHeart()
