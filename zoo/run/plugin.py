"""The core's own plugin: the local launcher, registered through the same door as everybody's."""

from zoo.hookspecs import hookimpl
from zoo.specs import LauncherSpec


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
