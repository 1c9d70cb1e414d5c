"""From a request to a list of cells: names and wildcards times data sets times seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from zoo import provenance, registry
from zoo.budgets import find_budget
from zoo.data.content import pin_paths
from zoo.data.folder import folder_digest
from zoo.data.phases import Phase
from zoo.data.recipe import Recipe
from zoo.devices import planned_device, resolve_device, resolve_precision
from zoo.errors import UsageError, nearest
from zoo.paths import user_path
from zoo.plan.built import check_arguments
from zoo.plan.match import match_widths
from zoo.plan.overrides import (
    PHASES,
    by_model,
    check_kinds,
    check_names,
    check_own_fits,
    check_plain,
    hparam,
    of_training_images,
)
from zoo.plan.parts import check_auxiliary, check_truths, part_ids, resolve_parts
from zoo.plan.phases import budget_phases_of, make_phases, phases_epochs
from zoo.plan.problem import benchmark_recipe, numbers_of_images
from zoo.plan.recipes import recipe_of_folder, try_population
from zoo.plan.request import Request
from zoo.plan.settings import SETTING_NAMES, TrainingSettings
from zoo.plan.tasks import answering, is_named, rule_of
from zoo.plurals import counted
from zoo.results.cell import Cell
from zoo.specs import DatasetSpec, ModelSpec
from zoo.tasks.find import completed, task_of_option
from zoo.weights.start import resolve_init

if TYPE_CHECKING:
    from zoo.host import Host


def make_plan(host: Host, request: Request, *, note: Callable[[str], None] = lambda sentence: None) -> list[Cell]:
    """Return the cells of a request, in the order data set, model, seed.

    Args:
        host: The plugins.
        request: Models, data sets and options of the cells.
        note: Function called with each note on the plan.

    Raises:
        UsageError: An unknown name or an impossible value.
        MissingError: A plugin or library that is needed is absent.
    """
    # Only time is measured while planning, so only that needs the device here.
    device = (resolve_device if request.match == "time" else planned_device)(request.device)
    resolve_precision(request.precision, device)  # an unknown name is refused before anything is looked up
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
    sizes = numbers_of_images(budget, settings)

    check_own_fits(models, settings)
    given = {model.id: _training(host, {**settings, **own_settings[model.id]}, request) for model in models}
    phases_given = of_training_images(settings)
    cells = []
    for dataset in datasets:
        asked, task = task_of_option(host, dataset, request.task)
        rule = rule_of(request, task)
        if (task.question.trained_on or task.question.targets) and settings.get("stream"):
            what = "needs stored truths" if task.question.targets else "trains on some classes only"
            raise UsageError(
                f"The task {asked.name} {what}; a stream renders all classes and keeps their labels.",
                hint="Leave out --stream.",
            )
        recipe = benchmark_recipe(
            host, dataset, budget=budget, settings=settings, simulator=request.simulator, device=device
        )
        stream = settings.get("stream", False)
        if stream and not dataset.simulated:
            raise UsageError(
                f"{dataset.id} consists of stored images; it cannot be streamed.",
                hint="Leave out --stream; which data sets are simulated: zoo list-datasets",
            )
        images: dict[str, str] = {}
        if request.images is not None:
            if phases_given:
                raise UsageError(
                    f"--images {request.images} holds training images with the parameters of the test images, "
                    f"--set {phases_given[0]} needs others.",
                    hint="Leave out --images. To make images beforehand, into the cache: zoo simulate",
                )
            if request.data_seeds:
                raise UsageError(
                    f"--images {request.images} holds training images of one seed, --data-seeds needs those of each.",
                    hint="Leave out --images. To make them beforehand, into the cache: zoo simulate with --seed N",
                )
            needed = {split: size for split, size in sizes.items() if split != "train" or not stream}
            recipe = recipe_of_folder(dataset, recipe, request.images, needed)
            images = {split: folder_digest(request.images, split, size) for split, size in needed.items()}
        scenes = try_population(host, dataset, recipe)
        asked, task, left_out = completed(asked, dataset, scenes)
        if left_out:
            note(f"{dataset.id}: {left_out}")
        if request.images is not None and budget_phases_of(dataset, recipe, settings=settings, budget=budget, epochs=1):
            note(
                f"the phases of budget {budget.name} on {dataset.id} are left out: the training images of --images "
                "have the parameters of the test images"
            )
        targets = task.question.targets
        # Epochs and whether the phases of the budget are left out -> phases; none of a network that fits itself.
        phases_of: dict[tuple[int, bool], tuple[Phase, ...]] = {(0, False): (), (0, True): ()}
        for model in answering(host, models, asked, request, note=note):
            for name in model.training:
                if name not in SETTING_NAMES:
                    raise UsageError(
                        f"{model.id}: its plugin sets '{name}', which is not a training setting."
                        f"{nearest(name, SETTING_NAMES)}",
                        hint="Report this to its author, or leave the model out.",
                    )
            training = {**model.training, **budget.training, **given[model.id]}
            if not model.fits_itself:
                training = resolve_parts(host, training, task=asked.name)
            resolved = None if model.fits_itself else TrainingSettings(**training)
            recorded = {} if resolved is None else resolved.recorded()
            if resolved is not None and resolved.auxiliary:
                check_auxiliary(resolved, scenes, data=dataset.id)
            if resolved is not None and resolved.new_noise:
                _check_new_noise(dataset, request, recipe, stream=stream)
            epochs = 0 if resolved is None else resolved.epochs
            # Those of a budget make classes easier to separate, which is useless where a task trains on some, and
            # estimated truths easier to see, which is useless for a start from other weights.
            started = bool(targets and resolved is not None and resolved.init)
            own_images = task.question.trained_on and not targets
            key = epochs, request.images is not None or (not phases_given and bool(own_images or started))
            if key not in phases_of:
                phase_settings = {**settings, PHASES: ""} if key[1] else settings
                phases_of[key] = make_phases(
                    host, dataset, recipe, settings=phase_settings, budget=budget, epochs=epochs
                )
            phases = phases_of[key]
            has_classifier = dataset.budget_phases and dataset.name in model.weights
            if targets and has_classifier and resolved is not None and not resolved.init:
                note(
                    f"{model.id} starts from random weights; to start from those of its bundled classifier: "
                    f"--set init={model.name}.{dataset.name}"
                )
            mine = {**settings, **own_settings[model.id]}
            hparams = {name: hparam(mine, name, default) for name, default in model.defaults.items()}
            check_kinds(model, hparams)
            named = is_named(model, request)
            if model.truths and scenes is None and not named:
                note(
                    f"{model.id} is left out of {dataset.id}: which truths its images have is not known before the run"
                )
                continue
            try:
                if scenes is not None:
                    check_truths(model, hparams, scenes, question=task.question, data=dataset.id)
                check_arguments(host, model, hparams, recipe=recipe, sizes=sizes, task=task, settings=resolved)
            except UsageError as error:
                if named:
                    raise
                note(f"{model.id} is left out of {dataset.id}: {error}")
                continue
            hparams, content = pin_paths(hparams, model.paths)
            # A network that fits itself is built for the image alone.
            mine_of_images = recipe.of_image_alone if model.fits_itself else recipe
            cells += [
                Cell(
                    model=model.id,
                    model_version=model.version,
                    hparams=hparams,
                    recipe=mine_of_images,
                    sizes=sizes,
                    training=recorded,
                    phases=phases,
                    phases_from="budget" if phases and not phases_given else "",
                    seed=seed,
                    train_seed=seed if request.data_seeds else None,
                    budget=budget.name,
                    rule=rule,
                    task=asked.text,
                    content=content,
                    images=images,
                    precision=resolve_precision(request.precision, device, bf16_devices=_bf16_devices(model)),
                    versions=provenance.installed_versions(
                        host, model.id, *mine_of_images.plugins, *part_ids(recorded)
                    ),
                )
                for seed in seeds
            ]
    if request.match:
        cells = match_widths(host, cells, by=request.match, device=device, store=user_path(request.store), note=note)
    return cells


def _bf16_devices(model: ModelSpec) -> tuple[str, ...]:
    """Return where "auto" is bf16; the fit of a network that fits itself is in its own precision on every device."""
    return ("cuda",) if model.fits_itself else model.bf16_devices


def _check_new_noise(dataset: DatasetSpec, request: Request, recipe: Recipe, *, stream: bool) -> None:
    """Refuse new noise for images that have theirs already.

    Raises:
        UsageError: The images exist already, or are streamed, or have channels that are computed from them.
    """
    if not dataset.simulated or request.images is not None:
        what = dataset.id if request.images is None else f"--images {request.images}"
        raise UsageError(f"new_noise=true: the images of {what} contain noise already.", hint="Leave out new_noise.")
    if recipe.channels:
        raise UsageError(
            f"new_noise=true: {', '.join(recipe.channels)} would have to be computed again in every epoch.",
            hint="Leave out new_noise, or data.channels",
        )
    if stream:
        raise UsageError(
            "new_noise=true and a stream, whose images are new in every epoch.", hint="Leave out one of the two."
        )


def _training(host: Host, settings: Mapping[str, Any], request: Request) -> dict[str, Any]:
    """Return the training settings among these."""
    given = {name: settings[name] for name in SETTING_NAMES if name in settings}
    if "init" in given:
        given["init"] = resolve_init(host, given["init"], store=user_path(request.store))
    epochs = phases_epochs(settings)
    if epochs is not None and given.setdefault("epochs", epochs) != epochs:
        raise UsageError(
            f"epochs={given['epochs']} and {PHASES}={settings[PHASES]!r}, which has {counted(epochs, 'epoch')} in all.",
            hint="Leave out epochs: the phases state their number.",
        )
    return given
