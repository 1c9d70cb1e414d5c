"""Computes metrics of plugins for stored results from their stored predictions; nothing is trained."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from msgspec.structs import replace

from zoo.errors import DataError
from zoo.results import store
from zoo.results.files import groups_in, is_metric_file, read_file
from zoo.results.find import good_result
from zoo.results.schema import Finished
from zoo.results.tasks import task_of_result
from zoo.run.metrics import takes, with_metrics
from zoo.specs import MetricSpec
from zoo.tasks.find import tasks_by_name

if TYPE_CHECKING:
    from zoo.host import Host


class OtherTaskError(DataError):
    """None of the metrics takes the predictions of the task of a run."""


def rescore(host: Host, run_dir: Path, *, only: Collection[str]) -> Finished:
    """Compute metrics for a stored result, write it in one step with a new checksum, and return it.

    Args:
        host: The plugins.
        run_dir: Folder of a run that ended well, or of predictions made elsewhere.
        only: Ids of the metrics; other values of the result stay.

    Raises:
        OtherTaskError: None of the metrics takes predictions of the run's task.
        DataError: The run failed or is damaged, or a metric raised an error.
        TrainingError: A value is not a finite number.
        BusyError: Another process runs the cell.
    """
    with store.claim(run_dir):
        stored = good_result(run_dir)
        arrays, metadata = read_file(stored, store.PREDICTIONS, only=("test.logits", "test.labels"))
        logits, labels = (torch.from_numpy(arrays[f"test.{name}"]) for name in ("logits", "labels"))
        task = task_of_result(stored, tasks=tasks_by_name(host))
        only = [spec.id for spec in host.specs_of(MetricSpec) if spec.id in only and takes(spec, task)]
        if not only:
            raise OtherTaskError(f"none of the metrics takes predictions of the task {task.name}.")
        others = {name: values for name, values in stored.test.extra.items() if name not in only}
        bare = replace(stored, test=replace(stored.test, extra=others))
        groups = groups_in(metadata, "test", images=len(labels))
        result = with_metrics(host, bare, logits, labels, task=task, only=only, groups=groups)
        if failed := [name for name in only if name not in result.test.extra]:
            raise DataError(f"{', '.join(failed)} failed; the log above holds the cause.")
        store.write_result(result)
        for path in run_dir.iterdir():
            if is_metric_file(path.name) and path.name not in result.files:
                path.unlink()
    return result
