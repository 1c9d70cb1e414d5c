"""Adds the baselines of the data sets to a plan, so that every table holds what a network has to beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from zoo import registry
from zoo.errors import MissingError, UsageError
from zoo.plan.cells import make_plan
from zoo.plan.overrides import SIZE_SETTINGS
from zoo.plan.request import Request
from zoo.results.cell import Cell
from zoo.specs import DatasetSpec, ModelSpec
from zoo.tasks.find import answers, read_task, tasks_by_name

if TYPE_CHECKING:
    from zoo.host import Host


def with_baselines(host: Host, request: Request, cells: Sequence[Cell], *, note: Callable[[str], None]) -> list[Cell]:
    """Return the cells of a request, then those of the baselines that its data sets declare.

    A baseline has the first seed, or every seed where each has training images of its own.

    A data set's baselines are added unless the request names one of them. They get its images, sizes and precision, and
    none of the settings of networks. One that is not installed, or that cannot be fitted to a stream, is left out with
    a note.

    Args:
        host: The plugins.
        request: Options of the cells.
        cells: Cells that `make_plan` made of the request.
        note: Function called with each note on the plan.
    """
    if not request.baselines:
        return list(cells)
    named = {cell.model for cell in cells}
    added: list[Cell] = []
    for data in dict.fromkeys(cell.data for cell in cells):
        spec = registry.find(host, DatasetSpec, data)
        if named & set(spec.baselines):
            continue
        asked = read_task(request.task, tasks=tasks_by_name(host), groupings=tuple(spec.tasks))
        for name in spec.baselines:
            try:
                model = registry.find(host, ModelSpec, name)
                if not answers(model, asked.spec):
                    continue
                own = replace(
                    request,
                    models=[model.id],
                    data=[data],
                    seeds=request.seeds if request.data_seeds else [cells[0].seed],
                    match="",
                    settings=_of_images(request, spec, stream=not model.fits_itself),
                )
                if model.fits_itself and request.settings.get("stream"):
                    note(f"{name}, the baseline of {data}, is left out: it needs stored training images")
                    continue
                added += make_plan(host, own, note=note)
            except (UsageError, MissingError) as error:
                note(f"{name}, the baseline of {data}, is left out: {error}")
    return [*cells, *added]


def _of_images(request: Request, spec: DatasetSpec, *, stream: bool) -> dict[str, object]:
    """Return the settings of a request that concern the images of a data set."""
    names = {*SIZE_SETTINGS, *(f"data.{name}" for name in spec.params), *(["stream"] if stream else [])}
    return {name: value for name, value in request.settings.items() if name in names}
