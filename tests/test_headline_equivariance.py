"""Equivariance on docs/results.md: one group for all rows, the declared group apart, and two angles."""

from msgspec.structs import replace


def test_each_row_has_the_errors_of_its_run(headline, benchmark_script):
    lines = [line for line in headline.read_record() if line["part"] == "table" and line["cell"]["seed"] == 0]
    runs = [headline.read_run(line) for line in lines]
    one_table = [
        run
        for run in runs
        if (headline.name_of(run.cell), run.cell.budget) == ("modelB", "laptop") and headline.full_size(run.cell)
    ]
    by_id = {line["run_id"]: line["equivariance"] for line in lines}
    table = benchmark_script("headline_equivariance").equivariance_table(one_table)
    found = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| `")]
    variants = benchmark_script("headline_tables").best_first(one_table)
    assert [row[0] for row in found] == [f"`{variant.name}`" for variant in variants]
    groups = set()
    for variant, (_, group, own, *others) in zip(variants, found, strict=True):
        stored = by_id[variant.results[0].run_id]
        after = stored["after"]
        measured = (after["square"], after["angles"]["17"], after["angles"]["45"])
        expected = [text for one in measured for text in (f"{one['error']:.2g}", f"{one['flips']:.1%}")]
        assert others == expected
        assert (group, own) == (
            (stored["group"], f"{after['declared']['error']:.2g}") if stored["group"] else ("-", "-")
        )
        groups.add(group)
    assert groups >= {"-", "c4", "p4", "p4m"}


def test_what_a_run_does_not_have_is_a_dash(headline, benchmark_script):
    equivariance_table = benchmark_script("headline_equivariance").equivariance_table
    run = headline.read_run(next(line for line in headline.read_record() if line["cell"]["model"] == "gconv/p4m"))

    def with_measure(run_id, **changes):
        measured = replace(run.result.equivariance, **changes)
        return replace(run, result=replace(run.result, run_id=run_id, equivariance=measured))

    assert equivariance_table([with_measure("old", after=None)]) == ""
    after = run.result.equivariance.after
    some = with_measure("some", group=None, after=replace(after, declared=None, angles={"45": after.angles["45"]}))
    *_, row = equivariance_table([some]).splitlines()
    _, group, own, square, _, error17, flips17, error45, _ = (cell.strip() for cell in row.split("|")[1:-1])
    assert (group, own, error17, flips17) == ("-", "-", "-", "-")
    assert "-" not in (square, error45)


def test_the_wide_tables_have_no_column_of_equivariance(page, headline):
    text = page.make_page([headline.read_run(line) for line in headline.read_record()])
    headers = [line for line in text.splitlines() if line.startswith("| network |")]
    wide = [line for line in headers if "macro (95 %)" in line]
    assert wide
    assert not any("equivariance" in line or "flips" in line for line in wide)
    assert sum("declared group" in line for line in headers) == len(wide)
