"""A plugin file of networks that are written in unusual ways: the first list can be trained, the second cannot."""

from zoo.hookspecs import hookimpl
from zoo.specs import MetricSpec, ModelSpec

TRAINABLE = ("shared", "old_weight_norm", "old_spectral_norm", "lazy", "grid", "e2cnn", "escnn", "transformer", "lstm")
REFUSED = {
    "tuple": "returns a tuple, not a tensor of logits",
    "five": "returns logits of shape (2, 5), not (2, 3) for 2 images and 3 classes",
    "one_row": "returns logits of shape (3,), not (2, 3)",
    "integers": "returns logits of type torch.int64, not floating-point numbers",
    "not_a_number": "returns logits that are not finite before any training",
    "raises": "fails on images [2, 1, 12, 12] in training: RuntimeError: no such luck",
    "evaluation": "fails on images [2, 1, 12, 12] in evaluation: RuntimeError: only in training",
    "detached": "fails in the backward pass",
    "locked": "cannot be copied: TypeError: cannot pickle '_thread.lock' object",
    "locks_later": "cannot be copied after a training step: TypeError: cannot pickle '_thread.lock' object",
    "extra_state": "has weights that cannot be saved",
    "late_buffer": "has weights that cannot be loaded again: 1 tensor too many (network.late)",
    "hidden_weight": "gives other logits after its weights were saved and loaded",
    "stale_weight": "gives other logits after its weights were saved and loaded",
    "always_random": "gives other logits after its weights were saved and loaded",
    "lazy_unused": "has lazy layers that a forward pass does not use",
    "lazy_too_small": "has lazy layers, and refuses images [1, 1, 12, 12]",
}


@hookimpl
def zoo_models():
    names = [*TRAINABLE, *REFUSED, "pooled_norm", "turns_nan", "nan_for_some"]
    return [
        ModelSpec(id=f"oddnets/{name}", target=f"oddnets:{name}", defaults=DEFAULTS.get(name, {})) for name in names
    ]


DEFAULTS = {"pooled_norm": {"limit": 1000}, "turns_nan": {"where": "test"}, "nan_for_some": {"step": 1}}


@hookimpl
def zoo_metrics():
    import os

    return [MetricSpec(id="oddnets/nan", target="oddnets:nan_metric")] if os.environ.get("ODDNETS_METRIC") else []


def nan_metric(probabilities, labels):
    return {"good": 1.0, "bad": float("nan")}


def _linear(in_chans, num_classes, image_size):
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(in_chans * image_size**2, num_classes))


def _with_forward(function, *, also=None, **sizes):
    """Return a linear network whose forward pass is a function of the module and the images."""
    from torch import nn

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = _linear(**sizes)
            if also is not None:
                also(self)

        def forward(self, images):
            return function(self, images)

    return Odd()


# --- can be trained ---


def shared(*, in_chans, num_classes, image_size):
    """Two layers have one weight, and a third has a part of a tensor that is stored, too."""
    import torch
    from torch import nn

    first, second = nn.Linear(image_size, image_size), nn.Linear(image_size, image_size)
    second.weight = first.weight
    network = nn.Sequential(first, nn.ReLU(), second, _linear(in_chans, num_classes, image_size))
    table = torch.arange(8.0)
    network.register_buffer("table", table)
    network.register_buffer("part_of_table", table[2:5])
    return network


def old_weight_norm(*, in_chans, num_classes, image_size):
    import warnings

    from torch import nn

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(nn.Flatten(), nn.utils.weight_norm(nn.Linear(in_chans * image_size**2, num_classes)))


def old_spectral_norm(*, in_chans, num_classes, image_size):
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.utils.spectral_norm(nn.Linear(in_chans * image_size**2, num_classes)))


def lazy(*, in_chans, num_classes, image_size):
    from torch import nn

    return nn.Sequential(
        nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
        nn.LazyLinear(num_classes),
    )  # fmt: skip


def grid(**sizes):
    """Keeps what it computed from its first images, also where that was without gradients."""

    def forward(self, images):
        if getattr(self, "kept", None) is None:
            self.kept = images.new_ones(images.shape[1:])
        return self.linear(images * self.kept)

    return _with_forward(forward, **sizes)


def _steerable(library, *, in_chans, num_classes, image_size):
    from torch import nn
    from zoo_steerable.libraries import load

    steerable = load(library)
    name = "Rot2dOnR2" if library == "e2cnn" else "rot2dOnR2"
    space = getattr(steerable.gspaces, name)(4)
    layers = steerable.nn
    of_image = layers.FieldType(space, in_chans * [space.trivial_repr])
    regular = layers.FieldType(space, 2 * [space.regular_repr])

    class Steerable(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(
                layers.R2Conv(of_image, regular, 5, padding=2), layers.InnerBatchNorm(regular), layers.ReLU(regular),
                layers.R2Conv(regular, regular, 3, padding=1), layers.ReLU(regular), layers.GroupPooling(regular),
            )  # fmt: skip
            self.head = nn.Linear(2 * 16, num_classes)

        def forward(self, images):
            maps = self.layers(layers.GeometricTensor(images, of_image)).tensor
            return self.head(nn.functional.adaptive_avg_pool2d(maps, 4).flatten(1))

    return Steerable()


def e2cnn(**sizes):
    return _steerable("e2cnn", **sizes)


def escnn(**sizes):
    return _steerable("escnn", **sizes)


def transformer(*, in_chans, num_classes, image_size):
    import torch
    from torch import nn

    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Linear(in_chans * image_size, 16)
            self.encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
            self.places = nn.Parameter(0.1 * torch.randn(image_size, 16))
            self.head = nn.Linear(16 * image_size, num_classes)

        def forward(self, images):
            rows = self.embedding(images.transpose(1, 2).flatten(2)) + self.places
            return self.head(self.encoder(rows).flatten(1))

    return Rows()


def lstm(*, in_chans, num_classes, image_size):
    from torch import nn

    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(in_chans * image_size, 16, batch_first=True)
            self.head = nn.Linear(16 * image_size, num_classes)

        def forward(self, images):
            return self.head(self.lstm(images.transpose(1, 2).flatten(2))[0].flatten(1))

    return Rows()


# --- cannot be trained ---


def tuple(**sizes):
    return _with_forward(lambda self, images: (self.linear(images), images), **sizes)


def five(*, in_chans, num_classes, image_size):
    return _linear(in_chans, 5, image_size)


def one_row(**sizes):
    return _with_forward(lambda self, images: self.linear(images).mean(0), **sizes)


def integers(**sizes):
    return _with_forward(lambda self, images: self.linear(images).long(), **sizes)


def not_a_number(**sizes):
    return _with_forward(lambda self, images: self.linear(images) / 0 * 0, **sizes)


def raises(**sizes):
    def forward(self, images):
        raise RuntimeError("no such luck")

    return _with_forward(forward, **sizes)


def evaluation(**sizes):
    def forward(self, images):
        if not self.training:
            raise RuntimeError("only in training")
        return self.linear(images)

    return _with_forward(forward, **sizes)


def detached(**sizes):
    return _with_forward(lambda self, images: self.linear(images).detach(), **sizes)


def locked(**sizes):
    import threading

    return _with_forward(lambda self, images: self.linear(images), also=_set("lock", threading.Lock), **sizes)


def _set(name, make):
    return lambda module: setattr(module, name, make())


def locks_later(**sizes):
    import threading

    def forward(self, images):
        self.lock = threading.Lock()
        return self.linear(images)

    return _with_forward(forward, **sizes)


def extra_state(**sizes):
    network = _with_forward(lambda self, images: self.linear(images), **sizes)
    type(network).get_extra_state = lambda self: {"a": 1}
    type(network).set_extra_state = lambda self, state: None
    return network


def late_buffer(**sizes):
    def forward(self, images):
        self.register_buffer("late", images.new_ones(()))
        return self.linear(images)

    return _with_forward(forward, **sizes)


def hidden_weight(**sizes):
    """A part of the network is not registered, so that its weight is not stored."""

    def forward(self, images):
        return self.linear(images) + self.others[0](images)

    return _with_forward(forward, also=_set("others", lambda: [_linear(**sizes)]), **sizes)


def stale_weight(**sizes):
    """Goes on with the weight of the first forward pass."""

    def forward(self, images):
        if getattr(self, "kept", None) is None:
            self.kept = self.linear[1].weight.detach().clone()
        return self.linear(images) + images.flatten(1) @ self.kept.T

    return _with_forward(forward, **sizes)


def always_random(**sizes):
    import torch

    return _with_forward(lambda self, images: self.linear(images) + torch.randn(len(images), 1), **sizes)


def lazy_unused(**sizes):
    from torch import nn

    return _with_forward(
        lambda self, images: self.linear(images), also=_set("unused", lambda: nn.LazyLinear(3)), **sizes
    )


def lazy_too_small(*, in_chans, num_classes, image_size):
    from torch import nn

    return nn.Sequential(nn.LazyConv2d(4, 99), nn.Flatten(), nn.LazyLinear(num_classes))


# --- depend on the batch or on the moment ---


def pooled_norm(*, in_chans, num_classes, image_size, limit):
    """Batch norm over one value of each image, and out of memory in training on more images than the limit."""
    import torch
    from torch import nn

    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Flatten(), nn.Linear(in_chans * image_size**2, 4), nn.BatchNorm1d(4))
            self.head = nn.Linear(4, num_classes)

        def forward(self, images):
            if self.training and len(images) > limit:
                raise torch.OutOfMemoryError(f"no room for {len(images)} images")
            return self.head(self.layers(images))

    return Pooled()


def nan_for_some(*, step, **sizes):
    """In one training step, the logits of the third image of the batch are NaN."""
    import torch

    def forward(self, images):
        self.calls = getattr(self, "calls", 0) + (self.training and len(images) > 2)
        logits = self.linear(images)
        if self.training and len(images) > 2 and self.calls == step:
            logits = logits * torch.where(torch.arange(len(images)) == 2, torch.nan, 1.0)[:, None]
        return logits

    return _with_forward(forward, **sizes)


def turns_nan(*, where, **sizes):
    """The logits of some images are NaN: those with a bright first pixel, in evaluation, on batches of some sizes.

    For "val" they are finite as long as the weights are those of the start.
    """
    import torch

    sizes_of = {"before": (60,), "val": (60,), "test": (120,), "golden": (3,)}

    def forward(self, images):
        logits = self.linear(images)
        begun = where != "val" or not torch.equal(self.start, self.linear[1].bias)
        if begun and not self.training and len(images) in sizes_of[where]:
            return torch.where(images[:, 0, :1, 0] > 0, torch.nan, logits)
        return logits

    def keep_start(network):
        network.start = network.linear[1].bias.detach().clone()

    return _with_forward(forward, also=keep_start, **sizes)
