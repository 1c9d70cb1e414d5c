"""Tables of results on terminals of every width: which columns and notes are shown."""

from __future__ import annotations

import dataclasses
import io
import re
from itertools import pairwise

import pytest
import reportdata
from msgspec.structs import replace
from rich.console import Console

from zoo.report.narrow import notes_for, to_rich
from zoo.report.tables import make_tables
from zoo.scores.schema import Measure, Measures

good, bad = reportdata.good, reportdata.bad


def rendered(table, width):
    """Return the lines that a terminal of this width shows."""
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(to_rich(table, width=width))
    return out.getvalue().splitlines()


def test_a_table_may_contain_failures_only():
    [table] = make_tables([bad("no such luck")])
    assert dict(zip(table.columns, table.rows[0], strict=True)) == {
        **dict.fromkeys(table.columns, ""), "model": "toyzoo/tiny", "seed": "0", "score": "failed",
        "run": bad("no such luck").run_id[:8],
    }  # fmt: skip
    assert "toyzoo/tiny" in "\n".join(rendered(table, 80))
    assert make_tables([]) == []


def test_columns_hidden_by_a_narrow_terminal_are_named(table):
    assert "too narrow for" not in "".join(rendered(table, 300))
    text = " ".join(rendered(table, 60))
    assert "too narrow for" in text
    assert "run" in text.partition("too narrow for")[2]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 150, 240])
@pytest.mark.parametrize("names", [("a", "b"), reportdata.CLASSES, tuple(f"class_{k}" for k in range(9))], ids=len)
def test_the_status_of_a_failed_cell_is_shown_at_every_width(width, names):
    result = good(0.9)
    areas = {**dict.fromkeys(names, 0.9), "macro": 0.9, "micro": 0.9}
    confusion = tuple(tuple(int(k == other) for other in range(len(names))) for k in range(len(names)))
    counts = {split: (10,) * len(names) for split in ("train", "val", "test")}
    result = replace(
        result,
        classes=names,
        test=replace(result.test, auc=areas, confusion=confusion),
        data=replace(result.data, counts=counts),
    )
    failed = [bad("no such luck", model="toyzoo/broken"), bad("", "oom", model="toyzoo/large")]
    [table] = make_tables([result, *failed])
    for one in failed:
        [line] = [line for line in rendered(table, width) if one.cell.model in line]
        assert one.status in line


def test_names_with_wide_letters_and_control_characters_stay_whole():
    [table] = make_tables([good(0.9, model="toyzoo/星雲\x1b[2J"), good(0.8, model="toyzoo/other")])
    text = "\n".join(rendered(table, 60))
    assert r"toyzoo/星雲\x1b[2J" in text
    assert "0.9000" in text


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160, 240])
def test_the_table_fits_its_terminal(table, width):
    lines = rendered(table, width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for row in table.rows:
        assert row[0] in text  # names and the score are never folded or left out
    assert "0.9700" in text


def test_narrow_terminals_lose_the_least_important_columns_first(table):
    shown = {width: {column.header for column in to_rich(table, width=width).columns} for width in range(40, 341, 4)}
    assert shown[340] == set(table.columns)
    widths = sorted(shown)
    for narrow, wide in pairwise(widths):
        assert shown[narrow] <= shown[wide]
    assert {"model", "AUC macro"} <= shown[40]
    areas = {name for name in table.columns if name.startswith("AUC ") and name != "AUC macro"}
    assert len(areas) == 3
    assert set(table.columns) - areas in shown.values()
    assert set(table.columns) - areas - {"MACs"} in shown.values()


@pytest.mark.parametrize("width", [80, 100, 120, 160, 400])
def test_a_task_with_many_scores_keeps_the_one_that_ranks_and_whole_names(width):
    model = "baselines/scalars_boosted_regression"
    names = ["CRPS skill", "MAE", "RMSE", "CRPS", "coverage of 68 % intervals", "coverage of 95 % intervals"]
    found = {name: Measure(label=name, value=0.25, interval=(0.2, 0.3), higher_is_better=True) for name in names}
    result = replace(good(0.9, model=model), test=Measures(order=tuple(names), measures=found, images=9))
    result = replace(result, cell=dataclasses.replace(result.cell, task="regress:shear"))
    [table] = make_tables([result])
    shown = [column.header for column in to_rich(table, width=width).columns]
    assert {"model", "seed", "CRPS skill"} <= set(shown)
    assert [name for name in names[1:] if name in shown] == names[1 : 1 + sum(name in names[1:] for name in shown)]
    assert width < 400 or set(names) <= set(shown)
    assert any(model in line for line in rendered(table, width))


def test_notes_on_columns_stand_where_the_columns_are_shown(table):
    noted = dataclasses.replace(table, notes=[*table.notes, "accuracy, seed: two columns", "run: one", "other: none"])
    for width in (40, 80, 400):
        shown = {column.header for column in to_rich(noted, width=width).columns}
        found = notes_for(noted, width=width)
        hidden = set(table.columns) - shown
        assert all(set(note.partition(":")[0].split(", ")) <= hidden for note in set(table.notes) - set(found))
        assert ("own group" in shown) == any(note.startswith("own group:") for note in found)
        assert ("accuracy, seed: two columns" in found) == bool({"accuracy", "seed"} & shown)
        assert ("run: one" in found) == ("run" in shown)
        assert "other: none" in found


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_seed_and_interval_are_always_shown(width):
    [table] = make_tables([good(0.97, model="gconv/p4m_resnet18_wide", seed=12)])
    shown = [column.header for column in to_rich(table, width=width).columns]
    assert {"model", "seed", "AUC macro", "95 %"} <= set(shown)
    [row] = [line for line in rendered(table, width) if "gconv/p4m_resnet18_wide" in line]
    for name in ("seed", "AUC macro", "95 %"):
        assert table.rows[0][table.columns.index(name)] in row
    text = " ".join(" ".join(rendered(table, width)).split())
    assert all(name in text for name in table.columns if name not in shown)


def test_long_headings_break_at_blanks(table):
    # The narrowest terminal that shows all columns.
    width = next(width for width in range(100, 400) if len(to_rich(table, width=width).columns) == len(table.columns))
    lines = rendered(table, width)
    assert not any("no substructure" in line for line in lines)
    for word in ["AUC", "no", "substructure"]:
        assert any(re.search(rf"\b{word}\b", line) for line in lines[2:])
