"""Runs code of plugins apart from all else: contained, named when it is slow; in events on copies of the arguments."""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Generator, Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pluggy

from zoo.errors import Interrupted
from zoo.global_state import global_state_kept
from zoo.hookspecs import EVENTS

logger = logging.getLogger(__name__)

_ENDED = object()


SLOW_SECONDS = 20.0
"""Time after which a line states whose code is running; importing torch takes some seconds on a busy machine."""


@contextlib.contextmanager
def plugin_code(plugin: str, where: str, *, may_take_long: bool = False) -> Iterator[None]:
    """Run a plugin's code `contained`, with the global state kept, and name it in the log when it does not end.

    Args:
        plugin: Name of the plugin, or an id of its namespace.
        where: Place of the call in words, such as the name of a hook.
        may_take_long: Whether it is work, such as rendering, that is not named.

    Raises:
        Escape: The code raised something that is not an `Exception`.
        KeyboardInterrupt: The process received SIGINT, or zoo itself stops the work (`Interrupted`).
    """
    plugin = plugin.partition("/")[0]
    named = contextlib.nullcontext() if may_take_long else named_when_slow(plugin, where)
    with named, global_state_kept(plugin, where), contained():
        yield


@contextlib.contextmanager
def named_when_slow(plugin: str, where: str) -> Iterator[None]:
    """Log a line if a plugin's code has not ended after some seconds, possibly for ever."""
    text = "plugin %s has been busy in %s for %.0f s (on a busy machine this may be normal); to go on without it: "
    text += "Ctrl-C and ZOO_DISABLE_PLUGINS=%s"
    timer = threading.Timer(SLOW_SECONDS, logger.warning, [text, plugin, where, SLOW_SECONDS, plugin])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def printing_to_stderr() -> Iterator[None]:
    """Send to stderr what a plugin prints, and what it or a process that it starts writes to the descriptor of stdout.

    Text among the results of a command would spoil what `--json` writes.
    """
    try:
        for stream in (sys.stdout, sys.__stdout__):
            if stream is not None:
                stream.flush()  # what is there already is not the plugin's
        kept = os.dup(1)
    except (OSError, ValueError):  # closed
        kept = None
    if kept is not None:
        with contextlib.suppress(OSError):  # stderr is closed
            os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)


class Escape(Exception):
    """What a plugin raised that is not an `Exception`; the class is derived and has the name of the original."""


@contextlib.contextmanager
def contained() -> Iterator[None]:
    """Run a plugin's code so that it raises nothing but an `Exception`, or KeyboardInterrupt if the user interrupts.

    A plugin can raise SystemExit, KeyboardInterrupt or any BaseException, which would end every command. A signal
    distinguishes the user's own interrupt from a plugin's.

    Raises:
        Escape: The code raised something that is not an `Exception`.
        KeyboardInterrupt: The process received SIGINT, or zoo itself stops the work (`Interrupted`).
    """
    before = signal.getsignal(signal.SIGINT)
    interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> Any:
        nonlocal interrupted
        interrupted = True
        return before(number, frame) if callable(before) else None

    # Signals reach the main thread only. SIG_IGN and handlers from outside of Python stay as they are.
    ours = callable(before) and threading.current_thread() is threading.main_thread()
    if ours:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except BaseException as error:
        if interrupted or isinstance(error, Interrupted) or (isinstance(error, Exception) and _has_text(error)):
            raise
        # With the name of its type, which all messages state.
        raise type(type(error).__name__, (Escape,), {})(*error.args) from error
    finally:
        if ours and signal.getsignal(signal.SIGINT) is interrupt:
            signal.signal(signal.SIGINT, before)


def _has_text(error: Exception) -> bool:
    """Return whether a message can hold the exception's text, which code of the plugin may make."""
    try:
        str(error)
    except BaseException:
        return False
    return True


def causes_of(error: BaseException) -> list[BaseException]:
    """Return an error and what it was raised from, the first cause last."""
    chain: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and not any(one is other for other in chain):  # `raise error from error` is possible
        chain.append(one)
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return chain


def place_in(error: BaseException, packages: Collection[str]) -> str:
    """Return file and line of the innermost code of some packages that an error or its causes came from, or ""."""
    place = ""
    for one in causes_of(error):
        for frame, line in traceback.walk_tb(one.__traceback__):
            if str(frame.f_globals.get("__name__")).partition(".")[0] in packages:
                place = f"{Path(frame.f_code.co_filename).name}, line {line}"
    return place


def isolate(plugin: Any, *, name: str, manager: pluggy.PluginManager) -> ModuleType:
    """Return a plugin's hook implementations with those of events guarded, to be registered in the plugin's place.

    Args:
        plugin: Module or object with the marked functions.
        name: Name of the plugin, for the log.
        manager: Any manager of the project; it reads the marks.
    """
    isolated = ModuleType(f"{__name__}.{name}", doc=f"Hook implementations of the plugin {name}.")
    for attribute in dir(plugin):
        options = manager.parse_hookimpl_opts(plugin, attribute)
        if options is None:
            continue
        function = getattr(plugin, attribute)
        hook = options.get("specname") or attribute
        if hook in EVENTS:
            guard = _guard_wrapper if options.get("wrapper") or options.get("hookwrapper") else _guard
            function = guard(function, functools.partial(_faults_logged, name, hook))
        setattr(isolated, attribute, function)
    return isolated


Faults = Callable[[], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def _faults_logged(plugin: str, hook: str) -> Iterator[None]:
    try:
        with plugin_code(plugin, hook):
            yield
    except Exception:
        logger.warning("plugin %s failed in %s", plugin, hook, exc_info=True)


def _guard(function: Callable[..., Any], faults_logged: Faults) -> Callable[..., Any]:
    """Return an implementation that works on copies and raises nothing but interrupts.

    pluggy reads marks and argument names from the original, which `functools.wraps` keeps.
    """

    @functools.wraps(function)
    def guarded(*arguments: Any, **keywords: Any) -> Any:
        with faults_logged():
            return function(*copy.deepcopy(arguments), **copy.deepcopy(keywords))
        return None

    return guarded


def _guard_wrapper(function: Callable[..., Any], faults_logged: Faults) -> Callable[..., Any]:
    """Return the same for a wrapper, new-style or old-style; after a fault the call goes on as if it were not there."""

    @functools.wraps(function)
    def guarded(*arguments: Any, **keywords: Any) -> Generator[None, Any, Any]:
        wrapper = None
        with faults_logged():
            started = function(*copy.deepcopy(arguments), **copy.deepcopy(keywords))
            if next(started, _ENDED) is _ENDED:
                raise RuntimeError("the wrapper does not yield")
            wrapper = started
        try:
            outcome = yield
        except BaseException:  # an interrupt; all else has been logged further in
            if wrapper is not None:
                with faults_logged():
                    wrapper.close()
            raise
        if wrapper is None:
            return outcome
        with faults_logged():
            try:
                wrapper.send(outcome)
            except StopIteration as end:
                if isinstance(outcome, pluggy.Result) and outcome.exception is not None:  # forced by an old-style one
                    forced = outcome.exception
                    outcome.force_result([])
                    raise forced from None
                return end.value
            wrapper.close()
            raise RuntimeError("the wrapper yields more than once")
        return outcome

    return guarded
