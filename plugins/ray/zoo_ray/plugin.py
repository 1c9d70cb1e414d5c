"""Launchers on Ray: a cluster that runs already, and a Ray of this machine for the time of a command."""

import os

from zoo.hookspecs import hookimpl
from zoo.specs import LauncherSpec

_SHARED = {
    "accelerator_type": "GPU that a node must have, as Ray names it, such as A100; empty: any",
    "custom": "resources of your cluster that a cell takes, such as 'licence=1,fast_disk=0.5'",
    "runtime_env": "Ray's runtime environment of the cells: JSON, or a file of JSON or YAML",
    "stop_seconds": "seconds that a stopped cell has for its checkpoint before it is killed",
    "poll_seconds": "interval in seconds at which the states of all cells are looked at",
}
_DEFAULTS = {"accelerator_type": "", "custom": "", "runtime_env": "", "stop_seconds": 60.0, "poll_seconds": 2.0}

_CHECKS = ("jobs-end", "bad-ends-have-reasons", "jobs-can-be-cancelled", "handles-outlive", "job-can-run-again")
ZOO_EXCUSED_CHECKS = (
    {} if os.environ.get("RAY_ADDRESS") else {"ray/ray": dict.fromkeys(_CHECKS, "RAY_ADDRESS names no cluster")}
)


@hookimpl
def zoo_launchers() -> list[LauncherSpec]:
    """Return the launchers."""
    return [
        LauncherSpec(
            id="ray/ray",
            target="zoo_ray.launcher:RayLauncher",
            summary="cells on a cluster of Ray that runs already; they go on when the command has ended",
            options={"address": "", **_DEFAULTS, "autoscales": False, "look_seconds": 20.0},
            meanings={
                "address": "HOST:PORT of the cluster; empty: RAY_ADDRESS, or the Ray that runs on this machine",
                **_SHARED,
                "autoscales": "whether the cluster adds nodes by itself, so that no request is too large",
                "look_seconds": "seconds for the check of the store on all nodes; 0: no check",
            },
            requires=("ray",),
            outlives=True,
        ),
        LauncherSpec(
            id="ray/this_machine",
            target="zoo_ray.launcher:LocalRayLauncher",
            summary="cells on a Ray that is started on this machine, on the loopback, for the time of the command",
            options=_DEFAULTS,
            meanings=_SHARED,
            requires=("ray",),
        ),
    ]
