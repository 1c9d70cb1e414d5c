"""The file of weights: it says what it is, and notices every change."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from msgspec.structs import replace
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from zoo.errors import DataError
from zoo.models.pixels import peak_and_noise
from zoo.models.weights_file import digest_of, read_header, read_weights, write_weights
from zoo.results import store


def test_the_header_is_what_the_run_was(run_dir):
    about = read_header(run_dir / store.WEIGHTS).about
    cell = json.loads((run_dir / store.CELL).read_text())
    assert (about.model, about.model_version, about.run_id) == ("toyzoo/tiny", 1, run_dir.name)
    assert (about.classes, about.image_shape, about.pixel_scale) == (("a", "b", "c"), (1, 12, 12), None)
    assert about.recipe.to_json() == cell["recipe"]
    assert about.hparams == cell["hparams"]
    assert about.versions == cell["versions"]
    # The stripes are unit noise plus a band of 0.35: the noise says so, and the peak is that of 144 such pixels.
    low, middle, high = about.pixels.noise
    assert low < middle < high
    assert middle == pytest.approx(1, abs=0.1)
    assert 2 < about.pixels.peak[1] < 4


def test_the_hash_is_over_the_tensors_by_name(run_dir):
    """By hashlib over what the safetensors library reads, not over the file's bytes."""
    path = run_dir / store.WEIGHTS
    digest = hashlib.sha256()
    for name, tensor in sorted(load_file(path).items()):
        kind = {"torch.float32": "F32", "torch.float64": "F64", "torch.int64": "I64"}[str(tensor.dtype)]
        digest.update(json.dumps([name, kind, list(tensor.shape)]).encode() + tensor.numpy().tobytes())
    assert digest_of(path) == digest.hexdigest() == read_header(path).sha256


def test_another_file_in_the_place_of_weights_is_answered_by_the_order(tmp_path):
    (tmp_path / "ring.fits").write_bytes(b"SIMPLE  =                    T".ljust(2880))
    with pytest.raises(DataError, match=r"ring\.fits is not a safetensors file.*\n.*zoo predict WEIGHTS FILES"):
        read_header(tmp_path / "ring.fits")


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


def hash_of(entry):
    """Return the hash over an entry, by hashlib."""
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()


def edit_about(path, *, keep_hash, **changes):
    """Change what a file says of itself, under the hash that it had, or under the right one."""

    def change(header):
        metadata = header["__metadata__"]
        entry = {**json.loads(metadata["zoo"]), **changes}
        if not keep_hash:
            del entry["entry_sha256"]
            entry["entry_sha256"] = hash_of(entry)
        metadata["zoo"] = json.dumps(entry, sort_keys=True)

    rewrite_header(path, change)


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
        ("classes", ["a", "b", "a"]),
        ("image_shape", [12, 12]),
        ("image_shape", [1, 0, 0]),
        ("image_shape", None),
        ("model_version", "1"),
        ("pixel_scale", "0.1"),
        ("pixel_scale", -0.1),
        ("pixel_scale", float("nan")),
        ("pixel_scale", 10**400),
        ("pixels", {"peak": [1, 2]}),
        ("pixels", {"peak": [1, 2, float("inf")], "noise": [1, 2, 3]}),
        ("recipe", {"dataset": "toyzoo/stripes"}),
        ("hparams", []),
        ("versions", "1"),
        ("run_id", "../../../evil"),
        ("run_id", "0123456789abcdef\n"),
    ],
)
def test_a_header_that_says_what_cannot_be_is_named(run_dir, field, value):
    edit_about(run_dir / store.WEIGHTS, keep_hash=False, **{field: value})
    with pytest.raises(DataError, match=rf"header is damaged: .*{field}"):
        read_header(run_dir / store.WEIGHTS)


@pytest.mark.parametrize(
    ("field", "value"),
    [("classes", ["c", "b", "a"]), ("pixel_scale", 0.2), ("model_version", 2), ("run_id", "0" * 16)],
)
def test_a_header_that_was_edited_is_noticed(run_dir, field, value):
    """Each of these could be true: only the hash over the header can tell."""
    path = run_dir / store.WEIGHTS
    edit_about(path, keep_hash=True, **{field: value})
    for read in (read_header, read_weights):
        with pytest.raises(DataError, match="altered or damaged: its header has"):
            read(path)


def test_a_file_without_a_hash_over_its_header_is_refused(run_dir):
    path = run_dir / store.WEIGHTS
    header = read_header(path)
    edit_about(path, keep_hash=False)
    assert read_weights(path).header == header

    def remove(header):
        entry = json.loads(header["__metadata__"]["zoo"])
        del entry["entry_sha256"]
        header["__metadata__"]["zoo"] = json.dumps(entry)

    rewrite_header(path, remove)
    with pytest.raises(DataError, match=r"altered or damaged: its header has the SHA-256 .* the file states None"):
        read_header(path)


@pytest.mark.parametrize(
    "about", [{"image_shape": (1, 96, 96)}, {"image_shape": (1, 10**9, 10**9)}, {"classes": ("a", "b")}]
)
def test_shapes_must_be_those_of_the_golden_tensors(run_dir, tmp_path, about):
    content = read_weights(run_dir / store.WEIGHTS)
    path = tmp_path / "other.safetensors"
    changed = replace(content.header.about, **about)
    write_weights(path, content.state, about=changed, golden=content.golden)
    with pytest.raises(DataError, match=r"golden images and logits are F32 \[3, 1, 12, 12\] and F32 \[3, 3\]"):
        read_header(path)


def test_empty_golden_tensors_are_named(run_dir, tmp_path):
    content = read_weights(run_dir / store.WEIGHTS)
    path = tmp_path / "empty.safetensors"
    golden = {name: tensor[:0] for name, tensor in content.golden.items()}
    write_weights(path, content.state, about=content.header.about, golden=golden)
    with pytest.raises(DataError, match="at least one"):
        read_weights(path)


def test_other_files_are_refused(run_dir, tmp_path):
    plain = tmp_path / "plain.safetensors"
    save_file(load_file(run_dir / store.WEIGHTS), plain)
    with pytest.raises(DataError, match="does not name a network"):
        read_header(plain)
    with safe_open(run_dir / store.WEIGHTS, framework="pt") as file:
        content = json.loads(file.metadata()["zoo"])
    del content["pixels"], content["entry_sha256"]
    entry = {**content, "entry_sha256": hash_of(content)}
    save_file(load_file(run_dir / store.WEIGHTS), plain, metadata={"zoo": json.dumps(entry)})
    with pytest.raises(DataError, match="missing required field `pixels`"):
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


@pytest.mark.parametrize("value", [1e300, float("inf"), float("nan")])
def test_a_description_that_the_reader_refuses_is_not_written(run_dir, tmp_path, value):
    weights = read_weights(run_dir / store.WEIGHTS)
    about = replace(weights.header.about, reference=(0.0, value))
    with pytest.raises(DataError):
        write_weights(tmp_path / "new.safetensors", weights.state, about=about, golden=weights.golden)
    assert not (tmp_path / "new.safetensors").exists()
    largest = replace(about, reference=(-3.4e38, 3.4e38))  # of a network in single precision
    write_weights(tmp_path / "new.safetensors", weights.state, about=largest, golden=weights.golden)
    assert read_header(tmp_path / "new.safetensors").about == largest
