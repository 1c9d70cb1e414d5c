"""Every kind of file gives its image, and every kind of broken file its reason."""

from __future__ import annotations

import struct
import zlib

import h5py
import numpy as np
import pytest
from astropy.io import fits
from PIL import Image
from safetensors.numpy import save_file

from zoo.errors import MissingError, UsageError
from zoo.inference.read import Picture, Skipped, expand, read_pictures, require_files

IMAGE = np.arange(80, dtype=np.float32).reshape(8, 10)


def read(*paths, channels=1):
    return list(read_pictures(paths, channels=channels))


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


def test_what_cannot_be_read_is_named_and_the_others_follow(tmp_path):
    good = tmp_path / "good.npy"
    np.save(good, IMAGE)
    broken = {
        "empty.npy": b"",
        "text.npy": b"1 2 3\n4 5 6\n",
        "text.npz": b"1 2 3\n4 5 6\n",
        "noise.fits": b"SIMPLE  =" + b"x" * 4000,
        "text.png": b"not a picture",
        "text.h5": b"1 2 3\n4 5 6\n",
        "cut.hdf5": b"\x89HDF\r\n\x1a\n" + b"x" * 400,
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


def units(**arrays):
    """Return extensions with these names, each filled with its place; "" and "PRIMARY" have no name."""
    made = []
    for place, (name, header) in enumerate(arrays.items()):
        kind = fits.ImageHDU if place else fits.PrimaryHDU
        made.append(kind(np.full((10, 12), place, np.float32), header=fits.Header(header)))
        if name != "PRIMARY" and not name.startswith("unnamed"):
            made[-1].name = name
    return fits.HDUList(made)


@pytest.mark.parametrize(
    ("names", "read_from"),
    [
        (["MASK", "DATA", "NOISE_MAP", "PSF", "OVER_SAMPLE_SIZE_LP"], ["DATA"]),
        (["PRIMARY", "ERR", "DQ"], ["0"]),
        (["PSF", "unnamed"], ["1"]),
        (["MASK", "IMAGE", "VARIANCE"], ["IMAGE"]),
        (["WHT", "SCI", "CTX"], ["SCI"]),
        (["PRIMARY", "SCI", "ERR"], ["SCI"]),
        (["EXPOSURE", "VIS", "RMS"], ["VIS"]),
        (["ERR", "G", "R", "I"], ["G", "R", "I"]),
        (["PRIMARY", "unnamed", "unnamed2"], ["0", "1", "2"]),
        (["SCI_MASK", "DATA"], ["DATA"]),
    ],
)
def test_images_are_chosen_by_the_names_of_extensions(tmp_path, names, read_from):
    path = tmp_path / "dataset.fits"
    units(**{name: {} for name in names}).writeto(path)
    found = read(path)
    labels = [f"[{label}]" for label in read_from] if len(read_from) > 1 else [""]
    assert [each.name for each in found] == [f"{path}{label}" for label in labels]
    for each, label in zip(found, read_from, strict=True):
        assert each.pixels.max() == (int(label) if label.isdecimal() else names.index(label))
        assert each.notes == (f"extension {label}, one of {len(names)} arrays in the file",)


def test_only_masks_are_no_image(tmp_path):
    units(MASK={}, PSF={}).writeto(tmp_path / "masks.fits")
    [skipped] = read(tmp_path / "masks.fits")
    assert skipped.reason == "holds no image but MASK, PSF; an image of another name: save it as .npy"


def test_a_name_in_brackets_chooses_in_every_kind_of_file_with_several_arrays(tmp_path):
    hdus = units(MASK={}, DATA={}, PSF={}, unnamed={})
    hdus.extend([fits.ImageHDU(np.full((8, 8), 4.0), name="SCI", ver=k) for k in (1, 2)])
    hdus.writeto(tmp_path / "a.fits")
    np.savez(tmp_path / "a.npz", first=IMAGE, second=2 * IMAGE, images=3 * IMAGE)
    save_file({"first": IMAGE, "Second": 2 * IMAGE}, tmp_path / "a.safetensors")
    np.save(tmp_path / "a.npy", IMAGE)
    np.save(tmp_path / "b[1].npy", IMAGE)
    (tmp_path / "c.npy[1]").write_bytes((tmp_path / "a.npy").read_bytes())
    wanted = {
        "a.fits[data]": 1, "a.fits[1]": 1, "a.fits[3]": 3, "a.fits[SCI,2]": 4, "a.npz[second]": 158,
        "a.npz": 237, "a.safetensors[second]": 158, "b[1].npy": 79,
    }  # fmt: skip
    refused = {
        "a.fits[ERR]": "has no image extension ERR (it has MASK, DATA, PSF, 3, SCI,1, SCI,2)",
        "a.npz[third]": "has no array third (it has first, second, images)",
        "a.safetensors": "choose one with FILE[NAME]",
        "a.npy[1]": "holds one array",
        "d.fits[DATA]": "file not found",
        "[DATA]": "file not found",
        "c.npy[1]": "not one of .npy",
    }
    for name, value in wanted.items():
        [picture] = read(tmp_path / name)
        assert picture.pixels.max() == value, name
    for name, reason in refused.items():
        [skipped] = read(tmp_path / name)
        assert reason in skipped.reason, name


@pytest.mark.parametrize(
    ("kind", "chosen"),
    [
        *(("fits", chosen) for chosen in ("MASK", "noise_map", "PSF", "0", "5", "WHT,2")),
        *((kind, chosen) for kind in ("npz", "safetensors", "hdf5") for chosen in ("MASK", "noise_map", "PSF")),
    ],
)
def test_what_describes_an_image_is_not_classified_when_it_is_chosen(tmp_path, kind, chosen):
    if kind == "fits":
        hdus = units(MASK={}, DATA={}, NOISE_MAP={}, PSF={})
        hdus.extend([fits.ImageHDU(np.full((8, 8), 4.0), name="WHT", ver=k) for k in (1, 2)])
        hdus.writeto(tmp_path / "a.fits")
    else:
        arrays = dict.fromkeys(("DATA", "MASK", "noise_map", "PSF"), IMAGE)
        np.savez(tmp_path / "a.npz", **arrays)
        save_file(arrays, tmp_path / "a.safetensors")
        with h5py.File(tmp_path / "a.hdf5", "w") as file:
            file.update(arrays)
    with pytest.raises(UsageError, match=r"by its name, .*is not an image of the sky.\nImages in the file: DATA\. "):
        read(tmp_path / f"a.{kind}[{chosen}]")


def test_a_psf_that_is_the_only_array_is_not_classified(tmp_path):
    np.savez(tmp_path / "a.npz", psf=IMAGE)
    np.savez(tmp_path / "b.npz", lens=IMAGE)
    skipped, picture = read(tmp_path / "a.npz", tmp_path / "b.npz")
    assert "it has psf" in skipped.reason
    assert picture.pixels.shape == (1, *IMAGE.shape)


def test_hidden_files_and_folders_are_skipped_in_folders_only(tmp_path):
    for name in ("a.npy", "._a.npy", ".hidden.fits", ".ipynb_checkpoints/a-checkpoint.npy", "b/.c/d.npy", "b/e.npy"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        np.save(tmp_path / "plain.npy", IMAGE)
        (tmp_path / "plain.npy").rename(tmp_path / name)
    assert [path.relative_to(tmp_path).as_posix() for path in expand([str(tmp_path)], stdin=())] == ["a.npy", "b/e.npy"]
    assert isinstance(read(tmp_path / "._a.npy")[0], Picture)


def test_object_arrays_of_deeplense_are_read(tmp_path):
    pair = np.empty(2, dtype=object)
    pair[0], pair[1] = IMAGE.astype(">f8"), 3e-23
    np.save(tmp_path / "pair.npy", pair, allow_pickle=True)
    np.savez(tmp_path / "pair.npz", image=pair)
    (tmp_path / "bare.npy").write_bytes(pair.dumps())
    for picture in read(*(tmp_path / name for name in ("pair.npy", "pair.npz", "bare.npy"))):
        assert np.array_equal(picture.pixels[0], IMAGE)
        assert picture.notes == ("the number 3e-23 beside the image is not used",)


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i2", ">u4", "<f8", "u1", "?"])
@pytest.mark.parametrize("kind", [".npy", ".npz", ".fits", ".safetensors", ".hdf5", ".h5"])
def test_every_kind_of_file_keeps_values_of_any_byte_order(tmp_path, dtype, kind):
    image = (IMAGE % 2 if dtype == "?" else IMAGE).astype(dtype)
    path = tmp_path / f"a{kind}"
    if kind == ".npy":
        np.save(path, np.asfortranarray(image))
    elif kind == ".npz":
        np.savez(path, image=image)
    elif kind == ".fits":
        fits.writeto(path, image.astype("u1") if dtype == "?" else image)
    elif kind == ".safetensors":
        save_file({"image": image}, path)
    else:
        with h5py.File(path, "w") as file:
            file.create_dataset("image", data=image, compression="gzip" if kind == ".h5" else None)
    [picture] = read(path)
    assert np.array_equal(picture.pixels[0].astype(float), image.astype(float))
