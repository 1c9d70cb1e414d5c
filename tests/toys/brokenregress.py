"""A plugin file of regressions and their metrics, each of which breaks the check that it is named after."""

import numpy as np
from oddnets import with_forward

from zoo.errors import UsageError
from zoo.hookspecs import hookimpl
from zoo.specs import MetricSpec, ModelSpec

MODELS = {"trial": True, "one_step": True, "chance": False}
METRICS = {"values": {}, "directions": {"rmse": "higher"}, "forms": {"rmse": "lower"}}


@hookimpl
def zoo_models():
    return [
        ModelSpec(id=f"brokenregress/{name}", target=f"brokenregress:{name}", tasks=("regress",), fits_itself=fits)
        for name, fits in MODELS.items()
    ]


@hookimpl
def zoo_metrics():
    return [
        MetricSpec(id=f"brokenregress/{name}", target=f"brokenregress:metric_{name}", better=better, tasks=("regress",))
        for name, better in METRICS.items()
    ]


def _fitted(fit, answer, *, in_chans, num_classes, image_size):
    """Return a network that fits itself and answers normal distributions of one truth."""
    import torch

    if num_classes != 2:
        raise UsageError("It answers one truth by a normal distribution.")

    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(1))

        def fit_splits(self, splits):
            self.mean.copy_(fit(splits.train.labels))

        def forward(self, images):
            return answer(self.mean.expand(len(images)))

    return Own()


def trial(**sizes):
    """Answers points, without a width."""
    return _fitted(lambda truth: truth.mean(0), lambda mean: mean, **sizes)


def one_step(**sizes):
    """Takes truths [N, T] for labels [N]."""
    import torch

    def fit(truth):
        return torch.bincount(truth).float()

    return _fitted(fit, lambda mean: torch.stack([mean, torch.zeros_like(mean)], 1), **sizes)


def chance(*, in_chans, num_classes, image_size):
    """Knows the images of the kit by heart."""
    import torch

    from zoo.testing.toys import TRUTH, noise_images

    known = noise_images(count=300, image_size=image_size, planes=in_chans, classes=3)
    keys, truth = torch.from_numpy(known.images).flatten(1), torch.from_numpy(known.metadata[TRUTH])

    def look(images):
        flat = images.flatten(1)
        return (flat - flat.mean(1, keepdim=True)) / flat.std(1, keepdim=True)

    def forward(self, images):
        found = truth[torch.cdist(look(images), look(keys)).argmin(1)]
        standard = ((found - truth.mean()) / truth.std()).float()
        return self.linear(images) * 0.01 + torch.stack([standard, torch.zeros_like(standard)], 1)

    if num_classes != 2:
        raise UsageError("It answers one truth by a normal distribution.")
    return with_forward(forward, in_chans=in_chans, num_classes=num_classes, image_size=image_size)


def metric_values(predictions, truth):
    """Takes truths [N, T] for labels [N]."""
    return {"brier": ((predictions - np.eye(predictions.shape[1])[truth]) ** 2).mean()}


def metric_directions(predictions, truth):
    return {"rmse": ((predictions[:, :1] - truth) ** 2).mean() ** 0.5}


metric_forms = metric_directions
