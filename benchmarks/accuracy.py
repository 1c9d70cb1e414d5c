"""Measure the accuracy of the images of every population: errors over the noise of each pixel.

    uv run python benchmarks/accuracy.py                      # print the table; takes minutes to hours on two cores
    uv run python benchmarks/accuracy.py --write              # write the table and docs/populations.md
    uv run python benchmarks/accuracy.py --write --only 'modelA*' --images 48    # measure some, keep the other rows

The reference has 16 rays per pixel and axis, or twice those of the population if these are more. The rows are those of
`zoo simulate NAME --accuracy 48`, at the published size and at the budgets laptop and smoke.
"""

from __future__ import annotations

import argparse
import fnmatch
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from page_parts import replaced

from zoo import registry
from zoo.data.accuracy import LARGEST_ALLOWED, MOST_ALLOWED, Accuracy, measure_accuracy
from zoo.host import Host, load_plugins
from zoo.paths import written_whole
from zoo.specs import DatasetSpec

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "accuracy.md"
PAGE = HERE.parent / "docs" / "populations.md"
HEADER = ("population", "images", "rays per pixel and axis", "of the reference", "99 % of the pixels below", "largest")
TITLE = f"""# Accuracy of the images

Written by `uv run python benchmarks/accuracy.py --write`. Errors are in units of the noise of the same pixel, of images
of seed 0. The bounds are {MOST_ALLOWED} for 99 % of the pixels and {LARGEST_ALLOWED:g} for all of them; figures beyond
are bold.
"""


def cases(host: Host) -> Iterator[tuple[str, DatasetSpec, dict[str, Any]]]:
    """Yield name, data set and changed parameters of every row."""
    specs = {spec.name: spec for spec in registry.listed(host, DatasetSpec) if spec.simulated}
    for name, spec in specs.items():
        yield name, spec, {}
    for budget in ("laptop", "smoke"):
        for name, spec in specs.items():
            if budget in spec.budgets:
                yield f"{name}, budget {budget}", spec, dict(spec.budgets[budget])


def label(name: str) -> str:
    """Return the first cell of a row: the population as code, then its budget."""
    population, comma, budget = name.partition(",")
    return f"`{population}`{comma}{budget}"


def row(name: str, measured: Accuracy) -> str:
    """Return a row of the table."""
    overall = measured.errors[0]
    most, largest = f"{overall.most:.3f}", f"{overall.largest:.2f}"
    cells = [
        label(name),
        str(overall.images),
        str(measured.over_sampling),
        str(measured.reference_over_sampling),
        most if overall.most < MOST_ALLOWED else f"**{most}**",
        largest if overall.largest < LARGEST_ALLOWED else f"**{largest}**",
    ]
    return f"| {' | '.join(cells)} |"


def read_rows() -> dict[str, str]:
    """Return the written rows: first cell -> row."""
    lines = RESULT.read_text(encoding="utf-8").splitlines() if RESULT.exists() else []
    return {line.split("|")[1].strip(): line for line in lines if line.startswith("| `")}


def table(rows: Sequence[str]) -> str:
    """Return the Markdown table."""
    return "\n".join([f"| {' | '.join(HEADER)} |", f"|{'---|' * len(HEADER)}", *rows])


def write(rows: Sequence[str]) -> None:
    """Write the table to its own file and between the marks in docs/populations.md.

    Raises:
        SystemExit: The page lacks the marks.
    """
    texts = {RESULT: f"{TITLE}\n{table(rows)}\n", PAGE: replaced(PAGE, "accuracy.py", table(rows))}
    for path, text in texts.items():
        with written_whole(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=48, help="Measure this many images of each population.")
    parser.add_argument(
        "--only", default="*", metavar="PATTERN", help="Measure only rows whose name fits this pattern."
    )
    parser.add_argument("--device", default="cpu", help="Render on this device.")
    parser.add_argument("--write", action="store_true", help="Write the table after each row.")
    options = parser.parse_args(words)
    host = load_plugins(environment={})
    simulator = registry.find_simulator(host).id
    rows = read_rows() if options.write else {}
    for name, spec, changes in cases(host):
        if not fnmatch.fnmatch(name, options.only):
            continue
        measured = measure_accuracy(
            host, spec.id, simulator, images=options.images, params=changes, device=options.device
        )
        rows[label(name)] = row(name, measured)
        print(rows[label(name)], flush=True)
        if options.write:
            write([rows[label(one)] for one, _, _ in cases(host) if label(one) in rows])


if __name__ == "__main__":
    main()
