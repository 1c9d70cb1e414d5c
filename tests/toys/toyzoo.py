"""A plugin file for the harness's tests: images that a tiny network learns at once, and models that fail."""

from zoo.hookspecs import hookimpl
from zoo.specs import DatasetSpec, ModelSpec


@hookimpl
def zoo_models():
    return [
        ModelSpec(id=f"toyzoo/{name}", target=f"toyzoo:{name}", defaults=defaults)
        for name, defaults in (
            ("tiny", {"width": 4, "dropout": 0.2}),
            ("explodes", {"after": 3}),
            ("raises", {}),
            ("no_module", {}),
            ("kills_itself", {}),
            ("out_of_memory", {}),
            ("hungry", {"limit": 1000}),
            ("folded", {}),
            ("normed", {}),
            ("leaves", {"by": "SystemExit", "after": 0}),
        )
    ]


@hookimpl
def zoo_datasets():
    return [
        DatasetSpec(
            id="toyzoo/stripes",
            target="toyzoo:stripes",
            classes=("a", "b", "c"),
            tasks={"middle": {"other": ["a", "c"], "middle": ["b"]}},
            params={"count": 600},
        ),
        DatasetSpec(id="toyzoo/two", target="toyzoo:two", classes=("a", "b"), params={"count": 600}),
    ]


def tiny(*, in_chans, num_classes, image_size, width, dropout):
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(in_chans, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(width * 16, num_classes),
    )


def explodes(*, in_chans, num_classes, image_size, after):
    import torch
    from torch import nn

    class Explodes(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(in_chans * image_size**2, num_classes)
            self.calls = 0

        def forward(self, images):
            self.calls += self.training
            logits = self.linear(images.flatten(1))
            return logits * torch.nan if self.calls > after else logits

    return Explodes()


def leaves(*, in_chans, num_classes, image_size, by, after):
    import builtins

    from torch import nn

    class Leaves(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(in_chans * image_size**2, num_classes)
            self.calls = 0

        def forward(self, images):
            self.calls += self.training
            if self.calls > after:
                raise getattr(builtins, by)("no more")
            return self.linear(images.flatten(1))

    return Leaves()


def raises(*, in_chans, num_classes, image_size):
    raise RuntimeError("no such luck")


def no_module(*, in_chans, num_classes, image_size):
    return "a network"


def kills_itself(*, in_chans, num_classes, image_size):
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


def out_of_memory(*, in_chans, num_classes, image_size):
    raise MemoryError


def hungry(*, in_chans, num_classes, image_size, limit):
    import torch
    from torch import nn

    class Hungry(nn.Module):
        """Linear, and out of memory when it trains on more images at once than the limit."""

        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(in_chans * image_size**2, num_classes)

        def forward(self, images):
            if self.training and len(images) > limit:
                raise torch.OutOfMemoryError(f"no room for {len(images)} images")
            return self.linear(images.flatten(1))

    return Hungry()


def folded(*, in_chans, num_classes, image_size):
    from torch import nn

    class Folded(nn.Linear):
        """Has another tensor until it trains and in evaluation mode, as layers of e2cnn do."""

        def __init__(self, *sizes):
            super().__init__(*sizes)
            self.register_buffer("folded", 2 * self.weight.detach())

        def train(self, mode=True):
            if mode:
                self._buffers.pop("folded", None)
            elif self.training:
                self.register_buffer("folded", 2 * self.weight.detach())
            return super().train(mode)

    return nn.Sequential(nn.Flatten(), Folded(in_chans * image_size**2, num_classes))


def normed(*, in_chans, num_classes, image_size):
    import os
    import signal

    from torch import nn

    class Normed(nn.Sequential):
        """Has batch norm, and dies where TOYZOO_DIES="RANK:CALL" says so."""

        calls = 0

        def forward(self, images):
            rank, _, call = os.environ.get("TOYZOO_DIES", "").partition(":")
            self.calls += self.training
            here = os.environ.get("ZOO_RANK", os.environ.get("RANK", "0"))
            if rank == here and self.training and self.calls == int(call):
                os.kill(os.getpid(), signal.SIGKILL)
            return super().forward(images)

    # No bias before a batch norm: its gradient is rounding alone, of which Adam makes steps.
    return Normed(
        nn.Conv2d(in_chans, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(96, num_classes),
    )


def stripes(*, count):
    """Return noise with a bright row band that says the class."""
    import numpy as np

    from zoo.data.images import ImageSet

    generator = np.random.default_rng(0)
    labels = np.arange(count) % 3
    images = generator.normal(size=(count, 1, 12, 12)).astype(np.float32)
    for k in range(3):
        images[labels == k, :, 4 * k : 4 * k + 4] += 0.35
    return ImageSet(
        images=images, labels=labels, ids=[f"stripe-{i}" for i in range(count)], metadata={"index": np.arange(count)}
    )


def two(*, count):
    """Return the stripes of two classes."""
    from zoo.data.images import ImageSet

    full = stripes(count=count)
    kept = full.labels < 2
    return ImageSet(images=full.images[kept], labels=full.labels[kept], ids=[full.ids[i] for i in kept.nonzero()[0]])
