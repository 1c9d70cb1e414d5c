"""Help of the commands, those of the plugins of this repository included."""

from __future__ import annotations

import click
import pytest

from zoo.cli import cli

pytestmark = pytest.mark.usefixtures("surroundings")
ROOT = click.Context(cli, **cli.context_settings)
COMMANDS = sorted(cli.list_commands(ROOT))
VERBS = {
    "Add", "Allow", "Average", "Cancel", "Change", "Check", "Choose", "Classify", "Compare", "Compute", "Continue",
    "Draw", "Exclude", "Fit", "Import", "Include", "Keep", "Limit", "List", "Load", "Log", "Make", "Measure",
    "Multiply", "Name", "Print", "Prune", "Read", "Render", "Rotate", "Run", "Scale", "Score", "Search", "Select",
    "Set", "Show", "Skip", "Sort", "Stop", "Store", "Test", "Train", "Use", "Write",
}  # fmt: skip
"""First words of the helps of options."""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(zoo, command):
    out, err = zoo(command, "-h")
    assert out.startswith("Usage: ")
    assert f" {command} " in out.splitlines()[0]
    assert "-h, --help" in out
    assert err == ""


@pytest.mark.parametrize("command", ["zoo", *COMMANDS])
def test_the_help_of_every_option_is_a_sentence_that_begins_with_a_verb(command):
    found = list(_with_parts(cli if command == "zoo" else cli.get_command(ROOT, command), command))
    options = [
        (name, one)
        for name, part in (found[:1] if command == "zoo" else found)
        for one in part.get_params(click.Context(part, parent=ROOT if part is not cli else None))
        if isinstance(one, click.Option)
    ]
    assert options
    for name, option in options:
        assert (option.help or "").split(" ")[0] in VERBS, f"{name} --{option.name}: {option.help!r}"
        assert option.help[-1] in ".]", f"{name} --{option.name}: {option.help!r} is not a sentence"


@pytest.mark.parametrize("command", ["zoo", *COMMANDS])
def test_help_fits_80_columns_and_no_short_help_is_cut_off(command):
    for name, part in _with_parts(cli if command == "zoo" else cli.get_command(ROOT, command), command):
        if command == "zoo" and part is not cli:
            continue
        # click keeps the option --help of the first context, with the names that its parent gives.
        parent = None if part is cli else ROOT
        context = click.Context(part, info_name=name, parent=parent, terminal_width=80)
        text = part.get_help(context)
        assert [line for line in text.splitlines() if len(line) > 80] == []
        assert [line for line in text.partition("\nCommands:")[2].splitlines() if line.endswith("...")] == []


def _with_parts(command, name):
    """Yield a command and the commands inside it, such as those of `zoo data`, with their names."""
    yield name, command
    context = click.Context(command)
    for part in command.list_commands(context) if isinstance(command, click.Group) else ():
        yield f"{name} {part}", command.get_command(context, part)


def test_help_lists_the_commands_and_version_is_printed(zoo):
    out, _ = zoo("--help")
    for command in COMMANDS:
        assert (f"  {command} " in out) != cli.get_command(ROOT, command).hidden
    assert zoo("--version")[0].startswith("zoo, version ")
