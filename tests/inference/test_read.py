"""Every kind of file gives its image, and every kind of broken file its reason."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image
from safetensors.numpy import save_file

from zoo.errors import MissingError, UsageError
from zoo.inference.read import Picture, Skipped, expand, read_pictures, require_files

IMAGE = np.arange(80, dtype=np.float32).reshape(8, 10)


def read(*paths, channels=1):
    return list(read_pictures(paths, channels=channels))


def celestial(scale, *, angle=0.0, ratio=1.0):
    """Return the header of a rotated tangent-plane image; scale in arcsec."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    cos, sin = np.cos(angle) * scale / 3600, np.sin(angle) * scale / 3600
    wcs.wcs.cd = [[-cos, sin * ratio], [sin, cos * ratio]]
    wcs.wcs.crval = [150, 2]
    return wcs.to_header()


def test_arrays(tmp_path):
    np.save(tmp_path / "one.npy", IMAGE)
    np.save(tmp_path / "many.npy", np.stack([IMAGE, 2 * IMAGE]))
    np.save(tmp_path / "channel.npy", IMAGE[None].astype(np.int16))
    np.savez(tmp_path / "z.npz", images=IMAGE[None, None], labels=[1])
    save_file({"image": np.stack([IMAGE] * 3)[:, None], "label": np.arange(3)}, tmp_path / "s.safetensors")
    found = read(*(tmp_path / name for name in ("one.npy", "many.npy", "channel.npy", "z.npz", "s.safetensors")))
    assert [each.name.rpartition("/")[2] for each in found] == [
        "one.npy", "many.npy[0]", "many.npy[1]", "channel.npy", "z.npz[0]", "s.safetensors[0]", "s.safetensors[1]",
        "s.safetensors[2]",
    ]  # fmt: skip
    assert all(each.pixels.shape == (1, 8, 10) for each in found)
    assert np.array_equal(found[2].pixels[0], 2 * IMAGE)


def test_colours(tmp_path):
    np.save(tmp_path / "rgb.npy", np.stack([IMAGE] * 3))
    colours = np.zeros((8, 10, 3), np.uint8)
    colours[..., 1] = 100
    Image.fromarray(colours).save(tmp_path / "green.png")
    three = read(tmp_path / "rgb.npy", tmp_path / "green.png", channels=3)
    assert [each.pixels.shape for each in three] == [(3, 8, 10)] * 2
    assert three[1].pixels.mean((1, 2)) == pytest.approx([0, 100, 0])
    [grey] = read(tmp_path / "green.png")
    assert grey.pixels == pytest.approx(59, abs=1)  # luma of green, ITU-R 601: 0.587


def test_pictures_keep_their_depth(tmp_path):
    Image.fromarray((IMAGE * 800).astype(np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(IMAGE.astype(np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray(np.full((8, 8), 90, np.uint8)).save(tmp_path / "grey.jpg")
    deep, grey, jpeg = read(*(tmp_path / name for name in ("deep.png", "grey.png", "grey.jpg")))
    assert np.array_equal(deep.pixels[0], IMAGE * 800)
    assert np.array_equal(grey.pixels[0], IMAGE)
    assert jpeg.pixels == pytest.approx(90, abs=1)


def png(pixels, *, colour_type):
    """Return a 16-bit PNG of pixels [H, W, C], which pillow does not write: https://www.w3.org/TR/png-3/."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, _ = pixels.shape
    rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("colour_type", "bands", "channels", "reason"),
    [
        (0, 1, 1, None),
        (2, 3, 1, "16-bit PNG with colours"),
        (4, 2, 1, "16-bit PNG with colours or transparency"),
        (6, 4, 1, "16-bit PNG with colours"),
        (0, 1, 3, "colours cannot be read"),
        (2, 3, 3, "colours cannot be read"),
    ],
    ids=["grey", "rgb", "grey and alpha", "rgba", "grey as colours", "rgb as colours"],
)
def test_sixteen_bits_are_kept_or_refused(tmp_path, colour_type, bands, channels, reason):
    path = tmp_path / "deep.png"
    path.write_bytes(png(np.full((8, 10, bands), 47108), colour_type=colour_type))
    [found] = read(path, channels=channels)
    if reason is None:
        assert np.all(found.pixels == 47108)
    else:
        assert reason in found.reason


@pytest.mark.parametrize(
    ("header", "scale"),
    [
        (celestial(0.05, angle=0.7), 0.05),
        (fits.Header({"CDELT1": -0.1 / 3600, "CDELT2": 0.1 / 3600}), 0.1),
        (fits.Header({"CDELT1": 0.2, "CUNIT1": "arcsec"}), 0.2),
        (fits.Header({"PIXSCALE": 0.263}), 0.263),
        (fits.Header({"CDELT1": 1.0, "CDELT2": 1.0, "PIXSCALE": 0.263}), 0.263),
        (fits.Header({"CDELT1": 0.2, "CUNIT1": "arcsec", "PIXSCALE": 0.263}), 0.2),
        (fits.Header({"CDELT1": 1.0, "CUNIT1": "pixel", "PIXSCALE": 0.263}), 0.263),
        (fits.Header({"OBJECT": "lens"}), None),
    ],
    ids=["cd", "cdelt", "arcsec", "pixscale", "bare cdelt", "both", "pixel unit", "none"],
)
def test_fits_and_their_pixel_scale(tmp_path, header, scale):
    path = tmp_path / "lens.fits"
    fits.writeto(path, IMAGE, header=header)
    [picture] = read(path)
    assert np.array_equal(picture.pixels[0], IMAGE)
    assert (picture.pixel_scale and picture.pixel_scale.arcsec) == (scale and pytest.approx(scale, rel=1e-6))


def test_fits_extensions(tmp_path):
    path = tmp_path / "hst.fits"
    science = fits.ImageHDU(IMAGE, header=celestial(0.04), name="SCI")
    table = fits.BinTableHDU.from_columns([fits.Column("x", "D", array=np.arange(3.0))])
    fits.HDUList([fits.PrimaryHDU(), table, science, fits.ImageHDU(IMAGE * 0, name="ERR")]).writeto(path)
    [picture] = read(path)
    assert picture.pixels.max() == 79
    assert picture.pixel_scale.arcsec == pytest.approx(0.04)


def test_what_cannot_be_read_is_named_and_the_others_follow(tmp_path):
    good = tmp_path / "good.npy"
    np.save(good, IMAGE)
    broken = {
        "empty.npy": b"",
        "text.npy": b"1 2 3\n4 5 6\n",
        "text.npz": b"1 2 3\n4 5 6\n",
        "noise.fits": b"SIMPLE  =" + b"x" * 4000,
        "text.png": b"not a picture",
        "cut.npz": b"PK\x03\x04",
        "cut.safetensors": b"\x10\x00\x00\x00\x00\x00\x00\x00{}",
        "notes.txt": b"hello",
    }
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
    np.save(tmp_path / "objects.npy", np.array([IMAGE, "a"], dtype=object), allow_pickle=True)
    np.save(tmp_path / "line.npy", np.arange(5.0))
    np.save(tmp_path / "words.npy", np.array([["a", "b"]]))
    np.save(tmp_path / "nothing.npy", np.zeros((0, 8, 8)))
    np.savez(tmp_path / "unclear.npz", first=IMAGE, second=IMAGE)
    np.save(tmp_path / "colour.npy", np.zeros((48, 40, 3)))
    fits.HDUList([fits.PrimaryHDU()]).writeto(tmp_path / "bare.fits")
    reasons = {
        **dict.fromkeys(broken, "cannot be read"),
        "notes.txt": "not one of .npy, .npz",
        "objects.npy": "Python objects",
        "text.npy": "it is not a .npy file",
        "text.npz": "it is not a .npz file",
        "line.npy": "is of shape [5]; an image is [H, W]",
        "words.npy": "not numbers",
        "colour.npy": "looks like a colour picture",
        "nothing.npy": "is empty, of shape [0, 8, 8]",
        "unclear.npz": "it has first, second",
        "bare.fits": "holds no image data",
        "absent.npy": "file not found",
    }
    names = dict.fromkeys(name.partition("[")[0] for name in reasons)
    found = read(good, *(tmp_path / name for name in names), good)
    skipped = {each.name.rpartition("/")[2]: each.reason for each in found if isinstance(each, Skipped)}
    assert skipped.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert reason in skipped[name], (name, skipped[name])
    assert sum(isinstance(each, Picture) for each in found) == 2


def test_folders_lists_and_nothing(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("b/2.npy", "b/1.fits.gz", "a.PNG", "notes.txt"):
        (tmp_path / name).touch()
    names = [str(path.relative_to(tmp_path)) for path in expand([str(tmp_path)], stdin=())]
    assert names == ["a.PNG", "b/1.fits.gz", "b/2.npy"]
    listed = list(expand(["-"], stdin=[f"{tmp_path}/b\n", "\n", "x y.npy\r\n"]))
    assert [path.name for path in listed] == ["1.fits.gz", "2.npy", "x y.npy"]
    with pytest.raises(UsageError, match="No image files found in folder"):
        list(require_files(iter(()), ["folder"]))


def test_a_missing_library_is_no_broken_file(tmp_path, monkeypatch):
    import sys

    fits.writeto(tmp_path / "lens.fits", IMAGE)
    monkeypatch.setitem(sys.modules, "astropy.io.fits", None)
    with pytest.raises(MissingError, match="FITS files need astropy"):
        read(tmp_path / "lens.fits")
