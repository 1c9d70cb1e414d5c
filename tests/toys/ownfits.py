"""A plugin file with networks that fit themselves: one that works, and some that break the contract."""

from zoo.hookspecs import hookimpl
from zoo.specs import ModelSpec

FAULTS = {
    "raises": ("cannot be fitted: RuntimeError: no such luck", "raise RuntimeError('no such luck')"),
    "exits": ("SystemExit", "raise SystemExit(3)"),
    "grows": ("other tensors after its fit", "self.register_buffer('more', self.scale.clone())"),
    "reshapes": ("scale [2] for []", "self.scale = torch.zeros(2)"),
    "widens": ("scale is of type torch.float64 after the fit", "self.scale = self.scale.double()"),
    "spoils": ("left values in scale that are not finite", "self.scale.fill_(torch.nan)"),
}
"""Name of a network -> message, and the body of its fit."""


@hookimpl
def zoo_models():
    space = {"scale": [1.0, 100.0]}
    return [
        ModelSpec(
            id="ownfits/nearest",
            target="ownfits:nearest",
            defaults={"scale": 100.0, "lr": 1.0},
            search_space=space,
            fits_itself=True,
        ),
        ModelSpec(id="ownfits/undeclared", target="ownfits:undeclared"),
        ModelSpec(id="ownfits/unable", target="ownfits:unable", fits_itself=True),
        ModelSpec(id="ownfits/random", target="ownfits:unseeded", fits_itself=True),
        ModelSpec(id="ownfits/idle", target="ownfits:idle", fits_itself=True),
        *(
            ModelSpec(id=f"ownfits/{name}", target="ownfits:faulty", arguments={"fault": name}, fits_itself=True)
            for name in FAULTS
        ),
    ]


def _network(fit, *, in_chans, num_classes, image_size, scale=1.0):
    import torch

    class Nearest(torch.nn.Module):
        """The class with the nearest mean image."""

        seen = ()

        def __init__(self):
            super().__init__()
            self.register_buffer("means", torch.zeros(num_classes, in_chans, image_size, image_size))
            self.register_buffer("scale", torch.tensor(float(scale)))

        def forward(self, images):
            return -self.scale.sum() * ((images[:, None] - self.means) ** 2).mean((2, 3, 4))

    if fit is not None:
        Nearest.fit_splits = fit
    return Nearest()


def nearest(*, lr, **sizes):
    import torch

    def fit(self, splits):
        Splits.last = splits
        total, count = torch.zeros_like(self.means), 0
        for images, labels in splits.train.batches(100):
            count += len(images)
            splits.progress(count, len(splits.train), "means")
            total.index_add_(0, labels, images)
        self.means.copy_(total / torch.bincount(splits.train.labels)[:, None, None, None])

    return _network(fit, **sizes)


class Splits:
    """What the last fit got."""

    last = None


def undeclared(**sizes):
    return _network(lambda self, splits: None, **sizes)


def unable(**sizes):
    return _network(None, **sizes)


def idle(**sizes):
    return _network(lambda self, splits: None, **sizes)


def unseeded(**sizes):
    import os

    import torch

    def fit(self, splits):
        self.means.add_(1.0 + int.from_bytes(os.urandom(3), "big") + torch.seed() % 7)

    return _network(fit, **sizes)


def faulty(*, fault, **sizes):
    import torch

    def fit(self, splits):
        exec(FAULTS[fault][1], {"torch": torch, "self": self})

    return _network(fit, **sizes)
