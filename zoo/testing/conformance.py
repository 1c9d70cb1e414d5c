"""Checks of the contracts in `zoo.specs`, for plugin authors: each raises ConformanceError with what is wrong.

from zoo.host import load_plugins
from zoo.testing.conformance import check_model

def test_my_model():
    check_model(load_plugins(), "mine/my_model")
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo import registry
from zoo.budgets import BUDGETS
from zoo.data.simulate import COLUMNS
from zoo.errors import DataError, TrainingError
from zoo.plan.overrides import data_params
from zoo.plurals import counted
from zoo.specs import REFERENCE_SHAPE, ChannelSpec, DatasetSpec, ModelSpec, SimulatorSpec
from zoo.tasks.find import CORE, example_task, tasks_by_name

if TYPE_CHECKING:
    from zoo.host import Host
    from zoo.lensing.scenes import Scenes
    from zoo.tasks.task import Task


class ConformanceError(AssertionError):
    """A contract is broken."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConformanceError(message)


def check_model(host: Host, name: str, *, image_sizes: Sequence[int] = (64, 65), tolerance: float = 1e-4) -> None:
    """Build, run, train one step, save and load a model.

    The trial of `zoo.models.trial`, which `zoo bench` runs before every training, checks the shape and type of the
    logits, the backward pass, copying, saving and loading. Beyond it, this checks that batches do not mix in
    evaluation, that a training step changes the weights and keeps everything finite, that a state dict brings back the
    same logits, that a model which is declared exactly invariant is, and that it has as many parameters as stated. A
    model that fits itself is fitted to a few images of noise instead of trained, twice with the same result.

    Args:
        host: The plugins.
        name: Id or bare name.
        image_sizes: Each is tried.
        tolerance: Largest allowed relative error of float32 logits under the declared group.

    Raises:
        ConformanceError: A contract is broken.
        UsageError: The model is unknown or refuses one of the sizes.
    """
    import torch

    from zoo.models.classifier import Classifier, with_columns
    from zoo.models.trial import try_network
    from zoo.scores.equivariance import measure_equivariance

    spec = registry.find(host, ModelSpec, name)
    tasks = [example_task(name, tasks_by_name(host)) for name in spec.tasks]
    check_parameters(spec, task=tasks[0])
    for size, task in product(image_sizes, tasks):
        label = f"{spec.id} at {size} x {size}" + (f" for the task {task.name}" if len(tasks) > 1 else "")
        torch.manual_seed(0)
        model = _build(spec, size, task)
        images = torch.randn(4, 1, size, size)
        try:
            try_network(
                model,
                images[:2],
                classes=task.outputs,
                build=partial(_build, spec, size, task),
                labels=task.question.trained_on,
                name=label,
                trained=not spec.fits_itself,
                # As `--precision auto` trains it on some processors; the step below is in float32.
                precision="bf16" if "cpu" in spec.bf16_devices else "fp32",
            )
            if spec.fits_itself:
                _fit_once(spec, model, size, task)
            else:
                _train_once(model, images, label, task)
        except TrainingError as error:
            raise ConformanceError(str(error.args[0])) from error
        model.eval()
        with torch.no_grad():
            together = with_columns(model(images), images=images)
            alone = torch.cat([with_columns(model(image[None]), images=image[None]) for image in images])
        _require(bool(torch.isfinite(together).all()), f"{label}: logits are not finite after a training step")
        scale = float(together.abs().max()) or 1.0
        _require(
            float((together - alone).abs().max()) <= 1e-3 * scale,
            f"{label}: in evaluation an image's logits depend on the other images of its batch",
        )
        copy = _build(spec, size, task)
        copy.load_state_dict(model.state_dict())
        copy.eval()
        with torch.no_grad():
            restored = with_columns(copy(images), images=images)
        _require(
            float((together - restored).abs().max()) <= 1e-5 * scale,
            f"{label}: a state dict, saved and loaded, gives other logits",
        )
        if spec.equivariance == "exact":
            declared = measure_equivariance(Classifier(model, channels=1), images, spec.group).declared
            measured = None if declared is None else declared.error
            _require(measured is not None, f"{label}: the logits are the same for all images")
            _require(
                measured is not None and measured <= tolerance,
                f"{label}: declared exact under {spec.group}, measured error {measured:.1e}",
            )


def _train_once(model: Any, images: Any, label: str, task: Task) -> None:
    """Take one training step.

    Raises:
        ConformanceError: The step changes no weight, predictions are of another type than float32, or nothing trains
            the network.
    """
    import torch

    from zoo.models.classifier import with_columns
    from zoo.models.own_training import own_losses

    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    model.train()
    logits = with_columns(model(images), images=images)
    _require(logits.dtype == torch.float32, f"{label}: logits of type {logits.dtype}, not float32")
    allowed = task.question.allowed
    labels = torch.tensor([allowed[k % len(allowed)] for k in range(len(images))])
    losses = own_losses(model)
    _require(
        bool(losses) or task.has_loss,
        f"{label}: it has no method loss(images, labels), and the task {task.name} has no loss that trains it",
    )
    for loss in losses or [lambda images, labels: task.loss(with_columns(model(images), images=images), labels)]:
        loss(images, labels).backward()
    optimizer.step()
    changed = any(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    _require(changed, f"{label}: a training step changes no weight")


def _fit_once(spec: ModelSpec, model: Any, size: int, task: Task) -> None:
    """Let a model fit itself to spots in noise, and another one of its kind to the same images.

    Raises:
        ConformanceError: The fit changes nothing, differs from one time to the next, or the logits are of another type
            than float32.
        TrainingError: The fit failed, or its weights could not be loaded.
    """
    import torch

    from zoo.data.split import Split
    from zoo.lensing.instrument import Instrument
    from zoo.models.own_fit import ImagesToFit, SplitsToFit
    from zoo.train.own_fit import fit_itself

    def images(name: str, count: int, seed: int) -> ImagesToFit:
        generator = np.random.default_rng(seed)
        y, x = np.mgrid[:size, :size] - size / 2
        allowed = task.question.allowed
        labels = np.array([allowed[k % len(allowed)] for k in range(count)])
        spots = np.exp(-(x**2 + y**2) / (2 * (2.0 + labels[:, None, None]) ** 2))
        pixels = (spots + 0.1 * generator.normal(size=(count, size, size))).astype(np.float32)
        split = Split(
            name=name,
            classes=("a", "b", "c"),
            chunks=[pixels[:, None]],
            labels=labels,
            ids=[f"{name}-{i}" for i in range(count)],
            targets=labels[:, None].astype(np.float64) if task.question.targets else None,
        )
        return ImagesToFit(split, device=torch.device("cpu"))

    splits = SplitsToFit(
        train=images("train", 24, 0),
        val=images("val", 9, 1),
        params={},
        instrument=Instrument(image_size=size, pixel_scale=0.1),
        recipe_hash="conformance",
        seed=0,
    )
    label = f"{spec.id} at {size} x {size}"
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    again = _build(spec, size, task)
    for fitted in (model, again):
        fit_itself(fitted, splits, name=spec.id)
    state = model.state_dict()
    _require(any(not torch.equal(before[name], state[name]) for name in state), f"{label}: the fit changes nothing")
    same = all(torch.equal(tensor, state[name]) for name, tensor in again.state_dict().items())
    _require(same, f"{label}: two fits with the same seed differ")
    with torch.no_grad():
        logits = model(next(splits.val.batches())[0])
    _require(logits.dtype == torch.float32, f"{label}: logits of type {logits.dtype}, not float32")


def check_parameters(spec: ModelSpec, *, task: Task | None = None) -> None:
    """Build a model for images of `zoo.specs.REFERENCE_SHAPE` and count its trainable, or fitted, parameters.

    Args:
        spec: Spec of the model.
        task: First task that it answers; None for one of the core.

    Raises:
        ConformanceError: The spec states another number; a spec without the number is accepted.
    """
    if spec.parameters is None:
        return
    model = _build(spec, REFERENCE_SHAPE["image_size"], task or example_task(spec.tasks[0], CORE))
    count = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad or spec.fits_itself)
    _require(
        count == spec.parameters,
        f"{spec.id}: {counted(count, 'trainable parameter')}, but its spec states {spec.parameters}",
    )


def _build(spec: ModelSpec, size: int, task: Task) -> Any:
    from zoo.models.network import build_network

    try:
        return build_network(spec, **{**REFERENCE_SHAPE, "num_classes": task.outputs, "image_size": size}, hparams={})
    except TrainingError as error:
        raise ConformanceError(f"{spec.id} at {size} x {size}: {error}") from error


def check_dataset(host: Host, name: str) -> None:
    """Sample a population, or read an image set, and look for what breaks training or leaks the label.

    Raises:
        ConformanceError: A contract is broken.
    """
    from zoo.data.images import ImageSet
    from zoo.lensing.population import Population

    spec = registry.find(host, DatasetSpec, name)
    _require(len(spec.classes) >= 2, f"{spec.id}: fewer than two classes")
    for name in {**spec.budgets, **spec.budget_notes, **spec.budget_phases}:
        _require(name in BUDGETS, f"{spec.id}: '{name}' is not a budget; those are {', '.join(BUDGETS)}")
    content: Any = registry.load_target(spec)(**spec.params)
    if spec.simulated:
        _require(isinstance(content, Population), f"{spec.id}: simulated, but its target returns no Population")
        indices = np.arange(60)
        scenes = content.sample(indices, "conformance")
        again = content.sample(indices[20:30], "conformance")
        other = content.sample(indices, "another stream")
        labels = scenes.label
        columns = {*scenes.parameters, *COLUMNS}
        _require(bool((labels[20:30] == again.label).all()), f"{spec.id}: a label depends on the batch")
        _require(np.array_equal(scenes.source.x[20:30], again.source.x), f"{spec.id}: a scene depends on the batch")
        _require(not np.array_equal(scenes.source.x, other.source.x), f"{spec.id}: streams share their scenes")
    else:
        _require(isinstance(content, ImageSet), f"{spec.id}: its target returns no ImageSet")
        labels = np.asarray(content.labels)
        columns = set(content.metadata)
        _require(str(content.images.dtype) == "float32", f"{spec.id}: images of type {content.images.dtype}")
    for field, names in (("captions", spec.captions), ("slices", spec.slices)):
        for name in names:
            _require(name in columns, f"{spec.id}: {field} name '{name}', which is not a parameter of its images")
    _require(
        set(np.unique(labels)) == set(range(len(spec.classes))),
        f"{spec.id}: labels {sorted(set(labels.tolist()))} for {counted(len(spec.classes), 'class')}",
    )


def check_simulator(host: Host, name: str, dataset: str) -> None:
    """Render a few scenes of a data set and check shapes, finiteness, independence of the batch and declared masses.

    Raises:
        ConformanceError: A contract is broken.
    """
    spec = registry.find(host, SimulatorSpec, name)
    render = registry.load_target(spec)
    spec_of_data = registry.find(host, DatasetSpec, dataset)
    population = registry.load_target(spec_of_data)(**data_params(spec_of_data, BUDGETS["smoke"], {}))
    scenes = population.sample(np.arange(6), "conformance")

    def images(chosen: Any) -> Any:
        return render(chosen, population.instrument, device="cpu", expected_images=6).source.numpy()

    together = images(scenes)
    shape = (6, population.instrument.image_size, population.instrument.image_size)
    _require(together.shape == shape, f"{spec.id}: images of shape {together.shape}, not {shape}")
    _require(bool(np.isfinite(together).all()), f"{spec.id}: images are not finite")
    _require(bool((together.max((1, 2)) > 0).all()), f"{spec.id}: an image is empty")
    _require(np.array_equal(together[2:4], images(scenes[2:4])), f"{spec.id}: an image depends on its batch")
    for name in spec.masses:
        with_mass = images(_with_mass(scenes, name))
        _require(
            bool((np.abs(with_mass - together).max((1, 2)) > 1e-3 * together.max((1, 2))).all()),
            f"{spec.id}: its spec declares masses={name!r}, but it renders the same images without them",
        )


def check_channel(host: Host, name: str, dataset: str) -> None:
    """Compute a channel for images of a data set and check its form, finiteness, and independence of the batch.

    Raises:
        ConformanceError: A contract is broken.
    """
    from zoo.data.channels import read_channels
    from zoo.data.open import Dataset
    from zoo.plan.recipes import make_recipe

    spec, of_data = registry.find(host, ChannelSpec, name), registry.find(host, DatasetSpec, dataset)
    recipe = make_recipe(
        host, of_data, params=data_params(of_data, BUDGETS["smoke"], {}), simulator="", device="cpu",
        channels=read_channels(host, ["image", spec.id]),
    )  # fmt: skip
    simulation = Dataset(host, recipe, {}).simulation(expected_images=4)
    _, observed = simulation.expose("conformance", np.arange(4))
    images = observed.image[:, None]
    try:
        together = simulation.with_channels(images)[:, 1]
        alone = simulation.with_channels(images[:1])[:, 1]
        turned = simulation.with_channels(images.rot90(1, (2, 3)))[:, 1].rot90(-1, (1, 2))
    except DataError as error:
        raise ConformanceError(str(error)) from error
    _require(bool(together.isfinite().all()), f"{spec.id}: the channel is not finite")
    spread = float(together.std())
    _require(spread > 1e-6 * float(together.abs().max()), f"{spec.id}: the channel is the same number everywhere")
    for other, what in ((alone, "depends on the other images of its batch"), (turned, "does not turn with the image")):
        _require(float((other - together[: len(other)]).abs().max()) < 0.1 * spread, f"{spec.id}: the channel {what}")


def _with_mass(scenes: Scenes, name: str) -> Scenes:
    """Return scenes with a mass that `SimulatorSpec.masses` names, large enough to be seen."""
    from zoo.lensing.scenes import Multipoles, TruncatedHaloes

    one = np.ones(len(scenes))
    if name == "multipoles":
        bent = Multipoles(amplitude_3=0.1 * one, angle_3=one, amplitude_4=0.1 * one, angle_4=one)
        return dataclasses.replace(scenes, multipoles=bent)
    column = one[:, None]
    haloes = TruncatedHaloes(
        x=column, y=column, einstein_radius=0.5 * column, scale_radius=0.5 * column, truncation_radius=2 * column
    )
    return dataclasses.replace(scenes, truncated_haloes=haloes)
