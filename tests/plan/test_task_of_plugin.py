"""A plugin's task is part of the run id: its code and its version decide the result."""

from __future__ import annotations

import pytest
from smallrun import TOY

from zoo.errors import DataError, UsageError
from zoo.host import load_plugins
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.plan.unchanged import check_unchanged
from zoo.results.comparison import problem_key

TASK = """
from zoo import hookimpl
from zoo.specs import TaskSpec
from zoo.tasks.classify import Classify


@hookimpl
def zoo_tasks():
    return [TaskSpec(id="mytask/mine", target="mytask:Mine", version={version}, networks_of=("classify",))]


class Mine(Classify):
    def loss(self, predictions, labels, *, label_smoothing=0.0):
        return {factor} * super().loss(predictions, labels)
"""


@pytest.fixture
def plan(tmp_path):
    def make(task="mytask/mine", factor=1, version=1):
        path = tmp_path / "mytask.py"
        # Of another length: Python knows compiled code by time, in seconds, and length of its source.
        path.write_text(TASK.format(factor=factor, version=version) + "#" * (10 * factor + version))
        host = load_plugins(files=[TOY, path], environment={})
        request = Request(models=["toyzoo/tiny"], data=["toyzoo/stripes"], budget="smoke", device="cpu", task=task)
        [cell] = make_plan(host, request)
        return host, cell

    return make


def test_its_code_and_its_version_decide_the_run_id(plan):
    host, cell = plan()
    assert "mytask.py" in cell.versions
    check_unchanged(host, cell, images=None)
    _, other = plan(factor=7)  # the same file
    with pytest.raises(DataError, match=r"planned with mytask\.py"):
        check_unchanged(host, cell, images=None)
    _, later = plan(version=2)
    assert len({cell.run_id, other.run_id, later.run_id}) == 3
    assert (cell.task_version, later.task_version) == (None, 2)
    assert problem_key(cell) != problem_key(later)


def test_tasks_of_the_core_have_the_run_ids_that_they_had(plan):
    _, cell = plan(task="")
    assert "mytask.py" not in cell.versions
    assert "task_version" not in cell.to_json()


@pytest.mark.parametrize(
    ("task", "model"), [("regress:shear", "gconv/p4m"), ("anomaly", "gconv/p4m_ae")], ids=["regress", "anomaly"]
)
def test_label_smoothing_is_refused_where_the_loss_has_none(task, model):
    """It would change nothing but the run id."""
    request = {"models": [model], "data": ["deeplense/modelA"], "budget": "smoke", "device": "cpu", "task": task}
    with pytest.raises(UsageError, match=r"label_smoothing=0\.3 has no use for the task"):
        make_plan(load_plugins(environment={}), Request(**request, settings={"label_smoothing": 0.3}))
