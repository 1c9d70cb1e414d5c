"""Checks of listeners, such as trackers: a run that ends well, one that fails, and one without epochs."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from zoo.hookspecs import EVENTS
from zoo.paths import file_sha256
from zoo.results import store
from zoo.results.cell import SCHEMA
from zoo.results.schema import Failed
from zoo.specs import CLASSIFY
from zoo.testing.outcome import ConformanceError, named, require
from zoo.testing.surroundings import no_thread_left
from zoo.testing.toys import IMAGES, LINEAR, linear_model, with_toys
from zoo.testing.trainings import own_cache, plan_small, run_small

if TYPE_CHECKING:
    from zoo.host import Host


@dataclass
class ListenerSubject:
    """A plugin that listens to events.

    Args:
        host: The plugins.
        namespace: Name of the plugin.
    """

    host: Host
    namespace: str
    cached: dict[str, Any] = field(default_factory=dict)


def listens(host: Host, namespace: str) -> bool:
    """Return whether a plugin implements an event."""
    plugin = host.manager.get_plugin(namespace)
    return any(hasattr(plugin, event) for event in EVENTS)


@contextlib.contextmanager
def _faults_raised(namespace: str) -> Iterator[None]:
    """Raise what the plugin raised in an event, which the harness logs.

    Raises:
        ConformanceError: A hook of the plugin failed in the block.
    """
    handler = BufferingHandler(capacity=1_000_000)
    logger = logging.getLogger("zoo.isolation")
    state = logging.getLogger("zoo.global_state")
    before = [(one, one.level, one.propagate) for one in (logger, state)]
    for one, _, _ in before:
        one.addHandler(handler)
        one.setLevel(logging.WARNING)
        one.propagate = False
    try:
        yield
    finally:
        for one, level, propagate in before:
            one.removeHandler(handler)
            one.setLevel(level)
            one.propagate = propagate
    for record in handler.buffer:
        text = record.getMessage()
        if text.startswith(f"plugin {namespace} failed") and record.exc_info and record.exc_info[1]:
            error = record.exc_info[1]
            raise ConformanceError(f"{text.removeprefix(f'plugin {namespace} ')}: {type(error).__name__}: {error}")
        if text.startswith(f"plugin {namespace} changed"):
            raise ConformanceError(text.removeprefix(f"plugin {namespace} "), hint="Set nothing that all code shares.")


@contextlib.contextmanager
def _small_run(subject: ListenerSubject, *, output: io.StringIO | None = None) -> Iterator[tuple[Host, Path]]:
    """Yield the plugins with the toys, and a store that is removed at the end; faults in events are raised."""
    quietly = contextlib.redirect_stdout(output or io.StringIO())
    with own_cache() as folder, _faults_raised(subject.namespace), quietly:
        yield with_toys(subject.host, linear_model((CLASSIFY,))), folder


def run_that_ends_well(subject: ListenerSubject) -> None:
    """Its hooks take the events of a run of the harness; it leaves shared settings and files alone, and no thread."""
    with no_thread_left(), _small_run(subject) as (host, folder):
        result = run_small(host, folder, model=LINEAR, data=IMAGES)
        require(result.status == "ok", f"The run failed: {getattr(result, 'cause', '')}")
        stored = result.files if result.status == "ok" else {}
        changed = [name for name, digest in stored.items() if file_sha256(result.run_dir / name) != digest]
        require(not changed, f"It changes {', '.join(changed)} of the run.", hint="Write files of other names.")


def run_that_fails(subject: ListenerSubject) -> None:
    """Its hooks take the events of a run that fails before its first epoch."""
    with _small_run(subject) as (host, folder):
        cell = plan_small(host, model=LINEAR, data=IMAGES)
        run_dir = store.prepare_run(folder, cell)
        failed = Failed(
            schema=SCHEMA,
            status="failed",
            run_id=cell.run_id,
            cell=cell,
            run_dir=run_dir,
            error="an error\nof two lines",
        )
        content = store.plain_result(failed)
        host.emit("zoo_run_started", cell=content["cell"], run_dir=run_dir)
        host.emit("zoo_run_finished", cell=content["cell"], run_dir=run_dir, result=content)


def quiet(subject: ListenerSubject) -> None:
    """Its hooks print nothing to standard output, also not past Python: it is reserved for results."""
    output = io.StringIO()
    with _small_run(subject, output=output) as (host, folder), _descriptor_of_output() as file:
        run_small(host, folder, model=LINEAR, data=IMAGES, settings={"epochs": 1})
        file.seek(0)
        output.write(file.read().decode(errors="replace"))
    require(not output.getvalue(), f"It prints {output.getvalue()[:60]!r}.", hint="Use logging.getLogger(__name__).")


@contextlib.contextmanager
def _descriptor_of_output() -> Iterator[IO[bytes]]:
    """Yield a file that gets what is written to the file descriptor of standard output."""
    kept = os.dup(1)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        try:
            yield file
        finally:
            os.dup2(kept, 1)
            os.close(kept)


CHECKS = named(run_that_ends_well, run_that_fails, quiet)
