"""Damage every kind of file of stores, image folders, studies and caches; run the commands that read it.

A damage is *named* if a command that fails, or a warning, states the file, its run or its study, *mended* if the
commands end as they did before the damage. It was *read as good* if a command succeeds with another answer than before,
or if `zoo verify` passes.
"""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jobs import Problem, checked, variables
from kinds import GROUPS, Kind
from zoo_process import Ended, run


def _truncate(file: Path, other: Path, rng: random.Random) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: rng.randrange(max(1, len(content)))])


def _flip(file: Path, other: Path, rng: random.Random) -> None:
    content = bytearray(file.read_bytes() or b"x")
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    stamp = file.stat()
    file.write_bytes(content)
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def _empty(file: Path, other: Path, rng: random.Random) -> None:
    file.write_bytes(b"")


def _folder(file: Path, other: Path, rng: random.Random) -> None:
    file.unlink()
    file.mkdir()


def _loop(file: Path, other: Path, rng: random.Random) -> None:
    file.unlink()
    file.symlink_to(file.name)


def _fifo(file: Path, other: Path, rng: random.Random) -> None:
    file.unlink()
    os.mkfifo(file)


def _other(file: Path, other: Path, rng: random.Random) -> None:
    shutil.copy2(other, file)


def _unreadable(file: Path, other: Path, rng: random.Random) -> None:
    file.chmod(0)


def _remove(file: Path, other: Path, rng: random.Random) -> None:
    file.unlink()


DAMAGES: dict[str, Callable[[Path, Path, random.Random], None]] = {
    "truncated": _truncate, "one bit flipped": _flip, "emptied": _empty, "a folder": _folder, "a link loop": _loop,
    "a FIFO": _fifo, "another one's": _other, "unreadable": _unreadable, "removed": _remove,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Damage:
    """One damaged file and what the commands made of it.

    Args:
        kind: Name of the kind of file.
        damage: Name of the damage.
        verdict: "named", "mended" or "wrong".
        wrong: What went wrong, in words; empty: nothing.
    """

    kind: str
    damage: str
    verdict: str
    wrong: tuple[str, ...]


def damages(
    problem: Problem,
    room: Path,
    *,
    seed: int = 0,
    only: tuple[str, ...] = (),
    chosen: tuple[str, ...] = (),
    quick: bool = False,
) -> Iterator[Damage]:
    """Damage one file after the other, each in a fresh copy of the prepared folder, and yield what happened.

    Args:
        problem: Networks and data.
        room: Empty folder to work in.
        seed: Seed of the places of the damage.
        only: Names of the groups of files (`GROUPS`); empty: all.
        chosen: Names of the damages; empty: all.
        quick: Run only the first two commands that read a kind of file.
    """
    rng = random.Random(seed)
    prepared = room / "prepared"
    prepared.mkdir(parents=True)
    kinds = [kind for name, make in GROUPS.items() if not only or name in only for kind in make(problem, prepared)]
    if quick:
        kinds = [dataclasses.replace(kind, commands=kind.commands[:2]) for kind in kinds]
    references: dict[tuple[str, tuple[tuple[str, ...], ...]], Work] = {}
    for kind in kinds:
        # The undamaged case is the same for all files that the same commands read, such as those of a run.
        key = (str(Path(kind.path).parent), kind.commands)
        if key not in references:
            undamaged = shutil.copytree(prepared, room / "reference", symlinks=True)
            references[key] = _work(kind, problem, undamaged)
            for ended in references[key][0]:
                checked(ended)
            shutil.rmtree(undamaged)
        reference = references[key]
        for name, damage in DAMAGES.items():
            if chosen and name not in chosen:
                continue
            if name == "another one's" and (prepared / kind.other).read_bytes() == (prepared / kind.path).read_bytes():
                continue  # no damage
            folder = Path(tempfile.mkdtemp(dir=room)) / "work"
            shutil.copytree(prepared, folder, symlinks=True)
            damage(folder / kind.path, prepared / kind.other, rng)
            yield _judge(kind, name, _work(kind, problem, folder), reference)
            shutil.rmtree(folder.parent)


Work = tuple[list[Ended], dict[str, str]]


def _work(kind: Kind, problem: Problem, folder: Path) -> Work:
    """Run the commands of a kind; return how they ended and what they left behind."""
    ended = [run(argv, folder, variables(problem), bound=True) for argv in kind.commands]
    if not (folder / kind.path).is_file():  # a pipe that nothing has replaced would be waited for
        return ended, {"outcome": "not a file"}
    try:
        outcome = kind.outcome(folder)
    except Exception as error:
        outcome = {"outcome": f"{type(error).__name__}: {error}"}
    return ended, outcome


def _judge(kind: Kind, damage: str, work: Work, reference: Work) -> Damage:
    """Compare with the undamaged case."""
    wrong = [
        f"{' '.join(ended.argv[:2])}: {ended.fault}: {ended.output[-300:].strip()}" for ended in work[0] if ended.fault
    ]
    names = (Path(kind.path).name, *kind.names)
    # What a command prints when all is well may hold the name as well.
    said = [ended.output if ended.code != 0 else ended.err for ended in work[0]]
    named = any(name in text for text in said for name in names)
    failed = any(ended.code != 0 for ended in work[0])
    same = work[1] == reference[1] and all(
        a.out == b.out for a, b in zip(work[0], reference[0], strict=True) if _stable(a)
    )
    # Without its result a run counts as one that has not ended, which is not damage.
    unfinished = Path(kind.path).name == "result.json" and damage == "removed"
    if kind.checks and work[0][0].code == 0 and not unfinished:
        wrong.append(f"zoo {work[0][0].argv[0]} passes")
    if not (named or same):
        wrong.append("another result, file not named" if not failed else "not named")
    return Damage(
        kind=kind.name, damage=damage, verdict="wrong" if wrong else "mended" if same else "named", wrong=tuple(wrong)
    )


def _stable(ended: Ended) -> bool:
    """Return whether the output of a command is the same at each call."""
    return ended.argv[0] in ("predict",)
