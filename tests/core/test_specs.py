"""Specs survive JSON, are immutable, and refuse values that are not plain."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from zoo import registry
from zoo.host import load_plugins
from zoo.specs import DatasetSpec, LauncherSpec, MetricSpec, ModelSpec, SimulatorSpec, Spec, TaskSpec

FULL = [
    ModelSpec(
        id="mine/Net_1.5+b-x",
        target="mine.nets:Family.build",
        summary="a net",
        version=3,
        tags=("small", "new"),
        requires=("numpy",),
        card="# Net",
        group="p4",
        equivariance="exact",
        arguments={"family": "p4", "layers": [1, 2]},
        defaults={"width": 8, "act": "relu", "drop": None},
        search_space={"width": [4, 8], "lr": {"low": 1e-4, "high": 1e-2, "log": True}},
        weights={"modelA": "weights/a.safetensors"},
        training={"lr": 1e-3},
    ),
    DatasetSpec(
        id="mine/data",
        target="mine:data",
        classes=("a", "b"),
        simulated=True,
        params={"snr": "U(1, 2)", "depth": 1.0, "weight": None, "flat": False},
        budgets={"smoke": {"depth": 3.0}},
        budget_notes={"smoke": "deeper"},
        yields={"depth": ["weight"]},
        budget_phases={"smoke": "depth=9*2, depth=U(3, 9) snr=50*1, *2"},
        shown=("depth", "snr"),
        switch="flat",
        captions={"snr": "SNR {:.0f}"},
        slices={"snr": "signal to noise"},
    ),
    SimulatorSpec(id="mine/sim", target="mine:sim", device="any", default=True),
    LauncherSpec(id="mine/launch", target="mine:launch"),
    TaskSpec(id="mine/task", target="mine:Task"),
    MetricSpec(id="mine/metric", target="mine:metric", better={"x": "higher", "y": "lower"}),
]
INSTALLED = load_plugins(environment={})


@pytest.mark.parametrize("spec", FULL, ids=lambda spec: spec.kind)
def test_json_round_trip_keeps_specs(spec: Spec) -> None:
    plain = json.loads(json.dumps(spec.to_json()))
    assert type(spec)(**plain) == spec
    assert set(plain) == {field.name for field in dataclasses.fields(spec)}


@pytest.mark.parametrize("kind", [ModelSpec, DatasetSpec, SimulatorSpec, LauncherSpec])
def test_every_installed_spec_survives_json(kind: type[Spec]) -> None:
    specs = registry.listed(INSTALLED, kind)
    assert specs
    for spec in specs:
        assert kind(**json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize("spec", FULL, ids=lambda spec: spec.kind)
def test_no_field_can_be_set(spec: Spec) -> None:
    for field in dataclasses.fields(spec):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(spec, field.name, getattr(spec, field.name))


def test_mappings_and_lists_are_copied_and_closed() -> None:
    defaults, tags = {"width": 8}, ["small"]
    spec = ModelSpec(id="mine/net", target="mine:net", defaults=defaults, tags=tags)  # type: ignore[arg-type]
    defaults["width"] = 9
    tags.append("large")
    assert dict(spec.defaults) == {"width": 8}
    assert spec.tags == ("small",)
    with pytest.raises(TypeError):
        spec.defaults["width"] = 9  # type: ignore[index]
    given = spec.to_json()
    given["defaults"]["width"] = 9
    assert spec.defaults["width"] == 8


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"arguments": {"image_size": 64}}, "mine/net: arguments contain 'image_size', which the images decide"),
        ({"defaults": {"in_chans": 1}}, "mine/net: defaults contain 'in_chans', which the images decide"),
        ({"arguments": {"width": 8}, "defaults": {"width": 8}}, "'width' is both a fixed argument and a hyper-param"),
        ({"arguments": {"layer": print}}, "mine/net: arguments must be a mapping"),
    ],
)
def test_fixed_arguments_are_plain_and_neither_settable_nor_of_the_images(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelSpec(id="mine/net", target="mine:net", **fields)


def test_a_changed_copy_is_checked_again() -> None:
    assert dataclasses.replace(FULL[0], version=4).version == 4
    with pytest.raises(ValueError, match="namespace/name"):
        dataclasses.replace(FULL[0], id="nothing")


def test_positional_arguments_are_refused() -> None:
    with pytest.raises(TypeError):
        ModelSpec("mine/net", "mine:net")  # type: ignore[misc]


@pytest.mark.parametrize(
    "name", ["net", "/net", "mine/", "Mine/net", "mi-ne/net", "mine/a/b", "mine/a b", "mine/-a", ""]
)
def test_invalid_ids_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="namespace/name"):
        ModelSpec(id=name, target="mine:net")


@pytest.mark.parametrize("target", ["mine", "mine:", ":net", "mine/net:build", "mine:net:build", "mine:1net", ""])
def test_invalid_targets_are_refused(target: str) -> None:
    with pytest.raises(ValueError, match="module:attribute"):
        ModelSpec(id="mine/net", target=target)


# Each of these would pass silently and break a command for every plugin: a table, a filter or `--json`.
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("summary", None),
        ("summary", 3),
        ("card", b"text"),
        ("version", "1"),
        ("version", True),
        ("tags", "small"),
        ("tags", None),
        ("tags", (1, 2)),
        ("requires", "numpy"),
        ("requires", {"numpy"}),
        ("group", 4),
        ("group", "banana"),
        ("group", "c0"),
        ("group", "c99x"),
        ("group", "C8"),
        ("group", "c8000000"),
        ("equivariance", "exactly"),
        ("defaults", None),
        ("defaults", ["width"]),
        ("defaults", {"activation": print}),
        ("defaults", {"shape": {1, 2}}),
        ("defaults", {3: "width"}),
        ("defaults", {"width": float("nan")}),
        ("weights", {"modelA": 1}),
        ("search_space", {"width": range(3)}),
        ("twins", "mine/plain"),
        ("twins", ("plain",)),
        ("twins", ("mine/net",)),
    ],
)
def test_values_that_are_not_plain_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"mine/net: {field}"):
        ModelSpec(id="mine/net", target="mine:net", **{field: value})


def test_values_that_are_not_plain_are_refused_in_other_kinds() -> None:
    with pytest.raises(ValueError, match="mine/data: classes"):
        DatasetSpec(id="mine/data", target="mine:data", classes="abc")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mine/data: simulated"):
        DatasetSpec(id="mine/data", target="mine:data", classes=("a", "b"), simulated="no")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"mine/sim: device.*cpu, any"):
        SimulatorSpec(id="mine/sim", target="mine:sim", device="gpu")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"budgets": {"smoke": {"deep": 1}}}, r"budgets\['smoke'\] names 'deep', which is not one of its params"),
        ({"budgets": {"smoke": 3}}, r"budgets\['smoke'\] must be a mapping"),
        ({"yields": {"deep": ["depth"]}}, "yields names 'deep'"),
        ({"yields": {"depth": ["deep"]}}, "yields names 'deep'"),
        ({"yields": {"depth": "depth"}}, r"yields\['depth'\] must be a list of parameters, not 'depth'"),
        ({"shown": ("deep",)}, "shown names 'deep'"),
        ({"budget_phases": {"smoke": "deep=4*1"}}, r"budget_phases\['smoke'\] names 'deep'"),
        ({"budget_phases": {"smoke": "depth=4"}}, r"budget_phases\['smoke'\]: 'depth=4' does not end with its number"),
        ({"budget_phases": {"smoke": "depth 4*2"}}, r"budget_phases\['smoke'\]: 'depth' is not of the form NAME=VALUE"),
        ({"budget_phases": {"smoke": ""}}, r"budget_phases\['smoke'\] is empty"),
        ({"budget_phases": {"smoke": ["*1"]}}, "budget_phases must be a mapping from names to texts"),
        ({"budget_phases": {"smoke": "depth=4*2"}, "paths": ["depth"]}, r".* changes the path 'depth'"),
        ({"budget_phases": {"smoke": "depth=4*2"}, "simulated": False}, ".* needs a simulated data set"),
        ({"switch": "deep"}, "switch names 'deep'"),
        ({"captions": {"snr": "SNR {:.0q}"}}, r"captions\['snr'\] cannot format a number"),
        ({"captions": {"snr": "{} of {}"}}, r"captions\['snr'\] cannot format a number"),
        ({"slices": {"snr": 3}}, "slices must be a mapping from names to texts"),
        ({"budget_notes": {"smoke": None}}, "budget_notes must be a mapping from names to texts"),
    ],
)
def test_a_data_set_declares_only_parameters_that_it_has(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"mine/data: {message}"):
        DatasetSpec(
            id="mine/data", target="mine:data", classes=("a", "b"), params={"depth": 1}, **{"simulated": True, **fields}
        )


def test_load_imports_the_target_and_its_attributes() -> None:
    import json.decoder

    assert ModelSpec(id="x/y", target="json.decoder:JSONDecoder.decode").load() is json.decoder.JSONDecoder.decode
    with pytest.raises(AttributeError):
        ModelSpec(id="x/y", target="json.decoder:JSONDecoder.encode").load()
    with pytest.raises(ModuleNotFoundError):
        ModelSpec(id="x/y", target="json.no_such_module:build").load()
