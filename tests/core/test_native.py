"""C++ sources: compiled once, found again, refused with the reason."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from zoo import native
from zoo.errors import MissingError

SOURCE = 'extern "C" int answer() { return 42; }\n'
load = native.load_native.__wrapped__


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if not any(shutil.which(name) for name in native.COMPILERS):
        pytest.skip("no C++ compiler on this machine")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "answer.cpp"
    file.write_text(SOURCE, encoding="utf-8")
    return file


def test_a_source_is_compiled_once(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(source).answer() == 42
    commands: list[list[str]] = []
    real = native._output
    monkeypatch.setattr(native, "_output", lambda command: commands.append(command) or real(command))
    assert load(source).answer() == 42
    assert ["-dM" in command for command in commands] == [True]
    [library] = (tmp_path / "cache" / "native").iterdir()
    assert library.name.startswith("answer-")


@pytest.mark.parametrize("damage", [b"", b"\x7fELF", "bit", "pipe"], ids=["empty", "cut", "bit", "pipe"])
def test_damaged_code_is_compiled_again(source: Path, tmp_path: Path, damage: bytes | str) -> None:
    load(source)
    [library] = (tmp_path / "cache" / "native").iterdir()
    whole = library.read_bytes()
    library.unlink()  # the library that is loaded keeps its own
    if damage == "pipe":
        os.mkfifo(library)
    else:
        library.write_bytes(damage if isinstance(damage, bytes) else bytes([*whole[:-1], whole[-1] ^ 1]))
    assert load(source).answer() == 42
    assert library.read_bytes() == whole


@pytest.mark.parametrize("change", ["source", "options"])
def test_other_code_is_compiled_apart(source: Path, tmp_path: Path, change: str) -> None:
    load(source)
    if change == "source":
        source.write_text(SOURCE.replace("42", "43"), encoding="utf-8")
    assert load(source, options=("-O1",) if change == "options" else ()).answer() == (43 if change == "source" else 42)
    assert len(list((tmp_path / "cache" / "native").iterdir())) == 2


@pytest.mark.parametrize(
    ("compiler", "text", "said"),
    [
        ("c++", "int answer( {", "error: expected"),
        ("no-such-compiler", SOURCE, "There is no C\\+\\+ compiler \\(no-such-compiler\\)"),
        ("false", SOURCE, "false failed with exit code 1"),
    ],
)
def test_a_failure_is_a_missing_library(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiler: str, text: str, said: str
) -> None:
    monkeypatch.setenv("CXX", compiler)
    source.write_text(text, encoding="utf-8")
    with pytest.raises(MissingError, match=said):
        load(source)
    assert not list(tmp_path.glob("cache/native/*"))


def test_cxx_may_hold_options(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = next(name for name in native.COMPILERS if shutil.which(name))
    source.write_text('extern "C" int answer() { return NUMBER; }', encoding="utf-8")
    monkeypatch.setenv("CXX", f"{compiler} -DNUMBER=7")
    assert load(source).answer() == 7
