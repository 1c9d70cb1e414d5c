"""`zoo show RUN`: a stored run, or predictions made elsewhere, with scores, cost and origin."""

from __future__ import annotations

from pathlib import Path

from zoo.cli.context import console, print_json
from zoo.cli.score_table import print_scores
from zoo.plurals import counted
from zoo.results.find import good_result
from zoo.results.schema import Finished
from zoo.results.store import plain_result


def show_run(run_dir: Path, *, as_json: bool) -> None:
    """Print a run.

    Raises:
        DataError: The run failed, has not ended, or its result is damaged.
    """
    result = good_result(run_dir)
    if as_json:
        print_json({"kind": "run", **plain_result(result), "run_dir": str(run_dir)})
        return
    from rich.table import Table

    from zoo.cli.terminal import styled

    cell = result.cell
    out = console()
    out.print(styled(result.run_id, "bold"), f"  {cell.model} on {cell.data}, seed {cell.seed}", sep="")
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _facts(result).items():
        table.add_row(styled(name, "bold"), value)
    out.print(table)
    print_scores(result.test, title=f"Scores on {counted(result.test.images, 'test image')}")


def _facts(result: Finished) -> dict[str, str]:
    """Return name -> text of what a reader of the scores must know."""
    cell = result.cell
    facts = {"budget": cell.budget, **({"task": cell.task} if cell.task else {})}
    if cell.recipe.commitment:
        facts["hidden seed"] = cell.recipe.commitment
    if (origin := result.scored) is not None:
        facts["predictions"] = f"made elsewhere, file {origin.file}"
        facts["author"] = origin.author or "not stated"
        facts["cost, by its author"] = origin.cost_note or "not stated"
        if origin.largest_error:
            facts["probabilities"] = f"divided by their sum, which was up to {origin.largest_error:.1e} off 1"
    if result.cost is not None:
        facts["parameters"] = f"{result.cost.parameters:,}"
        facts["minutes"] = f"{result.seconds / 60:.1f}"
    if result.val is not None:
        facts["kept"] = f"epoch {result.val.epoch}: {result.val.in_words()}"
    if (calibrated := result.calibration) is not None:
        facts["calibrated"] = (
            f"temperature {calibrated.temperature:.3g}: log loss {calibrated.log_loss:.4f}, calibration error "
            f"{calibrated.ece:.4f}"
        )
    return {**facts, "folder": str(result.run_dir)}
