"""Populations from the answers of weights: what is refused before an image is read, and which number stands for one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from zoo.errors import DataError, UsageError
from zoo.inference.population import check_population, infer, summaries, without_skill
from zoo.inference.read import Skipped, each_once
from zoo.models.target import Target
from zoo.scores.distributions import LEVELS
from zoo.scores.response import with_response

ANSWERS, WIDTHS = (0.3, 0.5, 0.7), (0.1, 0.1, 0.1)
TARGET = Target(
    name="x", centre=0.5, scale=0.3, quantiles=(0.0, 0.5, 1.0),
    mean_answers=ANSWERS, deviations=WIDTHS, mean_copies=(ANSWERS,), deviation_copies=(WIDTHS,),
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": Path("a.txt")}, "does not end with .json or .png"),
        ({"targets": []}, "weights that estimate a truth"),
        ({"targets": [Target(name="x", centre=0, scale=1)]}, "do not state how they answer images of known truth"),
        ({"average": "p4"}, "cannot be combined with --average p4"),
    ],
)
def test_what_gives_no_population_is_refused_before_an_image_is_read(changes, message):
    given = {"targets": [TARGET], "path": Path("a.json"), "average": "none"}
    check_population(**given)
    with pytest.raises(UsageError, match=message):
        check_population(**given | changes)


def test_the_folder_of_a_population_is_made_before_an_image_is_read(tmp_path):
    check_population([TARGET], tmp_path / "new" / "a.PNG", average="none")
    assert (tmp_path / "new").is_dir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="Cannot create the folder"):
        check_population([TARGET], tmp_path / "file" / "a.json", average="none")


def test_a_file_that_is_named_twice_counts_once(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("a")
    bad, again = Skipped(name="c", reason="none"), []
    paths = [tmp_path / "a", bad, tmp_path / "." / "x" / ".." / "a", tmp_path / "b", tmp_path / "link", bad]
    assert list(each_once(paths, again.append)) == [tmp_path / "a", bad, tmp_path / "b", bad]
    assert len(again) == 2


def test_medians_of_quantiles_stand_for_the_answers_as_means_do():
    random = np.random.default_rng(0)
    means = random.normal(0.6, 0.05, 12)
    gaussian = np.stack([means, np.full(12, -3.0)], 1)
    quantiles = means[:, None] + 0.1 * (np.array(LEVELS) - 0.5)
    assert infer([TARGET], gaussian)["x"].interval(0.95) == infer([TARGET], quantiles)["x"].interval(0.95)


def test_a_population_stands_where_the_response_says_and_not_where_the_answers_do():
    found = infer([TARGET], np.tile([0.64, -3.0], (200, 1)))["x"]
    assert found.mean() == pytest.approx(0.85, abs=0.03)


def test_answers_without_skill_are_named():
    targets = [structs.replace(TARGET, name=str(skill), skill=skill) for skill in (None, 0.1, 0.0, -0.02)]
    assert [line.split()[4] for line in without_skill(targets)] == ["0.0", "-0.02"]
    posteriors = infer(targets[:1], np.tile([0.64, -3.0], (2, 1)))
    assert [one.skill for one in summaries([structs.replace(targets[0], skill=0.1)], posteriors)] == [0.1]


def test_a_response_to_other_truths_than_the_quantiles_is_refused():
    with pytest.raises(ValueError, match="states answers for other truths"):
        Target(name="x", centre=0, scale=1, quantiles=(0.0, 1.0), mean_answers=(0.0,), deviations=(0.1,))


@pytest.mark.slow
def test_few_validation_images_widen_the_posterior_of_many_lenses():
    """The error of the response is common to all lenses: more of them do not make it smaller."""
    random = np.random.default_rng(3)
    lenses = answered(random.normal(0.3, 0.3, 300), random)[:, None] + [0, -3.0]
    wider = {}
    for images in (170, 5000):
        known = random.normal(size=images)
        quantiles = tuple(np.quantile(known, np.linspace(0, 1, 33)))
        blank = Target(name="x", centre=0, scale=1, quantiles=quantiles)
        target = with_response(blank, answered(known, random), known, spread=1.0)
        without = structs.replace(target, mean_copies=(target.mean_answers,), deviation_copies=(target.deviations,))
        one, other = (np.ptp(infer([each], lenses)["x"].interval(0.68)) for each in (target, without))
        wider[images] = one / other
    assert wider[170] > 1.5
    assert 0.95 < wider[5000] < 1.3


def answered(truth, random):
    return 0.55 * truth + 0.5 * random.normal(size=len(truth))
