"""Everything that first-party plugins register keeps the contracts; what does not is in tests/testing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from zoo import registry
from zoo.host import load_plugins
from zoo.specs import ChannelSpec, DatasetSpec, MetricSpec, ModelSpec, Spec, TaskSpec
from zoo.testing import ConformanceError, Options, check, require_passed
from zoo.testing.kit import of_plugin
from zoo.testing.models import check_parameters

pytestmark = pytest.mark.slow  # every registered model

HOST = load_plugins(environment={})
# Plugin baselines runs the kit on its own models, and timm has tests of its larger ones: of each, one stands for the
# contract here. Others that are large are tested by their plugins in a narrow shape.
ALL = [spec for spec in registry.listed(HOST, ModelSpec) if spec.id != "anomaly/padim"]  # plugins/anomaly tests it
LISTED = [spec for spec in ALL if spec.namespace not in ("timm", "baselines") and "large" not in spec.tags]
MODELS = [spec.id for spec in LISTED] + ["timm/convnext_atto", "baselines/scalars_linear"]
TRAINED = {"gconv/p4", "baselines/scalars_linear", "anomaly/ae", "escnn/d4"}
"""Models that the kit trains, too: one for each way of making networks; `zoo check PLUGIN` trains all."""

EXCUSED = {"anomaly/pca_residual": {"constant-images": "an image without light has no noise to compare it with"}}

# A reader of the user's own files has nothing to show until it is told where they are; its plugin tests it.
DATASETS = [spec.id for spec in registry.listed(HOST, DatasetSpec) if "files" not in spec.tags]
ELSEWHERE = {"deeplense/modelA", "deeplense/model1"}
"""Data sets that are compared with those of another process: one for each way of making images."""
SAVED = {"other-process": "a process of seconds; another data set of the plugin has it"}
PLUGINS = [name for name, record in HOST.records.items() if record.first_party]


@pytest.mark.parametrize("name", PLUGINS)
def test_plugins(name: str) -> None:
    """Import, metadata, targets, commands and listeners; the tests below take what they register one by one."""
    require_passed([*of_plugin(HOST, name)])


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str) -> None:
    options = Options() if name in TRAINED else Options(trainings=False, sizes=(33,), channels=(1,), classes=(3,))
    require_passed(check(HOST, name, options=options, excused=EXCUSED.get(name)))


# `test_models` counts those of the others.
@pytest.mark.parametrize("spec", [spec for spec in ALL if spec.id not in MODELS], ids=lambda spec: spec.id)
def test_parameters_of_large_models(spec: ModelSpec) -> None:
    check_parameters(spec)


def test_every_model_states_its_parameters() -> None:
    assert [spec.id for spec in registry.listed(HOST, ModelSpec) if spec.parameters is None] == []


def test_a_wrong_number_of_parameters_is_noticed() -> None:
    spec = registry.find(HOST, ModelSpec, "gconv/z2cnn")
    with pytest.raises(ConformanceError, match=f"{spec.parameters:,} parameters, but its spec states 7"):
        check_parameters(dataclasses.replace(spec, parameters=7))


@pytest.mark.parametrize("name", DATASETS)
def test_datasets(name: str) -> None:
    """With one ray a pixel and fewer NFW haloes: neither accuracy nor number is part of the contract."""
    cheaper: dict[str, object] = {"over_sampling": 1} | ({"subhalo_count": "Poisson(8)"} if "tnfw" in name else {})
    params = {key: value for key, value in cheaper.items() if key in registry.find(HOST, DatasetSpec, name).params}
    require_passed(check(HOST, name, options=Options(params=params), excused={} if name in ELSEWHERE else SAVED))


@pytest.mark.parametrize("kind", [ChannelSpec, MetricSpec, TaskSpec], ids=lambda kind: kind.kind)
def test_other_kinds(kind: type[Spec]) -> None:
    for spec in HOST.specs_of(kind):
        require_passed(check(HOST, spec.id, options=Options(data="modelB")))


def test_simulator() -> None:
    require_passed(check(HOST, "caustics", options=Options(data="modelB")))


OF_TOYS = Options(simulator="toysky/painter")


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"captions": {"colours": "{:.1f}"}}, "captions name 'colours'"),
        ({"slices": {"colours": "colour"}}, "slices name 'colours'"),
        ({"budgets": {"desktop": {"snr": 3.0}}}, "'desktop' is not a budget"),
        ({"budget_notes": {"desktop": "larger"}}, "'desktop' is not a budget"),
        ({"budget_phases": {"desktop": "*1"}}, "'desktop' is not a budget"),
    ],
)
def test_the_kit_notices_declarations_without_meaning(fields: dict[str, object], complaint: str) -> None:
    host = load_plugins(files=[Path(__file__).parent / "toys" / "toysky.py"], environment={})
    spec = host.specs[DatasetSpec]["toysky/discs"]
    require_passed(check(host, spec.id, options=OF_TOYS, excused=SAVED))
    host.specs[DatasetSpec][spec.id] = dataclasses.replace(spec, **fields)
    with pytest.raises(ConformanceError, match=complaint):
        require_passed(check(host, spec.id, options=OF_TOYS, excused=SAVED))
