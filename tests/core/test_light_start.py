"""Listing is quick: neither the core nor a registered plugin module imports torch or numpy."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "matplotlib", "scipy", "timm", "caustics", "astropy", "lightning_fabric", "torchmetrics")
PLUGIN_MODULES = sorted(point.value for point in importlib.metadata.entry_points(group="zoo.plugins"))


def modules_after(code: str) -> set[str]:
    """Return the names of the modules that a fresh process has imported after this code."""
    code = f"import sys\n{code}\nprint('\\nMODULES', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("MODULES ")[2].split())


def zoo(*words: str) -> str:
    """Return code that runs the command line and goes on."""
    return (
        "from zoo.cli import main\n"
        f"try: main({list(words)})\n"
        "except SystemExit as request: assert not request.code, request.code"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        "import zoo; from zoo import ModelSpec, hookimpl, create_model, bench",
        "import zoo; assert zoo.list_models('p4m') == ['gconv/p4m']",
        zoo("--help"),
        zoo("list-models"),
        zoo("list-models", "--json"),
        zoo("list-datasets"),
        zoo("list-simulators"),
        zoo("list-launchers"),
        zoo("show", "p4m"),
        zoo("show", "modelB", "--json"),
        zoo("plugins"),
        zoo("bench", "--help"),
        zoo("predict", "--help"),
        zoo("weights", "list", "--help"),
    ],
    ids=lambda code: code.splitlines()[-2][10:] if "main(" in code else code[:40],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    loaded = modules_after(code)
    assert "zoo" in loaded
    assert not loaded & set(HEAVY)


def test_the_modules_of_all_commands_import_nothing_heavy() -> None:
    """So `zoo COMMAND --help` and completion are quick for each of them."""
    code = "from zoo.cli import cli; [one.load() for one in cli.commands.values()]"
    loaded = modules_after(code)
    assert {"zoo.cli.bench", "zoo.cli.data", "zoo.cli.run_cell"} <= loaded
    assert not loaded & {*HEAVY, "rich"}


def test_importing_zoo_imports_few_modules() -> None:
    loaded = modules_after("import zoo")
    assert not loaded & {"click", "rich", "pluggy", "zoo.api", "zoo.host"}


@pytest.fixture(scope="module")
def loaded_by_plugins() -> dict[str, set[str]]:
    """Module of a plugin -> the modules that it imports: each in a fork, so that none is there for the next one."""
    code = (
        "import os, sys\n"
        "import zoo, zoo.hookspecs, zoo.specs\n"
        f"for module in {PLUGIN_MODULES}:\n"
        "    if not (child := os.fork()):\n"
        "        __import__(module)\n"
        "        print(module, *sys.modules, flush=True)\n"
        "        os._exit(0)\n"
        "    os.waitpid(child, 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
    return {line.split()[0]: set(line.split()[1:]) for line in done.stdout.splitlines()}


@pytest.mark.parametrize("module", PLUGIN_MODULES)
def test_plugin_modules_are_light(module: str, loaded_by_plugins: dict[str, set[str]]) -> None:
    loaded = loaded_by_plugins[module]
    assert module in loaded
    assert not loaded & {*HEAVY, "click", "rich"}


def test_the_check_detects_a_heavy_import() -> None:
    """A dry run draws a few scenes with numpy; the same look at the modules sees it."""
    loaded = modules_after(zoo("bench", "--model", "p4m", "--data", "modelB", "--device", "cpu", "--dry-run"))
    assert loaded & set(HEAVY) == {"numpy"}
    assert len(PLUGIN_MODULES) >= 5
