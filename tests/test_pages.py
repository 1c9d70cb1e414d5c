"""Every command of the pages is one of zoo, with options that it has; the Python of the plugins' own pages runs."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from zoo.cli import cli

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *(ROOT / "plugins").glob("*/README.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.M | re.S)
COMMAND = re.compile(r"(?:^|\| *)(?:[A-Z_]+=\S+ +)*(?:uv run )?zoo (.*)")
ENDS = ("|", ">", "&&")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *languages: str) -> list[str]:
    """Return the code blocks of a page in these languages."""
    return [text for language, text in BLOCK.findall(page.read_text(encoding="utf-8")) if language in languages]


def commands(page: Path) -> list[list[str]]:
    """Return the words after `zoo` of every command in the page's blocks of a shell."""
    lines = "".join(blocks(page, "", "bash", "sh")).replace("\\\n", "").splitlines()
    found = [shlex.split(match[1], comments=True) for line in lines if (match := COMMAND.search(line.strip()))]
    return [words[: min((words.index(end) for end in ENDS if end in words), default=None)] for words in found]


WITH_COMMANDS = [page for page in PAGES if commands(page)]
# PyAutoLens takes as long to import as all others together; tests/lensing compares its images.
WITH_PYTHON = [
    page for page in PAGES
    if page.parts[-3] == "plugins" and page.parts[-2] != "autolens" and blocks(page, "python")
]  # fmt: skip


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name_of)
def test_commands_of_the_pages_exist_with_their_options(page: Path) -> None:
    for words in commands(page):
        while words[0] == "--plugin":
            del words[:2]
        assert words[0] != "tune" or {"--study", "--show"} & set(words), "zoo tune needs --study, or --show"
        command: click.Command | None = cli
        while isinstance(command, click.Group):
            command = command.get_command(click.Context(cli, **cli.context_settings), words.pop(0))
        assert command is not None, f"zoo {words}"
        command.make_context("zoo", words, **cli.context_settings)


def test_the_pages_with_commands_are_found() -> None:
    found = {name_of(page) for page in WITH_COMMANDS}
    assert found >= {"docs/tuning.md", "docs/weights.md", "docs/networks/p4_resnet18.md", "plugins/gconv/README.md"}
    assert {"data", "equivariance", "tune", "verify"} <= {
        words[0] for page in WITH_COMMANDS for words in commands(page)
    }


@pytest.mark.slow  # builds all networks of timm, and simulates
@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_the_python_of_the_plugins_pages_runs(page: Path, capsys) -> None:
    """In the order of the page; what a page takes as given are four lenses of Model A."""
    from zoo_deeplense.population import build
    from zoo_deeplense.tables import MODEL_A

    population = build(**MODEL_A | {"image_size": 32, "pixel_scale": 0.2})
    names: dict[str, Any] = {
        "scenes": population.sample(np.arange(4), "pages/train"),
        "instrument": population.instrument,
    }
    for block in blocks(page, "python"):
        exec(compile(block, name_of(page), "exec"), names)
    printed = capsys.readouterr().out
    assert bool(printed) == ("print(" in "".join(blocks(page, "python")))
    numbers = {line.split()[0]: int(line.split()[1]) for line in printed.splitlines() if line.startswith("timm/")}
    for model, parameters in numbers.items():
        assert re.search(rf"^\| `{model}` +\| +{parameters:,} \|", page.read_text(encoding="utf-8"), flags=re.M)


def test_the_readme_states_the_recorded_times_of_its_first_command(benchmark_script):
    root = Path(__file__).parents[1]
    record = (root / "benchmarks/results/first_command.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in record.splitlines()]
    first = benchmark_script("first_command")
    newest: dict[str, list[dict[str, Any]]] = {}  # all lines of the last day, by processor
    for line in lines:
        if line["command"].endswith("--data modelB"):
            that_day = newest.get(line["processor"], [])
            newest[line["processor"]] = [other for other in that_day if other["date"] == line["date"]] + [line]
    readme = " ".join((root / "README.md").read_text(encoding="utf-8").split())
    for processor, that_day in newest.items():
        seconds = [line["seconds"] for line in that_day]
        times = dict.fromkeys(first.shown_time(limit) for limit in (min(seconds), max(seconds)))
        assert f"{' to '.join(times)} on {processor.replace('(R)', '').removesuffix(' Processor')}" in readme
        assert all(0.955 <= line["macro_auc"] < 0.965 for line in that_day)  # "near .96"
    assert first.PAGE.read_text(encoding="utf-8") == first.page(lines)
    assert "`uv run zoo bench --model p4m --data modelA` |" in first.page(
        [{**lines[0], "command": first.command("modelA")}]
    )


def test_pages_state_where_the_intervals_hold_more_or_less():
    root = Path(__file__).parents[1]
    record = (root / "benchmarks/results/interval_coverage.md").read_text(encoding="utf-8")
    runs = record.partition("## Intervals of one run")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| 0\.\d+ \| [\d,]+ \| (.*) \|$", runs, re.MULTILINE)
    cells = [[float(figure) for figure in row.split(" | ")[:4]] for row in rows]
    every = [figure for row in cells for figure in row]
    low, high = [x for x in every if x < 93], [x for x in every if x > 97]
    good = len(every) - len(low) - len(high)
    assert len(low) == 1
    said = (
        f"in {good} of {len(every)} cells in 93 to 97 % of the repetitions. In {len(high)} cells",
        f"more often, in up to {max(high)} %; in one, accuracy with 256 images and heavy tails, in {low[0]} %",
    )
    page = " ".join((root / "docs/reports.md").read_text(encoding="utf-8").split())
    assert all(words in page for words in said), said
    areas, accuracy = [x for row in cells for x in row[:3]], [row[3] for row in cells]
    readme = " ".join((root / "README.md").read_text(encoding="utf-8").split())
    of_means = record.partition("## Intervals of a mean over seeds")[2].partition("\n## ")[0]
    means = [
        float(figure) for row in re.findall(r"^\| 0\.\d+ \| (.*) \|$", of_means, re.M) for figure in row.split(" | ")
    ]
    over_seeds = f"in {int(min(means))} to {round(max(means))} %"
    assert f"It held the truth {over_seeds} of the repetitions (two, three and five seeds)" in page
    assert (
        f"held the truth in {int(min(areas))} to {round(max(areas))} % of the repetitions for one training and "
        f"{over_seeds} for means of several, those of the accuracy in {int(min(accuracy))} to {round(max(accuracy))} %"
    ) in readme


def test_pages_state_how_often_intervals_over_groups_hold():
    root = Path(__file__).parents[1]
    record = (root / "benchmarks/results/interval_coverage.md").read_text(encoding="utf-8")
    part = record.partition("## Intervals over groups of images")[2].partition("\n## ")[0]
    rows = [row.split(" | ") for row in re.findall(r"^\| (0\.\d+ \| .*) \|$", part, re.MULTILINE)]
    groups, images, accuracy = ([float(row[column]) for row in rows] for column in (3, 4, 5))
    page = " ".join((root / "docs/reports.md").read_text(encoding="utf-8").split())
    assert len(rows) == 18
    shares = f"in {min(groups)} to {max(groups)} % of the repetitions, those of the accuracy in"
    assert f"{shares} {min(accuracy)} to {max(accuracy)} %" in page
    assert f"as if all were independent, in {min(images)} to {max(images)} %, least for few groups" in page
    assert min(rows, key=lambda row: float(row[4]))[1:3] == ["10", "0.5"]


def test_the_figures_of_the_residual_channel_stand_on_its_page():
    root = Path(__file__).parents[1]
    said = (root / "docs/data.md").read_text(encoding="utf-8").partition("On one core, one training of p4m")[2]
    figures = re.findall(r"\d+\.\d+", said.partition("([measured]")[0])
    page = (root / "benchmarks/results/residual_channel.md").read_text(encoding="utf-8")
    assert len(figures) == 4
    assert [figure for figure in figures if f" {figure} " not in page] == []


def test_the_areas_in_readme_and_findings_stand_in_tables_of_the_record():
    root = Path(__file__).parents[1]
    readme = (root / "README.md").read_text(encoding="utf-8")
    findings = (root / "docs/findings.md").read_text(encoding="utf-8")
    before, _, rest = readme.partition("<!-- benchmarks/headline.py --write -->")
    tables, _, after = rest.partition("<!-- until here -->")
    text = before + after + findings
    pages = [root / "docs/results.md", *(root / "benchmarks/results").glob("*.md")]
    tables += " ".join(page.read_text(encoding="utf-8") for page in pages)
    record = (root / "benchmarks/results/first_command.jsonl").read_text(encoding="utf-8")
    tables += " ".join(f"{json.loads(line)['macro_auc']:.4f}" for line in record.splitlines())
    figures = {figure for figure in re.findall(r"(?<![\d.])\.\d{4}\b", text) if float(figure) > 0.1}  # not differences
    assert len(figures) > 15
    assert [figure for figure in sorted(figures) if figure not in tables] == []


def test_the_findings_state_the_losses_of_seed_0_on_model_b(headline):
    findings = " ".join((Path(__file__).parents[1] / "docs/findings.md").read_text(encoding="utf-8").split())
    said = findings.partition("in the trainings with seed 0, were ")[2].partition(". Not every")[0]
    laptop = [line for line in headline.read_record() if (line["part"], line["cell"]["budget"]) == ("table", "laptop")]
    losses = []
    for model in ("gconv/z2_p4m_macs", "timm/resnet18", "gconv/p4m"):
        [line] = [
            line
            for line in laptop
            for cell in [line["cell"]]
            if (cell["model"], cell["recipe"]["dataset"], cell.get("train_seed")) == (model, "deeplense/modelB", 0)
            and cell["sizes"]["train"] == 16384
            and not {"auxiliary", "optimizer"} & cell["training"].keys()
        ]
        kept = line["history"][line["val"]["epoch"] - 1]
        losses.append(f"{kept['train_loss']:.3f} and {kept['val_loss']:.3f}".replace("0.", "."))
    assert said == f"{losses[0]}, of ResNet-18 {losses[1]}, of p4m {losses[2]}"
