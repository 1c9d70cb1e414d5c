"""Notes beside a table: plain twins that it lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zoo.results.schema import RunResult


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
    return (
        f"Plain twins of equal parameters or equal multiply-accumulates are missing for {', '.join(lacking)}: "
        f"zoo bench --model {wanted} --data {results[0].cell.data}, with the other options of this table"
    )
