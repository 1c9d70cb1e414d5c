"""Notes beside a table: plain twins that it lacks, searches of different length, trainings to be judged with care."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zoo.results.cell import Cell
from zoo.results.convergence import describe_plateau
from zoo.results.schema import Failed, Finished, RunResult
from zoo.specs import DatasetSpec


def missing_twins(results: Sequence[RunResult], twins: Mapping[str, Sequence[str]]) -> str:
    """Return a sentence with the command that adds the plain twins which a table lacks, or "".

    Args:
        results: Results of the table.
        twins: Id -> plain twins of that model; see `zoo.registry.twins_by_id`.
    """
    models = list(dict.fromkeys(result.cell.model for result in results))
    lacking = {
        model: missing for model in models if (missing := [twin for twin in twins.get(model, ()) if twin not in models])
    }
    if not lacking:
        return ""
    wanted = ",".join(dict.fromkeys(twin for missing in lacking.values() for twin in missing))
    told = "; ".join(f"{' and '.join(missing)} of {model}" for model, missing in lacking.items())
    return (
        f"Plain twins, of as many parameters or multiply-accumulates, are missing: {told}. To add them: "
        f"zoo bench --model {wanted} --data {results[0].cell.data}, with the other options of this table"
    )


def search_trials(cell: Cell) -> str:
    """Return the number of trials of the search that found a cell's settings; "0" without one, "?" if unknown."""
    if cell.search is None:
        return "0"
    return "?" if cell.search.trials is None else str(cell.search.trials)


def search_note(results: Sequence[RunResult], names: Mapping[str, str]) -> str:
    """Return a sentence where the settings of the networks come from searches of different length, or "".

    Args:
        results: Results of the table.
        names: Run id -> name of its row.
    """
    by_trials: dict[str, list[str]] = {}
    for result in [result for result in results if not result.cell.predictions]:
        by_trials.setdefault(search_trials(result.cell), []).append(names[result.run_id])
    if len(by_trials) < 2:
        return ""
    parts = [f"{trials} for {', '.join(dict.fromkeys(models))}" for trials, models in by_trials.items()]
    return (
        f"Different search budgets: the number of trials on the validation split is {'; '.join(parts)} (0: default "
        "settings, or settings given by hand). A part of a difference may come from the search."
    )


def failures(results: Sequence[RunResult]) -> list[list[Failed]]:
    """Return the results of the runs that failed; those with one cause, such as a faulty data set, are together."""
    groups: dict[str, list[Failed]] = {}
    for result in results:
        if result.status != "ok":
            groups.setdefault(result.error, []).append(result)
    return list(groups.values())


def training_notes(results: Sequence[Finished], dataset: DatasetSpec | None, names: Mapping[str, str]) -> list[str]:
    """Return sentences on trainings whose images were others than those of the test, or that have learned nothing.

    Args:
        results: Results of one problem.
        dataset: Spec of its data set; None where its plugin is not installed.
        names: Run id -> name of its row.
    """
    trained_on: dict[str, list[str]] = {}
    for result in results:
        trained_on.setdefault(result.cell.trained_on, []).append(names[result.run_id])
    notes = [
        f"{', '.join(dict.fromkeys(rows))}: trained on {words}; validation and test images are those of the table"
        for words, rows in trained_on.items()
        if words
    ]
    notes += [
        f"{names[result.run_id]}, seed {result.cell.seed}: the answers hold no information on {', '.join(blind)}, and "
        "neither does a posterior of a population: a CRPS skill of 0 or less on the validation images"
        for result in results
        if (blind := [one.name for one in result.targets if one.skill is not None and one.skill <= 0])
    ]
    return notes + [
        f"{names[result.run_id]}, seed {result.cell.seed}: "
        f"{describe_plateau(result.cell, dataset, epochs=result.not_begun)}"
        for result in results
        if result.not_begun
    ]
