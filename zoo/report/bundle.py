"""A store as one ZIP file for an archive such as Zenodo: results, predictions, weights, cards, table, checksums."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any

from zoo.errors import DataError, UsageError, ZooError
from zoo.escaping import markdown_cell
from zoo.paths import file_sha256, in_shell, make_dir, regular_file, written_whole
from zoo.plurals import counted
from zoo.report.tables import make_tables
from zoo.report.text import to_csv, to_markdown
from zoo.results.baselines import NO_BASELINES, Standing
from zoo.results.schema import RunResult
from zoo.results.store import CELL, RESULT, WEIGHTS, Unreadable
from zoo.results.verify import verify_run
from zoo.schema import json_text, plain
from zoo.specs import DatasetSpec
from zoo.tasks.find import CORE, Tasks
from zoo.version import __version__
from zoo.weights.card import make_card

if TYPE_CHECKING:
    from zoo.host import Host

CHECKSUMS = "SHA256SUMS"
"""Name of the file of checksums inside of a bundle."""
_RUNS = "runs"
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Bundled:
    """Content of a bundle that has been written.

    Args:
        runs: Results that it holds.
        left_out: Folders of the store that it lacks, with the causes.
    """

    runs: Sequence[RunResult]
    left_out: Sequence[Unreadable]


def write_bundle(
    host: Host,
    results: Sequence[RunResult],
    rest: Sequence[Unreadable],
    path: Path,
    *,
    licence: str = "mit",
    standing: Standing = NO_BASELINES,
    datasets: Mapping[str, DatasetSpec] = MappingProxyType({}),
    tasks: Tasks = CORE,
) -> Bundled:
    """Write a bundle. Each run is verified first, as by `zoo verify`; a run that is not true is left out.

    The folder `runs` of the bundle is a store. The same store gives the same bytes.

    Args:
        host: The plugins, for the cards.
        results: Results of the store.
        rest: Folders of the store without a result that can be shown; the README names them.
        path: Path of the ZIP file.
        licence: Licence of the weights, which their cards state.
        standing: Baselines, and networks that do not beat them.
        datasets: Id -> spec of the data sets that are installed.
        tasks: Tasks that are installed; see `zoo.tasks.find.tasks_by_name`.

    Raises:
        UsageError: The file exists.
        DataError: No run is true, the file cannot be written, or a file of a run changes while it is copied.
    """
    if os.path.lexists(path):
        raise UsageError(f"{path} exists, and is not overwritten.", hint="Choose another name, or delete it.")
    checked = [_check(host, result, licence=licence, tasks=tasks) for result in results]
    runs = [entry for entry in checked if isinstance(entry, _Run)]
    left_out = [*rest, *(entry for entry in checked if isinstance(entry, Unreadable))]
    kept = [run.result for run in runs]
    if not kept:
        raise DataError(f"No run can be bundled: {'; '.join(f'{one.run_dir}: {one.cause}' for one in left_out)}")
    make_dir(path.absolute().parent)
    with written_whole(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        writer = _Writer(archive)
        writer.add_text("README.md", _readme(kept, left_out, licence, datasets))
        writer.add_text("results.csv", to_csv(kept, standing=standing))
        writer.add_text("environments.json", json_text(_environments(kept), what="environments", indent=2) + "\n")
        for run in runs:
            place = f"{_RUNS}/{run.result.cell.folder}"
            for name, digest in run.files.items():
                writer.add_file(f"{place}/{name}", run.result.run_dir / name, digest=digest)
            if run.card:
                writer.add_text(f"{place}/README.md", run.card)
        writer.add_text(CHECKSUMS, "".join(f"{digest}  {name}\n" for name, digest in writer.digests.items()))
    return Bundled(runs=kept, left_out=left_out)


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A run that is true: its result, name -> SHA-256 of its files, and its card, "" without weights."""

    result: RunResult
    files: Mapping[str, str]
    card: str


def _check(host: Host, result: RunResult, *, licence: str, tasks: Tasks) -> _Run | Unreadable:
    run_dir = result.run_dir
    stated = result.files if result.status == "ok" else {}
    files, card = {}, ""
    try:
        # Before the check, so that what is copied is what was checked.
        files = {name: file_sha256(run_dir / name) for name in (CELL, RESULT)} | dict(sorted(stated.items()))
        problems = list(verify_run(run_dir, tasks=tasks).problems)
        problems += [f"{RESULT} names the file {name}" for name in stated if Path(name).name != name]
        if WEIGHTS in stated and not problems:
            card = make_card(host, run_dir, licence=licence)
    except (OSError, ZooError) as error:
        problems = [str(error)]
    if problems:
        return Unreadable(run_dir=run_dir, cause="; ".join(problems))
    return _Run(result=result, files=files, card=card)


@dataclass(frozen=True)
class _Writer:
    """Adds files to an archive and keeps their SHA-256: name -> 64 hex digits."""

    archive: zipfile.ZipFile
    digests: dict[str, str] = field(default_factory=dict)

    def add_text(self, name: str, text: str) -> None:
        content = text.encode()
        with self._open(name) as entry:
            entry.write(content)
        self.digests[name] = hashlib.sha256(content).hexdigest()

    def add_file(self, name: str, path: Path, *, digest: str) -> None:
        """Copy a file in pieces; `digest` is the SHA-256 that it must have."""
        found = hashlib.sha256()
        try:
            file = regular_file(path).open("rb")
        except OSError as error:
            raise DataError(f"Cannot read {path}: {error.strerror or error}.") from error
        with file, self._open(name) as entry:
            while piece := file.read(_CHUNK):
                found.update(piece)
                entry.write(piece)
        self.digests[name] = digest
        if found.hexdigest() != digest:
            raise DataError(f"{path} changed while it was copied.", hint=f"See: zoo verify {in_shell(path.parent)}")

    def _open(self, name: str) -> IO[bytes]:
        entry = zipfile.ZipInfo(name)  # of 1980, so that the same files give the same archive
        entry.external_attr = (stat.S_IFREG | 0o644) << 16
        # Weights and predictions are noise to a compressor.
        entry.compress_type = zipfile.ZIP_STORED if name.endswith(".safetensors") else zipfile.ZIP_DEFLATED
        return self.archive.open(entry, "w", force_zip64=True)


def _environments(results: Sequence[RunResult]) -> list[dict[str, Any]]:
    """Return each machine with its versions, and the ids of its runs."""
    kinds: dict[str, dict[str, Any]] = {}
    for result in results:
        about = None if result.environment is None else plain(result.environment)
        kind = {"environment": about, "plugins": dict(result.plugins)}
        key = json_text(kind, what="environment", sort_keys=True)
        kinds.setdefault(key, {**kind, "runs": []})["runs"].append(result.run_id)
    return list(kinds.values())


_README = """# Results of benchmarks

{runs}, bundled by lens-zoo {version}. Every run that has scores was verified: its files are those that its result
states, and the scores are those of its stored predictions.

| file | content |
| --- | --- |
| `results.csv` | every number of every run, one run a line |
| `environments.json` | machines and versions of libraries, with the ids of their runs |
| `runs/DATA/MODEL/RUN/` | cell, result, history, predictions, weights and card (README.md) of a run |
| `{checksums}` | SHA-256 of all other files |

Check the files with `sha256sum --check {checksums}`. `runs` is a store of lens-zoo: `zoo report --store runs` shows it,
`zoo verify runs` computes the scores again. Licence of the weights: {licence}.

{tables}
{left_out}"""


def _readme(
    results: Sequence[RunResult], left_out: Sequence[Unreadable], licence: str, datasets: Mapping[str, DatasetSpec]
) -> str:
    lines = [f"- {markdown_cell('/'.join(one.run_dir.parts[-3:]))}: {markdown_cell(one.cause)}" for one in left_out]
    return _README.format(
        runs=counted(len(results), "run"),
        version=__version__,
        checksums=CHECKSUMS,
        licence=markdown_cell(licence),
        tables="\n".join(to_markdown(table) + "\n" for table in make_tables(results, datasets=datasets)),
        left_out="".join(f"{line}\n" for line in ["## Left out", "", *lines]) if lines else "",
    )
