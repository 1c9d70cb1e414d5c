"""A run of the fitted lens: each image is fitted once, and what the data set states of its noise arrives."""

from collections import Counter
from pathlib import Path

import torch
import toysky
from zoo_baselines.fitted_lens import FittedLens
from zoo_baselines.lens_features import FEATURES

from zoo.host import load_plugins
from zoo.models.weights_file import read_header
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.results import store
from zoo.run.cell import run_cell

SIZES = {"train_images": 12, "val_images": 9, "test_images": 15}


def test_a_run_fits_each_image_once(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    fits: Counter[bytes] = Counter()
    networks = []

    def quick(network: FittedLens, mono: torch.Tensor) -> torch.Tensor:
        networks.append(network)
        if float(network.noise[0]):  # not the trial before the fit
            fits.update(network._keys(mono))
        columns = mono.flatten(1)[:, : len(FEATURES)].double()
        return torch.cat([columns, torch.zeros(len(mono), 1, dtype=torch.float64)], 1)

    monkeypatch.setattr(FittedLens, "_fit", quick)
    host = load_plugins(files=[Path(toysky.__file__)])
    request = Request(
        models=["baselines/fitted_lens"], data=["toysky/discs"], simulator="toysky/painter", budget="smoke",
        device="cpu", settings=SIZES, baselines=False,
    )  # fmt: skip
    [cell] = make_plan(host, request)
    result = run_cell(host, cell, store.prepare_run(tmp_path / "store", cell), device="cpu")
    assert result.status == "ok", result.error
    assert set(fits.values()) == {1}
    turned = 7 * SIZES["val_images"]  # beside the images themselves
    assert len(fits) >= sum(SIZES.values()) + turned
    assert result.fit_notes == ()
    assert result.cost.inference_images_per_second > 0
    # What the population states of its noise and its haloes, which it has no parameters for.
    assert networks[-1].noise.tolist() == [300, 0.1]
    assert not networks[-1]._kind().ellipsoid
    header = read_header(result.run_dir / store.WEIGHTS)
    assert header.about.pixel_scale == 0.05
