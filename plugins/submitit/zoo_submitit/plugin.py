"""Launchers on top of submitit: job arrays of Slurm, and the same jobs as processes of this machine."""

import shutil

from zoo.hookspecs import hookimpl
from zoo.specs import LauncherSpec

_SHARED = {
    "folder": "folder of scripts, pickles and logs of the jobs, on a disk that all nodes share; empty: STORE/submitit",
    "setup": "lines of the shell that come before the cell, such as 'module load cuda; export NCCL_DEBUG=INFO'",
    "poll_seconds": "interval in seconds at which the states of all jobs are read",
}

_CHECKS = ("jobs-end", "bad-ends-have-reasons", "jobs-can-be-cancelled", "handles-outlive", "job-can-run-again")
ZOO_EXCUSED_CHECKS = (
    {} if shutil.which("sbatch") else {"submitit/slurm": dict.fromkeys(_CHECKS, "this machine has no Slurm")}
)


@hookimpl
def zoo_launchers() -> list[LauncherSpec]:
    """Return the launchers."""
    return [
        LauncherSpec(
            id="submitit/slurm",
            target="zoo_submitit.slurm:SlurmLauncher",
            summary="cells as job arrays of Slurm, requeued after preemption and time limits",
            options={
                "partition": "", "account": "", "qos": "", "constraint": "", "array_parallelism": 256,
                "signal_seconds": 90, "requeues": 20, "sbatch": "", "folder": "", "setup": "", "poll_seconds": 30.0,
            },
            meanings={
                "partition": "partition; empty: the default one of the cluster. See: sinfo",
                "account": "account that is charged; empty: your default one",
                "qos": "quality of service; empty: your default one",
                "constraint": "features that a node must have, such as 'a100' or 'a100|h100'",
                "array_parallelism": "cells of an array that run at a time",
                "signal_seconds": "seconds before the time limit at which a cell writes its checkpoint",
                "requeues": "times that Slurm starts a job again by itself after a time limit or a preemption",
                "sbatch": "further options of sbatch, such as '--exclude=n1 --reservation=lens'",
                **_SHARED,
            },
            requires=("submitit",),
            outlives=True,
        ),
        LauncherSpec(
            id="submitit/without_slurm",
            target="zoo_submitit.processes:ProcessLauncher",
            summary="the same jobs as processes of this machine, all at once: to try a command without Slurm",
            options={"folder": "", "setup": "", "poll_seconds": 1.0},
            meanings=_SHARED,
            requires=("submitit",),
        ),
    ]  # fmt: skip
