"""Loading of plugins: selection by the environment, owners of namespaces, files, events, models that are not listed."""

from __future__ import annotations

import json
import sys

import pytest
from smallplugin import NETWORK, states

from zoo import provenance
from zoo.errors import MissingError, UsageError
from zoo.host import load_plugins
from zoo.packages import first_party
from zoo.specs import LauncherSpec, ModelSpec


def test_the_record_of_a_valid_plugin_is_complete(lay):
    lay("nice-nets", points={"nice": None}, version="3.4")
    host = load_plugins(environment={})
    record = host.records["nice"]
    assert (record.distribution, record.version, record.state, record.specs) == ("nice-nets", "3.4", "ok", 1)
    assert record.error == record.trace == ""
    assert record.import_ms > 0
    assert not record.first_party
    assert [spec.id for spec in host.specs_of(ModelSpec)] == ["nice/net"]
    assert host.specs_of(LauncherSpec) == []


@pytest.mark.parametrize(
    ("environment", "loaded"),
    [
        ({}, {"one", "two", "three"}),
        ({"ZOO_PLUGINS": "one"}, {"one"}),
        ({"ZOO_PLUGINS": " One , THREE,"}, {"one", "three"}),
        ({"ZOO_PLUGINS": ""}, {"one", "two", "three"}),
        ({"ZOO_DISABLE_PLUGINS": "two,Three"}, {"one"}),
        ({"ZOO_DISABLE_PLUGINS": "nobody"}, {"one", "two", "three"}),
        ({"ZOO_PLUGINS": "one,two", "ZOO_DISABLE_PLUGINS": "two"}, {"one"}),
    ],
)
def test_the_environment_selects_plugins(lay, environment, loaded):
    for name in ("one", "two", "three"):
        lay(f"dist-{name}", points={name: None})
    host = load_plugins(environment=environment)
    assert {name for name, state in states(host).items() if state == "ok"} == loaded
    assert {name for name, state in states(host).items() if state == "disabled"} == {"one", "two", "three"} - loaded
    assert {spec.namespace for spec in host.specs_of(ModelSpec)} == loaded


def test_a_disabled_plugin_is_not_imported(lay):
    lay("dist-one", points={"one": None}, code="raise SystemExit('imported')")
    assert states(load_plugins(environment={"ZOO_DISABLE_PLUGINS": "one"})) == {"one": "disabled"}
    assert "dist_one_plugin" not in sys.modules


def test_a_selected_plugin_that_is_not_installed_is_reported(lay):
    lay("dist-one", points={"gconv": None})
    with pytest.raises(UsageError, match=r"ZOO_PLUGINS names 'gcnov'.*Did you mean 'gconv'"):
        load_plugins(environment={"ZOO_PLUGINS": "gcnov"})


def test_a_namespace_taken_twice_stays_with_the_first(lay):
    lay("a-dist", points={"same": None})
    lay("b-dist", points={"same": None})
    host = load_plugins(environment={})
    assert host.records["same"].distribution == "a-dist"
    second = host.records["same (b-dist)"]
    assert (second.state, second.specs) == ("broken", 0)
    assert "the namespace 'same' is taken by a-dist" in second.error
    assert len(host.specs_of(ModelSpec)) == 1


def test_first_party_comes_first_whatever_its_name(lay):
    assert first_party()["gconv"] == "lens-zoo-gconv"
    lay("aaa", points={"gconv": None})
    lay("lens-zoo-gconv", points={"gconv": None})
    lay("lens-zoo-gconv-improved", points={"improved": None})
    host = load_plugins(environment={})
    assert host.records["gconv"].distribution == "lens-zoo-gconv"
    assert host.records["gconv"].first_party
    assert host.records["gconv (aaa)"].state == "broken"
    assert not host.records["improved"].first_party  # no privilege by a name alike


def test_upper_case_entry_points_own_the_lower_case_namespace(lay):
    lay("dist-one", points={"Mine": None}, code=NETWORK.replace("{name}", "mine"))
    host = load_plugins(environment={})
    assert states(host) == {"mine": "ok"}


def test_one_id_may_name_two_kinds(lay):
    code = (
        "from zoo import LauncherSpec, ModelSpec, hookimpl\n"
        "@hookimpl\ndef zoo_models(): return [ModelSpec(id='one/x', target='a:b')]\n"
        "@hookimpl\ndef zoo_launchers(): return [LauncherSpec(id='one/x', target='a:b')]\n"
    )
    lay("dist-one", points={"one": None}, code=code)
    host = load_plugins(environment={})
    assert host.records["one"].specs == 2
    assert len(host.specs_of(ModelSpec)) == len(host.specs_of(LauncherSpec)) == 1


def test_what_a_plugin_prints_goes_to_stderr(lay, capsys):
    lay("dist-one", points={"one": None}, code="print('noise')\n" + NETWORK + "    print('more noise')")
    load_plugins(environment={})
    told = capsys.readouterr()
    assert told.out == ""
    assert "noise" in told.err


# Files


def test_a_file_is_a_plugin(site, tmp_path):
    path = tmp_path / "filezoo.py"
    path.write_text(NETWORK.replace("{name}", "filezoo"))
    host = load_plugins(files=[path, path], environment={"ZOO_PLUGIN_FILES": str(path)})
    assert states(host) == {"filezoo": "ok"}  # once, though it is named three times
    assert host.records["filezoo"].version == "file"
    assert host.records["filezoo"].distribution == str(path)
    assert [spec.id for spec in host.specs_of(ModelSpec)] == ["filezoo/net"]


def test_a_file_does_not_replace_a_module_that_is_loaded(site, tmp_path):
    path = tmp_path / "json.py"
    path.write_text(NETWORK.replace("{name}", "json"))
    host = load_plugins(files=[path], environment={})
    assert "a module named 'json' is already loaded" in host.records["json"].error
    import json

    assert json.dumps([]) == "[]"


def test_a_file_cannot_take_an_installed_namespace(lay, tmp_path):
    lay("dist-one", points={"one": None})
    (tmp_path / "one.py").write_text(NETWORK.replace("{name}", "one"))
    host = load_plugins(files=[tmp_path / "one.py"], environment={})
    assert host.records["one"].distribution == "dist-one"
    assert "taken by dist-one" in host.records[f"one ({tmp_path / 'one.py'})"].error


# Events and models that are not listed


def test_events_reach_every_plugin_although_one_raises(lay, tmp_path, caplog):
    for name, action in (("a", "raise RuntimeError('no')"), ("b", "raise SystemExit(3)"), ("c", "pass")):
        lay(
            f"dist-{name}",
            points={name: None},
            code="from zoo import hookimpl\n@hookimpl\ndef zoo_epoch_ended(run_dir, epoch):\n"
            f"    (run_dir / '{name}').write_text(str(epoch))\n    {action}\n",
        )
    host = load_plugins(environment={})
    host.emit("zoo_epoch_ended", cell={}, run_dir=tmp_path, epoch=7, metrics={})
    assert [(tmp_path / name).read_text() for name in "abc"] == ["7", "7", "7"]
    assert [record.getMessage() for record in caplog.records] == [
        f"plugin {name} failed in zoo_epoch_ended"
        for name in "ba"  # pluggy: the last registered comes first
    ]
    assert "RuntimeError: no" in caplog.text


def test_changes_by_one_event_listener_do_not_reach_others(lay, tmp_path):
    """Trackers take things out of what they are told; the next one, and the run itself, still need them."""
    for name in "ab":
        lay(
            f"dist-{name}",
            points={name: None},
            code="from zoo import hookimpl\n@hookimpl\ndef zoo_run_finished(run_dir, result):\n"
            f"    (run_dir / '{name}').write_text(result['test'].pop('auc'))\n",
        )
    result = {"status": "ok", "test": {"auc": "0.9"}}
    load_plugins(environment={}).emit("zoo_run_finished", cell={}, run_dir=tmp_path, result=result)
    assert [(tmp_path / name).read_text() for name in "ab"] == ["0.9", "0.9"]
    assert result == {"status": "ok", "test": {"auc": "0.9"}}


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("ModelSpec(id=name.lower(), target='a:b')", "mine/anything"),
        ("None", None),
        ("ModelSpec(id='other/net', target='a:b')", MissingError),
        ("'mine/anything'", MissingError),
        ("1 / 0", MissingError),
    ],
)
def test_unlisted_models_are_resolved(lay, body, outcome):
    code = f"from zoo import ModelSpec, hookimpl\n@hookimpl\ndef zoo_resolve_model(name): return {body}"
    lay("dist-mine", points={"mine": None}, code=code)
    lay("dist-other", points={"other": None}, code=code.replace(body, "1 / 0"))  # never asked
    host = load_plugins(environment={})
    if outcome is MissingError:
        with pytest.raises(MissingError, match=r"'Mine/Anything'.*plugin mine"):
            host.resolve_model("Mine/Anything")
    else:
        resolved = host.resolve_model("Mine/Anything")
        assert (resolved and resolved.id) == outcome
    assert host.resolve_model("nobody/net") is None


@pytest.mark.parametrize("editable", [True, False])
def test_the_code_of_an_installation_is_part_of_its_version(site, lay, editable):
    info = lay("my-nets", points={"mine": None})
    (info / "direct_url.json").write_text(json.dumps({"url": "file:///x", "dir_info": {"editable": editable}}))
    module = site / "my_nets_plugin.py"
    found = []
    for text in ("", "\n", "\nimport my_numbers\n"):
        module.write_text(NETWORK.replace("{name}", "mine") + text)
        (site / "my_numbers.py").write_text("")
        host = load_plugins(environment={})
        assert host.records["mine"].state == "ok", host.records["mine"].error
        found.append(provenance.installed_versions(host, "mine/net")["my-nets"])
        assert provenance.image_code(host, "mine/net", None) == {"my-nets": found[-1]}
        assert provenance.loaded_plugins(host)["my-nets"] == found[-1]
    assert len(set(found)) == 3
    assert all(version.startswith("1.0 (editable, " if editable else "1.0 (code ") for version in found)
    own = [version for name, version in provenance.loaded_plugins(host).items() if name.startswith("lens-zoo")]
    assert not [version for version in own if "(" in version]  # their specs have versions


def test_hosts_that_tests_share_do_not_share_changes():
    """`hosts.remembering`: the same plugins, but specs and records of their own; changed entry points are read."""
    first = load_plugins(environment={})
    kept = dict(first.specs[ModelSpec])
    first.specs[ModelSpec].clear()
    first.records.clear()
    again = load_plugins(environment={})
    assert again.manager is first.manager
    assert again.specs[ModelSpec] == kept
    assert again.records


def test_hosts_of_other_files_and_distributions_are_loaded(lay, tmp_path):
    before = load_plugins(environment={})
    lay("nice-nets", points={"nice": None})
    assert "nice" in load_plugins(environment={}).records
    (tmp_path / "own.py").write_text(NETWORK.replace("{name}", "own"))
    for _ in range(2):
        host = load_plugins(files=[tmp_path / "own.py"], environment={})
        assert host.manager is not before.manager
        assert "own" in host.records
        (tmp_path / "own.py").write_text(NETWORK.replace("{name}", "own") + "# edited\n")
