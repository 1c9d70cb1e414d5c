"""Tasks by name: what --task means for a data set, and what a cell keeps of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.errors import UsageError
from zoo.host import load_plugins
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.specs import DatasetSpec, TaskSpec
from zoo.tasks.find import CORE, read_task, task_of_option, tasks_by_name

TOY = Path(__file__).parents[1] / "toys" / "toyzoo.py"
OTHER = {"others/count": TaskSpec(id="others/count", target="others:Count")}


@pytest.fixture(scope="module")
def host():
    return load_plugins(files=[TOY], environment={})


@pytest.mark.parametrize(
    ("text", "name", "option", "kept"),
    [
        ("", "classify", "", ""),
        ("classify", "classify", "", ""),
        ("core/classify", "classify", "", ""),
        ("middle", "classify", "middle", "middle"),
        ("classify:middle", "classify", "middle", "middle"),
        ("others/count", "others/count", "", "others/count"),
        ("count:masses", "others/count", "masses", "others/count:masses"),
    ],
)
def test_a_task_is_a_name_an_option_or_a_grouping_of_classes(text, name, option, kept):
    asked = read_task(text, tasks={**CORE, **OTHER}, groupings=["middle"])
    assert (asked.name, asked.option, asked.text) == (name, option, kept)
    assert read_task(asked.text, tasks={**CORE, **OTHER}, groupings=["middle"]) == asked


def test_a_grouping_of_the_data_set_keeps_its_name_beside_a_task():
    taken = {**CORE, "middle": TaskSpec(id="core/middle", target="a:b")}
    assert read_task("middle", tasks=taken, groupings=["middle"]).name == "classify"


def test_an_unknown_task_names_the_nearest(host):
    with pytest.raises(UsageError, match="Did you mean 'middle'"):
        read_task("midle", tasks=tasks_by_name(host), groupings=["middle"])


@pytest.mark.parametrize(("text", "kept"), [("", ""), ("classify", ""), ("classify:middle", "middle")])
def test_a_cell_of_classification_is_what_it_was(host, text, kept):
    """Neither the task nor its rule adds a field to a cell, so run ids of stored results hold."""
    request = {"models": ["toyzoo/tiny"], "data": ["toyzoo/stripes"], "budget": "smoke"}
    [cell] = make_plan(host, Request(**request, task=text))
    assert (cell.task, cell.rule) == (kept, "val_auc")
    assert ("task" in cell.to_json()) == bool(kept)
    [same] = make_plan(host, Request(**request, task=kept, rule="val_auc"))
    assert cell.run_id == same.run_id


def test_a_rule_of_another_task_is_refused(host):
    with pytest.raises(
        UsageError, match=r"rule 'val_loss' is not one of val_auc, last, the rules of the task classify"
    ):
        make_plan(host, Request(models=["toyzoo/tiny"], data=["toyzoo/stripes"], rule="val_loss"))


def test_a_task_is_opened_for_its_data_set(host):
    spec = DatasetSpec(id="a/b", target="a:b", classes=("x", "y", "z"), tasks={"any": {"no": ["x"], "yes": ["y", "z"]}})
    asked, task = task_of_option(host, spec, "any")
    assert (task.question.classes, task.outputs, task.weights_outputs) == (("no", "yes"), 2, None)
    assert asked.text == "any"
