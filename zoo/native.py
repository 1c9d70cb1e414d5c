"""Compiles C++ sources of zoo and its plugins once per machine, and loads them.

For loops that torch runs as many passes over memory. A function of a loaded library holds no lock of Python, so several
threads run it side by side.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import shlex
import shutil
import subprocess
from pathlib import Path

from zoo.errors import MissingError
from zoo.paths import cache_dir, regular_file, written_whole

COMPILERS = ("c++", "g++", "clang++")
"""Commands that are tried in turn where CXX names none."""
OPTIONS = ("-O3", "-march=native", "-std=c++17", "-fPIC", "-fno-math-errno", "-fno-trapping-math")
COMPILE_SECONDS = 2.0
"""Time to compile a source of a few hundred lines, on a slow core, to be weighed against what it saves."""

_log = logging.getLogger(__name__)


@functools.cache
def load_native(source: Path, *, options: tuple[str, ...] = ()) -> ctypes.CDLL:
    """Return the library of a C++ file, compiled for this processor.

    The code is kept in `native` in zoo's cache folder, under the hash of source, options, compiler and instruction set,
    and with its own SHA-256 at its end, where a loader does not look: damaged code is compiled again, not run.

    Args:
        source: C++ file; its functions are `extern "C"`.
        options: Options of the compiler beside OPTIONS.

    Raises:
        MissingError: There is no compiler, or it failed.
        DataError: The cache folder cannot be written.
    """
    command = [*_compiler(), *OPTIONS, *options]
    # The predefined macros name the compiler's version and every instruction set that -march=native switches on.
    macros = _output([*command, "-dM", "-E", "-x", "c++", os.devnull])
    text = regular_file(source).read_bytes()
    key = hashlib.sha256("\0".join([*command, macros]).encode() + b"\0" + text).hexdigest()[:16]
    library = cache_dir() / "native" / f"{source.stem}-{key}.so"
    if not _is_intact(library):
        library.parent.mkdir(parents=True, exist_ok=True)
        if not library.is_file():  # such as a pipe; a file may be a new one, which another process is about to load
            library.unlink(missing_ok=True)
        with written_whole(library) as temporary:
            _output([*command, "-shared", "-o", str(temporary), str(source)])
            code = temporary.read_bytes()
            temporary.write_bytes(code + hashlib.sha256(code).digest())
    _log.debug("loads %s", library)
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise MissingError(f"Cannot load {library}: {error}") from error


def _is_intact(library: Path) -> bool:
    try:
        content = regular_file(library).read_bytes()
    except OSError:
        return False
    size = hashlib.sha256().digest_size
    return hashlib.sha256(content[:-size]).digest() == content[-size:]


def _compiler() -> list[str]:
    command = shlex.split(os.environ.get("CXX", ""))
    names = [command[0]] if command else COMPILERS
    found = next((name for name in names if shutil.which(name)), None)
    if found is None:
        raise MissingError(
            f"There is no C++ compiler ({' or '.join(names)}).", hint="Install one, or set CXX to its command."
        )
    return command or [found]


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[-200:])
        raise MissingError(f"{command[0]} failed with exit code {done.returncode}: {reason}")
    return done.stdout
