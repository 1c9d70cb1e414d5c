"""The public Python interface: what the command line does, as functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.errors import UsageError, nearest
from zoo.host import Host, load_plugins
from zoo.paths import user_path
from zoo.plain_values import check_seed
from zoo.specs import DatasetSpec, ModelSpec, SimulatorSpec

if TYPE_CHECKING:
    from torch import nn

    from zoo.data.split import Split
    from zoo.inference.evaluate import Evaluation, TaskEvaluation
    from zoo.models.trained import TrainedClassifier
    from zoo.results.schema import Finished

PUBLIC_MODULES = (
    "zoo",
    "zoo.api",
    "zoo.data.channels",
    "zoo.data.content",
    "zoo.data.image_cache",
    "zoo.data.image_file",
    "zoo.data.images",
    "zoo.data.rotation",
    "zoo.errors",
    "zoo.hookspecs",
    "zoo.host",
    "zoo.lensing.cosmology",
    "zoo.lensing.draws",
    "zoo.lensing.instrument",
    "zoo.lensing.observe",
    "zoo.lensing.population",
    "zoo.lensing.priors",
    "zoo.lensing.scenes",
    "zoo.locks",
    "zoo.models.own_fit",
    "zoo.models.own_training",
    "zoo.models.residual",
    "zoo.native",
    "zoo.paths",
    "zoo.remote",
    "zoo.report.plots",
    "zoo.results.files",
    "zoo.results.schema",
    "zoo.results.store",
    "zoo.run.launcher",
    "zoo.scores.distributions",
    "zoo.scores.scalars",
    "zoo.specs",
    "zoo.targets",
    "zoo.tasks.task",
    "zoo.testing",
    "zoo.testing.conformance",
    "zoo.testing.launchers",
    "zoo.testing.training_parts",
)
"""Modules that plugins may import. All others can change without notice; docs/plugins.md explains each."""


@cache
def default_host() -> Host:
    """Return the plugins of this process, found once."""
    return load_plugins()


def list_models(
    pattern: str = "*", *, tag: str | None = None, group: str | None = None, host: Host | None = None
) -> list[str]:
    """Return the ids of the networks that fit a wildcard pattern, a tag and a symmetry group."""
    specs = registry.listed(host or default_host(), ModelSpec, pattern=pattern, tag=tag, group=group)
    return [spec.id for spec in specs]


def list_datasets(pattern: str = "*", *, tag: str | None = None, host: Host | None = None) -> list[str]:
    """Return the ids of the data sets that fit a wildcard pattern and a tag."""
    return [spec.id for spec in registry.listed(host or default_host(), DatasetSpec, pattern=pattern, tag=tag)]


def list_simulators(pattern: str = "*", *, host: Host | None = None) -> list[str]:
    """Return the ids of the simulators that fit a wildcard pattern."""
    return [spec.id for spec in registry.listed(host or default_host(), SimulatorSpec, pattern=pattern)]


def create_model(
    name: str,
    *,
    in_chans: int = 1,
    num_classes: int = 3,
    image_size: int = 150,
    host: Host | None = None,
    **hparams: Any,
) -> nn.Module:
    """Return a freshly initialised network that maps images [N, C, H, W] to logits [N, K].

    Args:
        name: Id or bare name, such as "p4m".
        in_chans: C.
        num_classes: K.
        image_size: H and W in pixels.
        host: The plugins; default: all installed ones.
        hparams: Hyper-parameters that differ from the model's defaults; `zoo show NAME` lists them.

    Raises:
        UsageError: An unknown name or hyper-parameter, or an impossible value.
        MissingError: A plugin or library that the model needs is absent.
        TrainingError: The model's own code raises another error.
    """
    from zoo.models.network import build_network

    spec = registry.find(host or default_host(), ModelSpec, name)
    return build_network(spec, in_chans=in_chans, num_classes=num_classes, image_size=image_size, hparams=hparams)


def load(name: str | Path, *, store: str | Path = "results", host: Host | None = None) -> TrainedClassifier:
    """Return a trained classifier, ready to answer: normalisation inside, in evaluation mode, on the CPU.

    Args:
        name: "p4m.modelA"; a file; the folder of a run, or the first digits of its run id; "hf://owner/name".
        store: Store that is searched for run ids.
        host: The plugins; default: all installed ones.

    Raises:
        UsageError: The name is unknown.
        DataError: The file is damaged or altered, the network has changed since, or its predictions differ
            from the golden ones in the file.
        MissingError: The network's plugin is absent, or the hub is out of reach.
    """
    from zoo.models.load import load_weights
    from zoo.weights.find import find_weights

    host = host or default_host()
    return load_weights(host, find_weights(host, str(name), store=user_path(store)))


def evaluate(
    weights: str | Path,
    data: str | None = None,
    *,
    images: int = 2048,
    seed: int = 0,
    angle: float = 0.0,
    average: str = "none",
    simulator: str | None = None,
    device: str = "cpu",
    store: str | Path = "results",
    launcher: str | None = None,
    shards: int | None = None,
    launcher_settings: Sequence[str] | Mapping[str, Any] = (),
    jobs: int | None = None,
    gpus: str = "",
    retries: int = 2,
    host: Host | None = None,
    **params: Any,
) -> Evaluation | TaskEvaluation:
    """Return the scores of trained weights on the test split of a data set; see `zoo evaluate --help`.

    `zoo.inference.evaluate.Evaluation` lists the fields, such as `auc["macro"]`, `intervals` and `confusion`.

    Args:
        weights: Weights, in any form that `load` accepts.
        data: Id or bare name; default: the data set that they were trained on.
        images: Number of images.
        seed: 0 gives the images that `zoo bench` tests on, another one others of the same kind.
        angle: Rotation of every image in degrees before the network.
        average: "none", "p4" or "d4".
        simulator: Id or name; default: the one of the training images.
        device: "auto", "cpu", "cuda" or "mps".
        store: Store that is searched for run ids, and that keeps the answers of shares until all are made.
        launcher: Id or name of a launcher that starts the processes of shares; default: this process.
        shards: Number of shares.
        launcher_settings, jobs, gpus, retries: Options of the launcher, as in `zoo.bench`.
        host: The plugins; default: all installed ones.
        params: Parameters of the data that differ from those of the training images.

    Raises:
        UsageError: An unknown name or parameter, or an impossible value.
        DataError: The weights are damaged, or the images have another shape or other classes.
        MissingError: A plugin that is needed is absent.
        LauncherError: A share has failed; the same call goes on with what is missing.
    """
    from zoo.inference.evaluate import evaluate as score_weights
    from zoo.inference.evaluate import evaluation_recipe
    from zoo.inference.evaluate_shares import joined_scores, run_evaluation
    from zoo.models.load import load_weights
    from zoo.run.launch import device_for, launch_of_call
    from zoo.weights.find import find_weights

    host, store = host or default_host(), user_path(store)
    launch = launch_of_call(
        launcher, shards, launcher_settings=launcher_settings, jobs=jobs, gpus=gpus, retries=retries
    )
    device = device_for(host, launch, device)
    path = find_weights(host, str(weights), store=store)
    trained = load_weights(host, path)
    recipe = evaluation_recipe(host, trained, data=data, params=params, simulator=simulator, seed=seed, device=device)
    if launch is None or shards is None:
        return score_weights(host, trained.to(device), recipe, images=images, angle=angle, average=average)
    joined = run_evaluation(
        host, path, trained, recipe, images=images, angle=angle, average=average, device=device, store=store,
        shares=shards, launch=launch,
    )  # fmt: skip
    joined.check()
    found = joined_scores(host, trained, recipe, joined, images=images, angle=angle, average=average)
    joined.forget()
    return found


def score(
    file: str | Path,
    data: str,
    *,
    budget: str | None = None,
    name: str = "",
    author: str = "",
    cost_note: str = "",
    seed: int = 0,
    seed_file: str | Path | None = None,
    task: str = "",
    simulator: str = "",
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    store: str | Path = "results",
    host: Host | None = None,
) -> Finished:
    """Score predictions that another program made, store them beside runs, and return the result.

    Args:
        file: CSV, npz or parquet file with an id and a probability of each class; see docs/challenges.md.
        data: Id or bare name of a data set, or the folder of an export, which states budget, task, simulator and
            settings.
        budget: Name of the budget whose test images were predicted.
        name: Name of the method; default: that of the file.
        author: Author of the predictions.
        cost_note: Cost of the method, in its author's words.
        seed: Seed of the method's training; predictions of several seeds are one network.
        seed_file: File of the hidden seed of a blind challenge.
        task: Task of the data set.
        simulator: Id or name; default: as in `zoo.bench`.
        settings: Parameters of the data ("data.NAME") and numbers of images, as in `zoo.bench`.
        device: "auto", "cpu" or "cuda".
        store: Store of the result.
        host: The plugins; default: all installed ones.

    Raises:
        UsageError: An unknown name, or predictions that do not fit the test images; nothing is scored partly.
        MissingError: A plugin or library that is needed is absent.
        DataError: The export is damaged, or the store cannot be written.
    """
    from zoo.run.scored import score_file

    return score_file(
        host or default_host(),
        user_path(file),
        data=data,
        budget=budget,
        task=task,
        simulator=simulator,
        settings=settings,
        device=device,
        name=name,
        author=author,
        cost_note=cost_note,
        seed=seed,
        seed_file=None if seed_file is None else user_path(seed_file),
        folder=user_path(store),
    )


def open_dataset(
    name: str,
    *,
    split: str = "train",
    images: int = 1000,
    simulator: str | None = None,
    seed: int = 0,
    device: str = "cpu",
    host: Host | None = None,
    **params: Any,
) -> Split:
    """Return images with labels, ids and parameters; those that are not in the cache are simulated first.

    Args:
        name: Id or bare name, such as "modelB".
        split: "train", "val" or "test".
        images: Number of images.
        simulator: Id or name; default: the one that `zoo list-simulators` marks.
        seed: Another seed gives other images of the same kind, of a simulated data set.
        device: "auto", "cpu" or "cuda", for the simulator.
        host: The plugins; default: all installed ones.
        params: Parameters and priors that differ from the defaults; see `zoo show NAME`.

    Raises:
        UsageError: An unknown name or parameter, or an impossible value.
        MissingError: A plugin or library that is needed is absent.
        DataError: The cache cannot be written.
    """
    from zoo.data.open import Dataset
    from zoo.data.recipe import MOST_IMAGES, SPLITS
    from zoo.devices import resolve_device
    from zoo.plan.overrides import check_plain
    from zoo.plan.recipes import make_recipe

    host = host or default_host()
    if split not in SPLITS:
        raise UsageError(f"split '{split}' is not one of {', '.join(SPLITS)}.{nearest(split, SPLITS)}")
    if type(images) is not int or not 1 <= images <= MOST_IMAGES:
        raise UsageError(f"images={images!r} must be a whole number from 1 to {MOST_IMAGES:,}.")
    check_seed(seed)
    spec = registry.find(host, DatasetSpec, name)
    for param in params:
        if param not in spec.params:
            raise UsageError(f"{spec.id} has no parameter '{param}'.{nearest(param, spec.params)}")
    check_plain(params)
    recipe = make_recipe(
        host,
        spec,
        params={**spec.params, **params},
        simulator=simulator or "",
        device=resolve_device(device),
        seed=seed,
    )
    return Dataset(host, recipe, dict.fromkeys(SPLITS, images)).split(split)
