"""Fabric for one device, or for one of several processes that train a network together."""

from __future__ import annotations

import atexit
import os
from datetime import timedelta
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment
from lightning_fabric.strategies import DDPStrategy

from zoo.devices import Precision
from zoo.errors import UsageError
from zoo.plurals import counted
from zoo.processor import limit_threads
from zoo.train.team import ALONE, Team

FABRIC_PRECISION = {"fp32": "32-true", "tf32": "32-true", "bf16": "bf16-mixed"}

ENVIRONMENTS = {"zoo": LightningEnvironment, "torchrun": TorchElasticEnvironment, "slurm": SLURMEnvironment}
# The first process may simulate for hours while the others wait; a process that dies is noticed by its parent.
LONGEST_WAIT = timedelta(days=2)


def make_fabric(device: torch.device, precision: Precision, team: Team = ALONE) -> Fabric:
    """Return a Fabric for one device, or for this process's place in a team, whose processes then are connected.

    Args:
        device: Device; in a team only its type counts, and `Fabric.device` is that of this process.
        precision: "fp32", "bf16", or "tf32", which lets matrix products of float32 use the tensor cores.
        team: The processes that train together.

    Raises:
        UsageError: The number of processes that were started differs from that of the team.
    """
    limit_threads()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    accelerator: Any = device.type
    kind: Any = FABRIC_PRECISION[precision]
    if team.size == 1:
        # Without an environment Fabric guesses one: a Slurm batch script that asks for several tasks would be taken for
        # one of several processes.
        return Fabric(accelerator=accelerator, devices=1, precision=kind, plugins=[LightningEnvironment()])
    strategy = DDPStrategy(timeout=LONGEST_WAIT)
    if team.started_by == "slurm":
        # Fabric refuses a job that did not state it, or stated another number than its step; the team was compared with
        # the step.
        os.environ["SLURM_NTASKS_PER_NODE"] = str(team.devices)
    try:
        fabric = Fabric(
            accelerator=accelerator,
            devices=team.devices,
            num_nodes=team.num_nodes,
            strategy=strategy,
            precision=kind,
            plugins=[ENVIRONMENTS[team.started_by]()],
        )
        fabric.launch()
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"{counted(team.size, 'process')} cannot be connected: {error}") from error
    atexit.unregister(_disconnect)  # once for all cells
    atexit.register(_disconnect)
    return fabric


def _disconnect() -> None:
    """Close the connection while Python runs: its threads, left to the end of the process, may abort it."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
