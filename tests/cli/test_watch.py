"""Lines that announce the end of a cell."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from reportdata import good, make_cell

from zoo.cli.watch import Watcher
from zoo.results.schema import Validation
from zoo.run.matrix import CellState


@pytest.mark.parametrize(
    ("changes", "val", "said"),
    [
        ({}, Validation(epoch=3, auc=0.661), "kept epoch 3 of 8, val AUC 0.6610; macro AUC 0.6907 in 2 min 30 s"),
        (
            {"task": "anomaly", "rule": "val_loss"},
            Validation(epoch=8, loss=0.01234567),
            "kept epoch 8 of 8, val loss 0.01235; macro AUC 0.6907 in 2 min 30 s",
        ),
        ({"training": {}}, Validation(epoch=1, auc=0.661), "val AUC 0.6610; macro AUC 0.6907 in 2 min 30 s"),
    ],
)
def test_the_last_line_of_a_cell_states_the_kept_epoch(tmp_path, capsys, changes, val, said):
    result = replace(good(0.6907, make_cell(**changes)), val=val)
    with Watcher() as watcher:
        watcher.watch([CellState(cell=result.cell, run_dir=tmp_path, state="ended", result=result)])
    assert capsys.readouterr().err == f"toyzoo/tiny on toyzoo/stripes: {said}\n"
