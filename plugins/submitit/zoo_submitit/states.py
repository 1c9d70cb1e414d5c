"""States of jobs: what squeue and sacct print, and what it means for a user."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from zoo.run.launcher import JobState, Reason

ACTIVE: Mapping[str, str] = MappingProxyType({
    "PENDING": "waiting", "CONFIGURING": "waiting", "REQUEUED": "waiting", "REQUEUE_HOLD": "waiting",
    "REQUEUE_FED": "waiting", "RESV_DEL_HOLD": "waiting", "SPECIAL_EXIT": "waiting", "SUSPENDED": "waiting",
    "RUNNING": "running", "COMPLETING": "running", "RESIZING": "running", "SIGNALING": "running",
    "STAGE_OUT": "running", "STOPPED": "running",
})  # fmt: skip
"""State of Slurm -> kind, of jobs that have not ended."""
ENDS: Mapping[str, tuple[Reason, str]] = MappingProxyType({
    "COMPLETED": ("ok", ""),
    "FAILED": ("failed", "Slurm saw it fail"),
    "TIMEOUT": ("timeout", "time limit; more: --launcher-set minutes=NUMBER"),
    "DEADLINE": ("timeout", "it reached its deadline"),
    "OUT_OF_MEMORY": ("oom", "memory exhausted; more: --launcher-set memory_gb=NUMBER"),
    "NODE_FAIL": ("node", "its node failed"),
    "BOOT_FAIL": ("node", "its node did not boot"),
    "PREEMPTED": ("preempted", "preempted by another job"),
    "CANCELLED": ("cancelled", "cancelled in Slurm"),
    "REVOKED": ("cancelled", "revoked by Slurm"),
})  # fmt: skip
"""State of Slurm -> reason and words, of jobs that have ended."""
WRITTEN = ("COMPLETED", "FAILED")
"""Ends of which the file of the node holds more than Slurm reports."""
WAITING: Mapping[str, str] = MappingProxyType({
    "AssocGrpGRES": "the limit of GPUs of its account is reached",
    "AssocMaxJobsLimit": "the limit of jobs of its account is reached",
    "BadConstraints": "no node has the features of constraint=; cancel it, and see: sinfo -o '%P %f'",
    "BeginTime": "Slurm starts it again in a few minutes",
    "Cleaning": "Slurm cleans up after its last start",
    "InvalidAccount": "its account is invalid; cancel it and set account=NAME",
    "InvalidQOS": "its quality of service is invalid; cancel it and set qos=NAME",
    "JobArrayTaskLimit": "array_parallelism of its cells run already",
    "JobHeldAdmin": "an administrator holds it",
    "JobHeldUser": "it is held; release it: scontrol release ID",
    "Licenses": "it waits for a licence",
    "NodeDown": "the nodes that it needs are down",
    "None": "queued",
    "PartitionConfig": "it asks for more than its partition allows; cancel it and ask for less, or set partition=NAME",
    "PartitionDown": "its partition is down",
    "PartitionInactive": "its partition does not start jobs",
    "PartitionNodeLimit": "its partition allows fewer nodes; cancel it and set nodes=NUMBER",
    "PartitionTimeLimit": "its partition allows less time; cancel it and set minutes=NUMBER",
    "Priority": "jobs of higher priority come first",
    "QOSMaxJobsPerUserLimit": "your limit of jobs at a time is reached",
    "QOSMaxGRESPerUser": "your limit of GPUs at a time is reached",
    "ReqNodeNotAvail": "the nodes that it needs are down or reserved",
    "Reservation": "it waits for its reservation",
    "Resources": "it is the next one when its nodes are free",
    "launch failed requeued held": "its node could not start it; see its log, then: scontrol release ID",
})  # fmt: skip
"""Reason of Slurm -> words, of jobs that wait; others are shown as Slurm writes them."""


def squeue_command(arrays: Collection[str]) -> list[str]:
    """Return the command that prints the jobs of arrays, ended ones included as long as the controller keeps them."""
    ids = ",".join(sorted(arrays, key=int))
    return ["squeue", "--noheader", "--array", "--states=all", f"--jobs={ids}", "--format=%i|%T|%N|%r"]


def sacct_command(ids: Collection[str]) -> list[str]:
    """Return the command that prints jobs which have left the queue."""
    listed = ",".join(sorted(ids))
    columns = "JobID,State,NodeList,Reason"
    return ["sacct", "--noheader", "--parsable2", "--allocations", f"--format={columns}", f"--jobs={listed}"]


def rows(text: str) -> dict[str, tuple[str, str, str]]:
    """Return id -> state, nodes and reason, from either command; the last row of a job that was started again."""
    found = {}
    for line in text.splitlines():
        words = [word.strip() for word in line.split("|", 3)]
        if len(words) == 4:
            state = words[1].split()[0] if words[1] else ""  # sacct writes "CANCELLED by 1000"
            found[words[0]] = (state.rstrip("+"), words[2], words[3])
    return found


def state_of(row: tuple[str, str, str]) -> JobState:
    """Return the state that a row stands for."""
    state, nodes, reason = row
    where = f" on {nodes}" if nodes and nodes != "None assigned" else ""
    kind = ACTIVE.get(state)
    if kind == "running":
        return JobState(kind="running", detail=nodes)
    if kind == "waiting" and state == "PENDING":
        return JobState(kind="waiting", detail=waiting_words(reason))
    if kind == "waiting":
        return JobState(kind="waiting", detail=state.lower().replace("_", " "))
    why, words = ENDS.get(state, ("unknown", f"Slurm's state {state}"))
    return JobState(kind="ended", reason=why, detail=f"{words}{where}" if words else nodes)


def waiting_words(reason: str) -> str:
    """Return words for the reason for which a job waits."""
    reason = reason.strip("()")
    name = reason.partition(",")[0]
    return WAITING.get(name, reason)
