"""The plugin describes itself without loading anything heavy."""

import inspect
import json
import subprocess
import sys

import pytest
from zoo_gconv.plugin import zoo_models

from zoo.specs import ModelSpec

SPECS = {spec.id: spec for spec in zoo_models()}


@pytest.mark.parametrize("module", ["zoo_gconv", "zoo_gconv.plugin"])
def test_importing_the_plugin_loads_neither_torch_nor_numpy(module):
    code = f"import sys, {module}; print(*{{'torch', 'numpy'}} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_three_models_are_registered_with_their_claims():
    claims = {spec.id: (spec.group, spec.equivariance) for spec in SPECS.values()}
    assert claims == {
        "gconv/p4": ("p4", "exact"),
        "gconv/p4m": ("p4m", "exact"),
        "gconv/z2": (None, None),
    }


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_spec_survives_json_and_its_target_loads(spec):
    assert ModelSpec(**json.loads(json.dumps(spec.to_json()))) == spec
    assert list(inspect.signature(spec.load()).parameters) == ["in_chans", "num_classes", "image_size", "hparams"]
    assert set(spec.search_space) <= set(spec.defaults)
    assert set(spec.training) == {"lr", "weight_decay"}


def test_specs_do_not_share_state():
    first, second = zoo_models()[0], zoo_models()[0]
    first.defaults["widths"].append(1)
    assert second.defaults["widths"] != first.defaults["widths"]
