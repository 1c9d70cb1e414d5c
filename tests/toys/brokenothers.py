"""A plugin file of metrics, tasks and channels, each of which breaks the check that it is named after."""

import dataclasses

import msgspec
import numpy as np

from zoo.hookspecs import hookimpl
from zoo.specs import ChannelSpec, MetricSpec, TaskSpec
from zoo.tasks.classify import Classify
from zoo.tasks.task import shared_by

METRICS = (
    "values", "extremes", "directions", "order_independence", "number_of_images", "repeatable", "arrays_kept",
    "intervals", "global_state",
)  # fmt: skip
TASKS = (
    "opens", "declarations", "loss", "validation", "scores", "order_independence", "comparison", "image_groups",
    "notable", "curves", "for_metrics", "global_state", "training", "loss__summed", "loss__overflow",
    "validation__reversed", "scores__random", "comparison__other", "comparison__sums", "notable__all",
    "image_groups__unstated",
)  # fmt: skip


def _title(name):
    return name.title().replace("_", "")


@hookimpl
def zoo_metrics():
    better = {"directions": {"brier": "higher"}, "intervals": {"brier": "lower"}}
    return [
        MetricSpec(id=f"brokenothers/{name}", target=f"brokenothers:{name}", better=better.get(name, {}))
        for name in METRICS
    ]


@hookimpl
def zoo_tasks():
    return [TaskSpec(id=f"brokenothers/{name}", target=f"brokenothers:{_title(name)}") for name in TASKS]


def brier(probabilities, labels):
    truth = np.eye(probabilities.shape[1])[labels]
    return float(((probabilities - truth) ** 2).sum(1).mean())


def values(probabilities, labels):
    return {"brier": "low"}


def extremes(probabilities, labels):
    with np.errstate(divide="ignore"):
        return {"log_loss": -np.log(probabilities[np.arange(len(labels)), labels]).mean()}


def directions(probabilities, labels):
    return {"brier": brier(probabilities, labels)}


def order_independence(probabilities, labels):
    return {"brier": brier(probabilities[:50], labels[:50])}


def number_of_images(probabilities, labels):
    return {"brier": brier(probabilities, labels) * len(labels)}


def repeatable(probabilities, labels):
    return {"brier": brier(probabilities, labels) + np.random.default_rng().random()}


def arrays_kept(probabilities, labels):
    probabilities.sort(axis=0)
    return {"brier": brier(probabilities, labels)}


def intervals(probabilities, labels):
    if len(np.unique(probabilities[:, 0])) < len(labels) and len(np.unique(probabilities[:, 0])) > 5:
        raise ValueError("the same image twice")
    return {"brier": brier(probabilities, labels)}


def global_state(probabilities, labels):
    np.seterr(all="raise")
    return {"brier": brier(probabilities, labels)}


def Opens(question, *, name):
    return Classify(question, name=name)


class Declarations(Classify):
    rules = ("best",)


class Loss(Classify):
    def loss(self, predictions, labels, *, label_smoothing=0.0):
        return super().loss(predictions, labels).detach()


class Validation(Classify):
    def validate(self, predictions, labels):
        return {"f1": 1.0}


class Scores(Classify):
    def score(self, predictions, labels, groups=None):
        return super().score(-predictions, labels, groups)


class OrderIndependence(Classify):
    def score(self, predictions, labels, groups=None):
        return super().score(predictions[:45], labels[:45], groups)


class Comparison(Classify):
    def contributions(self, predictions, labels):
        found = super().contributions(predictions, labels)
        return dataclasses.replace(found, components=found.components[:, :-1])


class ImageGroups(Classify):
    def score(self, predictions, labels, groups=None):
        return msgspec.structs.replace(super().score(predictions, labels), image_groups=shared_by(groups))


class ImageGroupsUnstated(Classify):
    def score(self, predictions, labels, groups=None):
        return super().score(predictions, labels)


class Notable(Classify):
    def notable(self, predictions, labels):
        return np.array([10**6])


class Curves(Classify):
    def rocs(self, predictions, labels):
        return {"few": (predictions[:9, 0], labels[:9] == 0)}


class ForMetrics(Classify):
    def for_metrics(self, predictions):
        return predictions * np.nan


class LossSummed(Classify):
    def loss(self, predictions, labels, *, label_smoothing=0.0):
        return super().loss(predictions, labels) * len(labels)


class LossOverflow(Classify):
    def loss(self, predictions, labels, *, label_smoothing=0.0):
        shares = predictions.exp() / predictions.exp().sum(1, keepdim=True)
        return -shares.gather(1, labels[:, None]).log().mean()


class ValidationReversed(Classify):
    def validate(self, predictions, labels):
        return super().validate(-predictions, labels)


class ScoresRandom(Classify):
    def score(self, predictions, labels, groups=None):
        found = super().score(predictions, labels, groups)
        return msgspec.structs.replace(found, accuracy=np.random.default_rng().random())


class ComparisonOther(Classify):
    def contributions(self, predictions, labels):
        found = super().contributions(predictions, labels)
        return dataclasses.replace(found, values=found.values / 2)


class ComparisonSums(Classify):
    def contributions(self, predictions, labels):
        found = super().contributions(predictions, labels)
        return dataclasses.replace(found, components=found.components + 1)


class NotableAll(Classify):
    def notable(self, predictions, labels):
        return np.arange(len(labels))


class GlobalState(Classify):
    def score(self, predictions, labels, groups=None):
        np.seterr(all="raise")
        return super().score(predictions, labels, groups)


class Training(Classify):
    def chance_loss(self, counts):
        raise RuntimeError("no chance")


def _channel(change):
    def channel(images, camera):
        return change(images)

    return channel


def _set_precision(images):
    import torch

    torch.set_float32_matmul_precision("high")
    return images[:, 0]


def _with_noise(images):
    import torch

    return images[:, 0] + images.std() * torch.randn_like(images[:, 0])


CHANNELS = {
    "plane": _channel(lambda images: images),
    "repetition": _channel(_with_noise),
    "batch_independence": _channel(lambda images: images[:, 0] - images.mean((0, 1))),
    "turns_with_the_image": _channel(lambda images: images[:, 0].diff(dim=1, prepend=images[:, 0, :1])),
    "images_kept": _channel(lambda images: images.mul_(2)[:, 0]),
    "global_state": _channel(_set_precision),
}
globals().update({f"channel_{name}": channel for name, channel in CHANNELS.items()})


@hookimpl
def zoo_channels():
    return [ChannelSpec(id=f"brokenothers/{name}", target=f"brokenothers:channel_{name}") for name in CHANNELS]
