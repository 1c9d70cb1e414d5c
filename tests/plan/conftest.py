"""Plans for the toy network and data set, and for those of `planzoo`."""

from __future__ import annotations

import pytest
from smallrun import TOY

from zoo.host import load_plugins
from zoo.plan.cells import make_plan
from zoo.plan.request import Request


@pytest.fixture(scope="module")
def plan_host():
    return load_plugins(files=[TOY, TOY.with_name("planzoo.py")], environment={})


@pytest.fixture
def make(plan_host):
    def make(models="toyzoo/tiny", data="toyzoo/stripes", settings=None, **more):
        request = {"budget": "smoke", "device": "cpu"} | more
        names = {"models": [models], "data": [data], "settings": settings or {}}
        return make_plan(plan_host, Request(**names, **request))

    return make
