"""Statements of a result on its images and its validation are compared with its files, also where the checksum fits."""

from __future__ import annotations

import copy
import json

import pytest
from smallrun import write_result

from zoo.results import store
from zoo.results.verify import verify_run


def numbers(content, path=()):
    """Yield path and value of every number in nested lists and dictionaries."""
    if isinstance(content, (dict, list)):
        pairs = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in pairs:
            yield from numbers(value, (*path, key))
    elif isinstance(content, (int, float)) and not isinstance(content, bool):
        yield path, content


@pytest.mark.slow
def test_every_altered_statement_on_scores_images_and_validation_is_found(run_dir):
    content = json.loads((run_dir / store.RESULT).read_text())
    checked = [
        (path, value)
        for path, value in numbers(content)
        if path[0] in ("test", "val", "calibration")
        or path[:3] in (("data", "counts", "val"), ("data", "counts", "test"))
        or path[:2] == ("data", "image_shape")
    ]
    assert {"val", "test", "data", "calibration"} == {path[0] for path, _ in checked}
    unnoticed = []
    for path, value in checked[:: max(1, len(checked) // 40)] + [each for each in checked if each[0][0] != "test"]:
        altered = copy.deepcopy(content)
        place = altered
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value + 1 if isinstance(value, int) else 0.9 * value + 0.01
        write_result(run_dir, altered)
        if verify_run(run_dir).state == "true":
            unnoticed.append(path)
    assert unnoticed == []


@pytest.mark.slow
def test_predictions_of_another_run_are_found(run_dir, tmp_path):
    """Copied with their scores and a checksum that fits, they do not have the validation AUC of the history."""
    arrays, metadata = store.read_arrays(run_dir / store.PREDICTIONS)
    content = json.loads((run_dir / store.RESULT).read_text())
    write_result(run_dir, content)
    assert verify_run(run_dir).state == "true"
    better = {**arrays, "val.logits": -arrays["val.logits"]}
    store.write_arrays(run_dir / store.PREDICTIONS, better, metadata)
    write_result(run_dir, content)
    [problem, *_] = verify_run(run_dir).problems
    assert problem.startswith("val_auc of the history is ")
