"""Count what interruptions, damaged files, odd command lines, full disks and other processes do to zoo.

    uv run python benchmarks/reliability [PART ...] [--count N] [--seed N] [--toy] [--write]

PART is interrupt, corrupt, commands or limits; default: all. `--toy` takes the network and the images of the tests,
which are faster. `--write` writes the figures of these parts to benchmarks/results/reliability.md. The tests run a
reduced form. The full form takes about two hours on two cores. Cases that need a mounted file system are left out, and
listed, where this process may not mount one.
"""

from __future__ import annotations

import argparse
import collections
import platform
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from commands import fuzz
from corrupt import DAMAGES, damages
from interrupt import interruptions
from jobs import REAL, Problem, toy
from limits import few_files, full_disks, may_mount, read_only, together
from zoo_process import load_libraries

from zoo.processor import usable_cores

TOYS = Path(__file__).parents[2] / "tests" / "toys"
RESULTS = Path(__file__).parents[1] / "results" / "reliability.md"
Row = tuple[str, str, str]


def interrupt_rows(problem: Problem, room: Path, count: int, seed: int) -> list[Row]:
    """Interrupt `count` commands; one row a job."""
    found: dict[str, list[tuple[str, ...]]] = collections.defaultdict(list)
    for one in interruptions(problem, room, count, seed=seed):
        found[one.job].append(one.wrong)
        show(f"{one.job}, {one.signal} after {one.after:.1f} s", one.wrong)
    return [(f"interrupted: {job}", str(len(wrong)), str(sum(map(bool, wrong)))) for job, wrong in found.items()]


def corrupt_rows(problem: Problem, room: Path, count: int, seed: int) -> list[Row]:
    """Damage every kind of file in every way; one row a kind of file."""
    found: dict[str, list[str]] = collections.defaultdict(list)
    for one in damages(problem, room, seed=seed):
        found[one.kind].append(one.verdict)
        show(f"{one.kind}, {one.damage}: {one.verdict}", one.wrong)
    rows = []
    for kind, verdicts in found.items():
        counts = collections.Counter(verdicts)
        rows.append(
            (
                f"damaged: {kind} ({counts['named']} named, {counts['mended']} mended)", str(len(verdicts)),
                str(counts["wrong"]),
            )
        )  # fmt: skip
    return rows


def command_rows(problem: Problem, room: Path, count: int, seed: int) -> list[Row]:
    """Run `count` random command lines; one row."""
    wrong, peak, codes = 0, 0.0, collections.Counter[int | None]()
    for ended in fuzz(problem, room, count, seed=seed):
        wrong, peak = wrong + bool(ended.fault), max(peak, ended.peak_mib)
        codes[ended.code] += 1
        if ended.fault:
            show("zoo " + " ".join(map(repr, ended.argv)), (ended.fault, ended.output[-600:]))
    ends = ", ".join(f"{n} ended with {code}" for code, n in sorted(codes.items(), key=lambda item: -item[1]))
    memory = f"at most {peak:.0f} MiB beyond Python and its libraries"
    return [(f"random command lines ({ends}; {memory})", str(sum(codes.values())), str(wrong))]


def limit_rows(problem: Problem, room: Path, count: int, seed: int) -> list[Row]:
    """Full disks, read-only stores, few open files, several processes; one row a kind."""
    found: dict[str, list[bool]] = collections.defaultdict(list)
    parts = [
        few_files(problem, room / "files"),
        together(problem, room / "two", 2),
        together(problem, room / "four", 4),
    ]
    if may_mount():
        parts += [full_disks(problem, room / "full"), read_only(problem, room / "fixed")]
    for part in parts:
        for case in part:
            found[case.name.rsplit(",", 1)[0]].append(bool(case.wrong))
            show(case.name, case.wrong)
    rows = [(name, str(len(wrong)), str(sum(wrong))) for name, wrong in found.items()]
    return rows if may_mount() else [*rows, ("full and read-only disks: not tried, needs the right to mount", "0", "-")]


PARTS = {"interrupt": interrupt_rows, "corrupt": corrupt_rows, "commands": command_rows, "limits": limit_rows}
COUNTS = {"interrupt": 100, "commands": 500}


def show(case: str, wrong: tuple[str, ...]) -> None:
    """Print a case and what went wrong."""
    print(("WRONG " if wrong else "ok    ") + case, *(f"\n      {line}" for line in wrong), flush=True)


def main() -> None:
    """Run the parts, print the table, and exit with 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART")
    parser.add_argument("--count", type=int, help="interruptions or command lines; default: 100 and 500")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--toy", action="store_true", help="network and images of the tests")
    parser.add_argument("--write", action="store_true", help=f"write benchmarks/results/{RESULTS.name}")
    arguments = parser.parse_args()
    load_libraries()
    problem = toy(TOYS) if arguments.toy else REAL
    failed = False
    with tempfile.TemporaryDirectory(prefix="zoo-reliability-") as folder:
        for part in arguments.parts or PARTS:
            room = Path(folder) / part
            room.mkdir()
            rows = PARTS[part](problem, room, arguments.count or COUNTS.get(part, 0), arguments.seed)
            failed |= any(row[2] not in ("0", "-") for row in rows)
            section = table(rows, problem, arguments.seed)
            print(section)
            if arguments.write:
                RESULTS.write_text(page({**recorded(), part: section}), encoding="utf-8")
    sys.exit(failed)


def table(rows: list[Row], problem: Problem, seed: int) -> str:
    """Return the section of a part: how it was measured, and its table."""
    machine = f"{usable_cores()} cores, Python {platform.python_version()}, {platform.system()}"
    return "\n".join(
        [
            f"Seed {seed}; network {problem.model}, data {problem.data}; {machine}.",
            "",
            "| what was tried | cases | went wrong |",
            "| --- | ---: | ---: |",
            *(f"| {' | '.join(row)} |" for row in rows),
        ]
    )


def recorded() -> dict[str, str]:
    """Return the sections of the recorded page, by part."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    sections = (section.partition("\n") for section in text.split("\n## ")[1:])
    return {name: body.strip() for name, _, body in sections if name in PARTS}


def page(sections: dict[str, str]) -> str:
    """Return the page of recorded figures, one section for each part."""
    lines = [
        "# Reliability",
        "",
        "Written by `python benchmarks/reliability [PART ...] --write`; a part that was not run again keeps its",
        "figures. A case went wrong if a command ended in a traceback or did not end, if work was lost or done twice,",
        "if running the command again gave other bits, or if a damaged file was read as good.",
        f"Damages: {', '.join(DAMAGES)}.",
    ]
    for part in PARTS:
        if part in sections:
            lines += ["", f"## {part}", "", sections[part]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
