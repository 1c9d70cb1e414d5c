"""Measure how detectors of anomalies answer normal lenses that differ from those of their training: nuisances.

    python benchmarks/nuisances.py RUN... --store results     # runs of `zoo bench --task anomaly`, by id or folder
    python benchmarks/nuisances.py RUN... --write             # adds them to the record, and writes the page
    python benchmarks/nuisances.py --write                    # the page again, from the record

Images differ from the test images in one property that is not substructure. A detector of substructure answers them as
it answers plain normal images: the area under the ROC curve between the two is 0.5.

The areas are printed. With --write, they are added to benchmarks/results/nuisances.jsonl, and
benchmarks/results/nuisances.md is written from it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zoo
from zoo import registry, schema
from zoo.data.about import shown_params
from zoo.host import load_plugins
from zoo.inference.evaluate import evaluate, evaluation_recipe
from zoo.paths import write_text
from zoo.specs import DatasetSpec

RESULTS = Path(__file__).resolve().parent / "results"
RECORD, PAGE = RESULTS / "nuisances.jsonl", RESULTS / "nuisances.md"
WIDER = 1.5

_ABOUT = """\
# Nuisances of detectors of anomalies

Written by `uv run python benchmarks/nuisances.py RUN... --write` from [nuisances.jsonl](nuisances.jsonl).

Each detector was trained on lenses without substructure (`zoo bench --task anomaly`). *AUROC* is that of substructure
against none on plain test images. The other columns are the AUROC of changed lenses without substructure against plain
ones without substructure: 0.5 where the change leaves the scores as they are, 1 where every changed lens looks more
anomalous than every plain one; below 0.5, the change makes lenses look less anomalous and can hide substructure. A high
AUROC in the first column is evidence of substructure only where the others are near 0.5. 95 % intervals over the images
in brackets; one training each.
"""


class Row(schema.Record, kw_only=True):
    """Answers of one detector to one nuisance."""

    model: str
    """Id of the model."""
    run_id: str
    """Run id of its training."""
    data: str
    """Id of the data set that it was trained on, and whose test images were changed."""
    shown: list[str]
    """Parameters of the training images that a reader of the scores must know, as "name value"."""
    nuisance: str
    """Name of the change."""
    images: int
    """Number of test images, of all classes."""
    auroc: float
    """Area under the ROC curve of substructure against none, on plain test images."""
    area: float
    """Area of changed normal images against plain normal images."""
    low: float
    """Lower end of its 95 % interval over the images."""
    high: float
    """Upper end."""


def nuisances(spec: DatasetSpec) -> dict[str, dict[str, Any]]:
    """Return name -> changed parameters of a population."""
    from zoo_deeplense.tables import VARIANTS

    return {
        f"PSF {WIDER:g} times as wide": {"psf_width": WIDER * spec.params["psf_width"]},
        "elliptical, multipoles of 1 %": VARIANTS["multipoles"],
        "lens off the centre": VARIANTS["offcentre"],
    }


def main(words: Sequence[str] | None = None) -> None:
    """Measure the runs, and print the rows or add them to the record and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="*", help="Weights, in any form that `zoo evaluate` accepts.")
    parser.add_argument("--images", type=int, default=2048, help="Number of test images of each kind.")
    parser.add_argument("--store", type=Path, default=Path("results"), help="Store that is searched for run ids.")
    parser.add_argument("--write", action="store_true", help="Add the rows to the record, and write the page from it.")
    options = parser.parse_args(words)
    rows = read_record() if options.write else []
    for name in options.weights:
        new = measure(name, images=options.images, store=options.store)
        rows = [row for row in rows if row.run_id != new[0].run_id] + new
        if options.write:
            write_text(RECORD, "".join(json.dumps(schema.plain(row)) + "\n" for row in rows))
    if options.write:
        write_text(PAGE, page(rows))
    else:
        print(page(rows))


def measure(weights: str, *, images: int, store: Path) -> list[Row]:
    """Return the areas of trained weights for every nuisance."""
    host = load_plugins()
    trained = zoo.load(weights, store=store, host=host)
    made_by = trained.about.recipe
    spec = registry.find(host, DatasetSpec, made_by.dataset)
    common: dict[str, Any] = {
        "model": trained.about.model, "run_id": trained.about.run_id, "data": made_by.dataset,
        "shown": shown_params(spec, made_by.params), "images": images,
    }  # fmt: skip
    plain = evaluate(host, trained, evaluation_recipe(host, trained), images=images).in_order
    rows = []
    for name, params in nuisances(spec).items():
        found = evaluate(host, trained, evaluation_recipe(host, trained, params=params), images=images).in_order
        area = found["auroc_nuisance"]
        low, high = area.interval
        auroc = next(iter(plain.values())).value
        rows.append(Row(**common, nuisance=name, auroc=auroc, area=area.value, low=low, high=high))
        print(trained.about.model, name, f"{area.value:.4f}", flush=True)
    return rows


def read_record() -> list[Row]:
    """Return the rows of the record; none where there is no file."""
    if not RECORD.exists():
        return []
    lines = RECORD.read_text(encoding="utf-8").splitlines()
    return [schema.read_record(json.loads(line), Row, what="A line of the record") for line in lines]


def page(rows: Sequence[Row]) -> str:
    """Return the Markdown of the page: a table for each data set, best detectors first."""
    text = _ABOUT
    for data in dict.fromkeys(row.data for row in rows):
        own = [row for row in rows if row.data == data]
        names = list(dict.fromkeys(row.nuisance for row in own))
        images = " or ".join(f"{count:,}" for count in sorted({row.images for row in own}))
        shown = "; ".join(dict.fromkeys(", ".join(row.shown) for row in own))
        text += f"\n## {data}\n\n{images} test images of each kind, a third of them without substructure; {shown}.\n\n"
        text += f"| detector | run | AUROC | {' | '.join(names)} |\n| --- | --- | ---: |{' ---: |' * len(names)}\n"
        runs = dict.fromkeys(row.run_id for row in sorted(own, key=lambda row: -row.auroc))
        for run in runs:
            areas = {row.nuisance: row for row in own if row.run_id == run}
            first = next(iter(areas.values()))
            cells = [f"{areas[name].area:.3f} ({areas[name].low:.3f} to {areas[name].high:.3f})" for name in names]
            text += f"| `{first.model}` | `{run[:4]}` | {first.auroc:.4f} | {' | '.join(cells)} |\n"
    return text


if __name__ == "__main__":
    main()
