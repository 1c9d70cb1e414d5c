"""The processes that train one network together, read from the environment of each."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.errors import MissingError, UsageError
from zoo.plurals import counted

if TYPE_CHECKING:
    from zoo.results.cell import Cell

RANK_VARIABLE = "ZOO_RANK"
"""Set for the processes that `zoo.run.together` starts."""
OWN_ERROR = 70
"""Exit code of a process other than the first that failed with an error which may be its own."""
MOST_PROCESSES = 1024


@dataclass(frozen=True, kw_only=True)
class Team:
    """The processes that train one network, seen from one of them.

    Args:
        devices: Processes on each node, one a device.
        num_nodes: Machines.
        rank: Rank of this process, from 0; the first one alone writes files.
        started_by: "zoo", "torchrun" or "slurm"; empty in the process that has yet to start them, or is alone.
    """

    devices: int = 1
    num_nodes: int = 1
    rank: int = 0
    started_by: str = ""

    @property
    def size(self) -> int:
        """Number of processes."""
        return self.devices * self.num_nodes

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0


ALONE = Team()


def find_team(*, devices: int = 1, num_nodes: int = 1, environment: Mapping[str, str] = os.environ) -> Team:
    """Return the requested team, and this process's place in it if its processes have been started already.

    torchrun and Slurm's srun start a process for each device, on all nodes; without them zoo starts those of
    this machine itself.

    Args:
        devices, num_nodes: Numbers of the request.
        environment: Variables.

    Raises:
        UsageError: The numbers are impossible or differ from those of the processes that were started.
    """
    for option, value in (("devices", devices), ("num-nodes", num_nodes)):
        if type(value) is not int or not 1 <= value <= MOST_PROCESSES:
            raise UsageError(f"--{option} {value!r} must be a whole number from 1 to {MOST_PROCESSES}.")
    team = Team(devices=devices, num_nodes=num_nodes)
    if team.size == 1:
        return team
    for started_by, marker, rank, size in (
        ("zoo", RANK_VARIABLE, RANK_VARIABLE, "WORLD_SIZE"),
        ("torchrun", "TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE"),
        # Not SLURM_NTASKS, which also stands in a batch script that starts no process for each task.
        ("slurm", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    ):
        if marker not in environment or environment.get(size, "1") == "1":
            continue
        nodes = environment.get("SLURM_STEP_NUM_NODES") if started_by == "slurm" else None
        if int(environment[size]) != team.size or nodes not in (None, str(num_nodes)):
            there = counted(int(environment[size]), "process")
            there += "" if nodes is None else f" on {counted(int(nodes), 'node')}"
            raise UsageError(
                f"{started_by} started {there}, but --devices {devices} --num-nodes {num_nodes} are {team.size} on "
                f"{counted(num_nodes, 'node')}.",
                hint="--devices is the number of processes on each node.",
            )
        return Team(devices=devices, num_nodes=num_nodes, rank=int(environment[rank]), started_by=started_by)
    return team


def check_devices(team: Team, device: str) -> None:
    """Refuse a team that this machine has not the devices for, or that needs other machines.

    Raises:
        UsageError: Several processes share a device that allows only one, or no processes were started on other nodes.
        MissingError: The number of GPUs is smaller than that of processes.
    """
    if team.num_nodes > 1 and not team.started_by:
        raise UsageError(
            f"--num-nodes {team.num_nodes}: no processes were started on the other nodes.",
            hint=f"With Slurm: srun --nodes={team.num_nodes} --ntasks-per-node={team.devices} zoo bench ...; or "
            "torchrun, --launcher slurm, --launcher ray.",
        )
    if team.devices == 1 or device == "cpu":
        return
    if device != "cuda":
        raise UsageError(f"--devices {team.devices}: {device} has one device.", hint="Leave out --devices.")
    import torch

    count = torch.cuda.device_count()
    if count < team.devices:
        raise MissingError(
            f"--devices {team.devices}: this machine shows {counted(count, 'GPU')}.",
            hint=f"Try: --devices {count}; which GPUs are seen: CUDA_VISIBLE_DEVICES, or Slurm's --gpus-per-node",
        )


def lost_another(team: Team, error: Exception) -> bool:
    """Whether an error only says that another process of the team is gone.

    Where zoo has started the processes, their parent knows better.

    Args:
        team: The processes, which are connected.
        error: Error of this one.
    """
    if team.size == 1 or team.started_by == "zoo":
        return False
    import torch

    # Those of gloo are plain errors of Python.
    return any(
        isinstance(one, torch.distributed.DistError) or "/gloo/transport/" in str(one)
        for one in (error, error.__cause__)
    )


def check_batch(processes: int, batch_size: int) -> None:
    """Refuse batches with fewer images than processes.

    Raises:
        UsageError: A process would not have an image.
    """
    if batch_size < processes:
        raise UsageError(
            f"{counted(processes, 'process')} cannot share batches of {counted(batch_size, 'image')}.",
            hint=f"Try: --set batch_size={processes} or more, or fewer --devices",
        )


def check_batches(processes: int, cells: Iterable[Cell]) -> None:
    """Refuse cells whose batches have fewer images than processes.

    Raises:
        UsageError: A process would not have an image.
    """
    for cell in cells:
        if cell.fits_itself:  # the first process does it alone
            continue
        check_batch(processes, min(cell.training["batch_size"], cell.sizes["train"]))
