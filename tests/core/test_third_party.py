"""Third-party distributions installed with pip: a valid one works, and broken ones are reported and isolated."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import filelock
import pytest

from zoo.packages import ENTRY_POINT_GROUP

pytestmark = pytest.mark.slow  # installations

SOURCES = Path(__file__).parents[1] / "plugins_for_tests"
FAULTS = {
    "broken_api": "ImportError: it needs plugin API 2; this zoo offers 1",
    "broken_argument": "zoo_models",
    "broken_duplicate": "ValueError: model id broken_duplicate/NET is registered twice",
    "broken_entry": "AttributeError: module 'zoo_broken.raises_in_hook' has no attribute 'no_such_attribute'",
    "broken_exit": "SystemExit: not with me",
    "broken_form": "ValueError: model id 'net' is not of the form namespace/name",
    "broken_hook": "RuntimeError: the simulators are out",
    "broken_hook_name": "PluginValidationError: unknown hook 'zoo_modles'. Did you mean 'zoo_models'",
    "broken_import": "ModuleNotFoundError: No module named 'a_library_that_nobody_has'",
    "broken_kind": "TypeError: zoo_simulators must return SimulatorSpecs, not ModelSpec",
    "broken_mark": "PluginValidationError: 'zoo_models' lacks the mark @hookimpl",
    "broken_module": "ModuleNotFoundError: No module named 'zoo_broken.does_not_exist'",
    "broken_namespace": "ValueError: gconv/better: the id must begin with 'broken_namespace/'",
    "broken_return": "TypeError: zoo_models must return a list of ModelSpec, not dict",
    "broken_syntax": "SyntaxError: ",
    "core (zoo-broken)": "ImportError: the namespace 'core' is taken by lens-zoo",
}
SEEN_WITH_ERRORS_ONLY = {
    "broken_target": "broken_target/net: target zoo_broken.wrong_target:build: AttributeError: ",
    "broken_command": "zoo_commands: ModuleNotFoundError: No module named 'zoo_broken.command_that_is_not_there'",
}
# All that is installed beside the core: loading their targets takes seconds that say nothing about faults.
OTHERS = ",".join({point.name for point in entry_points(group=ENTRY_POINT_GROUP)} - {"core"})
SMOKE = [
    "bench", "--model", "thirdparty/perceptron", "--data", "thirdparty/gradients", "--budget", "smoke", "--device",
    "cpu", "--set", "train_images=256", "--set", "val_images=64", "--set", "test_images=100", "--set", "epochs=2",
    "--set", "width=8", "--set", "data.noise=0.25",
]  # fmt: skip


def install(target: Path, *names: str) -> None:
    """Build and install source trees with pip, without network and without touching the trees."""
    sources = target.with_name(target.name + "-sources")
    for name in names:
        shutil.copytree(SOURCES / name, sources / name)
    if "zoo_broken" in names:  # it could not lie in the repository, where linters read every file
        (sources / "zoo_broken/zoo_broken/has_no_syntax.py").write_text("def zoo_models(:\n")
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation",
            "--disable-pip-version-check", "--target", str(target), *(str(sources / name) for name in names),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip


def site_of(tmp_path_factory: pytest.TempPathFactory, *names: str) -> Path:
    """Return a folder with these distributions, installed once for all workers of a test run."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    target = base / f"site-{'-'.join(names)}"
    with filelock.FileLock(base / f"{target.name}.lock"):
        if not target.exists():
            install(target, *names)
    return target


@pytest.fixture(scope="session")
def good_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return site_of(tmp_path_factory, "zoo_thirdparty")


@pytest.fixture(scope="session")
def broken_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return site_of(tmp_path_factory, "zoo_broken")


@pytest.fixture
def zoo(tmp_path):
    """Run `zoo` in a process that sees these folders; the exit code must be the expected one."""

    def run(*words, sites, code=0, **variables):
        done = subprocess.run(
            [sys.executable, "-m", "zoo", *map(str, words)],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(map(str, sites)),
                "ZOO_CACHE": str(tmp_path / "cache"),
                **variables,
            },
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == code, f"zoo {' '.join(map(str, words))}\n{done.stdout}\n{done.stderr}"
        return done

    return run


def test_a_valid_plugin_is_trained_scored_and_receives_events(zoo, good_site, tmp_path):
    done = zoo(*SMOKE, "--json", sites=[good_site])
    [result] = json.loads(done.stdout)
    run_dir = tmp_path / result["run_dir"]
    assert result["status"] == "ok"
    assert result["test"]["auc"]["macro"] > 0.8  # the ramps are plain to see: the images and labels belong together
    assert result["test"]["images"] == 100
    assert result["classes"] == ["rising", "falling"]
    assert result["cell"]["hparams"] == {"width": 8, "dropout": 0.0}
    assert result["cell"]["training"]["lr"] == 0.02  # its spec's own
    assert result["cell"]["recipe"]["params"] == {"image_size": 8, "noise": 0.25}
    assert re.fullmatch(r"1\.2 \(code [0-9a-f]{16}\)", result["cell"]["versions"]["zoo-thirdparty"])

    # Its metric is stored beside ours; the one that fails is left out, and the log names it.
    assert list(result["test"]["extra"]) == ["thirdparty/confidence"]
    assert 0.5 < result["test"]["extra"]["thirdparty/confidence"]["mean"] < 1
    log = (run_dir / "log.txt").read_text()
    assert "metric thirdparty/fails failed" in log

    # Its events fired; the one that raises was logged in each epoch, with its traceback, and stopped nothing.
    assert (run_dir / "thirdparty-started.txt").read_text() == "thirdparty/perceptron"
    assert json.loads((run_dir / "thirdparty-finished.json").read_text()) == {"status": "ok"}
    for epoch in (1, 2):
        assert f"RuntimeError: thirdparty cannot stand epoch {epoch}" in log
    assert log.count("plugin thirdparty failed in zoo_epoch_ended") == 2

    # Again, nothing is run; the report knows it.
    assert json.loads(zoo(*SMOKE, "--json", sites=[good_site]).stdout) == [result]
    assert (run_dir / "log.txt").read_text() == log
    assert "thirdparty/perceptron" in zoo("report", sites=[good_site]).stdout


def test_a_valid_plugin_is_listed_and_its_command_runs(zoo, good_site):
    listed = zoo("list-models", "--json", sites=[good_site])
    # It prints while it is imported: that must not spoil the JSON.
    ids = [spec["id"] for spec in json.loads(listed.stdout)]
    assert {"thirdparty/perceptron", "gconv/p4m"} <= set(ids)
    assert "a plugin that prints" in listed.stderr
    assert zoo("greet", "you", sites=[good_site]).stdout == "hello you\n"
    assert "Greet somebody" in zoo("--help", sites=[good_site]).stdout
    assert "thirdparty/gradients" in zoo("list-datasets", "*grad*", sites=[good_site]).stdout
    shown = zoo("show", "p4m", sites=[good_site])
    assert "gconv/p4m" in shown.stdout
    assert "it also matches thirdparty/p4m" in shown.stderr
    refused = zoo("show", "thirdparty/perceptron", sites=[good_site], code=3, ZOO_DISABLE_PLUGINS="thirdparty")
    assert "the plugin thirdparty is disabled" in refused.stderr


@pytest.fixture(scope="session")
def health(broken_site, tmp_path_factory):
    """What `zoo plugins --errors --json` says where every fault is installed: name -> row."""
    done = subprocess.run(
        [sys.executable, "-m", "zoo", "plugins", "--errors", "--json"],
        cwd=tmp_path_factory.mktemp("health"),
        env={**os.environ, "PYTHONPATH": str(broken_site), "ZOO_DISABLE_PLUGINS": OTHERS},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    return {row["name"] if row["state"] != "broken" else _label(row): row for row in json.loads(done.stdout)}


def _label(row):
    return f"{row['name']} ({row['distribution']})" if row["name"] == "core" else row["name"]


def test_every_fault_is_tried(health):
    assert {name for name, row in health.items() if row["state"] == "broken"} == set(FAULTS)
    assert {name for name, row in health.items() if row["target_errors"]} >= set(SEEN_WITH_ERRORS_ONLY)
    assert {name for name, row in health.items() if row["state"] == "ok"} == {"core", *SEEN_WITH_ERRORS_ONLY}


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_plugin_is_reported_with_its_traceback(health, name):
    row = health[name]
    assert FAULTS[name] in row["error"]
    assert "\n" not in row["error"]
    assert row["distribution"] == "zoo-broken"
    assert row["version"] == "6.6.6"
    assert row["specs"] == 0
    assert row["trace"].startswith("Traceback")
    assert FAULTS[name].partition(":")[2].strip() in row["trace"]


@pytest.mark.parametrize("name", SEEN_WITH_ERRORS_ONLY)
def test_faults_after_registration_are_found_on_use(health, name):
    assert health[name]["state"] == "ok"
    [problem] = health[name]["target_errors"]
    assert SEEN_WITH_ERRORS_ONLY[name] in problem["error"]
    assert "Traceback" in problem["trace"]


def test_the_page_shows_the_tracebacks(zoo, broken_site):
    page = zoo("plugins", "--errors", sites=[broken_site], code=1, ZOO_DISABLE_PLUGINS=OTHERS).stdout
    assert page.count("Traceback (most recent call last)") >= len(FAULTS) + len(SEEN_WITH_ERRORS_ONLY)
    for fault in FAULTS:
        assert fault.partition(" ")[0] in page
    # Without --errors: a table, no traceback.
    assert "Traceback" not in zoo("plugins", sites=[broken_site]).stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["list-models", "--json"], "gconv/p4m"),
        (["list-datasets"], "deeplense/modelB"),
        (["list-simulators"], "caustics/caustics"),
        (["list-launchers"], "core/local"),
        (["show", "p4m"], "gconv/p4m"),
        (["env", "--json"], '"broken_exit": "6.6.6 broken"'),
        (["bench", "--model", "p4m", "--data", "modelA", "--budget", "smoke", "--dry-run", "--json"], "gconv/p4m"),
        (["report", "--json", "--store", "."], "[]"),
        (["--help"], "list-models"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_broken_plugins_do_not_stop_commands(zoo, broken_site, words, expected):
    done = zoo(*words, sites=[broken_site])
    assert expected in done.stdout
    assert "broken_hook/net" not in done.stdout  # nothing of a plugin that fails half-way stays
    assert "Traceback" not in done.stderr
    if words[0] in ("list-models", "list-datasets", "bench"):
        assert "broken plugin broken_api, broken_argument" in done.stderr
        assert ", core (zoo-broken);" in done.stderr  # not the plugin whose name it takes
        assert "zoo plugins --errors" in done.stderr


@pytest.mark.parametrize("name", ["broken_hook/net", "broken_exit/net"])
def test_a_model_of_a_broken_plugin_is_missing_not_unknown(zoo, broken_site, name):
    done = zoo("bench", "--model", name, "--data", "modelA", "--dry-run", sites=[broken_site], code=3)
    assert f"its plugin is broken: {FAULTS[name.partition('/')[0]]}" in done.stderr
    assert "zoo plugins --errors" in done.stderr
    assert "Traceback" not in done.stderr
