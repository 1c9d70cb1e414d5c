"""Score trained networks on lenses with multipoles, lens light, other masses, another place or real galaxies.

    python benchmarks/robustness.py p4m.modelA p4m.modelB      # weights by name, run folder or file
    python benchmarks/robustness.py p4m.modelA --write         # adds what the record lacks, and writes the page
    python benchmarks/robustness.py --write                    # the page again, from the record

Every variant, and the elliptical haloes of the variant with multipoles alone, changes the parameters of the data set
that a network was trained on, so its images show the same sources, shears and masses, and differences are paired. Only
`real_sources` is a data set of its own, drawn with the parameters of the training images: its lenses are others. One
threshold on the probability of substructure, which 5 % of the plain smooth test images exceed, gives the false-positive
rate and the share of sub-halo images that are missed.

The scores are printed. With --write, they are added to benchmarks/results/robustness.jsonl, and
benchmarks/results/robustness.md is written from it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import zoo
from zoo import registry, schema
from zoo.data.about import shown_params, version_note
from zoo.data.recipe import SPLITS
from zoo.host import load_plugins
from zoo.inference.evaluate import evaluation_recipe, open_evaluation
from zoo.paths import write_text
from zoo.scores.intervals import Grouping, interval_of_share
from zoo.scores.score import score
from zoo.specs import DatasetSpec

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
RECORD, PAGE = RESULTS / "robustness.jsonl", RESULTS / "robustness.md"
TRAININGS = RESULTS / "headline.jsonl"
PLAIN = "plain"
REAL = "real_sources"
SMOOTH, SUBHALO = "no_substructure", "subhalo"
RATE = 0.05

_ABOUT = """\
# Networks on lenses that they were not trained for

Written by `uv run python benchmarks/robustness.py WEIGHTS... --write` from [robustness.jsonl](robustness.jsonl).

Each network was trained on round haloes with point masses and scored on the same test lenses with a change (a name
beside that of a network is a channel that it sees beside the image);
[populations.md](../../docs/populations.md#variants-of-models-a-and-b) describes the changes. *multipoles* are on
elliptical haloes, which *elliptical* has without them. *real_sources* are other lenses with the same parameters, whose
sources are [pictures of galaxies](../../docs/populations.md#real-galaxies); intervals there are over the galaxies. The
threshold is the probability of substructure that 5 % of a network's plain smooth test images (no substructure) exceed.
False positives are smooth lenses above it, and a sub-halo image is missed that is not above it: a classifier without
information misses 95 %. The interval of the false positives holds the uncertainty of the threshold, too (bootstrap over
the lenses, at least that of a share of so many images); `-` where the smooth lenses are the plain ones, which have 5 %
by construction. The last column is the share of sub-halo images whose most probable class is the smooth one, which
depends on no threshold. One training each: another one may give other figures. The networks were trained on different
numbers of images, which stand below the table. So compare the rows of one network; rows of different networks do not
compare the networks. Baselines and plain twins are not among them.

| network | run | test images | macro AUC (95 %) | change | false positives (95 %) | missed | most probably smooth |
| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |
"""


CARD_HEADING = "## On other lenses"
_ON_CARD = """\
Scores on {images:,} test images of each kind, a third of them smooth, which differ from the training images as stated.
False positives: share of the smooth lenses above the threshold that 5 % of the plain ones exceed (-: these smooth
lenses are the plain ones). Missed: share of the sub-halo images that are not above it (95 % for a classifier without
information). Most probably smooth: share of the sub-halo images whose most probable class is no_substructure. Intervals
are over images, for real galaxies over the galaxies, since images of one galaxy are not independent.

| lenses | macro AUC (95 %) | false positives (95 %) | missed | most probably smooth |
| --- | ---: | ---: | ---: | ---: |
"""
_IN_WORDS = {
    PLAIN: "plain",
    "elliptical": "elliptical haloes",
    "multipoles": "elliptical haloes with multipoles of 1 %",
    "lens_light": "with light of the lens",
    "tnfw": "truncated NFW sub-haloes in place of point masses",
    "beta19": "sub-halo masses of slope -1.9",
    "offcentre": "lens up to 0.05 arcsec off the centre",
    REAL: "real galaxies as sources, of other lenses",
}


class Row(schema.Record, kw_only=True):
    """Scores of one network on one variant."""

    model: str
    """Id of the network."""
    run_id: str
    """Run id of its training."""
    data: str
    """Id of the data set that it was trained on, and whose test images were changed."""
    data_version: int
    """Version of that data set at the training."""
    shown: list[str]
    """Parameters of the training images that a reader of the scores must know, as "name value"."""
    channels: tuple[str, ...] = ()
    """Names of the derived channels beside the image."""
    variant: str
    """Key of `tables.VARIANTS`, "elliptical", "real_sources" or "plain"."""
    images: int
    """Number of test images, of all classes."""
    macro_auc: float
    """Mean of the classes' one-vs-rest areas under the ROC curve."""
    low: float
    """Lower end of its 95 % interval over the images, or their galaxies."""
    high: float
    """Upper end."""
    smooth: int
    """Number of test images without substructure."""
    false_positives: int
    """How many of them exceed the threshold of the plain images."""
    rate_low: float | None
    """Lower end of the 95 % interval of their share; None if they are the plain ones, which set the threshold."""
    rate_high: float | None
    """Upper end."""
    subhaloes: int
    """Number of test images with sub-haloes."""
    missed: int
    """How many of them do not exceed the threshold."""
    most_probably_smooth: int
    """How many of them have the smooth class as their most probable one."""


def main(words: Sequence[str] | None = None) -> None:
    """Score the weights, and print the rows or add them to the record and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="*", help="Weights, in any form that `zoo evaluate` accepts.")
    parser.add_argument("--images", type=int, default=2048, help="Number of test images of each variant.")
    parser.add_argument("--store", type=Path, default=Path("results"), help="Store that is searched for run ids.")
    parser.add_argument("--write", action="store_true", help="Add the rows to the record, and write the page from it.")
    options = parser.parse_args(words)
    rows = read_record() if options.write else []
    for name in options.weights:
        new = measure(name, images=options.images, store=options.store, known=rows)
        at = next((number for number, row in enumerate(rows) if row.run_id == new[0].run_id), len(rows))
        rows = [*rows[:at], *new, *(row for row in rows[at:] if row.run_id != new[0].run_id)]
        if options.write:
            write_text(RECORD, "".join(json.dumps(schema.plain(row)) + "\n" for row in rows))
    if options.write:
        write_text(PAGE, page(rows))
        for path, text in cards(rows).items():
            write_text(path, text)
    else:
        print(page(rows))


def measure(weights: str, *, images: int, store: Path, known: Sequence[Row]) -> list[Row]:
    """Return the scores of trained weights on plain test images and on every change; known ones are not measured."""
    from zoo_deeplense.tables import VARIANTS

    host = load_plugins()
    trained = zoo.load(weights, store=store, host=host)
    channels = tuple(name.partition("/")[2] for name in trained.about.recipe.channels or {})
    rows: list[Row] = []
    plain = np.empty(0)
    ellipse = {name: value for name, value in VARIANTS["multipoles"].items() if name != "multipoles"}
    # The data set of its own has no change, but its defaults are not the parameters of every training.
    own = dict(trained.about.recipe.params)
    changes: Mapping[str, Mapping[str, Any]] = {PLAIN: {}, "elliptical": ellipse, **VARIANTS, REAL: own}
    before = {row.variant: row for row in known if row.run_id == trained.about.run_id}
    for variant, params in changes.items():
        if variant in before and (variant != PLAIN or before.keys() >= changes.keys()):
            rows.append(before[variant])
            continue  # the plain images set the threshold of what is missing
        recipe = evaluation_recipe(host, trained, data=REAL if variant == REAL else None, params=params)
        split = open_evaluation(host, trained, recipe, sizes=dict.fromkeys(SPLITS, images)).split("test")
        batches = (batch for chunk in split.chunks for batch in torch.from_numpy(np.array(chunk)).split(256))
        probabilities = np.concatenate([trained.predict_proba(batch, calibrated=False) for batch in batches])
        logits = torch.from_numpy(np.log(np.clip(probabilities, 1e-30, None)))
        labels = torch.from_numpy(split.labels.astype(np.int64))
        scores = score(logits, labels, trained.about.classes, groups=split.groups)
        of_substructure = substructure(probabilities, trained.about.classes)
        is_smooth = split.labels == split.classes.index(SMOOTH)
        smooth = of_substructure[is_smooth]
        is_subhalo = split.labels == split.classes.index(SUBHALO)
        if variant == PLAIN:
            plain = smooth
        threshold = float(np.quantile(plain, 1 - RATE))
        low, high = scores.intervals["auc.macro"]
        rate_low, rate_high = None, None
        if not np.array_equal(smooth, plain):
            groups = None if split.groups is None else split.groups.numbers[is_smooth]
            rate_low, rate_high = rate_interval(plain, smooth, paired=variant != REAL, groups=groups)
        row = Row(
            model=trained.about.model, run_id=trained.about.run_id, data=trained.about.recipe.dataset,
            data_version=trained.about.recipe.dataset_version,
            shown=shown_params(registry.find(host, DatasetSpec, recipe.dataset), trained.about.recipe.params),
            channels=channels, variant=variant, images=len(split.labels),
            macro_auc=scores.auc["macro"], low=low, high=high, smooth=len(smooth),
            false_positives=int((smooth > threshold).sum()), rate_low=rate_low, rate_high=rate_high,
            subhaloes=int(is_subhalo.sum()), missed=int((of_substructure[is_subhalo] <= threshold).sum()),
            most_probably_smooth=int((probabilities[is_subhalo].argmax(1) == split.classes.index(SMOOTH)).sum()),
        )  # fmt: skip
        rows.append(before.get(variant, row))
        print(variant, f"{scores.auc['macro']:.4f}", f"{(smooth > threshold).mean():.3f}", flush=True)
    return rows


def substructure(probabilities: NDArray[np.float64], classes: Sequence[str]) -> NDArray[np.float64]:
    """Return [N] the probability of any class with substructure."""
    total: NDArray[np.float64] = 1 - probabilities[:, list(classes).index(SMOOTH)]
    return total


def rate_interval(
    plain: NDArray[np.float64],
    changed: NDArray[np.float64],
    *,
    paired: bool = True,
    groups: NDArray[np.int64] | None = None,
    draws: int = 2000,
) -> tuple[float, float]:
    """Return the 95 % interval of the share of changed lenses above the threshold that 5 % of the plain ones exceed.

    The percentile bootstrap draws lenses, and from them the threshold again; where it is narrower than the interval of
    a share of so many images, as where all or none exceed the threshold, that one is returned.

    Args:
        plain: Probability of substructure of N plain smooth lenses.
        changed: That of the same N lenses, changed in one thing; without `paired` of M others.
        paired: Whether the lenses are the same.
        groups: [M] number of the group of each changed lens, such as the galaxy that it shows, drawn whole; None where
            all are independent. Of lenses that are not paired.
        draws: Number of samples of the bootstrap.
    """
    random = np.random.default_rng(0)
    drawn = random.integers(len(plain), size=(draws, len(plain)))
    thresholds = np.quantile(plain[drawn], 1 - RATE, axis=1)
    if (grouping := Grouping.of(groups)) is None:
        others = drawn if paired else random.integers(len(changed), size=(draws, len(changed)))
        rates = (changed[others] > thresholds[:, None]).mean(1)
    else:
        times = grouping.times(random, draws)[:, grouping.numbers]
        rates = ((changed > thresholds[:, None]) * times).sum(1) / times.sum(1)
    low, high = np.quantile(rates, (0.025, 0.975))
    if grouping is not None:
        low, high = grouping.widened(float((changed > np.quantile(plain, 1 - RATE)).mean()), (low, high))
    least, most = interval_of_share(changed > np.quantile(plain, 1 - RATE), groups=groups)
    return max(0.0, min(float(low), least)), min(1.0, max(float(high), most))


def read_record() -> list[Row]:
    """Return the rows of the record; none where there is no file."""
    if not RECORD.exists():
        return []
    lines = RECORD.read_text(encoding="utf-8").splitlines()
    return [schema.read_record(json.loads(line), Row, what="A line of the record") for line in lines]


def training_images() -> dict[str, int]:
    """Return run id -> number of training images, of the trainings in the record of results."""
    trainings = map(json.loads, TRAININGS.read_text(encoding="utf-8").splitlines())
    return {one["run_id"]: one["cell"]["sizes"]["train"] for one in trainings}


def trained_on(run_ids: Iterable[str]) -> str:
    """Return the sentence on how many images each network was trained on."""
    known, groups = training_images(), dict[str, list[str]]()
    for run_id in dict.fromkeys(run_ids):
        count = f"{known[run_id]:,}" if run_id in known else "not recorded"
        groups.setdefault(count, []).append(f"`{run_id[:4]}`")
    parts = [f"{count} ({', '.join(names)})" for count, names in groups.items()]
    return f"Training images: {'; '.join(parts)}."


def page(rows: Sequence[Row]) -> str:
    """Return the Markdown of the page."""
    text, notes = _ABOUT, {}
    plain = {row.run_id: row for row in rows if row.variant == PLAIN}
    for row in rows:
        change = "" if row.variant == PLAIN else f"{row.macro_auc - plain[row.run_id].macro_auc:+.4f}"
        channels = "".join(f", `{name}`" for name in row.channels)
        text += (
            f"| `{row.model}`{channels} on {row.data.partition('/')[2]} | `{row.run_id[:4]}` | {row.variant} "
            f"| {row.macro_auc:.4f} ({row.low:.4f} to {row.high:.4f}) | {change} "
            f"| {rates(row)} |\n"
        )
        spec = registry.find(load_plugins(environment={}), DatasetSpec, row.data)
        if note := version_note(spec, row.data_version):
            notes[row.data] = f"The network of {row.data} was trained on images {note}."
    text += f"\n{trained_on(row.run_id for row in rows)}\n"
    shown: dict[str, dict[str, None]] = {}
    for row in rows:
        shown.setdefault(row.data.partition("/")[2], {}).update(dict.fromkeys(row.shown))
    trained = "; ".join(f"{data}: {', '.join(names)}" for data, names in shown.items())
    text += f"\nParameters of the training images, and of the test images but for the change: {trained}.\n"
    images = sorted({row.images for row in rows})
    text += f"\n{' or '.join(f'{count:,}' for count in images)} test images of each kind, a third of them smooth.\n"
    return text + "".join(f"\n{note}\n" for note in notes.values())


def rates(row: Row) -> str:
    """Return the cells of false positives, missed sub-haloes, and those that are most probably smooth."""
    positives = "-"
    if row.rate_low is not None:
        positives = f"{row.false_positives / row.smooth:.1%} ({row.rate_low:.1%} to {row.rate_high:.1%})"
    return f"{positives} | {row.missed / row.subhaloes:.1%} | {row.most_probably_smooth / row.subhaloes:.1%}"


def cards(rows: Sequence[Row]) -> dict[Path, str]:
    """Return the cards of bundled weights whose scores are recorded: path -> text with a table of them."""
    found = {}
    for path in sorted(ROOT.glob("plugins/*/zoo_*/weights/*.json")):
        run_id = json.loads(path.read_text(encoding="utf-8"))["run_id"]
        if own := [row for row in rows if row.run_id == run_id]:
            found[path.with_suffix(".md")] = with_table(path.with_suffix(".md").read_text(encoding="utf-8"), own)
    return found


def with_table(card: str, rows: Sequence[Row]) -> str:
    """Return a card with the table of these rows before its section on loading, in place of an earlier one."""
    text = _ON_CARD.format(images=rows[0].images)
    for row in rows:
        text += f"| {_IN_WORDS[row.variant]} | {row.macro_auc:.4f} ({row.low:.4f} to {row.high:.4f}) | {rates(row)} |\n"
    before, heading, after = card.partition("## How to load\n")
    return f"{before.partition(CARD_HEADING)[0]}{CARD_HEADING}\n\n{text}\n{heading}{after}"


if __name__ == "__main__":
    main()
