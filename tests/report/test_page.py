"""The page is well-formed, self-contained, agrees with the results, and is quick to write again."""

from __future__ import annotations

import base64
import csv
import dataclasses
import hashlib
import html
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args
from urllib.parse import unquote

import numpy as np
import pytest
import reportdata
from click.testing import CliRunner
from msgspec.structs import replace
from smallrun import write_result

from zoo.cli import cli
from zoo.report import page as page_module
from zoo.report import problems
from zoo.report.page import write_page
from zoo.report.problems import find_problems
from zoo.results import digest, store
from zoo.results.cell import Cell
from zoo.results.digest import read_digest
from zoo.results.store import plain_result

good, bad, stored, make_cell = reportdata.good, reportdata.bad, reportdata.stored, reportdata.make_cell


@pytest.fixture
def results(tmp_path):
    """Two networks with two seeds, one that failed, and one at two training sizes."""
    folder = tmp_path / "store"
    found = [
        stored(folder, good(macro, model=f"toyzoo/{name}", seed=seed), images=300, signal=signal)
        for name, macro, signal in (("best", 0.95, 2.0), ("poor", 0.85, 1.0))
        for seed in (0, 1)
    ]
    small = good(0.7, model="toyzoo/poor", sizes={"train": 900, "val": 1024, "test": 2048})
    return [*found, stored(folder, small, images=300, signal=0.6), bad("<script>alert(1)</script>", model="toyzoo/ill")]


@pytest.fixture
def page(results, tmp_path):
    rest = [store.Unreadable(run_dir=Path("a/b/c/d"), cause="result.json is of schema 0; this zoo reads schema 1")]
    write_page(find_problems(results), rest, tmp_path / "page.html", datasets=reportdata.DATASETS)
    return (tmp_path / "page.html").read_text(encoding="utf-8")


class Checker(HTMLParser):
    """Collects texts, attributes, and tags that are opened and not closed, or the reverse."""

    EMPTY = frozenset({"meta", "img", "br", "wbr", "input", "path", "circle"})

    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.words, self.attributes, self.ids = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        if tag not in self.EMPTY and (not self.open or self.open.pop() != tag):
            self.wrong.append((tag, self.getpos()))

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_is_well_formed_and_self_contained(page):
    checker = Checker()
    checker.feed(page)
    assert checker.wrong == []
    assert checker.open == []
    assert len(set(checker.ids)) == len(checker.ids)
    for tag, name, value in checker.attributes:
        if name in ("src", "href", "xlink:href", "action"):
            assert value.startswith(("data:image/png;base64,", "data:text/csv;charset=utf-8,", "#")), (tag, value)
        if name == "href" and value.startswith("#"):
            assert value[1:] in checker.ids
    assert not re.search(r"url\(|@import|https?://", page)
    assert "nan" not in re.sub(
        r"[a-z]", "", " ".join(value or "" for _, name, value in checker.attributes if name == "d")
    )


def test_the_page_agrees_with_the_results(page):
    checker = Checker()
    checker.feed(page)
    text = " ".join(" ".join(checker.words).split())
    for words in (
        "toyzoo/best",
        "0.9500",
        "± 0.0000",
        "There are too few trainings to tell it from toyzoo/poor.",  # two each
        "<script>alert(1)</script>",  # escaped in the source, a text here
        "result.json is of schema 0",
        "Learning curves",
        "length of the vortex (arcsec)",
    ):
        assert words in text, words
    assert "<script>alert(1)</script>" not in page
    assert page.count("<h2>") == 3  # two training sizes, and the environment


def test_a_training_on_the_cpu_of_a_machine_with_a_gpu_is_not_listed_under_the_gpu(tmp_path):
    environment = replace(good(0.9).environment, gpu="Some GPU", processor="Some CPU")
    results = [
        stored(tmp_path / "store", replace(good(0.9, model="toyzoo/best", seed=seed), device=device), images=300)
        for seed, device in enumerate(("cuda:0", "cuda:1", "cpu"))
    ]
    results = [replace(result, environment=environment) for result in results]
    write_page(find_problems(results), [], tmp_path / "page.html", datasets=reportdata.DATASETS)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    machines = re.findall(r"<summary>(\d runs? on [\w ]*), torch", page)
    assert sorted(machines) == ["1 run on Some CPU", "2 runs on Some GPU"]


def test_failed_runs_do_not_count_as_tested(results, tmp_path):
    nowhere = {"params": {"count": 7}, "data": "toyzoo/absent"}
    results = [*results, bad("no such file", model="toyzoo/best", **nowhere)]
    write_page(find_problems(results), [], tmp_path / "page.html", datasets=reportdata.DATASETS)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    lead = " ".join(re.search(r'<p class="lead">(.*?)</p>', page, re.DOTALL)[1].split())
    assert lead.startswith("5 runs of 2 networks on 2 problems. ")
    assert lead.endswith("Not counted: 2 runs that failed; on 1 more problem every run failed.")
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert [heading.endswith(" (every run failed)") for heading in headings] == [False, False, True, False]
    assert page.count(" (failed)</a>") == 1


def test_the_contents_list_every_heading(page):
    headings = re.findall(r'<h3 id="([^"]*)">', page)
    assert re.findall(r'<li><a href="#([^"]*)">', page) == headings
    assert len(headings) > 10


def test_every_chart_has_its_numbers_and_every_problem_its_runs(page, results):
    links = re.findall(r'<a download="([^"]*)" href="data:text/csv;charset=utf-8,([^"]*)"', page)
    tables = {name: list(csv.reader(io.StringIO(unquote(html.unescape(text))))) for name, text in links}
    assert len(tables) == len(links) == page.count("<figure data-file") + 3  # charts, runs of two problems, differences
    for name, [columns, *rows] in tables.items():
        assert len(columns) > 2, name
        assert rows, name
        assert {len(row) for row in rows} == {len(columns)}, name
    values = {value for rows in tables.values() for row in rows for value in row}
    assert values >= {result.run_id for result in results}


@pytest.mark.parametrize(("macro", "axes"), [(0.99, "logarithmic"), (0.8, "linear")])
def test_axes_of_roc_curves_are_logarithmic_near_1(tmp_path, macro, axes):
    write_page(find_problems([stored(tmp_path / "store", good(macro))]), [], tmp_path / "page.html")
    assert re.findall(r'value="(\w+)" checked', (tmp_path / "page.html").read_text()) == [axes]


def test_every_verdict_has_its_words():
    from zoo.report import blocks, page
    from zoo.results.verdict import _ONE_AND_SEVERAL, _SENTENCES, Verdict

    verdicts = set(get_args(Verdict))
    assert set(page._AGAINST) == set(_SENTENCES) == verdicts
    assert set(blocks._VERDICTS) == verdicts - {"higher"}
    assert set(blocks._ONE_AND_SEVERAL) == set(_ONE_AND_SEVERAL) == {"trainings differ", "trainings alike"}
    for verdict in verdicts - {"higher"}:
        words = _SENTENCES[verdict] + page._AGAINST[verdict] + blocks._VERDICTS[verdict]
        assert not re.search(r"better|ahead of|has a higher|\bp\b", words)


HOSTILE = "<img src=x onerror=alert(1)>\"'&"


def test_no_value_of_a_store_becomes_markup(results, tmp_path):
    """Names, classes, settings, versions, devices, errors and folders may hold anything."""
    changed = []
    for result in results:
        cell = dataclasses.replace(
            result.cell,
            model=f"toyzoo/{HOSTILE}{result.cell.model}",
            hparams={HOSTILE: HOSTILE},
            versions={HOSTILE: HOSTILE},
        )
        values = {"cell": cell, "run_id": cell.run_id}
        if result.status == "ok":
            names = {result.classes[0]: HOSTILE}
            area = {names.get(name, name): value for name, value in result.test.auc.items()}
            values |= {
                "classes": tuple(names.get(name, name) for name in result.classes),
                "test": replace(result.test, auc=area),
                "device": HOSTILE,
            }
        else:
            values["error"] = HOSTILE
        changed.append(replace(result, **values))
    rest = [store.Unreadable(run_dir=Path("a/b/c") / HOSTILE.replace("/", ""), cause=HOSTILE)]
    write_page(find_problems(changed), rest, tmp_path / "page.html", title=HOSTILE, datasets=reportdata.DATASETS)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    checker = Checker()
    checker.feed(page)
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") > 20
    assert not [name for _, name, _ in checker.attributes if name.startswith("on")]
    assert (checker.open, checker.wrong) == ([], [])


def test_the_policy_allows_the_script_of_the_page_and_no_other(page):
    [script] = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    [allowed] = re.findall(r"script-src ([^;]*);", page)
    assert allowed == f"'sha256-{digest}'"


def compared(results, folder):
    return [problem.comparisons for problem in find_problems(results, store=folder)]


def test_the_second_report_reads_no_predictions(results, tmp_path, monkeypatch):
    folder = tmp_path / "store"
    write_page(find_problems(results, store=folder), [], tmp_path / "one.html")
    with monkeypatch.context() as patch:
        patch.setattr(digest, "read_arrays", lambda *_, **__: pytest.fail("computed again"))
        patch.setattr(problems, "compare_pairs", lambda *_: pytest.fail("compared again"))
        write_page(find_problems(results, store=folder), [], tmp_path / "two.html")
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()
    again = stored(folder, results[0], images=300, signal=0.1)
    computed = read_digest(again)
    assert computed == digest.read_kept(again.run_dir / digest.DIGEST, digest.Digest)
    assert compared([*results[1:], again], folder) != compared(results[1:], folder)


def test_an_unwritable_store_gives_a_page_without_a_digest(results, tmp_path, monkeypatch):
    from zoo.errors import DataError

    def refuse(*_):
        raise DataError("no")

    monkeypatch.setattr(digest, "write_text", refuse)
    write_page(find_problems(results, store=tmp_path / "nowhere"), [], tmp_path / "page.html")
    assert not list(tmp_path.rglob(digest.DIGEST))


def test_missing_predictions_remove_only_their_curves(results, tmp_path):
    (results[0].run_dir / store.PREDICTIONS).unlink()
    write_page(find_problems(results), [], tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert re.search(r"toyzoo/best: no curves, because: \S*predictions.safetensors is gone", text)
    assert re.search(r"toyzoo/best is not compared: \S*predictions.safetensors is gone", text)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(300,), (300, 2), (299, 3), (0, 3)])
def test_predictions_of_another_shape_remove_only_their_curves(results, tmp_path, shape):
    path = results[0].run_dir / store.PREDICTIONS
    arrays, metadata = store.read_arrays(path)
    store.write_arrays(path, {**arrays, "test.logits": np.zeros(shape)}, metadata)
    write_page(find_problems(results), [], tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "toyzoo/best is not compared: " in text
    assert "toyzoo/poor" in text


def test_of_many_networks_only_those_in_the_charts_are_read(results, tmp_path, monkeypatch):
    monkeypatch.setattr(page_module, "MOST_SERIES", 1)
    found = find_problems(results)
    write_page(found, [], tmp_path / "page.html")
    assert "The charts show the best 1." in (tmp_path / "page.html").read_text()
    best = {result.run_id for problem in found if problem.variants for result in problem.variants[0].results}
    assert {path.parent.name for path in tmp_path.rglob(digest.DIGEST)} == best


def test_the_command_writes_all_forms(results, tmp_path, monkeypatch):
    folder = str(tmp_path / "store")
    (tmp_path / "store/x/y/z").mkdir(parents=True)
    (tmp_path / "store/x/y/z" / store.RESULT).write_text('{"schema": 0, "status": "ok"}')
    (tmp_path / "store/x/y/w").mkdir()
    store.write_json(tmp_path / "store/x/y/w" / store.CELL, make_cell().to_json())

    def run(*options):
        outcome = CliRunner().invoke(cli, ["report", "--store", folder, *options])
        assert outcome.exit_code == 0, outcome.output
        return outcome

    told = run("--html", str(tmp_path / "new" / "page.html"))
    assert "Too few trainings to tell toyzoo/best and toyzoo/poor apart in macro AUC" in told.stdout
    assert "Over seeds" in told.stdout
    assert "x/y/z is left out: result.json is of schema 0" in told.stderr
    assert "1 cell has not ended" in told.stderr
    assert (tmp_path / "new" / "page.html").stat().st_size > 30_000
    rows = list(csv.DictReader(io.StringIO(run("--csv").stdout)))
    assert [row["model"] for row in rows if row["sizes.train"] == "9216"] == ["toyzoo/best"] * 2 + ["toyzoo/poor"] * 2
    assert {float(row["test.auc.macro"]) for row in rows} == {0.95, 0.85, 0.7}
    assert float(rows[0]["test.intervals.auc.macro.low"]) == pytest.approx(0.94)
    assert len({row["problem"] for row in rows}) == len({row["sizes.train"] for row in rows})
    assert {row["dataset_version"] for row in rows} == {"1"}
    assert "### Over seeds" in run("--md").stdout
    monkeypatch.setattr("zoo.cli.report._MOST_ROWS", 1)
    assert "... and 3 more rows; see them all with --csv" in run().stdout
    refused = CliRunner().invoke(cli, ["report", "--store", folder, "--md", "--csv"])
    assert "exclude each other" in str(refused.exception)


def test_incomplete_results_are_reported(tmp_path):
    whole = plain_result(good(0.9))
    for number, (path, value, words) in enumerate(
        [
            ("schema", 0, "schema 0"),
            ("status", None, "its status is None"),
            ("status", "timeout", "its status is timeout"),
            ("cell.budget", None, "got `null` - at `$.budget`"),
            ("cell.budget", "paper", "has been altered"),
            ("test.intervals", {}, "test.intervals lacks auc.macro"),
            ("classes", ["no_substructure", "other"], "test.auc lacks other"),
            ("classes", [{"name": "subhalo"}], "got `object` - at `$.classes[0]`"),
            ("cost.macs", "many", "got `str` - at `$.cost.macs`"),
            ("cost.more", 1, "unknown field `more` - at `$.cost`"),
            ("test.intervals", {"auc.macro": [0.8, 0.9], "accuracy": [0.7]}, "at `$.test.intervals"),
            ("test.confusion", [[1, 2], [3, 4]], "test.confusion is not a table of 3 x 3 numbers"),
            ("data.counts", {"val": [1, 2, 3], "test": [1, 2]}, "data.counts does not have 3 numbers"),
            ("probe", {"interval": [0.5, 0.6]}, "missing required field `auc` - at `$.probe`"),
        ]
    ):
        content = json.loads(json.dumps(whole))
        *parents, last = path.split(".")
        inner = content
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
        folder = tmp_path / "store" / "a" / "b" / f"{number:02d}"
        folder.mkdir(parents=True)
        write_result(folder, content)
        found, rest = store.scan(tmp_path / "store")
        assert found == []
        assert words in rest[-1].cause
    assert Cell.from_json(whole["cell"]).model == "toyzoo/tiny"
