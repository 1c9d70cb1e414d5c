"""Choose trials with TPE and prune them with the median rule.

Sources: Bergstra et al. 2011, *Algorithms for Hyper-Parameter Optimization* (TPE); Golovin et al. 2017, *Google Vizier*
(the median rule); both as implemented in optuna (Akiba et al. 2019, arXiv:1907.10902).
"""

from __future__ import annotations

import math
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from zoo.lensing.draws import stable_hash

STARTUP_TRIALS = 10
"""Number of trials drawn at random before TPE starts."""


class AddressedTPE(BaseSampler):
    """TPE whose random numbers depend on (study, trial number) only, not on the process or on earlier draws.

    Args:
        study: Name of the study.
    """

    def __init__(self, study: str) -> None:
        self._study = study
        self._tpe = self._of_trial(0)

    def _of_trial(self, number: int) -> TPESampler:
        seed = stable_hash(f"{self._study}/{number}/sampler") % 2**32
        return TPESampler(n_startup_trials=STARTUP_TRIALS, seed=seed)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Start the random numbers of the trial."""
        self._tpe = self._of_trial(trial.number)
        self._tpe.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """See TPE."""
        return self._tpe.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See TPE."""
        return self._tpe.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """See TPE."""
        return self._tpe.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        """See TPE."""
        self._tpe.after_trial(study, trial, state, values)


def make_pruner(*, epochs: int, after: int) -> optuna.pruners.BasePruner:
    """Return the median rule: prune a trial whose best epoch so far is below the median of the others at that epoch.

    Args:
        epochs: Number of epochs of a complete trial. The first 30 % are not judged, as the learning rate still rises.
        after: Number of completed trials required before one is pruned.
    """
    return optuna.pruners.MedianPruner(n_startup_trials=after, n_warmup_steps=math.ceil(0.3 * epochs))
