"""Hidden seeds: the commitment binds the seed and shows nothing of it; no id or order shows a class."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest

from zoo import registry
from zoo.data.folder import cache_folder
from zoo.data.hidden import HiddenSeed, open_published, read_seed_file
from zoo.data.open import Dataset
from zoo.data.recipe import Recipe
from zoo.errors import UsageError
from zoo.host import load_plugins
from zoo.plan.recipes import make_recipe
from zoo.specs import DatasetSpec

HOST = load_plugins(files=[Path(__file__).parents[1] / "toys/toysky.py"], environment={})
CHALLENGES = Path(__file__).parents[2] / "docs" / "challenges.md"
SIZES = {"train": 9, "val": 9, "test": 60}
SEED = HiddenSeed(secret="41ab0977d6f2c8e35b1690fd7ca2e84f")
OTHER = HiddenSeed(secret="fedcba9876543210fedcba9876543210")


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    spec = registry.find(HOST, DatasetSpec, "toysky/discs")
    return make_recipe(HOST, spec, params=spec.params, simulator="toysky/painter", device="cpu")


def test_anyone_can_check_the_commitment_once_the_secret_is_published(recipe):
    salt, _, digest = SEED.commitment(recipe).partition(":")
    assert digest == hashlib.sha256((salt + SEED.secret).encode()).hexdigest()
    other = dataclasses.replace(recipe, params={**recipe.params, "snr": 5.0})
    commitments = {seed.commitment(each) for seed in (SEED, OTHER) for each in (recipe, other)}
    assert len(commitments) == 4


def test_what_is_published_holds_no_seed(recipe):
    published = SEED.published(recipe)
    text = json.dumps([published.to_json(), published.hash, repr(SEED), repr(published)])
    for secret in (SEED.secret, str(SEED.number), dataclasses.replace(recipe, seed=SEED.number).hash):
        assert secret not in text
    assert published.seed == 0
    assert published.hash != recipe.hash  # results of a challenge never share a table with public ones
    assert SEED.published(published) == published


def test_recipes_without_a_commitment_keep_their_hash():
    recipe = Recipe(dataset="a/b", dataset_version=1)
    assert "commitment" not in recipe.to_json()
    assert Recipe(**SEED.published(recipe).to_json()) == SEED.published(recipe)


def test_the_images_are_those_of_the_hidden_seed_and_their_ids_show_no_class(recipe):
    published = SEED.published(recipe)
    hidden = open_published(HOST, published, SIZES, split="test", seed=SEED)
    again = open_published(HOST, published, SIZES, split="test", seed=SEED)
    made = Dataset(HOST, dataclasses.replace(recipe, seed=SEED.number), SIZES).split("test")
    np.testing.assert_array_equal(hidden.images, made.images)
    assert hidden.ids == again.ids
    assert sorted(hidden.ids) == [f"hidden-test-{i:07d}" for i in range(60)]
    labels = hidden.labels[np.argsort(hidden.ids)]
    # Labels of this population repeat 0, 1, 2: in a shuffled order few of 60 do.
    assert (labels == np.arange(60) % 3).mean() < 0.6


@pytest.mark.parametrize(
    ("published", "seed", "words"),
    [(True, OTHER, "another seed"), (True, None, "hidden"), (False, SEED, "public")],
)
def test_another_seed_is_refused(recipe, published, seed, words):
    recipe = SEED.published(recipe) if published else recipe
    with pytest.raises(UsageError, match=words) as error:
        open_published(HOST, recipe, SIZES, split="test", seed=seed)
    assert not any(each.secret in str(error.value) for each in (SEED, OTHER))


@pytest.mark.parametrize("text", ["", "1", "a" * 100, "1234567" * 10, "0123456789" * 4, "short but different"])
def test_a_seed_that_could_be_found_by_trying_is_refused(tmp_path, text):
    (tmp_path / "seed").write_text(text)
    with pytest.raises(UsageError, match="found by trying") as error:
        read_seed_file(tmp_path / "seed")
    assert not text or text not in str(error.value).replace("\n", " ").partition("seed ")[2] or len(text) < 2


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_published_command_gives_the_commitment_of_every_seed_file(tmp_path, recipe, end):
    (tmp_path / "seed").write_bytes(f"{SEED.secret}{end}".encode())
    assert read_seed_file(tmp_path / "seed") == SEED
    salt, _, digest = SEED.commitment(recipe).partition(":")
    [command] = re.findall(r"^\(printf .*sha256sum$", CHALLENGES.read_text(encoding="utf-8"), flags=re.M)
    command = command.replace("SALT", salt).replace("seed.txt", "seed")
    done = subprocess.run(command, shell=True, check=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split()[0] == digest


@pytest.mark.parametrize(
    "text",
    [f"{SEED.secret}\n{OTHER.secret}", f"{SEED.secret}\0", f" {SEED.secret}", f"\ufeff{SEED.secret}", "ab12c" * 9999],
)
def test_a_seed_that_the_published_command_would_hash_otherwise_is_refused(tmp_path, text):
    (tmp_path / "seed").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="not one line") as error:
        read_seed_file(tmp_path / "seed")
    assert SEED.secret not in str(error.value)


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, True), (0o644, True)])
def test_a_seed_that_others_can_read_is_named(tmp_path, caplog, mode, warned):
    (tmp_path / "seed").write_text(SEED.secret)
    (tmp_path / "seed").chmod(mode)
    assert read_seed_file(tmp_path / "seed") == SEED
    assert ("chmod 600" in caplog.text) == warned


def test_images_of_a_hidden_seed_are_kept_from_others(recipe):
    open_published(HOST, recipe, SIZES, split="test")
    open_published(HOST, SEED.published(recipe), SIZES, split="test", seed=SEED)
    public, hidden = cache_folder(recipe), cache_folder(dataclasses.replace(recipe, seed=SEED.number))
    assert stat.S_IMODE(hidden.stat().st_mode) == 0o700
    assert stat.S_IMODE(public.stat().st_mode) & 0o005 == 0o005 & ~_umask()


def _umask():
    os.umask(mask := os.umask(0))
    return mask


def test_a_seed_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UsageError, match="not found"):
        read_seed_file(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="cannot be read"):
        read_seed_file(tmp_path)
