"""The challenge's files: small ones in the layout of mejiro's export, read, refused, and answered with a submission."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from zoo_roman import command, images
from zoo_roman.challenge_file import BANDS
from zoo_roman.images import build
from zoo_roman.submission import DATA

from zoo.cli import cli
from zoo.errors import DataError, UsageError
from zoo.host import load_plugins
from zoo.testing import Options, check, require_passed

SIDE = 9
ALL = ",".join(BANDS)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))


def pixels(number: int, band: str) -> np.ndarray:
    return np.random.default_rng([number, BANDS.index(band)]).normal(size=(SIDE, SIDE)).astype(np.float32)


def write(path, *, count=6, labelled=True, change=None):
    """Write a file of the challenge; lens i has substructure where i is odd. `change` alters the group of images."""
    with h5py.File(path, "w") as file:
        group = file.create_group("images")
        for number in reversed(range(count)):
            uid = f"{number:08d}"
            lens = group.create_group(f"strong_lens_{uid}")
            lens.attrs["uid"] = (uid, "Unique identifier for system assigned by mejiro")
            lens.attrs["z_lens"] = (str(0.1 * number), "Lens galaxy redshift")
            lens.attrs["instrument"] = ("WFI", "Instrument")
            if labelled:
                lens.attrs["substructure"] = (str(number % 2 == 1), "Is substructure present in this lens?")
                lens.attrs["theta_e"] = ("nan" if number == 2 else str(1.5 + number), "Einstein radius [arcsec]")
            if labelled and number % 2:
                lens.attrs["sigma_sub"] = ("0.055", "See pyHalo documentation")
            for band in BANDS:
                lens.create_dataset(f"exposure_{uid}_{band}", data=pixels(number, band))
        if change is not None:
            change(group)
    return path


def opened(path, bands=ALL):
    return build(file=str(path), bands=bands)


@pytest.mark.parametrize("bands", [ALL, "F129", "F106,F158"])
def test_images_labels_and_shared_numbers(bands, tmp_path):
    content = opened(write(tmp_path / "rung.h5"), bands)
    names = bands.split(",")
    expected = np.stack([[pixels(number, band) for band in names] for number in range(6)])
    np.testing.assert_array_equal(content.images, expected)
    assert isinstance(content.images, np.memmap)
    assert content.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert content.ids == [f"{number:08d}" for number in range(6)]
    # Neither the label and the uid, nor texts, nor what only lenses with substructure have.
    assert set(content.metadata) == {"theta_e", "z_lens"}
    np.testing.assert_allclose(content.metadata["theta_e"], [1.5, 2.5, np.nan, 4.5, 5.5, 6.5])


@pytest.mark.parametrize("value", [True, np.int64(1), b"True"])
def test_bare_values_of_attributes_are_read_too(value, tmp_path):
    def bare(group):
        group["strong_lens_00000000"].attrs["substructure"] = value
        group["strong_lens_00000000"].attrs["theta_e"] = 0.25

    content = opened(write(tmp_path / "rung.h5", change=bare))
    assert content.labels[0] == 1
    assert content.metadata["theta_e"][0] == 0.25


@pytest.mark.slow
def test_the_data_set_passes_the_kit(tmp_path):
    path = write(tmp_path / "rung.h5", count=240)
    outcomes = check(load_plugins(), "roman/challenge", options=Options(params={"file": str(path)}))
    require_passed(outcomes)
    assert "splits" in {one.check for one in outcomes if one.state == "passed"}


def test_a_file_is_read_once_and_again_when_it_changes(tmp_path, monkeypatch):
    path = write(tmp_path / "rung.h5")
    first = opened(path)
    with monkeypatch.context() as patch:
        patch.setattr(images, "_read", None)
        np.testing.assert_array_equal(opened(path).images, first.images)
    with h5py.File(path, "r+") as file:
        file["images/strong_lens_00000003/exposure_00000003_F129"][2, 3] = 77
    assert opened(path).images[3, 1, 2, 3] == 77


def test_an_interrupted_reading_leaves_no_images_behind(tmp_path, monkeypatch):
    path, label = write(tmp_path / "rung.h5"), images._label

    def stops(source, uid):
        if uid == "00000004":
            raise KeyboardInterrupt
        return label(source, uid)

    with monkeypatch.context() as patch:
        patch.setattr(images, "_label", stops)
        with pytest.raises(KeyboardInterrupt):
            opened(path)
    assert [one.name for one in (tmp_path / "cache" / "folders").rglob("*") if one.is_file()] in ([], [".lock"])
    assert len(opened(path).images) == 6


def lens(number):
    return f"strong_lens_{number:08d}"


def altered(number, band, data):
    """Return a change that replaces an exposure, or removes it where there are no data."""

    def change(group):
        name = f"{lens(number)}/exposure_{number:08d}_{band}"
        del group[name]
        if data is not None:
            group[name] = data

    return change


def relabelled(number, value):
    """Return a change that replaces the label of a lens, or removes it where there is no value."""

    def change(group):
        attributes = group[lens(number)].attrs
        del attributes["substructure"]
        if value is not None:
            attributes["substructure"] = value

    return change


FAULTS = {
    "band": (
        altered(4, "F129", None),
        r"strong_lens_00000004 has no exposure in F129; it has F106, F158\.\n.*F106,F158",
    ),
    "another image": (
        lambda group: [altered(5, band, np.zeros((SIDE, 8)))(group) for band in BANDS],
        r"strong_lens_00000005: its shape is \(3, 9, 8\), that of the first image \(3, 9, 9\)",
    ),
    "another band": (altered(1, "F158", np.zeros((4, 4))), r"shape \(4, 4\) in F158 and \(9, 9\) in F106"),
    "NaN": (altered(1, "F106", np.full((SIDE, SIDE), np.nan)), "strong_lens_00000001 has pixels that are not finite"),
    "too large": (altered(1, "F106", np.full((SIDE, SIDE), 1e300)), "strong_lens_00000001 has pixels that are not fin"),
    "text": (altered(1, "F106", np.full((SIDE, SIDE), b"x")), r"in F106 is not an array \[H, W\] of numbers"),
    "no group": (
        lambda group: group.create_dataset("strong_lens_00000009", data=1),
        "strong_lens_00000009 is not a gr",
    ),
    "cube": (altered(1, "F106", np.zeros((1, SIDE, SIDE))), r"in F106 is not an array \[H, W\] of numbers"),
    "label": (
        relabelled(2, ("maybe", "")),
        "strong_lens_00000002 has substructure='maybe', which is neither True nor False",
    ),
    "one label": (relabelled(3, None), "strong_lens_00000003 has no attribute"),
    "no lens": (lambda group: group.clear(), "holds no lens images/strong_lens_"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_a_lens_is_named(fault, tmp_path):
    change, words = FAULTS[fault]
    path = write(tmp_path / "rung.h5", change=change)
    with pytest.raises(DataError, match=words):
        opened(path)


def test_what_is_wrong_with_a_file_is_named(tmp_path):
    blind = write(tmp_path / "blind.h5", labelled=False)
    with pytest.raises(DataError, match=r"has no label\.\n.*zoo roman-submit WEIGHTS \S*blind\.h5"):
        opened(blind)
    (tmp_path / "text.h5").write_text("ID,has_substructure\n")
    with pytest.raises(DataError, match=r"text\.h5 is not an HDF5 file"):
        opened(tmp_path / "text.h5")
    (tmp_path / "cut.h5").write_bytes(blind.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"cut\.h5 cannot be read"):
        opened(tmp_path / "cut.h5")
    for path, words in ((tmp_path / "absent.h5", "was not found"), (None, r"--set data\.file=FILE")):
        with pytest.raises(UsageError, match=words):
            build(file=path and str(path), bands=ALL)
    for bands in ("F158,F106", "F184", "", "F106,F106", None):
        with pytest.raises(UsageError, match=r"data\.bands="):
            opened(blind, bands)


class Weights:
    """Weights whose probability of substructure is half a lens's number over ten, from one pixel."""

    def __init__(self, *, data=DATA, outputs=None, bands="F129"):
        recipe = SimpleNamespace(dataset=data, params={"bands": bands})
        self.about = SimpleNamespace(model="gconv/p4m", recipe=recipe, outputs=outputs, task="anomaly")
        self.image_shape = (len(bands.split(",")), SIDE, SIDE)

    def to(self, device):
        return self

    def predict_proba(self, batch, *, average):
        first = np.array([pixels(number, "F129")[0, 0] for number in range(6)])
        chance = np.array([np.flatnonzero(first == image[0, 0, 0])[0] for image in batch]) / 10
        return np.stack([1 - chance, chance], 1).astype(np.float32)


@pytest.fixture
def submit(monkeypatch, tmp_path):
    def call(weights, file, *options):
        monkeypatch.setattr(command, "load", lambda *args, **kwargs: weights)
        out = tmp_path / "out" / "submission.csv"
        words = ["roman-submit", "RUN", str(file), "--out", str(out), *options]
        done = CliRunner().invoke(cli, words, obj=load_plugins())  # alone, click would keep it without -h
        return done, out

    return call


def test_a_submission_has_hard_labels_and_its_probabilities_beside_it(submit, tmp_path):
    done, out = submit(Weights(), write(tmp_path / "blind.h5", labelled=False), "--threshold", "0.3")
    assert done.exit_code == 0, done.output
    rows = list(csv.reader(out.open()))
    assert rows == [["ID", "has_substructure"], *([f"{i:08d}", str(int(i >= 3))] for i in range(6))]
    beside = list(csv.reader(out.with_name("submission.probabilities.csv").open()))
    assert beside == [["ID", "probability"], *([f"{i:08d}", f"{i / 10:g}"] for i in range(6))]


def test_the_file_is_not_taken_for_the_table(submit, tmp_path):
    path = write(tmp_path / "blind.h5", labelled=False)
    before = path.read_bytes()
    done, _ = submit(Weights(), path, "--out", str(path))
    assert "must end with .csv" in str(done.exception)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("weights", "change", "words"),
    [
        (Weights(data="deeplense/modelA"), None, "trained on deeplense/modelA; the challenge needs a classifier"),
        (Weights(outputs=1), None, "trained on roman/challenge for the task anomaly"),
        (Weights(), altered(5, "F129", None), "has no exposure in F129"),
        (Weights(), altered(5, "F129", np.zeros((4, 4))), r"is an image of \(1, 4, 4\); the weights were trained on"),
    ],
    ids=["data set", "task", "band", "shape"],
)
def test_weights_that_do_not_fit_are_refused_and_nothing_is_written(weights, change, words, submit, tmp_path):
    done, out = submit(weights, write(tmp_path / "blind.h5", labelled=False, change=change))
    with pytest.raises((DataError, UsageError), match=words):
        raise done.exception
    assert list(out.parent.iterdir()) == []
