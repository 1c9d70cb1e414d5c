"""Checks of models: contract of a network in evaluation and in one training step, in several shapes and settings."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.global_state import changed_settings
from zoo.plurals import counted
from zoo.specs import CLASSIFY, REFERENCE_SHAPE, ModelSpec
from zoo.tasks.find import CORE, example_task
from zoo.testing.networks import Case, ModelSubject, build, predict
from zoo.testing.outcome import ConformanceError, NotApplicable, case, named, require
from zoo.testing.symmetries import equivariance_after_step, equivariance_before_training
from zoo.testing.toys import Shape, class_names

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.tasks.task import Task


def signature(subject: ModelSubject) -> None:
    """The target takes the keyword arguments of the contract, and its hyper-parameters by name."""
    spec = subject.spec
    try:
        form = inspect.signature(registry.load_target(spec))
    except (TypeError, ValueError):
        raise NotApplicable("its signature cannot be read") from None
    try:
        form.bind(**REFERENCE_SHAPE, **spec.arguments, **spec.defaults)
    except TypeError as error:
        raise ConformanceError(
            f"{spec.target}{form} does not take the arguments of the contract: {error}.",
            hint="Write: def build(*, in_chans, num_classes, image_size, **hyper-parameters)",
        ) from error


def builds(subject: ModelSubject) -> None:
    """The target builds a network for each shape, number of classes and setting."""
    for one in subject.accepted():
        with case(str(one)):
            subject.build(one)


def trial(subject: ModelSubject) -> None:
    """The trial that precedes every training passes: forward, backward, copy, save, build again, load."""
    for one in subject.accepted():
        with case(str(one)):
            _try(subject, one, precision="fp32")


def _try(subject: ModelSubject, one: Case, *, precision: Any) -> None:
    from zoo.models.trial import try_network

    try:
        network = subject.build(one)
    except Exception:
        raise NotApplicable("it cannot be built, see the check 'builds'") from None
    try_network(
        network,
        subject.images(one, 2),
        classes=one.task.outputs,
        build=partial(build, subject.spec, one),
        labels=one.task.question.trained_on,
        name=subject.spec.id,
        trained=not subject.spec.fits_itself,
        precision=precision,
    )


def autocast(subject: ModelSubject) -> None:
    """The trial passes under autocast to bf16 as well, where the spec declares it for a processor."""
    if "cpu" not in subject.spec.bf16_devices:
        raise NotApplicable("bf16_devices leaves out 'cpu'")
    if subject.spec.fits_itself:
        raise NotApplicable("it fits itself")
    with case(str(subject.cases[0])):
        _try(subject, subject.cases[0], precision="bf16")


def one_step(subject: ModelSubject) -> None:
    """A training step changes the weights; a network that fits itself is fitted twice with the same result."""
    for one in subject.accepted():
        with case(str(one)):
            subject.stepped(one)


def finite(subject: ModelSubject) -> None:
    """Predictions in float32 are finite after a training step."""
    import torch

    for _, network, images in subject.each():
        found = predict(network, images)
        require(found.dtype == torch.float32, f"Predictions are of type {found.dtype}, not float32.")
        require(bool(found.isfinite().all()), "Predictions are not finite after a training step.")


def batch_independence(subject: ModelSubject) -> None:
    """In evaluation, an image's predictions do not depend on the other images of its batch."""
    import torch

    for _, network, images in subject.each():
        together = predict(network, images)
        alone = torch.cat([predict(network, image[None]) for image in images])
        _close(
            alone, together, "In evaluation, an image's predictions depend on the other images of its batch", limit=1e-3
        )


def order_independence(subject: ModelSubject) -> None:
    """In evaluation, predictions follow the images when their order changes."""
    for _, network, images in subject.each():
        order = [2, 0, 3, 1]
        _close(
            predict(network, images[order]), predict(network, images)[order],
            "In evaluation, predictions depend on the order of the images", limit=1e-3,
        )  # fmt: skip


def repeatable(subject: ModelSubject) -> None:
    """In evaluation, the same images have the same predictions twice."""
    for _, network, images in subject.each():
        _close(predict(network, images), predict(network, images), "In evaluation, predictions are random", limit=0)


def evaluation_keeps_weights(subject: ModelSubject) -> None:
    """A forward pass in evaluation changes no parameter and no buffer."""
    import torch

    for _, network, images in subject.each():
        before = {name: value.clone() for name, value in network.state_dict().items()}
        predict(network, images)
        after = network.state_dict()
        changed = [name for name in before if not torch.equal(before[name], after[name])]
        require(not changed, f"A forward pass in evaluation changes {', '.join(changed[:3])}.")


def images_kept(subject: ModelSubject) -> None:
    """A forward pass leaves the images that it gets as they are."""
    import torch

    for _, network, images in subject.each():
        given = images.clone()
        predict(network, given)
        require(torch.equal(given, images), "It changes the images that it gets.", hint="Work on a copy of them.")


def state_dict(subject: ModelSubject) -> None:
    """A state dict, loaded into a network built anew, brings back the same predictions."""
    for one, network, images in subject.each():
        again = subject.build(one)
        again.load_state_dict(network.state_dict())
        _close(predict(again, images), predict(network, images), "A state dict gives other predictions", limit=1e-5)


def constant_images(subject: ModelSubject) -> None:
    """Images without structure, such as an empty frame, have finite predictions."""
    import torch

    for _, network, images in subject.each():
        for value in (0.0, 1.0):
            found = predict(network, torch.full_like(images, value))
            require(
                bool(found.isfinite().all()),
                f"Images of {value:g} in all pixels have predictions that are not finite.",
                hint="Guard the division or logarithm, such as by clamp_min(1e-6).",
            )


def nan_contained(subject: ModelSubject) -> None:
    """A pixel that is not a number changes no prediction of the other images."""
    import torch

    for _, network, images in subject.each():
        spoiled = images.clone()
        spoiled[1, 0, 0, 0] = torch.nan
        try:
            found = predict(network, spoiled)[[0, 2, 3]]
        except Exception:
            continue  # it refuses such images
        _close(
            found, predict(network, images)[[0, 2, 3]], "A pixel that is not a number spoils other images", limit=1e-3
        )


def thread_count(subject: ModelSubject) -> None:
    """Predictions do not depend on the number of threads."""
    import torch

    threads = torch.get_num_threads()
    for _, network, images in subject.each():
        found = []
        try:
            for count in (1, 2):
                torch.set_num_threads(count)
                found.append(predict(network, images))
        finally:
            torch.set_num_threads(threads)
        _close(found[0], found[1], "Predictions depend on the number of threads", limit=1e-3)


def global_state(subject: ModelSubject) -> None:
    """Building and using it leaves the settings of torch, NumPy and Python as they are."""
    for one in subject.cases:
        with case(str(one)):
            changed: dict[str, str] = {}
            with changed_settings(changed), contextlib.suppress(Exception):
                predict(build(subject.spec, one), subject.images(one))
            require(not changed, f"It changes {'; '.join(changed.values())}.", hint="Set nothing that all code shares.")


def random_numbers(subject: ModelSubject) -> None:
    """Building it does not set the seed of the random numbers, which that of the run decides."""
    import torch

    one = subject.cases[0]
    with case(str(one)):
        after = []
        for seed in (0, 1):
            torch.manual_seed(seed)
            try:
                build(subject.spec, one)
            except Exception:
                raise NotApplicable("it cannot be built, see the check 'builds'") from None
            after.append(torch.rand(8))
        require(
            not torch.equal(*after),
            "It sets the seed of torch's random numbers: runs with other seeds would be the same.",
            hint="Leave out torch.manual_seed, or draw from a torch.Generator of its own.",
        )


def parameters(subject: ModelSubject) -> None:
    """It has as many parameters as its spec states."""
    check_parameters(subject.spec, task=subject.cases[0].task)


def cost(subject: ModelSubject) -> None:
    """Its multiply-accumulates can be counted, for tables and `--match macs`."""
    from zoo.models.cost import count_macs

    one = subject.cases[0]
    network = subject.ready(one)
    with case("a forward pass whose operations are followed"):
        _, uncounted = count_macs(network, subject.images(one, 1))
    if uncounted:
        raise NotApplicable(f"torch has no formula for {', '.join(uncounted)}; tables show a dash")


def search_space(subject: ModelSubject) -> None:
    """The ends of its search space can be built."""
    names = [name for name in subject.spec.search_space if name in subject.spec.defaults]
    if not names:
        raise NotApplicable("its spec declares no search_space of hyper-parameters")
    shape, task = subject.cases[0].shape, subject.cases[0].task
    for name in names:
        found = subject.spec.search_space[name]
        ends = [found["low"], found["high"]] if isinstance(found, Mapping) else [found[0], found[-1]]
        for value in (
            end for end in ends if end != subject.spec.defaults[name]
        ):  # the check 'builds' builds the default
            with case(f"{name}={value}"):
                subject.build(Case(shape=shape, task=task, hparams={name: value}))


def check_parameters(spec: ModelSpec, *, task: Task | None = None) -> None:
    """Build a model for images of `zoo.specs.REFERENCE_SHAPE` and count its trainable, or fitted, parameters.

    Args:
        spec: Spec of the model.
        task: First task that it answers; None for one of the core.

    Raises:
        NotApplicable: The spec does not state the number.
        ConformanceError: The spec states another number.
    """
    if spec.parameters is None:
        raise NotApplicable("its spec does not state the number")
    task = task or example_task(spec.tasks[0], CORE)
    shape = Shape(REFERENCE_SHAPE["image_size"], REFERENCE_SHAPE["in_chans"], REFERENCE_SHAPE["num_classes"])
    if task.name == CLASSIFY:
        task = example_task(task.name, CORE, classes=class_names(shape.classes))
    model = build(spec, Case(shape=shape, task=task))
    count = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad or spec.fits_itself)
    require(
        count == spec.parameters,
        f"It has {counted(count, 'trainable parameter')}, but its spec states {spec.parameters}.",
        hint=f"State it: parameters={count}",
    )


def _close(found: Tensor, expected: Tensor, problem: str, *, limit: float) -> None:
    """Compare predictions, relative to the largest of them."""
    scale = float(expected.abs().max()) or 1.0
    error = float((found - expected).abs().max()) / scale
    require(error <= limit, f"{problem}, by {error:.1e} of the largest.")


CHECKS = named(
    signature, builds, trial, autocast, one_step, finite, batch_independence, order_independence, repeatable,
    evaluation_keeps_weights, images_kept, state_dict, constant_images, nan_contained, thread_count, global_state,
    random_numbers, parameters, cost, search_space, equivariance_before_training, equivariance_after_step,
)  # fmt: skip
