"""Looks from every node at the store and at the version of zoo, before anything is queued."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Any


def view(path: str) -> dict[str, Any]:
    """Return what this node sees; it runs on a worker.

    Args:
        path: Path of a file that the submitting machine has just written.
    """
    from importlib.metadata import version

    return {"host": platform.node(), "sees": os.path.exists(path), "zoo": version("lens-zoo")}


def look(path: str, runtime_env: Mapping[str, Any], seconds: float) -> list[dict[str, Any]]:
    """Return the view of every node that could run a cell, or its error; those that do not answer in time are left out.

    Args:
        path: Path of a file.
        runtime_env: Runtime environment of the cells.
        seconds: Time for all answers.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote = ray.remote(view)
    asked = {
        remote.options(
            num_cpus=0, max_retries=0, runtime_env=dict(runtime_env) or None,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False),
        ).remote(path): node["NodeManagerAddress"]
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU", 0) >= 1
    }  # fmt: skip
    ready, late = ray.wait(list(asked), num_returns=len(asked), timeout=seconds) if asked else ([], [])
    for one in late:
        ray.cancel(one, force=True)
    found = []
    for one in ready:
        try:
            found.append(ray.get(one))
        except Exception as error:
            found.append({"host": asked[one], "error": str(error)})
    return found
