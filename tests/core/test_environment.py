"""The environment that a result records."""

from __future__ import annotations

import subprocess
import sys

import pytest

_HELD = """
import subprocess, sys
from zoo.environment import peak_memory_bytes
held = bytearray(2**28)
held[::4096] = bytes([1]) * len(held[::4096])
own = subprocess.run([sys.executable, "-c", sys.argv[1]], capture_output=True, text=True, check=True).stdout
print(peak_memory_bytes(), own)
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the peak memory of one process alone is known on Linux only"
)
def test_the_peak_memory_is_that_of_this_process_and_not_of_the_one_that_started_it():
    own = "from zoo.environment import peak_memory_bytes; print(peak_memory_bytes())"
    done = subprocess.run([sys.executable, "-c", _HELD, own], capture_output=True, text=True, check=True)
    parent, child = map(int, done.stdout.split())
    assert parent > 2**28
    assert 2**20 < child < 2**27
