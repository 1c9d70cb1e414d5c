"""A plugin file of networks that cannot be trained, with the fault that the trial before a training finds."""

from oddnets import linear, with_forward

from zoo.hookspecs import hookimpl
from zoo.specs import ModelSpec

REFUSED = {
    "tuple": "returns a tuple, not a tensor of logits",
    "five": "returns logits of shape (2, 5), not (2, 3) for 2 images and num_classes=3",
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
    return [ModelSpec(id=f"refusednets/{name}", target=f"refusednets:{name}") for name in REFUSED]


def tuple(**sizes):
    return with_forward(lambda self, images: (self.linear(images), images), **sizes)


def five(*, in_chans, num_classes, image_size):
    return linear(in_chans, 5, image_size)


def one_row(**sizes):
    return with_forward(lambda self, images: self.linear(images).mean(0), **sizes)


def integers(**sizes):
    return with_forward(lambda self, images: self.linear(images).long(), **sizes)


def not_a_number(**sizes):
    return with_forward(lambda self, images: self.linear(images) / 0 * 0, **sizes)


def raises(**sizes):
    def forward(self, images):
        raise RuntimeError("no such luck")

    return with_forward(forward, **sizes)


def evaluation(**sizes):
    def forward(self, images):
        if not self.training:
            raise RuntimeError("only in training")
        return self.linear(images)

    return with_forward(forward, **sizes)


def detached(**sizes):
    return with_forward(lambda self, images: self.linear(images).detach(), **sizes)


def locked(**sizes):
    import threading

    return with_forward(lambda self, images: self.linear(images), also=_set("lock", threading.Lock), **sizes)


def _set(name, make):
    return lambda module: setattr(module, name, make())


def locks_later(**sizes):
    import threading

    def forward(self, images):
        self.lock = threading.Lock()
        return self.linear(images)

    return with_forward(forward, **sizes)


def extra_state(**sizes):
    network = with_forward(lambda self, images: self.linear(images), **sizes)
    type(network).get_extra_state = lambda self: {"a": 1}
    type(network).set_extra_state = lambda self, state: None
    return network


def late_buffer(**sizes):
    def forward(self, images):
        self.register_buffer("late", images.new_ones(()))
        return self.linear(images)

    return with_forward(forward, **sizes)


def hidden_weight(**sizes):
    """A part of the network is not registered, so that its weight is not stored."""

    def forward(self, images):
        return self.linear(images) + self.others[0](images)

    return with_forward(forward, also=_set("others", lambda: [linear(**sizes)]), **sizes)


def stale_weight(**sizes):
    """Goes on with the weight of the first forward pass."""

    def forward(self, images):
        if getattr(self, "kept", None) is None:
            self.kept = self.linear[1].weight.detach().clone()
        return self.linear(images) + images.flatten(1) @ self.kept.T

    return with_forward(forward, **sizes)


def always_random(**sizes):
    import torch

    return with_forward(lambda self, images: self.linear(images) + torch.randn(len(images), 1), **sizes)


def lazy_unused(**sizes):
    from torch import nn

    return with_forward(
        lambda self, images: self.linear(images), also=_set("unused", lambda: nn.LazyLinear(3)), **sizes
    )


def lazy_too_small(*, in_chans, num_classes, image_size):
    from torch import nn

    return nn.Sequential(nn.LazyConv2d(4, 99), nn.Flatten(), nn.LazyLinear(num_classes))
