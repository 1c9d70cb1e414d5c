"""A plugin file of networks that are written in unusual ways and can be trained."""

from zoo.hookspecs import hookimpl
from zoo.specs import ModelSpec

TRAINABLE = ("shared", "old_weight_norm", "old_spectral_norm", "lazy", "grid", "e2cnn", "escnn", "transformer", "lstm")


@hookimpl
def zoo_models():
    return [
        *(ModelSpec(id=f"oddnets/{name}", target=f"oddnets:{name}") for name in TRAINABLE),
        ModelSpec(id="oddnets/pooled_norm", target="oddnets:pooled_norm", defaults={"limit": 1000}),
    ]


def linear(in_chans, num_classes, image_size):
    """Return a linear network."""
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(in_chans * image_size**2, num_classes))


def with_forward(function, *, also=None, **sizes):
    """Return a linear network whose forward pass is a function of the module and the images."""
    from torch import nn

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = linear(**sizes)
            if also is not None:
                also(self)

        def forward(self, images):
            return function(self, images)

    return Odd()


def shared(*, in_chans, num_classes, image_size):
    """Two layers have one weight, and a third has a part of a tensor that is stored, too."""
    import torch
    from torch import nn

    first, second = nn.Linear(image_size, image_size), nn.Linear(image_size, image_size)
    second.weight = first.weight
    network = nn.Sequential(first, nn.ReLU(), second, linear(in_chans, num_classes, image_size))
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

    return with_forward(forward, **sizes)


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
