"""Keeps plugins apart in calls that reach all of them: each gets copies of the arguments, and its faults are logged."""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from types import FrameType, ModuleType
from typing import Any

import pluggy

from zoo.errors import Interrupted
from zoo.global_state import global_state_kept
from zoo.hookspecs import EVENTS

logger = logging.getLogger(__name__)

_ENDED = object()


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
        with global_state_kept(plugin, hook), contained():
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
