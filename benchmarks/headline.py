"""Run the headline experiment in pieces, and write docs/results.md and the README's table from the stored results.

    uv run python benchmarks/headline.py                        # run all missing pieces; may be interrupted
    uv run python benchmarks/headline.py --minutes 9            # stop after nine minutes; repeat to continue
    uv run python benchmarks/headline.py --model p4m,p4,z2,z2_p4m_macs    # suitable for two CPU cores
    uv run python benchmarks/headline.py --budget paper         # 150 x 150 pixels; a GPU
    uv run python benchmarks/headline.py --write                # write the record, page and README; no training

The pieces: the table (headline.toml), in which p4m, its twin of equal work and ResNet-18 have three seeds with training
images of their own, AUC against the number of images (few_images.toml), difficulty of the problem (difficulty.toml),
and the scores of all networks of the table on shifted test data: the other data set, lower SNR, wider PSF, rotated
images. Results are stored in small files in --store, without images.

--write adds one line for each run of --store to benchmarks/results/headline.jsonl, those of other tasks included, and
writes the page and the table from that file, which collects the runs of several machines. To start again, delete it.

Exit codes: 0 complete, 1 a piece failed (`zoo report --store DIR` lists failures), 75 time limit reached, 130
interrupted.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from headline_page import make_page, pictures_of
from headline_pictures import draw_areas
from headline_readme import readme_tables
from headline_runs import Shift, full_size, installed, name_of, read_run
from page_parts import replaced

import zoo
from zoo import registry, schema
from zoo.budgets import BUDGETS
from zoo.errors import ZooError
from zoo.paths import make_dir, written_whole
from zoo.plan.suite_file import read_suite
from zoo.results import store as result_store
from zoo.results.files import read_history
from zoo.results.schema import Finished
from zoo.specs import ModelSpec

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "results.md"
README = HERE.parent / "README.md"
RECORD = HERE / "results" / "headline.jsonl"
LEADING = ("gconv/p4m", "gconv/z2_p4m_macs", "timm/resnet18")
"""Networks that are trained three times, each time on new images."""
UNUSABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, ZooError)  # raised for damaged records
TRY_AGAIN = 75  # EX_TEMPFAIL in sysexits.h

# Shifts of the test data: name -> arguments of zoo.evaluate for a data set.
SHIFTS: dict[str, Callable[[str], dict[str, Any]]] = {
    "own test images": lambda data: {},
    "four times the masses": lambda data: {"mass_scale": 4.0},
    "the other model": lambda data: {"data": "modelB" if data == "modelA" else "modelA"},
    # In the reference pixel, Model A has SNR 34 by its source's peak, and Model B draws 10 to 30.
    "half the SNR": lambda data: {"snr": 17.0, "peak": None} if data == "modelA" else {"snr": "U(5, 15)"},
    "PSF 1.5 times as wide": lambda data: {"psf_width": 0.15},
    "turned by 17 degrees": lambda data: {"angle": 17.0},
    "turned by 45 degrees": lambda data: {"angle": 45.0},
}


def main(words: Sequence[str] | None = None) -> int:
    """Run pieces until all are done or the time limit is reached; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("results/headline"))
    parser.add_argument("--budget", choices=list(BUDGETS), default="evening")
    parser.add_argument("--model", help="Run only these models (comma-separated).")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="Stop after this many minutes.")
    parser.add_argument("--only-table", action="store_true", help="Skip further seeds, few images and difficulty.")
    parser.add_argument(
        "--only-shifts", action="store_true", help="Score the runs of --store on shifted data; train nothing."
    )
    parser.add_argument("--test-images", type=int, help="Set the number of shifted images; default: as in the budget.")
    parser.add_argument(
        "--write", action="store_true", help="Write the record, the page and the README's table without training."
    )
    options = parser.parse_args(words)
    if options.write:
        write(options.store)
        return 0
    # In the background a shell sets SIGINT to be ignored, which child processes would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        failed = run_all(options, deadline=time.monotonic() + 60 * options.minutes)
    except TimeoutError:
        print("Time limit reached. Repeat the command to continue.")
        return TRY_AGAIN
    except KeyboardInterrupt:
        print("Interrupted. Repeat the command to continue.")
        return 130
    if failed:
        print(f"Failed: {', '.join(failed)}. See above, and: uv run zoo report --store {options.store}")
        return 1
    print(f"All pieces are complete. Write the page with: {sys.argv[0]} --store {options.store} --write")
    return 0


def run_all(options: argparse.Namespace, *, deadline: float) -> list[str]:
    """Run the missing pieces; return the failed ones.

    Raises:
        TimeoutError: The deadline has passed.
    """
    failed = []
    for command in [] if options.only_shifts else trainings(options):
        print("$ zoo", *command, flush=True)
        if run_until(deadline, [sys.executable, "-m", "zoo", *command]) != 0:
            failed.append(Path(command[1]).name)
    for result in list(result_store.results(options.store)):
        if result.status != "ok" or result.cell.task or not full_size(result.cell):
            continue
        for shift in SHIFTS:
            if time.monotonic() > deadline:
                raise TimeoutError
            try:
                evaluate_shift(options.store, result, shift, images=options.test_images)
            except ZooError as error:
                print(f"{result.run_dir}: {error}", flush=True)
                failed.append(f"{result.cell.model} of {name_of(result.cell)}, {shift}")
    return failed


def trainings(options: argparse.Namespace) -> Iterator[list[str]]:
    """Yield the arguments of each `zoo bench` command of the experiment; stored runs are not repeated."""
    small = options.budget != "paper"
    common = ["--budget", options.budget]
    stored = ["--store", str(options.store)]
    table = ["bench", str(HERE / "headline.toml"), *common, *stored]
    names = options.model.split(",") if options.model else read_suite(HERE / "headline.toml").listed
    models = [registry.find(installed(), ModelSpec, name).id for name in names]
    leading = [] if options.only_table else [model for model in models if model in LEADING]
    if once := [model for model in models if model not in leading]:
        yield [*table, "--model", ",".join(once)]
    if options.only_table:
        return
    if leading:
        yield [*table, "--model", ",".join(leading), "--seeds", "0-2", "--data-seeds"]
    # ResNet-18, and as many steps as for the complete set, require a GPU.
    few, twins = ("few_images_laptop.toml", ["--model", "p4m,z2,z2_p4m_macs"]) if small else ("few_images.toml", [])
    yield ["bench", str(HERE / few), *common, *stored]
    yield ["bench", str(HERE / "difficulty.toml"), *common, "--store", str(difficulty(options.store)), *twins]


def difficulty(store: Path) -> Path:
    """Return the folder for the runs of difficulty.toml, with images of their own."""
    return store / "difficulty"


def run_until(deadline: float, command: Sequence[str]) -> int:
    """Run a command and return its exit code: 0, or 1 if some cells failed.

    Raises:
        TimeoutError: The deadline has passed; the command was interrupted as by Ctrl-C.
        SystemExit: The command did not run any cell.
    """
    # In a separate session Ctrl-C reaches only this process, which then interrupts the command once.
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            code = process.wait(timeout=None if deadline == float("inf") else max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise TimeoutError from error
        finally:
            if process.poll() is None:  # after a timeout or an interrupt
                process.send_signal(signal.SIGINT)
                process.wait()
    if code not in (0, 1):
        sys.exit(code)
    return code


def evaluate_shift(store: Path, result: Finished, shift: str, *, images: int | None) -> None:
    """Score a run's weights on shifted data and store the scores, unless they are stored already."""
    count = images or result.cell.sizes["test"]
    found = read_shifts(store, result.run_id)
    if shift in found and found[shift].images >= count:
        return
    name = name_of(result.cell)
    print(f"{result.cell.model} of {name}: {shift}", flush=True)
    scored = zoo.evaluate(result.run_dir, images=count, device="auto", **SHIFTS[shift](name))
    # Read again: another process may have stored other shifts in the meantime.
    found = read_shifts(store, result.run_id)
    fields = ("auc", "intervals", "accuracy", "images", "angle")
    found[shift] = schema.read_record({field: getattr(scored, field) for field in fields}, Shift, what="The shift")
    path = shifts_file(store, result.run_id)
    make_dir(path.parent)
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(schema.plain(found)), encoding="utf-8")


def shifts_file(store: Path, run_id: str) -> Path:
    """Return the file with the scores of a run on shifted data."""
    return store / "shifts" / f"{run_id}.json"


def read_shifts(store: Path, run_id: str) -> dict[str, Shift]:
    """Return the scores of a run on shifted data; an unreadable file is replaced."""
    try:
        content = json.loads(shifts_file(store, run_id).read_text(encoding="utf-8"))
        found = schema.read_record(content, dict[str, Shift], what="The shifts")
    except (OSError, ValueError, ZooError):
        return {}
    return {name: found[name] for name in SHIFTS if name in found and found[name].images}


def write(store: Path) -> None:
    """Add a store's runs to the record, and write the page and the README's table from it.

    Raises:
        SystemExit: Neither runs nor a record exist, or the record or the README is invalid; all files are unchanged.
    """
    replaced(README, "headline.py", "")  # before anything is written
    # One run may stand in both parts: "nothing changed" is the same cell as in the table.
    kept = {(run["part"], run["run_id"]): run for run in read_record()}
    for run in [*records(store, part="table"), *records(difficulty(store), part="difficulty")]:
        key = run["part"], run["run_id"]
        earlier = kept.get(key, run)
        kept[key] = run | {"shifts": earlier["shifts"] | run["shifts"]}
    if not kept:
        sys.exit(f"{store} contains no results. First run: uv run python benchmarks/headline.py")
    runs = [read_run(line) for line in kept.values()]
    texts = {
        RECORD: "".join(json.dumps(line) + "\n" for line in kept.values()),
        PAGE: make_page(runs),
        README: replaced(README, "headline.py", readme_tables(runs)),
    }
    for path, text in texts.items():
        with written_whole(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        print(f"wrote {path}")
    for name, table in pictures_of(runs).items():
        draw_areas(table, make_dir(PAGE.parent / "images") / name)
    print(f"Recorded runs: {len(runs)}.")


def records(store: Path, *, part: str) -> Iterator[dict[str, Any]]:
    """Yield a line of the record for each successful run: its result, epochs, and scores on shifted data."""
    for result in result_store.results(store) if store.is_dir() else ():
        if result.status != "ok":
            continue
        try:
            run = result_store.plain_result(result)
            del run["files"], run["environment"]["platform"]
            history = schema.plain(read_history(result))
            run |= {"history": history, "shifts": schema.plain(read_shifts(store, result.run_id))}
            run["part"] = "task" if result.cell.task else part
            make_page([read_run(run)])
        except UNUSABLE as error:
            print(f"skipped {result.run_dir}, which is damaged: {type(error).__name__}: {error}")
            continue
        yield run


def read_record() -> list[dict[str, Any]]:
    """Return the lines of the record.

    Raises:
        SystemExit: A line is not a valid run.
    """
    runs = []
    for number, line in enumerate(RECORD.read_text(encoding="utf-8").splitlines() if RECORD.exists() else (), 1):
        try:
            runs.append(json.loads(line))
            make_page([read_run(runs[-1])])
        except UNUSABLE as error:
            sys.exit(
                f"{RECORD}, line {number} is not a valid run ({type(error).__name__}: {error}); delete or restore it."
            )
    return runs


if __name__ == "__main__":
    sys.exit(main())
