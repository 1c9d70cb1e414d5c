"""The plugin registers its methods without heavy imports, and each builds with its defaults."""

import json
import subprocess
import sys

import pytest
import torch
from zoo_anomaly.convolutional import PUBLISHED, SMALL
from zoo_anomaly.plugin import zoo_models

from zoo.host import load_plugins
from zoo.models.network import build_network
from zoo.specs import ModelSpec
from zoo.testing import Options, check, require_passed

UNTRAINED = Options(sizes=(32,), channels=(1,), classes=(3,), trainings=False)

SPECS = {spec.name: spec for spec in zoo_models() if spec.name != "padim"}  # of anomalib, see test_closed.py


def test_importing_the_plugin_loads_neither_torch_nor_numpy():
    code = (
        "import sys, zoo_anomaly.plugin as plugin; plugin.zoo_models(); print(*{'torch', 'numpy'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_spec_states_its_task_and_builds_a_method_that_scores(spec):
    assert spec.tasks == ("anomaly",)
    assert ModelSpec(**json.loads(json.dumps(spec.to_json()))) == spec
    assert set(spec.search_space) <= {*spec.defaults, *spec.training}
    method = build_network(spec, in_chans=1, num_classes=1, image_size=32, hparams={}).eval()
    with torch.no_grad():
        assert method(torch.randn(2, 1, 32, 32)).shape == (2,)


@pytest.mark.parametrize(("name", "layers"), [("ae", SMALL), ("vae", SMALL), ("aae_published", PUBLISHED)])
def test_the_defaults_of_a_spec_are_the_layers_of_the_module(name, layers):
    defaults = SPECS[name].defaults
    assert {key: defaults.get(key, layers[key]) for key in layers} == layers


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if "large" in spec.tags])
def test_the_kit_accepts_the_published_methods(name):
    """The others are tried by the kit together with all models."""
    require_passed(
        check(
            load_plugins(environment={}),
            f"anomaly/{name}",
            options=UNTRAINED,
        )
    )
