"""Plans for existing images: how many there are, and notes that are true of them."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.cli import main


@pytest.fixture
def folder(tmp_path):
    """A folder of 60 images in three classes."""
    for label, name in enumerate(("no", "sphere", "vort")):
        (tmp_path / "cutouts" / name).mkdir(parents=True)
        for number in range(20):
            np.save(tmp_path / "cutouts" / name / f"{number}.npy", np.full((1, 8, 8), label, np.float32))
    return tmp_path / "cutouts"


@pytest.fixture
def plan(tmp_path, monkeypatch, capsys):
    """Print a plan on the data of some options and return its lines."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))

    def run(*words):
        with pytest.raises(SystemExit) as ended:
            main(
                ["bench", "--model", "p4m", "--no-baselines", "--device", "cpu", "--dry-run", "--store", str(tmp_path)]
                + [str(word) for word in words]
            )
        printed = capsys.readouterr()
        assert ended.value.code == 0, printed.err
        return printed.err.splitlines()

    return run


def test_a_plan_states_how_many_images_a_folder_has(plan, folder):
    words = ("--data", "deeplense-folder", "--set", f"data.root={folder}")
    lines = plan(*words, "--budget", "laptop")
    there = "deeplense/deeplense-folder: 42 training, 6 validation, 12 test images, fewer than the "
    assert f"{there}16,384, 1,024, 2,048 of the budget laptop" in lines
    assert not any("laptop-size" in line or "--budget evening" in line for line in lines)
    lines = plan(*words, "--budget", "smoke", "--set", "train_images=40", "--set", "val_images=6")
    assert "deeplense/deeplense-folder: 12 test images, fewer than the 256 asked for" in lines
    assert any("the scores are not meaningful" in line for line in lines)
    lines = plan(*words, *(word for split in ("train", "val", "test") for word in ("--set", f"{split}_images=3")))
    assert not any("fewer than" in line or "at most" in line for line in lines)


def test_a_plan_states_the_largest_number_of_images_that_no_check_lists(plan, folder):
    most = "deeplense/deeplense-folder: existing images, at most 512 training, 256 validation, 256 test images"
    words = ("--data", "deeplense-folder", "--set", f"data.root={folder}", "--budget", "smoke")
    assert most in plan(*words, "--set", "data.skip_broken=true")


def test_changed_numbers_of_simulated_images_have_no_note_on_the_size_of_the_budget(plan):
    assert any("a laptop-size problem" in line for line in plan("--data", "modelA", "--budget", "laptop"))
    changed = plan("--data", "modelA", "--budget", "laptop", "--set", "train_images=1024")
    assert not any("laptop-size" in line or "--budget evening" in line for line in changed)
