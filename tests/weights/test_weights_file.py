"""The file of weights: it says what it is, and notices every change."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from zoo.errors import DataError
from zoo.harness import store
from zoo.weights.file import digest_of, read_header, read_weights
from zoo.weights.pixels import peak_and_noise


def test_the_header_is_what_the_run_was(run_dir):
    about = read_header(run_dir / store.WEIGHTS).about
    cell = json.loads((run_dir / store.CELL).read_text())
    assert (about.model, about.model_version, about.run_id) == ("toyzoo/tiny", 1, run_dir.name)
    assert (about.classes, about.image_shape, about.pixel_scale) == (("a", "b", "c"), (1, 12, 12), None)
    assert about.recipe == cell["recipe"]
    assert about.hparams == cell["hparams"]
    assert about.versions == cell["versions"]
    # The stripes are unit noise plus a band of 0.35: the noise says so, and the peak is that of 144 such pixels.
    low, middle, high = about.pixels["noise"]
    assert low < middle < high
    assert middle == pytest.approx(1, abs=0.1)
    assert 2 < about.pixels["peak"][1] < 4


def test_the_hash_is_over_the_tensors_by_name(run_dir):
    """By hashlib over what the safetensors library reads, not over the file's bytes."""
    path = run_dir / store.WEIGHTS
    digest = hashlib.sha256()
    for name, tensor in sorted(load_file(path).items()):
        kind = {"torch.float32": "F32", "torch.int64": "I64"}[str(tensor.dtype)]
        digest.update(json.dumps([name, kind, list(tensor.shape)]).encode() + tensor.numpy().tobytes())
    assert digest_of(path) == digest.hexdigest() == read_header(path).sha256


def test_a_changed_number_is_noticed(run_dir):
    path = run_dir / store.WEIGHTS
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="altered or damaged"):
        read_weights(path)


@pytest.mark.parametrize("keep", [0, 7, 50, -1])
def test_a_cut_file_is_named(run_dir, keep):
    path = run_dir / store.WEIGHTS
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=path.name):
        read_weights(path)


def rewrite_header(path, change):
    """Write a file anew with its header changed and its data as they are."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dtype", None),
        ("shape", 3),
        ("shape", [2, "x"]),
        ("data_offsets", None),
        ("data_offsets", [0]),
        ("data_offsets", [{}, 8]),
    ],
)
def test_a_tensor_without_type_shape_or_place_is_named(run_dir, field, value):
    path = run_dir / store.WEIGHTS
    rewrite_header(path, lambda header: header["golden.logits"].update({field: value}))
    for read in (read_header, read_weights, digest_of):
        with pytest.raises(DataError, match=r"damaged: .* golden\.logits"):
            read(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("classes", 3),
        ("image_shape", [12, 12]),
        ("image_shape", None),
        ("pixel_scale", "0.1"),
        ("pixels", {"peak": [1, 2]}),
        ("recipe", {"dataset": "toyzoo/stripes"}),
        ("hparams", []),
        ("versions", "1"),
    ],
)
def test_a_header_that_was_edited_is_named(run_dir, field, value):
    path = run_dir / store.WEIGHTS

    def change(header):
        about = json.loads(header["__metadata__"]["zoo"])
        header["__metadata__"]["zoo"] = json.dumps({**about, field: value})

    rewrite_header(path, change)
    with pytest.raises(DataError, match=f"header is damaged: {field} is"):
        read_header(path)


def test_other_files_are_refused(run_dir, tmp_path):
    plain = tmp_path / "plain.safetensors"
    save_file(load_file(run_dir / store.WEIGHTS), plain)
    with pytest.raises(DataError, match="does not say which network"):
        read_header(plain)
    with safe_open(run_dir / store.WEIGHTS, framework="pt") as file:
        content = json.loads(file.metadata()["zoo"])
    del content["pixels"], content["group"]
    save_file(load_file(run_dir / store.WEIGHTS), plain, metadata={"zoo": json.dumps(content)})
    with pytest.raises(DataError, match="it lacks group, pixels"):
        read_header(plain)
    save_file(load_file(run_dir / store.WEIGHTS), plain, metadata={"zoo": json.dumps({**content, "format": 99})})
    with pytest.raises(DataError, match="another zoo"):
        read_header(plain)
    with pytest.raises(DataError, match="No such file"):
        read_header(tmp_path / "absent.safetensors")


def test_noise_is_that_of_the_pixels_under_a_smooth_galaxy():
    generator = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    galaxy = 20 * np.exp(-(x**2 + y**2) / 0.1) + 5
    images = (galaxy + 0.3 * generator.normal(size=(4, 1, 64, 64))).astype(np.float32)
    peak, noise = peak_and_noise(images)
    assert noise == pytest.approx(0.3, rel=0.15)
    assert peak == pytest.approx(25, abs=1.2)
