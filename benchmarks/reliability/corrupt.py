"""Damage every kind of file of stores, image folders, studies and caches; run the commands that read it.

A damage is *named* if a command prints the name of the file, of its run or of its study, *mended* if the commands end
as they did before the damage, *harmless* if nothing reads the file. It was *read as good* if a command succeeds with
another answer than before, or if `zoo verify` passes.
"""

from __future__ import annotations

import dataclasses
import os
import random
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jobs import Problem, bench_argv, checked, files_of, jobs, runs_of, trials_of, variables
from zoo_process import Ended, run, start, stop_group

NOBODY = 65534


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
class Kind:
    """A kind of file.

    Args:
        name: Name in the tables.
        path: Path in the prepared folder.
        other: A file of the same kind that belongs elsewhere.
        commands: Commands that read it, in order.
        outcome: What the commands leave behind, taken from the folder.
        checks: Whether the first command is one that must fail on any damage.
        names: Texts, one of which names the file or what it belongs to.
    """

    name: str
    path: str
    other: str
    commands: tuple[tuple[str, ...], ...]
    outcome: Callable[[Path], dict[str, str]] = field(default=lambda folder: {})
    checks: bool = False
    names: tuple[str, ...] = ()


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
    for kind in kinds:
        reference = _work(kind, problem, shutil.copytree(prepared, room / "reference", symlinks=True), user=None)
        for ended in reference[0]:
            checked(ended)
        shutil.rmtree(room / "reference")
        for name, damage in DAMAGES.items():
            if (chosen and name not in chosen) or (name == "unreadable" and os.getuid() != 0):
                continue
            folder = Path(tempfile.mkdtemp(dir=room)) / "work"
            shutil.copytree(prepared, folder, symlinks=True)
            damage(folder / kind.path, prepared / kind.other, rng)
            user = NOBODY if name == "unreadable" else None
            if user is not None:
                _give_away(folder, but=folder / kind.path)
            yield _judge(kind, name, _work(kind, problem, folder, user=user), reference)
            shutil.rmtree(folder.parent)


Work = tuple[list[Ended], dict[str, str]]


def _work(kind: Kind, problem: Problem, folder: Path, *, user: int | None) -> Work:
    """Run the commands of a kind; return how they ended and what they left behind."""
    ended = [run(argv, folder, variables(problem), user=user) for argv in kind.commands]
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
    named = any(name in ended.output for ended in work[0] for name in names)
    failed = any(ended.code != 0 for ended in work[0])
    same = work[1] == reference[1] and all(
        a.out == b.out for a, b in zip(work[0], reference[0], strict=True) if _stable(a)
    )
    if kind.checks and work[0][0].code == 0:
        wrong.append(f"zoo {work[0][0].argv[0]} passes")
    if not (named or same):
        wrong.append("another result, file not named" if not failed else "not named")
    return Damage(
        kind=kind.name, damage=damage, verdict="wrong" if wrong else "mended" if same else "named", wrong=tuple(wrong)
    )


def _stable(ended: Ended) -> bool:
    """Return whether the output of a command is the same at each call."""
    return ended.argv[0] in ("predict",)


def _run_kinds(problem: Problem, folder: Path) -> list[Kind]:
    """Make a store with two runs and return the kinds of their files."""
    bench = (*bench_argv(problem), "--seeds", "0,1", "--store", "store")
    checked(run(bench, folder, variables(problem), seconds=900))
    first, second = sorted(path.parent.relative_to(folder) for path in (folder / "store").glob("*/*/*/result.json"))
    np.save(folder / "picture.npy", np.random.default_rng(0).random(_picture_shape(folder / first)).astype(np.float32))
    read = (
        ("verify", "store"),
        ("report", "--store", "store", "--json"),
        ("predict", str(first), "picture.npy", "--csv", "--device", "cpu"),
        bench,
    )
    kinds = [
        Kind(
            name=name, path=f"{first}/{name}", other=f"{second}/{name}", commands=read, checks=name not in ("log.txt",),
            names=(first.name,), outcome=lambda folder: _stored(folder),
        )
        for name in (
            "cell.json", "result.json", "history.jsonl", "weights.safetensors", "predictions.safetensors",
            "examples.safetensors", "mistakes.safetensors", "log.txt",
        )
    ]  # fmt: skip
    kinds.append(
        Kind(name="lock of a run", path=f"{first}/.lock", other=f"{second}/log.txt", commands=read, names=(first.name,))
    )
    return kinds


def _stored(folder: Path) -> dict[str, str]:
    return {name: value for name, value in runs_of(folder / "store").items() if not name.endswith("checkpoint")}


def _picture_shape(run_dir: Path) -> tuple[int, ...]:
    from zoo.results.store import read_arrays

    return read_arrays(run_dir / "examples.safetensors")[0]["images"].shape[-2:]


def _sky_kinds(problem: Problem, folder: Path) -> list[Kind]:
    """Make two folders of images and return the kinds of their files."""
    [simulate] = (job.argv for job in jobs(problem) if job.name == "simulate")
    small = [word if word != str(problem.images) else "600" for word in simulate]
    checked(run(small, folder, variables(problem), seconds=900))
    other = [word if word != "sky" else "sky2" for word in small]
    checked(run([*other, "--seed", "1"], folder, variables(problem), seconds=900))
    commands = (("data", "verify", "sky"), tuple(small))
    return [
        Kind(name=name, path=f"sky/{path}", other=other, commands=commands, checks=True, names=("sky",),
             outcome=lambda folder: files_of(folder / "sky"))
        for name, path, other in (
            ("shard", "train/000000.safetensors", "sky/train/000001.safetensors"),
            ("manifest.json", "manifest.json", "sky2/manifest.json"),
            ("recipe.json", "recipe.json", "sky2/recipe.json"),
        )
    ]  # fmt: skip


def _study_kinds(problem: Problem, folder: Path) -> list[Kind]:
    """Make two studies and return the kinds of their files."""
    [tune] = (job.argv for job in jobs(problem) if job.name == "tune")
    for argv in (tune, [word if word != "search" else "other" for word in tune]):
        checked(run(argv, folder, variables(problem), seconds=900))
    commands = (("tune", "--show", "search", "--store", "tuned"), tune)
    return [
        Kind(name=f"study: {name}", path=f"tuned/studies/search/{name}", other=f"tuned/studies/other/{name}",
             commands=commands, names=("study", "search"), outcome=trials_of)
        for name in ("study.json", "journal.log", "best.json")
    ]  # fmt: skip


def _checkpoint_kinds(problem: Problem, folder: Path) -> list[Kind]:
    """Interrupt two trainings after their first checkpoint and return the kind of that file."""
    paths = []
    for seed in ("0", "1"):
        argv = (*bench_argv(problem, epochs=40), "--seeds", seed, "--store", "begun")
        process = start(argv, folder, variables(problem))
        deadline = time.monotonic() + 300
        found: list[Path] = []
        while not found and time.monotonic() < deadline and process.poll() is None:
            found = [path for path in folder.glob("begun/*/*/*/checkpoint.safetensors") if path not in paths]
            time.sleep(0.01)
        stop_group(process.pid)
        process.wait()
        for path in folder.glob("begun/**/.*.part"):
            path.unlink()
        if not found:
            raise RuntimeError(f"no checkpoint was written: {(folder / 'stderr.txt').read_text()[-2000:]}")
        paths.append(found[0])
    argv = (*bench_argv(problem, epochs=40), "--seeds", "0", "--store", "begun")
    first, second = (str(path.relative_to(folder)) for path in paths)
    run_id = paths[0].parent.name
    return [
        Kind(
            name="checkpoint", path=first, other=second, commands=(argv,), names=(run_id,),
            outcome=lambda folder: {k: v for k, v in runs_of_finished(folder / "begun").items() if run_id in k},
        )
    ]  # fmt: skip


def runs_of_finished(store: Path) -> dict[str, str]:
    """Return what the finished runs of a store hold; the others are left out."""
    for path in store.glob("*/*/*/cell.json"):
        if not (path.parent / "result.json").exists():
            shutil.rmtree(path.parent)
    return runs_of(store)


def _cache_kinds(problem: Problem, folder: Path) -> list[Kind]:
    """Fill the caches and return the kinds of their files: images, filter bases, arrays of a folder of files."""
    if problem.plugins:  # the toy network and images fill none of them
        return []
    rng = np.random.default_rng(0)
    for name in ("no", "sphere", "vort"):
        (folder / "deeplense" / name).mkdir(parents=True)
        for index in range(90):
            np.save(folder / "deeplense" / name / f"{index}.npy", rng.random((32, 32)).astype(np.float32))
    short = ("--budget", "smoke", "--device", "cpu", "--set", "epochs=1", "--set", "train_images=256")
    benches = {
        "images in the cache": (*bench_argv(problem), "--store", "new"),
        "filter basis": ("bench", "--model", "escnn/c4", "--data", problem.data, *short, "--store", "new"),
        "arrays of a folder": (
            "bench", "--model", problem.model, "--data", "deeplense-folder", "--set", "data.root=deeplense", *short,
            "--set", "train_images=128", "--set", "val_images=64", "--set", "test_images=64", "--store", "new",
        ),
    }  # fmt: skip
    patterns = {
        "images in the cache": r"cache/datasets/.*safetensors",
        "filter basis": r"cache/steerable/.*",
        "arrays of a folder": r"cache/folders/.*",
    }
    kinds = []
    for name, argv in benches.items():
        checked(run(argv, folder, variables(problem), seconds=900))
        shutil.rmtree(folder / "new")
        files = [path for path in files_of(folder) if re.fullmatch(patterns[name], path)]
        for number, path in enumerate(files[:2]):
            kinds.append(
                Kind(
                    name=f"{name}: {Path(path).name[:24]}", path=path, other=files[number - 1], commands=(argv,),
                    outcome=lambda folder: runs_of(folder / "new"),
                )
            )  # fmt: skip
    return kinds


def _give_away(folder: Path, *, but: Path) -> None:
    """Give a folder to the user `NOBODY`, all but one file, and let that user reach it."""
    for path in (folder, *folder.rglob("*")):
        if path != but:
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    for parent in folder.parents:
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
        if parent == Path(tempfile.gettempdir()):
            break


GROUPS: dict[str, Callable[[Problem, Path], list[Kind]]] = {
    "run": _run_kinds, "images": _sky_kinds, "study": _study_kinds, "checkpoint": _checkpoint_kinds,
    "cache": _cache_kinds,
}  # fmt: skip
