"""Studies whose trainings have phases: the phases are part of every trial, and trials cannot change their length."""

from __future__ import annotations

import pytest
from zoo_optuna.definition import best_of, own_values, read_definition, trial_cell
from zoo_optuna.search import make_study

from zoo.data.phases import Phase
from zoo.errors import UsageError
from zoo.host import load_plugins
from zoo.plan.request import Request

PLUGIN = """
from zoo.hookspecs import hookimpl
from zoo.specs import ModelSpec

@hookimpl
def zoo_models():
    space = {"epochs": [1, 2], "width": [1, 2]}
    return [ModelSpec(id="longer/net", target="longer:net", defaults={"width": 1}, search_space=space)]
"""


def test_every_trial_and_the_benchmark_of_the_best_have_the_phases(start):
    settings = {"data": "toysky/discs", "data__image_size": 8, "searched": ("lr",)}
    definition, folder = start(**settings, **{"train__phases": "snr=50*1, *2"})
    phases = (Phase(epochs=1, params={"snr": 50.0}), Phase(epochs=2, params={"snr": 20.0}))
    assert read_definition(folder) == definition
    assert trial_cell(definition, 4, {"lr": 0.5}).phases == phases
    best = best_of(definition, trial=4, val_auc=0.9, trials=5, values={"lr": 0.5})
    assert best.request.settings["train.phases"] == "snr=50*1, *2"
    with pytest.raises(UsageError, match="A different study named 's' exists"):
        start(**settings)


def test_the_number_of_epochs_is_not_searched_with_phases(tmp_path):
    path = tmp_path / "longer.py"
    path.write_text(PLUGIN)
    host = load_plugins(files=[path], environment={})
    request = Request(
        models=["longer/net"], data=["deeplense/modelA"], budget="smoke", device="cpu", store=tmp_path / "store",
        settings={"train.mass_scale": 8},
    )  # fmt: skip
    definition, _ = make_study(host, request, name="all")
    assert "width" in definition.space
    assert "epochs" not in definition.space
    assert set(own_values(definition.cell, definition.space)) == set(definition.space)
    with pytest.raises(UsageError, match="'epochs' is both searched"):
        make_study(host, request, name="named", searched=("epochs",))
