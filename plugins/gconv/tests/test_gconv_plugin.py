"""The plugin registers its specs without heavy imports."""

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


def test_every_group_network_states_its_group_as_exact():
    for spec in SPECS.values():
        group = next((group for group in ("p4m", "p4") if spec.name.startswith(group)), None)
        if spec.name.startswith("octic"):
            group = "p4m"
        assert (spec.group, spec.equivariance) == (group, "exact" if group else None)


def test_networks_used_elsewhere_in_the_repository_are_registered():
    assert {"gconv/p4", "gconv/p4m", "gconv/z2", "gconv/p4m_resnet18", "gconv/octic"} <= set(SPECS)


def test_summaries_and_cards_say_which_twin_is_which():
    for name, cost in (("z2", "equal parameters"), ("z2_p4_macs", "p4 with equal multiply-accumulates")):
        assert cost in SPECS[f"gconv/{name}"].summary
    assert SPECS["gconv/p4m"].twins == ("gconv/z2", "gconv/z2_p4m_macs")
    assert "Plain twin of p4m: the same layers and as many multiply-acc" in SPECS["gconv/z2_p4m_macs"].card
    assert all(twin.rpartition("/")[2] in SPECS["gconv/p4m"].card for twin in SPECS["gconv/p4m"].twins)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_spec_survives_json_and_its_target_loads(spec):
    assert ModelSpec(**json.loads(json.dumps(spec.to_json()))) == spec
    parameters = list(inspect.signature(spec.load()).parameters)
    assert parameters == [*spec.arguments, "in_chans", "num_classes", "image_size", "hparams"]
    assert set(spec.search_space) <= set(spec.defaults)
    assert set(spec.training) == {"lr", "weight_decay"}


def test_specs_do_not_share_state():
    first, second = zoo_models()[0], zoo_models()[0]
    first.defaults["widths"].append(1)
    assert second.defaults["widths"] != first.defaults["widths"]
