"""Names are resolved to specs: bare names, precedence, wildcards, and messages for unknown names."""

from __future__ import annotations

import logging
import re
import sys
import time

import pytest

from zoo import registry
from zoo.errors import MissingError, UsageError, nearest
from zoo.host import Host, PluginRecord, _new_manager, load_plugins
from zoo.packages import first_party
from zoo.registry import find, find_simulator, listed, load_target, match
from zoo.specs import DatasetSpec, LauncherSpec, MetricSpec, ModelSpec, SimulatorSpec


def make_host(*specs, distributions=None, states=None):
    """Return a host that holds these specs, as if a plugin for each namespace had registered them."""
    host = Host(manager=_new_manager())
    names = {spec.namespace for spec in specs} | set(states or {})
    for name in sorted(names):
        host.records[name] = PluginRecord(
            name=name,
            distribution=(distributions or {}).get(name, f"dist-{name}"),
            version="1",
            state=(states or {}).get(name, "ok"),
            error="ImportError: no wings" if (states or {}).get(name) == "broken" else "",
        )
    for spec in specs:
        host.specs.setdefault(type(spec), {})[spec.id] = spec
    return host


def model(name, **fields):
    return ModelSpec(id=name, target="torch.nn:Identity", **fields)


HOST = make_host(
    model("gconv/p4", group="p4", tags=("equivariant",)),
    model("gconv/p4m", group="p4m", tags=("equivariant", "small")),
    model("timm/ResNet18"),
    model("mine/p4m", group="p4m"),
    model("one/same"),
    model("two/same"),
    DatasetSpec(id="deeplense/modelB", target="a:b", classes=("x", "y")),
    distributions={"gconv": "lens-zoo-gconv", "timm": "lens-zoo-timm", "deeplense": "lens-zoo-deeplense"},
)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("gconv/p4", "gconv/p4"),
        ("p4", "gconv/p4"),
        ("  P4  ", "gconv/p4"),
        ("GCONV/P4M", "gconv/p4m"),
        ("resnet18", "timm/ResNet18"),
        ("mine/p4m", "mine/p4m"),
        ("one/same", "one/same"),
    ],
)
def test_names(name, found):
    assert find(HOST, ModelSpec, name).id == found


def test_a_bare_name_resolves_to_the_first_party_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        assert find(HOST, ModelSpec, "p4m").id == "gconv/p4m"
    assert "'p4m' means gconv/p4m; it also matches mine/p4m" in caplog.text
    caplog.clear()
    find(HOST, ModelSpec, "gconv/p4m")
    find(HOST, ModelSpec, "mine/p4m")
    assert caplog.text == ""


@pytest.mark.parametrize("name", [None, 3, ["p4m"]])
def test_a_name_that_is_not_text_is_refused(name):
    with pytest.raises(UsageError, match="is not a valid model name") as caught:
        find(make_host(), ModelSpec, name)
    assert caught.value.hint == "See: zoo list-models"
    assert nearest(name, ["p4m"]) == ""


@pytest.mark.parametrize(
    ("name", "nearest_ones"),
    [
        ("p4n", ["p4m", "p4", "p4cnn"]),  # one letter is wrong, one too many, two are missing
        ("g/p4n", ["g/p4m", "g/p4", "g/p4cnn"]),
        ("P4mcnm", ["p4mcnn", "p4cnn", "p4m"]),
        ("other", []),
    ],
)
def test_the_nearest_names_are_those_with_one_wrong_letter_then_those_with_more_letters_in_common(name, nearest_ones):
    words = ["p4mcnn", "p4cnn", "p4m", "p4"]
    known = [f"g/{word}" for word in words] if "/" in name else words
    assert re.findall(r"'(.*?)'", nearest(name, known)) == nearest_ones


def test_two_third_parties_are_ambiguous():
    with pytest.raises(UsageError, match=r"model 'same' is ambiguous: one/same, two/same\.\nGive one of these full"):
        find(HOST, ModelSpec, "same")


def test_two_first_parties_are_ambiguous():
    both = {"gconv": "lens-zoo-gconv", "timm": "lens-zoo-timm"}
    host = make_host(model("gconv/net"), model("timm/net"), model("mine/net"), distributions=both)
    with pytest.raises(UsageError, match="gconv/net, mine/net, timm/net"):
        find(host, ModelSpec, "net")


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        (ModelSpec, "p4n", r"Unknown model 'p4n'\. Did you mean .*'p4m'.*\?\nSee: zoo list-models"),
        (ModelSpec, "gconv/p5", r"Unknown model 'gconv/p5'\. Did you mean .*'gconv/p4'"),
        (ModelSpec, "resnet", r"Did you mean 'ResNet18'"),
        (ModelSpec, "zzzzzz", r"Unknown model 'zzzzzz'\.\nSee: zoo list-models"),
        (ModelSpec, "", r"Unknown model ''"),
        (ModelSpec, "./net.py", r"Unknown model '\./net\.py'\.\nName the class in the file: \./net\.py:CLASS"),
        (ModelSpec, "./my-nets", r"Unknown model '\./my-nets'\.\nSee: zoo list-models$"),
        (DatasetSpec, "modelC", r"Unknown data set 'modelC'\. Did you mean 'modelB'.*\nSee: zoo list-datasets"),
    ],
)
def test_unknown_names_are_refused_with_suggestions(kind, name, said):
    with pytest.raises(UsageError, match=said) as caught:
        find(HOST, kind, name)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("kind", [SimulatorSpec, LauncherSpec, MetricSpec])
def test_a_kind_that_no_plugin_registers_is_reported(kind):
    with pytest.raises(MissingError, match=f"No plugin offers a {kind.kind}") as caught:
        find(HOST, kind, "anything")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("escnn/d4", "lens-zoo-steerable"),
        ("AutoLens/x", "lens-zoo-autolens"),
        ("Ray", "lens-zoo-ray"),
        ("slurm", "lens-zoo-submitit"),
    ],
)
def test_first_party_plugins_that_are_not_installed(name, package):
    with pytest.raises(MissingError, match=f"{package} is not installed") as caught:
        find(HOST, ModelSpec, name)
    assert caught.value.hint == f"Install it: pip install {package}"
    assert caught.value.exit_code == 3


def test_a_plugin_that_is_installed_is_not_reported_as_absent():
    host = make_host(model("submitit/net"), distributions={"submitit": "lens-zoo-submitit"})
    with pytest.raises(UsageError, match="Unknown model 'slurm'"):
        find(host, ModelSpec, "slurm")


def test_every_namespace_that_is_installed_here_is_offered_by_its_own_distribution():
    for name, record in load_plugins(environment={}).records.items():
        assert first_party()[name] == record.distribution


def test_broken_and_disabled_plugins_are_named():
    host = make_host(model("gconv/p4"), states={"gconv": "ok", "sick": "broken", "off": "disabled"})
    with pytest.raises(MissingError, match=r"model 'sick/net': its plugin is broken: ImportError: no wings") as caught:
        find(host, ModelSpec, "sick/net")
    assert "zoo plugins --errors" in caught.value.hint
    with pytest.raises(MissingError, match="the plugin off is disabled") as caught:
        find(host, ModelSpec, "off/net")
    assert "ZOO_DISABLE_PLUGINS" in caught.value.hint


@pytest.mark.parametrize(
    ("requires", "missing", "distributions"),
    [
        (("numpy", "no_such_library"), "no_such_library", "no_such_library"),
        (("no_such_library.part", "no_such_too"), "no_such_library.part no_such_too", "no_such_library no_such_too"),
        (("json.no_such_part",), "json.no_such_part", "json"),
        (("sklearn.no_such_part",), "sklearn.no_such_part", "scikit-learn"),
        (("scikit-image:skimage.no_such_part",), "skimage.no_such_part", "scikit-image"),
        (("Some-Name:no_such_library", "numpy:numpy"), "no_such_library", "Some-Name"),
    ],
)
def test_requirements_that_are_not_installed(requires, missing, distributions, caplog):
    host = make_host(model("mine/net", requires=requires), model("mine/other"))
    with pytest.raises(MissingError) as caught:
        find(host, ModelSpec, "net")
    assert "mine/net needs " + missing.replace(" ", ", ") in str(caught.value)
    assert caught.value.hint == f"Install it: pip install {distributions}"
    assert caught.value.exit_code == 3
    with pytest.raises(MissingError):
        match(host, ModelSpec, ["*/net"])
    assert [spec.id for spec in match(host, ModelSpec, ["mine/*"])] == ["mine/other"]
    assert [record.getMessage() for record in caplog.records] == [
        f"mine/net is left out: {missing.replace(' ', ', ')} is not installed"
    ]
    assert [spec.id for spec in listed(host, ModelSpec)] == ["mine/net", "mine/other"]  # still shown


def test_hints_of_installed_plugins_name_the_distributions_of_their_libraries():
    import importlib.metadata

    from zoo.host import load_plugins
    from zoo.packages import distribution_of

    provided = importlib.metadata.packages_distributions()
    host = load_plugins(environment={})
    entries = {entry for specs in host.specs.values() for spec in specs.values() for entry in spec.requires}
    assert "scikit-image:skimage" in entries
    for entry in entries - {"anomalib"}:  # an option that is not among the development tools
        assert distribution_of(entry) in provided[entry.rpartition(":")[2].partition(".")[0]], entry


def test_requirements_are_checked_without_importing_them():
    import sys

    host = make_host(model("mine/net", requires=("this",)))  # the Zen of Python prints itself when imported
    find(host, ModelSpec, "net")
    assert "this" not in sys.modules


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["p4,timm/resnet18"], ["gconv/p4", "timm/ResNet18"]),
        (["timm/resnet18", "p4"], ["timm/ResNet18", "gconv/p4"]),
        (["p4*"], ["gconv/p4", "gconv/p4m", "mine/p4m"]),
        (["GCONV/*"], ["gconv/p4", "gconv/p4m"]),
        (["?4"], ["gconv/p4"]),
        (["[g]conv/p4[m]"], ["gconv/p4m"]),
        (["p4, p4 ,", "gconv/p4", "gconv/*"], ["gconv/p4", "gconv/p4m"]),
    ],
)
def test_match(names, found):
    assert [spec.id for spec in match(HOST, ModelSpec, names)] == found


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["q*"], r"No model matches 'q\*'\.\nSee: zoo list-models"),
        (["p4,nosuch"], "Unknown model 'nosuch'"),
        ([], "No model is named"),
        ([" , "], "No model is named"),
    ],
)
def test_match_nothing(names, said):
    with pytest.raises(UsageError, match=said):
        match(HOST, ModelSpec, names)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"group": "p4m"}, ["gconv/p4m", "mine/p4m"]),
        ({"tag": "equivariant"}, ["gconv/p4", "gconv/p4m"]),
        ({"tag": "equi"}, []),
        ({"pattern": "*RES*"}, ["timm/ResNet18"]),
        ({"pattern": "p4m", "tag": "small"}, ["gconv/p4m"]),
    ],
)
def test_listed_specs_match_the_filters(filters, found):
    assert [spec.id for spec in listed(HOST, ModelSpec, **filters)] == found


def test_is_pattern():
    assert all(map(registry.is_pattern, ("p4*", "?", "[ab]")))
    assert not any(map(registry.is_pattern, ("p4m", "timm/resnet50.a1_in1k", "")))


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("no_such_module:build", "ModuleNotFoundError"),
        ("json:no_such_attribute", "AttributeError"),
        ("exits_when_imported:build", "SystemExit"),
    ],
)
def test_targets_that_cannot_be_loaded_are_reported(target, error, tmp_path, monkeypatch):
    (tmp_path / "exits_when_imported.py").write_text("raise SystemExit(1)")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingError, match=f"model mine/net cannot be loaded from {target}: {error}") as caught:
        load_target(ModelSpec(id="mine/net", target=target))
    assert "zoo plugins --errors" in caught.value.hint
    assert caught.value.exit_code == 3


def simulator(name, **fields):
    return SimulatorSpec(id=name, target="torch.nn:Identity", **fields)


def test_the_default_simulator_is_the_one_that_is_declared_so():
    host = make_host(simulator("one/fast", default=True), simulator("two/slow"))
    assert find_simulator(host).id == "one/fast"
    assert find_simulator(host, "slow").id == "two/slow"


def test_a_default_simulator_of_this_project_comes_first():
    specs = simulator("one/fast", default=True), simulator("two/slow", default=True)
    assert find_simulator(make_host(*specs, distributions={"two": "lens-zoo-caustics"})).id == "two/slow"
    with pytest.raises(UsageError, match="one/fast, two/slow"):
        find_simulator(make_host(*specs))


def test_without_a_default_simulator_the_error_names_what_to_install():
    with pytest.raises(MissingError, match="default simulator is not installed") as caught:
        find_simulator(make_host(simulator("two/slow")))
    assert 'pip install "lens-zoo[simulator]"' in caught.value.hint
    assert "--simulator two/slow" in caught.value.hint
    with pytest.raises(MissingError, match="default simulator is not installed"):
        find_simulator(make_host())


def test_a_default_simulator_needs_its_libraries():
    with pytest.raises(MissingError, match="no_such_library"):
        find_simulator(make_host(simulator("one/fast", default=True, requires=("no_such_library",))))


def test_targets_that_are_loaded_in_several_threads_leave_standard_output_as_it_was(monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    spec, before = MetricSpec(id="mine/slow", target="json:dumps"), sys.stdout
    waits = iter((0.0, 0.05, 0.1))
    load = MetricSpec.load

    def slow(self):
        time.sleep(next(waits))
        return load(self)

    monkeypatch.setattr(MetricSpec, "load", slow)
    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(lambda _: registry.load_target(spec), range(3)))) == 1
    assert sys.stdout is before
