"""Compares what a cell was planned with, plugins, files and images, with what is there when it runs."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from zoo import provenance, registry
from zoo.data.content import check_content
from zoo.data.folder import folder_digest
from zoo.errors import DataError
from zoo.plan.parts import ids_of
from zoo.results.cell import Cell
from zoo.specs import ModelSpec

if TYPE_CHECKING:
    from zoo.host import Host


def check_versions(host: Host, planned: Mapping[str, str], *ids: str | None) -> None:
    """Compare the versions that work was planned with and those that are loaded.

    Args:
        host: The plugins.
        planned: Distribution -> version.
        ids: Ids of what takes part.

    Raises:
        DataError: Another version of the core or of a plugin.
    """
    loaded = provenance.installed_versions(host, *ids)
    for name, version in planned.items():
        if name in loaded and loaded[name] != version:
            raise DataError(
                f"The run was planned with {name} {version}; {platform.node()} has {loaded[name]}.",
                hint="Install one version on the machine that plans and on those that run, and repeat the command.",
            )


def check_unchanged(host: Host, cell: Cell, *, images: Path | None) -> None:
    """Compare what a cell was planned with and what is there now; images are compared when they are opened.

    Args:
        host: The plugins.
        cell: Cell that is to be run.
        images: Folder of simulated images, or None.

    Raises:
        DataError: Another version of a plugin, or other files or images at a path.
    """
    check_versions(host, cell.versions, *ids_of(cell))
    spec = registry.find(host, ModelSpec, cell.model)
    if spec.fits_itself != cell.fits_itself:
        raise DataError(
            f"The run was planned {'for' if cell.fits_itself else 'without'} a fit of {cell.model} by itself; the "
            "installed one differs.",
            hint="Plan it again: repeat the command that made the plan.",
        )
    check_content(cell.hparams, spec.paths, cell.content, what=cell.model)
    if cell.images and images is None:
        raise DataError(
            f"The run {cell.run_id} was planned with a folder of images, which is not given.",
            hint="Add: --images DIR",
        )
    for split, digest in cell.images.items():
        if images is not None and folder_digest(images, split, cell.sizes[split]) != digest:
            raise DataError(
                f"The {split} images in {images} are not those that the run was planned with.",
                hint="Plan it again: repeat the command that made the plan.",
            )
