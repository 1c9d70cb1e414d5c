"""The aim of the experiment on docs/results.md: whether it is met or missed, and what was tried on Model B."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from headline_rows import best_first, displaced
from headline_runs import Run, choice, dataset_of, full_size, installed, name_of, usual_training
from headline_tables import PUBLISHED, area, rows
from page_parts import wrapped

from zoo import registry
from zoo.results.baselines import is_baseline
from zoo.results.cell import Cell
from zoo.results.comparison import Variant, estimate, interval_of_mean, problem_key
from zoo.results.schema import Finished
from zoo.specs import ModelSpec

RESULTS = Path(__file__).resolve().parent / "results"
SEARCH, RATES = RESULTS / "equal_search.jsonl", RESULTS / "learning_rates.jsonl"
AIM = {"modelA": 0.998, "modelB": 0.993}
SHOWN = {"modelA": "Model A", "modelB": "Model B"}
HARDER = "modelB"
TRIED_WITH = "gconv/p4m"
WORDS = {
    "lr": "learning rate {:g}",
    "new_noise": "new noise in each epoch",
    "stream": "new images in each epoch",
    "auxiliary": "auxiliary truths {}",
}
"""Settings that have words of their own in the table of what was tried."""
THE_AIM = """\
The aim is a macro and a micro AUC of {aims} at the published masses. It was chosen by the authors, not registered in
advance, and lies between the published micro AUCs of ResNet-18 ({plain}) and of the best equivariant networks ({best}).
Those are of larger images, of substructure that adds its mass, and of checkpoints that were chosen on the test images,
so meeting the aim does not mean reaching the published scores. The aim counts as met where the whole interval is above
it, as missed where it is below, and otherwise as not decided. These are the networks of the tables below, baselines
left out, with the highest macro test AUC for each input; "largest of" is the number of rows with that input, of all
budgets. The highest of several scores on the same test images is too high on average; the one on fresh test images,
where it was measured, is not. A residual channel is the image less a
smooth lens that was fitted to it. Like the scores of the fitted lenses, those of networks with this channel rest on the
forms of lens and source, which are exact in these models; `residual_centred` also expects a round halo in the middle of
the image, which every lens of these models has and no real one."""


def aim_section(runs: Sequence[Run]) -> str:
    """Return how far the best networks of Models A and B are from the aim; "" where no such network is recorded."""
    found = {data: networks_of(runs, data=data) for data in AIM}
    body = []
    for data, problems in found.items():
        variants = [variant for own in problems for variant in best_first(own)]
        for seen in sorted({input_of(variant.results[0].cell) for variant in variants}):
            own = [variant for variant in variants if input_of(variant.results[0].cell) == seen]
            best = max(own, key=lambda variant: variant.rank)
            words = [SHOWN[data], area(AIM[data]).rstrip("0"), seen, *row_of(best)]
            body.append([*words, str(len(own)), fresh(best), *against(best, AIM[data])])
    if not body:
        return ""
    aims = " and ".join(f"{area(aim).rstrip('0')} on {SHOWN[data]}" for data, aim in AIM.items())
    plain = " and ".join(area(PUBLISHED[data]["ResNet-18"][-1]) for data in AIM)
    best_published = " and ".join(area(max(areas[-1] for areas in PUBLISHED[data].values())) for data in AIM)
    text = THE_AIM.format(aims=aims, plain=plain, best=best_published)
    header = ["data", "aim", "input", "network", "budget", "runs", "macro AUC (95 %)", "largest of", "fresh test"]
    header += ["less the aim", "met or missed", "micro AUC (95 %)", "micro met or missed"]
    parts = ["## Aim", wrapped(text.replace("\n", " ")), rows(header, body, texts=6), tried(found[HARDER])]
    return "\n\n".join(filter(None, parts))


def networks_of(runs: Sequence[Run], *, data: str) -> list[list[Run]]:
    """Return the runs of a data set's tables that count for the aim, by problem: networks on images of today."""
    problems: dict[str, list[Run]] = {}
    for run in runs:
        dataset = dataset_of(run)
        if (
            (run.part, name_of(run.cell), choice(run)) == ("table", data, "nothing")
            and run.cell.recipe.dataset_version == dataset.version
            and full_size(run.cell)
            and not is_baseline(run.cell, dataset)
        ):
            problems.setdefault(problem_key(run.cell), []).append(run)
    return list(problems.values())


def input_of(cell: Cell) -> str:
    """Return in words what a network gets: the image, and residuals of a fitted lens."""
    channels = [name.rpartition("/")[2] for name in cell.recipe.channels or ()]
    return f"image and {', '.join(channels)}" if channels else "image alone"


def row_of(variant: Variant) -> list[str]:
    """Return the cells of a variant: name, budget, runs, macro AUC with its interval."""
    macro, results = estimate(variant.results), variant.results
    ids = " ".join(result.run_id[:4] for result in results)
    shown = f"{area(macro.score)} ({area(macro.low)} to {area(macro.high)})"
    return [f"`{variant.name}`", results[0].cell.budget, ids, shown]


def fresh(variant: Variant) -> str:
    """Return the mean macro AUC on fresh test images; "-" where a run has none."""
    found = [result.fresh.scores.headline.value for result in variant.results if result.fresh]
    return area(mean(found)) if len(found) == len(variant.results) else "-"


def against(variant: Variant, aim: float) -> list[str]:
    """Return the macro AUC less the aim and whether it is met, and the micro AUC and whether it is."""
    macro, tests = estimate(variant.results), [result.test for result in variant.results]
    micros = [test.auc["micro"] for test in tests]
    low, high = interval_of_mean(micros, [test.intervals["auc.micro"] for test in tests])
    micro = f"{area(mean(micros))} ({area(low)} to {area(high)})"
    return [signed(macro.score - aim), decided(macro.low, macro.high, aim), micro, decided(low, high, aim)]


def decided(low: float, high: float, aim: float) -> str:
    """Return whether a score with this interval meets the aim."""
    return "met" if low > aim else "missed" if high < aim else "not decided"


def signed(difference: float) -> str:
    """Return a difference of areas with its sign."""
    return f"{difference:+.4f}".replace("0.", ".", 1)


def tried(problems: Sequence[Sequence[Run]]) -> str:
    """Return what was changed in trainings of p4m, each beside the plain training of its budget; "" for nothing.

    Args:
        problems: Runs of each problem, with those that stand in no row: they were tested on the images of the others
            on a GPU.
    """
    own = [variant for runs in problems for variant in best_first(runs) if variant.model == TRIED_WITH]
    left_out = [other.result for runs in problems for _, other in displaced(runs)]
    plain: dict[str, list[Finished]] = {}
    for result in [*(result for variant in own for result in variant.results), *left_out]:
        if result.cell.model == TRIED_WITH and not changes(result.cell):
            plain.setdefault(result.cell.budget, []).append(result)
    body = []
    for variant in sorted(own, key=lambda variant: -variant.rank):
        cell = variant.results[0].cell
        if told := changes(cell):
            areas = {images_of(result.cell): result.test.auc["macro"] for result in variant.results}
            missed = signed(variant.rank - AIM[HARDER])
            body.append(
                [", ".join(told), *row_of(variant)[1:], missed, *less_without(areas, plain.get(cell.budget, ()))]
            )
    if not body:
        return ""
    body += other_rates(plain)
    text = (
        f"What was tried with `{TRIED_WITH}` on {SHOWN[HARDER]}, beside the trainings with the same seeds and budget "
        "without it (with several runs their mean; one training does not rank a setting). Other learning rates are of "
        "records of their own ([search](../benchmarks/results/equal_search.md), where the weight decay differs a "
        "little, too; [a third and three times the default](../benchmarks/results/learning_rates.md)):"
    )
    header = ["tried", "budget", "runs", "macro AUC (95 %)", "less the aim", "less that without", "runs without"]
    return f"{wrapped(text)}\n\n{rows(header, body, texts=3)}"


class Images(NamedTuple):
    """What two trainings share that are compared: seed, seed of the training images, device that rendered these."""

    seed: int
    train_seed: int
    device_type: str = "cpu"


def images_of(cell: Cell) -> Images:
    """Return the seed of a training, that of its training images, and the device that rendered these."""
    train_seed = cell.recipe.seed if cell.train_seed is None else cell.train_seed
    return Images(cell.seed, train_seed, cell.recipe.device_type)


def less_without(areas: Mapping[Images, float], plain: Sequence[Finished]) -> list[str]:
    """Return the mean difference from the plain trainings with the same seeds, and their run ids; without any, dashes.

    Args:
        areas: Seeds and device of the images -> macro AUC.
        plain: Plain trainings; of several with the same seeds, the first on images of the same device counts, and
            without one the first.
    """
    beside: dict[Images, Finished] = {}
    for images in areas:
        own = [result for result in plain if images_of(result.cell)[:2] == images[:2]]
        same = [result for result in own if images_of(result.cell) == images]
        if own:
            beside[images] = [*same, *own][0]
    if not beside:
        return ["-", "-"]
    difference = mean(areas[images] - result.test.auc["macro"] for images, result in beside.items())
    return [signed(difference), " ".join(result.run_id[:4] for result in beside.values())]


def other_rates(plain: Mapping[str, Sequence[Finished]]) -> list[list[str]]:
    """Return the rows of learning rates that were compared apart, best first, as in the table of `tried`.

    Args:
        plain: Budget -> trainings with the default settings.
    """
    body = []
    for (budget, rate), runs in rates_tried().items():
        areas = {Images(int(run["seed"]), int(run["seed"])): float(run["auc"]) for run in runs}  # each on its own
        score = mean(areas.values())
        shown = ", ".join(map(area, areas.values())) + (f"; mean {area(score)}" if len(areas) > 1 else "")
        ids = " ".join(run["run_id"][:4] for run in runs)  # no interval: what varies is whether a training begins
        body.append(
            [
                f"learning rate {rate:.3g}", budget, ids, shown, signed(score - AIM[HARDER]),
                *less_without(areas, plain.get(budget, ())),
            ]
        )  # fmt: skip
    return sorted(body, key=lambda row: -float(row[4]))


def rates_tried() -> dict[tuple[str, float], list[Mapping[str, Any]]]:
    """Return (budget, learning rate) -> trainings of p4m on Model B that records of their own hold."""
    usual = registry.find(installed(), ModelSpec, TRIED_WITH).training["lr"]
    found: dict[tuple[str, float], list[Mapping[str, Any]]] = {}
    for search in map(json.loads, SEARCH.read_text(encoding="utf-8").splitlines()):
        if search["model"] == TRIED_WITH and search["data"].endswith(HARDER):
            for run in search["runs"]["best"]:
                found.setdefault((search["budget"], run["learning_rate"]), []).append(run)
    for run in map(json.loads, RATES.read_text(encoding="utf-8").splitlines()):
        if run["model"] == TRIED_WITH and run["data"].endswith(HARDER):
            found.setdefault((run["budget"], run["learning_rate"]), []).append(run)
    return {key: runs for key, runs in found.items() if key[1] != usual}


def changes(cell: Cell) -> list[str]:
    """Return in words what distinguishes a training from the plain one of its budget."""
    spec = registry.find(installed(), ModelSpec, cell.model)
    usual = usual_training(cell)
    changed = {name: value for name, value in {**usual, **cell.training}.items() if value != usual[name]}
    told = ["wider network"] if sum(cell.hparams["widths"]) > sum(spec.defaults["widths"]) else []
    told += [words.format(changed.pop(name)) for name, words in WORDS.items() if name in changed]
    told = [words.replace(",", ", ") for words in told]
    told += [f"{name} {value}" for name, value in changed.items()]
    told += [f"channel `{name}`" for name in cell.recipe.channels or ()]
    return [*told, *(["no phases"] if told and not cell.phases else [])]
