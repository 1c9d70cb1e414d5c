"""The conformance kit on plugins that are broken on purpose: each check catches the one that is made for it.

Launchers that lie are in tests/run/test_launchers.py.
"""

from __future__ import annotations

import dataclasses
import textwrap
from pathlib import Path

import pytest

from zoo.host import load_plugins
from zoo.specs import ChannelSpec, DatasetSpec, MetricSpec, ModelSpec, SimulatorSpec, TaskSpec
from zoo.testing import listeners, networks, plugins
from zoo.testing.kit import Options, checks_of
from zoo.testing.networks import train_once
from zoo.testing.outcome import run_check

TOYS = Path(__file__).parents[1] / "toys"
HOST = load_plugins(files=sorted(TOYS.glob("broken*.py")), environment={})
OPTIONS = Options(sizes=(16, 17), simulator="zoo_testing/painter")
KINDS = (ModelSpec, DatasetSpec, SimulatorSpec, ChannelSpec, MetricSpec, TaskSpec)
BROKEN = {  # "loss__summed" breaks the check 'loss' in a way of its own
    (kind.kind, spec.name.partition("__")[0].replace("_", "-"), spec.id): spec
    for kind in KINDS
    for spec in HOST.specs_of(kind)
    if spec.namespace.startswith("broken")
}
SLOW = {"training", "chance", "weights-file", "resume", "equivariance-after-training", "other-process"}
CASES = [
    pytest.param(*key, id=f"{key[0]}-{key[2]}", marks=[pytest.mark.slow] if key[1] in SLOW else []) for key in BROKEN
]


def outcome_of(spec, name):
    from zoo.testing.toys import with_toys

    checks, subject = checks_of(with_toys(HOST), spec, options=OPTIONS)
    [check] = [one for one in checks if one.name == name]
    return run_check(check, subject, full_id=spec.id, kind=spec.kind)


def test_the_broken_plugins_are_loaded():
    assert [record.trace for record in HOST.records.values() if record.state == "broken"] == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_each_check_has_something_broken(kind):
    needed = set()
    for spec in BROKEN.values():
        if isinstance(spec, kind):
            needed |= {check.name for check in checks_of(HOST, spec, options=OPTIONS)[0]}
    assert {name for of, name, _ in BROKEN if of == kind.kind} == needed


@pytest.mark.parametrize(("kind", "name", "full_id"), CASES)
def test_each_check_catches_what_it_is_made_for(kind, name, full_id):
    outcome = outcome_of(BROKEN[kind, name, full_id], name)
    assert outcome.state == "failed", outcome
    assert outcome.problem
    if name in ("batch-independence", "images-kept", "scenes-kept"):
        assert "pixels" in outcome.where
    assert outcome.hint


@pytest.mark.parametrize("name", ["one-step", "repeatable"])
def test_a_network_takes_its_step_once_for_all_checks(name, monkeypatch):
    """That of 'one-step' fails, that of 'repeatable' does not."""
    checks, subject = checks_of(HOST, BROKEN["model", name, f"brokenmodels/{name.replace('-', '_')}"], options=OPTIONS)
    taken = []

    def counted(subject, network, one):
        taken.append(one)
        return train_once(subject, network, one)

    monkeypatch.setattr(networks, "train_once", counted)
    wanted = ("one-step", "finite", "repeatable", "state-dict")
    outcomes = [run_check(one, subject, full_id="a/b", kind="model") for one in checks if one.name in wanted]
    assert len(outcomes) == 4
    assert len(taken) == len({id(one) for one in taken})


LISTENERS = {
    "run-that-ends-well": "def zoo_epoch_ended(epoch):\n    raise RuntimeError('no epochs')",
    "run-that-fails": "def zoo_run_finished(result):\n    result['test']",
    "quiet": "def zoo_run_started(cell):\n    print('off we go')",
}
BROKEN_LISTENERS = [
    *LISTENERS.items(),
    (
        "run-that-ends-well",
        "def zoo_run_started(cell):\n    import threading, time\n"
        "    threading.Thread(target=time.sleep, args=(3,), daemon=True).start()",
    ),
    ("run-that-fails", "def zoo_run_finished(result):\n    import os\n    os._exit(0)"),
    ("quiet", "def zoo_run_started(cell):\n    import os\n    os.write(1, b'off we go')"),
]


def test_each_check_of_listeners_has_something_broken():
    assert LISTENERS.keys() == {check.name for check in listeners.CHECKS}


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(BROKEN_LISTENERS)), ids=[name for name, _ in BROKEN_LISTENERS])
def test_each_check_of_listeners_catches_what_it_is_made_for(number, tmp_path):
    wanted, text = BROKEN_LISTENERS[number]
    [check] = [one for one in listeners.CHECKS if one.name == wanted]
    name = f"broken_{wanted.replace('-', '_')}_listener_{number}"
    (tmp_path / f"{name}.py").write_text(f"from zoo import hookimpl\n@hookimpl\n{text}\n")
    host = load_plugins(files=[tmp_path / f"{name}.py"], environment={})
    assert listeners.listens(host, name)
    subject = listeners.ListenerSubject(host=host, namespace=name)
    assert run_check(check, subject, full_id=name, kind="listener").state == "failed"


MODEL = "from zoo import ModelSpec, hookimpl\n@hookimpl\ndef zoo_models():\n    return [ModelSpec(id='NAME/net', {})]\n"
COMMAND = """
import click
from zoo import hookimpl

@hookimpl
def zoo_commands():
    @click.command(context_settings={{"ignore_unknown_options": {unknown}}})
    @click.option("--loud"{help})
    @click.argument("rest", nargs=-1)
    def greet(loud, rest):
        {doc}
    return [greet]
"""
PLUGINS = {
    "loads": "raise ImportError('no such luck')",
    "metadata": "",
    "light-import": "import numpy\n",
    "silent-import": "import os\nos.write(1, b'hello')\n",
    "second-process": "import os\n" + MODEL.replace("NAME/net'", "NAME/net%s' % os.getpid()").format("target='a:b'"),
    "targets": MODEL.format("target='NAME:absent'"),
    "summaries": MODEL.format("target='NAME:hookimpl'"),
    "command-help": COMMAND.format(unknown="False", help="", doc='"""Greet."""'),
    "command-names": COMMAND.format(unknown="False", help=", help='Greet loudly.'", doc='"""Greet."""')
    .replace("def greet", "def bench")
    .replace("[greet]", "[bench]"),
    "command-usage": COMMAND.format(unknown="True", help=", help='Greet loudly.'", doc='"""Greet."""'),
}


LOUD = ", help='Greet loudly.'"
GROUP = COMMAND.replace("[greet]", "[click.Group('people', commands=[greet], help='Greet people.')]")
BROKEN_PLUGINS = [
    *PLUGINS.items(),
    ("light-import", "from zoo import hookimpl\n@hookimpl\ndef zoo_commands():\n    import numpy\n"),
    ("command-help", GROUP.format(unknown="False", help=LOUD, doc="pass")),
    ("command-usage", GROUP.format(unknown="True", help=LOUD, doc='"""Greet."""')),
    *(
        ("command-names", PLUGINS["command-names"].replace("[bench]", commands))
        for commands in ("[click.Command('two words')]", "2 * [click.Command('twice')]")
    ),
]


def test_each_check_of_plugins_has_something_broken():
    assert PLUGINS.keys() == {check.name for check in plugins.CHECKS}


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(BROKEN_PLUGINS)), ids=[name for name, _ in BROKEN_PLUGINS])
def test_each_check_of_plugins_catches_what_it_is_made_for(number, tmp_path):
    wanted, text = BROKEN_PLUGINS[number]
    [check] = [one for one in plugins.CHECKS if one.name == wanted]
    name = f"broken_{wanted.replace('-', '_')}_{number}"
    text = textwrap.dedent(text).replace("NAME", name)
    (tmp_path / f"{name}.py").write_text(text)
    host = load_plugins(files=[tmp_path / f"{name}.py"], environment={})
    if check.name == "metadata":
        host.records[name] = dataclasses.replace(host.records[name], version="?")
    subject = plugins.PluginSubject(host=host, namespace=name)
    outcome = run_check(check, subject, full_id=name, kind="plugin")
    assert outcome.state == "failed", outcome
