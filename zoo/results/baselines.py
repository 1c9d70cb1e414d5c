"""Baselines among results, and networks that do not beat those of their table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zoo.results.cell import Cell
from zoo.results.comparison import MACRO, Variant, is_above
from zoo.results.differences import compare_pairs
from zoo.results.verdict import Comparison
from zoo.specs import DatasetSpec

if TYPE_CHECKING:
    from zoo.results.schema import RunResult


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Networks and baselines of one or several tables.

    Args:
        baselines: Run ids of the baselines.
        unbeaten: Run id of a network -> baselines of its table, strongest first, where the network's headline score is
            not better beyond chance.
        marked: Run ids of the networks that do not beat the strongest baseline of their table.
        footnotes: Explanation of the mark, and the networks that do not beat each weaker baseline.
    """

    baselines: frozenset[str] = frozenset()
    unbeaten: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    marked: frozenset[str] = frozenset()
    footnotes: tuple[str, ...] = ()

    def label(self, result: RunResult) -> str:
        """Return what stands behind the name of a result's model."""
        if result.run_id in self.baselines:
            return f" ({BASELINE})"
        return f" {MARK}" if result.run_id in self.marked else ""


MARK, BASELINE = "†", "baseline"
NO_BASELINES = Standing()


def is_baseline(cell: Cell, dataset: DatasetSpec | None) -> bool:
    """Return whether a cell's model is a baseline: declared by the data set, or of such a plugin and fitting itself.

    Other methods that fit themselves compete as networks do.
    """
    if dataset is None:
        return False
    plugins = {name.partition("/")[0] for name in dataset.baselines}
    return cell.model in dataset.baselines or (cell.fits_itself and cell.model.partition("/")[0] in plugins)


def find_standing(
    variants: Sequence[Variant], *, dataset: DatasetSpec | None, comparisons: Sequence[Comparison] | None = None
) -> Standing:
    """Return the standing of variants of one problem.

    Args:
        variants: Variants of one problem, best first.
        dataset: Spec of the data set, where it is installed.
        comparisons: Comparisons of all pairs; None makes them.
    """
    baselines = [one for one in variants if is_baseline(one.results[0].cell, dataset)]
    networks = [one for one in variants if one not in baselines]
    ids = frozenset(result.run_id for one in baselines for result in one.results)
    if not baselines or not networks:
        return Standing(baselines=ids)
    if comparisons is None:
        comparisons, _ = compare_pairs(variants)
    compared = {frozenset((one.first, one.second)): one for one in comparisons if one.score == MACRO}

    def beats(network: Variant, bar: Variant) -> bool:
        pair = compared.get(frozenset((network.name, bar.name)))
        # Without predictions on the same images, the intervals of both scores are left.
        return is_above(network, bar) if pair is None else pair.found and pair.first == network.name

    below = {bar.name: [network for network in networks if not beats(network, bar)] for bar in baselines}
    strongest, *weaker = below
    unbeaten = {
        result.run_id: names
        for network in networks
        if (names := tuple(name for name, losers in below.items() if network in losers))
        for result in network.results
    }
    notes = [f"{MARK} not shown to beat {strongest}"] if below[strongest] else []
    notes += [
        f"not shown to beat {name}: {', '.join(network.name for network in below[name])}"
        for name in weaker
        if below[name]
    ]
    marked = frozenset(result.run_id for network in below[strongest] for result in network.results)
    return Standing(baselines=ids, unbeaten=unbeaten, marked=marked, footnotes=tuple(notes))


def merged(standings: Sequence[Standing]) -> Standing:
    """Return the standing of several problems."""
    return Standing(
        baselines=frozenset().union(*(one.baselines for one in standings)),
        unbeaten={run_id: names for one in standings for run_id, names in one.unbeaten.items()},
        marked=frozenset().union(*(one.marked for one in standings)),
        footnotes=tuple(dict.fromkeys(note for one in standings for note in one.footnotes)),
    )
