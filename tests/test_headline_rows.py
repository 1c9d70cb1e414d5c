"""Rows of the pages: trainings on images of a CPU and of a GPU stand in one, and notes name them; invented records."""

import pytest
from headlineruns import on_images_of, recorded, trained_on, with_area, with_cell
from msgspec.structs import replace

GPU = "Some GPU"


@pytest.fixture
def grouping(benchmark_script):
    return benchmark_script("headline_rows")


@pytest.fixture
def on_gpu(headline):
    """A training with seed 0 on images of a GPU."""
    return with_area(trained_on(headline.read_run(recorded(headline, "c2e0")), GPU), 0.91)


@pytest.fixture
def on_cpu(on_gpu):
    """Trainings on images of a CPU that differ from it in nothing else: seed 0, and two with images of their own."""
    own = [(0, {}), (1, {"train_seed": 1}), (2, {"train_seed": 2})]
    runs = [trained_on(on_images_of(on_gpu, "cpu", seed=seed, **changes), None) for seed, changes in own]
    return [with_area(run, 0.95 + run.cell.seed / 100) for run in runs]


@pytest.fixture
def trees(headline):
    return headline.read_run(recorded(headline, "9c00"))


def row_of(text, name="gconv/p4m"):
    """Return the cells of the first row of a network: that of the table of scores."""
    return next(line for line in text.splitlines() if line.startswith(f"| `{name}")).strip("|").split(" | ")


def one_line(text):
    return " ".join(text.split())


def ids_of(runs):
    return " ".join(run.result.run_id[:4] for run in runs)


def test_trainings_on_images_of_either_device_are_one_row(grouping, page, on_gpu, on_cpu, trees):
    runs = [trees, on_cpu[2], on_gpu, on_cpu[1]]
    [row, _] = grouping.best_first(runs)
    assert row.name == "gconv/p4m"
    assert row.results == (on_gpu.result, on_cpu[1].result, on_cpu[2].result)  # as they are recorded
    text = page.make_page(runs)
    assert "rendered on c" not in text
    cells = row_of(text)
    assert (cells[1], cells[8].split()[0]) == ("3", ".9467")
    told = one_line(text)
    first, second, third = ids_of([on_gpu]), ids_of(on_cpu[1:2]), ids_of(on_cpu[2:])
    assert f"`gconv/p4m` .9100 ({first}, GPU), .9600 ({second}), .9700 ({third}). The interval" in told
    assert "rendered on a GPU: those of all networks with seed 0. " in told
    assert f"`gconv/p4m` {first} {second} {third}; " in told
    assert "counts for no mean" not in told


def test_without_images_of_a_gpu_nothing_is_said_about_them(page, on_cpu, trees):
    told = one_line(page.make_page([trees, *on_cpu]))
    assert "rendered on a GPU:" not in told
    assert "images of a CPU and of a GPU" not in told


@pytest.mark.parametrize("train_seed", [None, 0])
def test_of_the_same_seed_and_settings_the_row_holds_the_training_on_images_of_the_cpu(
    grouping, page, readme, on_gpu, on_cpu, trees, train_seed
):
    on_cpu[0] = with_cell(on_cpu[0], train_seed=train_seed)  # with --data-seeds or without
    runs = [on_gpu, trees, *on_cpu]
    [row, _] = grouping.best_first(runs)
    assert row.results == tuple(run.result for run in on_cpu)
    assert grouping.displaced(runs) == [(on_cpu[0], on_gpu)]
    text = page.make_page(runs)
    cells = row_of(text)
    assert (cells[1], cells[8].split()[0]) == ("3", ".9600")
    pair = f"seed 0 .9100 ({ids_of([on_gpu])}; in the row: {ids_of(on_cpu[:1])})."
    told = one_line(text)
    assert f"counts for no mean: `gconv/p4m` {pair}" in told
    assert f"`gconv/p4m` {ids_of(on_cpu)}; " in told
    assert "rendered on a GPU:" not in told
    shown = readme.readme_tables(runs)
    assert (row_of(shown)[3].split()[0], row_of(shown)[4].strip()) == (".9600", "3")
    assert f"counts for no mean: `gconv/p4m` on Model B {pair}" in one_line(shown)


def test_other_seeds_and_settings_displace_nothing(grouping, on_gpu, on_cpu):
    others = [on_cpu[1], with_cell(on_cpu[0], train_seed=7), with_cell(on_gpu, seed=1)]
    others += [on_images_of(on_gpu, "cpu", precision="fp32"), on_images_of(on_gpu, "cpu", hparams={"widths": [2]})]
    assert grouping.displaced([on_gpu, *others]) == []
    assert grouping.displaced([on_gpu, with_cell(on_gpu, train_seed=0)]) == []  # both of a GPU
    assert len(grouping.displaced([on_gpu, *others, on_cpu[0]])) == 1


def minutes(run, value):
    return replace(run, result=replace(run.result, seconds=60.0 * value))


def times_of(table):
    return {line.split("`")[1]: line.split("|")[-2].strip() for line in table.splitlines() if line.startswith("| `")}


def test_the_table_of_times_is_of_trainings_on_a_gpu(tables, on_gpu, on_cpu):
    slow = [minutes(run, 99) for run in on_cpu]
    beside_gpu = replace(slow[0].result, environment=on_gpu.result.environment)  # the machine has a GPU
    assert tables.time_table([*slow[1:], replace(slow[0], result=beside_gpu)]) == ""
    assert times_of(tables.time_table([minutes(on_gpu, 3), *slow[1:]])) == {"gconv/p4m": "3.0"}
    assert times_of(tables.time_table([minutes(on_gpu, 3), *slow])) == {"gconv/p4m": "3.0"}  # in no row of scores
    there = minutes(trained_on(on_cpu[2], GPU), 4)  # --render-on cpu
    assert times_of(tables.time_table([*slow[:2], there])) == {"gconv/p4m": "4.0"}


def test_the_machines_are_those_of_the_trainings(notes, on_gpu, on_cpu):
    beside_gpu = replace(on_cpu[0].result, environment=on_gpu.result.environment)
    assert notes.machines_note([on_gpu]).startswith(f"Machines: {GPU}, ")
    assert notes.machines_note([replace(on_cpu[0], result=beside_gpu)]).startswith("Machines: no GPU, ")
    assert notes.machines_note([trained_on(on_cpu[0], GPU)]).startswith(f"Machines: {GPU}, ")


def test_a_training_on_a_gpu_may_have_images_of_a_cpu(page, readme, on_gpu, on_cpu, trees):
    there = minutes(trained_on(on_cpu[1], GPU), 7)
    told = one_line(page.make_page([trees, on_cpu[0], there]))
    assert "rendered on a GPU:" not in told
    assert "images of a CPU and of a GPU" not in told
    shown = one_line(readme.readme_tables([trees, minutes(on_cpu[0], 80), there]))
    assert f"Trainings took 7 minutes on {GPU} and 80 minutes on a CPU" in shown
    assert "rendered on a GPU:" not in shown


def test_the_commands_name_the_trainings_that_a_gpu_did(headline, benchmark_script):
    commands_note = benchmark_script("headline_commands").commands_note
    run, other = (headline.read_run(recorded(headline, name)) for name in ("6a13", "c2e0"))
    note = one_line(commands_note([[run, other]]))
    assert "--seeds 1 --data-seeds --device cpu" in note  # not seed 0, whose images are of a GPU
    assert "--render-on" not in note
    note = one_line(commands_note([[trained_on(run, GPU), other]]))
    assert "`--device cuda --render-on cpu` in place of `--device cpu`" in note
    assert "as it was done for `gconv/p4m` 6a13:" in note
    assert commands_note([[other]]) == ""


def test_a_row_states_the_fresh_tests_of_some_of_its_trainings(headline, notes):
    runs = [headline.read_run(recorded(headline, name)) for name in ("c2e0", "6a13", "9550")]
    tested = [run.result for run in runs[1:]]
    scores = [[result.fresh.scores for result in tested], [result.test for result in tested]]
    means = [sum(one.auc["macro"] for one in both) / 2 for both in scores]
    shown = [f"{value:.4f}".removeprefix("0") for value in means]
    note = notes.fresh_part_note(runs)
    assert f"`gconv/p4m` (6a13 9550) fresh test {shown[0]}, test {shown[1]}, test - fresh " in note
    assert f"test - fresh {means[1] - means[0]:+.4f} (" in note
    assert notes.fresh_part_note(runs[1:]) == notes.fresh_part_note(runs[:1]) == ""
