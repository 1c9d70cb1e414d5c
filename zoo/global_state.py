"""Keeps the settings of torch, NumPy and Python that all share as they are while code of a plugin runs.

A plugin that sets torch's default type, say, would otherwise change the scores of networks that it has no part in. Not
kept are `sys.path`, which imports need, and what can be set once only, such as torch's threads between operations.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import locale
import logging
import os
import random
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any

logger = logging.getLogger(__name__)

Setting = tuple[Callable[[], Any], Callable[[Any], Any]]
"""Functions that read and set a value."""
_USUAL = ("the environment", "the filters of warnings", "the level of logging")
"""Settings that many libraries change when they are imported; they are set back like all others."""


@contextlib.contextmanager
def global_state_kept(plugin: str, where: str) -> Iterator[None]:
    """Set everything back that a plugin changes; name changed settings in the log, drawn random numbers not.

    This works in the main thread; in another one, such as that of a stream of images, nothing is set back.

    Args:
        plugin: Name of the plugin, for the log.
        where: Place of the call, such as the name of a hook.
    """
    changed: dict[str, str] = {}
    try:
        with changed_settings(changed):
            yield
    finally:
        if changed:
            level = logging.INFO if changed.keys() <= set(_USUAL) else logging.WARNING
            logger.log(level, "plugin %s changed %s in %s; it was set back", plugin, "; ".join(changed.values()), where)


@contextlib.contextmanager
def changed_settings(changed: dict[str, str]) -> Iterator[None]:
    """Set everything back that a block changes, drawn random numbers too.

    Args:
        changed: Dictionary that gets the changed settings at the end: name -> change in words.
    """
    if threading.current_thread() is not threading.main_thread():  # the other threads go on drawing random numbers
        yield
        return
    before = {name: read() for name, (read, _) in _settings().items()}
    draws = [(write, read()) for read, write in _generators()]
    with _noted_at_import(before):
        try:
            yield
        finally:
            for name, (read, write) in _settings().items():
                if name in before and (now := read()) != before[name]:
                    write(before[name])
                    changed[name] = f"{name}{_difference(before[name], now)}"
            for write, state in draws:
                write(state)


def _difference(before: Any, now: Any) -> str:
    """Return what changed in words; of a long value the names of its parts only."""
    if isinstance(before, dict):
        return f" ({', '.join(str(name) for name in before | now if before.get(name) != now.get(name))})"
    return f" from {before} to {now}" if len(f"{before}{now}") < 200 else ""


def _settings() -> dict[str, Setting]:
    """Return name -> setting of Python and of the libraries that are loaded."""
    found = _python_settings()
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None and hasattr(numpy, "geterr"):
        found["NumPy's treatment of errors"] = numpy.geterr, lambda value: numpy.seterr(**value)
    if torch is not None and hasattr(torch, "get_default_device"):  # not, or not yet, imported
        found |= _torch_settings(torch)
    return found


def _python_settings() -> dict[str, Setting]:
    found: dict[str, Setting] = {
        "the environment": (lambda: dict(os.environ), _set_environment),
        "the working folder": (_working_folder, _set_working_folder),
        "the filters of warnings": (lambda: list(warnings.filters), _set_warnings),
        "the locale": (
            lambda: locale.setlocale(locale.LC_ALL),
            lambda value: locale.setlocale(locale.LC_ALL, value),
        ),
        "the limit of recursion": (sys.getrecursionlimit, sys.setrecursionlimit),
        "the level of logging": (lambda: (logging.root.manager.disable, logging.root.level), _set_logging),
    }
    if (umask := _umask()) is not None:
        found["the umask"] = (lambda: umask), os.umask
    return found


def _set_environment(value: dict[str, str]) -> None:
    for name in os.environ.keys() - value.keys():
        del os.environ[name]
    os.environ.update(value)


def _working_folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was deleted
        return ""


def _set_working_folder(value: str) -> None:
    if value:
        os.chdir(value)


def _set_warnings(value: list[Any]) -> None:
    warnings.resetwarnings()  # so that Python notices
    # A list, which the type stubs declare as a sequence.
    warnings.filters[:] = value  # type: ignore[index]


def _set_logging(value: tuple[int, int]) -> None:
    logging.disable(value[0])
    logging.root.setLevel(value[1])


def _umask() -> int | None:
    """Return the umask; None where it can be read by changing it only, which other threads would see."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            return next((int(line.split()[1], 8) for line in status if line.startswith("Umask:")), None)
    except OSError:
        return None


def _torch_settings(torch: Any) -> dict[str, Setting]:
    from torch.nn.modules import module

    hooks = {name: value for name, value in vars(module).items() if name.startswith("_global_") and name.endswith("s")}
    hooks = {name: value for name, value in hooks.items() if isinstance(value, dict)}

    def set_hooks(value: dict[str, dict[Any, Any]]) -> None:
        for name, content in value.items():
            hooks[name].clear()
            hooks[name].update(content)

    def set_autocast(value: dict[str, bool]) -> None:
        for device, enabled in value.items():
            torch.set_autocast_enabled(device, enabled)

    return {
        "torch's default type": (torch.get_default_dtype, torch.set_default_dtype),
        # "cpu" is also what torch answers where none is set, and setting it would slow every call down.
        "torch's default device": (
            # Not torch.get_default_device, which raises after set_default_device(None) in torch 2.6.
            lambda: str(torch.empty(0).device),
            lambda value: torch.set_default_device(None if value == "cpu" else value),
        ),
        "torch's number of threads": (torch.get_num_threads, torch.set_num_threads),
        "torch's use of deterministic algorithms": (
            lambda: (
                torch.are_deterministic_algorithms_enabled(),
                torch.is_deterministic_algorithms_warn_only_enabled(),
            ),
            lambda value: torch.use_deterministic_algorithms(value[0], warn_only=value[1]),
        ),
        "torch's precision of float32": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        "torch's recording of gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
        "torch's search for anomalies": (
            lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
            lambda value: torch.set_anomaly_enabled(*value),
        ),
        "torch's autocast": (
            lambda: {device: torch.is_autocast_enabled(device) for device in ("cpu", "cuda")},
            set_autocast,
        ),
        # Of numbers too small for a normal mantissa; the processor has one switch for all code of a thread.
        "the treatment of denormal numbers": (_denormals_are_zero, torch.set_flush_denormal),
        "the settings of cuDNN": _attributes(
            torch.backends.cudnn, "enabled", "benchmark", "deterministic", "allow_tf32"
        ),
        "the settings of cuBLAS": _attributes(
            torch.backends.cuda.matmul,
            "allow_fp16_reduced_precision_reduction",
            "allow_bf16_reduced_precision_reduction",
        ),
        "the settings of oneDNN": _attributes(torch.backends.mkldnn, "enabled", "deterministic"),
        "the hooks of all modules": (lambda: {name: dict(value) for name, value in hooks.items()}, set_hooks),
    }


def _attributes(of: Any, *names: str) -> Setting:
    """Return some attributes as one setting, as far as this version of torch has them."""
    there = [name for name in names if hasattr(of, name)]

    def write(value: dict[str, Any]) -> None:
        for name, one in value.items():
            setattr(of, name, one)

    return (lambda: {name: getattr(of, name) for name in there}), write


def _denormals_are_zero() -> bool:
    smallest = sys.float_info.min
    return smallest / 2 == 0.0


def _generators() -> Iterator[Setting]:
    """Yield how the state of each shared generator of random numbers is read and set."""
    yield random.getstate, random.setstate
    numpy, torch = sys.modules.get("numpy.random"), sys.modules.get("torch")
    if numpy is not None and hasattr(numpy, "set_state"):
        yield numpy.get_state, numpy.set_state
    if torch is not None and hasattr(torch, "set_rng_state"):
        yield torch.get_rng_state, torch.set_rng_state
        if hasattr(torch, "cuda") and torch.cuda.is_initialized():
            yield torch.cuda.get_rng_state_all, torch.cuda.set_rng_state_all


@contextlib.contextmanager
def _noted_at_import(values: dict[str, Any]) -> Iterator[None]:
    """Add to some values the settings of a library that is imported meanwhile, as they are right after its import."""
    finder = _Noting(values)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Noting(MetaPathFinder):
    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in ("numpy", "torch"):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_note(module: ModuleType) -> None:
            execute(module)
            for name, (read, _) in _settings().items():
                self._values.setdefault(name, read())

        spec.loader.exec_module = execute_and_note  # type: ignore[method-assign]  # of this one import
        return spec
