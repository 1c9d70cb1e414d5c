"""Code of a plugin leaves the settings that all share as they were, wherever it runs."""

from __future__ import annotations

import locale
import logging
import os
import random
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from zoo import registry
from zoo.global_state import global_state_kept
from zoo.host import load_plugins
from zoo.specs import ModelSpec

CHANGES = {
    "torch's default type": ("torch.set_default_dtype(torch.float64)", torch.get_default_dtype),
    "torch's default device": ("torch.set_default_device('meta')", lambda: torch.empty(0).device),
    "torch's number of threads": ("torch.set_num_threads(3)", torch.get_num_threads),
    "torch's use of deterministic algorithms": (
        "torch.use_deterministic_algorithms(True, warn_only=True)",
        torch.are_deterministic_algorithms_enabled,
    ),
    "torch's precision of float32": (
        "torch.set_float32_matmul_precision('medium')",
        torch.get_float32_matmul_precision,
    ),
    "torch's recording of gradients": ("torch.set_grad_enabled(False)", torch.is_grad_enabled),
    "the settings of cuDNN": ("torch.backends.cudnn.benchmark = True", lambda: torch.backends.cudnn.benchmark),
    "torch's search for anomalies": ("torch.autograd.set_detect_anomaly(True)", torch.is_anomaly_enabled),
    "torch's autocast": ("torch.set_autocast_enabled('cpu', True)", lambda: torch.is_autocast_enabled("cpu")),
    "the treatment of denormal numbers": (
        "torch.set_flush_denormal(True)",
        lambda: float(torch.tensor(1e-310, dtype=torch.float64) / 2) == 0,
    ),
    "the settings of oneDNN": ("torch.backends.mkldnn.enabled = False", lambda: torch.backends.mkldnn.enabled),
    "the settings of cuBLAS": (
        "torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False",
        lambda: torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction,
    ),
    "the hooks of all modules": (
        "torch.nn.modules.module.register_module_forward_hook(lambda *_: None)",
        lambda: len(torch.nn.modules.module._global_forward_hooks),
    ),
    "NumPy's treatment of errors": ("numpy.seterr(all='raise')", np.geterr),
    "the working folder": ("os.chdir('/')", os.getcwd),
    "the umask": ("os.umask(0o777)", lambda: os.umask(os.umask(0))),
    "the locale": ("locale.setlocale(locale.LC_ALL, 'C')", lambda: locale.setlocale(locale.LC_ALL)),
    "the limit of recursion": ("sys.setrecursionlimit(4321)", sys.getrecursionlimit),
    # An existing variable, and what libraries change when they are imported.
    "the environment": ("os.environ['OMP_NUM_THREADS'] = '7'; os.environ.pop('PATH')", lambda: dict(os.environ)),
    "the filters of warnings": ("warnings.simplefilter('error')", lambda: list(warnings.filters)),
    "the level of logging": ("logging.disable(logging.CRITICAL)", lambda: logging.root.manager.disable),
}
QUIET = ("the environment", "the filters of warnings", "the level of logging")
DRAWS = {
    "torch": ("torch.rand(3)", lambda: torch.get_rng_state().tolist()),
    "numpy": ("numpy.random.rand(3)", lambda: repr(np.random.get_state())),  # noqa: NPY002  (the shared one)
    "random": ("random.random()", random.getstate),
    "seed": ("torch.manual_seed(7)", torch.initial_seed),
}
CASES = {**CHANGES, **DRAWS}
PLUGIN = """
import locale, logging, os, random, sys, warnings
import numpy, torch
from zoo import ModelSpec, hookimpl
NAME = __name__

def change():
    {change}

{at_import}

@hookimpl
def zoo_models():
    {at_collecting}
    return [ModelSpec(id=NAME + "/net", target=NAME + "_target:net")]

@hookimpl
def zoo_resolve_model(name):
    {at_resolving}

@hookimpl
def zoo_run_finished(run_dir):
    {at_event}
"""
PLACES = ("at_import", "at_collecting", "at_resolving", "at_event", "at_target")


@pytest.fixture
def meddle(tmp_path, monkeypatch):
    """A function that runs a change at one place of a plugin."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def go(change, place):
        name = f"meddler_{place}"
        for module in (name, f"{name}_target"):
            monkeypatch.delitem(sys.modules, module, raising=False)
        calls = {each: "change()" if each == place else "pass" for each in PLACES}
        file = tmp_path / f"{name}.py"
        file.write_text(PLUGIN.format(change=change, **calls))
        libraries = "import locale, logging, os, random, sys, warnings, numpy, torch"
        code = f"{libraries}\n{change if place == 'at_target' else ''}\nnet = torch.nn.Identity\n"
        (tmp_path / f"{name}_target.py").write_text(code)
        host = load_plugins(files=[file], environment={"ZOO_PLUGINS": name})
        assert not host.records[name].error
        host.resolve_model(f"{name}/other")
        host.emit("zoo_run_finished", cell={}, run_dir=tmp_path, result={})
        registry.load_target(registry.find(host, ModelSpec, f"{name}/net"))
        for module in (name, f"{name}_target"):
            monkeypatch.delitem(sys.modules, module)

    return go


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("what", CASES)
def test_a_change_is_set_back_and_named(meddle, caplog, what, place):
    change, read = CASES[what]
    if what == "the locale" and read() == "C":
        pytest.skip("the locale of this process is C already, so a plugin that sets it changes nothing")
    caplog.set_level(logging.INFO)
    before = read()
    meddle(change, place)
    assert read() == before
    told = [record.getMessage() for record in caplog.records if f"plugin meddler_{place} changed" in record.message]
    assert [what in message for message in told] == ([True] if what in CHANGES else [])
    levels = {record.levelno for record in caplog.records if f"plugin meddler_{place} changed" in record.message}
    assert levels <= {logging.INFO if what in QUIET else logging.WARNING}


def test_another_thread_sets_nothing_back():
    """A stream of images is rendered in a thread, while the network in the main one draws random numbers."""
    import threading

    drawn = []

    def render():
        with global_state_kept("toy", "render"):
            drawn.append(torch.rand(1))

    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    thread = threading.Thread(target=render)
    thread.start()
    thread.join()
    assert torch.equal(torch.cat([*drawn, torch.rand(1)]), expected)


def test_a_change_before_an_exception_is_set_back():
    def interrupted():
        with global_state_kept("toy", "a hook"):
            torch.set_default_dtype(torch.float64)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert torch.get_default_dtype() is torch.float32


@pytest.mark.slow  # imports torch in a process of its own
def test_a_plugin_that_imports_torch_first_cannot_change_it_either():
    program = """
import sys
from zoo.global_state import global_state_kept
assert "torch" not in sys.modules
with global_state_kept("toy", "its import"):
    import torch
    threads = torch.get_num_threads()
    torch.set_default_dtype(torch.float64); torch.set_num_threads(5); torch.set_grad_enabled(False)
assert (torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()) == (torch.float32, threads, True)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "torch's default type from torch.float32 to torch.float64" in done.stderr


def test_the_record_names_every_plugin_that_was_loaded(trained_once):
    from zoo.results.store import open_result

    plugins = open_result(trained_once).plugins
    assert {"lens-zoo", "lens-zoo-gconv", "lens-zoo-timm", "toyzoo.py"} <= plugins.keys()
