"""The results of a study: its trials, the best trial, and the importance of the settings."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from optuna.trial import FrozenTrial, TrialState

from zoo.paths import written_whole
from zoo.schema import Record
from zoo_optuna.definition import Definition, training_seed
from zoo_optuna.space import values_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from optuna import Study

TrialStateName: TypeAlias = Literal["ended", "stopped", "failed", "unfinished"]
STATES: dict[TrialState, TrialStateName] = {
    TrialState.COMPLETE: "ended",
    TrialState.PRUNED: "stopped",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "unfinished",
}
LEAST_TRIALS = 4
"""Number of completed trials below which importances are not computed."""


class TrialSummary(Record):
    """A trial that has started.

    Args:
        trial: Number, counted from 0.
        state: "ended", "stopped" early, "failed", or "unfinished".
        val_auc: Macro validation AUC of the chosen epoch; None for a trial without a result.
        epoch: Chosen epoch, or None.
        val_auc_by_epoch: Macro validation AUC of each epoch.
        values: Value of each searched setting.
        seed: Seed of the training.
        parameters: Number of parameters; None if the network was not built.
        macs: Multiply-accumulates of the forward pass of one image; None if the network was not built or
            they cannot be counted.
        seconds: Duration; None if it has not been recorded yet.
        error: Cause of a failure, or "".
    """

    trial: int
    state: TrialStateName
    val_auc: float | None
    epoch: int | None
    val_auc_by_epoch: Mapping[str, float]
    values: Mapping[str, Any]
    seed: int
    parameters: int | None
    macs: int | None
    seconds: float | None
    error: str

    @property
    def score(self) -> float:
        """Validation AUC for sorting; a trial without one is the lowest."""
        return -math.inf if self.val_auc is None else self.val_auc


class Summary(Record):
    """Everything that `zoo tune` shows of a study.

    Args:
        study: Name of the study.
        model: Id of the model.
        data: Id of the data set.
        budget: Name of the budget.
        settings: Settings given by --set.
        space: Choices or range of each searched setting.
        trials: Trials in the order of their numbers.
        best: Trial with the highest validation AUC; None without a successful trial.
        importance: Share of each setting in the variance of the validation AUC (fANOVA, Hutter et al. 2014); empty if
            too few trials have ended.
    """

    study: str
    model: str
    data: str
    budget: str
    settings: Mapping[str, Any]
    space: Mapping[str, Any]
    trials: tuple[TrialSummary, ...]
    best: TrialSummary | None
    importance: Mapping[str, float]


def summarise(study: Study, definition: Definition) -> Summary:
    """Return everything that `zoo tune` shows.

    Args:
        study: Journal of the study.
        definition: Definition of the study.
    """
    cell = definition.cell
    trials = tuple(_entry(t, definition) for t in study.get_trials(deepcopy=False) if t.state in STATES)
    ended = [trial for trial in trials if trial.state == "ended"]
    return Summary(
        study=definition.study,
        model=cell.model,
        data=cell.data,
        budget=cell.budget,
        settings=dict(definition.settings),
        space=dict(definition.space),
        trials=trials,
        best=max(ended, key=lambda trial: (trial.score, -trial.trial), default=None),
        importance=_importance(study) if len(ended) >= LEAST_TRIALS else {},
    )


def _entry(trial: FrozenTrial, definition: Definition) -> TrialSummary:
    known = trial.user_attrs
    return TrialSummary(
        trial=trial.number,
        state=STATES[trial.state],
        val_auc=trial.value if trial.state == TrialState.COMPLETE else None,
        epoch=known.get("epoch"),
        val_auc_by_epoch={str(epoch): auc for epoch, auc in sorted(trial.intermediate_values.items())},
        values=values_of(trial.params, definition.space),
        seed=training_seed(definition.study, trial.number),
        parameters=known.get("parameters"),
        macs=known.get("macs"),
        seconds=known.get("seconds"),
        error=known.get("error", ""),
    )


def _importance(study: Study) -> dict[str, float]:
    """Return the importance of each setting, the largest first; settings with a single choice are left out."""
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances  # loads scikit-learn: seconds

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shares = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    except (RuntimeError, ValueError):  # all scores are equal, or the settings did not vary
        return {}
    return {name: float(share) for name, share in sorted(shares.items(), key=lambda pair: -pair[1])}


def draw(summary: Summary, folder: Path) -> list[Path]:
    """Plot the history of the search and the importance of the settings; return the paths of the plots.

    Args:
        summary: Summary of the study.
        folder: Folder of the study.

    Raises:
        DataError: A plot cannot be written.
    """
    return [
        *([_draw_history(summary, folder / "history.png")] if summary.best else []),
        *([_draw_importance(summary, folder / "importance.png")] if summary.importance else []),
    ]


def _draw_history(summary: Summary, path: Path) -> Path:
    """Plot the validation AUC of every trial, and the best so far."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    ended = [trial for trial in summary.trials if trial.state == "ended"]
    stopped = [trial for trial in summary.trials if trial.state == "stopped" and trial.val_auc_by_epoch]
    best, line = float("-inf"), []
    for trial in ended:
        best = max(best, trial.score)
        line.append(best)
    # The last of all trials, at which the line ends, may have been stopped.
    numbers = [*(trial.trial for trial in ended), max(trial.trial for trial in (*ended, *stopped))]
    axis.plot(numbers, [*line, best], drawstyle="steps-post", color="#0072B2", lw=1.6, label="best so far")
    axis.plot([trial.trial for trial in ended], [t.score for t in ended], "o", color="#0072B2", label="ended")
    if stopped:
        last = [max(trial.val_auc_by_epoch.values()) for trial in stopped]
        axis.plot([t.trial for t in stopped], last, "x", color="#D55E00", label="stopped early")
    title = f"{summary.study}: {summary.model} on {summary.data}, budget {summary.budget}"
    axis.set(xlabel="trial", ylabel="macro validation AUC", title=title)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower center", ncols=3, frameon=False)  # inside it would cover trials
    return _save(figure, path)


def _draw_importance(summary: Summary, path: Path) -> Path:
    """Plot the share of each setting in the variance of the validation AUC."""
    from matplotlib.figure import Figure

    names, shares = list(summary.importance), list(summary.importance.values())
    figure = Figure(figsize=(7, 1 + 0.4 * len(names)), layout="constrained")
    axis = figure.subplots()
    bars = axis.barh(names[::-1], shares[::-1], color="#0072B2")
    axis.bar_label(bars, fmt="{:.0%}", padding=3)
    axis.set(xlabel="share of the variance of the validation AUC (fANOVA)", xlim=(0, 1.1 * max(shares)))
    axis.spines[["top", "right"]].set_visible(False)
    return _save(figure, path)


def _save(figure: Figure, path: Path) -> Path:
    from zoo.report.plots import with_plain_texts

    with written_whole(path) as temporary:
        with_plain_texts(figure).savefig(temporary, dpi=130, format="png")
    return path
