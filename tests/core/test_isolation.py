"""Hook calls by pluggy: order, wrappers, and isolation of faults."""

from __future__ import annotations

import sys

import pluggy
import pytest

from zoo.hookspecs import EVENTS, hookimpl
from zoo.host import Host, _new_manager, load_plugins
from zoo.isolation import causes_of, isolate, place_in

HEADER = """
from zoo import ModelSpec, hookimpl

def note(run_dir, word):
    with (run_dir / "calls.txt").open("a") as file:
        file.write(word + "\\n")

"""
PLAIN = """
@hookimpl({options})
def zoo_run_finished(run_dir):
    note(run_dir, "{name}")
"""
WRAPPER = """
@hookimpl(wrapper=True)
def zoo_run_finished(run_dir):
    note(run_dir, "{name} before")
    {first}
    outcome = yield
    note(run_dir, "{name} after")
    {then}
    return outcome
"""
OLD_WRAPPER = WRAPPER.replace("wrapper=True", "hookwrapper=True").replace("    return outcome\n", "")


@pytest.fixture
def plug(tmp_path, monkeypatch):
    """Return a host of plugins that are files, admitted in the order given; all others are switched off."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def host(**codes):
        files = []
        for name, code in codes.items():
            files.append(tmp_path / f"{name}.py")
            files[-1].write_text(HEADER + code.format(name=name, options="", first="pass", then="pass"))
        loaded = load_plugins(files=files, environment={"ZOO_PLUGINS": ",".join(codes)})
        assert {name: loaded.records[name].error for name in codes} == dict.fromkeys(codes, "")
        return loaded

    yield host
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def calls(tmp_path):
    """Finish a run for a host; return what its plugins noted."""

    def finish(host):
        host.emit("zoo_run_finished", cell={}, run_dir=tmp_path, result={"status": "ok"})
        return (tmp_path / "calls.txt").read_text().splitlines()

    return finish


def faults(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "zoo.isolation"]


def test_the_last_plugin_comes_first_but_for_tryfirst_and_trylast(plug, calls):
    host = plug(
        pl_a=PLAIN.replace("{options}", "trylast=True"),
        pl_b=PLAIN.replace("{options}", "tryfirst=True"),
        pl_c=PLAIN,
        pl_d=PLAIN,
        pl_e=PLAIN.replace("{options}", "trylast=True"),
    )
    assert calls(host) == ["pl_b", "pl_d", "pl_c", "pl_a", "pl_e"]


@pytest.mark.parametrize("wrapper", [WRAPPER, OLD_WRAPPER], ids=["wrapper", "hookwrapper"])
def test_a_wrapper_runs_around_the_other_plugins(plug, calls, caplog, wrapper):
    host = plug(pl_outer=wrapper, pl_a=PLAIN, pl_inner=wrapper, pl_b=PLAIN)
    assert calls(host) == [
        "pl_inner before", "pl_outer before", "pl_b", "pl_a", "pl_outer after", "pl_inner after",
    ]  # fmt: skip
    assert faults(caplog) == []


@pytest.mark.parametrize("wrapper", [WRAPPER, OLD_WRAPPER], ids=["wrapper", "hookwrapper"])
@pytest.mark.parametrize("action", ["raise RuntimeError('broken')", "raise SystemExit(3)", "return"])
def test_a_wrapper_that_fails_before_its_yield_is_left_out(plug, calls, caplog, wrapper, action):
    host = plug(pl_a=PLAIN, pl_bad=wrapper.replace("{first}", action), pl_good=wrapper, pl_b=PLAIN)
    assert calls(host) == ["pl_good before", "pl_bad before", "pl_b", "pl_a", "pl_good after"]
    assert faults(caplog) == ["plugin pl_bad failed in zoo_run_finished"]


@pytest.mark.parametrize("wrapper", [WRAPPER, OLD_WRAPPER], ids=["wrapper", "hookwrapper"])
@pytest.mark.parametrize("action", ["raise RuntimeError('broken')", "raise SystemExit(3)", "yield"])
def test_a_wrapper_that_fails_after_its_yield_costs_no_other_plugin(plug, calls, caplog, wrapper, action):
    host = plug(pl_good=wrapper, pl_a=PLAIN, pl_bad=wrapper.replace("{then}", action), pl_outer=wrapper)
    assert calls(host) == [
        "pl_outer before", "pl_bad before", "pl_good before", "pl_a", "pl_good after", "pl_bad after", "pl_outer after",
    ]  # fmt: skip
    assert faults(caplog) == ["plugin pl_bad failed in zoo_run_finished"]


def test_an_error_that_an_old_style_wrapper_forces_is_its_own(plug, calls, caplog):
    bad = OLD_WRAPPER.replace("{then}", "outcome.force_exception(ValueError('forced'))")
    host = plug(pl_bad=bad, pl_a=PLAIN, pl_outer=WRAPPER)
    assert calls(host) == ["pl_outer before", "pl_bad before", "pl_a", "pl_bad after", "pl_outer after"]
    assert faults(caplog) == ["plugin pl_bad failed in zoo_run_finished"]
    assert "ValueError: forced" in caplog.text


def test_an_interrupt_propagates_and_wrappers_clean_up(plug, calls, tmp_path):
    wrapper = """
@hookimpl(wrapper=True)
def zoo_run_finished(run_dir):
    try:
        return (yield)
    finally:
        note(run_dir, "{name} cleaned up")
"""
    # The user's interrupt is a signal; a KeyboardInterrupt of the plugin's own is a fault like any other.
    interrupted = (
        "import os, signal, time\n"
        "@hookimpl\ndef zoo_run_finished(run_dir): os.kill(os.getpid(), signal.SIGINT); time.sleep(5)\n"
    )
    host = plug(pl_a=PLAIN, pl_stop=interrupted, pl_outer=wrapper)
    with pytest.raises(KeyboardInterrupt):
        calls(host)
    assert (tmp_path / "calls.txt").read_text() == "pl_outer cleaned up\n"


@pytest.mark.parametrize("options", ["", "wrapper=True"])
def test_each_implementation_gets_its_own_copy_of_the_arguments(plug, tmp_path, options):
    taker = "@hookimpl(OPTIONS)\ndef zoo_run_finished(run_dir, result):\n    note(run_dir, result.pop('status'))\n"
    taker = taker.replace("OPTIONS", options) + ("    return (yield)\n" if options else "")
    result = {"status": "ok"}
    plug(pl_a=taker, pl_b=taker).emit("zoo_run_finished", cell={}, run_dir=tmp_path, result=result)
    assert (tmp_path / "calls.txt").read_text() == "ok\nok\n"
    assert result == {"status": "ok"}


RESOLVER = """
@hookimpl
def zoo_resolve_model(name): return ModelSpec(id="{name}/found", target="a:b", summary="plain")
"""


def test_a_name_is_resolved_by_the_owner_of_the_namespace_with_its_own_order_and_wrappers(plug):
    order = """
@hookimpl(specname="zoo_resolve_model", {late})
def second(name): return ModelSpec(id="{{name}}/second", target="a:b")
"""
    wrapper = """
@hookimpl(specname="zoo_resolve_model", wrapper=True)
def around(name):
    found = yield
    return ModelSpec(id=found.id + "_wrapped", target="a:b")
"""
    everything = RESOLVER.replace("{name}", "pl_b") + wrapper  # tries to answer for another plugin
    host = plug(
        pl_a=RESOLVER + order.format(late="trylast=True"),
        pl_b=RESOLVER + order.format(late="tryfirst=True") + wrapper,
        pl_c=everything,
    )
    assert host.resolve_model("pl_a/anything").id == "pl_a/found"
    assert host.resolve_model("pl_b/anything").id == "pl_b/second_wrapped"
    assert host.resolve_model("nobody/anything") is None


COMMAND = """
@hookimpl
def zoo_commands():
    import click
    return [click.Command("{name}")]
"""


def test_commands_come_from_pluggys_call_of_each_plugin_and_the_first_plugin_keeps_a_name(plug, capsys, caplog):
    import click

    from zoo.cli import _plugin_commands, cli

    wrapper = """
@hookimpl(specname="zoo_commands", wrapper=True)
def around():
    import click
    print("noise")
    return [*(yield), [click.Command("shared", help="{name}")]]
"""
    bad = COMMAND + wrapper.replace("return", "raise RuntimeError('no'); return")
    host = plug(pl_a=COMMAND + wrapper, pl_bad=bad, pl_wrong=COMMAND.replace("click.Command(", "("), pl_b=wrapper)
    with click.Context(cli, **cli.context_settings, obj=host) as context:
        commands = _plugin_commands(context)
    assert (list(commands), commands["shared"].help) == (["pl_a", "shared"], "pl_a")
    assert capsys.readouterr().out == ""
    assert [record.getMessage() for record in caplog.records] == [
        "plugin pl_bad: zoo_commands: RuntimeError: no",
        "plugin pl_wrong: zoo_commands: TypeError: zoo_commands must return Commands, not str",
    ]


def test_a_wrapper_of_a_collecting_hook_runs_around_its_own_plugin_only(plug):
    from zoo.specs import ModelSpec

    models = "@hookimpl\ndef zoo_models(): return [ModelSpec(id='{name}/net', target='a:b')]\n"
    drop = "@hookimpl(specname='zoo_models', wrapper=True)\ndef around():\n    yield\n    return []\n"
    host = plug(pl_a=models, pl_b=models + drop)
    assert [spec.id for spec in host.specs_of(ModelSpec)] == ["pl_a/net"]


def test_a_plugin_may_be_an_object_with_methods(caplog):
    class Tracker:
        seen: list[int] = []  # noqa: RUF012 - shared on purpose

        @hookimpl
        def zoo_epoch_ended(self, epoch, run_dir):
            self.seen.append(epoch)
            raise ValueError("logged")

    manager = _new_manager()
    manager.register(isolate(Tracker(), name="tracker", manager=manager), name="tracker")
    Host(manager=manager).emit("zoo_epoch_ended", cell={}, run_dir="there", epoch=3, metrics={})
    assert Tracker.seen == [3]
    assert faults(caplog) == ["plugin tracker failed in zoo_epoch_ended"]


def test_every_event_is_a_hook():
    manager = _new_manager()
    assert all(isinstance(getattr(manager.hook, event), pluggy.HookCaller) for event in EVENTS)


def test_the_place_of_an_error_is_that_of_its_first_cause_in_the_packages():
    def fails():
        raise KeyError("width")

    def wraps():
        try:
            fails()
        except KeyError as error:
            raise ValueError("too small") from error

    with pytest.raises(ValueError, match="too small") as caught:
        wraps()
    line = fails.__code__.co_firstlineno + 1
    assert place_in(caught.value, {__name__.partition(".")[0]}) == f"test_isolation.py, line {line}"
    assert place_in(caught.value, {"another"}) == ""
    caught.value.__cause__.__cause__ = caught.value  # an endless chain, which code may make
    assert len(causes_of(caught.value)) == 2
