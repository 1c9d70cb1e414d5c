"""A plugin file of models, each of which breaks the check of the conformance kit that it is named after."""

from oddnets import linear, with_forward

from zoo.hookspecs import hookimpl
from zoo.specs import ModelSpec

FIELDS = {
    "parameters": {"parameters": 7},
    "search_space": {"defaults": {"width": 8}, "search_space": {"width": [8, 0]}},
    "twins": {"twins": ("brokenmodels/nothing",)},
    "equivariance_before_training": {"group": "p4m", "equivariance": "exact"},
    "equivariance_after_step": {"group": "p4m", "equivariance": "exact"},
    "equivariance_after_training": {"group": "p4m", "equivariance": "exact"},
}
NAMES = (
    "signature", "builds", "trial", "autocast", "one_step", "finite", "batch_independence", "order_independence",
    "repeatable", "evaluation_keeps_weights", "images_kept", "state_dict", "constant_images", "nan_contained",
    "thread_count", "global_state", "random_numbers", "cost", "training", "chance", "weights_file", "resume",
    "logits", "device", "all_trained", "channels", "memory", "random_numbers__numpy", *FIELDS,
)  # fmt: skip


@hookimpl
def zoo_models():
    return [
        ModelSpec(id=f"brokenmodels/{name}", target=f"brokenmodels:{name}", **FIELDS.get(name, {})) for name in NAMES
    ]


def signature(channels, classes):
    return linear(channels, classes, 32)


def builds(*, in_chans, num_classes, image_size):
    if image_size % 2:
        raise RuntimeError("odd sizes are a nuisance")
    return linear(in_chans, num_classes, image_size)


def trial(**sizes):
    return with_forward(lambda self, images: (self.linear(images), images), **sizes)


def autocast(**sizes):
    import torch

    def forward(self, images):
        if torch.is_autocast_enabled("cpu"):
            raise RuntimeError("no bf16 here")
        return self.linear(images)

    return with_forward(forward, **sizes)


def one_step(**sizes):
    return with_forward(lambda self, images: self.linear(images) * 0, **sizes)


def finite(**sizes):
    return with_forward(lambda self, images: self.linear(images).double(), **sizes)


def batch_independence(**sizes):
    return with_forward(lambda self, images: self.linear(images - images.mean(0)), **sizes)


def order_independence(**sizes):
    import torch

    return with_forward(lambda self, images: self.linear(images) + torch.arange(len(images))[:, None], **sizes)


def repeatable(**sizes):
    import torch

    return with_forward(lambda self, images: self.linear(images) + 1e-6 * torch.rand(len(images), 1), **sizes)


def evaluation_keeps_weights(**sizes):
    import torch

    def forward(self, images):
        self.seen += 1
        return self.linear(images)

    return with_forward(forward, also=lambda self: self.register_buffer("seen", torch.zeros(1)), **sizes)


def images_kept(**sizes):
    return with_forward(lambda self, images: self.linear(images.mul_(2)), **sizes)


def logits(**sizes):
    return with_forward(lambda self, images: self.linear(images).sigmoid(), **sizes)


def device(**sizes):
    import torch

    return with_forward(lambda self, images: self.linear(images) + torch.zeros(1), **sizes)


def all_trained(**sizes):
    from torch import nn

    return with_forward(
        lambda self, images: self.linear(images), also=lambda self: setattr(self, "unused", nn.Linear(2, 2)), **sizes
    )


def _counting(forward, **sizes):
    def counted(self, images):
        self.steps += self.training
        return forward(self, images)

    return with_forward(counted, also=lambda self: setattr(self, "steps", 0), **sizes)


def state_dict(**sizes):
    return _counting(lambda self, images: self.linear(images) * (1 + self.steps), **sizes)


def constant_images(**sizes):
    return with_forward(lambda self, images: self.linear(images / images.std((1, 2, 3), keepdim=True)), **sizes)


def nan_contained(**sizes):
    return with_forward(lambda self, images: self.linear(images) + 0 * images.sum(), **sizes)


def thread_count(**sizes):
    import torch

    return with_forward(lambda self, images: self.linear(images) * torch.get_num_threads(), **sizes)


def global_state(*, in_chans, num_classes, image_size):
    import torch

    torch.set_float32_matmul_precision("high")
    return linear(in_chans, num_classes, image_size)


def random_numbers(*, in_chans, num_classes, image_size):
    import torch

    torch.manual_seed(42)
    return linear(in_chans, num_classes, image_size)


def random_numbers__numpy(*, in_chans, num_classes, image_size):
    import numpy as np

    np.random.seed(42)  # noqa: NPY002 - the fault that the check has to find
    return linear(in_chans, num_classes, image_size)


def channels(*, in_chans, num_classes, image_size):
    return with_forward(
        lambda self, images: self.linear(images[:, :1]), in_chans=1, num_classes=num_classes, image_size=image_size
    )


def memory(**sizes):
    def forward(self, images):
        self.seen.append(images + 0)
        return self.linear(images)

    return with_forward(forward, also=lambda self: setattr(self, "seen", []), **sizes)


def twins(*, in_chans, num_classes, image_size):
    return linear(in_chans, num_classes, image_size)


def parameters(*, in_chans, num_classes, image_size):
    return linear(in_chans, num_classes, image_size)


def cost(**sizes):
    from torch.utils._python_dispatch import _get_current_dispatch_mode

    def forward(self, images):
        if _get_current_dispatch_mode() is not None:
            raise RuntimeError("I do not want to be followed")
        return self.linear(images)

    return with_forward(forward, **sizes)


def search_space(*, in_chans, num_classes, image_size, width):
    if not width:
        raise ValueError("a width of 0")
    return linear(in_chans, num_classes, image_size)


def equivariance_before_training(*, in_chans, num_classes, image_size):
    return linear(in_chans, num_classes, image_size)


def equivariance_after_step(*, in_chans, num_classes, image_size):
    """Invariant as long as the weights of the pixels are zero."""
    import torch
    from torch import nn

    class Drifts(nn.Module):
        def __init__(self):
            super().__init__()
            self.mean = nn.Linear(in_chans, num_classes)
            self.pixels = nn.Parameter(torch.zeros(in_chans * image_size**2, num_classes))

        def forward(self, images):
            return self.mean(images.square().mean((2, 3))) + images.flatten(1) @ self.pixels

    return Drifts()


equivariance_after_training = equivariance_after_step


def training(**sizes):
    return _counting(lambda self, images: self.linear(images) * (1 if self.steps < 4 else float("nan")), **sizes)


def chance(*, in_chans, num_classes, image_size):
    """Knows the images of the kit by heart."""
    import torch

    from zoo.testing.toys import noise_images

    known = noise_images(count=300, image_size=image_size, planes=in_chans, classes=num_classes)
    keys, labels = torch.from_numpy(known.images).flatten(1), torch.from_numpy(known.labels)

    def look(images):
        flat = images.flatten(1)
        return (flat - flat.mean(1, keepdim=True)) / flat.std(1, keepdim=True)

    def forward(self, images):
        nearest = torch.cdist(look(images), look(keys)).argmin(1)
        return self.linear(images) + 50 * torch.eye(num_classes)[labels[nearest]]

    return with_forward(forward, in_chans=in_chans, num_classes=num_classes, image_size=image_size)


def weights_file(**sizes):
    return _counting(lambda self, images: self.linear(images) * (1 if self.steps < 4 else 2), **sizes)


def resume(**sizes):
    return _counting(lambda self, images: self.linear(images) * (1 + self.steps * self.training), **sizes)
