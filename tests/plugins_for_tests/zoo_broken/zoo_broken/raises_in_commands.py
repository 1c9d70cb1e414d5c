"""Fault: the command cannot be imported; seen only when commands are asked for."""

from zoo.hookspecs import hookimpl


@hookimpl
def zoo_commands():
    import zoo_broken.command_that_is_not_there

    return [zoo_broken.command_that_is_not_there.command]
