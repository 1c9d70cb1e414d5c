"""Place and manner of runs: device, folder of images, processes. One value for command line, Python and launchers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.devices import note_on_auto, note_on_precision, note_on_processes, planned_device, resolve_device
from zoo.plan.request import option
from zoo.train.team import Team, find_team

if TYPE_CHECKING:
    from zoo.host import Host
    from zoo.results.cell import Cell


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where and how cells are run; nothing in it changes what they are.

    Args:
        device: "auto", "cpu", "cuda" or "mps".
        images: Folder of the simulated images; None for the cache, which is filled.
        force: Whether cells that have a result are run again.
        devices: Processes on each node that train one network together, one for each device.
        num_nodes: Nodes that train one network together.
        plugins: Files of plugins that the process of a cell loads.
    """

    device: str = option("auto", "Compute on this device: auto, cpu, cuda or mps.", complete="devices")
    images: Path | None = option(None, "Read images made by zoo simulate.", metavar="DIR", remote=True)
    force: bool = option(False, "Run cells again that are already stored.")
    devices: int = option(1, "Train each network on this many GPUs (or CPU processes) of a node.")
    num_nodes: int = option(1, "Train each network on this many nodes, by srun, torchrun or a launcher.")
    plugins: Sequence[str] = ()

    def team(self, **environment: Any) -> Team:
        """Return the processes that train one network, seen from this one; arguments as for `find_team`."""
        return find_team(devices=self.devices, num_nodes=self.num_nodes, **environment)

    def resolved(self, host: Host, *, here: bool = True) -> Where:
        """Return the value for another process: the device chosen, absolute paths, the host's plugin files.

        Args:
            host: The plugins.
            here: Whether that process runs on this machine, which then must have the device.

        Raises:
            UsageError: The device is unknown.
            MissingError: This machine does not have the device.
        """
        files = [record.distribution for record in host.records.values() if record.version == "file"]
        return replace(
            self,
            device=(resolve_device if here else planned_device)(self.device),
            images=None if self.images is None else self.images.absolute(),
            plugins=tuple(str(Path(file).absolute()) for file in files),
        )

    def notes(self, cells: Sequence[Cell]) -> list[str]:
        """Return sentences on device and precision that cells are planned for."""
        trained = {cell.precision for cell in cells if not cell.fits_itself}
        own_fits = {cell.precision for cell in cells if cell.fits_itself}
        about = (note_on_auto(self.device), note_on_precision(self.device, trained, own_fits=own_fits))
        return [note for note in about if note]

    def note_on_team(self, cells: Sequence[Cell]) -> str:
        """Return a sentence on the processes of a team that cells are planned for without a GPU, or ""."""
        trained = any(not cell.fits_itself for cell in cells)
        return note_on_processes(self.device, self.devices * self.num_nodes) if trained else ""

    def to_argv(self) -> list[str]:
        """Return the options of `zoo run-cell`; what has its default is left out, but for the device."""
        words = ["--device", self.device]
        for one in fields(self):
            value = getattr(self, one.name)
            if not one.metadata or one.name == "device" or value == one.default:
                continue
            flag = f"--{one.name.replace('_', '-')}"
            words += [flag] if value is True else [flag, str(value)]
        return words

    def command(self, cell: Path) -> tuple[str, ...]:
        """Return the command that runs a cell in a process of its own.

        Args:
            cell: Path of cell.json.
        """
        plugins = [word for file in self.plugins for word in ("--plugin", file)]
        return (sys.executable, "-m", "zoo", *plugins, "run-cell", str(cell.absolute()), *self.to_argv())
