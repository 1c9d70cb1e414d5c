"""The suite that is tried on every engine, the comparison of its results, and the page of the figures."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "benchmarks" / "results" / "launchers.md"
TOYS = ROOT / "tests" / "toys" / "toyzoo.py"
NETWORKS = """
from zoo.hookspecs import hookimpl
from zoo.specs import ModelSpec

@hookimpl
def zoo_models():
    return [
        ModelSpec(id=f"cells/n{number:02}", target="cells:net", arguments={"width": number, "seconds": seconds})
        for number, seconds in ((number, 10.0 * (number == 5)) for number in range(1, 25))
    ]

def net(*, in_chans, num_classes, image_size, width, seconds):
    import time
    from torch import nn

    class Net(nn.Sequential):
        def forward(self, images):
            time.sleep(seconds * (self.training and len(images) > 2))
            return super().forward(images)

    conv = nn.Conv2d(in_chans, width, 3, padding=1)
    return Net(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * width, num_classes))
"""
"""24 networks; a training of number 5 takes more than three minutes."""
SUITE = """
title = "24 smoke cells"
models = ["cells/*"]
data = ["stripes"]
budget = "smoke"
baselines = false

[settings]
epochs = 3
batch_size = 64
"""


def wait(done: Callable[[], bool], what: str, seconds: float = 900.0) -> None:
    """Wait for something; exit if it does not happen."""
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            sys.exit(f"waited for {what} for {seconds:g} s")
        time.sleep(0.5)


def same(there: Path, here: Path) -> str:
    """Return how many results hold the same scores and predictions, bit by bit."""
    found = {path.parent.relative_to(here): path for path in here.glob("*/*/*/result.json")}
    equal = 0
    for name, path in found.items():
        other = there / name
        if not (other / "result.json").exists():
            continue
        ours, theirs = json.loads(path.read_text()), json.loads((other / "result.json").read_text())
        keys = ("status", "run_id", "test", "val", "equivariance")
        bits = [content(folder / "predictions.safetensors") for folder in (path.parent, other)]
        equal += all(ours.get(key) == theirs.get(key) for key in keys) and bits[0] == bits[1]
    return f"{equal} of {len(found)}: scores, equivariance and the bits of predictions"


def content(path: Path) -> tuple[object, bytes]:
    """Return header and data of a safetensors file, whose library writes the names in its header in any order."""
    text = path.read_bytes()
    end = 8 + int.from_bytes(text[:8], "little")
    return json.loads(text[8:end]), text[end:]


def record(engine: str, text: str) -> None:
    """Replace the section of an engine on the page.

    Args:
        engine: Heading of the section.
        text: Its content in Markdown.
    """
    title, *sections = PAGE.read_text(encoding="utf-8").split("\n## ")
    kept = {section.partition("\n")[0]: section.rstrip() for section in sections}
    kept[engine] = f"{engine}\n\n{text.strip()}"
    PAGE.write_text("\n\n## ".join([title.rstrip(), *kept.values()]) + "\n", encoding="utf-8")
