"""From what a user types to the folder of one run: a path, or the first digits of its run id."""

from __future__ import annotations

import os
import re
from pathlib import Path

from zoo.errors import DataError, UsageError, nearest
from zoo.paths import in_shell, user_path
from zoo.results.schema import Finished
from zoo.results.store import CELL, open_result

SHORTEST_PREFIX = 4


def find_run(name: str, *, store: Path) -> Path:
    """Return the folder of a run.

    Args:
        name: A folder that holds cell.json, or at least four first digits of a run id.
        store: Store that is searched for run ids.

    Raises:
        UsageError: Run not found, or several match.
    """
    folder = user_path(name)
    if os.path.isfile(folder / CELL):  # Path.is_file raises where a name is too long
        return folder
    found = matching_runs(name, store=store)
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"The run '{name}' is ambiguous: {', '.join(map(str, found[:4]))}.", hint="Give more digits, or a folder."
        )
    known = sorted({path.parent.name for path in store.glob(f"*/*/*/{CELL}")} - {name})
    raise UsageError(
        f"Run '{name}' was not found in {store}, and is not the folder of a run.{nearest(name, known)}",
        hint=f"See: zoo status --store {in_shell(store)}",
    )


def means_run(name: str, *, store: Path) -> bool:
    """Whether a text is the folder of a run, or begins the id of one in a store."""
    return os.path.isfile(user_path(name) / CELL) or bool(matching_runs(name, store=store))


def matching_runs(name: str, *, store: Path) -> list[Path]:
    """Return the folders of a store whose run id begins with these hex digits; empty for other texts."""
    if len(name) < SHORTEST_PREFIX or not re.fullmatch(r"[0-9a-f]+", name.lower()):
        return []
    return sorted(path.parent for path in store.glob(f"*/*/{name.lower()}*/{CELL}"))


def good_result(run_dir: Path) -> Finished:
    """Return the result of a run that ended well.

    Raises:
        DataError: The run failed (the error states the cause), has not ended, or its result is damaged.
    """
    try:
        result = open_result(run_dir)
    except FileNotFoundError as error:
        raise DataError(f"The run {run_dir} has no result: it has not ended.") from error
    except OSError as error:
        raise DataError(f"Cannot read the result of {run_dir}: {error.strerror or error}.") from error
    except DataError as error:
        raise DataError(f"The run {run_dir}: {error.args[0]}", hint=f"See: zoo verify {in_shell(run_dir)}") from error
    if result.status != "ok":
        raise DataError(
            f"The run {run_dir} did not end well ({result.status}): {result.cause}",
            hint=f"See {run_dir / 'log.txt'}; the bench command that made it runs it again.",
        )
    return result


def trained_result(run_dir: Path) -> Finished:
    """Return the result of a run that ended well, with its weights.

    Raises:
        DataError: As for `good_result`; or predictions that were made elsewhere.
    """
    result = good_result(run_dir)
    if result.scored:
        raise DataError(
            f"{run_dir} holds predictions of {result.cell.model}, which were made elsewhere: it has no weights.",
            hint=f"See: zoo show {in_shell(run_dir)}",
        )
    return result
