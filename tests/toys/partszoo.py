"""A plugin file with augmentations, losses and optimisers, of which some break their contract."""

from zoo.hookspecs import hookimpl
from zoo.specs import AugmentationSpec, LossSpec, OptimizerSpec

AUGMENTATIONS = ("flip", "crops", "ignores", "in_place", "raises")
LOSSES = ("smooth", "sums", "vector", "nan", "constant")
OPTIMIZERS = ("sgd", "counts", "nothing", "lacks_one", "forgets", "keeps_objects")


@hookimpl
def zoo_augmentations():
    return [AugmentationSpec(id=f"partszoo/{name}", target=f"partszoo:{name}") for name in AUGMENTATIONS]


@hookimpl
def zoo_losses():
    return [LossSpec(id=f"partszoo/{name}", target=f"partszoo:{name}") for name in LOSSES]


@hookimpl
def zoo_optimizers():
    return [OptimizerSpec(id=f"partszoo/{name}", target=f"partszoo:{name}") for name in OPTIMIZERS]


def flip(images, generator):
    import torch

    chosen = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(chosen[:, None, None, None], images.flip(-1), images)


def crops(images, generator):
    return images[..., 1:]


def ignores(images, generator):
    return images.flip(-1)


def in_place(images, generator):
    import torch

    return images.add_(torch.randn(images.shape, generator=generator))


def raises(images, generator):
    raise RuntimeError("no such images")


def smooth(predictions, labels):
    from torch.nn.functional import cross_entropy

    return cross_entropy(predictions, labels, label_smoothing=0.1)


def sums(predictions, labels):
    return smooth(predictions, labels) * len(labels)


def vector(predictions, labels):
    return predictions[:, 0]


def nan(predictions, labels):
    return smooth(predictions, labels) * float("nan")


def constant(predictions, labels):
    return predictions.mean() * 0 + 1


def sgd(parameters, *, lr, weight_decay):
    import torch

    return torch.optim.SGD(parameters, lr=lr, weight_decay=weight_decay, momentum=0.9)


def nothing(parameters, *, lr, weight_decay):
    return None


def lacks_one(parameters, *, lr, weight_decay):
    return sgd(parameters[1:], lr=lr, weight_decay=weight_decay)


def forgets(parameters, *, lr, weight_decay):
    import torch

    class Forgets(torch.optim.SGD):
        """Its counter is neither in its state nor in its groups."""

        steps = 0

        def step(self, closure=None):
            self.steps += 1
            for group in self.param_groups:
                group["lr"] = 0.01 / self.steps
            return super().step(closure)

    return Forgets(parameters, lr=lr, weight_decay=weight_decay, momentum=0.9)


def counts(parameters, *, lr, weight_decay):
    import torch

    class Counts(torch.optim.Optimizer):
        """Keeps numbers in its groups and beside tensors in its state, as schedule-free optimisers do."""

        def __init__(self, parameters):
            super().__init__(parameters, {"lr": lr, "k": 0, "best": float("inf"), "past": (0, 0.0)})

        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                group["k"] += 1
                group["past"] = (group["k"], group["past"][1] + 0.1)
                group["best"] = min(group["best"], 1 / group["k"])
                for parameter in group["params"]:
                    state = self.state[parameter]
                    state["decay"] = 0.9 * (state.get("decay") or 1.0)
                    state["mean"] = state.get("mean", torch.zeros_like(parameter)).lerp(parameter.grad, 0.3)
                    parameter -= group["lr"] * (1 + state["decay"]) * group["past"][1] * state["mean"] / group["k"]

    return Counts(parameters)


def keeps_objects(parameters, *, lr, weight_decay):
    import torch

    class KeepsObjects(torch.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            self.param_groups[0]["past"] = [object()]

    return KeepsObjects(parameters, lr=lr, weight_decay=weight_decay)
