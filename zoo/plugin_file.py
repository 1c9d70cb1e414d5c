"""A Python file that takes the place of an installed plugin: its hooks, or, in one without hooks, its networks.

In a file that names no hook, each class and each function is a network: `--model ./net.py:Net` is the model `net/Net`.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from zoo import hookspecs
from zoo.base_spec import ID_PATTERN
from zoo.errors import UsageError, nearest
from zoo.paths import parse_json, regular_file
from zoo.specs import ModelSpec

ARGUMENTS = {
    "in_chans": ("in_chans", "in_channels", "input_channels", "n_channels"),
    "num_classes": ("num_classes", "n_classes", "num_outputs", "n_outputs"),
    "image_size": ("image_size", "img_size", "input_size"),
}
"""What images and task decide -> names that an argument of a class may have for it, the usual ones first."""


def import_file(path: Path) -> ModuleType:
    """Import a Python file as a module of its name.

    Raises:
        ImportError: Another module of this name is loaded already; or another error of the file's own code.
    """
    # The module must be importable by name, since specs name their targets by module.
    folder = str(path.absolute().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    if path.stem in sys.modules:
        module = sys.modules[path.stem]
        if getattr(module, "__file__", None) != str(path.absolute()):
            raise ImportError(f"a module named {path.stem!r} is already loaded; rename the file")
    spec = importlib.util.spec_from_file_location(path.stem, path.absolute())
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


def has_networks_only(path: Path) -> bool:
    """Return whether a file defines or imports classes or functions and names no hook; it is read, not imported."""
    try:
        nodes = [*ast.walk(ast.parse(regular_file(path).read_bytes()))]
    except (OSError, SyntaxError, ValueError, RecursionError):  # its import names the fault
        return False
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    names |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    names |= {alias.name for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom)) for alias in node.names}
    defined = {node.name for node in nodes if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    # Such as `Net = partial(Other, depth=3)` and `from other import Net`.
    brought = any(
        isinstance(node, ast.ImportFrom) or (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call))
        for node in nodes
    )
    hooks = {name for name in vars(hookspecs) if name.startswith("zoo_")} | {"hookimpl", "HookimplMarker", "*"}
    return (brought or bool(defined)) and not (names | defined) & hooks


def networks_of(path: Path) -> ModuleType:
    """Return a plugin whose models are the classes and functions of a file, which is imported when one is used."""
    plugin = ModuleType(f"{__name__}.{path.stem}")
    imported: dict[tuple[int, int], ModuleType] = {}

    @hookspecs.hookimpl
    def zoo_resolve_model(name: str) -> ModelSpec:
        status = path.stat()
        state = status.st_mtime_ns, status.st_size
        if state not in imported:  # edited, as in a notebook
            imported[state] = import_file(path)
        return _spec(path, imported[state], name.partition("/")[2])

    vars(plugin)["zoo_resolve_model"] = zoo_resolve_model
    return plugin


def _spec(path: Path, module: ModuleType, attribute: str) -> ModelSpec:
    """Return the spec of a class or function of a file.

    Raises:
        UsageError: The file does not define it, or it has an argument that cannot be given.
    """
    if not ID_PATTERN.fullmatch(f"{path.stem.lower()}/{attribute}"):
        raise UsageError(
            f"{path.name}: '{path.stem.lower()}/{attribute}' cannot be the id of a network.",
            hint="Use the letters a to z, digits and underscores in the names of the file and the class",
        )
    target = getattr(module, attribute, None)
    if not callable(target):
        own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
        raise UsageError(
            f"{path} defines no class or function '{attribute}'.{nearest(attribute, own)}",
            hint=f"It defines: {', '.join(own) or 'none'}",
        )
    shaped, defaults = _arguments(target), {}
    for name, parameter in inspect.signature(target).parameters.items():
        if name in shaped or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.default is parameter.empty or parameter.kind is parameter.POSITIONAL_ONLY:
            known = "; ".join(f"{meaning} ({', '.join(names)})" for meaning, names in ARGUMENTS.items())
            raise UsageError(
                f"{path}: {attribute} has the argument '{name}', for which zoo has no value.",
                hint=f"Give it a default, or one of the names of {known}.",
            )
        with contextlib.suppress(TypeError, ValueError):  # such as a class, which no setting can state
            defaults[name] = _plain(parameter.default)
    return ModelSpec(
        id=f"{path.stem.lower()}/{attribute}",
        target=f"{__name__}:build",
        summary=f"{attribute} of {path.name}",
        arguments={"module": path.stem, "attribute": attribute},
        defaults=defaults,
    )


def _arguments(target: Callable[..., Any]) -> dict[str, str]:
    """Return argument -> what images and task decide, for the arguments of a class or function that have such names."""
    there = inspect.signature(target).parameters
    first = {meaning: next((name for name in names if name in there), "") for meaning, names in ARGUMENTS.items()}
    return {name: meaning for meaning, name in first.items() if name}


def _plain(value: Any) -> Any:
    """Return a default as JSON holds it, with lists for tuples.

    Raises:
        TypeError, ValueError: JSON cannot hold it.
    """
    return parse_json(json.dumps(value, allow_nan=False))


def build(*, module: str, attribute: str, in_chans: int, num_classes: int, image_size: int, **hparams: Any) -> Any:
    """Call a class or function of a file by the names that its arguments have.

    Args:
        module, attribute: Name of the file without its ending, and of the class or function.
        in_chans, num_classes, image_size: Values that images and task decide.
        hparams: Hyper-parameters.
    """
    target = getattr(importlib.import_module(module), attribute)
    decided = {"in_chans": in_chans, "num_classes": num_classes, "image_size": image_size}
    given = {name: decided[meaning] for name, meaning in _arguments(target).items()}
    for name, value in hparams.items():
        # A default stays as it is written: a tuple, say, which a setting cannot state.
        if value != _plain(inspect.signature(target).parameters[name].default):
            given[name] = value
    return target(**given)
