"""Random command lines: valid options with nasty values, unknown ones, words in the wrong place."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import click
from jobs import Problem, prepare, variables
from zoo_process import Ended, run

NASTY = (
    "", " ", "-1", "0", "1e999", "nan", "inf", "99999999999999999999", "0x10", "½", "💥", "../../..", "~nobody/x", "~",
    "/", "/dev/null", "/dev/zero", "/proc/self/mem", "a" * 300, "\x1b[2J", "[/red]", "[bold]x", "=cmd()", "%s%n", "{0}",
    "a=b=c", "data.snr", "=", "data.=1", "*", "?", "**/*", "[a", "core/", "/p4m", "p4m,,p4m", "p4m\n", "0-4", "4-0",
    "0-1000000000", "1:0", "0:0", "-1:4", "U(1", "U(1,0)", "null", "true", "[]", "{}", "\\", "'", '"', "--", "-", "-h",
    "store", "weights.safetensors", "pictures", "pictures/000.npy", "hf://", "hf://a/b/c/d", "http://127.0.0.1:9/x",
    "file:///etc/passwd", "cuda", "cuda:99", "bf16",
)  # fmt: skip
SECONDS_EACH = 300.0  # `zoo plugins --errors` imports everything that is installed
# Commands that may rightly take longer than a fuzzed line should, with the options that keep them short.
SHORT: dict[str, tuple[str, ...]] = {
    "bench": ("--dry-run",),
    "tune": ("--trials", "1"),
    "simulate": ("-n", "8"),
}
LEFT_OUT = ("rerun", "run-cell", "push", "tune")


def command_lines(count: int, problem: Problem, *, seed: int = 0) -> Iterator[tuple[str, ...]]:
    """Yield random command lines of every command of `zoo`; the same seed gives the same lines."""
    from zoo.cli import cli

    rng = random.Random(seed)
    good = {
        "--model": problem.model, "--data": problem.data, "--budget": "smoke", "--device": "cpu", "--store": "store",
        "--seed": "1", "--seeds": "0,1", "--split": "test", "--task": "regress:colour",
    }  # fmt: skip
    commands = list(_commands(cli, click.Context(cli), ()))
    for _ in range(count):
        words, command = rng.choice(commands)
        line = list(words)
        for parameter in rng.sample(command.params, k=min(len(command.params), rng.randrange(1, 5))):
            if isinstance(parameter, click.Argument):
                line += [rng.choice(NASTY) for _ in range(rng.randrange(1, 3))]
            elif isinstance(parameter, click.Option):
                name = rng.choice(parameter.opts)
                line.append(name if rng.random() < 0.95 else name[:-1])
                if not (parameter.is_flag or parameter.count):
                    line.append(good[name] if name in good and rng.random() < 0.4 else rng.choice(NASTY))
        yield (*line, *SHORT.get(words[-1], ()))


def _commands(
    group: click.Group, ctx: click.Context, words: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if isinstance(command, click.Group):
            yield from _commands(command, ctx, (*words, name))
        elif command is not None and name not in LEFT_OUT:
            yield (*words, name), command


def fuzz(problem: Problem, room: Path, count: int, *, seed: int = 0) -> Iterator[Ended]:
    """Run random command lines in a prepared folder and yield how each ended."""
    prepare(problem, room / "prepared")
    for line in command_lines(count, problem, seed=seed):
        yield run(line, room / "prepared", variables(problem), seconds=SECONDS_EACH)
