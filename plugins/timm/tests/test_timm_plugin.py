"""The plugin registers without heavy imports, and resolves the names in its namespace only."""

import subprocess
import sys

import pytest
import timm
from zoo_timm.plugin import BASELINES, zoo_models, zoo_resolve_model

from zoo.errors import UsageError
from zoo.specs import ModelSpec


def test_importing_the_plugin_imports_no_heavy_library() -> None:
    code = (
        "import sys, zoo_timm.plugin as plugin; plugin.zoo_models(); plugin.zoo_resolve_model('gconv/p4'); "
        "plugin.zoo_resolve_model('timm/resnet18'); "
        "sys.exit(', '.join({'torch', 'numpy', 'timm'} & set(sys.modules)) or 0)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_specs_are_plain_and_name_real_architectures() -> None:
    specs = zoo_models()
    assert {spec.name for spec in specs} == set(BASELINES)
    for spec in specs:
        assert ModelSpec(**spec.to_json()) == spec
        assert spec.arguments["architecture"] in timm.list_models()
        assert set(spec.search_space) <= set(spec.defaults)
        assert "arXiv" in spec.card


def test_any_timm_name_resolves_ignoring_case() -> None:
    spec = zoo_resolve_model("TIMM/ResNet26D")
    assert spec is not None
    assert spec.id == "timm/resnet26d"
    assert spec.arguments["architecture"] == "resnet26d"
    assert spec.defaults["pretrained"] is False


def test_a_tag_selects_its_weights() -> None:
    spec = zoo_resolve_model("timm/resnet50.a1_in1k")
    assert spec is not None
    assert spec.id == "timm/resnet50.a1_in1k"
    assert spec.defaults["pretrained"] is True


def test_one_network_has_one_id() -> None:
    spec = zoo_resolve_model("timm/vit_tiny_patch16_224")
    assert spec is not None
    assert spec.id == "timm/vit_tiny"


@pytest.mark.parametrize("name", ["gconv/p4", "resnet18", "timmy/resnet18", "timm/", "timm"])
def test_other_namespaces_are_ignored(name: str) -> None:
    assert zoo_resolve_model(name) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("timm/resnet26x", "timm/resnet26d"),
        ("timm/rasnet18", "list_models('*resnet*')"),  # the list holds something, although no name has "rasnet"
        ("timm/vit_tinny", "'timm/vit_tiny'"),
        ("timm/resnet26d.a9", "bt_in1k"),
        ("timm/tv_resnet34", "timm/resnet34.tv_in1k"),
        ("timm/hf_hub:somebody/something", "list_models"),
    ],
)
def test_an_unknown_name_is_refused_with_suggestions(name: str, expected: str) -> None:
    with pytest.raises(UsageError, match="timm") as caught:
        zoo_resolve_model(name)
    assert expected in str(caught.value)
