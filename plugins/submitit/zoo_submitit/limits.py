"""Nodes of a partition, by sinfo, compared with the needs of jobs."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from zoo.errors import LauncherError, UsageError, nearest
from zoo.run.launcher import Resources
from zoo_submitit import commands

_SINFO = ("sinfo", "--noheader", "--exact", "--format=%P|%l|%D|%c|%m|%G|%f")
_FEATURE = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, kw_only=True)
class Nodes:
    """Nodes of one kind in a partition.

    Args:
        partition: Name of the partition.
        default: Whether it is the default partition.
        minutes: Longest time of a job; None: without a limit, or unknown.
        count: Number of nodes.
        cpus: Cores of each.
        memory_gb: Memory of each in GB.
        gpus: GPUs of each.
        features: Names for constraint=.
    """

    partition: str
    default: bool
    minutes: float | None
    count: int
    cpus: int
    memory_gb: float
    gpus: int
    features: tuple[str, ...]


def check_fits(resources: Resources, *, partition: str, constraint: str) -> None:
    """Refuse what no node of the partition has; without sinfo, nothing is refused.

    Args:
        resources: Resources that a job needs.
        partition: Names, separated by commas; "": the default one.
        constraint: Expression of features.

    Raises:
        UsageError: The partition or a feature is unknown, or a job needs more than its nodes have.
    """
    try:
        nodes = read_nodes(commands.output(_SINFO))
    except LauncherError:
        return
    names = sorted({one.partition for one in nodes})
    # A partition has a line for each kind of its nodes.
    chosen = partition.split(",") if partition else list(dict.fromkeys(one.partition for one in nodes if one.default))
    for name in chosen:
        if nodes and name not in names:
            raise UsageError(
                f"--launcher-set partition={partition}: the cluster has no partition '{name}'.{nearest(name, names)}",
                hint=f"Partitions: {', '.join(names)}",
            )
    there = [one for one in nodes if one.partition in chosen]
    if not there:
        return
    features = sorted({feature for one in there for feature in one.features})
    for word in _FEATURE.findall(constraint):
        if not word.isdecimal() and word not in features:
            raise UsageError(
                f"--launcher-set constraint={constraint}: no node of {_named(chosen)} has the feature '{word}'."
                f"{nearest(word, features)}",
                hint=f"Features: {', '.join(features) or 'none'}",
            )
    _check_numbers(resources, there, of=_named(chosen))


def _check_numbers(resources: Resources, there: Sequence[Nodes], *, of: str) -> None:
    cpus = (resources.cpus or 1) * resources.tasks_per_node
    asked = {"gpus": resources.gpus, "cpus": cpus, "memory_gb": resources.memory_gb or 0}
    most = {name: max(getattr(one, name) for one in there) for name in asked}
    for name, value in asked.items():
        if value > most[name]:
            tasks = f" for {resources.tasks_per_node} tasks" if name == "cpus" and resources.tasks_per_node > 1 else ""
            raise UsageError(
                f"--launcher-set {name}={value:g}{tasks}: the largest node of {of} has {most[name]:g}.",
                hint="Ask for less, or choose another partition; see: sinfo -o '%P %c %m %G'",
            )
    if not any(all(value <= getattr(one, name) for name, value in asked.items()) for one in there):
        wanted = ", ".join(f"{name}={value:g}" for name, value in asked.items() if value)
        raise UsageError(f"No single node of {of} has {wanted}.", hint="See: sinfo -o '%P %c %m %G'")
    count = sum(one.count for one in there)
    if resources.nodes > count:
        raise UsageError(f"--launcher-set nodes={resources.nodes}: {of} has {count}.")
    limits = [one.minutes for one in there]
    if resources.minutes is not None and None not in limits:
        longest = max(limit for limit in limits if limit is not None)
        if resources.minutes > longest:
            raise UsageError(
                f"--launcher-set minutes={resources.minutes:g}: {of} allows {longest:g}.",
                hint=f"Try: --launcher-set minutes={longest:g}; a cell that needs longer goes on in its next job",
            )


def read_nodes(text: str) -> list[Nodes]:
    """Return the nodes that sinfo lists; lines of another form are left out."""
    found = []
    for line in text.splitlines():
        words = [word.strip() for word in line.split("|")]
        if len(words) != 7:
            continue
        with contextlib.suppress(ValueError):
            found.append(
                Nodes(
                    partition=words[0].rstrip("*"),
                    default=words[0].endswith("*"),
                    minutes=_minutes(words[1]),
                    count=int(words[2]),
                    cpus=int(words[3].rstrip("+")),
                    memory_gb=int(words[4].rstrip("+")) / 1024,
                    gpus=_gpus(words[5]),
                    features=() if words[6] == "(null)" else tuple(words[6].split(",")),
                )
            )
    return found


def _minutes(text: str) -> float | None:
    """Return a time such as 2-12:00:00 in minutes; None for "infinite"."""
    if not text[:1].isdigit():
        return None
    days, _, rest = text.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    seconds = sum(part * 60**place for place, part in enumerate(reversed(parts)))
    return int(days or 0) * 1440 + seconds / 60


def _gpus(text: str) -> int:
    """Return the number of GPUs in a text such as gpu:a100:4(S:0-1),gpu:2."""
    counts = re.findall(r"(?:^|,)gpu(?::[^:,(]*)?:(\d+)", text)
    return sum(map(int, counts))


def _named(partitions: Sequence[str]) -> str:
    return f"partition {partitions[0]}" if len(partitions) == 1 else f"partitions {', '.join(partitions)}"
