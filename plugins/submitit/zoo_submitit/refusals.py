"""Errors of sbatch when it refuses a job, in words that a user can act on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

_WORDS: Mapping[str, str] = MappingProxyType({
    "Invalid account": "set --launcher-set account=NAME; yours: sacctmgr show associations user=$USER",
    "Invalid qos": "set --launcher-set qos=NAME; yours: sacctmgr show associations user=$USER format=account,qos",
    "invalid partition": "set --launcher-set partition=NAME; there are those of: sinfo",
    "Invalid feature": "set --launcher-set constraint=NAME; there are those of: sinfo -o '%P %f'",
    "Requested time limit is invalid": "ask for less time: --launcher-set minutes=NUMBER; limits: sinfo -o '%P %l'",
    "violates accounting/QOS policy": "it asks for more than your account or quality of service allows",
    "Memory specification can not be satisfied": "ask for less memory: --launcher-set memory_gb=NUMBER",
    "Invalid generic resource": "the cluster has no GPUs that Slurm counts as gpu: sinfo -o '%P %G'",
    "CPU count per node can not be satisfied": "ask for fewer cores: --launcher-set cpus=NUMBER",
    "More processors requested than permitted": "ask for fewer cores: --launcher-set cpus=NUMBER",
    "Node count specification invalid": "ask for fewer nodes: --launcher-set nodes=NUMBER",
    "Requested node configuration is not available": "no node has all that is requested: gpus, cpus, memory_gb",
    "User's group not permitted to use this partition": "choose another one: --launcher-set partition=NAME",
    "unrecognized option": "check --launcher-set sbatch=...; see: sbatch --help",
})  # fmt: skip
"""Part of an error of sbatch -> what to do."""


def refusal(text: str) -> str | None:
    """Return what to do after an error of sbatch; None for an unknown error, which may pass."""
    return next((words for part, words in _WORDS.items() if part.lower() in text.lower()), None)


def said(text: str) -> str:
    """Return the errors in what sbatch wrote, without its prefixes."""
    lines = [re.sub(r"^.*?(sbatch: )?(error: |allocation failure: )", "", line) for line in text.splitlines()]
    return "; ".join(dict.fromkeys(line.strip() for line in lines if line.strip()))
