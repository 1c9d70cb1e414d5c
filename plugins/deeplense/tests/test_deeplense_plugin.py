"""Specs that the plugin registers, and the statements of its README."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from zoo_deeplense.meanings import MEANINGS
from zoo_deeplense.plugin import CLASSES, zoo_datasets
from zoo_deeplense.population import NO_SUBSTRUCTURE, SUBHALO, VORTEX

from zoo.errors import UsageError
from zoo.host import load_plugins
from zoo.plan.cells import make_plan
from zoo.plan.overrides import parse_settings
from zoo.plan.request import Request

SPECS = {spec.name: spec for spec in zoo_datasets() if spec.simulated}
README = (Path(__file__).parent.parent / "README.md").read_text()


@pytest.mark.parametrize("name", SPECS)
def test_a_spec_builds_its_population_from_its_own_parameters(name):
    spec = SPECS[name]
    scenes = spec.load()(**spec.params).sample(np.arange(30), "s")
    assert set(scenes.label) == set(range(len(spec.classes)))
    assert spec.simulated
    assert type(spec)(**spec.to_json()) == spec


def test_classes_stand_in_the_order_of_the_labels():
    assert (CLASSES[NO_SUBSTRUCTURE], CLASSES[SUBHALO], CLASSES[VORTEX]) == ("no_substructure", "subhalo", "vortex")


def test_importing_the_plugin_loads_nothing_heavy():
    code = "import sys, zoo_deeplense.plugin; print(sorted({'numpy', 'torch', 'zoo.lensing'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def readme_settings() -> list[str]:
    """Return the NAME=VALUE of every `--set` in the README, as a shell would hand it over."""
    found = re.findall(r"--set (data\.\w+)=(?:\"([^\"]*)\"|([^\s`]+))", README)
    return [f"{name}={quoted or plain}" for name, quoted, plain in found if name != "data.NAME"]


@pytest.mark.slow
def test_every_override_in_the_readme_works():
    pairs = readme_settings()
    assert len(pairs) >= 8
    for pair in pairs:
        changes = {name.removeprefix("data."): value for name, value in parse_settings([pair]).items()}
        for spec in SPECS.values():
            assert set(changes) <= set(spec.params)
            spec.load()(**{**spec.params, **changes}).sample(np.arange(30), "s")


def test_every_parameter_is_in_the_readme_with_its_defaults():
    rows = {}
    for line in README.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 4 and re.fullmatch(r"`\w+`", cells[0]):
            rows[cells[0].strip("`")] = [cell.strip("`") for cell in cells[1:3]]
    assert set(rows) == set(SPECS["modelA"].params)
    for name, (easy, hard) in rows.items():
        for text, spec in ((easy, SPECS["modelA"]), (hard if hard != "same" else easy, SPECS["modelB"])):
            value = spec.params[name]
            if isinstance(value, str):
                assert text.replace("2 pi", "6.283185307179586") == value, name
            else:
                assert parse_settings([f"x={text}"])["x"] == value, name


def test_every_parameter_has_a_meaning_and_every_meaning_a_parameter():
    assert {name for spec in zoo_datasets() for name in spec.meanings} == set(MEANINGS)
    for spec in zoo_datasets():
        assert list(spec.meanings) == list(spec.params)


def test_a_folder_that_is_not_there_is_an_error_of_the_plan_and_not_a_failed_run(tmp_path):
    request = Request(
        models=["gconv/p4m"], data=["deeplense-folder"], budget="smoke", device="cpu",
        settings={"data.root": str(tmp_path / "absent")},
    )  # fmt: skip
    with pytest.raises(UsageError, match=r"data\.root: .*absent was not found"):
        make_plan(load_plugins(environment={}), request)
