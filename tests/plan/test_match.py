"""Widths are matched so that networks have the same cost."""

from pathlib import Path

import pytest

from zoo.errors import TrainingError, UsageError
from zoo.host import load_plugins
from zoo.models.classifier import build_classifier
from zoo.plan.cells import make_plan
from zoo.plan.request import Request

TOY = Path(__file__).parents[1] / "toys" / "toyzoo.py"
FLAT = {"strides": [1, 1, 1, 1, 1, 1]}  # toy images are small


@pytest.fixture(scope="module")
def toy_host():
    return load_plugins(files=[TOY])


def _plan(host, store, models, **values):
    sentences = []
    request = Request(
        models=models, data=["toyzoo/stripes"], budget="smoke", device="cpu", store=store, settings=FLAT, **values
    )
    return make_plan(host, request, note=sentences.append), sentences


def _count(host, cell):
    network = build_classifier(host, cell.model, cell.hparams, image_shape=(1, 12, 12), num_classes=3)
    return sum(parameter.numel() for parameter in network.parameters())


def test_widths_follow_the_first_network(toy_host, tmp_path):
    cells, sentences = _plan(toy_host, tmp_path, ["gconv/z2", "gconv/p4", "toyzoo/tiny"], match="params")
    plain, p4, tiny = cells
    [unmatched], _ = _plan(toy_host, tmp_path, ["gconv/z2"])
    assert plain.run_id == unmatched.run_id
    for cell in (p4, tiny):
        assert _count(toy_host, cell) == pytest.approx(_count(toy_host, plain), rel=0.05)
    assert len(sentences) == 2
    assert "times the cost of gconv/z2" in sentences[0]


@pytest.mark.slow
def test_a_time_is_measured_once(toy_host, tmp_path, monkeypatch):
    first, _ = _plan(toy_host, tmp_path, ["gconv/z2", "toyzoo/tiny"], match="time", seeds=[0, 1])
    monkeypatch.setattr("zoo.plan.match._step_seconds", lambda *values: pytest.fail("measured again"))
    again, sentences = _plan(toy_host, tmp_path, ["gconv/z2", "toyzoo/tiny"], match="time", seeds=[0, 1, 2])
    assert {cell.run_id for cell in first} < {cell.run_id for cell in again}
    assert "s per training step" in sentences[0]


def test_the_data_set_is_opened_once(toy_host, tmp_path, monkeypatch):
    """Opening one may take seconds: rotated MNIST turns 5,000 digits."""
    from zoo.data.open import Dataset

    opened = []
    monkeypatch.setattr(
        "zoo.data.open.Dataset", lambda *values, **options: opened.append(1) or Dataset(*values, **options)
    )
    _plan(toy_host, tmp_path, ["gconv/z2", "gconv/p4", "toyzoo/tiny"], match="params", seeds=[0, 1])
    assert opened == [1]


@pytest.mark.parametrize("content", ["{", "[]", '{"hparams": {}, "cost": 1.0, "wanted": 1.0}', '{"cost": "many"}'])
def test_a_damaged_match_is_found_again(toy_host, tmp_path, content):
    models = ["gconv/z2", "toyzoo/tiny"]
    first, _ = _plan(toy_host, tmp_path, models, match="params")
    [path] = (tmp_path / ".match").glob("*.json")
    kept = path.read_text()
    path.write_text(content)
    again, _ = _plan(toy_host, tmp_path, models, match="params")
    assert [cell.run_id for cell in again] == [cell.run_id for cell in first]
    assert path.read_text() == kept


def test_impossible_matches_are_refused(toy_host, tmp_path):
    with pytest.raises(UsageError, match="toyzoo/explodes has no hyper-parameter widths or width"):
        _plan(toy_host, tmp_path, ["gconv/z2", "toyzoo/explodes"], match="params")
    with pytest.raises(UsageError, match="Did you mean 'params'"):
        _plan(toy_host, tmp_path, ["gconv/z2", "toyzoo/tiny"], match="parms")


@pytest.mark.parametrize(
    ("model", "by", "error", "said"),
    [
        ("oddnets/lstm", "macs", UsageError, "multiply-accumulates of oddnets/lstm cannot be counted"),
        ("refusednets/raises", "macs", UsageError, "multiply-accumulates of refusednets/raises cannot be counted"),
        ("refusednets/tuple", "time", TrainingError, "refusednets/tuple returns a tuple, not a tensor of logits"),
    ],
)
def test_a_cost_that_is_unknown_matches_nothing(tmp_path, model, by, error, said):
    host = load_plugins(files=[TOY, TOY.with_name("oddnets.py"), TOY.with_name("refusednets.py")])
    with pytest.raises(error, match=said):
        _plan(host, tmp_path, [model, "gconv/z2"], match=by)
