"""Images that a data set makes in another process, as every cell does: with other hashes, in another working folder."""

from __future__ import annotations

import hashlib
import importlib
import json
import operator
import os
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np

from zoo.testing.outcome import ConformanceError, require
from zoo.testing.scenes import arrays_of

SCENES, IMAGES, SECONDS = 6, 600, 300
_SCRIPT = """
import sys
from zoo.paths import parse_json
from zoo.testing.other_process import digest
print(digest(**parse_json(sys.stdin.read())))
"""


def digest(*, target: str, params: dict[str, Any], simulated: bool) -> str:
    """Return a digest of ids, labels and images, or of a few scenes.

    Args:
        target: Target of the data set, "module:attribute".
        params: All of its parameters.
        simulated: Whether it is a population.
    """
    module, _, attribute = target.partition(":")
    content = operator.attrgetter(attribute)(importlib.import_module(module))(**params)
    found = hashlib.sha256()
    if simulated:
        for name, values in arrays_of(content.sample(np.arange(SCENES), "conformance")):
            found.update(name.encode() + values.tobytes())
    else:
        found.update(json.dumps([str(one) for one in content.ids]).encode())
        found.update(np.ascontiguousarray(content.labels).tobytes())
        found.update(np.ascontiguousarray(content.images[:IMAGES]).tobytes())
    return found.hexdigest()


def require_same_elsewhere(*, target: str, params: dict[str, Any], simulated: bool) -> None:
    """Make a data set here and in another process, and compare both.

    Raises:
        ConformanceError: They differ, or it cannot be made there.
    """
    about = {"target": target, "params": params, "simulated": simulated}
    path = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "1"}
    if os.environ.get("PYTHONHASHSEED") == "1":
        environment["PYTHONHASHSEED"] = "2"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _SCRIPT], input=json.dumps(about), cwd=folder, env=environment,
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise ConformanceError(
            f"Another process, in another working folder, cannot make it: {last}",
            hint="Find files beside the module: Path(__file__).with_name(...)",
        )
    require(
        done.stdout.split()[-1:] == [digest(target=target, params=params, simulated=simulated)],
        "In another process, it is another data set.",
        hint="Sort what comes from a set or a folder, and use hashlib in place of hash().",
    )
