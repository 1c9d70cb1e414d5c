"""From what a user types to a file of weights: a name, a run, a file, or a repository on the hub. No torch here."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from zoo.errors import DataError, UsageError, nearest
from zoo.models.weights_file import read_header
from zoo.paths import in_shell
from zoo.remote import readable_path
from zoo.results.files import checked_file
from zoo.results.find import find_run, matching_runs, trained_result
from zoo.results.store import CELL, WEIGHTS
from zoo.specs import ModelSpec

if TYPE_CHECKING:
    from zoo.host import Host

HUB = "hf://"


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One entry of `zoo weights list`.

    Args:
        name: Name that `zoo.load` accepts.
        source: "package" or "store".
        path: Path of the file.
    """

    name: str
    source: Literal["package", "store"]
    path: Path


def find_weights(host: Host, name: str, *, store: Path) -> Path:
    """Return the file that a name means.

    Args:
        host: The plugins, whose models may ship weights.
        name: "p4m.modelA" (a model and one of its `ModelSpec.weights`); a file; the folder of a run; the first
            digits of a run id in `store`; "hf://owner/name" and "hf://owner/name/file"; or another address of a file
            or the folder of a run, such as "s3://bucket/file".
        store: Store that is searched for run ids.

    Raises:
        UsageError: The name is unknown or ambiguous.
        DataError: The run failed, or a file is missing.
        MissingError: The hub or the storage is out of reach.
    """
    if name.startswith(HUB):
        from zoo.weights.hub import fetch

        return fetch(name)
    path = readable_path(name)
    # Path.is_file raises where a name is too long.
    if os.path.isfile(path):
        in_a_run = path.name == WEIGHTS and (path.parent / CELL).is_file()
        return weights_of(path.parent) if in_a_run else path
    if os.path.isfile(path / CELL):
        return weights_of(path)
    found = packaged_as(host, name)
    exact = [entry for entry in found if entry.name.lower() == name.strip().lower()]
    first_party = [entry for entry in found if host.records[entry.name.partition("/")[0]].first_party]
    for chosen in (exact, found, first_party):
        if len(chosen) == 1:
            return _existing(chosen[0])
    if found:
        raise UsageError(f"The weights '{name}' are ambiguous: {', '.join(entry.name for entry in found)}.")
    if matching_runs(name, store=store):
        return weights_of(find_run(name, store=store))
    raise unknown_weights(host, name, store=store)


def unknown_weights(host: Host, name: str, *, store: Path, files: bool = True) -> UsageError:
    """Return the error of a name that means no weights.

    Args:
        host: The plugins.
        name: The name.
        store: Store that was searched for run ids.
        files: Whether a file of weights would have been accepted.
    """
    wanted = name.strip().lower()
    bundled = [_bare(entry.name) for entry in packaged_weights(host) if wanted in _models_of(entry.name)]
    if bundled:
        return UsageError(f"'{name}' is a model and not weights.", hint=f"Its weights: {', '.join(bundled)}")
    forms = f"{'a file, ' if files else ''}a run in {store} or weights of a plugin"
    return UsageError(
        f"Weights '{name}' were not found: not {forms}.{nearest(name, weights_names(host, store=store))}",
        hint=f"See: zoo weights list --store {in_shell(store)}; of another store, give the folder: "
        "STORE/DATA/MODEL/RUN",
    )


def weights_names(host: Host, *, store: Path) -> list[str]:
    """Return the names of weights for suggestions: bundled ones without and with their plugin, and runs of a store."""
    bundled = [entry.name for entry in packaged_weights(host)]
    runs = sorted(path.parent.name for path in store.glob(f"*/*/*/{WEIGHTS}"))  # not read: a store may have thousands
    return [*map(_bare, bundled), *bundled, *runs]


def packaged_as(host: Host, name: str) -> list[Listed]:
    """Return the bundled weights that a name means: several where plugins share it, none for other names."""
    wanted = name.strip().lower()
    return [entry for entry in packaged_weights(host) if wanted in (entry.name.lower(), _bare(entry.name).lower())]


def packaged_weights(host: Host) -> Iterator[Listed]:
    """Yield the weights that plugins ship."""
    for spec in host.specs_of(ModelSpec):
        assert isinstance(spec, ModelSpec)
        for key, file in spec.weights.items():
            yield Listed(name=f"{spec.id}.{key}", source="package", path=_package_folder(spec) / file)


def shipped_card(host: Host, name: str) -> str | None:
    """Return the card of bundled weights; None for other weights, and for those without a card."""
    for entry in packaged_as(host, name):
        card = entry.path.with_suffix(".md")
        if card.is_file():
            return card.read_text(encoding="utf-8")
    return None


def stored_weights(store: Path) -> Iterator[Listed]:
    """Yield the weights of the runs in a store that ended well, in the order of the folders."""
    for path in sorted(store.glob(f"*/*/*/{WEIGHTS}")):
        with contextlib.suppress(DataError):
            weights_of(path.parent)
            yield Listed(name=path.parent.name, source="store", path=path)


def _bare(name: str) -> str:
    return name.partition("/")[2]


def _models_of(name: str) -> tuple[str, str]:
    """Return id and bare name of the model of bundled weights, in lower case."""
    model = name.partition(".")[0].lower()
    return model, _bare(model)


def _package_folder(spec: ModelSpec) -> Path:
    """Return the folder of the package that a spec's target lies in, without importing it."""
    package = spec.target.partition(":")[0].partition(".")[0]
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise DataError(f"{spec.id} ships weights in the package {package}, which cannot be found.")
    return Path(found.origin).parent


def _existing(entry: Listed) -> Path:
    if not entry.path.is_file():
        raise DataError(f"The weights {entry.name} should be in {entry.path}, which does not exist.")
    return entry.path


def weights_of(run_dir: Path) -> Path:
    """Return the weights of a run that ended well.

    Raises:
        DataError: The run failed, or its weights are missing, altered or of another run.
    """
    result = trained_result(run_dir)
    path = run_dir / WEIGHTS
    if not path.is_file():
        raise DataError(f"The run {run_dir} has no {WEIGHTS} any more.", hint="Train again: zoo bench ... --force")
    if (run_id := read_header(path).about.run_id) != result.run_id:
        raise DataError(
            f"{path} holds weights of the run {run_id}; its folder is of the run {result.run_id}.",
            hint=f"See: zoo verify {in_shell(run_dir)}",
        )
    return checked_file(result, WEIGHTS)
