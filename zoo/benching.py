"""The public Python interface of `zoo bench`: requests, suites and studies as functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.api import default_host
from zoo.errors import UsageError, nearest
from zoo.host import Host
from zoo.specs import LauncherSpec

if TYPE_CHECKING:
    from zoo.results.cell import Cell
    from zoo.results.schema import RunResult
    from zoo.run.where import Where


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
        model, data: Names, comma lists, wildcards, or sequences of them.
        seeds: Of initialisation, order and augmentation.
        budget: "smoke", "laptop" or "paper"; default: the one that suits the device.
        simulator: Id or name; default: the one that `zoo list-simulators` marks.
        device: "auto", "cpu", "cuda" or "mps".
        precision: "auto", "fp32", "tf32" or "bf16".
        rule: "val_auc" or "last": which epoch's weights are kept.
        task: Which classes are one, such as "substructure" (none against any); "" separates all classes.
        match: "params", "macs" or "time": cost of the first model to which the others' widths are scaled.
        settings: As `--set` on the command line: {"lr": 3e-4, "data.snr": 50, "stream": True}.
        images: Folder that `zoo simulate` made; default: the cache, which is filled.
        store: Folder of the results.
        force: Run cells again that are in the store.
        devices: GPUs (or, with device "cpu", processes) that train one network together.
        num_nodes: Nodes that train one network together; a launcher must start its processes there.
        launcher: Id or name of what runs the cells.
        host: The plugins; default: all installed ones.

    Raises:
        UsageError: an unknown name or an impossible value.
        MissingError: a plugin or library that is needed is absent.
        DataError: the store cannot be written.
    """
    from zoo.plan.cells import make_plan
    from zoo.plan.request import Request
    from zoo.run.where import Where

    host = host or default_host()
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

    host, suite = host or default_host(), read_suite(Path(path))
    allowed = [name for name in KEYS if name not in ("title", "expected")]
    for name in changes:
        if name not in allowed:
            raise UsageError(f"A suite has no field '{name}'.{nearest(name, allowed)}")
    given: dict[str, Any] = {name: [value] if name in ("models", "data") and isinstance(value, str) else value
            for name, value in changes.items()}  # fmt: skip
    if "budget" in given:
        given["budgets"] = [given.pop("budget")]
    if "settings" in given:
        settings = given.pop("settings")
        given["variants"] = [dict(variant) | dict(settings) for variant in suite.variants]
    plan = plan_suite(host, changed(suite, device=device, store=store, **given))
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

    host = host or default_host()
    folder = None if images is None else Path(images)
    request = Request(
        models=[], data=[], seeds=seeds, device=device, images=folder, settings=settings or {}, store=store
    )
    request = request_of(read_best(Path(store), name), request, given=())
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
