"""The contract of launchers on a real Ray of this machine: set ZOO_TEST_RAY=1."""

from __future__ import annotations

import os

import pytest

from zoo.host import load_plugins
from zoo.testing.launchers import check_launcher


@pytest.mark.slow
@pytest.mark.skipif(
    os.environ.get("ZOO_TEST_RAY", "") in ("", "0"),
    reason="starts a real Ray, for a minute or more: set ZOO_TEST_RAY=1",
)
def test_a_ray_of_this_machine_keeps_the_contract(tmp_path):
    check_launcher(load_plugins(environment={}), "ray/this_machine", tmp_path, options={"poll_seconds": 0.5})
