"""The commands under test, and what each leaves behind, as digests that two runs can compare.

Every job runs in a folder of its own that `prepare` fills: a plugin file, images to classify and a finished store.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from zoo_process import Ended, run

SCORES = ("auc_macro", "auc_micro", "accuracy")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Networks and data of the jobs.

    Args:
        model: Id of the network.
        data: Id of the data set of `zoo bench`.
        sky: Id of the data set of `zoo simulate`, with its options.
        settings: Values of `--set` of a training.
        plugins: Plugin files that register these; empty: they are installed.
        images: Number of images of `zoo simulate`.
        others: Arguments of trainings of other tasks and channels, by name.
    """

    model: str
    data: str
    sky: tuple[str, ...]
    settings: tuple[str, ...]
    plugins: tuple[Path, ...]
    images: int
    others: Mapping[str, tuple[str, ...]]


REAL = Problem(
    model="p4m",
    data="modelA",
    sky=("modelA", "--set", "data.image_size=32", "--set", "data.pixel_scale=0.2"),
    settings=("epochs=3", "train_images=512", "val_images=256", "test_images=256"),
    plugins=(),
    images=2560,
    others={
        "anomaly": ("--model", "anomaly/ae", "--data", "modelA", "--task", "anomaly", "--no-baselines"),
        "regress": ("--model", "p4m", "--data", "modelA", "--task", "regress:substructure_mass_fraction"),
        "channels": ("--model", "p4m", "--data", "modelA", "--set", "data.channels=image,residual_centred"),
    },
)


def toy(folder: Path) -> Problem:
    """Return the problem of the tests: plugin files of a folder with networks and images that take no time."""
    sky = ("--model", "toyzoo/tiny", "--data", "toysky/discs", "--simulator", "toysky/painter")
    return Problem(
        model="toyzoo/tiny",
        data="toyzoo/stripes",
        sky=("toysky/discs", "--simulator", "toysky/painter"),
        settings=("epochs=3", "train_images=300", "val_images=90", "test_images=120", "batch_size=30", "augment=none"),
        plugins=tuple(folder / f"{name}.py" for name in ("toyzoo", "toysky", "oddones", "toychannel")),
        images=2560,
        others={
            "anomaly": ("--model", "oddones/coder", "--data", "oddones/bumps", "--task", "anomaly", "--no-baselines"),
            "regress": (*sky, "--task", "regress:colour"),
            "channels": (*sky, "--set", "data.channels=image,toychannel/doubled"),
        },
    )


@dataclass(frozen=True, kw_only=True)
class Job:
    """One command.

    Args:
        name: Name in the tables.
        argv: Arguments of `zoo`.
        outcome: What the finished command leaves behind: name -> digest. Takes the folder and the standard output.
        reads: Whether it reads the finished store and the images of `prepare`.
    """

    name: str
    argv: tuple[str, ...]
    outcome: Callable[[Path, str], dict[str, str]]
    reads: bool = False


def bench_argv(problem: Problem, other: str = "", **changes: int) -> tuple[str, ...]:
    """Return the arguments of a small training, or of one of `Problem.others`, with changed settings."""
    what = problem.others[other] if other else ("--model", problem.model, "--data", problem.data)
    return ("bench", *what, "--budget", "smoke", "--device", "cpu", *_settings(problem, **changes))


def _settings(problem: Problem, **changes: int) -> list[str]:
    kept = [setting for setting in problem.settings if setting.split("=")[0] not in changes]
    return [word for setting in (*kept, *(f"{k}={v}" for k, v in changes.items())) for word in ("--set", setting)]


def jobs(problem: Problem) -> tuple[Job, ...]:
    """Return the commands that are interrupted."""
    data = ("--data", problem.data, "--budget", "smoke", "--device", "cpu")
    sizes = [word for setting in problem.settings if "_images=" in setting for word in ("--set", setting)]
    return (
        Job(
            name="simulate",
            argv=("simulate", *problem.sky, "-n", str(problem.images), "--device", "cpu", "--out", "sky"),
            outcome=lambda folder, _: files_of(folder / "sky"),
        ),
        Job(
            name="bench",
            argv=(*bench_argv(problem), "--store", "new"),
            outcome=lambda folder, _: runs_of(folder / "new"),
        ),
        *(
            Job(
                name=f"bench, {other}", argv=(*bench_argv(problem, other), "--store", "new"),
                outcome=lambda folder, _: runs_of(folder / "new"),
            )
            for other in problem.others
        ),
        Job(
            name="data export",
            argv=("data", "export", *data[1:], *sizes, "--out", "exported"),
            outcome=lambda folder, _: files_of(folder / "exported"),
        ),
        Job(
            name="score",
            argv=("score", "predictions.csv", *data, *sizes, "--store", "new"),
            outcome=lambda folder, _: runs_of(folder / "new"),
            reads=True,
        ),
        Job(
            name="tune",
            argv=(
                "tune", "--model", problem.model, *data, *_settings(problem), "--study", "search", "--trials", "3",
                "--search", "lr", "--store", "tuned",
            ),
            outcome=lambda folder, _: trials_of(folder),
        ),
        Job(
            name="predict",
            argv=("predict", "weights.safetensors", "pictures", "--csv", "--device", "cpu"),
            outcome=lambda _, output: {"table": digest(output.encode())},
            reads=True,
        ),
        Job(
            name="report",
            argv=("report", "--store", "store", "--csv", "--html", "page.html", "--figures", "figures"),
            outcome=lambda folder, output: {
                "table": digest(output.encode()), "page": str((folder / "page.html").stat().st_size > 10_000),
                "figures": str(len(files_of(folder / "figures"))),
            },
            reads=True,
        ),
    )  # fmt: skip


def variables(problem: Problem) -> dict[str, str]:
    """Return the environment variables that load the problem's plugins."""
    return {"ZOO_PLUGIN_FILES": os.pathsep.join(map(str, problem.plugins))} if problem.plugins else {}


def prepare(problem: Problem, folder: Path, chosen: Sequence[Job] | None = None) -> None:
    """Fill a folder with what the jobs need: a finished store, its weights, images to classify.

    Args:
        problem: Networks and data.
        folder: Folder to fill; it may exist.
        chosen: Jobs that will run there; None: any. It stays empty if none of them reads anything.

    Raises:
        RuntimeError: A command failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if chosen is not None and not any(job.reads for job in chosen):
        return
    checked(run((*bench_argv(problem), "--store", "store"), folder, variables(problem), seconds=600))
    [run_dir] = (path.parent for path in (folder / "store").glob("*/*/*/result.json"))
    shutil.copy(run_dir / "weights.safetensors", folder / "weights.safetensors")
    from zoo.results.store import read_arrays

    images = read_arrays(run_dir / "examples.safetensors")[0]["images"]
    images = images.reshape(-1, *images.shape[-2:])
    (folder / "pictures").mkdir()
    for index in range(200):
        np.save(folder / "pictures" / f"{index:03d}.npy", images[index % len(images)] * (1 + index / 1000))
    _write_predictions(folder / "predictions.csv", run_dir)


def _write_predictions(path: Path, run_dir: Path) -> None:
    """Write the predictions of a run as a table of another program."""
    from zoo.results.store import PREDICTIONS, RESULT, read_arrays

    arrays, about = read_arrays(run_dir / PREDICTIONS)
    logits = arrays["test.logits"].astype(float)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    classes = json.loads((run_dir / RESULT).read_text())["classes"]
    rows = [
        ["id", *classes],
        *([name, *map(str, row)] for name, row in zip(json.loads(about["test.ids"]), shares.tolist(), strict=True)),
    ]
    path.write_text("".join(",".join(row) + "\n" for row in rows))


def checked(ended: Ended) -> Ended:
    """Return a command that ended well.

    Raises:
        RuntimeError: It did not.
    """
    if ended.code != 0 or ended.fault:
        raise RuntimeError(f"zoo {' '.join(ended.argv)}: {ended.fault or ended.code}\n{ended.output[-3000:]}")
    return ended


def digest(content: bytes) -> str:
    """Return 16 hex digits of the SHA-256 of some bytes."""
    return hashlib.sha256(content).hexdigest()[:16]


def files_of(folder: Path) -> dict[str, str]:
    """Return path -> digest of every file of a folder; hidden ones, such as locks, are left out."""
    return {
        str(path.relative_to(folder)): digest(path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def left_over(folder: Path) -> list[str]:
    """Return the unfinished files that an interrupted command left in a folder."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*.part") if path.is_file()]


def runs_of(store: Path) -> dict[str, str]:
    """Return what a store's runs hold: logits, labels and weights as digests, scores and epochs as text."""
    from zoo.results.store import read_arrays

    found: dict[str, str] = {}
    for path in sorted(store.glob("*/*/*/cell.json")):
        run_dir, name = path.parent, path.parent.name
        result: dict[str, Any] = json.loads((run_dir / "result.json").read_text())
        found[f"{name} status"] = result["status"]
        trained = "scored" not in result  # by zoo, not by another program
        if trained:
            found[f"{name} epochs"] = str(len((run_dir / "history.jsonl").read_text().splitlines()))
        for file in ("predictions", "weights")[: 1 + trained]:
            arrays, _ = read_arrays(run_dir / f"{file}.safetensors")
            content = b"".join(key.encode() + arrays[key].tobytes() for key in sorted(arrays))
            found[f"{name} {file}"] = digest(content)
        found[f"{name} checkpoint"] = str((run_dir / "checkpoint.safetensors").exists())
    return found


def trials_of(folder: Path) -> dict[str, str]:
    """Return the completed trials of the study: number of trials, and each one's value by its parameters."""
    from optuna import load_study, logging
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState

    logging.set_verbosity(logging.WARNING)
    journal = folder / "tuned" / "studies" / "search" / "journal.log"
    storage = JournalStorage(JournalFileBackend(str(journal)))
    study = load_study(study_name=None, storage=storage)
    complete = [trial for trial in study.trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    running = [trial for trial in study.trials if trial.state == TrialState.RUNNING]
    return {
        "trials": str(len(complete)),
        "running": str(len(running)),
        "values": " ".join(f"{sorted(trial.params.items())}={trial.value:.9g}" for trial in complete),
    }
