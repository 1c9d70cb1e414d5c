"""Networks that do not beat a baseline are marked, in every form of the report."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
import reportdata

from zoo.report.blocks import score_table
from zoo.report.tables import make_tables, seed_table
from zoo.report.text import to_csv, to_markdown
from zoo.results.baselines import Standing, find_standing, merged
from zoo.results.comparison import group_variants

DECLARED = dataclasses.replace(reportdata.STRIPES, baselines=("toyzoo/bar",))


def results(*areas, bar=0.9, weak=0.6):
    """Return networks of these areas, and two baselines: one that is declared, one that fits itself."""
    networks = [reportdata.good(area, model=f"toyzoo/net{k}") for k, area in enumerate(areas)]
    bars = [reportdata.good(bar, model="toyzoo/bar"), reportdata.good(weak, model="toyzoo/weak", training={})]
    return [*networks, *bars]


def pair(first, second, found):
    return SimpleNamespace(first=first, second=second, score="macro", found=found)


def marked(standing, found):
    return {result.cell.model for result in found if result.run_id in standing.unbeaten}


def test_only_a_network_that_is_higher_beyond_chance_beats_the_strongest_baseline():
    found = results(0.95, 0.91, 0.85)
    comparisons = [
        pair("toyzoo/net0", "toyzoo/bar", True),
        pair("toyzoo/net1", "toyzoo/bar", False),  # higher by chance
        pair("toyzoo/bar", "toyzoo/net2", True),
        pair("toyzoo/net0", "toyzoo/weak", True),
        pair("toyzoo/net1", "toyzoo/weak", True),
        pair("toyzoo/net2", "toyzoo/weak", False),
    ]
    standing = find_standing(group_variants(found), dataset=DECLARED, comparisons=comparisons)
    assert marked(standing, found) == {"toyzoo/net1", "toyzoo/net2"}
    assert [standing.unbeaten[result.run_id] for result in found[1:3]] == [
        ("toyzoo/bar",),
        ("toyzoo/bar", "toyzoo/weak"),
    ]
    assert {result.cell.model for result in found if result.run_id in standing.baselines} == {
        "toyzoo/bar",
        "toyzoo/weak",
    }
    assert standing.footnotes == (
        "† not shown to beat toyzoo/bar",
        "not shown to beat toyzoo/weak: toyzoo/net2",
    )


def test_a_network_is_named_where_a_weaker_baseline_with_fewer_trainings_is_not_shown_to_be_below_it():
    found = results(0.95)
    comparisons = [pair("toyzoo/net0", "toyzoo/bar", True), pair("toyzoo/net0", "toyzoo/weak", False)]
    standing = find_standing(group_variants(found), dataset=DECLARED, comparisons=comparisons)
    assert standing.unbeaten == {found[0].run_id: ("toyzoo/weak",)}
    assert standing.label(found[0]) == ""  # the mark is for the strongest
    assert standing.footnotes == ("not shown to beat toyzoo/weak: toyzoo/net0",)


def test_a_method_of_another_plugin_that_fits_itself_competes():
    found = [*results(0.95), reportdata.good(0.97, model="theirs/closed_form", training={})]
    standing = find_standing(group_variants(found), dataset=DECLARED)
    assert found[-1].run_id not in standing.baselines | set(standing.unbeaten)
    assert set(standing.baselines) == {result.run_id for result in found[1:3]}
    assert find_standing(group_variants(found), dataset=None) == Standing()


@pytest.mark.parametrize(("bar", "beaten"), [(0.5, True), (0.899, False), (0.99, False)])
def test_without_predictions_on_the_same_images_the_intervals_decide(bar, beaten):
    found = results(0.9, bar=bar, weak=0.4)
    standing = find_standing(group_variants(found), dataset=DECLARED)
    assert marked(standing, found) == (set() if beaten else {"toyzoo/net0"})
    assert standing.footnotes == (() if beaten else ("† not shown to beat toyzoo/bar",))


def test_without_a_baseline_or_a_network_nothing_is_marked():
    assert find_standing([], dataset=None) == Standing()
    networks = [reportdata.good(0.9)]
    assert find_standing(group_variants(networks), dataset=DECLARED) == Standing()
    bars = results()
    standing = find_standing(group_variants(bars), dataset=DECLARED)
    assert standing.unbeaten == {}
    assert len(standing.baselines) == 2
    assert merged([standing, Standing()]) == standing
    assert merged([]) == Standing()


def test_tables_csv_and_page_show_it():
    found = results(0.95, 0.7)
    [table] = make_tables(found, datasets={DECLARED.id: DECLARED})
    assert [row[0] for row in table.rows] == [
        "toyzoo/net0", "toyzoo/bar (baseline)", "toyzoo/net1 †", "toyzoo/weak (baseline)",
    ]  # fmt: skip
    assert "† not shown to beat toyzoo/bar" in table.notes
    assert "| toyzoo/net1 † |" in to_markdown(table)
    standing = find_standing(group_variants(found), dataset=DECLARED)
    assert seed_table(group_variants(found), standing=standing) is None
    again = reportdata.good(0.7, model="toyzoo/net1", seed=1)
    over_seeds = seed_table(group_variants([*found, again]), standing=standing)
    assert [row[0] for row in over_seeds.rows] == [
        "toyzoo/net0", "toyzoo/bar (baseline)", "toyzoo/net1 †", "toyzoo/weak (baseline)",
    ]  # fmt: skip
    assert over_seeds.notes[0] == "† not shown to beat toyzoo/bar"
    heading, *lines = (line.split(",") for line in to_csv(found, standing=standing).splitlines())
    shown = [(line[heading.index("baseline")], line[heading.index("does_not_beat")]) for line in lines]
    assert shown == [("False", ""), ("False", "toyzoo/bar"), ("True", ""), ("True", "")]
    rows = score_table(group_variants(found), reportdata.CLASSES, standing=standing)["rows"]
    assert [row["label"] for row in rows] == ["", " (baseline)", " †", " (baseline)"]
