"""Imports PyAutoLens and nothing beside it: no banner, no logging to stdout, no configuration of the current folder.

Left alone, `import autolens` prints a frame on Python 3.11, warns that the current folder is not a workspace of its own
(and raises if the folder's `config/general.yaml` states another version), reads `config/` there before its own
settings, and sends the root logger to stdout. This suits programs that are made with it, but not a plugin.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_NO_FOLDER = Path(__file__).parent / "there is no such folder"
_WORKSPACE_CHECK = "PYAUTO_SKIP_WORKSPACE_VERSION_CHECK"


def _import_autolens() -> Any:
    """Return the package `autolens`."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stderr(io.StringIO()),
        _variable(_WORKSPACE_CHECK, "1"),
        _root_logger_kept(),
    ):
        warnings.simplefilter("ignore")
        settings = importlib.import_module("autonerves.conf")
        # The first place is that of the user's own settings; each package puts its defaults behind it.
        settings.instance.configs = [settings.RecursiveConfig(_NO_FOLDER)]
        settings.instance.configure_logging = lambda: None
        return importlib.import_module("autolens")


@contextlib.contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    """Set an environment variable for a while."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextlib.contextmanager
def _root_logger_kept() -> Iterator[None]:
    """Give the root logger its handlers back: some of the modules call `logging.basicConfig`."""
    handlers = logging.root.handlers[:]
    try:
        yield
    finally:
        logging.root.handlers[:] = handlers


al = _import_autolens()
