"""Scores of one variant over its seeds, with what each test image adds to their error."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from zoo.errors import DataError
from zoo.plurals import counted
from zoo.results.comparison import Variant
from zoo.results.files import groups_in, read_file
from zoo.results.store import PREDICTIONS
from zoo.results.tasks import task_of_result
from zoo.scores.intervals import Grouping, interval_of_area
from zoo.scores.stats import Array, critical_value
from zoo.tasks.find import Tasks
from zoo.tasks.task import Contributions


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Areas of one variant, with what each test image adds to their error.

    Args:
        name: Name of the variant.
        images: Name of the test images.
        scores: Names of the R scores, the one that ranks networks last.
        labels: Names of the scores for readers.
        areas: [seeds, R] scores.
        components: [R, N], mean over seeds; see `zoo.scores.stats.auc_components`. Of groups of images that are not
            independent, [R, G]; see `zoo.scores.intervals.Grouping`.
        own: [R] variance of a score over images that one training does not share with others of the variant.
        largest: [R] largest change of a score by a single image.
        ends: [R, 2] interval of each mean score over images.
        freedom: Degrees of freedom of the error over groups of images; infinite where all images are independent.
    """

    name: str
    images: str
    scores: tuple[str, ...]
    labels: tuple[str, ...]
    areas: Array
    components: Array
    own: Array
    largest: Array
    ends: Array
    freedom: float = math.inf

    @property
    def over(self) -> str:
        """What intervals are over."""
        return "images" if self.freedom == math.inf else "groups of images"


def make_sample(
    name: str,
    images: str,
    contributions: Iterable[Contributions],
    *,
    grouping: Grouping | None = None,
) -> Sample:
    """Return the sample of a variant.

    Args:
        name: Name of the variant.
        images: Name of the test images.
        contributions: Scores of each seed, with what each image adds to their error.
        grouping: Groups of the images; None where all are independent.
    """
    areas: list[Array] = []
    total: Array | float = 0.0
    squares: Array | float = 0.0
    for found in contributions:
        areas.append(found.values)
        own_parts = found.components if grouping is None else grouping.sums(found.components)
        total, squares = total + found.components, squares + (own_parts**2).sum(1)
    count = len(areas)
    of_images = np.asarray(total / count)
    mean = of_images if grouping is None else grouping.sums(of_images)
    freedom, largest = math.inf, found.largest
    if grouping is not None:
        freedom = grouping.freedom if grouping.known else 1.0
        largest = np.minimum(1.0, largest * of_images.shape[1] / grouping.count if grouping.known else math.inf)
    middle, reach = np.mean(areas, 0), critical_value(degrees_of_freedom=freedom) * np.sqrt((mean**2).sum(1))
    ends = np.stack([middle - reach, middle + reach], 1)
    for row, area in enumerate(middle.tolist() if found.areas else ()):
        ends[row] = interval_of_area(area, of_images[row], largest_effect=float(found.largest[row]), grouping=grouping)
    own = (np.asarray(squares) - count * (mean**2).sum(1)) / max(1, count - 1)
    return Sample(
        name=name,
        images=images,
        scores=found.names,
        labels=found.labels,
        areas=np.stack(areas),
        components=mean,
        own=own,
        largest=largest,
        ends=ends,
        freedom=freedom,
    )


def read_sample(variant: Variant, tasks: Tasks) -> Sample:
    """Return the sample of a variant.

    Raises:
        DataError: Predictions are missing or damaged, or the seeds were tested on different images.
        MissingError: The task's plugin is absent.
    """
    task = task_of_result(variant.results[0], tasks=tasks)
    tested_on: list[bytes] = []
    path = variant.results[0].run_dir / PREDICTIONS
    first, stated = read_file(variant.results[0], PREDICTIONS, only=("test.labels",))
    labels_of_first = first["test.labels"]
    groups = groups_in(stated, "test", images=len(labels_of_first))
    kinds = labels_of_first if labels_of_first.ndim == 1 else None
    grouping = None if groups is None else Grouping.of(groups.numbers, kinds)

    def read() -> Iterator[Contributions]:
        nonlocal path
        for result in variant.results:
            path = result.run_dir / PREDICTIONS
            arrays, metadata = read_file(result, PREDICTIONS, only=("test.logits", "test.labels"))
            labels = arrays["test.labels"]
            images = result.cell.recipe.of_image_alone.hash
            same = metadata.get("test.ids", "") + metadata.get("test.image_groups", "") + images
            about = same.encode() + labels.tobytes()
            tested_on[:] = tested_on or [about]
            if tested_on != [about]:
                raise DataError("its seeds were tested on different images.")
            predictions = arrays["test.logits"]
            if predictions.shape[1] != task.outputs:
                raise DataError(
                    f"{path} has {counted(predictions.shape[1], 'prediction')} an image, not {task.outputs}."
                )
            yield task.contributions(predictions, labels)

    try:
        sample = make_sample(variant.name, "", read(), grouping=grouping)
    except (ValueError, LookupError, TypeError) as error:
        raise DataError(f"{path} cannot be scored: {error}.") from error
    return replace(sample, images=hashlib.sha256(tested_on[0]).hexdigest())
