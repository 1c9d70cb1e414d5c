"""Plugins that a user has disabled in this environment, until they are enabled again."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable
from pathlib import Path

from zoo.errors import DataError
from zoo.locks import file_lock
from zoo.paths import make_dir, read_json, write_text

logger = logging.getLogger(__name__)


def disabled_file() -> Path:
    """Return the file with their names; it lies in the environment and goes with it."""
    return Path(sys.prefix, "etc", "lens-zoo", "disabled-plugins.json")


def disabled_plugins() -> frozenset[str]:
    """Return the names of the plugins that are disabled; a damaged file disables nothing."""
    try:
        names = read_json(disabled_file())
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError) as error:
        logger.warning("%s cannot be read, so it disables no plugin: %s", disabled_file(), error)
        return frozenset()
    return frozenset(name for name in names if isinstance(name, str)) if isinstance(names, list) else frozenset()


def change_disabled(*, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
    """Disable and enable plugins, for this and later processes of the environment.

    Raises:
        DataError: The environment is not writable.
    """
    path = disabled_file()
    try:
        make_dir(path.parent)
        with file_lock(path.with_suffix(".lock")):
            write_text(path, json.dumps(sorted({*disabled_plugins(), *add} - {*remove})))
    except (DataError, OSError) as error:
        hint = "For the processes of a shell: export ZOO_DISABLE_PLUGINS=NAME,NAME"
        if remove:
            hint = "For the processes of a shell, name all plugins to be loaded: export ZOO_PLUGINS=NAME,NAME"
        raise DataError(f"{path} cannot be written.", hint=hint) from error
