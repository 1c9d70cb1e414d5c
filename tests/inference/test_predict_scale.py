"""Pixel scales in `zoo predict`: weights without one, and notes on images that were resampled."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

import zoo
from zoo.cli import cli
from zoo.errors import UsageError


def predict(host, weights, *words):
    """Return the outcome of `zoo predict`."""
    return CliRunner().invoke(cli, ["predict", str(weights), *map(str, words)], obj=host)


def save(path, *, scale=None, size=30):
    """Write an image with a pixel scale in arcsec and return its path."""
    header = fits.Header({} if scale is None else {"PIXSCALE": scale})
    fits.writeto(path, np.random.default_rng(0).normal(size=(size, size)).astype(np.float32), header=header)
    return path


@pytest.fixture
def unscaled(run_dir):
    """Weights of existing images without a pixel scale."""
    return run_dir / "weights.safetensors"


@pytest.mark.parametrize("shares", [(), ("--launcher", "local", "--shards", "1")])
def test_weights_without_a_pixel_scale_refuse_one(host, unscaled, tmp_path, monkeypatch, shares):
    monkeypatch.chdir(tmp_path)
    error = predict(host, unscaled, save(tmp_path / "lens.fits"), "--pixel-scale", "0.8", *shares).exception
    assert isinstance(error, UsageError)
    assert error.args[0].startswith("pixel_scale=0.8 cannot be used: these weights have no pixel scale")
    assert "toyzoo/stripes" in error.args[0]
    assert "give the data set a parameter pixel_scale" in error.hint
    with pytest.raises(UsageError, match="cannot be used"):
        list(zoo.predict(unscaled, tmp_path / "lens.fits", pixel_scale=0.8, host=host))


def test_a_stated_scale_that_weights_without_one_ignore_is_noted(host, unscaled, tmp_path):
    paths = [save(tmp_path / "stated.fits", scale=0.05), save(tmp_path / "plain.fits", size=12)]
    done = predict(host, unscaled, *paths, "--json")
    assert done.exit_code == 0, done.output
    stated, plain = (row["notes"] for row in json.loads(done.stdout))
    assert "its pixel scale of 0.05 arcsec is not used" in stated
    assert not any("pixel scale" in note for note in plain)
    [line] = [line for line in done.stderr.splitlines() if "pixel scale" in line]
    assert line.startswith(
        "note: the pixel scale of 1 of 2 images is stated, but not used, since these weights have none"
    )
    assert "give the data set toyzoo/stripes a parameter pixel_scale" in line


@pytest.mark.parametrize(
    ("scales", "said"),
    [
        ((0.05, 0.05, 0.05, 0.1), "note: 3 images were resampled from 0.05 to 0.1 arcsec per pixel"),
        ((0.05, 0.08), "note: 2 images were resampled from scales between 0.05 and 0.08 to 0.1 arcsec per pixel"),
        ((0.2, None), "note: 1 image was resampled from 0.2 to 0.1 arcsec per pixel"),
        ((0.1, 0.10001), ""),
    ],
)
def test_one_note_states_the_resampled_images(host, weights, tmp_path, scales, said):
    paths = [save(tmp_path / f"{number}.fits", scale=scale) for number, scale in enumerate(scales)]
    done = predict(host, weights, *paths)
    assert done.exit_code == 0, done.output
    assert [line for line in done.stderr.splitlines() if "resampled" in line] == ([said] if said else [])
