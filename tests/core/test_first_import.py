"""Plugins that no exception handler contains: they are tried in a process of their own, and cost nobody a command."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import time

import pytest
from smallplugin import NETWORK, states

from zoo import first_import
from zoo.host import load_plugins
from zoo.isolation import printing_to_stderr
from zoo.paths import cache_dir
from zoo.specs import ModelSpec

ENDS = "its import ends the process"
HOOK = "from zoo import hookimpl\n@hookimpl\ndef"
REFUSED = {
    "exits": ("import os; os._exit(3)", f"{ENDS} with exit code 3"),
    "quiet_exit": ("import os; os._exit(0)", ENDS),
    "killed": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", f"{ENDS} by SIGKILL"),
    "late_exit": ("import atexit, os; atexit.register(os._exit, 7)", f"{ENDS} with exit code 7"),
    "late_text": ("import atexit, os; atexit.register(os.write, 1, b'late')", "standard output"),
    "hook": (f"{HOOK} zoo_datasets(): __import__('os')._exit(4)", f"{ENDS} with exit code 4"),
    "command": (f"{HOOK} zoo_commands(): __import__('os')._exit(5)", f"{ENDS} with exit code 5"),
    "thread": ("import threading, time; threading.Thread(target=time.sleep, args=(60,)).start()", "running threads"),
    "server": ("import subprocess; subprocess.Popen(['sleep', '60'])", "leaves a process running"),
    "fork": ("import os; os.fork()", "standard output"),
    "closed": ("import os; os.close(2)", "standard input, output and error"),
    "closed_stream": ("import sys; sys.stdout.close()", "standard input, output and error"),
    "exit": ("import sys; sys.exit = print", "the functions of Python"),
    "no_library": ("import sys; sys.modules['torch'] = None", "the libraries that zoo imports"),
    "finder": (
        "import sys, types\ndef find(name, *_): 1 / (name != 'rich')\n"
        "sys.meta_path.insert(0, types.SimpleNamespace(find_spec=find))",
        "the libraries that zoo imports",
    ),
    "builtin": ("import builtins; builtins.breakpoint = None", "the functions of Python"),
    "library": ("import json; json.dumps = lambda *a, **k: 'spoilt'", "the list of specs"),
    "signals": ("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)", "the handling of signals"),
}  # fmt: skip
HARMLESS = {
    "fine": "",
    "raises": "raise BaseException('no')",
    "prints": "import os, subprocess; os.write(1, b'noise'); subprocess.run(['echo', 'noise of a child'])",
    "environment": "import os; os.environ.clear(); os.chdir('/')",
}


@pytest.fixture
def trials(monkeypatch, tmp_path):
    """Try plugins as users' processes do, with a cache of the test's own."""
    monkeypatch.delenv(first_import.SWITCH)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="processes are looked up in /proc")
def test_a_process_that_waits_to_be_reaped_does_not_run_on():
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        assert first_import._runs_on(process.pid)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is not reaped
        os.killpg(process.pid, 0)
        assert not first_import._runs_on(process.pid)
    assert not first_import._runs_on(process.pid)  # reaped


@pytest.mark.slow  # a process for each plugin
def test_plugins_that_end_or_spoil_the_process_are_refused(trials, lay, capfd):
    for name, code in {**{name: code for name, (code, _) in REFUSED.items()}, **HARMLESS}.items():
        lay(f"dist-{name}", points={name: None}, code=f"{code}\n{NETWORK}")
    host = load_plugins(environment={})
    assert {name for name, state in states(host).items() if state == "broken"} == {*REFUSED, "raises"}
    errors = {name: host.records[name].error for name in REFUSED}
    assert not {name: error for name, error in errors.items() if REFUSED[name][1] not in error}
    assert {spec.namespace for spec in host.specs_of(ModelSpec)} == {"fine", "prints", "environment"}
    assert host.records["raises"].error == "BaseException: no"  # of this process, which could contain it
    assert not {f"dist_{name}_plugin" for name in REFUSED} & sys.modules.keys()
    assert capfd.readouterr().out == ""


def test_a_plugin_is_tried_again_only_where_it_may_have_changed(trials, lay, site, tmp_path, monkeypatch):
    lay("dist-one", points={"one": None})
    (tmp_path / "filezoo.py").write_text(NETWORK.replace("{name}", "filezoo"))
    tried: list[str] = []

    def trial(candidates):
        tried.extend(sorted(one.name for one in candidates))
        return [first_import.Refusal(reason="no" if one.name == "filezoo" else "", trace="") for one in candidates]

    monkeypatch.setattr(first_import, "_try", trial)

    def again():
        del tried[:]
        host = load_plugins(files=[tmp_path / "filezoo.py"], environment={})
        assert states(host) == {"one": "ok", "filezoo": "broken"}
        return list(tried)

    assert again() == ["filezoo", "one"]
    assert again() == []
    with (site / "dist_one_plugin.py").open("a") as module:
        module.write("# edited\n")
    assert again() == ["one"]
    (tmp_path / "helper.py").write_text("")  # the file may import it
    assert again() == ["filezoo"]
    first_import.forget_refusals()
    assert again() == ["filezoo"]
    monkeypatch.setattr(first_import, "_installed_names", lambda: ["numpy-9.dist-info"])
    assert again() == ["filezoo", "one"]
    for damage in ("", "{", "[]", '{"key": 1}', '{"key": "", "reason": ""}'):
        for path in (cache_dir() / "plugins").iterdir():
            path.write_text(damage)
        assert again() == ["filezoo", "one"]
        assert again() == []
    monkeypatch.setenv("ZOO_CACHE", "/dev/null/nothing")  # no folder can be made there
    assert again() == again() == ["filezoo", "one"]


@pytest.mark.parametrize("executable", ["/bin/false", "/nothing/there"])
def test_without_processes_plugins_are_imported_as_they_are(trials, lay, monkeypatch, caplog, executable):
    lay("dist-one", points={"one": None})
    monkeypatch.setattr(sys, "executable", executable)
    for _ in range(2):  # nothing is remembered
        caplog.clear()
        assert states(load_plugins(environment={})) == {"one": "ok"}
        assert "imported without a trial" in caplog.text


def test_a_plugin_that_never_ends_is_stopped_and_named(monkeypatch, caplog):
    monkeypatch.setattr(first_import, "_SILENT_SECONDS", 0.1)
    process = subprocess.Popen(["sleep", "60"])
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, caplog.at_level(logging.WARNING):
        trial = first_import._Trial(name="sleeper", process=process, out=out, err=err)
        assert "has not ended after" in trial.answer(time.monotonic(), 0.4).reason
    assert "plugin sleeper is new or has changed" in caplog.text
    process.kill()
    process.wait()


def test_what_code_writes_past_python_is_not_among_results(capfd):
    sys.stdout.write("before\n")
    with printing_to_stderr():
        sys.stdout.write("printed\n")
        os.write(1, b"written\n")
        os.close(1)  # opened again at the end
    sys.stdout.write("after\n")
    sys.stdout.flush()
    out, err = capfd.readouterr()
    assert out == "before\nafter\n"
    assert err == "printed\nwritten\n"


def test_metadata_without_a_name_are_shown(lay):
    (lay("dist-nameless", points={"nameless": None}) / "METADATA").unlink()
    record = load_plugins(environment={}).records["nameless"]
    assert (record.state, record.distribution, record.version) == ("ok", "?", "?")
