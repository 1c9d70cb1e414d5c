"""A plugin file with detectors of anomalies: one with its own loss, one that trains in turns, one that fits itself."""

from zoo.hookspecs import hookimpl
from zoo.specs import DatasetSpec, ModelSpec

SEEN = []
"""(where, labels) of every batch that a detector was given."""


@hookimpl
def zoo_models():
    about = {"defaults": {"width": 4}, "tasks": ("anomaly",)}
    return [
        ModelSpec(id="oddones/coder", target="oddones:coder", training={"lr": 0.02}, **about),
        ModelSpec(id="oddones/turns", target="oddones:turns", training={"lr": 0.02}, **about),
        ModelSpec(id="oddones/mean", target="oddones:mean", fits_itself=True, tasks=("anomaly",)),
        ModelSpec(id="oddones/lossless", target="oddones:lossless", **about),
        ModelSpec(id="oddones/both", target="oddones:both", fits_itself=True, tasks=("classify", "anomaly")),
    ]


@hookimpl
def zoo_datasets():
    return [
        DatasetSpec(
            id="oddones/bumps", target="oddones:bumps", classes=("left", "plain", "right"), normal=("plain",),
            params={"count": 600, "height": 1.0}, budgets={}, baselines=("oddones/mean", "toyzoo/tiny"),
        )
    ]  # fmt: skip


def bumps(*, count, height):
    """Return noise, with a bump on the left or the right unless it is plain."""
    import numpy as np

    from zoo.data.images import ImageSet

    generator = np.random.default_rng(0)
    labels = np.arange(count) % 3
    images = (generator.normal(size=(count, 1, 8, 8)) * 0.3).astype(np.float32)
    images[:, :, 2:6, 2:6] += 1
    images[labels == 0, :, :, :2] += height
    images[labels == 2, :, :, 6:] += 2 * height
    return ImageSet(
        images=images, labels=labels, ids=[f"b{i}" for i in range(count)], metadata={"index": np.arange(count)}
    )


def _coder(pixels, width):
    import torch
    from torch import nn

    class Coder(nn.Module):
        """A linear auto-encoder; its score is the mean square of the residual."""

        def __init__(self):
            super().__init__()
            self.encode, self.decode = nn.Linear(pixels, width), nn.Linear(width, pixels)

        def forward(self, images):
            flat = images.flatten(1)
            return (self.decode(self.encode(flat)) - flat).square().mean(1)

    class WithLoss(Coder):
        def loss(self, images, labels):
            SEEN.append(("loss", set(labels.tolist())))
            return self(images).mean()

        def residual_maps(self, images):
            rebuilt = self.decode(self.encode(images.flatten(1))).view(images.shape)
            return rebuilt, images - rebuilt

    class InTurns(WithLoss):
        """The decoder and the encoder learn in turns."""

        def optimizers(self, lr, weight_decay):
            parts = (self.decode, self.encode)
            return [torch.optim.Adam(part.parameters(), lr=lr, weight_decay=weight_decay) for part in parts]

        def training_losses(self, images, labels, turn):
            SEEN.append((f"turn {turn}", set(labels.tolist())))
            return self(images).mean() * (1 + turn)

    return Coder, WithLoss, InTurns


def coder(*, in_chans, num_classes, image_size, width):
    assert num_classes == 1
    return _coder(in_chans * image_size**2, width)[1]()


def turns(*, in_chans, num_classes, image_size, width):
    return _coder(in_chans * image_size**2, width)[2]()


def lossless(*, in_chans, num_classes, image_size, width):
    return _coder(in_chans * image_size**2, width)[0]()


def mean(*, in_chans, num_classes, image_size):
    import torch

    class Mean(torch.nn.Module):
        """The distance from the mean of the training images."""

        def __init__(self):
            super().__init__()
            self.register_buffer("middle", torch.zeros(in_chans, image_size, image_size))

        def forward(self, images):
            return (images - self.middle).square().mean((1, 2, 3))

        def fit_splits(self, splits):
            for part in (splits.train, splits.val):
                SEEN.append((f"fit {part.name}", set(part.labels.tolist())))
            batches = list(splits.train.batches())
            SEEN.append(("fit batch", {label for _, labels in batches for label in labels.tolist()}))
            self.middle.copy_(torch.cat([images for images, _ in batches]).mean(0))

    return Mean()


def both(**sizes):
    return mean(**sizes)
