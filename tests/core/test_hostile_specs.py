"""Specs and hooks that would break lists, tables and files: each is refused, or made of Python's own types."""

from __future__ import annotations

import dataclasses
import json

import click
import pytest

from zoo import isolation
from zoo.cli.context import commands_of
from zoo.errors import MissingError
from zoo.host import load_plugins
from zoo.plain_values import DEEPEST, LONGEST_ID, LONGEST_SUMMARY, LONGEST_TEXT, MOST_ENTRIES
from zoo.specs import DatasetSpec, ModelSpec

START = "from zoo import ModelSpec, hookimpl\n"


def nested(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"id": "one/" + "n" * LONGEST_ID}, "more than 100 characters"),
        ({"summary": "s" * (LONGEST_SUMMARY + 1)}, "summary has more than 1000 characters"),
        ({"card": "c" * (LONGEST_TEXT + 1)}, "card has a text of more than 100,000 characters"),
        ({"tags": ("t" * (LONGEST_TEXT + 1),)}, "tags has a text of more than 100,000 characters"),
        ({"tags": ["t"] * (MOST_ENTRIES + 1)}, "tags has more entries than 10,000"),
        ({"defaults": {"w": nested(DEEPEST)}}, "defaults is nested more than 20 levels deep"),
        ({"defaults": {"w": nested(5000)}}, "nested more than 20 levels deep"),
        ({"defaults": {"w": 10**5000}}, "defaults has a whole number of more than 64 bits"),
        ({"version": 10**5000}, "version has a whole number of more than 64 bits"),
        ({"version": -1}, "version must be a whole number from 0 to 2\\^63 - 1"),
        ({"parameters": -1}, "parameters must be a whole number from 0 to 2\\^63 - 1, or None"),
        ({"card": "\ud800"}, "half a character"),
        ({"defaults": {"\ud800": 1}}, "half a character"),
    ],
)
def test_what_no_list_or_file_can_hold_is_refused(fields, said):
    with pytest.raises(ValueError, match=said) as caught:
        ModelSpec(**{"id": "one/net", "target": "a:b", **fields})
    assert len(str(caught.value)) < 500


def test_a_hundred_thousand_classes_are_refused():
    with pytest.raises(ValueError, match="classes has more entries than 10,000"):
        DatasetSpec(id="one/many", target="a:b", classes=[f"c{i}" for i in range(100_000)])


def test_values_with_code_of_their_own_become_plain():
    class Text(str):
        def __str__(self):
            raise ValueError("no")

        __repr__ = __eq__ = __format__ = lower = __str__
        __hash__ = str.__hash__

    class Whole(int):
        def __repr__(self):
            raise ValueError("no")

    inner = [Whole(3)]
    spec = ModelSpec(id=Text("one/net"), target="a:b", summary=Text("s"), tags=(Text("t"),), defaults={"w": inner})
    assert [type(value) for value in (spec.id, spec.summary, spec.tags[0], spec.defaults["w"][0])] == [
        str,
        str,
        str,
        int,
    ]
    inner.append(4)
    assert json.loads(json.dumps(spec.to_json()))["defaults"] == {"w": [3]}
    assert dataclasses.replace(spec) == spec


LISTS = {
    "a generator": ("(one for one in [])", "not generator"),
    "a text": ("'abc'", "not str"),
    "a dictionary": ("{}", "not dict"),
    "a list of another kind": ("type('L', (list,), {})([3])", "not L"),
    "a spec of another kind": ("[type('M', (ModelSpec,), {})(id='one/n', target='a:b')]", "not M"),
    "what claims to be a spec": (
        "[type('X', (), {'__class__': ModelSpec, 'id': 'one/n', 'namespace': 'one'})()]",
        "not X",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", LISTS)
def test_a_hook_returns_a_plain_list_of_plain_specs(lay, what):
    returned, said = LISTS[what]
    lay("dist-one", points={"one": None}, code=f"{START}@hookimpl\ndef zoo_models(): return {returned}")
    host = load_plugins(environment={})
    assert host.records["one"].state == "broken"
    assert said in host.records["one"].error
    assert host.specs == {}


@pytest.mark.parametrize("returned", ["(click.Command('x') for _ in [1])", "'abc'", "[3]", "{'x': click.Command('x')}"])
def test_commands_are_a_plain_list_too(lay, returned):
    lay("dist-one", points={"one": None}, code=f"import click\n{START}@hookimpl\ndef zoo_commands(): return {returned}")
    host = load_plugins(environment={})
    with pytest.raises(TypeError, match="zoo_commands must return"):
        commands_of(host, "one")
    lay("dist-two", points={"two": None}, code=f"import click\n{START}@hookimpl\ndef zoo_commands():\n"
        "    return [click.Command('x')]")  # fmt: skip
    assert [type(command) for command in commands_of(load_plugins(environment={}), "two")] == [click.Command]


def test_a_plugin_cannot_change_a_spec_that_it_has_registered(lay):
    code = (
        f"{START}spec = ModelSpec(id='one/net', target='a:b', defaults={{'w': 1}})\n"
        "@hookimpl\ndef zoo_models(): return [spec]\n"
        "@hookimpl\ndef zoo_resolve_model(name): return spec\n"
    )
    lay("dist-one", points={"one": None}, code=code)
    host = load_plugins(environment={})
    import dist_one_plugin

    object.__setattr__(dist_one_plugin.spec, "id", "gconv/p4m")
    [listed] = host.specs_of(ModelSpec)
    assert listed.id == "one/net"
    with pytest.raises(MissingError, match="returned ModelSpec, which is not a ModelSpec of the namespace 'one'"):
        host.resolve_model("one/other")


@pytest.mark.slow
@pytest.mark.parametrize("place", ["import", "hook"])
def test_a_plugin_that_does_not_end_is_named(lay, monkeypatch, caplog, place):
    monkeypatch.setattr(isolation, "SLOW_SECONDS", 0.05)
    lines = {"import": "time.sleep(0.5)", "hook": "@hookimpl\ndef zoo_models(): time.sleep(0.5)"}
    lay("dist-one", points={"one": None}, code=f"import time\n{START}{lines[place]}\n")
    lay("dist-two", points={"two": None}, code=START)
    load_plugins(environment={"ZOO_PLUGINS": "one,two"})
    told = [record.getMessage() for record in caplog.records if "has been busy" in record.message]
    assert len(told) == 1
    assert "plugin one has been busy in " in told[0]
    assert "ZOO_DISABLE_PLUGINS=one" in told[0]
