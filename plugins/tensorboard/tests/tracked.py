"""A plugin file for the tests: a data set and a network that are quick, and a network that fails."""

from zoo import DatasetSpec, ModelSpec, hookimpl


@hookimpl
def zoo_models():
    return [ModelSpec(id=f"tracked/{name}", target=f"tracked:{name}") for name in ("linear", "raises")]


@hookimpl
def zoo_datasets():
    return [DatasetSpec(id="tracked/noise", target="tracked:noise", classes=("a_b", "c"))]


def linear(*, in_chans, num_classes, image_size):
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(in_chans * image_size**2, num_classes))


def raises(*, in_chans, num_classes, image_size):
    raise RuntimeError("no such luck")


def noise():
    import numpy as np

    from zoo.data.images import ImageSet

    labels = np.arange(240) % 2
    images = np.random.default_rng(0).normal(size=(240, 1, 8, 8)) + 0.1 * labels[:, None, None, None]
    return ImageSet(images=images.astype(np.float32), labels=labels, ids=[f"n{i}" for i in range(240)], metadata={})
