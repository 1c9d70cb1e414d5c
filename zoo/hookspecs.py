"""Every hook that a plugin may implement. This module costs pluggy and the standard library only.

A plugin is a module named in the entry-point group `zoo.plugins`. It implements any of these functions,
each marked `@hookimpl`; leave out the arguments that you do not use. pluggy calls them: `tryfirst`, `trylast` and
`wrapper` work as in its documentation.

Hooks that return something are called for one plugin at a time, so order and wrappers concern that plugin's own
implementations. Events (`EVENTS`) return nothing and are one call for all plugins: the plugin that was registered last
comes first, and a wrapper runs around the implementations of all others. Each implementation gets its own copy of the
arguments; an exception is logged, and the other implementations still run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from pathlib import Path

    from click import Command

    from zoo.specs import (
        AugmentationSpec,
        ChannelSpec,
        DatasetSpec,
        LauncherSpec,
        LossSpec,
        MetricSpec,
        ModelSpec,
        OptimizerSpec,
        SimulatorSpec,
        TaskSpec,
    )

PROJECT = "zoo"
API_VERSION = 1
"""Raised when a hook changes. A plugin may state `ZOO_API_VERSION = 1`, the version that it is written for."""
OLDEST_API_VERSION = 1
"""Earliest version whose plugins still work; raised when a change means that they cannot."""
EVENTS = ("zoo_run_started", "zoo_epoch_ended", "zoo_run_finished")

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


def check_api(wanted: object, distribution: str) -> None:
    """Compare the version of the plugin interface that a plugin is written for with those that zoo offers.

    Raises:
        ImportError: The plugin is too new or too old; the error names what to upgrade.
    """
    newest, oldest = API_VERSION, OLDEST_API_VERSION
    if type(wanted) is not int:
        raise ImportError(f"ZOO_API_VERSION must be a whole number, such as {newest}, not {wanted!r:.100}")
    if wanted > newest:
        raise ImportError(
            f"it needs plugin API {wanted}; this zoo offers {newest}. Upgrade zoo: pip install -U lens-zoo"
        )
    if wanted < oldest:
        raise ImportError(
            f"it is written for plugin API {wanted}; this zoo offers {oldest} to {newest}. Upgrade: pip "
            f"install -U {distribution}"
        )


@hookspec
def zoo_models() -> list[ModelSpec]:  # type: ignore[empty-body]
    """Return the networks that this plugin offers."""


@hookspec(firstresult=True)
def zoo_resolve_model(name: str) -> ModelSpec | None:
    """Return a spec for a model that is not listed one by one, or None if it is not yours.

    Args:
        name: The full id as the user wrote it, such as "timm/resnet26d".
    """


@hookspec
def zoo_datasets() -> list[DatasetSpec]:  # type: ignore[empty-body]
    """Return the populations and image sets that this plugin offers."""


@hookspec
def zoo_simulators() -> list[SimulatorSpec]:  # type: ignore[empty-body]
    """Return the lens simulators that this plugin offers."""


@hookspec
def zoo_channels() -> list[ChannelSpec]:  # type: ignore[empty-body]
    """Return the channels that this plugin computes from images, for `--set data.channels=image,NAME`."""


@hookspec
def zoo_launchers() -> list[LauncherSpec]:  # type: ignore[empty-body]
    """Return the ways to run cells that this plugin offers."""


@hookspec
def zoo_metrics() -> list[MetricSpec]:  # type: ignore[empty-body]
    """Return additional scores, computed from the stored test predictions of every run."""


@hookspec
def zoo_augmentations() -> list[AugmentationSpec]:  # type: ignore[empty-body]
    """Return the random changes of training images that this plugin offers."""


@hookspec
def zoo_losses() -> list[LossSpec]:  # type: ignore[empty-body]
    """Return the losses that this plugin offers for the training."""


@hookspec
def zoo_optimizers() -> list[OptimizerSpec]:  # type: ignore[empty-body]
    """Return the optimisers that this plugin offers."""


@hookspec
def zoo_tasks() -> list[TaskSpec]:  # type: ignore[empty-body]
    """Return the tasks that this plugin offers: questions that `--task` selects."""


@hookspec
def zoo_commands() -> list[Command]:  # type: ignore[empty-body]
    """Return click commands to be added to `zoo`."""


@hookspec
def zoo_run_started(cell: dict[str, Any], run_dir: Path) -> None:
    """A cell starts to run, in the process that runs it.

    Args:
        cell: The content of cell.json.
        run_dir: Folder that the files of the run are written to.
    """


@hookspec
def zoo_epoch_ended(cell: dict[str, Any], run_dir: Path, epoch: int, metrics: dict[str, float]) -> None:
    """An epoch ended.

    Args:
        cell: The content of cell.json.
        run_dir: Folder that the files of the run are written to.
        epoch: Counted from 1.
        metrics: Values of train_loss, val_loss, lr, seconds, and of the task's own, such as val_auc and val_accuracy.
    """


@hookspec
def zoo_run_finished(cell: dict[str, Any], run_dir: Path, result: dict[str, Any]) -> None:
    """A cell ended, successfully or not.

    Args:
        cell: The content of cell.json.
        run_dir: Folder that the files of the run are written to.
        result: The content of result.json.
    """
