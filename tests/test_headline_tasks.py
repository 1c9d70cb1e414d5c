"""Tasks other than classification in the record of the headline experiment, and figures that pages quote from it."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_a_task_has_a_table_with_baselines_marks_and_networks_that_saw_labels(headline, page):
    runs = [headline.read_run(run) for run in headline.read_record()]
    own = [run for run in runs if run.part == "task" and run.cell.data == "deeplense/modelB"]
    [heading, _, _, table, told] = page.task_sections([run for run in runs if run.part != "task" or run in own])
    assert heading.startswith("## Task anomaly: modelB, budget laptop, 5,46")
    assert "images of no_substructure alone" in told
    rows = [line.split(" | ") for line in table.splitlines()[2:]]
    scored = [row for row in rows if "labels of all classes" not in row[0]]
    assert [float(row[3]) for row in scored] == sorted((float(row[3]) for row in scored), reverse=True)
    best = next(row for row in scored if "(baseline)" in row[0])
    of_scalars = next(row for row in scored if "anomaly/mahalanobis_scalars" in row[0])

    def may_be_below(row, bar):
        """Whether the difference may be 0 or less, as of separate test images (printed with four digits)."""
        (low, _), (_, most) = (map(float, each[4].split(" to ")) for each in (row, bar))
        return float(row[3]) - math.hypot(float(row[3]) - low, most - float(bar[3])) < float(bar[3])

    for row in scored:
        assert ("†" in row[0]) == (may_be_below(row, best) and "(baseline)" not in row[0])
        assert ("‡" in row[0]) == (may_be_below(row, of_scalars) and "(baseline)" not in row[0])
    assert len(rows) > len(scored)  # networks of classification on the same images
    assert all(len(row) == len(rows[0]) for row in rows)


def test_runs_of_tasks_have_no_part_in_the_tables_of_classification(headline, page, readme):
    runs = [headline.read_run(run) for run in headline.read_record()]
    without = [run for run in runs if run.part != "task"]
    assert readme.readme_tables(runs) == readme.readme_tables(without)
    tables = [line for line in page.make_page(runs).splitlines() if line.startswith("|")]
    assert set(tables) > {line for line in page.make_page(without).splitlines() if line.startswith("|")}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("docs/tasks.md", r"the flexible fit has an AUROC of .*?\)"),
        ("docs/populations.md", r"boosted trees on 64 scalars reach .*?\)"),
        ("docs/populations.md", r"the fit of a\s+sphere\s+\(.*?\(\["),
        ("docs/populations.md", r"The\s+choices\s+below\s+make .*? paper size"),
        ("docs/data.md", r"p4m\s+has a macro AUC of .*?, means of"),
        ("README.md", r"p4m against plain.*? three trainings"),
        ("README.md", r"Against a lens model.*?\s+not\s+shown\s+to\s+differ"),
        ("README.md", r"pictures of real galaxies.*? equal MACs \.\d{4}"),
        ("docs/findings.md", r"With real galaxies as sources.*?\s+same\s+galaxies\s+\.\d{4}"),
        ("docs/findings.md", r"Trained on truncated haloes.*? fitted lens reaches .*? So"),
        ("docs/findings.md", r"raises p4m above both.*?\s+same\s+galaxies\s+\.\d{4}"),
        ("docs/findings.md", r"for nothing else, p4m has .*?, all means of"),
        ("docs/findings.md", r"images p4m is ahead.*? three trainings"),
        ("docs/findings.md", r"on the image alone reaches the fitted.*?\s+not\s+shown\s+to\s+differ"),
        ("docs/findings.md", r"one\s+training\s+reached\s.*? but\s+only"),
        ("docs/weights.md", r"their macro AUC on .*? on Model B"),
        ("docs/weights.md", r"Four\s+files of `p4m` .*? throughout"),
        ("docs/data.md", r"In the same training it ends at .*? one training each"),
        ("docs/tasks.md", r"budget laptop: CRPS skill .*?\(\["),
    ],
)
def test_figures_that_pages_quote_stand_in_the_results(name, sentence):
    [quoted] = re.findall(sentence, (ROOT / name).read_text(encoding="utf-8"), flags=re.S)
    figures = re.findall(r"\.\d{4}", quoted)
    assert len(figures) >= 2
    pages = [ROOT / "docs/results.md", ROOT / "benchmarks/results/learning_rates.md"]
    results = "".join(page.read_text(encoding="utf-8") for page in pages)
    assert [figure for figure in figures if figure not in results] == []
