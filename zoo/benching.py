"""The public Python interface of `zoo bench`: requests, suites and studies as functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from zoo.api import default_host
from zoo.errors import UsageError, nearest
from zoo.host import Host
from zoo.paths import user_path
from zoo.remote import readable_path

if TYPE_CHECKING:
    from zoo.results.schema import RunResult


class Options(TypedDict, total=False):
    """Options of `zoo bench` as arguments of `bench_suite` and `bench_study`; `bench` explains them."""

    models: str | Sequence[str]
    data: str | Sequence[str]
    seeds: Sequence[int]
    data_seeds: bool
    budget: str | None
    simulator: str
    device: str
    render_on: str
    precision: str
    rule: str
    task: str
    match: str
    baselines: bool
    settings: Mapping[str, Any]
    images: str | Path | None
    store: str | Path
    force: bool
    devices: int
    num_nodes: int
    launcher: str
    launcher_settings: Sequence[str] | Mapping[str, Any]
    jobs: int | None
    gpus: str
    retries: int


def bench(
    model: str | Sequence[str],
    data: str | Sequence[str],
    *,
    seeds: Sequence[int] = (0,),
    data_seeds: bool = False,
    budget: str | None = None,
    simulator: str | None = None,
    device: str = "auto",
    render_on: str = "auto",
    precision: str = "auto",
    rule: str = "",
    task: str = "",
    match: str = "",
    baselines: bool = True,
    settings: Mapping[str, Any] | None = None,
    images: str | Path | None = None,
    store: str | Path = "results",
    force: bool = False,
    devices: int = 1,
    num_nodes: int = 1,
    launcher: str = "core/local",
    launcher_settings: Sequence[str] | Mapping[str, Any] = (),
    jobs: int | None = None,
    gpus: str = "",
    retries: int = 2,
    fresh_test: int | None = None,
    host: Host | None = None,
) -> list[RunResult]:
    """Train and score every model on every data set with every seed; return one result a cell, those of baselines last.

    Cells that are in the store already are returned at once. A cell that fails has the status "failed" or "oom" and an
    `error`; the others still run. For one that ended well, `result.test.auc["macro"]` and so on are the scores, and
    `result.run_dir` is the folder with weights, predictions and history; see `zoo.results.schema`.

    Args:
        model, data: Names, comma lists, wildcards, or sequences of them.
        seeds: Seeds for initialisation, order and augmentation.
        data_seeds: Whether each seed has training images of its own; validation and test images stay the same.
        budget: "smoke", "laptop", "evening" or "paper"; default: the one that suits the device.
        simulator: Id or name; default: the one that `zoo list-simulators` marks.
        device: "auto", "cpu", "cuda" or "mps".
        render_on: "auto" renders the images on the device of the trainings, "cpu" on the CPU.
        precision: "auto", "fp32", "tf32" or "bf16".
        rule: Rule that selects the epoch whose weights are kept, such as "val_auc" or "last"; "" for that of the task.
        task: "anomaly", or classes that are merged, such as "substructure" (none against any); "" separates all
            classes.
        match: "params", "macs" or "time": cost of the first model to which the others' widths are scaled.
        baselines: Whether the baselines of the data sets are added to the plan.
        settings: Values as for `--set` on the command line: {"lr": 3e-4, "data.snr": 50, "stream": True}.
        images: Folder that `zoo simulate` made; default: the cache, which is filled.
        store: Folder of the results.
        force: Whether cells that are in the store are run again.
        devices: GPUs (or, with device "cpu", processes) that train one network together.
        num_nodes: Nodes that train one network together; a launcher must start its processes there.
        launcher: Id or name of what runs the cells.
        launcher_settings: Options of the launcher and resources of cells, as for `--launcher-set`: {"gpus": 1}.
        jobs: Cells that run at a time on this machine; None: one on each GPU of `gpus`, or one.
        gpus: GPUs of this machine, such as "0,1,2,3", of which each cell gets as many as it needs.
        retries: Further attempts without progress after a preemption.
        fresh_test: Seed of fresh test images, on which the weights are scored as well (`result.fresh`).
        host: The plugins; default: all installed ones.

    Raises:
        UsageError: An unknown name or an impossible value.
        MissingError: A plugin or library that is needed is absent.
        DataError: The store cannot be written.
    """
    return _bench(
        host,
        fresh_test,
        models=model,
        data=data,
        seeds=seeds,
        data_seeds=data_seeds,
        budget=budget,
        simulator=simulator or "",
        device=device,
        render_on=render_on,
        precision=precision,
        rule=rule,
        task=task,
        match=match,
        baselines=baselines,
        settings=settings or {},
        images=images,
        store=store,
        force=force,
        devices=devices,
        num_nodes=num_nodes,
        launcher=launcher,
        launcher_settings=launcher_settings,
        jobs=jobs,
        gpus=gpus,
        retries=retries,
    )


def bench_suite(
    path: str | Path,
    *,
    fresh_test: int | None = None,
    host: Host | None = None,
    **options: Unpack[Options],
) -> list[RunResult]:
    """Run the cells of a suite, as `zoo bench SUITE.toml` does; return one result a cell.

    Models and data sets that are not installed are left out with a warning.

    Args:
        path: File of the suite.
        fresh_test, host: Fresh test images and plugins, as for `bench`.
        options: Arguments of `bench` that override the file (`models` for `model`); `settings` are added to its own.

    Raises:
        UsageError: The file is missing or invalid, or a value is impossible.
        MissingError: No model or data set of the file is installed.
        DataError: The store cannot be written.
    """
    return _bench(host, fresh_test, suite=user_path(path), **options)


def bench_study(
    name: str,
    *,
    fresh_test: int | None = None,
    host: Host | None = None,
    **options: Unpack[Options],
) -> list[RunResult]:
    """Train and score the best trial of a study of `zoo tune`, as `zoo bench --from-study` does.

    Args:
        name: Name of the study in the folder `store`.
        fresh_test, host: Fresh test images and plugins, as for `bench`.
        options: Arguments of `bench` that override the trial (`models` for `model`).

    Raises:
        UsageError: The study is unknown, or all of its trials have failed.
        MissingError: A plugin or library that is needed is absent.
        DataError: The study's file is damaged, or the store cannot be written.
    """
    return _bench(host, fresh_test, study=name, **options)


def _bench(
    host: Host | None,
    fresh_test: int | None,
    *,
    suite: Path | None = None,
    study: str | None = None,
    **options: Unpack[Options],
) -> list[RunResult]:
    """Plan and run; return one result a cell."""
    import logging

    from zoo.devices import device_here
    from zoo.inference.fresh import check_fresh_test, with_fresh_tests
    from zoo.plan.bench import plan_bench
    from zoo.plan.request import Request
    from zoo.run.launch import Launch
    from zoo.run.matrix import run_matrix
    from zoo.run.where import Where

    for name in options:
        if name not in Options.__annotations__:
            raise UsageError(f"'{name}' is not an option of zoo bench.{nearest(name, Options.__annotations__)}")
    host = host or default_host()
    values: dict[str, Any] = {"models": [], "data": [], **options}
    for name in ("models", "data"):
        if isinstance(values[name], str):
            values[name] = [values[name]]
    if values.get("images") is not None:
        values["images"] = readable_path(values["images"])
    launch = Launch(**{one.name: values[one.name] for one in fields(Launch) if one.name in values})
    values["device"] = launch.device(host, values.get("device", "auto"))
    own = {one.name for one in fields(Request)}
    request = Request(**{name: value for name, value in values.items() if name in own})
    where = Where(**{one.name: values[one.name] for one in fields(Where) if one.name in values})
    note = logging.getLogger(__name__).warning
    plan = plan_bench(host, request, suite=suite, study=study, given=options, note=lambda said: note("%s", said))
    if about_team := where.note_on_team(plan.cells):
        note("%s", about_team)
    for problem in plan.problems:
        logging.getLogger(__name__).warning("%s: %s", suite, problem)
    if fresh_test is not None:
        check_fresh_test(plan.cells, seed=fresh_test)
    found = run_matrix(host, plan.cells, store=user_path(request.store), where=where, launch=launch)
    if fresh_test is None:
        return found
    found, problems = with_fresh_tests(host, found, seed=fresh_test, device=device_here(where.device))
    for problem in problems:
        logging.getLogger(__name__).warning("%s", problem)
    return found
