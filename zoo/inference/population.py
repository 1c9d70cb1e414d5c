"""Posterior of a population of lenses from the predictions for each of them, as a file and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import UsageError
from zoo.models.target import Target
from zoo.paths import make_dir, write_text, written_whole
from zoo.plurals import counted
from zoo.schema import Record, json_text, plain
from zoo.scores.distributions import form_of
from zoo.scores.population_posterior import PopulationPosterior, joined, population_posterior
from zoo.scores.response import Response
from zoo.scores.schema import Interval

SUFFIXES = (".json", ".png")


class PopulationSummary(Record):
    """Posterior of the mean and of the standard deviation of a truth in a population.

    Args:
        name: Name of the truth.
        lenses: Number of lenses.
        unusual: Number of these with pixels, or a sky, far outside those of the training images, whose answers have no
            meaning.
        mean: Posterior mean of the population's mean.
        mean_68, mean_95: Central intervals of the population's mean.
        spread_68, spread_95: Central intervals of the population's standard deviation.
        trained_on: Lowest and highest value of the training images, where the population is cut off.
        skill: CRPS skill of the weights on their validation images; None where they do not state it.
    """

    name: str
    lenses: int
    unusual: int
    mean: float
    mean_68: Interval
    mean_95: Interval
    spread_68: Interval
    spread_95: Interval
    trained_on: Interval
    skill: float | None = None


def check_population(targets: Sequence[Target], path: Path, *, average: str) -> None:
    """Check that weights can infer a population, before any image is read.

    Args:
        targets: Targets of the weights.
        path: File that the population is written to.
        average: Turned and mirrored images whose answers are averaged, one of `zoo.models.trained.AVERAGES`.

    Raises:
        UsageError: They estimate no truth or state no response, answers are averaged, or the name of the file ends
            otherwise.
        DataError: The file's folder cannot be created or written to.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--population {path} does not end with {' or '.join(SUFFIXES)}.")
    if not targets:
        raise UsageError(
            "--population needs weights that estimate a truth.", hint="Train some: zoo bench --task regress:NAME"
        )
    if average != "none":
        raise UsageError(
            f"--population cannot be combined with --average {average}: the response of the network was measured "
            "without averages.",
            hint="Leave out --average.",
        )
    if not all(target.mean_copies for target in targets):
        raise UsageError("These weights do not state how they answer images of known truth.", hint="Train again.")
    make_dir(path.parent)  # before hours of predictions


def infer(targets: Sequence[Target], answers: NDArray[Any]) -> dict[str, PopulationPosterior]:
    """Return the posterior of each truth in a population: name -> posterior.

    Args:
        targets: T targets of the weights.
        answers: [N, T k] answers of the network, one row for each lens.

    Raises:
        UsageError: There is no lens.
    """
    each = np.asarray(answers, np.float64).reshape(len(answers), len(targets), -1)
    middle = form_of(each.shape[2]).middle(each)
    found = {}
    for k, target in enumerate(targets):
        truths = Response.of(target).grid()
        found[target.name] = joined(
            [
                population_posterior(response.likelihoods(middle[:, k], truths), truths)
                for response in Response.copies_of(target)
            ]
        )
    return found


def summaries(
    targets: Sequence[Target], posteriors: Mapping[str, PopulationPosterior], *, unusual: int = 0
) -> list[PopulationSummary]:
    """Return the posteriors in numbers.

    Args:
        targets: Targets of the weights.
        posteriors: Name -> posterior.
        unusual: `PopulationSummary.unusual`.
    """
    by_name = {target.name: target for target in targets}
    return [
        PopulationSummary(
            name=name,
            lenses=one.lenses,
            unusual=unusual,
            mean=one.mean(),
            mean_68=one.interval(0.68),
            mean_95=one.interval(0.95),
            spread_68=one.spread_interval(0.68),
            spread_95=one.spread_interval(0.95),
            trained_on=(by_name[name].quantiles[0], by_name[name].quantiles[-1]),
            skill=by_name[name].skill,
        )
        for name, one in posteriors.items()
    ]


def without_skill(targets: Sequence[Target]) -> list[str]:
    """Return a sentence on each truth that the answers of the weights hold no information on."""
    return [
        f"the CRPS skill of {target.name} on the validation images is {target.skill:.2g}: the answers "
        "hold no information on it, and neither does the posterior of the population"
        for target in targets
        if target.skill is not None and target.skill <= 0
    ]


def in_words(one: PopulationSummary) -> str:
    """Return a posterior as a sentence."""
    (low, high), (least, most) = one.mean_95, one.spread_95
    sentence = (
        f"population of {counted(one.lenses, 'lens')}: mean {one.name} {one.mean:.4g} (95 % {low:.4g} to "
        f"{high:.4g}), standard deviation {least:.4g} to {most:.4g}"
    )
    far = f"; {one.unusual} with pixels or a sky far outside the training images" if one.unusual else ""
    return sentence + far


def write_population(
    path: Path, targets: Sequence[Target], posteriors: Mapping[str, PopulationPosterior], *, unusual: int = 0
) -> None:
    """Write the posteriors as JSON, or draw them as PNG, by the end of the file's name."""
    if path.suffix.lower() == ".png":
        draw_population(path, posteriors)
    else:
        content = plain(summaries(targets, posteriors, unusual=unusual))
        write_text(path, json_text(content, what=path.name, indent=2) + "\n")


def draw_population(
    path: Path, posteriors: Mapping[str, PopulationPosterior], *, truths: Mapping[str, float] | None = None
) -> None:
    """Draw the posterior density of the mean of each truth, with its 68 and 95 % intervals.

    Args:
        path: Path of the PNG file.
        posteriors: Name -> posterior.
        truths: Name -> true mean, where it is known.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.2 * len(posteriors)), layout="constrained")
    axes = figure.subplots(len(posteriors), squeeze=False).ravel()
    for axis, (name, one) in zip(axes, posteriors.items(), strict=True):
        low, high = one.interval(0.9999)
        density, edges = np.histogram(one.means, bins=40, range=(low, high), weights=one.weights, density=True)
        axis.stairs(density, edges, color="tab:blue")
        for level, alpha in ((0.95, 0.15), (0.68, 0.3)):
            axis.axvspan(*one.interval(level), color="tab:blue", alpha=alpha, lw=0, label=f"{100 * level:.0f} %")
        if truths and name in truths:
            axis.axvline(truths[name], color="black", ls="--", label="truth")
        axis.set_xlabel(f"mean {name.replace('_', ' ')} of {counted(one.lenses, 'lens')}")
        axis.set_ylabel("posterior density")
        axis.legend(frameon=False)
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
