"""Plugins that are broken: each is reported, registers nothing, and costs the others nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from smallplugin import NETWORK, states

from zoo.cli.context import commands_of
from zoo.errors import MissingError, TrainingError, UsageError
from zoo.host import load_plugins
from zoo.models.network import build_network
from zoo.registry import load_target
from zoo.specs import ModelSpec


def test_half_removed_and_damaged_distributions_are_reported(lay, site, monkeypatch):
    lay("dist-good", points={"good": None})
    removed = lay("dist-removed", points={"removed": None})
    (removed / "METADATA").unlink()
    host = load_plugins(environment={})
    assert host.records["good"].state == "ok"
    assert set(host.records) == {"good", "removed"}


@pytest.mark.slow
def test_entry_points_that_cannot_be_read_cost_only_their_own(lay, site):
    """In a process of its own: this breaks the standard library's look-up of all entry points."""
    lay("dist-good", points={"good": None})
    damaged = lay("dist-damaged", points={"damaged": None})
    (damaged / "entry_points.txt").write_text("[zoo.plugins]\nno equals sign\n")
    done = subprocess.run(
        [sys.executable, "-m", "zoo", "list-models"],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "good/net" in done.stdout
    assert "gconv/p4m" in done.stdout


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("@hookimpl\ndef zoo_models(): return ['net']", "TypeError: zoo_models must return ModelSpecs, not str"),
        ("@hookimpl\ndef zoo_models(): return 3", "TypeError: zoo_models must return a list of ModelSpec, not int"),
        ("@hookimpl\ndef zoo_models(): yield None", "not generator"),
        (
            "@hookimpl(wrapper=True)\ndef zoo_models(): yield",
            "a wrapper of zoo_models must return the list that its yield",
        ),
        ("@hookimpl(wrapper=True)\ndef zoo_epoch_ended(): return 1", "is not a generator function"),
        ("@hookimpl\ndef zoo_modles(): return []", "unknown hook 'zoo_modles'. Did you mean 'zoo_models'"),
        ("@hookimpl\ndef my_models(): return []", "unknown hook 'my_models'"),
        *(
            (
                f"from zoo import {kind}\n@hookimpl\ndef zoo_{hook}():\n"
                f"    return [{kind}(id='one/n', target='a:b', {field}=('{name}',))]",
                f"one/n: {field} names '{name}'; known are classify, anomaly, regress{known}, and tasks of "
                f"other plugins by their full id.{near}",
            )
            for kind, hook, field, name, known, near in (
                ("MetricSpec", "metrics", "tasks", "anomly", "", " Did you mean 'anomaly'?"),
                ("ModelSpec", "models", "tasks", "one/order", "", ""),
                ("LossSpec", "losses", "tasks", "regression", "", " Did you mean 'regress'?"),
                ("TaskSpec", "tasks", "networks_of", "one/m", ", one/n", " Did you mean 'one/n'?"),
            )
        ),
        ("def zoo_datasets(): return []", "'zoo_datasets' lacks the mark @hookimpl"),
        ("@hookimpl\ndef zoo_epoch_ended(epochs): pass", "zoo_epoch_ended"),
        ("ZOO_API_VERSION = 99", "it needs plugin API 99; this zoo offers 1"),
        (
            "@hookimpl\ndef zoo_models(): return [ModelSpec(id='one/n', target='a:b', requires=('timm'))]",
            "one/n: requires must be a list of texts",
        ),
        (
            "@hookimpl\ndef zoo_models(): return [ModelSpec(id='one/n', target='a:b', defaults={'f': print})]",
            "defaults",
        ),
    ],
)
def test_a_broken_plugin_registers_nothing(lay, code, error):
    good = "\n@hookimpl\ndef zoo_launchers(): return [LauncherSpec(id='one/here', target='a:b')]\n"
    lay("dist-one", points={"one": None}, code="from zoo import LauncherSpec, ModelSpec, hookimpl\n" + good + code)
    host = load_plugins(environment={})
    record = host.records["one"]
    assert record.state == "broken"
    assert error in record.error
    assert "Traceback" in record.trace
    assert host.specs == {}
    assert host.manager.get_plugins() == set()


def test_a_hook_that_returns_nothing_offers_nothing(lay):
    lay("dist-one", points={"one": None}, code="from zoo import hookimpl\n@hookimpl\ndef zoo_models(): return None")
    host = load_plugins(environment={})
    assert (host.records["one"].state, host.records["one"].specs) == ("ok", 0)


def test_an_exception_whose_text_fails_is_a_fault_of_that_plugin(lay):
    code = "class Mute(Exception):\n    def __str__(self): raise SystemExit\nraise Mute('no')"
    lay("dist-one", points={"one": None}, code=code)
    record = load_plugins(environment={}).records["one"]
    assert (record.state, record.error) == ("broken", "Mute: no")


def test_an_interrupt_while_plugins_load_is_not_swallowed(lay):
    code = "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(5)"
    lay("dist-one", points={"one": None}, code=code)
    with pytest.raises(KeyboardInterrupt):
        load_plugins(environment={})


@pytest.mark.parametrize(
    "raised", ["KeyboardInterrupt('no')", "GeneratorExit('no')", "SystemExit('no')", "BaseException('no')"]
)
@pytest.mark.parametrize("place", ["import", "attribute", "hook", "commands", "target", "resolve", "builder"])
def test_whatever_a_plugin_raises_is_a_fault_of_that_plugin(site, lay, place, raised):
    hook = {
        "import": "",
        "attribute": "",
        "hook": "zoo_datasets(): raise it",
        "commands": "zoo_commands(): raise it",
    }.get(place, "zoo_resolve_model(name): raise it")
    (site / "bad_target.py").write_text(f"raise {raised}")
    target = "dist_one_plugin:build" if place == "builder" else "bad_target:x"
    code = (
        "from zoo import ModelSpec, hookimpl\n"
        f"it = {raised}\n"
        f"@hookimpl\ndef zoo_models(): return [ModelSpec(id='one/net', target='{target}')]\n"
        "def build(**arguments): raise it\n"
        + (f"@hookimpl\ndef {hook}\n" if hook else "")
        + {"import": "raise it\n", "attribute": "def __getattr__(name): raise it\n"}.get(place, "")
    )
    lay("dist-one", points={"one": None}, code=code)
    name = raised.partition("(")[0]
    host = load_plugins(environment={})
    broken = place in ("import", "attribute", "hook")
    assert host.records["one"].state == ("broken" if broken else "ok")
    if broken:
        assert host.records["one"].error == f"{name}: no"
    elif place == "commands":
        with pytest.raises(Exception, match="no") as caught:
            commands_of(host, "one")
        assert type(caught.value).__name__ == name
    elif place == "resolve":
        with pytest.raises(MissingError, match=f"failed in zoo_resolve_model: {name}: no"):
            host.resolve_model("one/other")
    elif place == "target":
        with pytest.raises(MissingError, match=f"cannot be loaded from bad_target:x: {name}: no"):
            load_target(host.specs_of(ModelSpec)[0])
    elif place == "builder":
        [spec] = host.specs_of(ModelSpec)
        with pytest.raises(TrainingError, match=f"cannot be built: {name}: no"):
            build_network(spec, in_chans=1, num_classes=3, image_size=8, hparams={})
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_missing_plugin_file_is_reported(tmp_path):
    with pytest.raises(UsageError, match=r"nothing\.py: file not found"):
        load_plugins(files=[tmp_path / "nothing.py"], environment={})
    with pytest.raises(UsageError, match=r"is a folder, not a Python file\.\nInstall a package: pip install -e /"):
        load_plugins(files=[tmp_path], environment={})


def test_broken_files_are_reported_and_load_after_repair(site, tmp_path):
    path = tmp_path / "patient.py"
    path.write_text("import nothing_like_it")
    assert states(load_plugins(files=[path], environment={})) == {"patient": "broken"}
    path.write_text(NETWORK.replace("{name}", "patient"))
    assert states(load_plugins(files=[path], environment={})) == {"patient": "ok"}
