"""A small run of the toy network, for the tests of this folder."""

from __future__ import annotations

import pytest
from smallrun import SMALL, TOY

from zoo.host import load_plugins
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.results import store
from zoo.run.cell import run_cell


@pytest.fixture(scope="module")
def host():
    return load_plugins(files=[TOY], environment={})


@pytest.fixture(scope="module")
def plan(host):
    def make(model="toyzoo/tiny", *, precision="auto", **settings):
        [cell] = make_plan(
            host,
            Request(
                models=[model],
                data=["toyzoo/stripes"],
                budget="smoke",
                device="cpu",
                precision=precision,
                settings={**SMALL, **settings},
            ),
        )
        return cell

    return make


@pytest.fixture
def run_in(host, tmp_path):
    def go(cell, folder="store", **options):
        run_dir = store.prepare_run(tmp_path / folder, cell)
        return run_cell(host, cell, run_dir, device="cpu", **options), run_dir

    return go
