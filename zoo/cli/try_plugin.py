"""`zoo try-plugin`: what `zoo.first_import` starts for a plugin that is new or has changed."""

from __future__ import annotations

import builtins
import contextlib
import importlib.util
import json
import logging
import math
import os
import signal
import sys
import threading
from typing import Any

import click

from zoo.cli.context import commands_of, echo
from zoo.host import load_plugins
from zoo.stopping import watch_parent

_THREAD_SECONDS = 1.0


@click.command("try-plugin", hidden=True)
@click.argument("plugin", metavar="PLUGIN", required=False)
@click.pass_context
def try_plugin(ctx: click.Context, plugin: str | None) -> None:
    """Import one plugin and print, a line each, what all others share: it must be the same without the plugin."""
    watch_parent()
    before = _shared_state()
    files, name = [], plugin or ""
    if name.endswith(".py"):
        files, name = [name], os.path.splitext(os.path.basename(name))[0]
    tried = load_plugins(files=files, environment={"ZOO_PLUGINS": f"core,{name}"})
    for loaded in [name for name, record in tried.records.items() if record.state == "ok"]:
        with contextlib.suppress(Exception):  # reported where it is used
            commands_of(tried, loaded)
    for name, state in _shared_state().items():
        echo(f"{name}\t{'as before' if state == before[name] else 'changed'}")
    running = _running_threads()
    echo(f"running threads\t{running}")
    own = [name for name, record in tried.records.items() if record.first_party]
    root = ctx.find_root()
    root.obj = load_plugins(environment={"ZOO_PLUGINS": ",".join(own)})
    echo(f"the list of commands\t{root.command.get_help(root)!r}")
    specs = [spec.to_json() for by_id in root.obj.specs.values() for spec in by_id.values()]
    echo(f"the list of specs\t{json.dumps(specs)}")
    if running:  # the process would never end
        sys.stdout.flush()
        os._exit(0)


def _shared_state() -> dict[str, Any]:
    """Return what every command depends on and code of a plugin can change for good."""
    state = {
        "standard input, output and error": [_open_file(number) for number in range(3)]
        + [(one, one is None or one.closed) for one in (sys.stdin, sys.stdout, sys.stderr, sys.__stdout__)],
        "the handling of signals": [signal.getsignal(number) for number in sorted(signal.valid_signals())],
        "the tracing of calls": [sys.gettrace(), sys.getprofile()],
        # What a library adds to these is harmless.
        "the functions of Python": [id(sys.exit), *(id(getattr(builtins, name, None)) for name in _BUILTINS)],
        "the libraries that zoo imports": [_place_of(name) for name in _LIBRARIES],
        "the handlers of logging": [handler in logging.root.handlers for handler in _HANDLERS],
    }
    if hasattr(signal, "getitimer"):  # not on Windows
        state["the timers"] = [signal.getitimer(signal.ITIMER_REAL), signal.getitimer(signal.ITIMER_PROF)]
    # A higher limit is harmless, too.
    state["the limits of resources"] = [min(one) for one in zip(_limits(), _LIMITS, strict=True)]
    return state


def _limits() -> list[float]:
    """Return the limits of resources that hold for this process, in one order; nothing where there are none."""
    try:
        import resource
    except ImportError:  # Windows
        return []
    names = sorted(name for name in vars(resource) if name.startswith("RLIMIT_"))
    limits = [resource.getrlimit(getattr(resource, name))[0] for name in names]
    return [math.inf if limit == resource.RLIM_INFINITY else limit for limit in limits]


def _place_of(library: str) -> str:
    """Return the file that an import of a library would run, or has run."""
    try:
        spec = importlib.util.find_spec(library)
    except Exception as error:  # of a finder of imports, or a module without a spec
        return type(error).__name__
    return str(spec and spec.origin)


_LIBRARIES = ("click", "jinja2", "matplotlib", "msgspec", "numpy", "pluggy", "rich", "scipy", "sklearn", "torch")
_BUILTINS = sorted(name for name in vars(builtins) if name != "_")  # the last value of an interactive session
_HANDLERS = list(logging.root.handlers)
_LIMITS = _limits()


def _open_file(number: int) -> tuple[int, int] | None:
    """Return device and inode of a file descriptor, or None if it is closed."""
    try:
        status = os.fstat(number)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _running_threads() -> list[str]:
    """Return the names of threads that keep the process from ending."""
    mine = (threading.main_thread(), threading.current_thread())
    others = [thread for thread in threading.enumerate() if thread not in mine and not thread.daemon]
    for thread in others:
        thread.join(_THREAD_SECONDS)
    return [thread.name for thread in others if thread.is_alive()]
