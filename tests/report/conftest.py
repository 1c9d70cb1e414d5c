"""A table of results, for the tests of its texts and of its widths."""

from __future__ import annotations

import pytest
import reportdata

from zoo.report.tables import make_tables

good, bad = reportdata.good, reportdata.bad


@pytest.fixture
def table():
    [table] = make_tables(
        [
            good(0.91, model="toyzoo/middle"),
            bad("RuntimeError: no such luck\n  File ...", model="toyzoo/broken"),
            good(0.97, model="toyzoo/best"),
            bad("", "oom", model="toyzoo/large", seed=3),
            good(0.55, model="toyzoo/worst"),
        ],
        datasets=reportdata.DATASETS,
    )
    return table
