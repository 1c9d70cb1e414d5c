"""Lists of what is installed: they agree with their JSON, are filtered and sorted, and fit the terminal."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.usefixtures("surroundings")


def test_lists_agree_with_their_json(zoo):
    for kind in ("models", "datasets", "simulators", "launchers", "channels", "tasks"):
        specs = json.loads(zoo(f"list-{kind}", "--json")[0])
        heading, *lines = zoo(f"list-{kind}")[0].splitlines()
        assert heading.startswith("id ")
        assert [line.split()[0] for line in lines] == [spec["id"] for spec in specs]


def test_lists_can_be_filtered(zoo):
    assert zoo("list-models", "toyzoo/t*", "--json")[0].count('"id"') == 1
    ids = [spec["id"] for spec in json.loads(zoo("list-models", "--group", "p4m", "--json")[0])]
    assert "gconv/p4m" in ids
    assert "gconv/p4" not in ids
    assert json.loads(zoo("list-models", "--tag", "baseline", "--json")[0])


def test_lists_fit_a_narrow_terminal(zoo, monkeypatch):
    from zoo.cli import listing

    monkeypatch.setattr(listing, "_terminal_width", lambda: 60)
    out, _ = zoo("list-launchers")
    lines = out.splitlines()
    specs = json.loads(zoo("list-launchers", "--json")[0])
    assert len(lines) > 1 + len(specs)
    assert max(map(len, lines)) <= 60
    assert " ".join(" ".join(lines[1:]).split()) == " ".join(f"{spec['id']} {spec['summary']}" for spec in specs)


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize(
    "command",
    [
        "list-models",
        "list-datasets",
        "list-simulators",
        "list-launchers",
        "list-channels",
        "list-metrics",
        "list-optimizers",
        "list-tasks",
    ],
)
def test_lists_are_complete_at_the_usual_widths(zoo, monkeypatch, command, width):
    from zoo.cli import listing

    monkeypatch.setattr(listing, "_terminal_width", lambda: width)
    lines = zoo(command)[0].splitlines()
    assert max(map(len, lines)) <= width
    rows = [line.split()[0] for line in lines[1:] if line[0] != " " and "/" in line.split()[0]]
    specs = json.loads(zoo(command, "--json")[0])
    assert rows == [spec["id"] for spec in specs]
    text = " ".join(" ".join(lines).split())
    if command == "list-models":
        assert width >= 100 or all(spec["summary"] in text for spec in specs)
        assert "29,391" in text


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize(
    ("words", "key"), [(("weights", "list"), "name"), (("plugins",), "name"), (("show", "deeplense/modelB"), "params")]
)
def test_names_are_whole_at_the_usual_widths(zoo, monkeypatch, words, key, width):
    """A folded name cannot be copied into the next command."""
    from zoo.cli import inspect, listing
    from zoo.cli.terminal import PlainConsole

    monkeypatch.setattr(listing, "_terminal_width", lambda: width)
    monkeypatch.setattr(inspect, "console", lambda: PlainConsole(stderr=False, width=width))
    lines = zoo(*words)[0].splitlines()
    assert max(map(len, lines)) <= width
    content = json.loads(zoo(*words, "--json")[0])
    names = list(content[key]) if isinstance(content, dict) else [row[key] for row in content]
    found = {word for line in lines for word in line.split()}
    assert set(names) <= found
    if words[0] == "show":
        assert content["target"] in found


def test_values_of_a_weights_file_are_not_called_parameters(zoo):
    """They include buffers, and results count parameters alone."""
    columns = zoo("weights", "list")[0].splitlines()[0]
    assert "values with buffers" in columns
    assert all(row["values"] > 0 and "parameters" not in row for row in json.loads(zoo("weights", "list", "--json")[0]))


def test_options_of_a_launcher_stand_with_their_meanings(zoo):
    out = " ".join(zoo("show", "core/local")[0].split())
    assert "jobs 0 cells at a time" in out
    assert "gpu_ids '' GPUs as torch counts them" in out


def test_a_listed_name_is_shown_before_a_plugin_resolves_it_as_a_network(zoo, monkeypatch):
    def resolved(host, name):
        raise AssertionError(f"{name} was resolved, which may import a library")

    monkeypatch.setattr("zoo.host.Host.resolve_model", resolved)
    assert zoo("show", "timm/Muon")[0].startswith("timm/muon  optimizer\n")
    assert zoo("show", "muon")[0].startswith("timm/muon  optimizer\n")


def test_a_model_is_shown_with_the_tasks_that_take_its_kind(zoo):
    tasks = {name: zoo("show", name)[0].split("tasks")[-1] for name in ("gconv/p4m", "baselines/scalars_boosted")}
    assert "regress" in tasks["gconv/p4m"]
    assert "regress" not in tasks["baselines/scalars_boosted"]  # it fits itself to classes


def test_the_error_of_a_plugin_stands_below_it_on_a_narrow_terminal(zoo, monkeypatch, tmp_path):
    from zoo.cli import listing

    monkeypatch.setattr(listing, "_terminal_width", lambda: 80)
    path = tmp_path / "a_plugin_with_a_long_name.py"
    path.write_text(f"raise RuntimeError({'why it failed ' * 12!r})")
    lines = zoo("--plugin", path, "plugins")[0].splitlines()
    [row] = [place for place, line in enumerate(lines) if line.startswith("a_plugin_with_a_long_name ")]
    assert "broken" in lines[row]
    assert " ".join(" ".join(lines[row + 1 :]).split()).count("why it failed") == 12


def test_a_text_without_enough_room_is_printed_below_its_row():
    from zoo.cli.listing import _aligned

    rows = [["id", "count", "summary"], ["mine/network", "12", "one word and another and a third"]]
    assert _aligned(rows, width=99, right={1}) == [
        "id            count  summary",
        "mine/network     12  one word and another and a third",
    ]
    assert _aligned(rows, width=46, right={1})[1] == (
        "mine/network     12  one word and another and\n                     a third"
    )
    assert _aligned(rows, width=30, right={1})[1] == ("mine/network     12\n    one word and another and a\n    third")


def test_models_are_sorted(zoo):
    def listed(order):
        return json.loads(zoo("list-models", "--sort", order, "--json")[0])

    by_name, by_parameters, by_group = listed("name"), listed("parameters"), listed("group")
    assert [spec["id"] for spec in by_name] == sorted(spec["id"] for spec in by_name)
    counts = [spec["parameters"] for spec in by_parameters]
    known = [count for count in counts if count is not None]
    assert known == sorted(known)
    assert counts[len(known) :] == [None] * (len(counts) - len(known))
    groups = [spec["group"] for spec in by_group]
    assert groups[-1] is None
    assert [group for group in groups if group] == sorted(group for group in groups if group)
    assert len(by_name) == len(by_parameters) == len(by_group)


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ([], "-"),
        (["modelA", "modelB"], "modelA, modelB"),
        (["modelA", "modelB", "modelB_residual_centred"], "modelA, modelB, +1"),
        (["a_data_set_with_a_long_name", "modelA"], "a_data_set_with_a_long_name, +1"),
    ],
)
def test_many_bundled_weights_are_counted(names, shown):
    from zoo.cli.listing import _weights
    from zoo.specs import ModelSpec

    spec = ModelSpec(id="a/b", target="a:b", weights={name: f"{name}.safetensors" for name in names})
    assert _weights(spec) == shown
