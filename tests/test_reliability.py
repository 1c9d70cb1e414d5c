"""benchmarks/reliability in a reduced form: interruptions, damaged files, odd command lines, few files, neighbours."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

RELIABILITY = Path(__file__).parents[1] / "benchmarks" / "reliability"
TOYS = Path(__file__).parent / "toys"


@pytest.fixture
def problem(monkeypatch):
    monkeypatch.syspath_prepend(RELIABILITY)
    from jobs import toy
    from zoo_process import load_libraries

    load_libraries()
    return toy(TOYS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "job", [pytest.param("simulate", marks=pytest.mark.cold), "bench"]
)  # in the cold one, the start of a process is interrupted as well
def test_interrupted_commands_end_in_the_same_bits(problem, tmp_path, job):
    from interrupt import interruptions

    for one in interruptions(replace(problem, images=768), tmp_path, 1, seed=len(job), only=(job,)):
        assert not one.wrong, one


@pytest.mark.slow
@pytest.mark.parametrize(("group", "damage"), [("run", "one bit flipped"), ("images", "a FIFO")])
def test_damaged_files_are_named_or_mended(problem, tmp_path, group, damage):
    from corrupt import damages

    cases = list(damages(problem, tmp_path, only=(group,), chosen=(damage,), quick=True))
    assert cases
    assert not [case for case in cases if case.wrong]


@pytest.mark.slow
def test_odd_command_lines_get_a_message(problem, tmp_path):
    from commands import fuzz

    assert not [(ended.argv, ended.output) for ended in fuzz(problem, tmp_path, 20, seed=3) if ended.fault]


@pytest.mark.slow
def test_two_commands_share_store_and_cache(problem, tmp_path):
    from limits import together

    for case in together(replace(problem, images=768), tmp_path, 2, only=("simulate",)):
        assert not case.wrong, case


def test_permissions_hold_for_the_superuser_too(tmp_path):
    secret = tmp_path / "secret"
    secret.touch(0)
    code = f"from zoo_process import *; be_bound_by_permissions(); open({str(secret)!r})"
    ended = subprocess.run([sys.executable, "-c", code], cwd=RELIABILITY, capture_output=True, text=True)
    assert "PermissionError" in ended.stderr


def test_a_fault_is_noticed(monkeypatch):
    """The judgement itself can fail."""
    monkeypatch.syspath_prepend(RELIABILITY)
    from zoo_process import Ended

    fine = {"argv": ("list-models",), "code": 1, "output": "Error: x", "out": "", "peak_mib": 300.0}
    assert Ended(**fine).fault == ""
    for change in (
        {"code": None}, {"code": -9}, {"code": 70}, {"output": ""}, {"peak_mib": 3000.0},
        {"output": "Traceback (most recent call last):\n"},
    ):  # fmt: skip
        assert Ended(**{**fine, **change}).fault, change
