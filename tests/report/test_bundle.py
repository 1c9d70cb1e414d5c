"""A bundle holds every true run of a store, and is a store itself."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import zipfile

import pytest
from click.testing import CliRunner
from huggingface_hub import ModelCard
from smallrun import write_result

from zoo.cli import cli
from zoo.errors import DataError, UsageError
from zoo.paths import file_sha256
from zoo.report import bundle
from zoo.results import store
from zoo.results.schema import Failed
from zoo.results.verify import verify_run

pytestmark = pytest.mark.slow  # one small training


def write(host, run_dir, *words):
    command = ["report", "--store", str(run_dir.parents[2]), "--bundle", "bundle.zip", *words]
    return CliRunner().invoke(cli, command, obj=host)


def unpacked(folder):
    with zipfile.ZipFile("bundle.zip") as archive:
        assert archive.testzip() is None
        archive.extractall(folder)
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_bundle_is_complete_and_a_store_again(run_dir, host, tmp_path):
    done = write(host, run_dir, "--licence", "cc-by-4.0")
    assert done.exit_code == 0, done.output
    assert "wrote bundle.zip: 1 run\n" in done.stderr
    folder = unpacked(tmp_path / "unpacked")
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    sums = dict(reversed(line.split("  ")) for line in (folder / bundle.CHECKSUMS).read_text().splitlines())
    assert sums.keys() == files - {bundle.CHECKSUMS}
    for name, digest in sums.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    [result], rest = store.scan(folder / "runs")
    assert rest == []
    assert verify_run(result.run_dir).state == "true"
    card = ModelCard.load(result.run_dir / "README.md").data
    assert card.license == "cc-by-4.0"
    assert card.eval_results[0].metric_value == result.test.macro
    [row] = csv.DictReader((folder / "results.csv").read_text().splitlines())
    assert float(row["test.auc.macro"]) == result.test.macro
    [machine] = json.loads((folder / "environments.json").read_text())
    assert machine["runs"] == [result.run_id]
    assert machine["environment"]["python"] == result.environment.python
    assert str(tmp_path) not in (folder / "README.md").read_text()


def test_the_same_store_gives_the_same_bytes(run_dir, host):
    contents = []
    for _ in range(2):
        assert write(host, run_dir).exit_code == 0
        with open("bundle.zip", "rb") as file:
            contents.append(file.read())
        shutil.move("bundle.zip", "earlier.zip")
    assert contents[0] == contents[1]


def test_a_bundle_overwrites_nothing(run_dir, host, tmp_path):
    (tmp_path / "bundle.zip").write_text("mine")
    done = write(host, run_dir)
    assert isinstance(done.exception, UsageError)
    assert "is not overwritten" in str(done.exception)
    assert (tmp_path / "bundle.zip").read_text() == "mine"


@pytest.mark.parametrize("name", store.HASHED)
def test_a_store_of_damaged_runs_gives_no_bundle(run_dir, host, tmp_path, name):
    with (run_dir / name).open("ab") as file:
        file.write(b" ")
    done = write(host, run_dir)
    assert isinstance(done.exception, DataError)
    assert f"{name} has been altered or damaged" in str(done.exception)
    assert not list(tmp_path.glob("*bundle*"))


def test_a_damaged_run_is_named_and_a_failed_one_is_kept(run_dir, host, run_toy, tmp_path):
    """Of three runs: one is true, one lacks its weights, one failed."""
    _, damaged = run_toy(run_dir.parents[2], lr=0.01)
    (damaged / store.WEIGHTS).unlink()
    _, other = run_toy(run_dir.parents[2], lr=0.03)
    cell = store.open_result(other).cell
    store.write_result(
        Failed(schema=store.SCHEMA, status="oom", run_id=cell.run_id, cell=cell, run_dir=other, error="out of memory")
    )
    done = write(host, run_dir)
    assert f"note: {damaged} is left out: " in done.stderr
    assert "wrote bundle.zip: 2 runs\n" in done.stderr
    folder = unpacked(tmp_path / "unpacked")
    found, rest = store.scan(folder / "runs")
    assert {result.run_dir.name: result.status for result in found} == {run_dir.name: "ok", other.name: "oom"}
    assert rest == []
    readme = (folder / "README.md").read_text()
    assert damaged.name in readme.partition("## Left out")[2]
    assert other.name not in readme.partition("## Left out")[2]


@pytest.mark.parametrize("name", [store.PREDICTIONS, store.RESULT])
def test_a_file_that_changes_while_it_is_copied_leaves_no_bundle(run_dir, host, tmp_path, monkeypatch, name):
    check = bundle._check

    def changed_after(*args, **options):
        found = check(*args, **options)
        with (run_dir / name).open("ab") as file:
            file.write(b" ")
        return found

    monkeypatch.setattr(bundle, "_check", changed_after)
    done = write(host, run_dir)
    assert f"{name} changed while it was copied" in str(done.exception)
    assert not list(tmp_path.glob("*bundle*"))


def test_a_result_that_names_a_file_elsewhere_is_left_out(run_dir, host, tmp_path):
    (tmp_path / "secret").write_text("mine")
    content = json.loads((run_dir / store.RESULT).read_text())
    outside = "../../../../secret"
    content["files"][outside] = file_sha256(run_dir / outside)
    write_result(run_dir, content)
    assert f"result.json names the file {outside}" in str(write(host, run_dir).exception)


def test_a_licence_without_a_bundle_is_refused(run_dir, host):
    done = CliRunner().invoke(cli, ["report", "--store", str(run_dir.parents[2]), "--licence", "mit"], obj=host)
    assert isinstance(done.exception, UsageError)
