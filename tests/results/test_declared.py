"""Tables and pages of data sets whose plugin is not installed show what they show with it."""

from __future__ import annotations

from msgspec.structs import replace
from reportdata import DATASETS, STRIPES, good, make_cell

from zoo.report.tables import make_tables
from zoo.results.declared import declared_of, with_declared
from zoo.results.store import plain_result, result_from


def test_a_result_holds_what_tables_show_of_its_data_set():
    kept = []
    for budget in ("laptop", "smoke"):
        result = good(0.9, make_cell(budget=budget))
        declared = declared_of(STRIPES, budget=budget)
        result = replace(result, data=replace(result.data, declared=declared))
        kept.append(result_from(plain_result(result), run_dir=result.run_dir))
    found = with_declared({}, kept)
    assert make_tables(kept, datasets=found) == make_tables(kept, datasets=DATASETS)
    assert any(
        "stripes four times as wide" in note for table in make_tables(kept, datasets=found) for note in table.notes
    )
    assert found[STRIPES.id].slices == STRIPES.slices
    assert with_declared(DATASETS, kept) == DATASETS
    assert with_declared({}, [good(0.9)]) == {}  # of an earlier version
    later = replace(declared, shown=("width",))  # no parameter of this name
    assert with_declared({}, [replace(result, data=replace(result.data, declared=later))]) == {}
