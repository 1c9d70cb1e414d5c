"""Checks of models: contract of a network in evaluation and in one training step, in several shapes and settings."""

from __future__ import annotations

import contextlib
import gc
import inspect
import random
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo import registry
from zoo.isolation import contained
from zoo.models.cost import count_parameters
from zoo.plurals import counted
from zoo.specs import CLASSIFY, REFERENCE_SHAPE, ModelSpec
from zoo.tasks.find import CORE, example_task
from zoo.testing.networks import Case, ModelSubject, build, labels_of, losses_of, predict, train_once
from zoo.testing.outcome import ConformanceError, NotApplicable, case, named, require
from zoo.testing.predictions import (
    batch_independence,
    channels,
    constant_images,
    finite,
    logits,
    nan_contained,
    order_independence,
    repeatable,
    require_close,
    thread_count,
)
from zoo.testing.surroundings import left_as_they_are
from zoo.testing.symmetries import equivariance_after_step, equivariance_before_training
from zoo.testing.toys import Shape, class_names

if TYPE_CHECKING:
    from zoo.tasks.task import Task


BATCHES = 5
"""Batches that a network predicts, to see whether it keeps them."""


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


def evaluation_keeps_weights(subject: ModelSubject) -> None:
    """A forward pass or its own loss changes no parameter and no buffer in evaluation."""
    import torch

    from zoo.models.own_training import own_losses

    for one, network, images in subject.each():
        before = {name: value.clone() for name, value in network.state_dict().items()}
        predict(network, images)
        for loss in own_losses(network):  # computed of the validation images, too
            with torch.no_grad():
                loss(images, labels_of(one, len(images)))
        after = network.state_dict()
        changed = [name for name in before if not torch.equal(before[name], after[name])]
        require(not changed, f"In evaluation, it changes {', '.join(changed[:3])}.")


def images_kept(subject: ModelSubject) -> None:
    """A forward pass and a loss leave the images and labels that they get as they are, also in training."""
    import torch

    for one, network, images in subject.each():
        given, labels = images.clone(), labels_of(one, len(images))
        predict(network, given)
        if not subject.spec.fits_itself:
            with contextlib.suppress(Exception):  # the check 'one-step' reports it
                for loss in losses_of(subject.build(one).train(), one):
                    loss(given, labels)
        same = torch.equal(given, images) and torch.equal(labels, labels_of(one, len(images)))
        require(same, "It changes the images or labels that it gets.", hint="Work on a copy of them.")


def device(subject: ModelSubject) -> None:
    """What it computes with moves to another device with it, as parameters and buffers do."""
    from zoo.models.copies import copy_of

    one = subject.cases[0]
    try:
        # A copy: e2cnn shares modules between networks, which would stay there.
        network = copy_of(subject.build(one)).to("meta")
    except Exception:
        raise NotApplicable("it cannot be built or moved without values") from None
    try:
        predict(network, subject.images(one).to("meta"))
    except Exception as error:
        require(
            "device" not in str(error) or "meta" not in str(error),
            f"On another device, it meets a tensor that stayed behind: {str(error).splitlines()[0]}",
            hint="Use register_buffer for constant tensors, and device=images.device for new ones.",
        )
        raise NotApplicable("it cannot be followed without values of the pixels") from None


def all_trained(subject: ModelSubject) -> None:
    """A gradient reaches each parameter that is counted as trainable."""
    if subject.spec.fits_itself:
        raise NotApplicable("it fits itself")
    one = subject.cases[0]
    network = subject.ready(one)
    images = subject.images(one)
    network.train().zero_grad()
    for loss in losses_of(network, one):
        loss(images, labels_of(one, len(images))).backward()
    unused = [name for name, value in network.named_parameters() if value.requires_grad and value.grad is None]
    require(
        not unused,
        f"No gradient reaches {', '.join(unused[:3])}: it is trained with fewer parameters than tables state.",
        hint="Leave out unused layers, or set requires_grad_(False).",
    )


def state_dict(subject: ModelSubject) -> None:
    """A state dict, loaded into a network built anew, brings back the same predictions."""
    for one, network, images in subject.each():
        again = subject.build(one)
        again.load_state_dict(network.state_dict())
        # Another first batch, which the network may keep something of.
        found = predict(again, images[2:])
        require_close(found, predict(network, images)[2:], "A state dict gives other predictions", limit=1e-3)
        require_close(
            predict(again, images), predict(network, images), "A state dict gives other predictions", limit=1e-5
        )


def global_state(subject: ModelSubject) -> None:
    """Building, training and using it leaves settings that all code shares and the working folder as they are."""
    for one in subject.cases:
        with case(str(one)), left_as_they_are(), contextlib.suppress(Exception), contained():
            network = build(subject.spec, one)
            predict(network, subject.images(one))
            train_once(subject, network, one)


def random_numbers(subject: ModelSubject) -> None:
    """Building it does not set the seed of the random numbers, which that of the run decides."""
    import torch

    one = subject.cases[0]
    with case(str(one)):
        after = []
        for seed in (0, 1):
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002 - the global generator is what is watched
            random.seed(seed)
            try:
                build(subject.spec, one)
            except Exception:
                raise NotApplicable("it cannot be built, see the check 'builds'") from None
            shared = np.random.random()  # noqa: NPY002 - see above
            after.append({"torch": torch.rand(8).tolist(), "NumPy": shared, "Python": random.random()})
        for name in after[0]:
            require(
                after[0][name] != after[1][name],
                f"It sets the seed of the random numbers of {name}: runs with other seeds would be the same.",
                hint="Leave the seed out, or draw from a generator of its own.",
            )


def memory(subject: ModelSubject) -> None:
    """It keeps nothing of the images that it has seen: the number of tensors does not grow with the batches."""
    import torch

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())

    one = subject.cases[0]
    network, images = subject.ready(one), subject.images(one)
    predict(network, images)
    before = tensors()
    for _ in range(BATCHES):
        predict(network, images)
    kept = tensors() - before
    require(
        kept < BATCHES,
        f"It keeps {counted(kept, 'tensor')} of {BATCHES} batches: memory runs out in a long training.",
        hint="Keep the last one at most, detached.",
    )


def twins(subject: ModelSubject) -> None:
    """The twins that its spec names exist."""
    own = [name for name in subject.spec.twins if name.partition("/")[0] == subject.spec.namespace]
    if not own:
        raise NotApplicable("its spec names no twins of its plugin")
    for name in own:
        registry.find(subject.host, ModelSpec, name)


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
    """Build a model for images of `zoo.specs.REFERENCE_SHAPE` and count its parameters.

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
    count = count_parameters(model)
    require(
        count == spec.parameters,
        f"It has {counted(count, 'parameter')}, but its spec states {spec.parameters}.",
        hint=f"State it: parameters={count}",
    )


CHECKS = named(
    signature, builds, trial, autocast, one_step, all_trained, finite, logits, channels, batch_independence,
    order_independence, repeatable, evaluation_keeps_weights, images_kept, state_dict, constant_images, nan_contained,
    thread_count, device, global_state, random_numbers, memory, twins, parameters, cost, search_space,
    equivariance_before_training, equivariance_after_step,
)  # fmt: skip
