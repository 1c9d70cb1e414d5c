"""Training images with parameters of their own: how they are written, what is refused, and what decides the run id."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from zoo import registry
from zoo.data.open import Dataset
from zoo.data.phases import Phase, describe_phases, last_epochs, phase_number, phase_recipe
from zoo.errors import UsageError
from zoo.host import load_plugins
from zoo.phase_text import read_phases, scale_phases
from zoo.plan.bench import plan_bench
from zoo.plan.cells import make_plan
from zoo.plan.phases import phases_epochs
from zoo.plan.request import Request
from zoo.plan.suite_file import read_suite
from zoo.results.cell import Cell
from zoo.results.comparison import problem_key
from zoo.specs import DatasetSpec

TOYS = Path(__file__).parents[1] / "toys"


@pytest.fixture(scope="module")
def host():
    files = [TOYS / f"{name}.py" for name in ("toyzoo", "toysky", "ownfits")]
    return load_plugins(files=files, environment={})


@pytest.fixture
def plan(host):
    def plan(models="toyzoo/tiny", data="toysky/discs", settings=None, **more):
        request = Request(
            models=models.split(","), data=[data], settings=settings or {}, budget="smoke", device="cpu",
            simulator="painter", **more,
        )  # fmt: skip
        return make_plan(host, request)

    return plan


def phases(*parts: tuple[int, float]) -> tuple[Phase, ...]:
    return tuple(Phase(epochs=epochs, params={"snr": snr}) for epochs, snr in parts)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"train.phases": "snr=50*3, snr=20*6"}, phases((3, 50.0), (6, 20.0))),
        ({"train.phases": "snr = 50 * 3, *6"}, phases((3, 50.0), (6, 20.0))),
        ({"train.phases": ["snr=50*3", "6"]}, phases((3, 50.0), (6, 20.0))),
        ({"train.phases": "snr=50*1, snr=50*2, snr=20*6", "epochs": 9}, phases((3, 50.0), (6, 20.0))),
        ({"train.phases": "*3, snr=9*6", "train.snr": 50}, phases((3, 50.0), (6, 9.0))),
        ({"train.snr": 50, "epochs": 9}, phases((9, 50.0))),
        ({"train.phases": "snr=50*3, *6", "data.snr": 9}, phases((3, 50.0), (6, 9.0))),
    ],
)
def test_phases_hold_every_parameter_that_one_of_them_changes(plan, settings, expected):
    [cell] = plan(settings=settings)
    assert cell.phases == expected
    assert cell.training["epochs"] == 9
    assert Cell.from_json(cell.to_json()) == cell


@pytest.mark.parametrize(
    "settings",
    [{"train.snr": 20, "epochs": 9}, {"train.phases": "*3, snr=20*6"}, {"train.phases": 9}, {"train.image_size": 32}],
)
def test_images_as_those_of_the_test_are_no_phases(plan, settings):
    [same], [plain] = plan(settings={"epochs": 9, **settings}), plan(settings={"epochs": 9})
    assert same == plain
    assert same.run_id == plain.run_id
    assert "phases" not in same.to_json()


def test_a_run_without_phases_keeps_its_id(plan):
    """As before there were phases; the versions and the code of the plugins, which change, are left out."""
    [cell] = plan(settings={"epochs": 9})
    assert set(cell.identity()) == {
        "model", "model_version", "hparams", "recipe", "sizes", "training", "seed", "budget", "rule", "precision",
        "versions",
    }  # fmt: skip


def test_phases_change_the_run_id_and_not_what_a_score_is_compared_with(plan):
    wanted = ["snr=50*3, *6", "snr=50*6, *3", "snr=51*3, *6", "snr=50*9"]
    cells = [plan(settings={"train.phases": text})[0] for text in wanted] + plan(settings={"epochs": 9})
    assert len({cell.run_id for cell in cells}) == 5
    assert len({problem_key(cell) for cell in cells}) == 1
    assert len({cell.recipe.hash for cell in cells}) == 1


@pytest.mark.parametrize(
    ("settings", "message", "more"),
    [
        ({"train.phases": "snr=50*3, *6", "epochs": 8}, "epochs=8 and train.phases=.* which has 9 epochs", {}),
        ({"train.phases": "snr=50"}, "does not end with its number of epochs", {}),
        ({"train.phases": " , "}, "holds no phase", {}),
        ({"train.phases": "None"}, "does not end with its number of epochs", {}),
        ({"train.phases": "snr=50*0"}, "does not end with its number of epochs", {}),
        ({"train.phases": "snr50*3"}, "'snr50' is not of the form NAME=VALUE", {}),
        ({"train.phases": "snr=50 snr=60*3"}, "snr is given twice", {}),
        ({"train.phases": "snr=NaN*3"}, "not a finite number", {}),
        ({"train.phases": "snr=5)*1, *2"}, "a bracket too many or too few", {}),
        ({"train.phases": "sn=50*3"}, "train.sn: .* Did you mean 'snr'", {}),
        ({"train.sn": 50}, "has this name. Did you mean 'train.snr'", {}),
        ({"train.image_size": 16}, "16 x 16 pixels for test images of 32 x 32", {}),
        ({"train.snr": 50}, "--images .* holds training images with the parameters", {"images": Path("there")}),
        ({"train.count": 300}, "toyzoo/stripes consists of stored images", {"data": "toyzoo/stripes"}),
        ({"train.snr": 50}, "ownfits/nearest fits itself to the training images", {"models": "ownfits/nearest"}),
        ({"tiny.train.snr": 50}, "no model of this plan is called 'tiny.train'", {}),
    ],
)
def test_what_does_not_go_together_is_refused_with_one_message(plan, settings, message, more):
    with pytest.raises(UsageError, match=message):
        plan(settings=settings, **more)


def test_a_prior_holds_commas(plan):
    """Commas inside of brackets do not end a phase."""
    assert phases_epochs({"train.phases": "a=U(1, 4) b=[1, 2]*3, a=2*4"}) == 7
    assert phases_epochs({"train.snr": 3}) is None
    [cell] = make_plan(
        load_plugins(environment={}),
        Request(
            models=["gconv/p4"], data=["deeplense/modelA"], budget="laptop", device="cpu",
            settings={"train.phases": "mass_scale=U(1, 4)*3, mass_scale=1*6"},
        ),
    )  # fmt: skip
    assert [dict(phase.params) for phase in cell.phases] == [{"mass_scale": "U(1,4)"}, {"mass_scale": 1.0}]
    assert describe_phases(cell.phases) == "mass_scale U(1,4) for 3 epochs, then 1 for 6"


def test_a_stated_mass_of_the_training_overrides_the_budget_as_one_of_the_data_does():
    own = load_plugins(environment={})
    specs = own.specs[DatasetSpec]
    spec = specs["deeplense/modelA"]
    specs[spec.id] = replace(spec, budgets={"smoke": {**spec.budgets["smoke"], "mass_scale": 4.0}})
    [cell] = make_plan(
        own,
        Request(
            models=["gconv/p4"], data=["deeplense/modelA"], budget="smoke", device="cpu",
            settings={"train.mass_fraction": 0.05},
        ),
    )  # fmt: skip
    assert cell.recipe.params["mass_scale"] == 4.0
    assert cell.phases == (Phase(epochs=1, params={"mass_scale": 1.0, "mass_fraction": 0.05}),)


def test_a_phase_with_the_default_of_a_parameter_says_so():
    [cell] = make_plan(
        load_plugins(environment={}),
        Request(
            models=["gconv/p4"], data=["deeplense/modelA"], budget="laptop", device="cpu",
            settings={"train.phases": "mass_fraction=0.1*3, *4"},
        ),
    )  # fmt: skip
    assert describe_phases(cell.phases) == "mass_fraction 0.1 for 3 epochs, then the default for 4"
    assert describe_phases(cell.phases[::-1]).startswith("mass_fraction by default for 4 epochs, then 0.1 for 3")


def test_several_parameters_are_named_in_every_phase():
    two = [Phase(epochs=1, params={"snr": 50.0, "sky": "U(0, 1)"}), Phase(epochs=2000, params={"snr": 9, "sky": 0.5})]
    assert describe_phases(two) == "snr 50, sky U(0, 1) for 1 epoch, then snr 9, sky 0.5 for 2,000"
    assert describe_phases(()) == ""
    assert last_epochs(two) == [1, 2001]
    assert [phase_number(two, epoch) for epoch in (1, 2, 2001, 2002)] == [1, 2, 2, None]
    assert phase_number((), 1) is None


@pytest.mark.parametrize("data_seeds", [False, True])
def test_no_phase_draws_a_scene_of_validation_or_test(host, plan, data_seeds):
    """Every image is a function of its stream and its number: streams of training and test must differ."""
    cells = plan(settings={"train.phases": "snr=50*3, *6"}, seeds=[0, 1, 7], data_seeds=data_seeds)
    spec = registry.find(host, DatasetSpec, "toysky/discs")
    judged = {cell.recipe.stream(split) for cell in cells for split in ("val", "test", "fresh")}
    trained = set()
    for cell in cells:
        for phase in cell.phases:
            data = Dataset(host, phase_recipe(spec, cell.recipe, phase), cell.sizes, train_seed=cell.train_seed)
            trained.add(data.recipe_of("train").stream("train"))
    assert not judged & trained
    assert len(trained) == (3 if data_seeds else 1)


def test_baselines_are_fitted_to_the_images_of_the_data_set():
    request = Request(
        models=["gconv/p4"], data=["deeplense/modelA"], budget="smoke", device="cpu", settings={"train.mass_scale": 8}
    )
    network, baseline = plan_bench(load_plugins(environment={}), request).cells
    assert network.phases
    assert baseline.fits_itself
    assert baseline.phases == ()


def test_a_suite_states_phases_as_text_or_as_a_list(host, tmp_path):
    path = tmp_path / "suite.toml"
    head = 'models = ["toyzoo/tiny"]\ndata = ["toysky/discs"]\nbudget = "smoke"\nsimulator = "painter"\n[settings]\n'
    found = []
    for text in ('"snr=50*1, *2"', '["snr=50*1", "*2"]'):
        path.write_text(f"{head}train.phases = {text}\n")
        assert read_suite(path).request.settings
        request = Request(models=[], data=[], device="cpu")
        found.append(plan_bench(host, request, suite=path).cells[0])
    assert found[0] == found[1]
    assert found[0].phases == phases((1, 50.0), (2, 20.0))


@pytest.mark.parametrize(
    ("weights", "total", "expected"),
    [
        ([4, 3, 7], 14, [4, 3, 7]),
        ([4, 3, 7], 28, [8, 6, 14]),
        ([4, 3, 7], 3, [1, 1, 1]),
        ([4, 3, 7], 2, [1, 0, 1]),
        ([4, 3, 7], 1, [0, 0, 1]),
        ([4, 4, 24], 40, [5, 5, 30]),
        ([3, 3, 24], 31, [3, 3, 25]),
        ([9, 1], 2, [1, 1]),
        ([90, 5, 1], 10, [9, 0, 1]),
        ([5], 2, [2]),
    ],
)
def test_proportions_keep_the_total_and_the_last_phase(weights, total, expected):
    text = ", ".join(f"snr=U({number}, 99)*{weight}" for number, weight in enumerate(weights))
    found = {phase.params["snr"]: phase.epochs for phase in read_phases(scale_phases(text, total), of="test")}
    assert [found.get(f"U({number}, 99)", 0) for number in range(len(weights))] == expected
    assert sum(expected) == total
