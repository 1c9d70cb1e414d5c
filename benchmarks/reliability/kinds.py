"""Every kind of file of stores, image folders, studies and caches: how to make it, and which commands read it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jobs import Problem, bench_argv, checked, digest, files_of, jobs, runs_of, trials_of, variables
from zoo_process import run, start, stop_group


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
        names: Texts that name what the file belongs to, as messages state it.
    """

    name: str
    path: str
    other: str
    commands: tuple[tuple[str, ...], ...]
    outcome: Callable[[Path], dict[str, str]] = field(default=lambda folder: {})
    checks: bool = False
    names: tuple[str, ...] = ()


RUN_FILES = (
    "cell.json", "result.json", "history.jsonl", "weights.safetensors", "predictions.safetensors",
    "examples.safetensors", "mistakes.safetensors", "log.txt",
)  # fmt: skip


def _run_kinds(
    problem: Problem, folder: Path, other: str = "", files: tuple[str, ...] = (*RUN_FILES, ".lock")
) -> list[Kind]:
    """Make a store with two runs, of one of `Problem.others` if it is given, and return the kinds of their files."""
    place = f"store{other}"
    bench = (*bench_argv(problem, other), "--seeds", "0,1", "--store", place)
    checked(run(bench, folder, variables(problem), seconds=900))
    first, second = sorted(path.parent.relative_to(folder) for path in (folder / place).glob("*/*/*/result.json"))
    picture = np.random.default_rng(0).random(_picture_shape(folder / first)).astype(np.float32)
    np.save(folder / f"picture{other}.npy", picture)
    read = (
        ("verify", place),
        ("report", "--store", place, "--json"),
        ("predict", str(first), f"picture{other}.npy", "--csv", "--device", "cpu"),
        bench,
    )
    return [
        Kind(
            name=f"{other}: {name}" if other else name, path=f"{first}/{name}",
            other=f"{second}/{'log.txt' if name == '.lock' else name}", commands=read,
            checks=name not in ("log.txt", ".lock"), names=(first.name,),
            outcome=lambda folder: _stored(folder / place),
        )
        for name in files
    ]  # fmt: skip


def _other_kinds(problem: Problem, folder: Path) -> list[Kind]:
    """Make stores of other tasks and of derived channels and return the kinds of the files that differ."""
    files = ("result.json", "weights.safetensors", "predictions.safetensors")
    return [kind for other in problem.others for kind in _run_kinds(problem, folder, other, files)]


def _stored(store: Path) -> dict[str, str]:
    return {name: value for name, value in runs_of(store).items() if not name.endswith("checkpoint")}


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
        Kind(name=name, path=f"sky/{path}", other=other, commands=commands, checks=True,
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
             commands=commands, names=("study 'search'",), outcome=trials_of)
        for name in ("study.json", "journal.log", "best.json")
    ]  # fmt: skip


def _checkpoint_kinds(problem: Problem, folder: Path) -> list[Kind]:
    """Stop trainings at a checkpoint, after an epoch and within one, and return the kinds of the files that stay."""
    kinds = []
    for name, number in (("checkpoint", signal.SIGKILL), ("checkpoint within an epoch", signal.SIGTERM)):
        place = f"begun{number}"
        first, second = (_stopped(problem, folder, place, seed, number) for seed in ("0", "1"))
        argv = (*bench_argv(problem, epochs=40), "--seeds", "0", "--store", place)
        kinds += [
            Kind(
                name=name if file.startswith("checkpoint") else file, path=f"{first}/{file}", other=f"{second}/{file}",
                commands=(("status", "--store", place), argv), names=(first.name,),
                outcome=lambda folder, place=place, run_id=first.name: {
                    k: v for k, v in runs_of_finished(folder / place).items() if run_id in k
                },
            )
            for file in ("checkpoint.safetensors", "job.json", "progress.json")
            if (folder / first / file).exists() and (file.startswith("checkpoint") or number == signal.SIGKILL)
        ]  # fmt: skip
    return kinds


def _stopped(problem: Problem, folder: Path, place: str, seed: str, number: int) -> Path:
    """Train until there is a checkpoint and send a signal to all processes; return the folder of the run."""
    before = set(folder.glob(f"{place}/*/*/*/checkpoint.safetensors"))
    argv = (*bench_argv(problem, epochs=40), "--seeds", seed, "--store", place)
    process = start(argv, folder, variables(problem))
    deadline = time.monotonic() + 300
    found: set[Path] = set()
    while not found and time.monotonic() < deadline and process.poll() is None:
        found = set(folder.glob(f"{place}/*/*/*/checkpoint.safetensors")) - before
        time.sleep(0.01)
    stop_group(process.pid, number)
    process.wait()
    while stop_group(process.pid, 0) and time.monotonic() < deadline:  # until the processes of its cells have ended
        time.sleep(0.05)
    for path in folder.glob(f"{place}/**/.*.part"):
        path.unlink()
    if not found:
        raise RuntimeError(f"no checkpoint was written: {(folder / 'stderr.txt').read_text()[-2000:]}")
    return found.pop().parent.relative_to(folder)


def runs_of_finished(store: Path) -> dict[str, str]:
    """Return what the finished runs of a store hold; the others are left out."""
    for path in store.glob("*/*/*/cell.json"):
        if not (path.parent / "result.json").exists():
            shutil.rmtree(path.parent)
    return runs_of(store)


def _cache_kinds(problem: Problem, folder: Path) -> list[Kind]:
    """Fill the caches and return the kinds of their files: images, filter bases, arrays of a folder, fitted lenses.

    The toy network fills that of a folder of files only.
    """
    rng = np.random.default_rng(0)
    for name in ("no", "sphere", "vort"):
        (folder / "deeplense" / name).mkdir(parents=True)
        for index in range(90):
            np.save(folder / "deeplense" / name / f"{index}.npy", rng.random((32, 32)).astype(np.float32))
    short = ("--budget", "smoke", "--device", "cpu", "--no-baselines", "--set", "epochs=1")
    benches = {
        "images in the cache": (*bench_argv(problem), "--store", "new"),
        "filter basis": ("bench", "--model", "escnn/c4", "--data", problem.data, *short, "--store", "new"),
        "arrays of a folder": (
            "bench", "--model", problem.model, "--data", "deeplense-folder", "--set", "data.root=deeplense", *short,
            "--set", "train_images=128", "--set", "val_images=64", "--set", "test_images=64", "--store", "new",
        ),
        "fitted lenses": (
            "bench", "--model", "baselines/fitted_lens", "--data", "modelA", "--budget", "smoke", "--device", "cpu",
            "--no-baselines", "--set", "train_images=24", "--set", "val_images=24", "--set", "test_images=24",
            "--store", "new",
        ),
    }  # fmt: skip
    patterns = {
        "images in the cache": r"cache/datasets/.*safetensors",
        "filter basis": r"cache/steerable/.*",
        "arrays of a folder": r"cache/folders/.*",
        "fitted lenses": r"cache/fitted_lens/.*\.features",
    }
    kinds = []
    for name, argv in benches.items():
        if problem.plugins and name != "arrays of a folder":
            continue
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


def _export_kinds(problem: Problem, folder: Path) -> list[Kind]:
    """Export images of two hidden seeds and return the kinds of the files, and of the seed's own."""
    [export] = (job.argv for job in jobs(problem) if job.name == "data export")
    sky = (*problem.sky, *export[export.index("--budget") : -2])
    for name in ("secret", "other"):
        (folder / f"{name}.txt").touch(0o600)
        (folder / f"{name}.txt").write_text("".join(digest(f"{name}{part}".encode()) for part in range(4)))
        argv = ("data", "export", *sky, "--labels", "--seed-file", f"{name}.txt", "--out", name)
        checked(run(argv, folder, variables(problem), seconds=900))
    classes = json.loads((folder / "secret/export.json").read_text())["classes"]
    ids = (folder / "secret/ids.csv").read_text().split()[1:]
    rows = [",".join([name, "1", *("0" for _ in classes[1:])]) for name in ids]
    (folder / "answers.csv").write_text("\n".join([",".join(["id", *classes]), *rows]))
    score = ("score", "answers.csv", "--data", "secret", "--seed-file", "secret.txt", "--device", "cpu", "--json")
    again = ("data", "export", *sky, "--labels", "--seed-file", "secret.txt", "--out", "secret")
    return [
        Kind(name=f"export: {path}", path=path, other=other, commands=(score, again), names=("secret",),
             outcome=lambda folder: {**files_of(folder / "secret"), **runs_of(folder / "results")})
        for path, other in (
            *((f"secret/{name}", f"other/{name}") for name in ("export.json", "images.npy", "ids.csv", "labels.csv")),
            ("secret.txt", "other.txt"), ("answers.csv", "secret/labels.csv"),
        )
    ]  # fmt: skip


GROUPS: dict[str, Callable[[Problem, Path], list[Kind]]] = {
    "run": _run_kinds, "others": _other_kinds, "images": _sky_kinds, "study": _study_kinds,
    "checkpoint": _checkpoint_kinds, "export": _export_kinds, "cache": _cache_kinds,
}  # fmt: skip
