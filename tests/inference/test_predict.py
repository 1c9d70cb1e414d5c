"""`zoo predict`: what it prints is what the network says of the prepared image; what it cannot read costs exit 1."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from msgspec.structs import replace

from zoo.cli import cli
from zoo.inference.answer import Prediction, Summary
from zoo.models.pixels import corner_level, far_level

TOY = Path(__file__).parents[1] / "toys" / "toyzoo.py"


@pytest.fixture
def zoo_predict(host, weights):
    def go(*words, stdin=None):
        return CliRunner().invoke(cli, ["predict", str(weights), *map(str, words)], obj=host, input=stdin)

    return go


def lenses(count=4, size=12, seed=0):
    return np.random.default_rng(seed).normal(size=(count, size, size)).astype(np.float32)


def test_table_csv_and_json_say_the_same(zoo_predict, model, tmp_path):
    np.save(tmp_path / "lenses.npy", lenses())
    expected = model.predict_proba(lenses())
    path = tmp_path / "lenses.npy"
    done = zoo_predict(path, "--json", "--batch-size", 3)
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert [row["image"] for row in rows] == [f"{path}[{i}]" for i in range(4)]
    assert [[row["probabilities"][name] for name in "abc"] for row in rows] == pytest.approx(expected, abs=1e-6)
    assert [row["class"] for row in rows] == ["abc"[k] for k in expected.argmax(1)]
    table = list(csv.DictReader(io.StringIO(zoo_predict(path, "--csv").stdout)))
    assert [float(row["p_b"]) for row in table] == pytest.approx(expected[:, 1], abs=1e-6)
    lines = zoo_predict(path).stdout.splitlines()
    assert lines[0].split() == ["a", "b", "c", "class", "image"]
    assert [float(line.split()[2]) for line in lines[1:]] == pytest.approx(expected[:, 2], abs=1e-4)
    averaged = json.loads(zoo_predict(path, "--json", "--average", "d4").stdout)
    assert averaged[0]["probabilities"]["a"] == pytest.approx(
        model.predict_proba(lenses(), average="d4")[0, 0], abs=1e-6
    )


def test_fits_are_brought_to_the_training_pixels(zoo_predict, model, tmp_path):
    """At half the pixel scale, four pixels are summed; a header without one is taken as it is, and that is said."""
    fine = lenses(1, 30)[0]
    fits.writeto(tmp_path / "fine.fits", fine, header=fits.Header({"PIXSCALE": 0.05}))
    fits.writeto(tmp_path / "plain.fits", fine)
    # The middle 24 of 30 pixels, in pairs.
    even = fine[3:27, 3:27].reshape(12, 2, 12, 2).sum((1, 3))
    rows = json.loads(zoo_predict(tmp_path / "fine.fits", "--json").stdout)
    assert rows[0]["probabilities"]["a"] == pytest.approx(model.predict_proba(even)[0, 0], abs=1e-5)
    done = zoo_predict(tmp_path / "plain.fits", "--json")
    said = "the pixel scale of 1 of 1 image is not stated; that of the training images, 0.1 arcsec, is assumed"
    assert said in done.stderr
    cropped = model.predict_proba(fine[9:21, 9:21])[0, 0]
    assert json.loads(done.stdout)[0]["probabilities"]["a"] == pytest.approx(cropped, abs=1e-5)
    told = zoo_predict(tmp_path / "plain.fits", "--json", "--pixel-scale", "0.05")
    assert json.loads(told.stdout) == [{**rows[0], "image": str(tmp_path / "plain.fits")}]
    assert "no pixel scale" not in told.stderr


def test_implausible_pixel_scales_are_left_out(zoo_predict, tmp_path):
    """Trained at 0.1 arcsec, 0.01 to 1 are read; a degree, and degrees for arcsec, name their place in the header."""
    headers = {
        "degree": ({"CDELT1": 1.0, "CDELT2": 1.0}, "CDELT1 in deg states 3600 arcsec per pixel"),
        "degrees": ({"PIXSCALE": 0.1 / 3600}, "PIXSCALE states 2.778e-05 arcsec per pixel"),
        "tiny": ({"PIXSCALE": 1e-300}, "PIXSCALE states 1e-300 arcsec per pixel"),
        "sky": (
            {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": -1.0, "CDELT2": 1.0},
            "the celestial WCS states 3600 arcsec per pixel",
        ),
        "coarse": ({"PIXSCALE": 1.0}, None),
        "fine": ({"CDELT1": 0.01 / 3600, "CDELT2": 0.01 / 3600}, None),
    }
    paths = [tmp_path / f"{name}.fits" for name in headers]
    for path, (header, _) in zip(paths, headers.values(), strict=True):
        fits.writeto(path, lenses(1, 120)[0], header=fits.Header(header))
    done = zoo_predict(*paths, "--json")
    assert done.exit_code == 1, done.output
    for row, (_, reason) in zip(json.loads(done.stdout), headers.values(), strict=True):
        rest = ", more than 10 times off the training images' 0.1 arcsec per pixel; --pixel-scale overrides it"
        assert row.get("error") == (reason and reason + rest), row["image"]
    told = zoo_predict(*paths, "--json", "--pixel-scale", "0.1")
    assert told.exit_code == 0, told.output


def test_the_others_go_on_and_the_exit_code_is_one(zoo_predict, tmp_path):
    folder = tmp_path / "cutouts"
    folder.mkdir()
    np.save(folder / "good.npy", lenses(1)[0])
    (folder / "bad.fits").write_bytes(b"nothing")
    listed = f"{folder / 'bad.fits'}\n{folder / 'good.npy'}\n{folder / 'gone.npy'}\n"
    done = zoo_predict("-", "--json", stdin=listed)
    assert done.exit_code == 1
    rows = json.loads(done.stdout)
    assert ["error" in row for row in rows] == [True, False, True]
    assert "1 image in" in done.stderr
    assert "2 left out" in done.stderr
    table = zoo_predict(folder)
    assert table.exit_code == 1
    assert "left out: " in table.stderr
    assert len(table.stdout.splitlines()) == 2


def refuse(monkeypatch, module, call, path):
    """Let a function of a module refuse one path."""
    original = getattr(module, call)

    def permit(given, *words, **options):
        if str(given) == str(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(given))
        return original(given, *words, **options)

    monkeypatch.setattr(module, call, permit)


def test_names_that_the_system_refuses_are_left_out(zoo_predict, tmp_path, monkeypatch):
    """Too long a name, a file that may not be looked at or read, a folder that may not be listed: by name, no more."""
    folder = tmp_path / "cutouts"
    for name in ("a", "locked", "z"):
        (folder / name).mkdir(parents=True)
        np.save(folder / name / "lens.npy", lenses(1)[0])
    for name in ("secret.npy", "sealed.npy"):
        np.save(tmp_path / name, lenses(1)[0])
    long = tmp_path / ("n" * 300 + ".npy")
    # Permissions do not bind root.
    refuse(monkeypatch, os, "scandir", folder / "locked")
    refuse(monkeypatch, os, "stat", tmp_path / "secret.npy")
    refuse(monkeypatch, Path, "open", tmp_path / "sealed.npy")
    done = zoo_predict(long, tmp_path / "secret.npy", tmp_path / "sealed.npy", folder, "--json")
    assert done.exit_code == 1, done.output
    rows = json.loads(done.stdout)
    assert [(row["image"], row.get("error")) for row in rows] == [
        (str(long), "cannot be read: File name too long"),
        (str(tmp_path / "secret.npy"), "cannot be read: Permission denied"),
        (str(tmp_path / "sealed.npy"), "cannot be read: Permission denied"),
        (str(folder / "a" / "lens.npy"), None),
        (str(folder / "locked"), "cannot be read: Permission denied"),
        (str(folder / "z" / "lens.npy"), None),
    ]
    assert "2 images in" in done.stderr
    assert "4 left out" in done.stderr
    done = zoo_predict(folder / "locked")
    assert (done.exit_code, f"left out: {folder / 'locked'}: " in done.stderr) == (1, True)


def test_other_units_are_warned_of_once_with_the_numbers(zoo_predict, model, tmp_path):
    np.save(tmp_path / "counts.npy", 1000 * lenses(20))
    done = zoo_predict(tmp_path / "counts.npy", "--csv")
    [warning] = [line for line in done.stderr.splitlines() if "far" in line]
    low, middle, high = model.about.pixels.peak
    assert "20 of 20 images" in warning
    assert f"in training {middle:.3g} ({low:.3g} to {high:.3g})" in warning
    assert all("far outside" in line for line in done.stdout.splitlines()[1:])
    expected = model.predict_proba(lenses(20))
    for words in (["--factor", "0.001"], []):
        done = zoo_predict(tmp_path / "counts.npy" if words else _saved(tmp_path, lenses(20)), "--json", *words)
        assert [row["probabilities"]["a"] for row in json.loads(done.stdout)] == pytest.approx(expected[:, 0], abs=1e-4)
        assert "far" not in done.stderr
    matched = json.loads(zoo_predict(tmp_path / "counts.npy", "--json", "--match-scale").stdout)
    assert [row["peak"] for row in matched] == pytest.approx([middle] * 20, rel=1e-5)


def test_a_sky_that_was_not_subtracted_is_warned_of(zoo_predict, model, tmp_path):
    """It changes the class of smooth lenses, and neither the brightest pixel nor the noise shows it."""
    images = lenses(20)
    low, _, high = model.about.pixels.corner
    noise = model.about.pixels.noise[1]
    np.save(tmp_path / "plain.npy", images)
    assert "the darkest corner" not in zoo_predict(tmp_path / "plain.npy", "--csv").stderr
    np.save(tmp_path / "sky.npy", images + np.float32((1 + high - low) * noise))
    done = zoo_predict(tmp_path / "sky.npy", "--csv")
    [warning] = [line for line in done.stderr.splitlines() if "the darkest corner of 20 of 20 images" in line]
    assert f"in training {low:.2g} to {high:.2g}. Subtract the sky" in warning
    assert all("times the noise" in line for line in done.stdout.splitlines()[1:])
    dark = images - np.float32((1 + high - low) * noise)
    np.save(tmp_path / "dark.npy", np.concatenate([dark[:5], (images + np.float32((1 + high - low) * noise))[5:]]))
    told = zoo_predict(tmp_path / "dark.npy", "--csv").stderr
    assert "the darkest corner of 15 of 20 images is far above" in told
    assert "the darkest corner of 5 of 20 images is far below" in told
    assert "Too much sky is subtracted" in told


def test_a_sky_that_no_corner_shows_is_named_as_unchecked(zoo_predict, model, tmp_path):
    """As in cut-outs that were rotated: a sky that was not subtracted would go without a warning."""
    images = lenses(20)
    images[:3, :2, :2] = images[:3, -2:, :2] = 0
    images[:2, :2, -2:] = images[:2, -2:, -2:] = 0  # the third image has two corners
    assert "could not be checked" not in zoo_predict(_saved(tmp_path, images[2:]), "--csv").stderr
    told = zoo_predict(_saved(tmp_path, images), "--csv").stderr
    assert "note: the sky of 2 of 20 images could not be checked: all corners are padding, or have equal" in told
    told = zoo_predict(_saved(tmp_path, lenses(4, 11)), "--csv").stderr
    assert "note: the sky of 4 of 4 images could not be checked" in told
    unstated = replace(model.about, pixels=replace(model.about.pixels, corner=None))
    summary = Summary(SimpleNamespace(about=unstated))
    summary.add(Prediction(name="a", probabilities=np.ones(3), peak=1, noise=1, unusual=False, scale_assumed=False))
    assert (summary.unchecked, summary.notes()) == (1, [])


def test_masked_corners_and_padding_are_no_sky():
    sky = np.random.default_rng(0).normal(3, 1, (3, 1, 32, 32)).astype(np.float32)
    sky[1, :, :4, :4] = 0
    sky[2, :, :4] = sky[2, :, -4:] = 0
    levels = corner_level(sky, np.ones(3))
    assert levels[:2] == pytest.approx([2, 2], abs=1)
    assert np.isnan(levels[2])
    assert far_level(levels, (-0.5, 0, 0.5)).tolist() == [True, True, False]
    assert far_level(levels + 20, (-1, 5, 20)).tolist() == [False] * 3  # light reaches the corners in training, too


def test_the_warning_quotes_the_images_that_it_is_about(zoo_predict, tmp_path):
    bright = lenses(20)
    bright[7] *= 1000
    [warning] = [line for line in zoo_predict(_saved(tmp_path, bright), "--csv").stderr.splitlines() if "far" in line]
    assert "1 of 20 images" in warning
    assert f"brightest pixel, median {bright[7].max():.3g}" in warning


def test_what_zoo_simulated_says_its_pixel_scale_and_number(zoo_predict, tmp_path):
    """A shard holds more images than were asked for; recipe and number stand in the manifest of its folder."""
    from safetensors.numpy import save_file

    from zoo.data.shards import SHARD_SIZE, shard_path

    folder = tmp_path / "lenses"
    (folder / "val").mkdir(parents=True)
    images = lenses(2 * SHARD_SIZE, size=24)[:, None]
    for number, part in enumerate(np.split(images, 2)):
        save_file({"images": part}, shard_path(folder / "val", number))
    manifest = {
        "schema": 1, "classes": ["a", "b"], "recipe_hash": "x", "shard_size": SHARD_SIZE,
        "recipe": {"dataset": "a/b", "dataset_version": 1, "params": {"pixel_scale": 0.05}},
        "splits": {
            "val": {
                "images": SHARD_SIZE + 3, "counts": {}, "shards": {"000000.safetensors": "", "000001.safetensors": ""},
            }
        },
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    done = zoo_predict(folder, "--json")
    found = json.loads(done.stdout)
    assert len(found) == SHARD_SIZE + 3
    assert "pixel scale" not in done.stderr
    np.save(tmp_path / "same.npy", images[: SHARD_SIZE + 3])
    same = json.loads(zoo_predict(tmp_path / "same.npy", "--json", "--pixel-scale", "0.05").stdout)
    assert [row["probabilities"] for row in found] == [row["probabilities"] for row in same]
    (folder / "manifest.json").write_text("{")
    assert len(json.loads(zoo_predict(folder, "--json").stdout)) == 2 * SHARD_SIZE
    manifest["splits"]["val"]["images"] = 3
    (folder / "manifest.json").write_text(json.dumps(manifest))
    answers = json.loads(zoo_predict(folder, "--json").stdout)
    assert ["probabilities" in row for row in answers] == [True] * 3 + [False]  # the second file is empty, and named


def _saved(folder, images):
    np.save(folder / "right.npy", images)
    return folder / "right.npy"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--pixel-scale", "-1"], "must be a positive number"),
        (["--pixel-scale", "1000"], "more than 10 times off the training images' 0.1 arcsec"),
        (["--pixel-scale", "1e-300"], "more than 10 times off the training images' 0.1 arcsec"),
        (["--factor", "0"], "must be a positive number"),
        (["--factor", "2", "--match-scale"], "exclude each other"),
        (["--csv", "--json"], "cannot be combined"),
        (["--average", "d5"], "Did you mean 'd4'"),
    ],
)
def test_wrong_options_are_refused(zoo_predict, tmp_path, words, says):
    done = zoo_predict(_saved(tmp_path, lenses(1)), *words)
    assert says in str(done.exception)


@pytest.mark.slow
def test_arrays_need_neither_astropy_nor_pillow(weights, tmp_path):
    code = (
        "import sys\n"
        "sys.modules['astropy'] = sys.modules['PIL'] = None\n"
        "from zoo.cli import main\n"
        f"main(['--plugin', {str(TOY)!r}, 'predict', {str(weights)!r}, {str(_saved(tmp_path, lenses(2)))!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3


def test_an_answer_that_is_not_finite_is_left_out(zoo_predict, tmp_path):
    """Such pixels are finite, and infinite in the network."""
    images = lenses(3)
    images[1] = np.linspace(2e38, 3e38, 144).reshape(12, 12)
    done = zoo_predict(_saved(tmp_path, images), "--json")
    assert done.exit_code == 1
    assert [row.get("error") for row in json.loads(done.stdout)] == [None, "the network's answer is not finite", None]


def test_pixel_scale_overrides_a_header_that_cannot_be_read(zoo_predict, tmp_path):
    headers = ({"PIXSCALE": "fine"}, {"PIXSCAY": 0.1, "PIXSCAX": 0.2}, {"CTYPE1": "RA---TAN", "CTYPE2": "GLAT-TAN"})
    paths = [tmp_path / f"{number}.fits" for number in range(len(headers))]
    for path, header in zip(paths, headers, strict=True):
        fits.writeto(path, lenses(1)[0], header=fits.Header(header))
    rows = json.loads(zoo_predict(*paths, "--json").stdout)
    assert all(row["error"].endswith("; --pixel-scale overrides it") for row in rows)
    told = zoo_predict(*paths, "--json", "--pixel-scale", "0.1")
    assert told.exit_code == 0, told.output
