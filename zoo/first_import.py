"""First import of a plugin that is new or has changed, in a process of its own.

A plugin can do what no exception handler contains: end the process, never return, close standard output, replace
functions of Python. Each plugin of others is therefore imported by `zoo try-plugin` once, before any other process
imports it. It is refused if that process ends early or late, or if zoo answers otherwise in it than without the plugin.
Only this verdict is remembered, for as long as the plugin's files stay; lists are made by its code as it is now.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from zoo.candidates import Candidate
from zoo.errors import ZooError
from zoo.paths import cache_dir, make_dir, read_json, regular_file, user_path, write_text
from zoo.stopping import PARENT_VARIABLE
from zoo.version import __version__

logger = logging.getLogger(__name__)

SWITCH = "ZOO_PLUGIN_TRIALS"
"""Environment variable that is "0" where plugins are imported without a trial."""
SECONDS = 30.0
"""Least time for an import; importing torch takes some seconds. On a busy machine it is `_SLOWER` times that of zoo."""
_SLOWER = 10.0
_SILENT_SECONDS = 3.0
_LEFT_SECONDS = 1.0
_CODE = (".py", ".so", ".pyd")
_SITES = ("site-packages", "dist-packages")


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a plugin is not imported.

    Args:
        reason: One line.
        trace: Output of its process to stderr.
    """

    reason: str
    trace: str


def refusals(candidates: Iterable[Candidate]) -> dict[Candidate, Refusal]:
    """Return the plugins that must not be imported here; those that are new or have changed are tried first.

    Args:
        candidates: Plugins that are about to be imported. Those of this project are trusted.
    """
    others = [one for one in candidates if one.runs_code and not one.first_party]
    if os.environ.get(SWITCH) == "0" or not sys.executable or not others:
        return {}
    verdicts = {one: _remembered(one) for one in others}
    new = [one for one, verdict in verdicts.items() if verdict is None]
    if new:
        before = {one: _files(one) for one in new}
        try:
            found = _try(new)
        except (OSError, RuntimeError) as error:
            logger.warning("new plugins are imported without a trial in a process of their own: %s", error)
            return {}
        for one, verdict in zip(new, found, strict=True):
            verdicts[one] = verdict
            _remember(one, before[one], verdict)
    return {one: verdict for one, verdict in verdicts.items() if verdict is not None and verdict.reason}


def forget_refusals() -> None:
    """Let refused plugins be tried again at the next loading."""
    with contextlib.suppress(OSError):
        for path in _folder().glob("*.json"):
            if _read(path).get("reason") != "":
                path.unlink()


def _try(candidates: Sequence[Candidate]) -> list[Refusal]:
    """Import each plugin in a process of its own, all at once; return the verdicts, with an empty reason where it may.

    Raises:
        OSError: A process cannot be started.
        RuntimeError: zoo itself does not start in one.
    """
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        reference, *trials = [stack.enter_context(_started(one)) for one in (None, *candidates)]
        if reference.answer(started, SECONDS).reason:
            raise RuntimeError("zoo does not start in one")
        seconds = max(SECONDS, _SLOWER * (time.monotonic() - started))
        verdicts = []
        for trial in trials:
            found = trial.answer(started, seconds)
            reason = found.reason or _difference(reference.printed(), trial.printed())
            verdicts.append(Refusal(reason=reason, trace=found.trace if reason else ""))
        return verdicts


@dataclass(frozen=True, kw_only=True)
class _Trial:
    name: str
    process: subprocess.Popen[bytes]
    out: IO[bytes]
    err: IO[bytes]

    def answer(self, started: float, seconds: float) -> Refusal:
        """Wait for the end of the process; return why it is not the expected one, or an empty reason."""
        code = self._code(started, seconds)
        self.err.seek(0)
        trace = self.err.read().decode(errors="replace")[-20_000:].strip()
        reason = ""
        if code is None:
            reason = f"its first import has not ended after {seconds:.0f} s"
        elif code:
            with contextlib.suppress(ValueError):
                reason = f"its import ends the process by {signal.Signals(-code).name}"
            reason = reason or f"its import ends the process with exit code {code}"
        elif not self.printed():
            reason = "its import ends the process, or spoils what zoo prints"
        elif self._leaves_processes():
            reason = "its import leaves a process running, for which a pipe behind a command would wait"
        return Refusal(reason=reason, trace=trace)

    def _leaves_processes(self) -> bool:
        """Return whether a process that it has started, in its session, runs on."""
        until = time.monotonic() + _LEFT_SECONDS
        while time.monotonic() < until:
            if not _runs_on(self.process.pid):
                return False
            time.sleep(0.02)
        return True

    def _code(self, started: float, seconds: float) -> int | None:
        """Return the exit code; None if the process has not ended in time."""
        for limit in (_SILENT_SECONDS, seconds):
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.process.wait(max(0.0, started + limit - time.monotonic()))
            if self.name and limit < seconds:
                logger.warning("plugin %s is new or has changed; its first import takes long", self.name)
        return None

    def printed(self) -> str:
        self.out.seek(0)
        return self.out.read().decode(errors="replace")


@contextlib.contextmanager
def _started(candidate: Candidate | None) -> Iterator[_Trial]:
    """Start the process of a plugin, or one without a plugin; at the end, stop it and those that it has started."""
    words, name = [], ""
    if candidate is not None:
        name = candidate.name
        words = [os.path.abspath(candidate.distribution)] if candidate.version == "file" else [name]
    path = os.pathsep.join(map(os.path.abspath, sys.path))
    environment = {**os.environ, SWITCH: "0", PARENT_VARIABLE: str(os.getpid()), "PYTHONPATH": path}
    environment["PYTHONHASHSEED"] = "0"  # sets in one order in all of them
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "zoo", "try-plugin", *words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=environment,
            start_new_session=True,
        )
        try:
            yield _Trial(name=name, process=process, out=out, err=err)
        finally:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.wait()


def _difference(expected: str, printed: str) -> str:
    """Return what zoo answers otherwise than without the plugin; "" if nothing."""
    wanted, found = expected.splitlines(), printed.splitlines()
    if wanted == found:
        return ""
    lines = {line.partition("\t")[0] for line in wanted if line not in found}
    changed = ", ".join(sorted(lines)) or "standard output"
    return f"it spoils what all plugins share: after its import, zoo finds another state of {changed}"


def _files(candidate: Candidate) -> list[tuple[str, int, int]]:
    """Return path, time of change and size of each file of code that belongs to a plugin.

    These are the files beside a file, and the package that holds the module of an entry point.
    """
    if candidate.version == "file":
        return sorted(_stated(user_path(candidate.distribution).absolute().parent, below=False))
    spec = None
    with contextlib.suppress(Exception):  # a module without a spec
        spec = importlib.util.find_spec(candidate.module.partition(".")[0])
    if spec is None:
        return []
    found = [stated for place in spec.submodule_search_locations or () for stated in _stated(Path(place), below=True)]
    if spec.origin:
        with contextlib.suppress(OSError):
            status = os.stat(spec.origin)
            found.append((spec.origin, status.st_mtime_ns, status.st_size))
    return sorted(found)


def _stated(folder: Path, *, below: bool) -> Iterator[tuple[str, int, int]]:
    """Yield the files of code in a folder, and of those below it."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.name.endswith(_CODE):
                    status = entry.stat()
                    yield entry.path, status.st_mtime_ns, status.st_size
                elif below and entry.is_dir(follow_symlinks=False) and not entry.name.startswith((".", "__pycache__")):
                    yield from _stated(Path(entry.path), below=True)


def _installed_names() -> list[str]:
    """Return the names of the folders of metadata: an upgraded library may break a plugin whose files stay."""
    names = []
    for folder in sys.path:
        if os.path.basename(folder) in _SITES:
            with contextlib.suppress(OSError):
                names += [name for name in os.listdir(folder) if name.endswith((".dist-info", ".egg-info"))]
    return sorted(names)


def _key(candidate: Candidate, files: list[tuple[str, int, int]]) -> str:
    about = [candidate.name, candidate.distribution, candidate.version, candidate.module]
    stated = [__version__, sys.version, sys.prefix, *about, _installed_names(), files]
    return hashlib.sha256(json.dumps(stated).encode()).hexdigest()


def _folder() -> Path:
    return cache_dir() / "plugins"


def _path(candidate: Candidate) -> Path:
    named = "\0".join([sys.prefix, sys.version, candidate.name, os.path.abspath(candidate.distribution)])
    return _folder() / f"{candidate.name}-{hashlib.sha256(named.encode()).hexdigest()[:16]}.json"


def _read(path: Path) -> dict[str, str]:
    """Return what is remembered; an empty dictionary if the file is not there or damaged."""
    with contextlib.suppress(OSError, ValueError):
        content = read_json(path)
        if isinstance(content, dict) and all(isinstance(value, str) for value in content.values()):
            return content
    return {}


def _remembered(candidate: Candidate) -> Refusal | None:
    """Return the verdict on a plugin as it is now, or None where it has to be tried."""
    content = _read(_path(candidate))
    if content.get("key") != _key(candidate, _files(candidate)) or not content.keys() >= {"reason", "trace"}:
        return None
    return Refusal(reason=content["reason"], trace=content["trace"])


def _remember(candidate: Candidate, files: list[tuple[str, int, int]], verdict: Refusal) -> None:
    """Keep a verdict; where nothing can be written, the next process tries the plugin again."""
    content = {"key": _key(candidate, files), "reason": verdict.reason, "trace": verdict.trace}
    with contextlib.suppress(ZooError, OSError):
        make_dir(_folder())
        write_text(_path(candidate), json.dumps(content))


def _runs_on(group: int) -> bool:
    """Return whether a process of a group runs; one that has ended and waits to be reaped does not.

    The first process of a container often reaps nothing.
    """
    try:
        os.killpg(group, 0)
    except OSError:  # there is none
        return False
    states = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):  # it has ended meanwhile
            state, _, of, *_ = regular_file(path).read_text(errors="replace").rpartition(")")[2].split()
            if int(of) == group:
                states.append(state)
    return not states or any(state not in "ZX" for state in states)
