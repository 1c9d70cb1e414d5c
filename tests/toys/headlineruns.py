"""Runs of the headline experiment for tests: recorded ones, and what they would be with another cell."""

from __future__ import annotations

import json
from dataclasses import replace as replace_cell

from msgspec.structs import replace


def recorded(headline, run_id):
    """Return a run of the record's tables by the first digits of its id."""
    lines = headline.RECORD.read_text(encoding="utf-8").splitlines()
    runs = (json.loads(line) for line in lines if f'"run_id": "{run_id}' in line)  # quicker than read_record
    return next(run for run in runs if run["run_id"].startswith(run_id) and run["part"] == "table")


def with_area(run, area):
    test = replace(run.result.test, auc={**run.result.test.auc, "macro": area})
    return replace(run, result=replace(run.result, test=test))


def trained_on(run, gpu):
    """Return a run as one of a training on this GPU, or on a CPU in a machine without a GPU for None."""
    environment = replace(run.result.environment, gpu=gpu)
    return replace(run, result=replace(run.result, device="cuda" if gpu else "cpu", environment=environment))


def on_images_of(run, device_type, **changes):
    """Return a run on images that were rendered on "cpu" or "cuda"."""
    return with_cell(run, recipe=replace_cell(run.cell.recipe, device_type=device_type), **changes)


def with_cell(run, **changes):
    cell = replace_cell(run.cell, **changes)
    return replace(run, result=replace(run.result, cell=cell, run_id=cell.run_id))
