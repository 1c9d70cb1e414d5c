"""Coverage of the intervals, and the share of networks of equal quality that are called different.

    uv run python benchmarks/interval_coverage.py                    # print the tables
    uv run python benchmarks/interval_coverage.py --write            # and keep them in benchmarks/results/
    uv run python benchmarks/interval_coverage.py --repetitions 200  # a look

`interval_shares.py` makes the predictions and counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from interval_shares import coverage, coverage_of_groups, difference_coverage, false_findings, mean_coverage

AREAS = (0.5, 0.9, 0.99, 0.996, 0.9999)
IMAGES = (256, 2048, 7500)
TAILS = {"normal": 0, "t, 5 degrees of freedom": 5, "t, 3 degrees of freedom": 3}
"""Distribution of the scores -> degrees of freedom; 0 is normal."""
SPREADS = (0.0016, 0.0051)
"""Standard deviations between trainings that were seen on Model A and B."""
GROUPS = (10, 40, 200)
ALIKE = (0.0, 0.2, 0.5)
"""Shares of the variance of a score that images of one group have in common."""
PAIRS = ((0.98, 0.98), (0.99, 0.98), (0.9999, 0.996))
"""True areas of two trainings whose difference is measured."""
RESULT = Path(__file__).parent / "results/interval_coverage.md"


def lines(repetitions: int) -> Iterator[str]:
    """Yield the lines of the page as they are known."""
    error = 100 * (0.05 * 0.95 / repetitions) ** 0.5
    yield "# How often intervals and tests are right"
    yield ""
    yield f"Written by `python benchmarks/interval_coverage.py --write`. Each figure is a share of {repetitions:,}"
    yield f"repetitions on synthetic predictions whose truth is known, so its own error is about {error:.1f} %."
    yield ""
    yield "## Intervals of one run"
    yield ""
    yield "Per cent of nominal 95 % intervals that hold the truth. *Perfect*: per cent of test sets on which all pairs"
    yield "of a class were in order. *Width*: median width of the interval of the macro AUC."
    yield ""
    yield "Where a handful of images is misplaced, or none, a test set shows a rare error or does not show it, and no"
    yield "rule holds 95 % for every distribution of the scores. The intervals then hold more for scores without"
    yield "outliers, and less where most of the error comes from outliers so rare that most test sets lack them."
    for tail, freedom in TAILS.items():
        yield ""
        yield f"Scores: {tail}."
        yield ""
        yield "| AUC | test images | class | macro | micro | accuracy | perfect | width |"
        yield "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
        for area in AREAS:
            for images in IMAGES:
                found = coverage(images, area=area, freedom=freedom, repetitions=repetitions)
                shares = [found[name] for name in ("auc_0", "auc_macro", "auc_micro", "accuracy", "perfect")]
                texts = [f"{100 * share:.1f}" for share in shares]
                yield f"| {area} | {images:,} | {' | '.join(texts)} | {found['width']:.2g} |"
    yield ""
    yield from lines_of_groups(repetitions)
    yield ""
    yield from lines_of_means(repetitions)
    yield ""
    yield "## Intervals of a difference between two trainings"
    yield ""
    yield "Per cent of nominal 95 % intervals of the difference of macro AUCs, over images, that hold the true one."
    yield ""
    yield f"| AUCs | test images | {' | '.join(TAILS)} |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for areas in PAIRS:
        for images in IMAGES[:2]:
            found_shares = [
                difference_coverage(images, areas=areas, freedom=freedom, repetitions=repetitions)
                for freedom in TAILS.values()
            ]
            yield f"| {areas[0]}, {areas[1]} | {images:,} | {' | '.join(f'{100 * one:.1f}' for one in found_shares)} |"
    yield ""
    yield "## Networks of equal quality that are called different"
    yield ""
    yield "Per cent of tables in which some network is called better than another (corrected p below 0.05), where all"
    yield "have the same expected AUC, 0.98, and are tested on the same 2,048 images."
    yield ""
    yield "| spread between trainings | seeds | two networks | four networks, six pairs |"
    yield "| ---: | ---: | ---: | ---: |"
    for spread in SPREADS:
        for seeds in (3, 5):
            rates = [
                false_findings(networks=networks, seeds=seeds, spread=spread, repetitions=repetitions)
                for networks in (2, 4)
            ]
            yield f"| {spread} | {seeds} | {100 * rates[0]:.1f} | {100 * rates[1]:.1f} |"


def lines_of_groups(repetitions: int) -> Iterator[str]:
    """Yield the part on groups of images."""
    yield "## Intervals over groups of images"
    yield ""
    yield "Per cent of nominal 95 % intervals of the macro AUC that hold the truth, where images of one group, such as"
    yield "those of one galaxy, are alike: over groups, and over all 2,048 images as if they were independent."
    yield "*Alike*: share of the variance of a score that the images of a group have in common. The last column is the"
    yield "accuracy, over groups. Scores: normal."
    yield ""
    yield "| AUC | groups | alike | over groups | over images | accuracy |"
    yield "| ---: | ---: | ---: | ---: | ---: | ---: |"
    for area in (0.9, 0.99):
        for groups in GROUPS:
            for alike in ALIKE:
                found = coverage_of_groups(groups, area=area, alike=alike, repetitions=repetitions)
                texts = " | ".join(f"{100 * found[kind]:.1f}" for kind in ("groups", "images", "accuracy"))
                yield f"| {area} | {groups} | {alike} | {texts} |"


def lines_of_means(repetitions: int) -> Iterator[str]:
    """Yield the part on means over seeds."""
    yield "## Intervals of a mean over seeds"
    yield ""
    yield "Per cent of nominal 95 % intervals of the mean macro AUC over seeds that hold the expected AUC of a"
    yield "training, 0.98, on 2,048 test images. Scores: normal."
    yield ""
    yield f"| spread between trainings | {' | '.join(f'{seeds} seeds' for seeds in (2, 3, 5))} |"
    yield "| ---: | ---: | ---: | ---: |"
    for spread in (0.0, *SPREADS):
        shares = [
            mean_coverage(2048, area=0.98, seeds=seeds, spread=spread, repetitions=repetitions) for seeds in (2, 3, 5)
        ]
        yield f"| {spread} | {' | '.join(f'{100 * share:.1f}' for share in shares)} |"


def main() -> None:
    """Print the page, and keep it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=2000, help="Repeat each measurement this often.")
    parser.add_argument(
        "--write", action="store_true", help="Keep the page in benchmarks/results/interval_coverage.md."
    )
    options = parser.parse_args()
    page = []
    for line in lines(options.repetitions):
        print(line, flush=True)
        page.append(line)
    if options.write:
        RESULT.write_text("\n".join(page) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
