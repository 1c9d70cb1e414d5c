"""Training that starts from weights: which weights are loaded, and how the run id depends on them."""

from __future__ import annotations

import shutil

import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import load_file

from zoo.errors import UsageError
from zoo.models.about import Init
from zoo.models.weights_file import read_header, read_weights, write_weights
from zoo.paths import cache_dir
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.results import store

# Nothing moves: what comes out is what the training started from.
STILL = {"lr": 0.0, "weight_decay": 0.0, "ema": 0.0, "epochs": 1}


def test_the_network_starts_from_the_weights(run_dir, run_toy, tmp_path):
    result, started_dir = run_toy(tmp_path / "results", init=run_dir.name[:8], **STILL)
    assert result.status == "ok", result.error
    old, new = (load_file(each / store.WEIGHTS) for each in (run_dir, started_dir))
    # Batch norm's running statistics go on from the old ones even where no weight moves.
    trained = [name for name in old if name.startswith("network.") and "running" not in name and "num_" not in name]
    assert trained
    assert all(torch.equal(old[name], new[name]) for name in trained)
    sha256 = read_header(run_dir / store.WEIGHTS).sha256
    assert result.cell.training["init"] == f"sha256:{sha256}"
    assert result.init == Init(sha256=sha256, model="toyzoo/tiny", run_id=run_dir.name, new=())
    assert read_header(started_dir / store.WEIGHTS).about.init == result.init


def test_a_head_for_other_classes_starts_at_random_and_is_logged(run_dir, run_toy, tmp_path, caplog):
    result, started_dir = run_toy(tmp_path / "results", data="toyzoo/two", init=str(run_dir), **STILL)
    assert result.status == "ok", result.error
    assert result.init.new == ("6.bias", "6.weight")
    assert "6.bias, 6.weight start at random" in caplog.text
    old, new = (load_file(each / store.WEIGHTS) for each in (run_dir, started_dir))
    assert torch.equal(old["network.0.weight"], new["network.0.weight"])
    assert new["network.6.weight"].shape[0] == 2


def test_weights_that_do_not_fit_are_refused_with_the_names(run_dir, run_toy, tmp_path):
    result, _ = run_toy(tmp_path / "results", init=str(run_dir), width=5, **STILL)
    assert result.status == "failed"
    assert "0.weight [4, 1, 3, 3] for [5, 1, 3, 3]" in result.error


@pytest.mark.parametrize(
    ("version", "factor", "says"),
    [
        (7, 1.0, "of version 7, installed is version 1"),
        (1, 1.5, "gives other predictions"),
        (1, float("nan"), "gives other predictions"),
    ],
)
def test_weights_that_do_not_load_start_no_training(run_dir, run_toy, tmp_path, version, factor, says):
    content = read_weights(run_dir / store.WEIGHTS)
    path = tmp_path / "other.safetensors"
    about = replace(content.header.about, model_version=version)
    state = {**content.state, "network.6.weight": content.state["network.6.weight"] * factor}
    write_weights(path, state, about=about, golden=content.golden)
    result, _ = run_toy(tmp_path / "results", init=str(path), **STILL)
    assert result.status == "failed"
    assert says in result.error


def test_the_run_id_depends_on_the_content_and_not_the_path(run_dir, host, tmp_path):
    def plan(init):
        settings = {"init": init} if init else {}
        request = Request(
            models=["tiny"],
            data=["stripes"],
            budget="smoke",
            device="cpu",
            settings=settings,
            store=tmp_path / "results",
        )
        return make_plan(host, request)[0].run_id

    copy = tmp_path / "elsewhere.safetensors"
    copy.write_bytes((run_dir / store.WEIGHTS).read_bytes())
    assert plan(str(copy)) == plan(run_dir.name) != plan("")
    address = f"sha256:{read_header(copy).sha256}"
    assert plan(address) == plan(str(copy))
    shutil.rmtree(cache_dir() / "weights")  # the store of the request has the weights as well
    assert plan(address) == plan(run_dir.name)
    with pytest.raises(UsageError, match="Weights 'nothing' were not found"):
        plan("nothing")
    with pytest.raises(UsageError, match="must name weights"):
        plan(3)


def test_the_cache_or_the_store_must_contain_the_weights(run_dir, run_toy, tmp_path):
    sha256 = read_header(run_dir / store.WEIGHTS).sha256
    found, _ = run_toy(tmp_path / "results", init=f"sha256:{sha256}", **STILL)
    assert found.status == "ok"
    missing, _ = run_toy(tmp_path / "results", init="sha256:" + "0" * 64, **STILL)
    assert "neither in the cache nor in" in missing.error
