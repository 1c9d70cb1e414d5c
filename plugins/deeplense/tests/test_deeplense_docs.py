"""The tables of docs/populations.md agree with the code and with the record of measurements."""

from __future__ import annotations

from pathlib import Path

import pytest
from zoo_deeplense.tables import BUDGETS as IN_IMAGES
from zoo_deeplense.tables import MODEL_2, MODEL_3, MODEL_A, MORE_RAYS, PHASES

from zoo import registry
from zoo.budgets import BUDGETS
from zoo.host import load_plugins
from zoo.specs import DatasetSpec

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "populations.md").read_text(encoding="utf-8")
SMALLER = tuple(name for name in BUDGETS if name != "paper")


def row(name: str, paper: str, *others: str) -> str:
    return f"| {' | '.join([name, paper, *others])} |"


def special(name: str) -> str:
    """Return Model A's value of a parameter, and those of the two populations that have another one."""
    return f"{MODEL_A[name]:g} (`model2` {MODEL_2[name]:g}, `model3` {MODEL_3[name]:g})"


def rays(budget: str) -> str:
    """Return the rays of a budget, and those of the populations that need more."""
    more = {name: rays[budget] for name, rays in MORE_RAYS.items() if budget in rays}
    groups = {count: [f"`{name}`" for name in more if more[name] == count] for count in sorted(set(more.values()))}
    others = "; ".join(f"{', '.join(names)} {count}" for count, names in groups.items())
    return f"{IN_IMAGES[budget]['over_sampling']} ({others})"


def steps(budget: str) -> str:
    """Return the phases of a budget, with a line's commas, or that there are none."""
    return PHASES[budget].replace("mass_scale=", "") if budget in PHASES else "none"


ROWS = [
    row(
        "training, validation, test images",
        *(
            ", ".join(f"{BUDGETS[budget].sizes[split]:,}" for split in ("train", "val", "test"))
            for budget in ("paper", *SMALLER)
        ),
    ),
    row("epochs", *(str(BUDGETS[budget].training["epochs"]) for budget in ("paper", *SMALLER))),
    row(
        "pixels",
        "as published (`modelA`: {0} x {0} of {1} arcsec)".format(MODEL_A["image_size"], MODEL_A["pixel_scale"]),
        *("{image_size} x {image_size} of {pixel_scale}".format(**IN_IMAGES[budget]) for budget in SMALLER),
    ),
    row("reference pixel, arcsec", special("reference_pixel_scale"), *["the same"] * len(SMALLER)),
    row("phases (`mass_scale`)", *(steps(budget) for budget in ("paper", *SMALLER))),
    row("rays per pixel and axis", special("over_sampling"), *(rays(budget) for budget in SMALLER)),
]


@pytest.mark.parametrize("line", ROWS)
def test_the_table_of_budgets_is_that_of_the_code(line: str) -> None:
    assert f"\n{line}\n" in PAGE


def test_all_populations_share_what_a_budget_changes() -> None:
    """Except the rays that some need. So one table describes all of them; what it does not name, no budget changes."""
    named = {"image_size", "pixel_scale", "over_sampling"}
    for spec in registry.listed(load_plugins(environment={}), DatasetSpec, pattern="deeplense/*"):
        if spec.simulated:
            for budget, values in spec.budgets.items():
                assert values == {**IN_IMAGES[budget], "over_sampling": values["over_sampling"]}
                expected = MORE_RAYS.get(spec.name, {}).get(budget, IN_IMAGES[budget]["over_sampling"])
                assert values["over_sampling"] == expected
            assert spec.budget_phases == PHASES
            assert {name for values in spec.budgets.values() for name in values} == named


def test_the_table_of_accuracies_is_the_recorded_one_and_its_rays_are_those_of_the_code() -> None:
    record = (ROOT / "benchmarks" / "results" / "accuracy.md").read_text(encoding="utf-8")
    table = record[record.index("| population") :]
    assert table.strip() in PAGE
    specs = {spec.name: spec for spec in registry.listed(load_plugins(environment={}), DatasetSpec) if spec.simulated}
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("| `")]
    assert len(rows) >= 10
    for name, _, rays, reference, most, largest in rows:
        population, _, budget = name.strip().replace("`", "").partition(", budget ")
        params = {**specs[population].params, **(specs[population].budgets[budget] if budget else {})}
        assert int(rays) == params["over_sampling"]
        assert int(reference) == max(16, 2 * int(rays))
        bold = "**" in most + largest
        assert bold == (float(most.strip(" *")) >= 0.2 or float(largest.strip(" *")) >= 1)


def test_the_figures_of_the_fitted_lens_are_the_recorded_ones() -> None:
    record = (ROOT / "benchmarks" / "results" / "fitted_lens.md").read_text(encoding="utf-8")
    parts = {part.partition("\n")[0]: figures_of(part, "| | modelA") for part in record.split("\n## ")[1:]}
    rigid, flexible, shapelets = (
        next(figures for heading, figures in parts.items() if word in heading)
        for word in ("exact PSF", "Multipoles", "Shapelets")
    )
    shown = figures_of(PAGE, "| 201 images of each |")
    assert len(shown) == 4
    for name, values in shown.items():
        assert values == {data: f"{float(rigid[name][data]):.3f}" for data in values}
    of_the_best = "macro AUC of the classifier without halo_offset"
    page = " ".join(PAGE.split())
    a, b = (f"{float(flexible[of_the_best][data]):.3f}".lstrip("0") for data in ("modelA", "modelB"))
    assert f"reaches {a} on `modelA` and {b} on `modelB`" in page
    real = [f"{float(fits[of_the_best]['real_sources']):.3f}".lstrip("0") for fits in (rigid, flexible, shapelets)]
    assert "{} with a Sersic source, {} with multipoles, too, and {} with shapelets".format(*real) in page
    cost = "ms of one core per image"
    times = {
        name: [float(fits[cost][data]) / float(rigid[cost][data]) for data in rigid[cost] if data != "real_sources"]
        for name, fits in (("flexible", flexible), ("shapelets", shapelets))
    }
    assert 1.7 < min(times["flexible"]) < max(times["flexible"]) < 2.3
    assert "takes twice as long" in page
    assert 6 < min(times["shapelets"]) < max(times["shapelets"]) < 8.5
    assert "with shapelets six to eight times" in page
    assert {count for fits in (rigid, flexible, shapelets) for count in fits["images"].values()} == {"201"}


def figures_of(text: str, heading: str) -> dict[str, dict[str, str]]:
    """Return the cells of a table by the name of their row, and by that of their column."""
    names, rows = cells_of(text, heading)
    return {cells[0].replace("`", ""): dict(zip(names, cells[1:], strict=True)) for cells in rows}


def cells_of(text: str, heading: str) -> tuple[list[str], list[list[str]]]:
    """Return the names of a table's columns, and the cells of its rows, the name of the row first."""
    table = text[text.index(heading) :].partition("\n\n")[0].splitlines()
    lines = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in table]
    return lines[0][1:], lines[2:]
