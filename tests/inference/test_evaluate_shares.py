"""Shares of test images that a launcher gives to machines: answers and scores are those of one process, to the bit."""

from __future__ import annotations

import json
import re
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner
from machines import Machines
from smallrun import TOY

from zoo import api
from zoo.cli import cli
from zoo.errors import DataError, Interrupted, LauncherError, UsageError
from zoo.host import load_plugins
from zoo.inference import evaluate, evaluate_shares
from zoo.inference.answers_work import ANSWERS
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.results import store
from zoo.run import job_queue, queued
from zoo.run.cell import run_cell
from zoo.schema import json_text, plain
from zoo.specs import LauncherSpec

HALL = """
from zoo import LauncherSpec, hookimpl

@hookimpl
def zoo_launchers():
    return [LauncherSpec(id="hall/machines", target="hall:Machines", summary="a hall of machines", outlives=True)]
"""
DISCS = ["--data", "toysky/discs", "--simulator", "painter", "--set", "data.image_size=12", "-n", 600]
STRIPES = ["--set", "data.count=3000", "-n", 600]
SHARES = ["--launcher", "core/local", "--shards"]
PREDICTIONS = "zoo.inference.evaluate_shares.predictions"


@pytest.fixture(scope="session")
def host(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugin") / "hall.py"
    path.write_text(HALL)
    return load_plugins(files=[*(TOY.with_name(f"{name}.py") for name in ("toyzoo", "toysky", "oddones")), path])


@pytest.fixture(scope="session")
def detector(host, tmp_path_factory):
    """Weights of a detector of anomalies, which compares shifted images with plain ones."""
    sizes = {"train_images": 120, "val_images": 40, "test_images": 90}
    request = Request(models=["oddones/mean"], data=["oddones/bumps"], budget="smoke", device="cpu", task="anomaly",
                      settings=sizes)  # fmt: skip
    [cell] = make_plan(host, request)
    run_dir = store.prepare_run(tmp_path_factory.mktemp("store"), cell)
    assert run_cell(host, cell, run_dir, device="cpu").status == "ok"
    return run_dir / store.WEIGHTS


@pytest.fixture
def go(host, run_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(queued, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(job_queue, "MOST_SECONDS", 0.01)
    load = queued.registry.load_target

    def go(*words, engine=None, count=2, launcher="core/local", weights=run_dir / store.WEIGHTS):
        def target(spec):
            return (lambda **_: engine) if isinstance(spec, LauncherSpec) else load(spec)

        monkeypatch.setattr(queued.registry, "load_target", target)
        more = [] if engine is None else ["--launcher", launcher, "--shards", count, "--store", tmp_path / "store"]
        return CliRunner().invoke(cli, list(map(str, ["evaluate", weights, "--json", *words, *more])), obj=host)

    return go


@pytest.fixture
def answers(monkeypatch):
    """Predictions and labels of each evaluation, as they are scored."""
    found, score = [], evaluate.scored

    def scored(host, about, recipe, answers, **words):
        found.append(answers)
        return score(host, about, recipe, answers, **words)

    for module in (evaluate, evaluate_shares):
        monkeypatch.setattr(module, "scored", scored)
    return found


def same(first, second):
    """Whether logits, labels and groups of all kinds of images are equal, bit by bit."""
    kinds = list(zip(first, second, strict=True))
    pairs = [pair for one, other in kinds for pair in zip(one[:2], other[:2], strict=True)]
    groups = [[None if kind[2] is None else kind[2].text for kind in pair] for pair in kinds]
    return all(torch.equal(*pair) for pair in pairs) and all(one == other for one, other in groups)


@pytest.mark.parametrize(
    "words",
    [[*STRIPES, "--angle", 30, "--average", "p4"], [*DISCS, "--seed", 1], ["--data", "toysky/crowds", *DISCS[2:]]],
    ids=["existing", "simulated", "in groups"],
)
def test_answers_and_scores_are_those_of_one_process(go, host, answers, tmp_path, monkeypatch, words):
    outputs = []
    for count in (3, 2, None):
        monkeypatch.setenv("ZOO_CACHE", str(tmp_path / f"cache-{count}"))
        engine = None if count is None else Machines(host, ["waiting", "running", "made"])
        done = go(*words, engine=engine, count=count)
        assert done.exit_code == 0, done.output
        outputs.append(done.stdout)
        if engine is not None:
            labels = [f"share {number}:{count} of the images" for number in range(count)]
            assert [job.label for job in engine.jobs] == labels
            assert not list((tmp_path / "store").iterdir())
    assert outputs[0] == outputs[1] == outputs[2]
    *divided, whole = answers
    assert [len(labels) for _, labels, _ in whole] == [600]
    assert ("crowds" in str(words)) == ('"name": "galaxy"' in outputs[0])
    assert all(same(one, whole) for one in divided)


def test_shifted_images_are_compared_with_plain_ones(go, host, detector, answers):
    """The plain images are a single block, so the second share has none of them."""
    words = ["--set", "data.count=3000", "--set", "data.height=0.5", "--angle", 90, "-n", 300]
    done = [go(*words, engine=engine, weights=detector) for engine in (Machines(host, ["made"]), None)]
    assert done[0].stdout == done[1].stdout
    assert "auroc_nuisance" in done[0].stdout
    assert [len(labels) for _, labels, _ in answers[0]] == [300, 120]
    assert same(*answers)


def test_the_share_of_a_dead_machine_is_given_out_again(go, host):
    engine = Machines(host, ["dies"], ["made"], dies_in=PREDICTIONS)
    assert go(*STRIPES, engine=engine).exit_code == 0
    assert len(engine.jobs) == 4


def test_the_same_command_attaches_and_submits_nothing_twice(go, host, monkeypatch):
    engine = Machines(host, ["running"])

    def hang_up(seconds):
        raise Interrupted("SIGHUP")

    with monkeypatch.context() as patch:
        patch.setattr(queued, "time", SimpleNamespace(sleep=hang_up))
        assert "Aborted!" in go(*STRIPES, engine=engine, launcher="machines").stderr
    assert len(engine.jobs) == 2
    for words in engine.words.values():
        words[:] = ["running", "made"]
    assert go(*STRIPES, engine=engine, launcher="machines").exit_code == 0
    assert len(engine.jobs) == 2


def test_a_detached_command_leaves_the_jobs_and_the_same_command_prints_the_scores(go, host, tmp_path):
    engine = Machines(host, ["running"])
    done = go(*STRIPES, "--detach", engine=engine, launcher="machines")
    assert (done.exit_code, done.stdout, len(engine.jobs)) == (0, "", 2)
    assert f"zoo status --store {tmp_path / 'store'} shows the shares; the same command without" in done.stderr
    for words in engine.words.values():
        words[:] = ["running", "made"]
    assert go(*STRIPES, engine=engine, launcher="machines").stdout == go(*STRIPES).stdout
    assert len(engine.jobs) == 2
    assert "--detach goes with --launcher" in str(go(*STRIPES, "--detach").exception)


def test_the_same_command_goes_on_with_what_has_failed(go, host, run_dir, tmp_path, monkeypatch):
    predictions = evaluate.predictions

    def fail_later(trained, split, **words):
        if list(tmp_path.rglob(ANSWERS)):  # of the first share
            raise DataError("It cannot be scored.")
        return predictions(trained, split, **words)

    python = partial(
        api.evaluate, run_dir / store.WEIGHTS, images=600, count=3000, host=host, launcher="machines", shards=2,
        store=tmp_path / "store",
    )  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(PREDICTIONS, fail_later)
        done = go(*STRIPES, engine=Machines(host, ["made"]))
        with pytest.raises(LauncherError, match="1 share of 2 failed; share 1: It cannot be scored"):
            python()
    assert (done.exit_code, done.stdout) == (1, "")
    assert "share 1:2 has failed: It cannot be scored." in done.stderr
    assert "no scores are printed; the same command goes on" in done.stderr
    again = Machines(host, ["made"])
    assert go(*STRIPES, engine=again).stdout == go(*STRIPES).stdout
    assert [job.run_dir.name for job in again.jobs] == ["1"]
    assert json.loads(go(*STRIPES, engine=again).stdout) == json.loads(json_text(plain(python()), what="scores"))
    assert not list((tmp_path / "store").iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"launcher": "machines"}, "launcher='machines' needs the number of shares"),
        ({"launcher": "machines", "shards": 0}, "shards=0 must be a whole number, 1 or more"),
        ({"launcher": "machnies", "shards": 2}, "Did you mean 'machines'"),
        ({"shards": 2}, "shards, launcher_settings, jobs, gpus and retries need a launcher"),
        ({"jobs": 2}, "shards, launcher_settings, jobs, gpus and retries need a launcher"),
    ],
)
def test_impossible_shares_are_refused_in_python(host, run_dir, tmp_path, options, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        api.evaluate(run_dir / store.WEIGHTS, host=host, store=tmp_path / "store", **options)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        (["--launcher", "core/local"], UsageError, "needs the number of shares: --shards K"),
        (["--shards", 2], UsageError, "and no --launcher is given"),
        (["--jobs", 2], UsageError, "--jobs is an option of a launcher"),
        ([*STRIPES, *SHARES, 4], UsageError, "--shards 4: these images make 3 blocks, and each share needs at least"),
        ([*SHARES, 2, "--data", "toyzoo/two"], DataError, "has the classes a, b"),
        ([*SHARES, 2, "--set", "data.cuont=1"], UsageError, "Did you mean 'count'"),
        ([*SHARES, 2, "--angle", "nan"], UsageError, "angle=nan must be"),
        ([*SHARES, 2, "--launcher-set", "jbs=1"], UsageError, "has no option 'jbs'"),
    ],
)
def test_impossible_shares_are_refused_before_anything_is_queued(go, tmp_path, words, kind, message):
    error = go(*words, "--store", tmp_path / "store").exception
    assert isinstance(error, kind)
    assert message in str(error)
    assert not (tmp_path / "store").exists()
