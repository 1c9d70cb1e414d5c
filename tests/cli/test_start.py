"""The command's start and end: an interruption there gets no traceback."""

import signal
import sys
import types

import pytest

from zoo.__main__ import main


class _Interrupted(types.ModuleType):
    def __getattr__(self, name):
        raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def handler():
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interruption_while_modules_are_imported_gets_a_message(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "zoo.cli", _Interrupted("zoo.cli"))
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, capsys.readouterr().err) == (130, "Interrupted.\n")


@pytest.mark.parametrize(
    ("before", "after"), [(signal.default_int_handler, signal.SIG_DFL), (signal.SIG_IGN, signal.SIG_IGN)]
)
def test_an_interruption_while_the_process_closes_ends_it_at_once(monkeypatch, before, after):
    """Python's own handler would print tracebacks of whatever runs at exit; an ignored signal stays ignored."""
    monkeypatch.setattr(sys, "argv", ["zoo", "--version"])
    signal.signal(signal.SIGINT, before)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert signal.getsignal(signal.SIGINT) is after
