"""A cell: one model on one data set with one seed, as pure data that any process can run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

from zoo.data.phases import Phase, describe_phases
from zoo.data.recipe import SPLITS, Recipe, short_hash
from zoo.devices import Precision
from zoo.errors import DataError
from zoo.paths import read_json
from zoo.plurals import counted
from zoo.schema import Count, read_record

SCHEMA = 1
_LATER = (
    "task", "content", "images", "search", "train_seed", "phases", "phases_from", "predictions", "task_version",
)  # fmt: skip
"""Fields that cell.json holds only where they have a value."""
Rule: TypeAlias = Literal["val_auc", "val_loss", "val_score", "last"]
"""Epoch whose weights are kept: the one with the highest validation AUC or score, the lowest loss, or the last."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """Search that found the settings of a cell.

    Args:
        study: Name of the study.
        trials: Number of its trials that had ended; None where its file does not state it.
        selected_by: Score that selected the best trial: the macro AUC of the validation split.
    """

    study: str
    trials: Count | None
    selected_by: Literal["val_auc"] = "val_auc"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Everything that decides a result.

    Args:
        model, model_version: The model's id and its spec's version.
        hparams: Resolved hyper-parameters of the model.
        recipe: Recipe of the images.
        sizes: Split -> images.
        training: Resolved settings (`TrainingSettings`); empty for a network that fits itself.
        seed: Seed for initialisation, order and augmentation.
        budget: Name of the budget that the sizes come from.
        rule: Rule that selects the epoch whose weights are kept, one of the task's.
        precision: "fp32", "tf32" or "bf16": precision of the training; scores are computed in float32.
        versions: Distribution -> version, of the core and of the plugins that take part.
        task: Task, or grouping of the classes for classification; "" is classification of all classes.
        content: Hyper-parameter that is a path -> digest of what lies there (`zoo.data.content`).
        images: Split -> digest of its images in the folder given with `--images`; empty for images of the cache.
        search: Search that found the settings; None for defaults and settings given by hand. Not part of the run id:
            equal settings have equal results, however they were found.
        train_seed: Seed of the training images where they are the cell's own; None for those of the recipe.
        phases: Phases of the training, whose images have other parameters than the recipe; empty where all have those
            of the recipe.
        phases_from: "budget" where the data set declares the phases for the budget; empty where the request states
            them, and without phases. Not part of the run id.
        predictions: SHA-256 of predictions that were made elsewhere, 64 hex digits; "" for runs. The number of training
            images is then that of the problem, not of a known training.
        task_version: Version of the spec of the task; None for its first version.

    Raises:
        DataError: The phases are not as long as the training.
    """

    model: str
    model_version: int
    hparams: Mapping[str, Any]
    recipe: Recipe
    sizes: Mapping[str, Count]
    training: Mapping[str, Any]
    seed: Count
    budget: str
    rule: Rule
    precision: Precision
    versions: Mapping[str, str]
    task: str = ""
    content: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    search: Search | None = field(default=None, compare=False)
    train_seed: Count | None = None
    phases: tuple[Phase, ...] = ()
    phases_from: Literal["", "budget"] = field(default="", compare=False)
    predictions: str = ""
    task_version: Count | None = None

    def __post_init__(self) -> None:
        epochs = sum(phase.epochs for phase in self.phases)
        if self.phases and epochs != (wanted := self.training.get("epochs", 0)):
            raise DataError(f"The phases have {counted(epochs, 'epoch')} in all; the training has {wanted}.")

    @cached_property  # read several times a second while a matrix is watched
    def run_id(self) -> str:
        """16 hex digits: equal cells have equal results."""
        return short_hash({"schema": SCHEMA, **self.identity()})

    @property
    def data(self) -> str:
        """The data set's id."""
        return self.recipe.dataset

    @property
    def fits_itself(self) -> bool:
        """Whether the network has a fit of its own (`zoo.models.own_fit`) in place of the training loop."""
        return not self.training and not self.predictions

    @property
    def trained_on(self) -> str:
        """Phases in words, and whether they are those of the budget; "" without phases."""
        words = describe_phases(self.phases)
        return f"{words} (phases of the budget)" if self.phases_from else words

    @property
    def folder(self) -> Path:
        """Folder of its results inside a store."""
        return Path(self.data.replace("/", "."), self.model.replace("/", "."), self.run_id)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; `Cell.from_json` gives the cell back."""
        return {"schema": SCHEMA, "run_id": self.run_id, **_stated(asdict(self) | {"recipe": self.recipe.to_json()})}

    def identity(self) -> dict[str, Any]:
        """Return what decides the result: the fields, with digests in place of paths."""
        # Not by asdict, which copies every value: a report needs this three times of each of thousands of cells.
        own = _stated({name: getattr(self, name) for name in _NAMES})
        own["hparams"] = {**self.hparams, **own.pop("content", {})}
        if self.phases:
            own["phases"] = tuple(asdict(phase) for phase in self.phases)
        return own | {"recipe": self.recipe.identity()}

    @classmethod
    def from_json(cls, content: Any) -> Cell:
        """Return the cell that `to_json` described.

        Raises:
            DataError: Another schema, fields that a cell does not have, or fields that do not match the run id.
        """
        if not isinstance(content, Mapping):
            raise DataError(f"Not a cell: {type(content).__name__} in place of an object.")
        values = dict(content)
        schema, run_id = values.pop("schema", None), values.pop("run_id", None)
        if schema != SCHEMA:
            raise DataError(f"A cell of schema {schema} cannot be read; this zoo writes schema {SCHEMA}.")
        cell = read_record(values, cls, what="The cell")
        unknown = values.keys() - {each.name for each in fields(cls)}
        unknown |= values["recipe"].keys() - {each.name for each in fields(Recipe)}
        if unknown:
            raise DataError(f"Not a cell: unknown field {', '.join(sorted(unknown))}.")
        if missing := set(SPLITS) - cell.sizes.keys():
            raise DataError(f"Not a cell: no size of {', '.join(sorted(missing))}.")
        try:
            own_id = cell.run_id
        except ValueError as error:
            raise DataError(f"Not a cell: {error}.") from error
        if run_id != own_id:
            raise DataError(f"The cell {run_id} has been altered: its content is that of {own_id}.")
        return cell

    @classmethod
    def read(cls, path: Path) -> Cell:
        """Return the cell in a JSON file.

        Raises:
            DataError: The file was not found, or does not hold a cell.
        """
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise DataError(f"Cannot read a cell from {path}: it is not a file.")
        try:
            return cls.from_json(read_json(path))
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"Cannot read a cell from {path}: {error}.") from error


_NAMES = tuple(each.name for each in fields(Cell) if each.name not in ("search", "phases_from"))
"""Fields that decide the result."""


def _stated(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields without later ones that are empty, so that older ids hold."""
    return {name: value for name, value in values.items() if name not in _LATER or value not in ("", {}, None, ())}
