"""Notes below a table on its columns: metrics of plugins, fresh images, calibration, equivariance."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.report.columns import ARROWS, MOST_METRICS
from zoo.results.metric_differences import declared_values
from zoo.results.schema import Finished


def column_notes(results: Sequence[Finished]) -> list[str]:
    """Return what a reader must know of these columns."""
    return [
        *_scored_notes(results), *_metric_notes(results), *_fresh_notes(results), *_calibration_notes(results),
        *_equivariance_notes(results),
    ]  # fmt: skip


def _scored_notes(results: Sequence[Finished]) -> list[str]:
    """Return the origin of predictions that were made elsewhere, and their cost as their authors state it."""
    notes = []
    for result in results:
        if (origin := result.scored) is not None:
            row = f"{result.cell.model}, seed {result.cell.seed}"
            who = f" by {origin.author}" if origin.author else ""
            cost = f"cost in its author's words: {origin.cost_note}" if origin.cost_note else "its cost is not stated"
            notes.append(
                f"{row}: predictions made elsewhere{who} and scored here; {cost}. "
                "Numbers of training images are those of the runs"
            )
    return notes


def _fresh_notes(results: Sequence[Finished]) -> list[str]:
    """Return what the columns of fresh test images hold, and the runs that they contradict."""
    tested = [(result, result.fresh) for result in results if result.fresh is not None]
    if not tested:
        return []
    seeds = ", ".join(map(str, sorted({fresh.seed for _, fresh in tested})))
    score = tested[0][0].test.headline.label
    notes = [
        f"fresh test: {score} of the same weights on as many new test images of the same kind, seed {seeds}; "
        "test - fresh: the difference, with its 95 % interval over both sets of images"
    ]
    notes += [
        f"{result.cell.model}, seed {result.cell.seed}: {score} is {abs(fresh.difference):.4f} "
        f"{'higher' if result.test.headline.higher_is_better else 'lower'} on the benchmark's own test images than on "
        f"fresh ones (95 % {fresh.interval[0]:+.4f} to {fresh.interval[1]:+.4f}): the network, or the choice of it, "
        "may depend on the benchmark's test images"
        for result, fresh in tested
        if (fresh.interval[0] > 0 if result.test.headline.higher_is_better else fresh.interval[1] < 0)
    ]
    return notes


def _metric_notes(results: Sequence[Finished]) -> list[str]:
    """Return what the columns of plugins' metrics hold, and which runs lack one."""
    keys = declared_values(results)
    if not keys:
        return []
    names = ", ".join(dict.fromkeys(metric for metric, _ in keys))
    notes = [f"metrics of plugins: {names}; {ARROWS['higher']}: higher is better, {ARROWS['lower']}: lower is better"]
    if len(keys) > MOST_METRICS:
        notes[0] += f"; {len(keys) - MOST_METRICS} more values: --csv"
    if any(run.test.extra_intervals for run in results):
        drawn = "groups of test images" if any(run.test.image_groups for run in results) else "test images"
        notes[0] += f"; in brackets the 95 % interval over {drawn}, drawn again"
    lacking = [run for run in results if any(value not in run.test.extra.get(name, {}) for name, value in keys)]
    if lacking:
        notes.append("some runs have no value of these metrics; compute them: zoo rescore STORE")
    return notes


def _calibration_notes(results: Sequence[Finished]) -> list[str]:
    """Return what the columns of calibrated probabilities hold."""
    if not any(result.calibration for result in results):
        return []
    return [
        "calibrated log loss, calibrated error: log loss and calibration error after the logits were divided by one "
        "temperature for each run, fitted on its validation images; all other columns are of the uncalibrated answers"
    ]


def _equivariance_notes(results: Sequence[Finished]) -> list[str]:
    """Return what the columns of equivariance hold, and which rows have none."""
    of_runs = [result.equivariance for result in results if result.equivariance is not None]
    measured = [found.after for found in of_runs if found.after is not None]
    notes = []
    if measured:
        notes.append(
            "equivariance error: root mean square change of the centred answers under the eight symmetries of the "
            "square, over their spread between images; 0: invariant, 1.4: unrelated answers; -: one answer for all "
            "images"
        )
    if any(found.square.flips is not None for found in measured):
        notes.append("class flips: share of 64 validation images whose class changes under a symmetry of the square")
    if any(found.declared for found in measured):
        notes.append("own group: equivariance error under the symmetries that the network declares")
    rotations = [one for found in measured for one in (*found.angles.values(), found.rotations) if one is not None]
    if rotations:
        # Of scores that count residuals, interpolation alone changes more than images differ.
        floors = [one.floor for one in rotations if one.floor is not None and one.floor < 1]
        notes.append(
            "at 17 deg, at 45 deg: angles that need interpolation; images are blurred and cut to a disc first"
            + (f", and interpolation alone has an error of up to {max(floors):.0e}" if floors else "")
        )
    if len(measured) < len(of_runs):
        notes.append(
            "equivariance error: not shown for runs of earlier versions of zoo, which stored another measure; "
            "measure their weights: zoo equivariance RUN"
        )
    return notes
