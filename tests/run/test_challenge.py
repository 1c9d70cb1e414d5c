"""A blind challenge from export to score: only the holder of the seed can score, and nothing shows the seed."""

from __future__ import annotations

import csv
import json
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
    assert "not of one of the 30 images" in challenge("score", "guess.csv", "--data", "public", code=2)
