"""Files as plugins: those without hooks offer their classes and functions as networks, `--model ./net.py:Net`."""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path

import pytest

from zoo import host as plugin_host
from zoo import registry
from zoo.errors import MissingError, TrainingError, UsageError
from zoo.models.network import build_network
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.plugin_file import has_networks_only
from zoo.run import matrix
from zoo.run.where import Where
from zoo.specs import ModelSpec

load_plugins = inspect.unwrap(plugin_host.load_plugins)  # the hosts that tests share must not get files
CLASSES = """
from torch import nn

class Net(nn.Module):
    def __init__(self, in_channels, n_classes, width=3, sizes=(4, 4), layer=nn.Identity, *, channels=(1, 2), **more):
        super().__init__()
        self.given = in_channels, n_classes, width, sizes, layer, channels, more

def make(num_classes, *, img_size, depth=2):
    return Net(depth, num_classes, img_size)

def unknown(in_chans, flavour): ...
def number(): return 3
constant = 5
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file with networks whose module is forgotten after the test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "ownnets.py"
    path.write_text(CLASSES)
    yield path
    sys.modules.pop("ownnets", None)


@pytest.fixture
def host():
    return load_plugins(environment={"ZOO_PLUGINS": "core"})


SHAPE = {"in_chans": 2, "num_classes": 5, "image_size": 9}


def test_a_class_is_called_by_the_names_of_its_arguments(file, host):
    spec = registry.find(host, ModelSpec, f"{file}:Net")
    assert (spec.id, dict(spec.defaults)) == ("ownnets/Net", {"width": 3, "sizes": [4, 4], "channels": [1, 2]})
    identity = __import__("torch").nn.Identity
    assert build_network(spec, **SHAPE, hparams={}).given == (2, 5, 3, (4, 4), identity, (1, 2), {})
    values = {"width": 7, "sizes": [4, 4], "channels": [3]}
    assert build_network(spec, **SHAPE, hparams=values).given == (2, 5, 7, (4, 4), identity, [3], {})
    function = registry.find(host, ModelSpec, "ownnets/make")
    assert build_network(function, **SHAPE, hparams={}).given[:3] == (2, 5, 9)
    other = load_plugins(files=[file], environment={"ZOO_PLUGINS": "ownnets"})  # as in the process of a cell
    assert registry.find(other, ModelSpec, "ownnets/Net") == spec


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("net", UsageError, "no class or function 'net'. Did you mean 'Net'"),
        ("constant", UsageError, "It defines: Net, make, unknown, number"),
        ("unknown", UsageError, "the argument 'flavour', for which zoo has no value"),
        ("number", TrainingError, "returned a int, not a torch.nn.Module"),
    ],
)
def test_other_names_of_a_file_are_refused(file, host, name, error, text):
    with pytest.raises(error, match=text):
        build_network(registry.find(host, ModelSpec, f"{file}:{name}"), **SHAPE, hparams={})


def test_files_that_cannot_be_used_are_named(file, host, monkeypatch):
    with pytest.raises(UsageError, match=r"nothing\.py: file not found"):
        registry.find(host, ModelSpec, f"{file.parent}/nothing.py:Net")
    (file.parent / "core.py").write_text(CLASSES)
    with pytest.raises(UsageError, match=r"the name 'core' is that of a plugin in lens-zoo\.\n.*Rename"):
        registry.find(host, ModelSpec, f"{file.parent}/core.py:Net")
    (file.parent / "sick_nets.py").write_text("import nothing_like_it\nclass Net: ...")
    monkeypatch.setenv("ZOO_DISABLE_PLUGINS", "ownnets")
    with pytest.raises(UsageError, match="leaves 'ownnets' out"):
        registry.find(host, ModelSpec, f"{file}:Net")
    with pytest.raises(MissingError, match="No module named 'nothing_like_it'"):
        registry.find(host, ModelSpec, f"{file.parent}/sick_nets.py:Net")


@pytest.mark.parametrize(("name", "said"), [("my net.py", "cannot be the id"), ("three.py", "no class or function")])
def test_what_cannot_be_named_and_what_is_no_class_are_refused_by_name(name, said, host, tmp_path):
    (tmp_path / name).write_text("Net = int(3)")
    with pytest.raises(UsageError, match=said) as caught:
        registry.find(host, ModelSpec, f"{tmp_path / name}:Net")
    assert name in str(caught.value)


def test_the_source_is_part_of_the_run_id_and_reaches_the_process_of_a_cell(file, host, monkeypatch):
    monkeypatch.setenv("ZOO_PLUGIN_FILES", "")
    toys = Path(__file__).parents[1] / "toys/toyzoo.py"
    host = load_plugins(files=[toys], environment={"ZOO_PLUGINS": "core,toyzoo"})

    def plan():
        request = Request(models=[f"{file}:make"], data=["toyzoo/stripes"], device="cpu", baselines=False)
        return make_plan(host, request)[0]

    first = plan()
    assert first.model == "ownnets/make"
    assert plan().run_id == first.run_id
    file.write_text(CLASSES + "# edited\n")
    assert plan().run_id != first.run_id
    assert plan().versions["ownnets.py"] != first.versions["ownnets.py"]
    job = matrix._job(Path("run"), where=Where(), files=host.files)
    assert job.env["ZOO_PLUGIN_FILES"].split(os.pathsep) == [str(toys), str(file)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("class Net: ...", True),
        ("def build(): ...", True),
        ("from others import Net", True),
        ("Net = build(depth=3)", True),
        ("import numpy\n1 / 0", False),  # imported at once, so that its error is seen
        ("def zoo_models(): ...", False),  # the missing mark is reported
        ("from zoo import hookimpl\nclass Net: ...", False),
        ("import pluggy\nhook = pluggy.HookimplMarker('zoo')\ndef build(): ...", False),
        ("from hooks_of_mine import *\nclass Net: ...", False),
        ("from hooks_of_mine import zoo_models\nclass Net: ...", False),
        ("class Net(: ...", False),
    ],
)
def test_a_file_that_names_no_hook_has_networks_only(tmp_path, source, expected):
    (tmp_path / "some.py").write_text(source)
    assert has_networks_only(tmp_path / "some.py") is expected
