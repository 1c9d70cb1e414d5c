"""Named checks of a contract: run one after the other, all failures collected, each of them excusable with a reason."""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeAlias

from zoo.errors import UsageError, ZooError, nearest
from zoo.global_state import changed_settings
from zoo.isolation import contained
from zoo.schema import Record

State: TypeAlias = Literal["passed", "failed", "excused", "not applicable", "not checked"]
GUIDE = "docs/plugins.md"


class ConformanceError(AssertionError):
    """A contract is broken.

    Args:
        problem: Fault in words.
        where: Case in which it stood, such as the size of the images.
        hint: Next thing to do.
    """

    def __init__(self, problem: str, *, where: str = "", hint: str = "") -> None:
        self.problem, self.where, self.hint = problem, where, hint
        super().__init__(": ".join(filter(None, [where, problem])) + (f" {hint}" if hint else ""))


class NotApplicable(Exception):
    """The spec does not declare what a check is about; the text is the reason."""


@dataclass(frozen=True)
class Check:
    """One part of a contract.

    Args:
        name: Name by which it is shown and excused.
        holds: Sentence on what holds where it passes.
        function: Function of a subject; it raises `ConformanceError`, `NotApplicable`, or whatever the plugin raises,
            and may return a sentence on what was measured.
    """

    name: str
    holds: str
    function: Callable[[Any], str | None]


class Outcome(Record):
    """Outcome of one check.

    Args:
        id: Id of the checked thing, or name of the plugin.
        kind: Its kind, such as "model".
        check: Name of the check.
        holds: Sentence on what holds where it passes.
        state: "passed", "failed", "excused", "not applicable", or "not checked" where what its checks need is absent.
        problem: Fault, or reason of another state; "" where it passed.
        where: Case, or place in the plugin's code.
        hint: Next thing to do.
        note: Sentence on what was measured where it passed.
    """

    id: str
    kind: str
    check: str
    holds: str
    state: State
    problem: str = ""
    where: str = ""
    hint: str = ""
    note: str = ""

    def in_words(self) -> str:
        """Return what failed, where, and what to do, in one line."""
        where = f" ({self.where})" if self.where else ""
        return f"{self.id}: {self.check}{where}: {self.problem} {self.hint}".strip()


def require(condition: bool, problem: str, *, where: str = "", hint: str = "") -> None:
    """Check one condition of a contract.

    Raises:
        ConformanceError: It does not hold.
    """
    if not condition:
        raise ConformanceError(problem, where=where, hint=hint)


def named(*functions: Callable[[Any], str | None]) -> tuple[Check, ...]:
    """Return functions as checks: each is named by its function and described by its first line."""
    return tuple(
        Check(function.__name__.strip("_").replace("_", "-"), (inspect.getdoc(function) or "").split("\n")[0], function)
        for function in functions
    )


def check_names(excused: Mapping[str, str], checks: Sequence[Check], *, of: str) -> None:
    """Refuse excuses of checks that do not exist, and excuses without a reason.

    Raises:
        UsageError: One of these.
    """
    names = [check.name for check in checks]
    for name, reason in excused.items():
        if name not in names:
            raise UsageError(
                f"{of}: the excused check '{name}' does not exist.{nearest(name, names)}",
                hint=f"The checks of this kind: {', '.join(names)}",
            )
        if not reason.strip():
            raise UsageError(f"{of}: the excuse of '{name}' states no reason.")


def run_check(check: Check, subject: Any, *, full_id: str, kind: str, reason: str = "") -> Outcome:
    """Run one check on a subject; whatever the plugin raises is a failure with its place.

    Args:
        check: The check.
        subject: Argument of its function.
        full_id: Id of the checked thing.
        kind: Kind of the checked thing.
        reason: Reason for which it is excused; it is then not run.
    """

    def outcome(state: State, problem: str = "", where: str = "", hint: str = "", note: str = "") -> Outcome:
        return Outcome(
            id=full_id, kind=kind, check=check.name, holds=check.holds, state=state, problem=problem, where=where,
            hint=hint, note=note,
        )  # fmt: skip

    if reason:
        return outcome("excused", reason)
    _HERE.set("")
    try:
        with changed_settings({}), contained(), _ends_raised():  # one check changes nothing for the next
            note = check.function(subject)
    except NotApplicable as why:
        return outcome("not applicable", str(why))
    except ConformanceError as error:
        return outcome("failed", error.problem, _at(error.where), error.hint or f"See: {GUIDE}")
    except ZooError as error:
        return outcome("failed", str(error.args[0]), _at(place_of(error)), error.hint or f"See: {GUIDE}")
    except Exception as error:
        return outcome(
            "failed", f"{type(error).__name__}: {error}", _at(place_of(error)), "Mend it, or catch the exception."
        )
    return outcome("passed", note=note or "")


@contextlib.contextmanager
def _ends_raised() -> Iterator[None]:
    """Raise SystemExit where code ends this process by `os._exit`, which would lose all outcomes, even with code 0."""
    process, end_process = os.getpid(), os._exit

    def end(status: int) -> NoReturn:
        if os.getpid() != process:  # a fork, which ends in this way
            end_process(status)
        raise SystemExit(f"os._exit({status})")

    os._exit = end
    try:
        yield
    finally:
        os._exit = end_process


def run_checks(
    checks: Sequence[Check], subject: Any, *, full_id: str, kind: str, excused: Mapping[str, str] | None = None
) -> Iterator[Outcome]:
    """Yield the outcome of each check; one that fails does not stop the others.

    Args:
        checks: The checks, in their order.
        subject: Argument of each.
        full_id: Id of the checked thing.
        kind: Kind of the checked thing.
        excused: Name of a check -> reason for which it is left out.

    Raises:
        UsageError: An excused check does not exist, or its reason is empty.
    """
    excused = excused or {}
    check_names(excused, checks, of=full_id)
    for check in checks:
        yield run_check(check, subject, full_id=full_id, kind=kind, reason=excused.get(check.name, ""))


def require_passed(outcomes: Sequence[Outcome]) -> None:
    """Check that nothing failed.

    Raises:
        ConformanceError: A check failed; the message names all that did.
    """
    if failed := [one.in_words() for one in outcomes if one.state == "failed"]:
        raise ConformanceError("\n".join(failed))


_CORE = str(Path(__file__).parents[1])
_LIBRARIES = re.compile(r"[/\\](?:torch|numpy|scipy|click|pluggy|msgspec|sklearn|lib[/\\]python3[.\d]*)[/\\]")


def place_of(error: BaseException) -> str:
    """Return file and line of the innermost code that belongs neither to zoo nor to a library under it, or ""."""
    chain: list[BaseException] = []
    while error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__ or error
    for one in reversed(chain):
        for frame in reversed(traceback.extract_tb(one.__traceback__)):
            own = not frame.filename.startswith((_CORE, "<")) and not _LIBRARIES.search(frame.filename)
            if own and frame.lineno is not None:
                return f"{Path(frame.filename).name}, line {frame.lineno}"
    return ""


_HERE: ContextVar[str] = ContextVar("case", default="")


def at(text: str) -> None:
    """State the case that a loop over cases yields next; an exception of the loop's body does not pass a generator."""
    _HERE.set(text)


def _at(where: str) -> str:
    return ", ".join(filter(None, [_HERE.get(), where]))


@contextlib.contextmanager
def case(text: str) -> Iterator[None]:
    """Add the case to the failures of a block.

    Args:
        text: Case in words, such as "3 channels of 33 x 33".

    Raises:
        ConformanceError: A contract is broken in the block.
    """
    try:
        yield
    except ConformanceError as error:
        where = ", ".join(filter(None, [text, error.where]))
        raise ConformanceError(error.problem, where=where, hint=error.hint) from error
    except ZooError as error:
        where = ", ".join(filter(None, [text, place_of(error)]))
        raise ConformanceError(str(error.args[0]), where=where, hint=error.hint) from error
    except (NotApplicable, MemoryError):
        raise
    except Exception as error:
        where = ", ".join(filter(None, [text, place_of(error)]))
        raise ConformanceError(f"{type(error).__name__}: {error}", where=where) from error
