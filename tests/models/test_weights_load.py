"""From a name to a classifier that answers as it did, or to an error that says why not."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from smallrun import write_result

import zoo
from zoo.errors import DataError, MissingError, UsageError
from zoo.host import load_plugins
from zoo.results import store
from zoo.specs import ModelSpec
from zoo.weights.find import find_weights


@pytest.fixture
def changed(host, monkeypatch):
    """Change the spec of toyzoo/tiny."""

    def change(**fields):
        specs = host.specs[ModelSpec]
        monkeypatch.setitem(specs, "toyzoo/tiny", dataclasses.replace(specs["toyzoo/tiny"], **fields))

    return change


def test_every_way_to_name_a_run_gives_its_test_predictions(run_dir, host, tmp_path):
    import toyzoo

    arrays, _ = store.read_arrays(run_dir / store.PREDICTIONS)
    images = toyzoo.stripes(count=600).images[arrays["test.parameter.index"].astype(int)]
    expected = torch.from_numpy(arrays["test.logits"]).softmax(1).numpy()
    for name in (run_dir, run_dir / store.WEIGHTS, run_dir.name[:6], str(run_dir)):
        model = zoo.load(name, store=tmp_path / "results", host=host)
        assert not model.training
        assert model.classes == ("a", "b", "c")
        assert model.predict_proba(images, batch_size=7, calibrated=False) == pytest.approx(expected, abs=1e-6)
    assert model.predict_proba(images[0, 0], calibrated=False) == pytest.approx(expected[:1], abs=1e-6)
    assert model.predict_proba(images[:0]).shape == (0, 3)


def test_weights_that_a_plugin_ships_are_found_by_name(run_dir, tmp_path, host, monkeypatch):
    """`p4m.modelA` means the file that the model's spec names, in the folder of the plugin's package."""
    plugin = tmp_path / "shipping.py"
    plugin.write_text(
        "from zoo import ModelSpec, hookimpl\n"
        "@hookimpl\n"
        "def zoo_models():\n"
        "    files = {'modelA': 'weights/a.safetensors'}\n"
        "    return [ModelSpec(id='shipping/net', target='shipping:build', weights=files)]\n"
    )
    shipping = load_plugins(files=[plugin], environment={})
    with pytest.raises(DataError, match="which does not exist"):
        find_weights(shipping, "net.modelA", store=tmp_path)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "a.safetensors").write_bytes((run_dir / store.WEIGHTS).read_bytes())
    for name in ("net.modelA", "NET.modela", "shipping/net.modelA"):
        assert find_weights(shipping, name, store=tmp_path) == tmp_path / "weights" / "a.safetensors"
    with pytest.raises(UsageError, match=r"Did you mean 'net\.modelA'"):
        find_weights(shipping, "net.modelB", store=tmp_path)


def test_weights_of_a_network_that_no_plugin_offers_name_it(run_dir, tmp_path):
    """As where a colleague's file is loaded without the colleague's plugin."""
    with pytest.raises(
        MissingError, match=r"weights of toyzoo/tiny, which is not provided by an installed plugin.*lens-zoo"
    ) as caught:
        zoo.load(run_dir, store=tmp_path / "results", host=load_plugins(environment={}))
    assert "--plugin" in caught.value.hint


def test_unknown_and_failed_runs_are_named(run_dir, host, tmp_path):
    wrong = run_dir.name[:-1] + ("0" if run_dir.name[-1] != "0" else "1")
    with pytest.raises(UsageError, match=f"Did you mean '{run_dir.name}'"):
        zoo.load(wrong, store=tmp_path / "results", host=host)
    result = json.loads((run_dir / store.RESULT).read_text())
    kept = {name: result[name] for name in ("schema", "run_id", "cell")}
    write_result(run_dir, {**kept, "status": "failed", "error": "no such luck"})
    with pytest.raises(DataError, match="no such luck"):
        zoo.load(run_dir, host=host)
    (run_dir / store.RESULT).unlink()
    with pytest.raises(DataError, match="no result"):
        zoo.load(run_dir.name, store=tmp_path / "results", host=host)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"version": 2}, "of version 1, installed is version 2"),
        ({"group": "p4"}, "its symmetry group was None, now it is p4"),
        ({"defaults": {"width": 4}}, "no longer has the hyper-parameters dropout"),
    ],
)
def test_a_network_that_has_changed_is_refused(run_dir, host, changed, fields, says):
    changed(**fields)
    with pytest.raises(DataError, match=says) as caught:
        zoo.load(run_dir, host=host)
    assert "lens-zoo" in str(caught.value)


def test_a_network_of_other_shapes_is_never_loaded_in_part(run_dir, host, monkeypatch):
    import toyzoo

    original = toyzoo.tiny
    monkeypatch.setattr(toyzoo, "tiny", lambda **arguments: original(**{**arguments, "width": 5}))
    with pytest.raises(DataError, match=r"of another shape \(network.0.weight \[4, 1, 3, 3\] for \[5, 1, 3, 3\]"):
        zoo.load(run_dir, host=host)


def test_a_network_that_answers_otherwise_is_refused(run_dir, host, monkeypatch):
    """Same shapes, another activation: only the golden predictions can tell."""
    import toyzoo

    original = toyzoo.tiny

    def smoother(**arguments):
        network = original(**arguments)
        network[2] = torch.nn.GELU()
        return network

    monkeypatch.setattr(toyzoo, "tiny", smoother)
    with pytest.raises(DataError, match=r"other predictions .* allowed are 0.001"):
        zoo.load(run_dir, host=host)


def test_hyper_parameters_that_fetch_initial_weights_are_not_used(run_dir, host, changed):
    from zoo.models.load import hparams_for_loading

    changed(initialisers={"dropout": 0.0})
    spec = host.specs[ModelSpec]["toyzoo/tiny"]
    assert hparams_for_loading(spec, {"width": 7, "dropout": 0.9}) == {"width": 7, "dropout": 0.0}


@pytest.mark.parametrize(("name", "turns", "mirrors"), [("p4", 4, 1), ("d4", 4, 2)])
def test_averages_are_means_over_the_turned_images(run_dir, host, name, turns, mirrors):
    model = zoo.load(run_dir, host=host)
    images = np.random.default_rng(0).normal(size=(5, 12, 12)).astype(np.float32)
    plain = [
        model.predict_proba(np.rot90(images[:, :, ::-1] if mirror else images, turn, (1, 2)).copy())
        for mirror in range(mirrors)
        for turn in range(turns)
    ]
    averaged = model.predict_proba(images, average=name)
    assert averaged == pytest.approx(np.mean(plain, axis=0), abs=1e-6)
    assert model.predict_proba(np.rot90(images, 1, (1, 2)).copy(), average=name) == pytest.approx(averaged, abs=1e-6)
    assert np.abs(plain[0] - plain[1]).max() > 1e-3


def test_wrong_images_are_refused(run_dir, host):
    model = zoo.load(run_dir, host=host)
    with pytest.raises(DataError, match=r"trained on \[N, 1, 12, 12\]"):
        model.predict_proba(np.zeros((2, 13, 13)))
    with pytest.raises(DataError, match="not finite"):
        model.predict_proba(np.full((12, 12), np.nan))
    with pytest.raises(UsageError, match="Did you mean 'd4'"):
        model.predict_proba(np.zeros((12, 12)), average="d5")
    with pytest.raises(UsageError, match="batch_size=0 must be"):
        model.predict_proba(np.zeros((12, 12)), batch_size=0)


def test_everything_that_plugins_ship_can_be_loaded(tmp_path):
    from zoo.weights.find import packaged_weights

    installed = load_plugins()
    for entry in packaged_weights(installed):
        assert zoo.load(entry.name, store=tmp_path, host=installed).about.pixels
