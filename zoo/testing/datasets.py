"""Checks of data sets: contract of a population or image set, and leaks of the label that spoil a comparison."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo import registry
from zoo.budgets import BUDGETS
from zoo.data.about import all_params
from zoo.data.recipe import SPLITS
from zoo.data.simulate import COLUMNS
from zoo.errors import MissingError
from zoo.isolation import contained
from zoo.plan.overrides import merge_params
from zoo.plan.recipes import make_recipe
from zoo.plurals import counted
from zoo.specs import DatasetSpec
from zoo.testing.other_process import require_same_elsewhere
from zoo.testing.outcome import ConformanceError, NotApplicable, case, named, require
from zoo.testing.scenes import require_same
from zoo.testing.surroundings import left_as_they_are
from zoo.testing.trainings import own_cache

if TYPE_CHECKING:
    from zoo.data.split import Split
    from zoo.host import Host

SIZES = {"train": 150, "val": 30, "test": 60}
MOST_IMAGES = 600
"""Number of images of an image set that are looked at."""


@dataclass
class DatasetSubject:
    """A data set with the parameters that it is tried with.

    Args:
        host: The plugins.
        spec: Spec of the data set.
        params: Parameters that differ from those of the budget smoke.
        simulator: Id or name; "" for the default one.
    """

    host: Host
    spec: DatasetSpec
    params: Mapping[str, Any] = field(default_factory=dict)
    simulator: str = ""
    cached: dict[str, Any] = field(default_factory=dict)

    def all_params(self, *, budget: str = "smoke") -> dict[str, Any]:
        """Return every parameter of the target.

        Args:
            budget: Name of the budget.

        Raises:
            NotApplicable: A parameter without a default is not given.
        """
        if missing := [name for name in self.spec.required if name not in self.params]:
            given = ", ".join(f'"{name}": ...' for name in missing)
            raise NotApplicable(
                f"it needs {', '.join(missing)}; give them with --set data.{missing[0]}=VALUE, or in a class of tests "
                f"with options = Options(params={{{given}}})"
            )
        return all_params(self.spec, merge_params(self.spec, self.spec.budgets.get(budget, {}), self.params))

    def build(self) -> Any:
        """Return what the target makes, anew."""
        return registry.load_target(self.spec)(**self.all_params())

    def content(self, *, simulated: bool | None = None) -> Any:
        """Return what the target makes, made once.

        Args:
            simulated: Whether a population is wanted; None takes either.

        Raises:
            NotApplicable: It is the other, or cannot be made.
        """
        if simulated is not None and simulated != self.spec.simulated:
            raise NotApplicable("its images exist already" if simulated else "it is simulated")
        if "content" not in self.cached:
            try:
                with contained():
                    self.cached["content"] = self.build()
                    _check_type(self.spec, self.cached["content"])
            except NotApplicable:
                raise
            except Exception:
                self.cached["content"] = None
        if self.cached["content"] is None:
            raise NotApplicable("it cannot be made, see the check 'builds'")
        return self.cached["content"]

    def splits(self) -> dict[str, Split]:
        """Return the splits as the harness opens them, simulated where they are not there.

        Raises:
            NotApplicable: They cannot be opened, which the check 'splits' reports, or no simulator is installed.
        """
        if "splits" not in self.cached:
            try:
                with contained():
                    self.cached["splits"] = self.open_splits()
            except MissingError as error:
                raise NotApplicable(str(error.args[0])) from error
            except NotApplicable:
                raise
            except Exception:
                self.cached["splits"] = None
        found: dict[str, Split] | None = self.cached["splits"]
        if found is None:
            raise NotApplicable("its splits cannot be opened, see the check 'splits'")
        return found

    def open_splits(self) -> dict[str, Split]:
        """Open and check the splits as the harness does."""
        from zoo.data.images import ImageSet
        from zoo.data.open import Dataset

        params = self.all_params()
        recipe = make_recipe(self.host, self.spec, params=params, simulator=self.simulator, device="cpu", seed=0)
        with own_cache():
            dataset = Dataset(self.host, recipe, SIZES)
            for name in SPLITS:
                dataset.check(name)
            found = {name: dataset.split(name) for name in SPLITS}
            if not isinstance(self.content(), ImageSet):  # the files lie in the cache
                for split in found.values():
                    object.__setattr__(split, "chunks", [split.images])
        return found

    def shown(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return images [N, C, H, W] and labels [N] of all splits."""
        found = self.splits().values()
        return np.concatenate([one.images for one in found]), np.concatenate([one.labels for one in found])


def _check_type(spec: DatasetSpec, content: Any) -> None:
    from zoo.data.images import ImageSet
    from zoo.lensing.population import Population

    kind: Any = Population if spec.simulated else ImageSet
    require(
        isinstance(content, kind),
        f"{'simulated' if spec.simulated else 'not simulated'}, but its target returns no {kind.__name__}; it "
        f"returns a {type(content).__name__}.",
        hint="State simulated=True for a population, and return a zoo.data.images.ImageSet otherwise.",
    )


def signature(subject: DatasetSubject) -> None:
    """The target takes its parameters by name."""
    target = registry.load_target(subject.spec)
    try:
        form = inspect.signature(target)
    except (TypeError, ValueError):
        raise NotApplicable("its signature cannot be read") from None
    try:
        form.bind(**dict.fromkeys(subject.spec.params))
    except TypeError as error:
        raise ConformanceError(f"{subject.spec.target}{form} does not take its params: {error}.") from error


def declarations(subject: DatasetSubject) -> None:
    """Classes, budgets, captions, slices and groups of images in the spec mean something."""
    spec = subject.spec
    require(len(spec.classes) >= 2, "It has fewer than two classes.")
    for name in {**spec.budgets, **spec.budget_notes, **spec.budget_phases}:
        require(name in BUDGETS, f"'{name}' is not a budget; those are {', '.join(BUDGETS)}")
    content = subject.content()
    if spec.simulated:
        columns = {*content.sample(np.arange(2), "conformance").parameters, *COLUMNS}
    else:
        columns = set(content.metadata)
    groups = [spec.image_groups] if spec.image_groups else []
    for where, names in (("captions", spec.captions), ("slices", spec.slices), ("image_groups", groups)):
        for name in names:
            require(name in columns, f"{where} name '{name}', which is not a parameter of its images")


def builds(subject: DatasetSubject) -> None:
    """The target returns a population where the spec states it, and an image set otherwise."""
    if subject.cached.get("content") is None:  # else it was made before, and its type was right
        _check_type(subject.spec, subject.build())


def budgets(subject: DatasetSubject) -> None:
    """The target accepts the parameters of every budget."""
    if not subject.spec.budgets:
        raise NotApplicable("its spec declares no budgets")
    subject.all_params()
    for name in subject.spec.budgets:
        if name in BUDGETS:
            with case(f"budget {name}"):
                registry.load_target(subject.spec)(**subject.all_params(budget=name))


def parameter_check(subject: DatasetSubject) -> None:
    """Its `check` accepts the parameters that the target accepts."""
    if subject.spec.check is None:
        raise NotApplicable("its spec declares no check of parameters")
    subject.content()
    registry.load_target(replace(subject.spec, target=subject.spec.check))(**subject.all_params())


def repeatable(subject: DatasetSubject) -> None:
    """Made twice, it has the same images, labels and ids."""
    first, second = subject.content(), subject.build()
    if subject.spec.simulated:
        some = np.arange(6)
        require_same(first.sample(some, "conformance"), second.sample(some, "conformance"), "Made twice, it differs")
        return
    require(list(first.ids) == list(second.ids), "Made twice, it has other ids.")
    require(np.array_equal(first.labels, second.labels), "Made twice, it has other labels.")
    require(
        np.array_equal(first.images[:MOST_IMAGES], second.images[:MOST_IMAGES], equal_nan=True),
        "Made twice, it has other images.",
        hint="Draw from np.random.default_rng(SEED), not from the global generator.",
    )


def other_process(subject: DatasetSubject) -> None:
    """Another process, as that of a cell is, makes the same from any working folder."""
    subject.content()
    require_same_elsewhere(target=subject.spec.target, params=subject.all_params(), simulated=subject.spec.simulated)


def labels(subject: DatasetSubject) -> None:
    """Labels are the indices of the classes, and each class is there."""
    content, classes = subject.content(), subject.spec.classes
    found = np.asarray(content.sample(np.arange(60), "conformance").label if subject.spec.simulated else content.labels)
    require(
        set(np.unique(found)) == set(range(len(classes))),
        f"It has labels {sorted(set(found.tolist()))} for {counted(len(classes), 'class')}.",
        hint="A label is the index of a class in `classes`; each must be there.",
    )


def global_state(subject: DatasetSubject) -> None:
    """Making it leaves settings that all code shares and the working folder as they are."""
    with left_as_they_are():
        subject.content()
        content = subject.build()  # anew: other checks may have made it before
        if subject.spec.simulated:
            content.sample(np.arange(2), "conformance")


CHECKS = named(
    signature, declarations, builds, budgets, parameter_check, repeatable, other_process, labels, global_state
)
