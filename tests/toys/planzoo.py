"""A plugin file for tests of plans: networks with training settings, and populations that fail in planning."""

import toysky

from zoo.errors import UsageError
from zoo.hookspecs import hookimpl
from zoo.specs import DatasetSpec, ModelSpec, SimulatorSpec


@hookimpl
def zoo_models():
    return [
        ModelSpec(
            id="planzoo/narrow", target="planzoo:none", defaults={"width": 1}, training={"lr": 0.5, "epochs": 77}
        ),
        ModelSpec(id="planzoo/clipped", target="planzoo:none", defaults={"clip": 3, "width": 2}),
    ]


@hookimpl
def zoo_datasets():
    return [
        DatasetSpec(
            id=f"planzoo/{name}",
            target=f"planzoo:{name}",
            classes=("a", "b"),
            simulated=True,
            params={"image_size": 99, "depth": 1},
            budgets={"smoke": {"image_size": 33}},
        )
        for name in ("sky", "needs", "raises", "unimportable")
    ] + [
        DatasetSpec(
            id="planzoo/photos",
            target="planzoo:unimportable",
            check="planzoo:photos_check",
            classes=("a", "b"),
            params={"depth": 1},
        )
    ]


@hookimpl
def zoo_simulators():
    return [SimulatorSpec(id="planzoo/anywhere", target="planzoo:none", device="any")]


class sky:
    def __init__(self, image_size, depth):
        if depth > 5:
            from zoo.errors import UsageError

            raise UsageError(f"depth={depth} is above 5.", hint="Dig less.")
        self.depth = depth

    def sample(self, indices, seed):
        if self.depth < 0:
            raise ArithmeticError("log of a negative depth")
        return toysky.Discs().sample(indices, seed)


def photos_check(depth):
    if depth > 5:
        raise UsageError(f"depth={depth} is above 5.", hint="Dig less.")
    return 1 / (1 + depth)


def raises(image_size, depth):
    return 1 / 0
