"""Regression: networks estimate stored truths of the images, each with its uncertainty."""

from __future__ import annotations

import copy
import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from zoo.data.image_groups import ImageGroups
from zoo.data.question import Question, all_classes
from zoo.data.targets import one_spelling, target_values
from zoo.data.truth import truth_arrays
from zoo.errors import DataError, MissingError, UsageError, nearest
from zoo.models.target import Target
from zoo.plurals import counted
from zoo.scores.distributions import FORMS, Form, climatology
from zoo.scores.response import with_response
from zoo.scores.schema import Measure, Measures, shared_by
from zoo.scores.stats import Array
from zoo.scores.target_scores import COVERED, SKILL, TargetScores, draws, ends
from zoo.tasks.task import HEADLINE, Contributions, Estimated, Task

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.lensing.scenes import Scenes
    from zoo.specs import DatasetSpec

WORST = 8
"""Images with the largest errors that a report shows."""
_EXAMPLE = "Write, for example: --task regress:shear"


@dataclass(frozen=True, kw_only=True)
class RegressOption:
    """The text behind the colon of --task regress:NAME[,NAME][,classes=A+B][,answer=FORM].

    Args:
        names: Names of the targets.
        classes: Classes whose images are used; empty for all.
        answer: Form of the answers, one of `zoo.scores.distributions.FORMS`.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...] = ()
    answer: str = "gaussian"

    @classmethod
    def read(cls, option: str) -> Self:
        """Return the meaning of a text.

        Raises:
            UsageError: No target is named, or one twice, or an option is unknown.
            MissingError: The form of the answers needs a library that is absent.
        """
        names: list[str] = []
        options: dict[str, str] = {}
        for part in filter(None, (part.strip() for part in option.split(","))):
            key, sign, value = part.partition("=")
            if not sign:
                names.append(one_spelling(part))
            elif key not in ("classes", "answer"):
                raise UsageError(f"regress has no option '{key}'.{nearest(key, ['classes', 'answer'])}", hint=_EXAMPLE)
            else:
                options[key] = value
        if not names or len(set(names)) < len(names):
            what = "names no stored truth" if not names else "names a truth twice"
            raise UsageError(f"--task regress:{option} {what}.", hint=_EXAMPLE)
        answer = options.get("answer", "gaussian")
        if answer not in FORMS:
            raise UsageError(f"answer={answer} is not one of {', '.join(FORMS)}.{nearest(answer, FORMS)}")
        library = FORMS[answer].library
        if library and importlib.util.find_spec(library[0]) is None:
            raise MissingError(
                f"answer={answer} needs {library[0]}, which is not installed.",
                hint=f'Install it: pip install "lens-zoo[{library[1]}]"',
            )
        classes = tuple(filter(None, options.get("classes", "").split("+")))
        return cls(names=tuple(names), classes=classes, answer=answer)

    @property
    def text(self) -> str:
        """The shortest text with this meaning."""
        classes = [f"classes={'+'.join(self.classes)}"] if self.classes else []
        answer = [f"answer={self.answer}"] if self.answer != "gaussian" else []
        return ",".join([*self.names, *classes, *answer])


class Regress(Task):
    """Estimate stored truths, such as the mass fraction of the substructure, with a distribution for each.

    Networks of classification answer it with other numbers of outputs. All splits hold the images of those classes
    only in which every target is defined and varies, or of those that the option `classes` names.
    """

    rules = ("val_loss", "last")
    pictures = ("predicted against true", "rank histogram")
    smooths_labels = False
    example_option = "example"
    more_examples = tuple(f"example,answer={name}" for name in FORMS if name != "gaussian")

    def __init__(self, question: Question, *, name: str, option: str = "") -> None:
        super().__init__(question, name=name, option=option)
        asked = RegressOption.read(option)
        self.names: tuple[str, ...] = asked.names
        self.form: Form = FORMS[asked.answer]

    @classmethod
    def ask(cls, dataset: DatasetSpec, option: str) -> Question:
        """Return the classes of a data set, those that the option names alone, and the targets."""
        asked = RegressOption.read(option)
        whole = all_classes(dataset)
        if unknown := [name for name in asked.classes if name not in dataset.classes]:
            raise UsageError(
                f"{dataset.id} has no class '{unknown[0]}'.{nearest(unknown[0], dataset.classes)}",
                hint=f"Its classes are {', '.join(dataset.classes)}",
            )
        chosen = tuple(k for k, name in enumerate(dataset.classes) if name in asked.classes)
        return replace(whole, trained_on=chosen if len(chosen) < len(dataset.classes) else (), targets=asked.names)

    @classmethod
    def complete(cls, dataset: DatasetSpec, option: str, scenes: Scenes) -> tuple[str, str]:
        """Return the option with the classes that the targets leave, and a sentence on those that are left out."""
        asked = RegressOption.read(option)
        values = target_values(asked.names, parameters=scenes.parameters, truth=truth_arrays(scenes), data=dataset.id)
        reasons: dict[str, str] = {}
        undefined: dict[str, str] = {}
        for k, name in enumerate(dataset.classes):
            for target, column in zip(asked.names, values[scenes.label == k].T, strict=True):
                if not np.isfinite(column).all():
                    reasons[name] = undefined[name] = f"{target} is undefined for {name}"
                elif len(column) and np.ptp(column) <= 1e-9 * abs(column[0]):
                    reasons.setdefault(name, f"{target} is {column[0]:.4g} for every image of {name}")
        left = [name for name in dataset.classes if name not in reasons]
        if asked.classes:
            if wrong := [name for name in asked.classes if name in undefined]:
                raise UsageError(f"{undefined[wrong[0]]}.", hint=f"Leave it out: classes={'+'.join(left)}")
            return asked.text, ""
        if not left:
            raise UsageError(
                f"No class is left: {'; '.join(reasons.values())}.",
                hint="Name the classes, in each of which all targets are defined: classes=A+B",
            )
        if not reasons:
            return asked.text, ""
        note = f"images of {' and '.join(reasons)} are left out of all splits: {'; '.join(reasons.values())}"
        return replace(asked, classes=tuple(left)).text, note

    @property
    def outputs(self) -> int:
        """The numbers of a distribution for each target."""
        return len(self.names) * self.form.columns

    def measured(self, truth: Array) -> Self:
        """Return the task with the mean and the standard deviation of each target in the training split."""
        import torch

        from zoo.models.answer_units import targets_of

        try:
            return self._with(targets_of(self.names, torch.as_tensor(truth)))
        except ValueError as error:
            raise DataError(
                f"{error} is the same for all of {counted(len(truth), 'training image')}; nothing is to be estimated."
            ) from error

    def calibrated(self, predictions: Tensor, truth: Tensor) -> tuple[Self, Tensor]:
        """Return the task with width factors and responses of these images, and the predictions with these widths."""
        import torch

        from zoo.models.answer_units import widened

        answers, values = self._each(predictions.double().numpy()), truth.double().numpy()
        spread = self.form.spread(answers, values)
        shaped = predictions.reshape(len(predictions), len(self.names), -1)
        factors = torch.as_tensor(spread, dtype=predictions.dtype)[:, None]
        widths = widened(shaped, factors)
        middle = self.form.middle(widths.double().numpy())  # the median of a flow moves with its width
        targets = [
            with_response(one, middle[:, k], values[:, k], spread=float(spread[k]))
            for k, one in enumerate(self.targets)
        ]
        skills = 1 - self.form.crps(widths.double().numpy(), values).mean(0) / climatology(values).mean(0)
        known = (structs.replace(one, skill=float(skill)) for one, skill in zip(targets, skills, strict=True))
        return self._with(tuple(known)), widths.flatten(1)

    def loss(self, predictions: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean loss of the targets, in units of their standard deviation in the training split."""
        import torch

        scale = torch.tensor([one.scale for one in self.targets] or [1.0] * len(self.names), device=predictions.device)
        truth = labels.reshape(len(labels), -1).float()
        return self.form.loss(predictions.reshape(len(predictions), len(self.names), -1), truth, scale)

    def validate(self, predictions: Tensor, labels: Tensor) -> Mapping[str, float]:
        """Return nothing: the loss selects the epoch."""
        return {}

    def chance_loss(self, counts: Sequence[int]) -> float | None:
        """Return the loss of the mean and the standard deviation of the training images."""
        return self.form.chance

    def score(self, predictions: Tensor, labels: Tensor, groups: ImageGroups | None = None) -> Measures:
        """Return errors, CRPS and coverage of each target.

        Intervals are the 2.5 and 97.5 % quantiles of a bootstrap over images, or groups of images; those of coverage
        are Wilson's, since a bootstrap of a share of 1 has no width.
        """
        answers, truth = self._each(predictions.double().numpy()), labels.double().numpy()
        shown = self.names if len(self.names) > 1 else ("",)
        scored = [
            TargetScores.of(self.form, answers[:, k : k + 1], truth[:, k : k + 1], name=name)
            for k, name in enumerate(shown)
        ]
        numbers = None if groups is None else groups.numbers
        drawn = draws(len(truth), numbers)
        skills = np.stack([one.skill(drawn) for one in scored]).mean(0)
        value = float(np.mean([one.skill(np.full((1, len(truth)), 1 / len(truth)))[0] for one in scored]))
        measures = {
            "crps_skill": Measure(
                label=SKILL, value=value, interval=ends(value, skills, numbers, limits=(-math.inf, 1))
            )
        }
        for one in scored:
            measures |= one.measures(drawn, numbers)
        return Measures(order=tuple(measures), measures=measures, images=len(truth), image_groups=shared_by(groups))

    def contributions(self, predictions: Array, labels: NDArray[np.int64]) -> Contributions:
        """Return the CRPS skill of each target, where there are several, and their mean, with each image's part."""
        answers, truth = self._each(np.asarray(predictions, np.float64)), np.asarray(labels, np.float64)
        own, other = self.form.crps(answers, truth), climatology(truth)
        values = 1 - own.mean(0) / other.mean(0)
        # Linearised: skill = 1 - mean(own) / mean(other).
        parts = -(own - own.mean(0)) / other.mean(0) + own.mean(0) * (other - other.mean(0)) / other.mean(0) ** 2
        several = len(self.names) > 1
        values = np.append(values if several else [], values.mean())
        parts = np.concatenate([*([parts.T] if several else []), parts.mean(1)[None]]) / len(truth)
        return Contributions(
            names=(*(self.names if several else ()), HEADLINE),
            labels=(*(f"{SKILL} of {name}" for name in self.names if several), SKILL),
            values=values,
            components=parts,
            largest=np.abs(parts).max(1),
            areas=False,  # a skill has no lower end
        )

    def notable(self, predictions: Array, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the images with the largest CRPS in units of the mean CRPS of a target."""
        crps = self.form.crps(self._each(np.asarray(predictions, np.float64)), np.asarray(labels, np.float64))
        return np.argsort(-(crps / crps.mean(0)).max(1), kind="stable")[:WORST]

    def estimated(self, predictions: Array, labels: NDArray[Any]) -> Mapping[str, Estimated]:
        """Return the estimates of each target."""
        answers, truth = self._each(np.asarray(predictions, np.float64)), np.asarray(labels, np.float64)
        middle, (low, high) = self.form.middle(answers), self.form.interval(answers, COVERED[0])
        pit = self.form.pit(answers, truth)
        return {
            name: Estimated(true=truth[:, k], middle=middle[:, k], low=low[:, k], high=high[:, k], pit=pit[:, k])
            for k, name in enumerate(self.names)
        }

    def for_metrics(self, predictions: Array) -> Array:
        """Return the predictions [N, outputs] as they are."""
        return np.asarray(predictions, np.float64)

    def of_gaussians(self, predictions: Tensor) -> Tensor:
        """Return the answers of the task's form that describe these normal distributions."""
        mean, log_width = predictions.reshape(len(predictions), len(self.names), 2).unbind(2)
        return self.form.of_gaussian(mean, log_width).flatten(1)

    def _each(self, predictions: Array) -> Array:
        """Return predictions [N, T, columns]."""
        return predictions.reshape(len(predictions), len(self.names), -1)

    def _with(self, targets: tuple[Target, ...]) -> Self:
        found = copy.copy(self)
        found.targets = targets
        return found
