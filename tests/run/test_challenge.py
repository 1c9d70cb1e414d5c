"""A blind challenge from export to score: only the holder of the seed can score, and nothing shows the seed."""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.cli import main
from zoo.data.hidden import read_seed_file
from zoo.results import store

SKY = Path(__file__).parents[1] / "toys" / "toysky.py"
SECRET, OTHER = "9f86d081884c7d659a2feaa0c55ad015", "60303ae22b998861bce3b28f33eec1be"


@pytest.fixture
def challenge(tmp_path, monkeypatch, capsys):
    """An export of a hidden seed in the folder "out", predictions for it, and a function that runs zoo."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ZOO_PLUGIN_FILES", str(SKY))
    (tmp_path / "seed.txt").write_text(SECRET)
    (tmp_path / "other.txt").write_text(OTHER)

    def zoo(*words, code=0):
        with pytest.raises(SystemExit) as exit_request:
            main([str(word) for word in words])
        told = capsys.readouterr()
        assert exit_request.value.code == code, told.err
        return told.out + told.err

    zoo("data", "export", "toysky/discs", "--budget", "smoke", "--set", "test_images=30", "--simulator",
        "toysky/painter", "--device", "cpu", "--out", "out", "--seed-file", "seed.txt")  # fmt: skip
    with open("out/ids.csv", newline="") as file, open("guess.csv", "w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["id", "a", "b", "c"])
        writer.writerows([row["id"], 0.5, 0.25, 0.25] for row in csv.DictReader(file))
    return zoo


@pytest.mark.slow
def test_the_holder_of_the_seed_scores_and_the_result_shows_no_seed(challenge, tmp_path):
    told = challenge("score", "guess.csv", "--data", "out", "--seed-file", "seed.txt")
    told += challenge("report", "--html", "page.html", "--csv") + challenge("report", "--md")
    told += challenge("verify", "results") + challenge("report", "--json")
    [result] = store.results(tmp_path / "results")
    assert result.test.macro == 0.5
    assert (
        result.cell.recipe.commitment == json.loads((tmp_path / "out/export.json").read_text())["recipe"]["commitment"]
    )
    everything = told.encode() + b"".join(
        path.name.encode() + path.read_bytes()
        for folder in ("results", "out")
        for path in (tmp_path / folder).rglob("*")
        if path.is_file()
    ) + (tmp_path / "page.html").read_bytes()  # fmt: skip
    for secret in (SECRET, str(read_seed_file(tmp_path / "seed.txt").number)):
        assert secret.encode() not in everything
    # The page of a challenge shows no image with its class.
    assert not (result.run_dir / store.MISTAKES).exists()
    assert challenge("show", result.run_id[:8]).count(result.cell.recipe.commitment[:16])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--data", "out", "--seed-file", "other.txt"), "another seed"),
        (("--data", "out"), "hidden"),
        (("--data", "toysky/discs", "--budget", "smoke", "--seed-file", "seed.txt", "--simulator", "toysky/painter"),
         "public"),
    ],
)  # fmt: skip
def test_another_seed_is_refused_and_nothing_is_stored(challenge, tmp_path, words, told):
    answer = challenge("score", "guess.csv", *words, code=2)
    assert told in answer
    assert SECRET not in answer
    assert OTHER not in answer
    assert not (tmp_path / "results").exists()


def test_predictions_for_the_public_images_do_not_fit(challenge):
    challenge("data", "export", "toysky/discs", "--budget", "smoke", "--set", "test_images=30", "--simulator",
              "toysky/painter", "--device", "cpu", "--out", "public", "--no-labels")  # fmt: skip
    assert "not found among the 30 images" in challenge("score", "guess.csv", "--data", "public", code=2)


def test_an_export_of_other_versions_is_refused(challenge, tmp_path):
    path = tmp_path / "out" / "export.json"
    content = json.loads(path.read_text())
    for name, told in (("dataset_version", "of toysky/discs"), ("simulator_version", "of toysky/painter")):
        changed = {**content, "recipe": {**content["recipe"], name: 9}}
        path.write_text(json.dumps(changed))
        answer = challenge("score", "guess.csv", "--data", "out", "--seed-file", "seed.txt", code=1)
        assert f"version 9 {told}" in answer


@pytest.mark.slow
def test_the_commands_of_the_page_run(challenge, tmp_path):
    """In their order, with a smaller problem; the page's own commands make the files that later ones read."""
    page = (Path(__file__).parents[2] / "docs" / "challenges.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", page, flags=re.S)
    lines = [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines()]
    small = "toysky/discs --budget smoke --set test_images=30 --set train_images=9 --simulator toysky/painter"
    ran = []
    for line in lines:
        if line.startswith("zoo data export"):
            out = f"export{len(ran)}" if "--no-labels" in line or "--format" in line else line.partition("--out ")[2]
            words = line.partition(" --out ")[0].replace("modelB --budget laptop", small)
            challenge(*shlex.split(words)[1:], "--out", out, *shlex.split(line.partition("--out ")[2])[1:])
        elif line.startswith("zoo score"):
            folder = "challenge" if "--seed-file" in line else "test"
            with open(f"{folder}/ids.csv", newline="") as file, open(shlex.split(line)[2], "w", newline="") as out:
                writer = csv.writer(out)
                writer.writerow(["id", "a", "b", "c"])
                writer.writerows([row["id"], 0.5, 0.25, 0.25] for row in csv.DictReader(file))
            challenge(*shlex.split(line.replace("modelB --budget laptop", small))[1:])
        elif line.startswith("zoo report"):
            challenge(*shlex.split(line)[1:])
        elif line.startswith(("python -c", "(printf")):
            published = json.loads(Path("challenge/export.json").read_text()) if line.startswith("(") else {}
            salt, _, digest = published.get("recipe", {}).get("commitment", "").partition(":")
            line = line.replace("python", sys.executable).replace("SALT", salt)
            done = subprocess.run(line, shell=True, check=True, capture_output=True, text=True)
            assert done.stdout.partition(" ")[0] == digest
        else:
            raise AssertionError(line)
        ran.append(line)
    assert len(ran) > 8
    assert {result.cell.model for result in store.results(tmp_path / "results")} == {
        "scored/nearest",
        "scored/predictions",
    }
