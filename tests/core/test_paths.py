"""Paths that users type, and machines without a home."""

import os
import re
from pathlib import Path

import click
import pytest
from zoo_optuna.command import run_trials, tune

import zoo
from zoo.cli import cli, main
from zoo.cli.lazy import LazyCommand
from zoo.cli.options import PATH
from zoo.errors import DataError, UsageError
from zoo.host import load_plugins
from zoo.inference.read import Skipped, expand
from zoo.paths import (
    cache_dir,
    in_shell,
    make_dir,
    user_path,
)

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("zoo/**/*.py"), *ROOT.glob("plugins/*/zoo_*/**/*.py")])
UNKNOWN = "~no_such_user_here/x"


@pytest.mark.parametrize("text", [UNKNOWN, "a\0b"])
def test_a_path_that_cannot_be_resolved_is_a_usage_error(text):
    with pytest.raises(UsageError, match=r"no_such_user_here|null character"):
        user_path(text)


@pytest.mark.parametrize("place", ["cache", "weights", "run"])
def test_every_place_refuses_the_home_of_an_unknown_user(place, monkeypatch, tmp_path, host):
    from zoo.results.find import find_run
    from zoo.weights.find import find_weights

    monkeypatch.setenv("ZOO_CACHE", UNKNOWN)
    call = {
        "cache": cache_dir,
        "weights": lambda: find_weights(host, UNKNOWN, store=tmp_path),
        "run": lambda: find_run(UNKNOWN, store=tmp_path),
    }[place]
    with pytest.raises(UsageError, match="home folder of ~no_such_user_here is unknown"):
        call()


def lines_with(pattern: str) -> list[str]:
    """Return "FILE: line" for each line of the core and the plugins that matches."""
    return [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in SOURCES
        for line in path.read_text().splitlines()
        if re.search(pattern, line)
    ]


def test_one_function_resolves_the_paths_of_users():
    assert [line for line in lines_with(r"expanduser\(|Path\.home\(") if not line.startswith("zoo/paths.py")] == []


def test_no_file_is_written_by_mapping_it():
    """A full disk is an error where a file is written, and ends the process without a word where it is mapped."""
    assert lines_with(r"open_memmap\(|mode=\"[wr]\+\"") == []


def commands_below(group, name):
    """Yield the names and commands of a group and of the groups in it."""
    for part, command in group.commands.items():
        command = command.load() if isinstance(command, LazyCommand) else command
        if isinstance(command, click.Group):
            yield from commands_below(command, f"{name} {part}")
        else:
            yield f"{name} {part}", command


def test_every_option_that_is_a_path_resolves_the_home_folder_and_refuses_an_empty_text():
    found = [*commands_below(cli, "zoo"), ("zoo tune", tune), ("zoo run-trials", run_trials)]
    given = [(f"{name} {param.name}", param) for name, command in found for param in command.params]
    paths = {name for name, param in given if isinstance(param.type, click.Path)}
    # The names of the parameters and metavars that stand for paths. `verify` and `show` accept other names, too, and
    # the tests of commands cover them.
    looks = {
        name
        for name, param in given
        if re.search(r"\b(DIR|FILE)", param.metavar or "")
        or param.name in ("store", "source", "out", "html", "figures", "folder", "path")
    } - {"zoo predict files", "zoo equivariance files", "zoo data show name", "zoo score data", "zoo check target"}
    assert looks
    assert looks <= paths
    for _, param in given:
        if isinstance(param.type, click.Path):
            assert isinstance(param.type, type(PATH))
            with pytest.raises(UsageError, match="The path is empty"):
                param.type.convert("", param, None)
    assert lines_with(r"click\.Path\(") == []


@pytest.mark.parametrize(
    "words",
    [
        ("bench", "--model", "m", "--data", "d", f"--store={UNKNOWN}"),
        ("bench", "--model", "m", "--data", "d", f"--images={UNKNOWN}"),
        ("bench", UNKNOWN),
        ("report", f"--store={UNKNOWN}"),
        ("verify", UNKNOWN),
        ("data", "show", UNKNOWN),
        (f"--plugin={UNKNOWN}", "plugins"),
    ],
)
def test_commands_refuse_the_home_of_an_unknown_user(words, capsys, monkeypatch):
    monkeypatch.delenv("ZOO_PLUGIN_FILES", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert ended.value.code == 2
    assert "home folder of ~no_such_user_here is unknown" in capsys.readouterr().err


def test_a_file_in_the_place_of_a_folder_is_called_a_file(tmp_path):
    (tmp_path / "mine.h5").touch()
    with pytest.raises(DataError, match=r"Cannot create the folder .*mine\.h5: it is a file\."):
        make_dir(tmp_path / "mine.h5")


def test_a_store_in_the_home_folder_is_found(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(SystemExit):
        main(["report", "--store=~/runs"])
    assert f"No results were found in {tmp_path / 'runs'}" in capsys.readouterr().err
    with pytest.raises(UsageError, match="home folder of ~no_such_user_here"):
        zoo.load("abcdef", store=UNKNOWN)
    with pytest.raises(UsageError, match="home folder of ~no_such_user_here"):
        zoo.bench_suite(UNKNOWN)


def test_files_to_classify_in_an_unknown_home_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    bad, good = expand([UNKNOWN, "~/a.npy"], stdin=())
    assert isinstance(bad, Skipped)
    assert "no_such_user_here is unknown" in bad.reason
    assert good == tmp_path / "a.npy"


def test_one_function_reads_json():
    # The last one reads back what it wrote a moment before.
    allowed = ("zoo/paths.py", "zoo/models/weights_file.py: content = json.loads(json_text(")
    assert [line for line in lines_with(r"json\.loads?\(") if not line.startswith(allowed)] == []


def test_files_are_opened_after_a_check_that_they_are_regular():
    pattern = r"(safe_open|load_file|np\.load|torch\.load)\(|\.(read_text|read_bytes)\(|\.open\((\"rb|\))"
    allowed = (
        "zoo/paths.py: with temporary.open",  # its own temporary file
        "zoo/packages.py: text = importlib.metadata.distribution(",  # metadata of an installed distribution
        "zoo/report/page.py: style, script",  # files of the package
        "zoo/weights/find.py: return card.read_text",  # after is_file
        "zoo/models/export.py",  # files that it has just written
        "zoo/native.py: code = temporary",  # likewise
        'zoo/environment.py: for line in Path("/proc/self/status")',  # a file of the kernel
        "zoo/inference/arrays.py",  # `_open` in read.py has checked
    )
    unchecked = [line for line in lines_with(pattern) if "regular_file(" not in line and not line.startswith(allowed)]
    assert unchecked == []


@pytest.fixture
def homeless(tmp_path, monkeypatch):
    """No HOME, and a user id without a name."""
    for name in ("HOME", "USER", "ZOO_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: os.environ.get("HOME", "~") + str(path)[1:])
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    yield tmp_path / f"lens-zoo-{os.getuid()}"
    for name in ("HOME", "USER"):  # set by what is tested
        os.environ.pop(name, None)


@pytest.mark.parametrize("ask", [cache_dir, lambda: load_plugins(environment={})], ids=["cache", "plugins"])
def test_a_user_without_a_home_gets_a_folder_among_temporary_files(ask, homeless, caplog):
    ask()
    ask()
    assert os.environ["HOME"] == str(homeless)
    assert os.environ["USER"]
    assert homeless.stat().st_mode & 0o777 == 0o700
    assert cache_dir().is_relative_to(homeless)
    assert caplog.text.count("There is no home folder") == 1


def test_the_folder_of_another_user_does_not_become_the_home(homeless, monkeypatch):
    homeless.mkdir()
    user = os.getuid()
    monkeypatch.setattr("os.getuid", lambda: user + 1)
    homeless.rename(homeless.with_name(f"lens-zoo-{user + 1}"))
    with pytest.raises(UsageError, match="belongs to another user"):
        cache_dir()


@pytest.mark.parametrize(
    "command",
    [
        "predict {name} x.npy", "predict p4m.modelA {name}", "bench {name}", "verify {name}", "rerun {name}",
        "show {name}", "report --store {name}", "card {name}", "data show {name}", "data verify {name}",
        "bench --from-study {name}", "bench --model {name} --data modelA", "simulate modelA -n 8 --out {name}",
        "--plugin {name} plugins", "run-cell {name}", "export {name}", "tune --show {name}",
    ],
)  # fmt: skip
def test_names_of_300_letters_end_in_one_message(command, tmp_path, monkeypatch, capsys):
    from zoo.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_PLUGIN_FILES", "")  # --plugin sets it
    words = [word.format(name="n" * 300) for word in command.split()]
    with pytest.raises(SystemExit) as ended:
        main(words)
    printed = capsys.readouterr()
    assert ended.value.code in (1, 2, 3)
    assert "Traceback" not in printed.err
    assert "n" * 100 in printed.err.replace("\n", "")


def test_files_of_a_run_that_cannot_be_read_are_named_by_verify(run_dir, capsys):
    from zoo.results.verify import verify_run

    (run_dir / "weights.safetensors").unlink()
    (run_dir / "weights.safetensors").symlink_to("weights.safetensors")
    (run_dir / "predictions.safetensors").unlink()
    os.mkfifo(run_dir / "predictions.safetensors")
    verdict = verify_run(run_dir)
    assert verdict.state == "false"
    problems = "\n".join(verdict.problems)
    assert "weights.safetensors cannot be read: Too many levels of symbolic links" in problems
    assert "predictions.safetensors cannot be read: it is a named pipe and not a regular file" in problems


def test_commands_to_be_copied_quote_their_paths() -> None:
    """A path with blanks must be one word of the command that a message names."""
    unquoted = re.compile(r"""zoo [a-z-]+[^"']*\{(store|folder|run_dir|path|place|result\.run_dir|path\.parent)\}""")
    assert len(SOURCES) > 300
    assert [path.name for path in SOURCES if unquoted.search(path.read_text(encoding="utf-8"))] == []
    assert in_shell("a b") == "'a b'"
    assert in_shell(Path("results")) == "results"
