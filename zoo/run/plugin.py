"""The core's own plugin: the local launcher and the tasks, registered through the same door as everybody's."""

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
            summary="one cell after the other on this machine, each in a process of its own",
        )
    ]


@hookimpl
def zoo_tasks() -> list[TaskSpec]:
    """Return the tasks of the core."""
    return list(CORE_TASKS)
