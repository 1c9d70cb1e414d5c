"""Search spaces of all models, invalid names and values, and the drawing of trials."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import sys
from pathlib import Path

import optuna
import pytest
import torch
from zoo_optuna import summary
from zoo_optuna.command import tune as tune_command
from zoo_optuna.definition import own_values
from zoo_optuna.sampling import AddressedTPE
from zoo_optuna.space import TRAINER_SPACE, choose_space, full_space, parameters_of, suggest, values_of
from zoo_optuna.summary import Summary, TrialSummary

from zoo import registry
from zoo.cli import cli, main
from zoo.cli.bench import bench as bench_command
from zoo.errors import UsageError
from zoo.host import load_plugins
from zoo.models.network import build_network
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.specs import ModelSpec

HERE = Path(__file__).resolve()
TOYS = [HERE.parents[3] / "tests/toys/toyzoo.py", HERE.with_name("tunetoy.py")]
OWN = load_plugins(environment={})
MODELS = [
    spec for spec in OWN.specs_of(ModelSpec) if isinstance(spec, ModelSpec) and OWN.records[spec.namespace].first_party
]


def test_a_network_that_fits_itself_is_searched_without_the_settings_of_the_training_loop():
    own = ModelSpec(id="mine/net", target="mine:net", fits_itself=True, defaults={"a": 1}, search_space={"a": [1, 2]})
    assert choose_space(own, searched=(), fixed={}) == {"a": [1, 2]}
    with pytest.raises(UsageError, match="not a searchable setting"):
        choose_space(own, searched=("lr",), fixed={})
    with pytest.raises(UsageError, match="does not declare a search space") as caught:
        choose_space(ModelSpec(id="mine/net", target="mine:net", fits_itself=True), searched=(), fixed={})
    assert "--search" not in str(caught.value)
    wrong = ModelSpec(id="mine/net", target="mine:net", fits_itself=True, search_space={"lr": [1, 2]})
    with pytest.raises(UsageError, match="not a hyper-parameter of the model"):
        full_space(wrong)


def test_later_settings_of_a_training_can_be_searched_and_names_of_parts_cannot():
    space = {"auxiliary_weight": {"low": 0.1, "high": 1.0, "log": True}, "new_noise": [False, True]}
    spec = ModelSpec(id="mine/net", target="mine:net", search_space=space)
    chosen = choose_space(spec, searched=("auxiliary_weight", "new_noise"), fixed={})
    request = Request(models=["tiny"], data=["stripes"], budget="smoke", device="cpu")
    [cell] = make_plan(load_plugins(files=TOYS, environment={}), request)
    assert own_values(cell, chosen) == {"auxiliary_weight": 0.5, "new_noise": False}
    for name in ("optimizer", "loss", "auxiliary", "init"):
        with pytest.raises(UsageError, match=f"{name}.*--set states it for all trials"):
            full_space(ModelSpec(id="mine/net", target="mine:net", search_space={name: ["a", "b"]}))


@pytest.mark.parametrize("spec", MODELS, ids=[spec.id for spec in MODELS])
def test_every_model_of_this_repository_can_be_searched_from_its_own_settings(spec):
    space = full_space(spec)
    assert set(spec.search_space) <= set(space)
    own = {**spec.defaults, **spec.training}
    known = {name: dimension for name, dimension in space.items() if name in own}
    assert set(parameters_of(own, known)) == set(known)
    # Widths, depths of filters or whatever else its size is; timm's architectures are what they are.
    assert spec.namespace == "timm" or spec.fits_itself or {"width", "widths"} & set(spec.search_space)


@pytest.mark.parametrize("name", [spec.id for spec in MODELS if spec.namespace == "gconv"])
@pytest.mark.slow
def test_every_choice_for_a_group_network_builds(name):
    spec = registry.find(OWN, ModelSpec, name)
    counts = set()
    for hyper_parameter, choices in spec.search_space.items():
        for choice in choices if isinstance(choices, tuple | list) else [choices["low"], choices["high"]]:
            with torch.device("meta"):
                network = build_network(
                    spec, in_chans=1, num_classes=3, image_size=64, hparams={hyper_parameter: choice}
                )
            if hyper_parameter in ("width", "widths"):
                counts.add(sum(parameter.numel() for parameter in network.parameters()))
    assert len(counts) == 3


def test_drawn_values_are_the_choices_themselves():
    space = {"sizes": [[5, 3], [7, 3]], "cutoff": [None, 1.5], "on": [True, 1], "width": {"low": 2, "high": 9}}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = []
    for _ in range(20):
        trial = study.ask()
        values = suggest(trial, space)
        assert values_of(trial.params, space) == values
        assert parameters_of(values, space) == trial.params
        drawn.append(json.dumps(values))
        assert type(values["width"]) is int
    for text in ("[5, 3]", "[7, 3]", "null", "1.5", "true", '"on": 1'):
        assert any(text in each for each in drawn)


def test_draws_depend_on_study_and_trial_only():
    def run(name, sessions):
        study = optuna.create_study(direction="maximize", sampler=AddressedTPE(name))
        for session in sessions:
            study.sampler = AddressedTPE(name)
            for _ in range(session):
                trial = study.ask()
                x, kind = trial.suggest_float("x", 0, 1), trial.suggest_categorical("kind", ["a", "b"])
                study.tell(trial, -((x - 0.3) ** 2) - (kind == "a"))
        return [trial.params for trial in study.trials]

    whole = run("s", [16])
    assert run("s", [3, 9, 4]) == whole
    assert run("other", [16]) != whole
    assert len({params["x"] for params in whole}) == 16


def test_names_have_the_same_meaning_as_for_set():
    spec = ModelSpec(
        id="a/b",
        target="a:b",
        defaults={"lr": 1, "width": 2},
        search_space={"lr": [1, 2], "width": [2, 3], "clip": {"low": 0.5, "high": 2.0}},
    )
    space = full_space(spec)
    assert space["lr"] == TRAINER_SPACE["lr"]
    assert space["model.lr"] == [1, 2] or space["model.lr"] == (1, 2)
    assert list(choose_space(spec, searched=["model.width", "lr"], fixed={})) == ["lr", "width"]
    assert set(space) - set(choose_space(spec, searched=[], fixed={"model.width": 2, "lr": 1e-3})) == {"width", "lr"}
    with pytest.raises(UsageError, match="All searchable settings are fixed"):
        choose_space(spec, searched=[], fixed=dict.fromkeys(space, 1))


@pytest.mark.parametrize(
    ("dimension", "words"),
    [
        ({"low": 1, "high": 0}, "empty"),
        ({"low": 0, "high": 1, "log": True}, "logarithmic"),
        ({"low": "a", "high": 1}, "a range must be"),
        ({"low": 0, "high": 1, "step": 2}, "a range must be"),
        ([], "a list of choices"),
        (3, "a list of choices"),
        ([[1], [1]], "twice"),
    ],
)
def test_an_invalid_search_space_of_a_plugin_is_reported(dimension, words):
    spec = ModelSpec(id="a/b", target="a:b", defaults={"width": 2}, search_space={"width": dimension})
    with pytest.raises(UsageError, match=words) as refusal:
        full_space(spec)
    assert "a/b" in str(refusal.value)
    assert "'width'" in str(refusal.value)


@pytest.fixture
def fail(capsys, tmp_path, monkeypatch):
    """Run zoo, which must fail cleanly and begin nothing; return what it says on stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_PLUGIN_FILES", os.pathsep.join(map(str, TOYS)))

    def run(*words, code=2):
        with pytest.raises(SystemExit) as exit_request:
            main(list(words))
        told = capsys.readouterr()
        assert exit_request.value.code == code, told.err
        assert told.out == ""
        assert "Traceback" not in told.err
        assert not list(tmp_path.iterdir())
        return told.err

    return run


def tune(*words, model="tunetoy/eye", study="s"):
    return (
        "tune", "--device", "cpu", "--budget", "smoke", "--model", model, "--data", "toyzoo/stripes", "--study", study,
        *words,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("tune", "--model", "p4m"), ["Missing option '--data'"]),
        (("tune", "--model", "p4m", "--data", "modelA"), ["Missing option '--study'"]),
        (tune("--search", "widht"), ["--search widht", "Did you mean 'widths'?", "Searchable settings: lr, "]),
        (tune("--search", "lr", "--set", "lr=0.1"), ["'lr' is both searched (--search) and fixed (--set)"]),
        (tune("--set", "eye.lr=0.1"), ["--set eye.lr: unknown prefix", "Try: --set lr=..."]),
        (tune("--set", "widhts=[1]"), ["--set widhts", "Did you mean 'widths'"]),
        (tune(model="tunetoy/plain"), ["does not declare a search space", "--search lr,weight_decay,augment"]),
        (tune(model="tunetoy/odd"), ["is invalid at 'widht'", "Did you mean 'width'"]),
        (tune(model="tunetoy/ey"), ["Unknown model 'tunetoy/ey'", "tunetoy/eye"]),
        (tune(model="tunetoy/*"), ["A study needs exactly one model", "matches 3"]),
        (tune("--trials", "0"), ["--trials 0 must be a whole number from 1"]),
        (tune("--workers", "0"), ["--workers 0 must be a whole number from 1"]),
        (tune("--prune-after", "-1"), ["--prune-after -1"]),
        (tune(study="../s"), ["The study's name '../s'"]),
        (tune("--search", ""), ["--search names nothing"]),
        (("tune", "--show", "nothing"), ["Study 'nothing' was not found in the store results; it has none."]),
        (("bench", "--from-study", "nothing"), ["Study 'nothing' was not found", "zoo tune --model p4m"]),
        (("bench", "--from-study", "a/b"), ["The study's name 'a/b'"]),
        (("bench", "suite.toml", "--from-study", "a"), ["exclude each other"]),
    ],
)
def test_invalid_tune_commands_are_refused(fail, words, expected):
    told = fail(*words)
    for text in expected:
        assert text in told


def test_unknown_studies_and_studies_without_a_result_are_refused(fail, tmp_path):
    store = tmp_path.with_name("elsewhere")
    (store / "studies" / "digits").mkdir(parents=True)
    told = fail("bench", "--from-study", "digit", "--store", str(store))
    assert "it has digits. Did you mean 'digits'?" in told
    assert "The study 'digits' has no successful trial yet." in fail(
        "bench", "--from-study", "digits", "--store", str(store)
    )
    assert "is not that of a study: a file of it is missing" in fail("tune", "--show", "digits", "--store", str(store))
    for content, words in (("{", "Cannot read"), ('{"schema": 9}', "of schema 9"), ('{"schema": 1}', "Cannot read")):
        (store / "studies" / "digits" / "best.json").write_text(content)
        assert words in fail("bench", "--from-study", "digits", "--store", str(store), code=1)
    (store / "studies" / "digits" / "study.json").write_text("[]")
    assert "is damaged" in fail("tune", "--show", "digits", "--store", str(store), code=1)


def test_without_optuna_the_command_says_what_to_install(fail, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert "zoo tune needs optuna, which is not installed.\nInstall it: pip install optuna" in fail(*tune(), code=3)


def test_the_legend_of_the_history_covers_no_trial_and_the_best_goes_on_to_the_last_one(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(summary, "_save", lambda figure, path: drawn.append(figure) or path)
    trials = [trial_of(i, "ended" if i < 3 else "stopped", auc) for i, auc in enumerate((0.7, 0.5, 0.9, 0.51, 0.5))]
    study = {"study": "s", "model": "a/b", "data": "c/d", "budget": "smoke", "settings": {}, "space": {}}
    assert summary.draw(Summary(**study, trials=tuple(trials), best=trials[2], importance={}), tmp_path)
    (figure,) = drawn
    figure.draw_without_rendering()
    (axis,), (legend,) = figure.axes, figure.legends
    assert axis.get_legend() is None
    assert not axis.get_window_extent().overlaps(legend.get_window_extent())
    line = axis.lines[0]
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([0, 1, 2, 4], [0.7, 0.7, 0.9, 0.9])


def trial_of(number: int, state: str, auc: float) -> TrialSummary:
    """Return a trial of two epochs."""
    return TrialSummary(
        trial=number, state=state, val_auc=auc, epoch=1, val_auc_by_epoch={"1": auc, "2": auc - 0.1}, values={}, seed=0,
        parameters=1, macs=None, seconds=1.0, error="",
    )  # fmt: skip


@pytest.mark.parametrize("page", ["docs/tuning.md", "plugins/optuna/README.md"])
def test_the_commands_of_the_documentation_are_valid(page):
    text = (HERE.parents[3] / page).read_text(encoding="utf-8").replace("\\\n", "")
    lines = [line.strip() for line in text.splitlines()]
    lines = [shlex.split(line, comments=True) for line in lines if line.startswith(("zoo tune", "zoo b"))]
    assert len(lines) >= 2
    studies = []
    for _, name, *words in lines:
        context = {"tune": tune_command, "bench": bench_command}[name].make_context(name, words, **cli.context_settings)
        if name == "tune" and context.params["study"]:
            studies.append({key: value for key, value in context.params.items() if key != "trials"})
        if context.params.get("searched"):
            spec = registry.find(OWN, ModelSpec, context.params["model"])
            assert choose_space(spec, searched=context.params["searched"].split(","), fixed={})
    for one, other in itertools.combinations(studies, 2):  # a study of the page is not refused because of another one
        names = [re.sub(r"\$\w+", ".*", study["study"]) for study in (one, other)]
        assert one == other or not (re.fullmatch(names[0], other["study"]) or re.fullmatch(names[1], one["study"]))
