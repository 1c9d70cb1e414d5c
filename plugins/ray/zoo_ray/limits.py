"""Needs of cells as Ray counts them, compared with the nodes of a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.errors import UsageError, nearest
from zoo.paths import parse_json, regular_file, user_path
from zoo.run.launcher import Resources

_BUILT_IN = ("CPU", "GPU", "memory", "object_store_memory")
_ENVIRONMENT = (
    "conda", "config", "container", "env_vars", "excludes", "image_uri", "nsight", "pip", "py_executable", "py_modules",
    "uv", "worker_process_setup_hook", "working_dir",
)  # fmt: skip
"""Fields of a runtime environment."""
_ACCELERATOR = "accelerator_type:"


def custom_resources(text: str) -> dict[str, float]:
    """Return the resources in a text such as "licence=1,fast_disk=0.5".

    Raises:
        UsageError: The text has another form.
    """
    found = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = pair.partition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            raise UsageError(
                f"--launcher-set custom={text}: '{pair}' is not of the form NAME=NUMBER.",
                hint="For example: --launcher-set custom=licence=1,fast_disk=0.5",
            ) from None
        if name.strip() in _BUILT_IN or not 0 < found[name.strip()] < float("inf"):
            raise UsageError(f"--launcher-set custom={text}: '{pair}' is impossible; use cpus, gpus and memory_gb.")
    return found


def runtime_environment(text: str) -> dict[str, Any]:
    """Return a runtime environment: JSON, or a file of JSON or YAML.

    Raises:
        UsageError: The text has another form, the file cannot be read, or a field is unknown.
    """
    if not text:
        return {}
    shown = text if text.startswith("{") else f"the file {text}"
    try:
        if text.startswith("{"):
            found = parse_json(text)
        else:
            import yaml  # of Ray's own dependencies

            found = yaml.safe_load(regular_file(Path(user_path(text))).read_text(encoding="utf-8"))
    except Exception as error:  # yaml raises errors of its own
        raise UsageError(
            f"--launcher-set runtime_env: {shown} cannot be read: {error}",
            hint="""For example: --launcher-set 'runtime_env={"env_vars": {"A": "1"}}', or a file of JSON or YAML""",
        ) from error
    if not isinstance(found, dict):
        raise UsageError(f"--launcher-set runtime_env: {shown} holds no mapping of names to values.")
    for name in found:
        if name not in _ENVIRONMENT:
            raise UsageError(
                f"--launcher-set runtime_env: '{name}' is unknown to Ray.{nearest(name, _ENVIRONMENT)}",
                hint=f"Fields: {', '.join(_ENVIRONMENT)}",
            )
    return found


def actor_options(
    resources: Resources, *, accelerator_type: str, custom: Mapping[str, float], runtime_env: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the options of an actor for a cell with these resources, and the bundles of its nodes where it has several
    processes."""
    cpus = (resources.cpus or 1) * resources.tasks_per_node
    found: dict[str, Any] = {"num_cpus": cpus, "num_gpus": resources.gpus}
    if resources.memory_gb is not None:
        found["memory"] = round(resources.memory_gb * 2**30)
    if custom:
        found["resources"] = dict(custom)
    if runtime_env:
        found["runtime_env"] = dict(runtime_env)
    if resources.nodes * resources.tasks_per_node > 1:
        bundle = {"CPU": cpus, "GPU": resources.gpus, "memory": found.get("memory", 0), **custom}
        if accelerator_type:
            bundle[_ACCELERATOR + accelerator_type] = 0.001  # as Ray itself asks for it
        bundle = {name: value for name, value in bundle.items() if value}
        found["bundles"] = [bundle] * resources.nodes
    elif accelerator_type:
        found["accelerator_type"] = accelerator_type
    return found


def check_fits(
    resources: Resources, nodes: Sequence[Mapping[str, float]], *, accelerator_type: str, custom: Mapping[str, float]
) -> None:
    """Refuse what the nodes of the cluster do not have.

    Args:
        resources: Resources that a cell needs.
        nodes: Resources of each node, as Ray names them.
        accelerator_type: Kind of GPU.
        custom: Further resources.

    Raises:
        UsageError: A cell needs more than any node has, or more nodes than have it.
    """
    named = {name for node in nodes for name in node}
    kinds = sorted(name.removeprefix(_ACCELERATOR) for name in named if name.startswith(_ACCELERATOR))
    if accelerator_type and accelerator_type not in kinds:
        raise UsageError(
            f"--launcher-set accelerator_type={accelerator_type}: no node has it.{nearest(accelerator_type, kinds)}",
            hint=f"The cluster has: {', '.join(kinds) or 'none'}",
        )
    names = sorted(name for name in named if name not in _BUILT_IN and ":" not in name)
    for name in custom:
        if name not in named:
            raise UsageError(
                f"--launcher-set custom={name}={custom[name]:g}: no node has '{name}'.{nearest(name, names)}",
                hint=f"The cluster has: {', '.join(names) or 'none'}",
            )
    memory = 0 if resources.memory_gb is None else round(resources.memory_gb * 2**30)
    asked = {"CPU": (resources.cpus or 1) * resources.tasks_per_node, "GPU": resources.gpus, "memory": memory, **custom}
    tasks = resources.tasks_per_node
    each = f" for {tasks} tasks" if tasks > 1 else ""
    said = {"CPU": "cpus", "GPU": "gpus", "memory": "memory_gb"}
    for name, value in asked.items():
        most = max((node.get(name, 0) for node in nodes), default=0)
        if value > most:
            unit = 2**30 if name == "memory" else 1
            of = f"{said.get(name, f'custom={name}')}={value / unit:g}{each if name == 'CPU' else ''}"
            raise UsageError(
                f"--launcher-set {of}: the largest node of the cluster has {most / unit:.4g}.",
                hint="Ask for less; where the cluster adds nodes by itself: --launcher-set autoscales=true",
            )
    fit = sum(all(value <= node.get(name, 0) for name, value in asked.items()) for node in nodes)
    if fit < resources.nodes:
        wanted = ", ".join(f"{said.get(name, name)}" for name, value in asked.items() if value)
        if resources.nodes == 1:
            text = f"No single node of the cluster has all that is requested: {wanted}."
            raise UsageError(text, hint="See: ray status")
        raise UsageError(
            f"--num-nodes {resources.nodes}: of the nodes of the cluster ({len(nodes)}), {fit} can run a part of the "
            f"cell ({wanted}).",
            hint="Ask for fewer or less; where the cluster adds nodes by itself: --launcher-set autoscales=true",
        )
