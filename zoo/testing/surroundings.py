"""Settings that all code shares, and the working folder: code of a plugin must leave both as they are."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator

from zoo.global_state import changed_settings
from zoo.testing.outcome import require


@contextlib.contextmanager
def left_as_they_are() -> Iterator[None]:
    """Run a block in an empty working folder; afterwards the settings and the folder must be as before.

    Raises:
        ConformanceError: The block changed a setting, or wrote a file into the working folder.
    """
    changed: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        with changed_settings(changed):
            yield
        written = sorted(os.listdir(folder))
    require(not changed, f"It changes {'; '.join(changed.values())}.", hint="Set nothing that all code shares.")
    require(
        not written,
        f"It writes {', '.join(written[:3])} into the working folder.",
        hint="Write to a folder in zoo.paths.cache_dir().",
    )
