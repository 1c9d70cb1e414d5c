"""Keeps the settings of torch, NumPy and Python that all share as they are while code of a plugin runs.

A plugin that sets torch's default type, say, would otherwise change the scores of networks that it has no part in.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import logging
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any

logger = logging.getLogger(__name__)

Setting = tuple[Callable[[], Any], Callable[[Any], Any]]
"""Functions that read and set a value."""


@contextlib.contextmanager
def global_state_kept(plugin: str, where: str) -> Iterator[None]:
    """Set everything back that a plugin changes; name changed settings in the log, drawn random numbers not.

    Args:
        plugin: Name of the plugin, for the log.
        where: Place of the call, such as the name of a hook.
    """
    before = {name: read() for name, (read, _) in _settings().items()}
    draws = [(write, read()) for read, write in _generators()]
    with _noted_at_import(before):
        try:
            yield
        finally:
            changed = []
            for name, (read, write) in _settings().items():
                if name in before and (now := read()) != before[name]:
                    write(before[name])
                    changed.append(f"{name} from {before[name]} to {now}")
            for write, state in draws:
                write(state)
            if changed:
                logger.warning("plugin %s changed %s in %s; it was set back", plugin, "; ".join(changed), where)


def _settings() -> dict[str, Setting]:
    """Return name -> setting of the libraries that are loaded."""
    found: dict[str, Setting] = {}
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None and hasattr(numpy, "geterr"):
        found["NumPy's treatment of errors"] = numpy.geterr, lambda value: numpy.seterr(**value)
    if torch is None or not hasattr(torch, "get_default_device"):  # not, or not yet, imported
        return found
    cudnn = torch.backends.cudnn

    def set_cudnn(value: Sequence[bool]) -> None:
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = value

    return found | {
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
        "the settings of cuDNN": (
            lambda: (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32),
            set_cudnn,
        ),
    }


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
