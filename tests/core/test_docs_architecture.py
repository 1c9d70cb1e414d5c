"""The pages on the structure agree with the code: order of the layers, files, and modules that plugins may import."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

from zoo.api import PUBLIC_MODULES
from zoo.budgets import BUDGETS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
CONTRACTS = {one["name"]: one for one in tomllib.loads(PYPROJECT)["tool"]["importlinter"]["contracts"]}
FILES = {path.relative_to(ROOT).as_posix() for path in (ROOT / "zoo").rglob("*.py")}


def listed_layers():
    """Return the layers of the table from the top down, each as a set of names."""
    rows = re.search(r"^\| layers, .*?\n\| --- .*?\n(.*?)\n\n", PAGE, flags=re.M | re.S).group(1)
    return [set(row.split("|")[1].strip().split(" · ")) for row in rows.splitlines()]


def listed_files():
    """Return the files of the list of the core: folders end with a slash and are indented less than their files."""
    listing = re.search(r"^zoo/ .*?(?=^plugins/)", PAGE, flags=re.M | re.S).group(0)
    files, folder = [], ""
    for row in listing.splitlines()[1:]:
        indent, name = re.match(r"( +)(\S+) {2,}\S", row).groups()
        folder = name if name.endswith("/") else folder if len(indent) == 4 else ""
        if not name.endswith("/"):
            files.append(f"zoo/{folder}{name}")
    return files


def test_the_table_lists_the_layers_of_the_contract():
    contract = CONTRACTS["Layers of the core"]["layers"]
    assert listed_layers() == [set(layer.split(" : ")) for layer in contract]


def test_the_diagram_shows_the_layers_of_the_contract_in_their_order():
    drawing = ElementTree.parse(ROOT / "docs" / "images" / "layers.svg")
    shown = ["".join(text.itertext()) for text in drawing.iterfind(".//{*}text[@class='layer']")]
    assert shown == [layer.replace(" : ", " · ") for layer in CONTRACTS["Layers of the core"]["layers"]]


def test_the_list_of_the_core_has_each_of_its_files_once():
    listed = listed_files()
    assert len(listed) == len(set(listed))
    assert {file for file in listed if "/__init__" not in file} == {file for file in FILES if "/__init__" not in file}
    assert set(listed) <= FILES


@pytest.mark.parametrize("page", ["docs/architecture.md", "docs/glossary.md", "docs/plugins.md", "CONTRIBUTING.md"])
def test_each_path_on_a_page_is_that_of_a_file(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:\w+/)+(?:\w+\.(?:py|md|toml|jsonl))?)`", text))
    bases = (ROOT, ROOT / "zoo", ROOT / "plugins/deeplense/zoo_deeplense", ROOT / "plugins/gconv/zoo_gconv")
    assert paths
    assert [path for path in sorted(paths) if not any((base / path).exists() for base in bases)] == []


def test_a_module_of_the_core_is_either_public_for_plugins_or_forbidden_to_them():
    section = re.search(r"^## Public modules\n(.*?)^## ", GUIDE, flags=re.M | re.S).group(1)
    cells = re.findall(r"^\| (`.*?`) \|", section, flags=re.M)
    public = set(re.findall(r"`(.*?)`", " ".join(cells)))
    forbidden = CONTRACTS["Plugins import public modules only"]["forbidden_modules"]
    modules = {file.removesuffix(".py").replace("/", ".") for file in FILES if "__" not in file} | {
        "zoo",
        "zoo.testing",
    }
    assert public <= modules
    assert tuple(sorted(public)) == PUBLIC_MODULES
    closed = {name for name in modules if any(f"{name}.".startswith(f"{one}.") for one in forbidden)}
    assert modules - closed == public
    assert all(any(f"{name}.".startswith(f"{one}.") for name in modules) for one in forbidden)


def test_the_contract_for_plugins_holds_for_every_plugin():
    every = set(CONTRACTS["The core imports no plugin"]["forbidden_modules"])
    assert set(CONTRACTS["Plugins import public modules only"]["source_modules"]) == every


def test_the_glossary_states_the_sizes_of_every_budget():
    rows = [
        f"| `{budget.name}` | {budget.sizes['train']:,} | {budget.sizes['val']:,} | {budget.sizes['test']:,} "
        f"| {budget.training['epochs']} |"
        for budget in BUDGETS.values()
    ]
    assert "\n".join(rows) in Path(__file__).parents[2].joinpath("docs/glossary.md").read_text(encoding="utf-8")


QUESTIONS = {"How", "That", "What", "When", "Where", "Whether", "Which", "Who", "Why"}


def test_the_first_line_of_a_module_names_its_content():
    """As a heading does; a clause such as "What it registers" does not."""
    paths = [path for name in ("zoo", "plugins", "benchmarks", "tests") for path in (ROOT / name).rglob("*.py")]
    # By a pattern: parsing all files takes a second.
    first = {path: re.match(r'(?:#.*\n|\s)*r?"""\s*(\w*)', path.read_text(encoding="utf-8")) for path in paths}
    words = {path: found[1] for path, found in first.items() if found}
    assert len(words) > 300
    wrong = [path.relative_to(ROOT).as_posix() for path, word in words.items() if word in QUESTIONS]
    assert wrong == []


@pytest.mark.parametrize("page", [PAGE, GUIDE])
def test_the_pages_name_each_plugin_that_imports_more_than_public_modules(page):
    excepted = {rule.split(".")[0] for rule in CONTRACTS["Plugins import public modules only"]["ignore_imports"]}
    assert [name for name in sorted(excepted) if f"`{name}`" not in page] == []
