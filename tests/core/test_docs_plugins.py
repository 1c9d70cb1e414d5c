"""The plugin guide is executed: each example is a working plugin, and every hook is described."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import numpy as np
import pytest

from zoo import hookspecs, registry
from zoo.cli import main
from zoo.collected import COLLECTED
from zoo.host import load_plugins
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.report.page import write_page
from zoo.report.problems import find_problems
from zoo.results import store
from zoo.results.verify import verify_run
from zoo.run.cell import run_cell
from zoo.specs import (
    AugmentationSpec,
    LossSpec,
    MetricSpec,
    ModelSpec,
    OptimizerSpec,
)
from zoo.tasks.find import tasks_by_name
from zoo.testing import Options, check, require_passed
from zoo.testing.training_parts import check_augmentation, check_loss, check_optimizer

UNTRAINED = Options(sizes=(16,), channels=(1,), classes=(3,), trainings=False)

GUIDE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
MODULES = dict(re.findall(r"^`(\w+\.py)`:\n\n```python\n(.*?)^```", GUIDE, flags=re.M | re.S))
HOOKS = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("zoo_") and callable(hook)}


@pytest.fixture
def load(tmp_path):
    """Return the plugins, with one module of the guide as a file."""

    def from_guide(name):
        (tmp_path / name).write_text(MODULES[name])
        host = load_plugins(files=[tmp_path / name], environment={})
        record = host.records[name.removesuffix(".py")]
        assert record.state == "ok", record.trace
        return host

    return from_guide


def test_every_hook_is_in_the_table_with_its_arguments():
    rows = re.findall(r"^\| `(zoo_\w+)\((.*?)\)` \|", GUIDE, flags=re.M)
    documented = {name: [word for word in arguments.split(", ") if word] for name, arguments in rows}
    assert documented == {name: list(inspect.signature(hook).parameters) for name, hook in HOOKS.items()}
    assert len(rows) == len(documented)


def test_every_hook_in_the_guide_exists():
    beginnings = "models|resolve|data|sim|channels|laun|metr|tasks|augm|loss|optimiz|comm|run|epoch"
    assert set(re.findall(rf"\bzoo_(?:{beginnings})\w*", GUIDE)) == set(HOOKS)


def test_every_target_contract_of_the_specs_is_in_the_guide():
    for kind in COLLECTED.values():
        assert re.search(rf"^\| `{kind.__name__}` \|", GUIDE, flags=re.M)
        contract = re.search(r"`(\w+)\(", inspect.getdoc(kind) or "")
        if contract:
            assert f"`{contract.group(1)}(" in GUIDE


def test_every_variable_of_the_host_is_in_the_guide():
    source = inspect.getsource(sys.modules["zoo.host"])
    variables = set(re.findall(r'"(ZOO_[A-Z_]+)"', source))
    assert variables >= {"ZOO_PLUGINS", "ZOO_DISABLE_PLUGINS", "ZOO_PLUGIN_FILES", "ZOO_API_VERSION"}
    for variable in variables:
        assert variable in GUIDE


@pytest.mark.slow
def test_the_first_example_installs_and_is_planned(tmp_path):
    """Its pyproject and its module are all that it takes: pip builds it, zoo plans it; test_network trains it."""
    source, site = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    pyproject = re.search(r"^`pyproject.toml`:\n\n```toml\n(.*?)^```", GUIDE, flags=re.M | re.S).group(1)
    assert tomllib.loads(pyproject)["project"]["entry-points"]["zoo.plugins"] == {"mynets": "mynets"}
    assert len(MODULES["mynets.py"].splitlines()) <= 20
    (source / "pyproject.toml").write_text(pyproject)
    (source / "mynets.py").write_text(MODULES["mynets.py"])
    (tmp_path / "myimages.py").write_text(MODULES["myimages.py"])
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*command, "--target", str(site), str(source)], check=True, capture_output=True)
    done = subprocess.run(
        [
            sys.executable, "-m", "zoo", "--plugin", "myimages.py", "bench", "--model", "mynets/tiny", "--data",
            "myimages/discs", "--budget", "smoke", "--device", "cpu", "--set", "width=16", "--dry-run", "--json",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site), "ZOO_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [cell] = json.loads(done.stdout)
    assert cell["model"] == "mynets/tiny"
    assert cell["hparams"] == {"width": 16}
    assert re.fullmatch(r"0\.1 \(code [0-9a-f]{16}\)", cell["versions"]["my-lens-nets"])


def test_class_in_a_file(load):
    host = load("mynet.py")
    assert registry.find(host, ModelSpec, "mynet/Net").defaults == {"width": 8}
    require_passed(check(host, "mynet/Net", options=UNTRAINED))


def test_network(load):
    require_passed(check(load("mynets.py"), "mynets/tiny", options=UNTRAINED))


def test_network_that_fits_itself(load):
    require_passed(
        check(
            load("mymeans.py"),
            "mymeans/nearest",
            options=UNTRAINED,
        )
    )


@pytest.mark.slow
def test_regression_that_fits_itself(load):
    options = Options(sizes=(16,), channels=(1,), classes=(3,))
    require_passed(check(load("myflux.py"), "myflux/line", options=options))


def test_network_with_its_own_loss(load):
    require_passed(
        check(
            load("mycoder.py"),
            "mycoder/linear",
            options=UNTRAINED,
        )
    )


def test_parts_of_a_training(load):
    host = load("myparts.py")
    check_augmentation(host, "myparts/flip")
    check_loss(host, "myparts/focal")
    check_optimizer(host, "myparts/sgd")
    kinds = (AugmentationSpec, LossSpec, OptimizerSpec)
    own = [spec.id for kind in kinds for spec in host.specs_of(kind) if spec.id.startswith("myparts/")]
    assert own == [
        "myparts/flip",
        "myparts/focal",
        "myparts/sgd",
    ]


def test_task(load, tmp_path, monkeypatch):
    """It is trained, stored, compared and shown on the page like the tasks of the core."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    toy = Path(__file__).parents[1] / "toys" / "toyzoo.py"
    load("mytask.py")
    host = load_plugins(files=[tmp_path / "mytask.py", toy], environment={})
    settings = {"train_images": 90, "val_images": 60, "test_images": 60, "epochs": 2, "batch_size": 30}
    request = Request(
        models=["mytask/ranker"], data=["toyzoo/stripes"], budget="smoke", device="cpu", task="mytask/order",
        settings=settings,
    )  # fmt: skip
    [cell] = make_plan(host, request)
    result = run_cell(host, cell, store.prepare_run(tmp_path / "results", cell), device="cpu")
    assert result.status == "ok", result.error
    assert 0 <= result.test.measures["concordance"].value <= 1
    assert verify_run(result.run_dir, tasks=tasks_by_name(host)).state == "true"
    write_page(find_problems([result], tasks=tasks_by_name(host)), [], tmp_path / "p.html", tasks=tasks_by_name(host))
    assert "concordance" in (tmp_path / "p.html").read_text()


def test_images(load):
    require_passed(check(load("myimages.py"), "myimages/discs"))


@pytest.mark.slow
def test_population(load):
    host = load("mylenses.py")
    require_passed(check(host, "mylenses/lump", excused={"scalar-leak": "its lump adds to the mass of the lens"}))
    require_passed(check(host, "caustics", options=Options(data="mylenses/lump")))


def test_simulator(load):
    host = load("mysimulator.py")
    require_passed(check(host, "mysimulator/unlensed", options=Options(data="modelB")))


def test_channel(load):
    require_passed(check(load("mychannel.py"), "mychannel/rough", options=Options(data="modelB")))


def test_metric(load):
    [spec] = registry.listed(load("mymetric.py"), MetricSpec)
    # Certain and right: 0; evenly undecided between three: (2/3)^2 + 2 (1/3)^2 = 2/3.
    assert registry.load_target(spec)(np.eye(3), np.arange(3)) == {"brier": 0}
    assert registry.load_target(spec)(np.full((1, 3), 1 / 3), np.array([1]))["brier"] == pytest.approx(2 / 3)


def test_metric_of_a_regression(load):
    require_passed(check(load("mybias.py"), "mybias/bias"))


@pytest.mark.slow
def test_launcher(load, tmp_path):
    from zoo.testing.launchers import check_launcher

    host = load("mylauncher.py")
    check_launcher(host, "mylauncher/together", tmp_path / "jobs")
    assert (tmp_path / "jobs" / "data" / "model" / "fails" / "log.txt").read_text() == ""


@pytest.mark.slow
def test_command_and_event(load, tmp_path, monkeypatch, capsys, caplog):
    host = load("mycommand.py")
    host.emit("zoo_epoch_ended", cell={}, run_dir=tmp_path, epoch=3, metrics={"val_loss": 0.75})
    assert "epoch 3: validation loss 0.750" in caplog.text
    monkeypatch.setenv("ZOO_PLUGIN_FILES", "")
    for words, said in ((["greet", "you"], "hello you\n"), (["--help"], "Greet somebody.")):
        with pytest.raises(SystemExit) as request:
            main(["--plugin", str(tmp_path / "mycommand.py"), *words])
        assert request.value.code == 0
        assert said in capsys.readouterr().out


def test_the_commands_of_the_guide_exist(capsys):
    """Every `zoo VERB --option` in the guide's shell blocks is one that the help knows."""
    lines = "".join(re.findall(r"^```bash\n(.*?)^```", GUIDE, flags=re.M | re.S)).splitlines()
    commands = [line for line in map(textwrap.dedent, lines) if line.startswith("zoo ")]
    assert len(commands) >= 4
    for line in commands:
        words = [word for word in line.split()[1:] if word != "--plugin" and not word.endswith(".py")]
        with pytest.raises(SystemExit) as request:
            main([words[0], "--help"])
        assert request.value.code == 0
        told = capsys.readouterr().out
        for option in words[1:]:
            assert not option.startswith("--") or option in told
