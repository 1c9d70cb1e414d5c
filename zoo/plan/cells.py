"""From a request to a list of cells: names and wildcards times data sets times seeds."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from zoo import provenance, registry
from zoo.budgets import find_budget
from zoo.data.content import pin_paths
from zoo.devices import planned_device, resolve_device, resolve_precision
from zoo.errors import UsageError
from zoo.paths import user_path
from zoo.plan.built import check_arguments
from zoo.plan.match import match_widths
from zoo.plan.overrides import by_model, check_names, check_own_fits, check_plain, hparam, typed_hparams
from zoo.plan.parts import check_truths, taking_part
from zoo.plan.problem import numbers_of_images
from zoo.plan.request import Request
from zoo.plan.shared import OnData, Shared, on_data
from zoo.plan.tasks import answering, is_named
from zoo.plan.training import PhasesOf, data_phases, phases_of_model, stated_training, training_settings
from zoo.results.cell import Cell
from zoo.specs import DatasetSpec, ModelSpec

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
    if request.precision == "tf32" and device != "cuda":
        note(f"--precision tf32 is for the tensor cores of CUDA devices: on the device {device}, it is fp32")
    budget = find_budget(request.budget or ("paper" if device == "cuda" else "laptop"))
    models = registry.match(host, ModelSpec, request.models)
    datasets = registry.match(host, DatasetSpec, request.data)
    seeds = _seeds(request)
    check_plain(request.settings)
    settings, own_settings = by_model(request.settings, models)
    check_names(settings, models, datasets)
    sizes = numbers_of_images(budget, settings)
    check_own_fits(models, settings)
    shared = Shared(
        host=host,
        request=request,
        note=note,
        device=device,
        budget=budget,
        seeds=seeds,
        settings=settings,
        own_settings=own_settings,
        training={model.id: stated_training(host, {**settings, **own_settings[model.id]}, request) for model in models},
        sizes=sizes,
    )
    cells = []
    for dataset in datasets:
        data = on_data(shared, dataset)
        phases = functools.cache(functools.partial(data_phases, shared, data))
        for model in answering(host, models, data.asked, request, note=note):
            cells += _cells_of(shared, data, model, phases)
    if request.match:
        cells = match_widths(host, cells, by=request.match, device=device, store=user_path(request.store), note=note)
    return cells


def _seeds(request: Request) -> list[int]:
    """Return the seeds of a request, each once.

    Raises:
        UsageError: There is none, or one is impossible.
    """
    try:
        seeds = list(dict.fromkeys(request.seeds))
    except TypeError as error:
        raise UsageError(f"seeds={request.seeds!r} must be a list of whole numbers, such as [0, 1, 2].") from error
    if not seeds or any(type(seed) is not int or not 0 <= seed < 2**31 for seed in seeds):
        raise UsageError(f"seeds {list(request.seeds)} must be whole numbers from 0 to 2147483647.")
    return seeds


def _cells_of(shared: Shared, data: OnData, model: ModelSpec, phases_of: PhasesOf) -> list[Cell]:
    """Return the cells of a network on a data set; none of a network that is matched by a wildcard and cannot be built.

    Args:
        shared, data: What the cells share.
        model: Spec of the network.
        phases_of: `zoo.plan.training.data_phases` of the data set.

    Raises:
        UsageError: A value is impossible for this network.
    """
    host, request, dataset, task = shared.host, shared.request, data.dataset, data.task
    settings = training_settings(shared, data, model)
    recorded = {} if settings is None else settings.recorded()
    phases = phases_of_model(shared, data, model, settings, phases_of)
    mine = {**shared.settings, **shared.own_settings[model.id]}
    hparams = typed_hparams(model, {name: hparam(mine, name, default) for name, default in model.defaults.items()})
    named = is_named(model, request)
    if model.truths and data.scenes is None and not named:
        shared.note(f"{model.id} is left out of {dataset.id}: which truths its images have is not known before the run")
        return []
    try:
        if data.scenes is not None:
            check_truths(model, hparams, data.scenes, question=task.question, data=dataset.id)
        check_arguments(
            host, model, hparams, recipe=data.recipe, sizes=shared.sizes, task=task, settings=settings,
            store=user_path(request.store),
        )  # fmt: skip
    except UsageError as error:
        if named:
            raise
        shared.note(f"{model.id} is left out of {dataset.id}: {error}")
        return []
    hparams, content = pin_paths(hparams, model.paths)
    # A network that fits itself is built for the image alone.
    recipe = data.recipe.of_image_alone if model.fits_itself else data.recipe
    # Its fit is in its own precision everywhere: on the same images, it has the same run id on every device.
    device = recipe.device_type if model.fits_itself else shared.device
    return [
        Cell(
            model=model.id,
            model_version=model.version,
            hparams=hparams,
            recipe=recipe,
            sizes=shared.sizes,
            training=recorded,
            phases=phases,
            phases_from="budget" if phases and not shared.of_training_images else "",
            seed=seed,
            train_seed=seed if request.data_seeds else None,
            budget=shared.budget.name,
            rule=data.rule,
            task=data.asked.text,
            task_version=data.asked.version,
            content=content,
            images=data.images,
            precision=resolve_precision(request.precision, device, bf16_devices=_bf16_devices(model)),
            versions=provenance.installed_versions(
                host, *taking_part(model=model.id, recipe=recipe, training=recorded, task=data.asked.text)
            ),
        )
        for seed in shared.seeds
    ]


def _bf16_devices(model: ModelSpec) -> tuple[str, ...]:
    """Return where "auto" is bf16; the fit of a network that fits itself is in its own precision on every device."""
    return ("cuda",) if model.fits_itself else model.bf16_devices
