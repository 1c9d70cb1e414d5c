"""`zoo check`, the classes for pytest and excuses: the same outcomes through each door."""

from __future__ import annotations

import json
import os
import threading
import warnings
from pathlib import Path

import pytest

from zoo.cli import check as check_command
from zoo.cli import main
from zoo.errors import UsageError
from zoo.host import load_plugins
from zoo.registry import find
from zoo.specs import DatasetSpec, ModelSpec
from zoo.testing import ConformanceError, MetricChecks, Options, check, require_passed
from zoo.testing.datasets import DatasetSubject
from zoo.testing.kit import checks_of
from zoo.testing.outcome import run_check

TOYS = Path(__file__).parents[1] / "toys"
METRIC = """
from zoo import MetricSpec, hookimpl

ZOO_EXCUSED_CHECKS = {"twovalues/worst": {"extremes": "only used for soft predictions"}}

@hookimpl
def zoo_metrics():
    better = {"brier": "lower"}
    return [MetricSpec(id="twovalues/best", target="twovalues:brier", summary="Brier score", better=better),
            MetricSpec(id="twovalues/worst", target="twovalues:log_loss")]

def brier(probabilities, labels):
    import os
    import numpy as np
    print("computed")
    os.write(1, b"past Python\\n")
    return {"brier": ((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2).sum(1).mean()}

def log_loss(probabilities, labels):
    import numpy as np
    return {"log_loss": -np.log(probabilities[range(len(labels)), labels]).mean() * probabilities[0, 0]}
"""


@pytest.fixture(scope="session")
def file(tmp_path_factory):
    """One file for all tests: a process loads a module of this name once. So this fixture is of the session."""
    path = tmp_path_factory.mktemp("plugin") / "twovalues.py"
    path.write_text(METRIC)
    return path


def run(capsys, *words):
    with pytest.raises(SystemExit) as request:
        main(["check", *map(str, words)])
    return request.value.code, capsys.readouterr()


def test_standard_output_holds_json_only_where_code_of_a_plugin_prints(file, capfd):
    code, shown = run(capfd, file, "--json")
    assert code == 1
    assert {row["id"] for row in json.loads(shown.out)} == {"twovalues", "twovalues/best", "twovalues/worst"}
    assert "past Python" in shown.err


def test_a_file_is_checked_with_all_that_it_offers(file, capsys):
    code, shown = run(capsys, file)
    assert code == 1
    assert "twovalues/worst" in shown.out
    assert "order-independence" in shown.out
    assert "only used for soft predictions" in shown.out
    assert "no summary" in shown.out
    assert "2 failed, 1 excused" in shown.out
    assert f"zoo --plugin {file} check twovalues --all" in shown.err


def test_json_has_every_outcome(file, capsys, monkeypatch):
    monkeypatch.setenv("ZOO_PLUGIN_FILES", str(file))
    code, shown = run(capsys, "twovalues/best", "--json")
    assert code == 0
    rows = json.loads(shown.out)
    assert {row["state"] for row in rows} == {"passed", "not applicable"}
    assert {"values", "extremes", "directions"} <= {row["check"] for row in rows}
    code, shown = run(capsys, "twovalues/worst", "--excuse", "order-independence=a demonstration", "--json")
    assert code == 0
    states = {row["check"]: row["state"] for row in json.loads(shown.out)}
    assert states["order-independence"] == states["extremes"] == "excused"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["twovalue"], "neither a plugin nor an id"),
        (["twovalues/best", "--excuse", "order"], "expected CHECK=REASON"),
        (["twovalues/best", "--excuse", "ordr-independence=why"], "Did you mean 'order-independence'"),
        (["twovalues/best", "--excuse", "extremes= "], "states no reason"),
        (["absent.py"], "file not found"),
    ],
)
def test_a_wrong_call_is_explained(file, capsys, monkeypatch, words, said):
    monkeypatch.setenv("ZOO_PLUGIN_FILES", str(file))
    code, shown = run(capsys, *words)
    assert code == 2
    assert said in shown.err


@pytest.mark.slow
def test_all_failures_are_reported_not_the_first(file):
    with pytest.raises(ConformanceError) as caught:
        require_passed(check(load_plugins(files=[file], environment={}), "twovalues"))
    assert len(str(caught.value).splitlines()) == 2


def test_excuses_of_another_form_are_refused(tmp_path):
    (tmp_path / "noexcuse.py").write_text("ZOO_EXCUSED_CHECKS = ['all']\n")
    with pytest.raises(UsageError, match=r"must be \{id: \{check: reason\}\}"):
        check(load_plugins(files=[tmp_path / "noexcuse.py"], environment={}), "noexcuse")


def test_a_deprecated_name_warns_with_its_successor():
    from zoo.testing.conformance import check_model

    host = load_plugins(files=[TOYS / "toyzoo.py"], environment={})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_model(host, "toyzoo/tiny", image_sizes=(12,))
    [warning] = [one for one in caught if one.category is DeprecationWarning and "conformance" in str(one.message)]
    assert "use zoo.testing.check" in str(warning.message)
    assert warning.filename == __file__


class TestBrierOfTheOptions(MetricChecks):
    """The classes make a test of each check, and this one passes them."""

    name = "brokenothers/directions"
    files = (str(TOYS / "brokenothers.py"),)
    excused = {"directions": "broken on purpose", "intervals": "not needed here"}  # noqa: RUF012 - as authors write it
    options = Options()


def test_parameters_that_are_given_reach_the_target_of_a_data_set():
    host = load_plugins(files=[TOYS / "toyzoo.py"], environment={})
    subject = DatasetSubject(host=host, spec=find(host, DatasetSpec, "toyzoo/stripes"), params={"count": 30})
    assert len(subject.build().images) == 30


@pytest.mark.parametrize(
    ("name", "param", "words"),
    [
        ("modelA", "snrr", r"modelA has no parameter 'snrr'\. Did you mean 'snr'"),
        ("p4m", "widht", r"p4m has no parameter 'widht'\. Did you mean 'widths'"),
        ("deeplense", "rooot", r"deeplense has no parameter 'rooot'\. Did you mean 'root'"),
        ("deeplense-folder", "scaling", r"deeplense-folder needs root"),
    ],
)
def test_a_parameter_that_is_wrong_or_lacking_is_named(name, param, words):
    """A check that checks nothing would pass."""
    with pytest.raises(UsageError, match=words):
        check(load_plugins(environment={}), name, options=Options(params={param: 3}))


NEEDS_A_FILE = """
from zoo import DatasetSpec, ModelSpec, hookimpl

@hookimpl
def zoo_models():
    return [ModelSpec(id="needsfile/net", target="needsfile:net", requires=("nosuchlibrary",),
                      summary="a network that needs a library")]

@hookimpl
def zoo_datasets():
    return [DatasetSpec(id="needsfile/set", target="needsfile:build", params={"file": ""}, required=("file",),
                        paths=("file",), classes=("a", "b"), summary="images of a file")]

def build(file):
    raise RuntimeError(f"opened {file}")
"""


def test_a_data_set_that_could_not_be_checked_is_named_and_its_parameter_may_have_the_prefix_of_other_commands(
    tmp_path, capsys
):
    path = tmp_path / "needsfile.py"
    path.write_text(NEEDS_A_FILE)
    code, shown = run(capsys, path)
    assert code == 3
    assert "Not checked: needsfile/set. It needs file. Give it: --set data.file=VALUE" in shown.err
    assert "Not checked: needsfile/net. " in shown.err
    file = tmp_path / "x.h5"
    with pytest.raises(UsageError, match=r"data\.file: .*x\.h5 was not found"):
        check(load_plugins(files=[path], environment={}), "needsfile/set", options=Options(params={"file": str(file)}))
    file.write_bytes(b"")
    code, shown = run(capsys, path, "--set", f"data.file={file}")
    assert code == 1
    assert f"opened {file}" in shown.out
    assert "Not checked: needsfile/set" not in shown.err
    assert f"one thing alone: zoo --plugin {path} check needsfile/set --set data.file={file} --all" in shown.err


DECLARED = """
from zoo import ModelSpec, hookimpl

@hookimpl
def zoo_models():
    def net(name, group, pool=False):
        return ModelSpec(id=f"declared/{name}", target="declared:build", summary="a linear network", group=group,
                         equivariance="approximate", arguments={"pool": pool})
    return [net("so2", "so2"), net("c5", "c5"), net("none", None), net("round", "c8", pool=True)]

def build(*, in_chans, num_classes, image_size, pool):
    from torch import nn
    size = 1 if pool else image_size
    return nn.Sequential(nn.AdaptiveAvgPool2d(size), nn.Flatten(), nn.Linear(in_chans * size**2, num_classes))
"""


@pytest.fixture(scope="session")
def declared(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugin") / "declared.py"
    path.write_text(DECLARED)
    return path


@pytest.mark.parametrize(
    ("name", "state", "words"),
    [
        ("so2", "failed", "declared approximate under so2, and has a measured error"),
        ("c5", "failed", "declared approximate under c5, and has a measured error"),  # at angles only
        ("none", "failed", "It is declared approximate, but no group is."),
        ("round", "passed", "Declared approximate; measured error"),
    ],
)
def test_an_approximate_symmetry_is_measured(declared, name, state, words):
    host = load_plugins(files=[declared], environment={})
    checks, subject = checks_of(host, find(host, ModelSpec, f"declared/{name}"))
    [one] = [each for each in checks if each.name == "equivariance-before-training"]
    found = run_check(one, subject, full_id=name, kind="model")
    assert (found.state, words in found.problem + found.note) == (state, True), found


@pytest.mark.slow
def test_a_measured_symmetry_is_shown_and_trainings_that_are_left_out_are_one_line(declared, capsys, monkeypatch):
    monkeypatch.setenv("ZOO_PLUGIN_FILES", str(declared))
    code, shown = run(capsys, "declared/round", "--no-trainings")
    assert code == 0
    assert shown.out.count("Declared approximate; measured error") == 1
    assert [line for line in shown.out.splitlines() if "chance" in line] == [
        "Left out by --no-trainings: training, chance, weights-file, resume, equivariance-after-training"
    ]
    assert "excused" not in shown.out


def test_a_thread_that_goes_on_does_not_keep_the_command_from_ending(monkeypatch):
    ended, stop = [], threading.Event()
    monkeypatch.setattr(os, "_exit", ended.append)
    check_command._end_despite_threads(1)
    assert ended == []
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        check_command._end_despite_threads(1)
    finally:
        stop.set()
        thread.join()
    assert ended == [1]
