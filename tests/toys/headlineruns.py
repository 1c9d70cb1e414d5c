"""Runs of the headline experiment for tests: recorded ones, and what they would be with another cell."""

from __future__ import annotations

from dataclasses import replace as replace_cell

from msgspec.structs import replace


def recorded(headline, run_id):
    """Return a run of the record's tables by the first digits of its id."""
    return next(run for run in headline.read_record() if run["run_id"].startswith(run_id) and run["part"] == "table")


def with_area(run, area):
    test = replace(run.result.test, auc={**run.result.test.auc, "macro": area})
    return replace(run, result=replace(run.result, test=test))


def with_cell(run, **changes):
    cell = replace_cell(run.cell, **changes)
    return replace(run, result=replace(run.result, cell=cell, run_id=cell.run_id))
