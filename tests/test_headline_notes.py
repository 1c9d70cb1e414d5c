"""The notes below the tables of docs/results.md say what holds for the rows of the table."""

import re

import numpy as np
import pytest
from headlineruns import recorded, with_cell
from msgspec.structs import replace


def test_each_section_states_the_version_of_its_images_and_on_which_its_rows_were_trained(headline, page, notes):
    runs = [headline.read_run(line) for line in headline.read_record()]
    sections = page.make_page(runs).split("\n## ")
    for run in runs:
        if run.part == "table" and headline.full_size(run.cell):
            [own] = [text for text in sections if text.startswith(f"{page.title([run])}\n")]
            assert ("**Images of version" in own) == (run.cell.recipe.dataset_version != notes.dataset_of(run).version)
            assert (": trained on " in " ".join(own.split())) >= bool(run.cell.phases)
    unphased = [run for run in runs if run.part == "table" and run.cell.recipe.channels and not run.cell.phases]
    assert unphased
    for run in unphased:
        [own] = [text for text in sections if text.startswith(f"{page.title([run])}\n")]
        [channel] = run.cell.recipe.channels
        name = f"`gconv/p4m (channels image, {channel.rpartition('/')[2]})`"
        alone = rf"{re.escape(name)}(, `[^`]*`)*: trained on the images of the heading alone"
        assert re.search(alone, " ".join(own.split()))
        assert f"| {name} " in own  # named as in the table
    assert "sha256:" not in "".join(sections)  # initial weights have names


ON_GPU_B = (
    "`gconv/p4m (widths [12, 12, 16, 20, 20, 28], lr 0.003, new_noise True, stream False)`, "
    "`gconv/p4m (widths [6, 6, 8, 10, 10, 14], lr 0.005, new_noise True, stream False)`, "
    "`gconv/p4m (widths [6, 6, 8, 10, 10, 14], lr 0.005, stream False)`, `gconv/z2_p4m_macs`, `escnn/c4`, "
    "`timm/resnet18` and `gconv/z2`"
)


@pytest.mark.parametrize(("data", "who"), [("modelA", "`gconv/p4m` and `timm/resnet18`"), ("modelB", ON_GPU_B)])
def test_the_note_on_noise_names_the_trainings_on_images_of_a_gpu(data, who, headline, page):
    runs = [run for run in map(headline.read_run, headline.read_record()) if run.part == "table"]
    runs = [run for run in runs if run.cell.budget == "evening" and run.cell.data.endswith(data)]
    on_gpu = {run.cell.model for run in runs if run.cell.recipe.device_type == "cuda"}
    assert on_gpu == {name.partition(" (")[0] for name in re.findall("`([^`]*)`", who)}
    assert {run.cell.seed for run in runs if run.cell.recipe.device_type == "cuda"} == {0}
    told = f"Trainings on images that were rendered on a GPU: those of {who} with seed 0. "
    assert told in " ".join(page.make_page(runs).split())


def test_a_network_that_is_not_above_the_best_baseline_is_marked(headline, notes, tables):
    runs = [headline.read_run(recorded(headline, run_id)) for run_id in ("b2c6", "63c7", "8861")]
    trees, other, network = sorted(runs, key=lambda run: (not run.cell.fits_itself, run.cell.budget == "laptop"))
    fit = headline.read_run(recorded(headline, "9375"))

    def with_area(run, area):
        ends = dict.fromkeys(run.result.test.intervals, (area - 0.001, area + 0.001))
        test = replace(run.result.test, auc=dict.fromkeys(run.result.test.auc, area), intervals=ends)
        return replace(run, result=replace(run.result, test=test))

    network = with_area(network, 0.962)
    # The interval of the difference reaches from the difference less 0.0014.
    cases = [(0.9, 0.8, ""), (0.9605, 0.8, ""), (0.961, 0.8, " †"), (0.97, 0.965, " †‡"), (0.9, 0.97, " †‡")]
    for of_fit, of_trees, mark in cases:
        own = [network, with_area(trees, of_trees), with_area(fit, of_fit)]
        rows = tables.score_table(own).splitlines()[2:]
        names = {f"`{network.cell.model}`{mark}", *(f"`{run.cell.model}` (baseline)" for run in (trees, fit))}
        assert {row.split(" | ")[0].removeprefix("| ") for row in rows} == names
        lacking = "Baselines that this table lacks: `baselines/scalars_linear`, `baselines/pca_linear`."
        assert notes.missing_baseline(own) == lacking
    assert "zoo bench --model baselines/scalars_boosted --data deeplense/modelB" in notes.missing_baseline([other])


def test_the_section_of_real_sources_states_the_number_of_its_galaxies(headline, page, notes):
    pytest.importorskip("skimage")
    runs = [headline.read_run(line) for line in headline.read_record()]
    own = [run for run in runs if run.cell.data == "deeplense/real_sources"]
    spec = notes.dataset_of(own[0])
    scenes = spec.load()(**spec.params).sample(np.arange(2048), own[0].cell.recipe.stream("test"))
    shown = len(np.unique(scenes.parameters["galaxy"]))
    assert f"The 2,048 test images show {shown} galaxies, which" in " ".join(page.make_page(own).split())


def test_rows_of_an_earlier_version_of_a_network_are_named(headline, notes):
    run = headline.read_run(recorded(headline, "6eca"))
    assert notes.earlier_networks([run]) == ""
    newer = with_cell(run, model_version=run.cell.model_version + 1)
    told = notes.earlier_networks([newer])
    assert told.startswith(f"`gconv/p4` is of version {newer.cell.model_version} of the network")
    assert told in " ".join(notes.notes([newer]).split())
    today = [headline.read_run(line) for line in headline.read_record() if line["part"] == "table"]
    assert [run for run in today if notes.earlier_networks([run])] == []
