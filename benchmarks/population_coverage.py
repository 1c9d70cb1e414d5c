"""Coverage of a trained regression's intervals, and of the posteriors of populations that its answers give.

    uv run python benchmarks/population_coverage.py RUN                      # print the record
    uv run python benchmarks/population_coverage.py RUN --write --picture P  # keep it in benchmarks/results/, draw one
    uv run python benchmarks/population_coverage.py RUN --of subhalo         # populations of one class, too

RUN is the folder of a result of `zoo bench --task regress:NAME`. Populations are drawn from its test images: the
location and the spread of a normal distribution are drawn, and lenses without replacement with weights that give their
truths this distribution (by the density of the test images); so images, noise and answers are those of the simulator
and the network. The true mean is that of the distribution, not of the lenses that were drawn.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec import structs
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from zoo import registry
from zoo.host import load_plugins
from zoo.inference.population import draw_population, infer
from zoo.models.target import Target
from zoo.plurals import counted
from zoo.results.find import good_result
from zoo.results.schema import Finished
from zoo.results.store import PREDICTIONS, read_arrays
from zoo.scores.distributions import form_of
from zoo.scores.intervals import share_interval
from zoo.scores.population_posterior import PopulationPosterior, population_posterior
from zoo.scores.response import Response, with_response
from zoo.scores.schema import Measures
from zoo.specs import DatasetSpec

RESULTS = Path(__file__).parent / "results"
QUANTILES = 33
LEVELS = (0.68, 0.95)
LEAST_EFFECTIVE = 4
"""Effective number of test images of a population, over the number of lenses that are drawn."""

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A synthetic population with two posteriors: of the answers' likelihoods, and the product of the answers.

    Args:
        mean: Mean of the population.
        right: Posterior by the measured response of the network.
        product: Posterior as if each answer were a likelihood; None where answers are not Gaussians.
    """

    mean: float
    right: PopulationPosterior
    product: PopulationPosterior | None


def populations(answers: Array, truth: Array, target: Target, *, count: int, lenses: int, seed: int) -> Iterator[Drawn]:
    """Yield populations whose location and spread are drawn from the middle of the images.

    Args:
        answers: [N, k] answers of the network.
        truth: [N] truths of the same images.
        target: Target with the response of the network, measured on other images.
        count: Number of populations.
        lenses: Number of lenses of each.
        seed: Seed of the draws.
    """
    random = np.random.default_rng(seed)
    low, high = np.quantile(truth, [0.2, 0.8])
    deviation = float(truth.std())
    grid = Response.of(target).grid()
    density = np.interp(truth, *density_of(truth))
    is_gaussian = answers.shape[1] == 2
    own = np.exp(-0.5 * ((grid - answers[:, :1]) * np.exp(-answers[:, 1:])) ** 2) if is_gaussian else None
    done = 0
    for _ in range(1000 * count):
        location, scale = random.uniform(low, high), random.uniform(0.2, 0.8) * deviation
        shape = np.exp(-0.5 * ((grid - location) / scale) ** 2)
        mean = float((shape * grid).sum() / shape.sum())
        weights = np.exp(-0.5 * ((truth - location) / scale) ** 2) / density
        weights /= weights.sum()
        if 1 / (weights**2).sum() < LEAST_EFFECTIVE * lenses:
            continue
        done += 1
        chosen = random.choice(len(truth), lenses, replace=False, p=weights)
        yield Drawn(
            mean=mean,
            right=infer([target], answers[chosen])[target.name],
            product=None if own is None else population_posterior(own[chosen], grid),
        )
        if done == count:
            return


def density_of(truth: Array) -> tuple[Array, Array]:
    """Return truths in ascending order and the density of the images there, by the distance of quantiles."""
    levels = np.linspace(0, 1, QUANTILES)
    quantiles = np.quantile(truth, levels)
    middle = (quantiles[1:] + quantiles[:-1]) / 2
    return middle, 1 / np.maximum(np.diff(quantiles), 1e-12)


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
    spec = registry.find(load_plugins(), DatasetSpec, cell.data)
    usual = {**spec.params, **spec.budgets.get(cell.budget, {})}
    changed = [f"{name}={value}" for name, value in cell.recipe.params.items() if usual.get(name) != value]
    yield (
        f"{cell.model}, seed {cell.seed}, {cell.training['epochs']} epochs, learning rate {cell.training['lr']:g}, "
        f"from {cell.training['init'] or 'random weights'}; task `{cell.task}` on "
        f"{cell.data}{' with ' if changed else ''}{', '.join(changed)}, "
        f"{result.data.image_shape[1]} x {result.data.image_shape[2]} pixels; {counts['train']:,} training, "
        f"{counts['val']:,} validation and {counts['test']:,} test images; run {result.run_id}."
    )
    yield f"A single training. Written by `python benchmarks/population_coverage.py RUN {shlex.join(sys.argv[2:])}`."
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
        "spread of 0.2 to 0.8 of the standard deviation of the test images, drawn from the test images. "
        "*Likelihoods*: by the response of the network, measured on the validation images of the same class. "
        "*Product*: the product of the Gaussians that the network answers. In brackets 95 % (Wilson), as of "
        "independent populations: all share one measured response and are drawn from the same images, so the true "
        "intervals are wider. Width of 68 % and mean size of the error are in units of the standard deviation of the "
        "training images."
    )
    yield ""
    yield "| class | lenses | posterior | 68 % hold the mean | 95 % hold the mean | width of 68 % | mean error |"
    yield "| --- | ---: | --- | ---: | ---: | ---: | ---: |"
    for name in ("", *of):
        chosen = {
            split: arrays[f"{split}.classes"] == result.classes.index(name) if name else slice(None)
            for split in ("val", "test")
        }
        known = np.asarray(arrays["val.labels"][chosen["val"], 0], np.float64)
        given = form_of(answers.shape[1]).middle(np.asarray(arrays["val.logits"][chosen["val"]], np.float64)[:, None])
        at = tuple(np.quantile(known, np.linspace(0, 1, QUANTILES)).tolist())
        measured = with_response(structs.replace(target, quantiles=at), given[:, 0], known, spread=1.0)
        own, true = answers[chosen["test"]], truth[chosen["test"], 0]
        for number in lenses:
            drawn = populations(own, true, measured, count=count, lenses=number, seed=seed)
            title = f"{name or 'all'}, {counted(number, 'lens')}"
            found = list(track(drawn, title, total=count, console=Console(stderr=True), transient=True))
            if not found:
                yield f"| {name or 'all'} | {number} | too few test images for such populations | - | - | - | - |"
                continue
            kinds = {"right": "likelihoods", "product": "product"}
            for kind, words in kinds.items():
                if getattr(found[0], kind) is None:
                    continue
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
    result = good_result(given.run)
    if len(result.targets) != 1:
        sys.exit(f"{given.run} estimates {len(result.targets)} truths; a run of --task regress:NAME is needed.")
    lines = []
    for line in record(
        result, count=given.populations, lenses=tuple(given.lenses), of=tuple(given.of),
        seed=given.seed, picture=given.picture,
    ):  # fmt: skip
        print(line, flush=True)
        lines.append(line)
    if given.write:
        [target] = result.targets
        (RESULTS / f"regression_{target.name}.md").write_text(
            "\n".join(line.rstrip() for line in lines) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
