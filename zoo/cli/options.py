"""Makes options of commands from the fields of `Request` and `Where`, where each of them is defined once."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import click

from zoo.cli.complete import COMPLETE
from zoo.errors import UsageError
from zoo.paths import user_path
from zoo.plurals import counted
from zoo.remote import readable_path

F = TypeVar("F", bound=Callable[..., Any])


class _UserPath(click.Path):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(user_path(value), param, ctx)


class _ReadablePath(_UserPath):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(str(readable_path(value)), param, ctx)


READABLE = _ReadablePath(path_type=Path)
"""Type of options for what is read only: a path, or an address such as s3://bucket/folder."""
PATH = _UserPath(path_type=Path)
"""Type of every option and argument that is a path: `~` is replaced, which shells leave as it is in `--store=~/DIR`."""
DEVICE = click.option(
    "--device", default="auto", show_default=True, help="Compute on auto, cpu, cuda or mps.",
    shell_complete=COMPLETE["devices"],
)  # fmt: skip
AVERAGE = click.option(
    "--average", default="none", show_default=True, help="Average over rotated and mirrored images: none, p4 or d4.",
    shell_complete=COMPLETE["averages"],
)  # fmt: skip
SIMULATOR = click.option(
    "--simulator", default="", help="Render the images with this simulator.  [default: see zoo list-simulators]",
    shell_complete=COMPLETE["simulators"],
)  # fmt: skip
RUNS_IN = click.option(
    "--store", default="results", show_default=True, type=PATH, help="Search run ids in this folder.",
    shell_complete=COMPLETE["folder"],
)  # fmt: skip
STORE = click.option(
    "--store", default="results", show_default=True, type=PATH, help="Read the results in this folder.",
    shell_complete=COMPLETE["folder"],
)  # fmt: skip
_MOST_SEEDS = 10_000
_SEVERAL = ("models", "data", "settings", "launcher_settings")
"""Fields whose option may be given several times."""


def options_of(*kinds: type, only: Collection[str] = ()) -> Callable[[F], F]:
    """Return a decorator that gives a command an option for each field that `zoo.plan.request.option` made.

    Args:
        kinds: Dataclasses; of two fields with one name the first counts.
        only: Names of the fields; empty: all.
    """

    def decorate(command: F) -> F:
        made: dict[str, Callable[[F], F]] = {}
        for kind in kinds:
            hints = get_type_hints(kind)
            for one in fields(kind):
                if one.metadata and one.name not in made and (not only or one.name in only):
                    made[one.name] = _option(one, hints[one.name])
        for add in reversed(made.values()):
            command = add(command)
        return command

    return decorate


def _option(one: Field[Any], hint: Any) -> Callable[[F], F]:
    about = one.metadata
    default = one.default if about["shown"] is None else about["shown"]
    keywords: dict[str, Any] = {"help": about["help"], "metavar": about["metavar"]}
    if about["complete"]:
        keywords["shell_complete"] = COMPLETE[about["complete"]]
    if one.name in _SEVERAL:
        keywords["multiple"] = True
    elif hint is bool:
        keywords |= {"is_flag": True} if default is False else {"default": default}
    else:
        keywords |= {"default": default, "show_default": default not in (None, "", MISSING)}
        if hint == int | None:
            keywords["type"] = int
        if Path in get_args(hint):
            keywords["type"] = READABLE if about["remote"] else PATH
    return click.option(about["flag"] or f"--{one.name.replace('_', '-')}", one.name, **keywords)


def value_of(kind: type, values: dict[str, Any]) -> Any:
    """Return a `Request` or `Where` from the values of the options; names that are not fields are left out."""
    names = {one.name for one in fields(kind) if one.metadata}
    return kind(**{name: value for name, value in values.items() if name in names})


def read_seeds(text: str) -> list[int]:
    """Read "0,1,2" or "0-4".

    Raises:
        UsageError: Neither.
    """
    ranges: list[range] = []
    try:
        for part in text.split(","):
            low, dash, high = part.partition("-")
            ranges.append(range(int(low), int(high if dash else low) + 1))
    except ValueError:
        ranges = []
    if not ranges or not all(ranges):
        raise UsageError(f"--seeds {text!r} is not a list of whole numbers.", hint="For example: --seeds 0,1,2 or 0-4")
    # By stop - start: len() of a range beyond 2**63 raises.
    if sum(seeds.stop - seeds.start for seeds in ranges) > _MOST_SEEDS:
        raise UsageError(f"--seeds {text!r} are more than {counted(_MOST_SEEDS, 'seed')}.")
    return [seed for seeds in ranges for seed in seeds]
