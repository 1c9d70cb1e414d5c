"""A plugin file of networks and a metric whose numbers are not finite at one moment of a run."""

from oddnets import with_forward

from zoo.hookspecs import hookimpl
from zoo.specs import MetricSpec, ModelSpec


@hookimpl
def zoo_models():
    return [
        ModelSpec(id="nannets/turns_nan", target="nannets:turns_nan", defaults={"where": "test"}),
        ModelSpec(id="nannets/nan_for_some", target="nannets:nan_for_some", defaults={"step": 1}),
    ]


@hookimpl
def zoo_metrics():
    import os

    return [MetricSpec(id="nannets/nan", target="nannets:nan_metric")] if os.environ.get("NANNETS_METRIC") else []


def nan_metric(probabilities, labels):
    return {"good": 1.0, "bad": float("nan")}


def nan_for_some(*, step, **sizes):
    """In one training step, the logits of the third image of the batch are NaN."""
    import torch

    def forward(self, images):
        self.calls = getattr(self, "calls", 0) + (self.training and len(images) > 2)
        logits = self.linear(images)
        if self.training and len(images) > 2 and self.calls == step:
            logits = logits * torch.where(torch.arange(len(images)) == 2, torch.nan, 1.0)[:, None]
        return logits

    return with_forward(forward, **sizes)


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

    return with_forward(forward, also=keep_start, **sizes)
