"""Networks of a model under test: built for each case, and after one training step or one fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo import registry
from zoo.errors import UsageError
from zoo.isolation import contained
from zoo.specs import CLASSIFY, ModelSpec
from zoo.tasks.find import example_task, more_example_tasks, tasks_by_name
from zoo.testing.outcome import NotApplicable, at, require
from zoo.testing.toys import Shape, class_names

if TYPE_CHECKING:
    from torch import Tensor, nn

    from zoo.host import Host
    from zoo.tasks.task import Task

TOLERANCE = 1e-4
"""Largest relative error of float32 logits under a symmetry that is declared exact."""
SHAPES = (Shape(32, 1, 3), Shape(33, 3, 2))


@dataclass(frozen=True, kw_only=True)
class Case:
    """A shape, a task and hyper-parameters that a network is built for.

    Args:
        shape: Images and classes.
        task: A task that the model answers.
        hparams: Hyper-parameters that differ from the defaults.
    """

    shape: Shape
    task: Task
    hparams: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        more = [f"{name}={value}" for name, value in self.hparams.items()]
        task = [] if self.task.name == CLASSIFY else [f"task {self.task.text}"]
        return ", ".join([str(self.shape), *task, *more])


@dataclass
class ModelSubject:
    """A model with the cases that it is tried in; networks are built once for each.

    Args:
        host: The plugins.
        spec: Spec of the model.
        cases: Shapes, tasks and hyper-parameters.
        tolerance: Largest relative error of float32 logits under the declared group.
    """

    host: Host
    spec: ModelSpec
    cases: Sequence[Case]
    tolerance: float = TOLERANCE
    cached: dict[Any, Any] = field(default_factory=dict)

    def build(self, one: Case) -> nn.Module:
        """Return a network of a case, built with seed 0."""
        import torch

        torch.manual_seed(0)
        return build(self.spec, one)

    def accepted(self) -> list[Case]:
        """Return the cases without those that the model refuses by a UsageError; the first one must be accepted.

        A model may refuse sizes, channels and tasks that it is not made for.

        Raises:
            UsageError: It refuses hyper-parameters that differ from the defaults for every task.
        """
        if "accepted" not in self.cached:
            found, refused = list(self.cases[:1]), []
            for one in self.cases[1:]:
                try:
                    self.build(one)
                except UsageError as error:
                    refused.append((one, error))
                    continue
                except Exception:
                    pass  # the check 'builds' reports it
                found.append(one)
            for one, refusal in refused:
                if one.hparams and not any(each.hparams == one.hparams for each in found):
                    raise refusal
            self.cached["accepted"] = found
        cases: list[Case] = self.cached["accepted"]
        return cases

    def images(self, one: Case, count: int = 4) -> Tensor:
        """Return images [count, C, H, W] of a case."""
        import torch

        generator = torch.Generator().manual_seed(1)
        return torch.randn(count, one.shape.channels, one.shape.size, one.shape.size, generator=generator)

    def stepped(self, one: Case) -> nn.Module:
        """Return the network of a case after a training step, or after its fit; both are made once.

        Raises:
            NotApplicable: It cannot be built, which the check 'builds' reports.
            ConformanceError: The step or the fit is at fault.
        """
        if id(one) not in self.cached:
            try:
                with contained():
                    self.cached[id(one)] = self._step(one)
            except Exception as error:
                self.cached[id(one)] = error
        found: nn.Module | Exception = self.cached[id(one)]
        if isinstance(found, Exception):
            raise found
        return found

    def _step(self, one: Case) -> nn.Module:
        try:
            network = self.build(one)
        except Exception:
            raise NotApplicable("it cannot be built, see the check 'builds'") from None
        (fit_once if self.spec.fits_itself else train_once)(self, network, one)
        return network

    def ready(self, one: Case) -> nn.Module:
        """Return the network of a case after a training step, or after its fit, in evaluation mode.

        Raises:
            NotApplicable: It cannot be built or trained, which other checks report.
        """
        try:
            network = self.stepped(one)
            require(network.eval() is network, "eval() returns another object.", hint="train() must return self.")
            return network
        except Exception:
            reason = "it cannot be built or trained, see the checks 'builds', 'trial' and 'one-step'"
            raise NotApplicable(reason) from None

    def each(self) -> Iterator[tuple[Case, nn.Module, Tensor]]:
        """Yield each case with its network after a step, and images."""
        for one in self.accepted():
            network = self.ready(one)
            at(str(one))
            yield one, network, self.images(one)


def model_subject(
    host: Host,
    name: str,
    *,
    shapes: Sequence[Shape] = SHAPES,
    params: Sequence[Mapping[str, Any]] = ({},),
    tolerance: float = TOLERANCE,
) -> ModelSubject:
    """Return a model to be checked.

    Args:
        host: The plugins.
        name: Id or bare name.
        shapes: Shapes of images and numbers of classes that it is built for.
        params: Hyper-parameters that differ from the defaults; each is tried in the first shape.
        tolerance: Largest relative error of float32 logits under the declared group.

    Raises:
        UsageError, MissingError: The model is unknown, or a library is absent.
    """
    spec = registry.find(host, ModelSpec, name)
    tasks = tasks_by_name(host)
    cases = [
        Case(shape=shape, task=example_task(task, tasks, classes=class_names(shape.classes)), hparams=hparams)
        for task in spec.tasks
        for hparams in params
        for shape in (shapes if hparams == params[0] else shapes[:1])
    ]
    cases += [
        Case(shape=shapes[0], task=example)
        for task in spec.tasks
        for example in more_example_tasks(task, tasks, classes=class_names(shapes[0].classes))
    ]
    return ModelSubject(host=host, spec=spec, cases=cases, tolerance=tolerance)


def build(spec: ModelSpec, one: Case) -> nn.Module:
    from zoo.models.network import build_network

    return build_network(
        spec,
        in_chans=one.shape.channels,
        num_classes=one.task.outputs,
        image_size=one.shape.size,
        hparams=one.hparams,
    )


def predict(network: nn.Module, images: Tensor) -> Tensor:
    """Return predictions [N, K] in evaluation."""
    import torch

    from zoo.models.classifier import with_columns

    with torch.no_grad():
        return with_columns(network.eval()(images), images=images)


def train_once(subject: ModelSubject, model: Any, one: Case) -> None:
    """Take one training step.

    Raises:
        ConformanceError: The step changes no weight, or nothing trains the network.
    """
    import torch

    images = subject.images(one)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    model.train()
    for loss in losses_of(model, one):
        loss(images, labels_of(one, len(images))).backward()
    optimizer.step()
    changed = any(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    require(changed, "A training step changes no weight.", hint="Does a gradient reach them, or are they detached?")


def labels_of(one: Case, count: int) -> Tensor:
    """Return labels [count] that the task of a case trains on, or truths [count, T] of a regression."""
    import torch

    allowed, targets = one.task.question.allowed, one.task.question.targets
    if targets:
        return torch.rand(count, len(targets), generator=torch.Generator().manual_seed(2))
    return torch.tensor([allowed[k % len(allowed)] for k in range(count)])


def losses_of(model: nn.Module, one: Case) -> list[Callable[[Tensor, Tensor], Tensor]]:
    """Return what a training lowers, as functions of images and labels: the network's own losses, or that of its task.

    Raises:
        ConformanceError: Neither has one.
    """
    from zoo.models.classifier import with_columns
    from zoo.models.own_training import own_losses

    losses, task = own_losses(model), one.task
    require(
        bool(losses) or task.has_loss,
        f"It has no method loss(images, labels), and the task {task.name} has no loss that trains it.",
    )
    return list(losses) or [lambda images, labels: task.loss(with_columns(model(images), images=images), labels)]


def fit_once(subject: ModelSubject, model: Any, one: Case) -> None:
    """Let a model fit itself to spots in noise, and another one of its kind to the same images.

    The width of a spot depends on its label, or is the truth that the task asks for.

    Raises:
        ConformanceError: The fit changes nothing, or differs from one time to the next.
        TrainingError: The fit failed, or its weights could not be loaded.
    """
    import torch

    from zoo.data.split import Split
    from zoo.lensing.instrument import Instrument
    from zoo.models.own_fit import ImagesToFit, SplitsToFit
    from zoo.train.own_fit import fit_itself

    size, asked = one.shape.size, one.task.question.targets
    truths = [name for key in subject.spec.truths for name in {**subject.spec.defaults, **one.hparams}[key]]

    def images(name: str, count: int, seed: int) -> ImagesToFit:
        generator = np.random.default_rng(seed)
        y, x = np.mgrid[:size, :size] - size / 2
        allowed = one.task.question.allowed
        labels = np.array([allowed[k % len(allowed)] for k in range(count)])
        targets = generator.uniform(2, 5, (count, len(asked))) if asked else None
        widths = 2.0 + labels if targets is None else targets[:, 0]
        spots = np.exp(-(x**2 + y**2) / (2 * widths[:, None, None, None] ** 2))
        noise = generator.normal(size=(count, one.shape.channels, size, size))
        split = Split(
            name=name,
            classes=one.task.question.classes,
            chunks=[(spots + 0.1 * noise).astype(np.float32)],
            labels=labels,
            ids=[f"{name}-{i}" for i in range(count)],
            parameters={truth: generator.normal(size=count) for truth in truths},
            targets=targets,
        )
        return ImagesToFit(split, device=torch.device("cpu"))

    splits = SplitsToFit(
        train=images("train", 24, 0),
        val=images("val", 9, 1),
        params={},
        instrument=Instrument(image_size=size, pixel_scale=0.1),
        recipe_hash=f"conformance {one}",
        seed=0,
    )
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    again = build(subject.spec, one)
    for fitted in (model, again):
        fit_itself(fitted, splits, name=subject.spec.id)
    state = model.state_dict()
    require(any(not torch.equal(before[name], state[name]) for name in state), "The fit changes nothing.")
    same = all(torch.equal(tensor, state[name]) for name, tensor in again.state_dict().items())
    require(same, "Two fits with the same seed differ.", hint="Draw from torch, or from a generator with splits.seed.")
