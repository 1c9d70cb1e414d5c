"""Coverage of a trained regression's intervals, and of the posteriors of populations that are joined from its answers.

    uv run python benchmarks/population_coverage.py RUN                      # print the record
    uv run python benchmarks/population_coverage.py RUN --write --picture P  # keep it in benchmarks/results/, draw one
    uv run python benchmarks/population_coverage.py RUN --of subhalo         # populations of one class, too

RUN is the folder of a result of `zoo bench --task regress:NAME`. Populations are drawn from its test images: the
location and the spread of a normal distribution are drawn, and lenses without replacement with weights that give their
truths this distribution; so images, noise and answers are those of the simulator and the network. The true mean is that
of the distribution, not of the lenses that were drawn.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoo.inference.population import draw_population
from zoo.results.find import good_result
from zoo.results.schema import Finished
from zoo.results.store import PREDICTIONS, read_arrays
from zoo.scores.population_posterior import PopulationPosterior, TrainingPrior, population_posterior
from zoo.scores.schema import Measures
from zoo.scores.stats import share_interval

RESULT = Path(__file__).parent / "results/regression.md"
QUANTILES = 33
LEVELS = (0.68, 0.95)
LEAST_EFFECTIVE = 4
"""Effective number of test images of a population, over the number of lenses that are drawn."""

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A synthetic population with its two posteriors: the right one, and the product of the single posteriors."""

    mean: float
    right: PopulationPosterior
    product: PopulationPosterior


def populations(
    answers: Array, truth: Array, prior: TrainingPrior, *, count: int, lenses: int, seed: int
) -> Iterator[Drawn]:
    """Yield populations whose location and spread are drawn from the middle of the training images."""
    random = np.random.default_rng(seed)
    low, high = np.interp([0.2, 0.8], np.cumsum(prior.density) / prior.density.sum(), prior.values)
    deviation = float(truth.std())
    done = 0
    while done < count:
        location, scale = random.uniform(low, high), random.uniform(0.2, 0.8) * deviation
        shape = np.exp(-0.5 * ((prior.values - location) / scale) ** 2)
        mean = float((shape * prior.values).sum() / shape.sum())
        weights = np.exp(-0.5 * ((truth - location) / scale) ** 2) / np.interp(truth, prior.values, prior.density)
        weights /= weights.sum()
        if 1 / (weights**2).sum() < LEAST_EFFECTIVE * lenses:
            continue
        done += 1
        chosen = random.choice(len(truth), lenses, replace=False, p=weights)
        means, widths = answers[chosen, 0], np.exp(answers[chosen, 1])
        yield Drawn(
            mean=mean,
            right=population_posterior(means, widths, prior),
            product=population_posterior(means, widths, prior, divide=False),
        )


def coverage(found: list[Drawn], kind: str, level: float) -> str:
    """Return the share of populations whose mean lies inside the interval of a level, with its own interval."""
    ends = [getattr(one, kind).interval(level) for one in found]
    hits = sum(low <= one.mean <= high for one, (low, high) in zip(found, ends, strict=True))
    least, most = share_interval(hits, len(found))
    return f"{hits / len(found):.3f} ({least:.3f} to {most:.3f})"


def record(
    result: Finished, *, count: int, lenses: tuple[int, ...], of: tuple[str, ...], seed: int, picture: Path | None
) -> Iterator[str]:
    """Yield the lines of the record."""
    assert isinstance(result.test, Measures)
    [target] = result.targets
    arrays, _ = read_arrays(result.run_dir / PREDICTIONS)
    answers, truth = (np.asarray(arrays[f"test.{name}"], np.float64) for name in ("logits", "labels"))
    counts = {split: sum(images) for split, images in result.data.counts.items()}
    cell = result.cell
    yield f"# Regression of {target.name.replace('_', ' ')}, and of populations"
    yield ""
    yield (
        f"{cell.model}, seed {cell.seed}, {cell.training['epochs']} epochs; task `{cell.task}` on {cell.data}, "
        f"{result.data.image_shape[1]} x {result.data.image_shape[2]} pixels; {counts['train']:,} training, "
        f"{counts['val']:,} validation and {counts['test']:,} test images; run {result.run_id}."
    )
    yield "Written by `benchmarks/population_coverage.py`; a single training."
    yield ""
    yield "| score | value | 95 % |"
    yield "| --- | ---: | ---: |"
    for one in result.test.in_order.values():
        low, high = one.interval or (np.nan, np.nan)
        yield f"| {one.label} | {one.value:.4g} | {low:.4g} to {high:.4g} |"
    yield ""
    yield f"Mean and standard deviation of the training images: {target.centre:.4g}, {target.scale:.4g}. "
    yield f"Factor of the widths, fitted on the validation images: {target.spread:.3f}."
    yield ""
    yield f"## Means of {count} populations"
    yield ""
    yield (
        "Normal distributions with a location between the 20 and the 80 % quantile of the training images and a "
        "spread of 0.2 to 0.8 of the standard deviation of the test images, drawn from the test images. *product*: the "
        "product of the single posteriors, without dividing by the distribution of the training images. In brackets "
        "95 % (Wilson); width of 68 % and mean size of the error are in units of the standard deviation of the "
        "training images. The distribution that is divided out is that of the validation images of the same class."
    )
    yield ""
    yield "| class | lenses | posterior | 68 % hold the mean | 95 % hold the mean | width of 68 % | mean error |"
    yield "| --- | ---: | --- | ---: | ---: | ---: | ---: |"
    for name in ("", *of):
        chosen = {
            split: arrays[f"{split}.classes"] == result.classes.index(name) if name else slice(None)
            for split in ("val", "test")
        }
        # The validation split is drawn like the training split, and states the classes of its images.
        quantiles = np.quantile(arrays["val.labels"][chosen["val"], 0], np.linspace(0, 1, QUANTILES))
        own, true = answers[chosen["test"]], truth[chosen["test"], 0]
        prior = TrainingPrior.of_quantiles(quantiles, narrowest=float(np.exp(own[:, 1]).min()))
        for number in lenses:
            found = list(populations(own, true, prior, count=count, lenses=number, seed=seed))
            for kind, words in (("right", "prior divided out"), ("product", "product")):
                posteriors = [getattr(one, kind) for one in found]
                width = np.mean([np.subtract(*one.interval(0.68)[::-1]) for one in posteriors]) / target.scale
                error = np.mean([abs(one.mean() - each.mean) for one, each in zip(posteriors, found, strict=True)])
                yield (
                    f"| {name or 'all'} | {number} | {words} | {coverage(found, kind, 0.68)} | "
                    f"{coverage(found, kind, 0.95)} | {width:.3f} | {error / target.scale:.3f} |"
                )
            if picture is not None and number == lenses[-1]:
                draw_population(picture, {target.name: found[0].right}, truths={target.name: found[0].mean})


def main() -> None:
    """Print the record, or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--populations", type=int, default=200)
    parser.add_argument("--lenses", type=int, nargs="+", default=[20, 100])
    parser.add_argument("--of", nargs="*", default=[], metavar="CLASS")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    lines = []
    for line in record(
        good_result(given.run), count=given.populations, lenses=tuple(given.lenses), of=tuple(given.of),
        seed=given.seed, picture=given.picture,
    ):  # fmt: skip
        print(line, flush=True)
        lines.append(line)
    if given.write:
        RESULT.write_text("\n".join(line.rstrip() for line in lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
