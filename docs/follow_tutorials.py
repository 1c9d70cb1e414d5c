"""Follow the tutorials as a reader does, each in an empty folder, and copy the pictures that they show to docs/images.

    python docs/follow_tutorials.py first_benchmark anomalies      # without names: all of them

Blocks of a shell and of Python run in the order of the page; a Python block after a line "`NAME.py`:" becomes a file.
The output is printed, so that the shortened one on the page can be compared with it. A test runs the same blocks with
fewer and smaller images (tests/test_tutorials.py).
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from PIL import Image

DOCS = Path(__file__).parent
PAGES = {page.stem: page for page in sorted((DOCS / "tutorials").glob("*.md")) if page.stem != "index"}
PICTURES = {
    "tutorial-lenses.png": "lenses.png",
    "tutorial-first.png": "results/figures/roc-*.png",
    "tutorial-data.png": "results/figures/images-*.png",
    "tutorial-network.png": "results/figures/roc-*.png",
    "tutorial-table.png": "results/figures/roc-*.png",
    "tutorial-anomalies.png": "results/figures/*.png",
}
"""Picture of a page -> the file that its commands draw; of several, the first one."""
BLOCK = re.compile(r"(?:^`(?P<file>[\w.-]+)`:\n\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```", flags=re.M | re.S)


class Block(NamedTuple):
    """A block of code of a page.

    Args:
        language: Name behind the backticks.
        text: Content.
        file: Name of the file that a reader saves it under; empty for code that runs at once.
    """

    language: str
    text: str
    file: str = ""


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page in their order."""
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(match["language"], match["text"], match["file"] or "") for match in found]


def with_run(text: str, store: Path) -> str:
    """Return commands with the id of the newest run in place of RUN, where a comment names model and data set of it."""

    def found(match: re.Match[str]) -> str:
        model, data = (name.replace("/", ".") for name in (match["model"], match["data"]))
        runs = sorted(store.glob(f"{data}/{model}/*"), key=lambda path: path.stat().st_mtime)
        return match["command"].replace("RUN", runs[-1].name)

    return re.sub(r"^(?P<command>.*)  # RUN: a run of (?P<model>\S+) on (?P<data>\S+)$", found, text, flags=re.M)


def follow(page: Path, folder: Path) -> None:
    """Run the blocks of a page in an empty folder, with a cache of its own.

    Raises:
        subprocess.CalledProcessError: A block fails.
    """
    environment = {**os.environ, "ZOO_CACHE": str(folder / "cache")}
    for block in blocks_of(page):
        if block.file:
            (folder / block.file).write_text(block.text, encoding="utf-8")
        elif block.language in ("bash", "python"):
            command = ["bash", "-ec"] if block.language == "bash" else [sys.executable, "-c"]
            text = with_run(block.text, folder / "results")
            print(text, flush=True)
            began = time.monotonic()
            subprocess.run([*command, text], cwd=folder, env=environment, check=True)
            print(f"[{time.monotonic() - began:.0f} s]", flush=True)


def copy_pictures(page: Path, folder: Path) -> None:
    """Copy the pictures that a page shows to docs/images."""
    for name, pattern in PICTURES.items():
        if f"images/{name}" in page.read_text(encoding="utf-8"):
            drawn = min(folder.glob(pattern), key=lambda path: path.stat().st_mtime)
            with Image.open(drawn) as picture:
                picture.thumbnail((1200, 680))
                small = picture.convert("RGB").quantize(96, dither=Image.Dither.NONE)
                small.save(DOCS / "images" / name, optimize=True)


def main() -> None:
    """Follow the pages that the command names."""
    parser = argparse.ArgumentParser(description="Follow tutorials in empty folders, and copy their pictures.")
    parser.add_argument("pages", nargs="*", choices=[[], *PAGES])
    for name in parser.parse_args().pages or PAGES:
        with tempfile.TemporaryDirectory() as folder:
            follow(PAGES[name], Path(folder))
            copy_pictures(PAGES[name], Path(folder))


if __name__ == "__main__":
    main()
