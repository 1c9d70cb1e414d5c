"""The record of the headline experiment: runs of a store join it, and what is damaged is named."""

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from zoo.cli import cli
from zoo.paths import file_sha256
from zoo.results import store

BEGINS, ENDS = "<!-- benchmarks/headline.py --write -->\n", "\n<!-- until here -->"


def test_without_store_and_record_it_says_what_to_do(headline, tmp_path, monkeypatch):
    monkeypatch.setattr(headline, "RECORD", tmp_path / "record.jsonl")
    assert headline.read_record() == []
    with pytest.raises(SystemExit, match=r"contains no results. First run: uv run python benchmarks"):
        headline.main(["--store", str(tmp_path / "nothing"), "--write"])


@pytest.fixture
def elsewhere(headline, tmp_path, monkeypatch):
    """Record, page and README in a folder of this test, with one run with scores on shifted data."""
    paths = {name: tmp_path / name for name in ("RECORD", "PAGE", "README")}
    run = next(run for run in headline.read_record() if run["shifts"])
    paths["RECORD"].write_text(json.dumps(run) + "\n", encoding="utf-8")
    paths["README"].write_text(f"# Here\n{BEGINS}old{ENDS}\nmore\n", encoding="utf-8")
    for name, path in paths.items():
        monkeypatch.setattr(headline, name, path)
    return paths


def test_the_runs_of_a_store_join_the_record(headline, tmp_path, monkeypatch, elsewhere):
    [first] = headline.read_record()
    second = first | {"run_id": "another", "seconds": 2.0}
    # A store without the scores on shifted data, or with one of them, takes none from the record.
    [shift, *_] = first["shifts"]
    again = first | {"seconds": 1.0, "shifts": {shift: first["shifts"][shift] | {"images": 9}}}
    monkeypatch.setattr(headline, "records", lambda store, *, part: [again, second] if part == "table" else [])
    monkeypatch.setattr(headline, "readme_tables", lambda runs: f"{len(runs)} rows")
    for _ in range(2):
        headline.write(tmp_path)
        [kept, other] = headline.read_record()
        assert (kept["seconds"], other["seconds"]) == (1.0, 2.0)
        assert kept["shifts"].keys() == first["shifts"].keys()
        assert kept["shifts"][shift]["images"] == 9
        assert elsewhere["README"].read_text() == f"# Here\n{BEGINS}2 rows{ENDS}\nmore\n"
    assert first["cell"]["model"] in elsewhere["PAGE"].read_text()


def test_a_run_of_both_stores_stands_in_both_parts(headline, tmp_path, monkeypatch, elsewhere):
    """What difficulty.toml trains without a change, and baselines, are cells of the table, too."""
    [first] = headline.read_record()
    monkeypatch.setattr(headline, "records", lambda store, *, part: [first | {"part": part}])
    monkeypatch.setattr(headline, "readme_tables", lambda runs: "")
    for _ in range(2):
        headline.write(tmp_path)
        assert [run["part"] for run in headline.read_record()] == ["table", "difficulty"]


@pytest.mark.parametrize("damage", [" ends", "begins", "twice", "turned"])
def test_a_readme_without_its_marks_is_left_alone(headline, tmp_path, elsewhere, damage):
    text = {
        " ends": f"{BEGINS}old\nmore", "begins": f"old{ENDS}\nmore", "twice": f"{BEGINS}{BEGINS}old{ENDS}",
        "turned": f"{ENDS}old{BEGINS}",
    }[damage]  # fmt: skip
    elsewhere["README"].write_text(text)
    before = elsewhere["RECORD"].read_text()
    with pytest.raises(SystemExit, match="must contain the lines <!-- benchmarks"):
        headline.write(tmp_path)
    assert (elsewhere["README"].read_text(), elsewhere["RECORD"].read_text()) == (text, before)


@pytest.mark.parametrize("line", ["", "{}", '{"cut', '["a"]'])
def test_a_damaged_record_is_named_and_left_alone(headline, tmp_path, elsewhere, line):
    whole = elsewhere["RECORD"].read_text()
    elsewhere["RECORD"].write_text(f"{whole}{line}\n{whole}")
    with pytest.raises(SystemExit, match="line 2 is not a valid run"):
        headline.write(tmp_path)
    assert elsewhere["RECORD"].read_text() == f"{whole}{line}\n{whole}"


def test_damaged_runs_of_a_store_are_left_out_by_name(headline, page, tmp_path, monkeypatch, capsys):
    [run, *_] = headline.read_record()
    names = ("whole", "no history", "cut history", "other history", "no micro")
    results = {name: replace(headline.read_run(run).result, run_dir=tmp_path / name) for name in names}
    whole = json.dumps(run["history"][0]) + "\n"
    for name in names:
        (tmp_path / name).mkdir()
        text = {"cut history": '{"cut', "other history": '{"epoch": 1}\n'}.get(name, whole)
        (tmp_path / name / "history.jsonl").write_text(text)
        hashes = {store.HISTORY: file_sha256(tmp_path / name / store.HISTORY)}
        results[name] = replace(results[name], files=hashes, val=replace(results[name].val, epoch=1))
    (tmp_path / "no history" / "history.jsonl").unlink()
    test = results["no micro"].test
    without = {name: area for name, area in test.auc.items() if name != "micro"}
    results["no micro"] = replace(results["no micro"], test=replace(test, auc=without))
    monkeypatch.setattr(headline.result_store, "results", lambda _: results.values())
    assert [found["history"] for found in headline.records(tmp_path, part="table")] == [run["history"][:1]]
    told = capsys.readouterr().out
    for name in names[1:]:
        assert f"{tmp_path / name}, which is damaged" in told


def results_page() -> str:
    return (Path(__file__).parents[1] / "docs/results.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", re.findall(r"^zoo (bench .*--precision .*)$", results_page(), flags=re.M))
def test_the_commands_of_the_page_plan_the_recorded_runs(headline, command):
    recorded = {line["run_id"] for line in headline.read_record()}
    words = [*shlex.split(command), "--no-baselines", "--dry-run", "--json"]
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    planned = {cell["run_id"] for cell in json.loads(done.stdout)}
    assert planned
    assert planned <= recorded


def test_the_commands_are_those_of_every_budget_that_cpus_ran():
    lines = re.findall(r"^zoo bench .*--precision .*$", results_page(), flags=re.M)
    assert {line.split(" --data ")[1].split()[0] for line in lines} == {
        "modelA", "modelB", "published", "real_sources", "modelA_tnfw", "modelB_tnfw",
    }  # fmt: skip
