"""Measure the populations: peak SNR, ring radius, mass fractions, and the AUC of the linear scalar probe.

    python benchmarks/populations.py                     # Markdown; every population at its own size
    python benchmarks/populations.py modelA modelB --images 600
    python benchmarks/populations.py --write             # adds them to the record, and writes docs/populations.md
    python benchmarks/populations.py --orientation       # fraction of images along one axis

The scalar probe is trained for each form of `conserve_mass` on images of at most `--probe-size` pixels with the same
field of view, which is sufficient for flux and radius.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from page_parts import replaced, wrapped

import zoo
from zoo import registry
from zoo.data.split import Split
from zoo.host import load_plugins
from zoo.paths import write_text
from zoo.plurals import counted
from zoo.processor import processor_name
from zoo.schema import plain
from zoo.scores.probe import probe_splits
from zoo.scores.scalars import NAMES, scalars_of
from zoo.specs import DatasetSpec

RECORD = Path(__file__).resolve().parent / "results" / "populations.jsonl"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "populations.md"
SCENES = 3000
CLASSES = ("no_substructure", "subhalo", "vortex")


def open_split(spec: DatasetSpec, split: str, images: int, **params: Any) -> Split:
    """Return simulated images of a population."""
    return zoo.open_dataset(spec.id, split=split, images=images, **params)


def measure(spec: DatasetSpec, *, images: int, probe_images: int, probe_size: int) -> dict[str, Any]:
    """Return the figures of one population."""
    split = open_split(spec, "train", images)
    scale = float(spec.params["pixel_scale"])
    # Masses and radii need scenes only, so many can be drawn.
    scenes = registry.load_target(spec)(**spec.params).sample(np.arange(SCENES), "measure/train")
    fraction = scenes.parameters["substructure_mass_fraction"]
    size = min(probe_size, int(spec.params["image_size"]))
    coarse = {"image_size": size, "pixel_scale": scale * int(spec.params["image_size"]) / size}
    probes = {}
    for conserve in spec.switch_values:
        changes = {**coarse, "conserve_mass": conserve}
        train, test = (open_split(spec, name, probe_images, **changes) for name in ("train", "test"))
        probes[conserve] = probe_splits(train, test)
    return {
        "population": spec.name,
        "version": spec.version,
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "processor": processor_name(),
        "images": images,
        "probe_images": probe_images,
        "probe_size": size,
        "snr": np.quantile(split.parameters["snr"], [0.05, 0.5, 0.95]).tolist(),
        "einstein_radius": np.quantile(scenes.parameters["total_einstein_radius"], [0.05, 0.5, 0.95]).tolist(),
        "ring": np.quantile(
            scalars_of(torch.from_numpy(split.images))[:, NAMES.index("radius")].numpy() * scale, [0.05, 0.5, 0.95]
        ).tolist(),
        "fraction": {name: float(fraction[scenes.label == k].mean()) for k, name in enumerate(CLASSES)},
        "conserve_mass": spec.params["conserve_mass"],
        "probe": {conserve: plain(found) for conserve, found in probes.items()},
    }


def along_one_axis(spec: DatasetSpec, **changes: Any) -> float:
    """Return the fraction of noiseless images with an elongation within 10 degrees of the most frequent direction."""
    params = {**spec.params, "image_size": 40, "pixel_scale": 0.19, **changes}
    population = registry.load_target(spec)(**params)
    render = registry.load_target(registry.find_simulator(load_plugins(), ""))
    scenes = population.sample(np.arange(300), "orientation/train")
    light = render(scenes, population.instrument, device="cpu", expected_images=300).source.double().numpy()
    axis = np.arange(40) - 19.5
    flux = light.sum((1, 2))

    def mean(weight: np.ndarray) -> np.ndarray:
        return np.asarray((light * weight).sum((1, 2)) / flux)

    x, y = np.meshgrid(axis, axis)
    # The second moments about the centre of light rotate twice as fast as the image.
    ellipticity = (mean(x * x) - mean(x) ** 2) - (mean(y * y) - mean(y) ** 2) + 2j * (mean(x * y) - mean(x) * mean(y))
    doubled = ellipticity / np.abs(ellipticity)
    return float((np.abs(np.degrees(np.angle(doubled / doubled.mean()))) / 2 < 10).mean())


def print_orientations(spec: DatasetSpec) -> None:
    """Print how strongly narrow angles of shear and source align the images of `published`."""
    every = "U(0, 6.283185307179586)"
    for label, changes in (
        ("shear and source", {}),
        ("shear alone", {"source_angle": every}),
        ("neither", {"source_angle": every, "shear_angle": every}),
    ):
        print(f"narrow angles of {label}: {along_one_axis(spec, **changes):.0%} within 10 degrees of one axis")


def to_markdown(found: Sequence[dict[str, Any]]) -> str:
    """Return the table of docs/populations.md, and how it was measured."""
    lines = [
        "| population | peak SNR | Einstein radius | light-weighted radius | mass in sub-haloes | in the vortex "
        "| probe AUC, `ring` | `components` | `none` |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        probes = []
        for conserve, probe in row["probe"].items():
            low, high = probe["interval"]
            text = f"{probe['auc']['macro']:.3f} ({low:.3f} to {high:.3f})"
            probes.append(f"**{text}**" if row["conserve_mass"] == conserve else text)
        ranges = (_range(row["snr"], 0), _range(row["einstein_radius"], 2), _range(row["ring"], 2))
        masses = (f"{100 * row['fraction'][name]:.2f} %" for name in CLASSES[1:])
        lines.append(f"| `{row['population']}` | {' | '.join([*ranges, *masses, *probes])} |")
    how: dict[str, set[str]] = {}
    for row in found:
        text = (
            f"peak SNR and light-weighted radius from {counted(row['images'], 'image')} at full size, masses and "
            f"Einstein radii from {SCENES:,} scenes, the last three columns from {row['probe_images']:,} training and "
            f"as many test images of {row['probe_size']} x {row['probe_size']} pixels"
        )
        how.setdefault(text, set()).add(f"{row['date']}, {row['processor']}")
    told = "; ".join(f"{text} ({'; '.join(sorted(when))})" for text, when in how.items())
    return "\n".join([*lines, "", wrapped(f"Measured: {told}.")])


def read_record() -> dict[str, dict[str, Any]]:
    """Return the rows of the record: population -> row."""
    lines = RECORD.read_text(encoding="utf-8").splitlines() if RECORD.exists() else []
    return {row["population"]: row for row in map(json.loads, lines)}


def _range(quantiles: list[float], digits: int) -> str:
    low, middle, high = (f"{value:.{digits}f}" for value in quantiles)
    return middle if low == high else f"{middle} ({low} to {high})"


def main(words: Sequence[str] | None = None) -> None:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(description="Measure the populations.")
    parser.add_argument("names", nargs="*", help="Measure only these populations; default: all.")
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--probe-images", type=int, default=1280)
    parser.add_argument("--probe-size", type=int, default=32)
    parser.add_argument("--orientation", action="store_true")
    parser.add_argument("--write", action="store_true", help="Add the rows to the record, and write the page from it.")
    arguments = parser.parse_args(words)
    listed = registry.listed(load_plugins(), DatasetSpec)
    specs = [spec for spec in listed if spec.simulated and spec.namespace == "deeplense"]
    if arguments.orientation:
        print_orientations(next(spec for spec in specs if spec.name == "published"))
        return
    if unknown := set(arguments.names) - {spec.name for spec in specs}:
        parser.error(f"unknown populations: {', '.join(sorted(unknown))}; known are {', '.join(s.name for s in specs)}")
    chosen = [spec for spec in specs if not arguments.names or spec.name in arguments.names]
    rows = read_record() if arguments.write else {}
    for spec in chosen:
        rows[spec.name] = measure(
            spec, images=arguments.images, probe_images=arguments.probe_images, probe_size=arguments.probe_size
        )
        print(spec.name, file=sys.stderr)
        if arguments.write:
            ordered = [rows[one.name] for one in specs if one.name in rows]
            write_text(RECORD, "".join(json.dumps(row) + "\n" for row in ordered))
            write_text(PAGE, replaced(PAGE, "populations.py", to_markdown(ordered)))
    print(to_markdown([rows[spec.name] for spec in chosen]))


if __name__ == "__main__":
    main()
