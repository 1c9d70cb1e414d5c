"""From what a user asks for to a list of cells: names and wildcards times data sets times seeds."""

from __future__ import annotations

import hashlib
import platform
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zoo
from zoo import registry
from zoo.data.recipe import Recipe, canonical_json
from zoo.data.task import open_task
from zoo.errors import MissingError, UsageError, ZooError, nearest
from zoo.harness.budget import find_budget
from zoo.harness.cell import Cell
from zoo.harness.given import SIZE_SETTINGS, by_model, check_names, check_plain, data_params, hparam
from zoo.harness.match import match_widths
from zoo.harness.settings import PRECISIONS, RULES, SETTING_NAMES, TrainingSettings
from zoo.specs import DatasetSpec, ModelSpec, SimulatorSpec
from zoo.weights.start import resolve_init

if TYPE_CHECKING:
    from zoo.host import Host

DEFAULT_SIMULATOR = "caustics/caustics"
DEVICES = ("auto", "cpu", "cuda", "mps")
TRIAL_SCENES = 256
MOST_IMAGES = 100_000_000


@dataclass(frozen=True, kw_only=True)
class Request:
    """What `zoo bench` and `zoo.bench` are asked for.

    Args:
        models, data: names, comma lists, wildcards.
        seeds: one cell for each.
        budget: "smoke", "laptop", "paper", or None for the one that suits the device.
        simulator: id or name.
        device: "auto", "cpu", "cuda" or "mps".
        images: folder that holds the simulated images; default: the cache, which is filled.
        precision: "auto" (bf16 on CUDA, else fp32), "fp32", "tf32" or "bf16".
        rule: which epoch's weights are kept.
        task: which classes are one; "" tells all of them apart.
        settings: name -> value, as given by --set: training settings, model hyper-parameters, "data.NAME",
            "train_images", "val_images", "test_images"; "MODEL.NAME", with a name or wildcard of models, for these.
        match: "params", "macs" or "time": scale widths until every network costs what the first does; see
            `zoo.harness.match`.
        store: where the setting `init` looks for runs, and where matched widths are kept.
    """

    models: Sequence[str]
    data: Sequence[str]
    seeds: Sequence[int] = (0,)
    budget: str | None = None
    simulator: str = DEFAULT_SIMULATOR
    device: str = "auto"
    images: Path | None = None
    precision: str = "auto"
    rule: str = "val_auc"
    task: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    match: str = ""
    store: str | Path = "results"


def make_plan(host: Host, request: Request, *, tell: Callable[[str], None] = lambda sentence: None) -> list[Cell]:
    """Return the cells of a request, in the order data set, model, seed.

    Args:
        host: the plugins.
        request: what is asked for.
        tell: called with what a user should know of the plan.

    Raises:
        UsageError: an unknown name or an impossible value.
        MissingError: a plugin or library that is needed is absent.
    """
    if request.rule not in RULES:
        raise UsageError(f"rule '{request.rule}' is not one of {', '.join(RULES)}.{nearest(request.rule, RULES)}")
    device = resolve_device(request.device)
    precision = _resolve_precision(request.precision, device)
    budget = find_budget(request.budget or ("paper" if device == "cuda" else "laptop"))
    models = registry.match(host, ModelSpec, request.models)
    datasets = registry.match(host, DatasetSpec, request.data)
    try:
        seeds = list(dict.fromkeys(request.seeds))
    except TypeError as error:
        raise UsageError(f"seeds={request.seeds!r} must be a list of whole numbers, such as [0, 1, 2].") from error
    if not seeds or any(type(seed) is not int or not 0 <= seed < 2**31 for seed in seeds):
        raise UsageError(f"seeds {list(request.seeds)} must be whole numbers from 0 to 2147483647.")
    check_plain(request.settings)
    settings, own_settings = by_model(request.settings, models)
    check_names(settings, models, datasets)
    sizes = {**budget.sizes}
    for name, split in SIZE_SETTINGS.items():
        if name in settings:
            value = settings[name]
            if type(value) is not int or not 1 <= value <= MOST_IMAGES:
                raise UsageError(f"{name}={value!r} must be a whole number of images from 1 to {MOST_IMAGES:,}.")
            sizes[split] = value

    given = {model.id: _training(host, {**settings, **own_settings[model.id]}, request) for model in models}
    cells = []
    for dataset in datasets:
        open_task(dataset, request.task)
        params = data_params(dataset, budget, settings)
        for name in dataset.required:
            if params[name] in (None, ""):
                raise UsageError(
                    f"{dataset.id} needs {name}, which has no default.", hint=f"Write: --set data.{name}=VALUE"
                )
        recipe = make_recipe(host, dataset, params=params, simulator=request.simulator, device=device)
        stream = settings.get("stream", False)
        if stream and not dataset.simulated:
            raise UsageError(
                f"{dataset.id} holds images that exist already: there is no stream of new ones.",
                hint="Leave out --stream; which data sets are simulated: zoo list-datasets",
            )
        if request.images is not None:
            needed = {split: size for split, size in sizes.items() if split != "train" or not stream}
            recipe = recipe_of_folder(dataset, recipe, request.images, needed)
        _try_population(dataset, recipe)
        for model in models:
            for name in model.training:
                if name not in SETTING_NAMES:
                    raise UsageError(
                        f"{model.id}: its plugin sets '{name}', which is no training setting."
                        f"{nearest(name, SETTING_NAMES)}",
                        hint="Tell its author, or leave the model out.",
                    )
            training = {**model.training, **budget.training, **given[model.id]}
            mine = {**settings, **own_settings[model.id]}
            hparams = {name: hparam(mine, name, default) for name, default in model.defaults.items()}
            cells += [
                Cell(
                    model=model.id,
                    model_version=model.version,
                    hparams=hparams,
                    recipe=recipe.to_json(),
                    sizes=sizes,
                    training=asdict(TrainingSettings(**training)),
                    seed=seed,
                    budget=budget.name,
                    rule=request.rule,
                    task=request.task,
                    precision=precision,
                    versions=installed_versions(host, model.id, dataset.id, recipe.simulator),
                )
                for seed in seeds
            ]
    if request.match:
        cells = match_widths(host, cells, by=request.match, device=device, store=Path(request.store), tell=tell)
    return cells


def _training(host: Host, settings: Mapping[str, Any], request: Request) -> dict[str, Any]:
    """Return the training settings among these."""
    given = {name: settings[name] for name in SETTING_NAMES if name in settings}
    if "init" in given:
        given["init"] = resolve_init(host, given["init"], store=Path(request.store))
    return given


def make_recipe(
    host: Host, dataset: DatasetSpec, *, params: Mapping[str, Any], simulator: str, device: str, seed: int = 0
) -> Recipe:
    """Return the recipe of a data set.

    Args:
        host: the plugins.
        dataset: its spec.
        params: all of its parameters.
        simulator: id or name; used where the data set is simulated.
        device: a resolved one; images are rendered there if the simulator can.
        seed: of the images.

    Raises:
        UsageError: the simulator is unknown.
        MissingError: its plugin is absent.
    """
    # A prior of 1 is one of 1.0: the hash of the recipe, and with it every image's folder, must not tell them apart.
    params = {
        name: float(value) if type(value) is int and type(dataset.params.get(name)) is float else value
        for name, value in params.items()
    }
    if not dataset.simulated:
        return Recipe(dataset=dataset.id, dataset_version=dataset.version, params=params, seed=seed)
    engine = registry.find(host, SimulatorSpec, simulator)
    return Recipe(
        dataset=dataset.id,
        dataset_version=dataset.version,
        params=params,
        simulator=engine.id,
        simulator_version=engine.version,
        seed=seed,
        device_type="cuda" if device == "cuda" and engine.device == "any" else "cpu",
    )


def recipe_of_folder(dataset: DatasetSpec, recipe: Recipe, folder: Path, sizes: Mapping[str, int]) -> Recipe:
    """Return the recipe of the images in a folder, which must be what is asked for.

    The seed of the images and the type of device that they were rendered on are taken from the folder: no option of a
    benchmark says what they should be.

    Args:
        dataset: its spec.
        recipe: what is asked for.
        folder: made by `zoo simulate`.
        sizes: split -> images that are needed.

    Raises:
        UsageError: the folder holds other images, or too few.
        DataError: it is no such folder.
    """
    from zoo.data.folder import differences, read_recipe, tell_differences
    from zoo.data.shards import SHARD_SIZE, shard_count, shard_path

    if not dataset.simulated:
        raise UsageError(f"--images {folder}: {dataset.id} is not simulated; its images are where they are.")
    there = read_recipe(folder)
    recipe = replace(recipe, seed=there.seed, device_type=there.device_type)
    if there.hash != recipe.hash:
        raise UsageError(
            f"--images {folder} holds other images: {tell_differences(there, recipe)}.",
            hint=f"To ask for what is there: {_asking_for(differences(there, recipe))}",
        )
    for split, size in sizes.items():
        missing = [n for n in range(shard_count(size)) if not shard_path(folder / split, n).exists()]
        if missing:
            have = (shard_count(size) - len(missing)) * SHARD_SIZE
            raise UsageError(
                f"--images {folder} has {have:,} of the {size:,} {split} images that are needed.",
                hint=f"Make them with the command that made the others and -n {size} --split {split}, "
                f"or ask for less: --set {split}_images=N",
            )
    return recipe


def _asking_for(differences: Mapping[str, tuple[Any, Any]]) -> str:
    """Return the options of zoo bench that turn a recipe into the one of a folder."""
    words = []
    for key, (there, _) in differences.items():
        if key == "dataset":
            return f"--data {there}"
        if key == "simulator":
            words.append(f"--simulator {there}")
        elif key.startswith("params."):
            text = there if isinstance(there, str) else canonical_json(there)
            words.append(shlex.join(["--set", f"data.{key.removeprefix('params.')}={text}"]))
    return " ".join(words) or "install the versions that it was made with"


def plan_images(
    host: Host, name: str, *, settings: Mapping[str, Any], simulator: str, device: str, seed: int = 0
) -> tuple[DatasetSpec, Recipe]:
    """Return a data set that is to be simulated by itself, without a budget: its own parameters hold.

    Args:
        host: the plugins.
        name: id or name.
        settings: "data.NAME" -> value.
        simulator: id or name.
        device: "auto", "cpu", "cuda" or "mps".
        seed: of the images.

    Raises:
        UsageError: an unknown name, an impossible value, or images that exist already.
        MissingError: a plugin or library that is needed is absent.
    """
    dataset = registry.find(host, DatasetSpec, name)
    if not dataset.simulated:
        raise UsageError(
            f"{dataset.id} holds images that exist already; there is nothing to simulate.",
            hint="See which data sets are simulated: zoo list-datasets",
        )
    check_plain(settings)
    check_names(settings, [], [dataset])
    for setting in settings:
        if not setting.startswith("data."):
            raise UsageError(f"--set {setting}: images are not trained.", hint="Parameters of the data are data.NAME.")
    params = data_params(dataset, None, settings)
    recipe = make_recipe(
        host, dataset, params=params, simulator=simulator, device=resolve_device(device), seed=seed
    )  # fmt: skip
    _try_population(dataset, recipe)
    return dataset, recipe


def _try_population(dataset: DatasetSpec, recipe: Recipe) -> None:
    """Draw a few scenes of a simulated data set, so that impossible parameters stop the plan and not its cells.

    Raises:
        UsageError: a parameter is impossible.
        MissingError: the data set cannot be loaded.
    """
    if not dataset.simulated:
        return  # opening images that exist may take long
    import numpy as np

    build = registry.load_target(dataset)
    try:
        build(**recipe.params).sample(np.arange(TRIAL_SCENES), recipe.stream("train"))
    except UsageError as error:
        raise UsageError(f"{dataset.id}: {error.args[0]}", hint=error.hint) from error
    except ZooError:
        raise
    except Exception as error:
        raise UsageError(
            f"{dataset.id} cannot be drawn with these parameters: {type(error).__name__}: {error}",
            hint=f"See: zoo show {dataset.id}",
        ) from error


def resolve_device(device: str) -> str:
    """Return "cpu", "cuda" or "mps".

    Raises:
        UsageError: an unknown name.
        MissingError: the device is not there.
    """
    if device not in DEVICES:
        raise UsageError(f"device '{device}' is not one of {', '.join(DEVICES)}.{nearest(device, DEVICES)}")
    if device == "cpu" or (device == "auto" and _surely_no_gpu()):
        return "cpu"
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    available = torch.cuda.is_available() if device == "cuda" else torch.backends.mps.is_available()
    if not available:
        raise MissingError(f"device '{device}' is not available on this machine.", hint="Try: --device cpu")
    return device


def _surely_no_gpu() -> bool:
    """Whether a look at the device files says so; importing torch to ask would cost seconds."""
    nodes = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")
    return platform.system() == "Linux" and not any(Path(node).exists() for node in nodes)


def _resolve_precision(precision: str, device: str) -> str:
    if precision == "auto":
        return "bf16" if device == "cuda" else "fp32"
    if precision not in PRECISIONS:
        raise UsageError(
            f"precision '{precision}' is not one of auto, {', '.join(PRECISIONS)}.{nearest(precision, PRECISIONS)}"
        )
    return precision


def installed_versions(host: Host, *ids: str | None) -> dict[str, str]:
    """Return distribution -> version of the core and of the plugins that these ids come from.

    A plugin that is a file has no version: the hash of its content stands for it, so that an edited network is
    not given the result of its predecessor.
    """
    versions = {"lens-zoo": zoo.__version__}
    for full_id in ids:
        record = host.records.get(full_id.partition("/")[0]) if full_id else None
        if record is not None and record.version == "file":
            path = Path(record.distribution)
            versions[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        elif record is not None:
            versions[record.distribution] = record.version
    return dict(sorted(versions.items()))
