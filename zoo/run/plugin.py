"""The core's own plugin: the local launcher and the tasks, registered through the hooks of all plugins."""

from zoo.hookspecs import hookimpl
from zoo.specs import LauncherSpec, TaskSpec
from zoo.tasks.find import CORE_TASKS


@hookimpl
def zoo_launchers() -> list[LauncherSpec]:
    """Return the local launcher."""
    return [
        LauncherSpec(
            id="core/local",
            target="zoo.run.local:LocalLauncher",
            summary="cells on this machine, each in a process of its own, --jobs at a time",
            options={"jobs": 0, "gpu_ids": ""},
            meanings={
                "jobs": "cells at a time, which share the cores; 0: one on each of gpu_ids, or one",
                "gpu_ids": "GPUs as torch counts them, such as 0,1,2,3, of which each cell gets those that it needs",
            },
        )
    ]


@hookimpl
def zoo_tasks() -> list[TaskSpec]:
    """Return the tasks of the core."""
    return list(CORE_TASKS)
