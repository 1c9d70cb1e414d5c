"""The public Python interface: what the command line does, as functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.errors import UsageError, nearest
from zoo.host import Host, load_plugins
from zoo.specs import DatasetSpec, LauncherSpec, ModelSpec, SimulatorSpec

if TYPE_CHECKING:
    from torch import nn

    from zoo.data.split import Split
    from zoo.models.trained import TrainedClassifier
    from zoo.results.cell import Cell
    from zoo.results.schema import RunResult
    from zoo.run.where import Where


@cache
def _default_host() -> Host:
    """Return the plugins of this process, found once."""
    return load_plugins()


def list_models(
    pattern: str = "*", *, tag: str | None = None, group: str | None = None, host: Host | None = None
) -> list[str]:
    """Return the ids of the networks that fit a wildcard pattern, a tag and a symmetry group."""
    specs = registry.listed(host or _default_host(), ModelSpec, pattern=pattern, tag=tag, group=group)
    return [spec.id for spec in specs]


def list_datasets(pattern: str = "*", *, tag: str | None = None, host: Host | None = None) -> list[str]:
    """Return the ids of the data sets that fit a wildcard pattern and a tag."""
    return [spec.id for spec in registry.listed(host or _default_host(), DatasetSpec, pattern=pattern, tag=tag)]


def list_simulators(pattern: str = "*", *, host: Host | None = None) -> list[str]:
    """Return the ids of the simulators that fit a wildcard pattern."""
    return [spec.id for spec in registry.listed(host or _default_host(), SimulatorSpec, pattern=pattern)]


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
        name: id or bare name, such as "p4m".
        in_chans: C.
        num_classes: K.
        image_size: H and W in pixels.
        host: the plugins; default: all installed ones.
        hparams: hyper-parameters that differ from the model's defaults; see `zoo show NAME`.

    Raises:
        UsageError: an unknown name or hyper-parameter, or an impossible value.
        MissingError: a plugin or library that the model needs is absent.
        TrainingError: the model's own code raises another error.
    """
    from zoo.models.network import build_network

    spec = registry.find(host or _default_host(), ModelSpec, name)
    return build_network(spec, in_chans=in_chans, num_classes=num_classes, image_size=image_size, hparams=hparams)


def load(name: str | Path, *, store: str | Path = "results", host: Host | None = None) -> TrainedClassifier:
    """Return a trained classifier, ready to answer: normalisation inside, in evaluation mode, on the CPU.

    Args:
        name: "p4m.modelA"; a file; the folder of a run, or the first digits of its run id; "hf://owner/name".
        store: where run ids are looked for.
        host: the plugins; default: all installed ones.

    Raises:
        UsageError: nothing has this name.
        DataError: the file is damaged or altered, the network has changed since, or it gives other predictions
            than the golden ones in the file.
        MissingError: the network's plugin is absent, or the hub is out of reach.
    """
    from zoo.models.load import load_weights
    from zoo.weights.find import find_weights

    host = host or _default_host()
    return load_weights(host, find_weights(host, str(name), store=Path(store)))


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
    host: Host | None = None,
    **params: Any,
) -> dict[str, Any]:
    """Return the scores of trained weights on the test split of a data set; see `zoo evaluate --help`.

    Args:
        weights: as for `load`.
        data: id or bare name; default: the data set that they were trained on.
        images: how many.
        seed: 0 gives the images that `zoo bench` tests on, another one others of the same kind.
        angle: turn every image by so many degrees first.
        average: "none", "p4" or "d4".
        simulator: id or name; default: the one of the training images.
        device: "cpu", "cuda" or "mps".
        store: where run ids are looked for.
        host: the plugins; default: all installed ones.
        params: of the data, that differ from those of the training images.

    Returns:
        "auc" (class, "macro", "micro"), "intervals", "accuracy", "confusion" and so on; see
        `zoo.inference.evaluate.evaluate`.

    Raises:
        UsageError: an unknown name or parameter, or an impossible value.
        DataError: the weights are damaged, or the images have another shape or other classes.
        MissingError: a plugin that is needed is absent.
    """
    from zoo.devices import resolve_device
    from zoo.inference.evaluate import evaluate as score_weights
    from zoo.inference.evaluate import evaluation_recipe

    host, device = host or _default_host(), resolve_device(device)
    trained = load(weights, store=store, host=host).to(device)
    recipe = evaluation_recipe(host, trained, data=data, params=params, simulator=simulator, seed=seed, device=device)
    return score_weights(host, trained, recipe, images=images, angle=angle, average=average)


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
        name: id or bare name, such as "modelB".
        split: "train", "val" or "test".
        images: how many.
        simulator: id or name; default: the one that `zoo list-simulators` marks.
        seed: another seed gives other images of the same kind.
        device: "auto", "cpu" or "cuda", for the simulator.
        host: the plugins; default: all installed ones.
        params: parameters and priors that differ from the defaults; see `zoo show NAME`.

    Raises:
        UsageError: an unknown name or parameter, or an impossible value.
        MissingError: a plugin or library that is needed is absent.
        DataError: the cache cannot be written.
    """
    from zoo.data.open import Dataset
    from zoo.data.recipe import SPLITS, canonical_json
    from zoo.data.shards import MOST_IMAGES
    from zoo.devices import resolve_device
    from zoo.plan.recipes import make_recipe

    host = host or _default_host()
    if split not in SPLITS:
        raise UsageError(f"split '{split}' is not one of {', '.join(SPLITS)}.{nearest(split, SPLITS)}")
    if type(images) is not int or not 1 <= images <= MOST_IMAGES:
        raise UsageError(f"images={images!r} must be a whole number from 1 to {MOST_IMAGES:,}.")
    if type(seed) is not int or not 0 <= seed < 2**63:
        raise UsageError(f"seed={seed!r} must be a whole number, 0 or more.")
    spec = registry.find(host, DatasetSpec, name)
    for param in params:
        if param not in spec.params:
            raise UsageError(f"{spec.id} has no parameter '{param}'.{nearest(param, spec.params)}")
    try:
        canonical_json(params)
    except (TypeError, ValueError) as error:
        raise UsageError(f"A parameter is not a finite number, text or list of them: {error}.") from error
    recipe = make_recipe(
        host,
        spec,
        params={**spec.params, **params},
        simulator=simulator or "",
        device=resolve_device(device),
        seed=seed,
    )
    return Dataset(host, recipe, dict.fromkeys(SPLITS, images)).split(split)


def bench(
    model: str | Sequence[str],
    data: str | Sequence[str],
    *,
    seeds: Sequence[int] = (0,),
    budget: str | None = None,
    simulator: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    rule: str = "val_auc",
    task: str = "",
    match: str = "",
    settings: Mapping[str, Any] | None = None,
    images: str | Path | None = None,
    store: str | Path = "results",
    force: bool = False,
    devices: int = 1,
    num_nodes: int = 1,
    launcher: str = "core/local",
    host: Host | None = None,
) -> list[RunResult]:
    """Train and score every model on every data set with every seed; return one result a cell.

    Cells that are in the store already are returned at once. A cell that fails has the status "failed" or "oom" and an
    `error`; the others still run. Of one that ended well, `result.test.auc["macro"]` and so on are the scores, and
    `result.run_dir` is the folder with weights, predictions and history; see `zoo.results.schema`.

    Args:
        model, data: names, comma lists, wildcards, or sequences of them.
        seeds: of initialisation, order and augmentation.
        budget: "smoke", "laptop" or "paper"; default: the one that suits the device.
        simulator: id or name; default: the one that `zoo list-simulators` marks.
        device: "auto", "cpu", "cuda" or "mps".
        precision: "auto", "fp32", "tf32" or "bf16".
        rule: "val_auc" or "last": which epoch's weights are kept.
        task: which classes are one, such as "substructure" (none against any); "" tells all of them apart.
        match: "params", "macs" or "time": cost of the first model to which the others' widths are scaled.
        settings: as `--set` on the command line: {"lr": 3e-4, "data.snr": 50, "stream": True}.
        images: folder that `zoo simulate` made; default: the cache, which is filled.
        store: folder of the results.
        force: run cells again that are in the store.
        devices: GPUs (or, with device "cpu", processes) that train one network together.
        num_nodes: nodes that train one network together; a launcher must start its processes there.
        launcher: id or name of what runs the cells.
        host: the plugins; default: all installed ones.

    Raises:
        UsageError: an unknown name or an impossible value.
        MissingError: a plugin or library that is needed is absent.
        DataError: the store cannot be written.
    """
    from zoo.plan.cells import make_plan
    from zoo.plan.request import Request
    from zoo.run.where import Where

    host = host or _default_host()
    folder = None if images is None else Path(images)
    request = Request(
        models=[model] if isinstance(model, str) else model,
        data=[data] if isinstance(data, str) else data,
        seeds=seeds,
        budget=budget,
        simulator=simulator or "",
        device=device,
        precision=precision,
        rule=rule,
        task=task,
        match=match,
        images=folder,
        settings=settings or {},
        store=store,
    )
    where = Where(device=device, images=folder, force=force, devices=devices, num_nodes=num_nodes)
    return _run(host, make_plan(host, request), store=store, where=where, launcher=launcher)


def bench_suite(
    path: str | Path,
    *,
    device: str = "auto",
    store: str | Path = "results",
    force: bool = False,
    devices: int = 1,
    num_nodes: int = 1,
    launcher: str = "core/local",
    host: Host | None = None,
    **changes: Any,
) -> list[RunResult]:
    """Run the cells of a suite, as `zoo bench SUITE.toml` does; return one result a cell.

    Models and data sets that are not installed are left out with a warning.

    Args:
        path: File of the suite.
        device, store, force, devices, num_nodes, launcher, host: As for `bench`.
        changes: Fields of `zoo.plan.request.Request` that override the file, such as `models`, `seeds` or `budget`;
            `settings` are added to those of the file.

    Raises:
        UsageError: The file is missing or invalid, or a value is impossible.
        MissingError: No model or data set of the file is installed.
        DataError: The store cannot be written.
    """
    import logging

    from zoo.plan.suite import plan_suite
    from zoo.plan.suite_file import KEYS, changed, read_suite
    from zoo.run.where import Where

    host, suite = host or _default_host(), read_suite(Path(path))
    allowed = [name for name in KEYS if name not in ("title", "expected")]
    for name in changes:
        if name not in allowed:
            raise UsageError(f"A suite has no field '{name}'.{nearest(name, allowed)}")
    told: dict[str, Any] = {name: [value] if name in ("models", "data") and isinstance(value, str) else value
            for name, value in changes.items()}  # fmt: skip
    if "budget" in told:
        told["budgets"] = [told.pop("budget")]
    if "settings" in told:
        given = told.pop("settings")
        told["variants"] = [dict(variant) | dict(given) for variant in suite.variants]
    plan = plan_suite(host, changed(suite, device=device, store=store, **told))
    for problem in plan.problems:
        logging.getLogger(__name__).warning("%s: %s", path, problem)
    where = Where(device=device, force=force, devices=devices, num_nodes=num_nodes)
    return _run(host, plan.cells, store=store, where=where, launcher=launcher)


def bench_study(
    name: str,
    *,
    seeds: Sequence[int] = (0,),
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    images: str | Path | None = None,
    store: str | Path = "results",
    force: bool = False,
    devices: int = 1,
    num_nodes: int = 1,
    launcher: str = "core/local",
    host: Host | None = None,
) -> list[RunResult]:
    """Train and score the best trial of a study of `zoo tune`, as `zoo bench --from-study` does.

    Args:
        name: Name of the study.
        seeds: Seeds of initialisation, order and augmentation.
        settings: Settings that override those of the trial.
        device, images, store, force, devices, num_nodes, launcher, host: As for `bench`.

    Raises:
        UsageError: The study is unknown, or none of its trials has ended well.
        MissingError: A plugin or library that is needed is absent.
        DataError: The study's file is damaged, or the store cannot be written.
    """
    from zoo.plan.cells import make_plan
    from zoo.plan.request import Request
    from zoo.plan.study import read_best, request_of
    from zoo.run.where import Where

    host = host or _default_host()
    folder = None if images is None else Path(images)
    request = Request(
        models=[], data=[], seeds=seeds, device=device, images=folder, settings=settings or {}, store=store
    )
    request = request_of(read_best(Path(store), name), request, told=())
    where = Where(device=device, images=folder, force=force, devices=devices, num_nodes=num_nodes)
    return _run(host, make_plan(host, request), store=store, where=where, launcher=launcher)


def _run(host: Host, cells: Sequence[Cell], *, store: str | Path, where: Where, launcher: str) -> list[RunResult]:
    """Run the cells of a plan; return their results."""
    from zoo.devices import resolve_device
    from zoo.run.matrix import run_matrix
    from zoo.train.team import check_batch, check_devices

    # Under srun and torchrun every process of a script would come here: those start the command, not a script.
    team = where.team(environment={})
    if registry.find(host, LauncherSpec, launcher).id == "core/local":
        check_devices(team, resolve_device(where.device))
    for cell in cells:
        check_batch(team.size, min(cell.training["batch_size"], cell.sizes["train"]))
    return run_matrix(host, cells, store=Path(store), where=where, launcher=launcher)
