"""`zoo check`: runs the conformance kit on a plugin, an id or a file, and shows what to mend."""

from __future__ import annotations

import os
import shlex
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from zoo import registry
from zoo.cli.complete import COMPLETE
from zoo.cli.context import echo, host_of, print_json, rewrite_line
from zoo.cli.listing import print_aligned
from zoo.errors import UsageError
from zoo.isolation import printing_to_stderr
from zoo.paths import user_path
from zoo.plugin_file import has_networks_only
from zoo.specs import DatasetSpec, SimulatorSpec

if TYPE_CHECKING:
    from zoo.host import Host
    from zoo.testing.outcome import Outcome, State

_STATES: tuple[State, ...] = ("passed", "failed", "excused", "not applicable", "not checked")


@click.command()
@click.argument("target", metavar="PLUGIN|ID|FILE.py", shell_complete=COMPLETE["ids"])
@click.option(
    "--set", "settings", multiple=True, metavar="[data.|model.]NAME=VALUE",
    help="Change a parameter of the data set, or a hyper-parameter of the model.",
)  # fmt: skip
@click.option(
    "--excuse", "excuses", multiple=True, metavar="CHECK=REASON", help="Skip a check, for a reason that is shown."
)
@click.option(
    "--simulator", default="", help="Render populations with this simulator.", shell_complete=COMPLETE["simulators"]
)
@click.option(
    "--data", default="", help="Render scenes of this population with the simulator, too.",
    shell_complete=COMPLETE["datasets"],
)  # fmt: skip
@click.option("--trainings/--no-trainings", default=True, help="Train models in small runs, too.")
@click.option("--all", "everything", is_flag=True, help="List checks that passed or do not apply, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def check(
    ctx: click.Context,
    target: str,
    settings: tuple[str, ...],
    excuses: tuple[str, ...],
    simulator: str,
    data: str,
    trainings: bool,
    everything: bool,
    as_json: bool,
) -> None:
    """Check that a plugin keeps its contracts.

    The checks are those of the conformance kit, of a whole plugin or of one thing that it offers. The exit code is 1
    if a check fails, and 3 if something that it offers could not be checked.

    \b
    zoo check mynets                           everything that a plugin offers
    zoo check mynets/tiny --set width=16       one model, at another width, too
    zoo check mysky --set data.file=sky.h5     a data set that needs a parameter
    zoo check ./mynets.py                      a file that is not installed
    zoo check ./mynets.py:Tiny                 one network of a file without hooks
    """
    import logging

    from zoo.host import load_plugins
    from zoo.plan.overrides import parse_settings
    from zoo.testing.kit import NO_TRAININGS, Options, outcomes

    given = parse_settings(list(settings))
    params = {name.removeprefix("data.").removeprefix("model."): value for name, value in given.items()}
    options = Options(params=params, simulator=simulator, data=data, trainings=trainings)
    if target.endswith(".py"):
        if has_networks_only(user_path(target)):
            raise UsageError(
                f"{target} registers nothing; its classes may be networks.", hint=f"Check one: zoo check {target}:CLASS"
            )
        host, name = load_plugins(files=[target]), user_path(target).stem.lower()
    else:
        host, name = host_of(ctx), target
    for kind, given_name in ((DatasetSpec, data), (SimulatorSpec, simulator)):
        if given_name:
            registry.find(host, kind, given_name)
    found: list[Outcome] = []
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.CRITICAL)  # faults are in the table, notes on runs have no use here
    try:
        with printing_to_stderr():
            for outcome in outcomes(host, name, excused=_reasons(excuses), options=options):
                found.append(outcome)
                if not as_json and os.isatty(2):
                    rewrite_line(f"{outcome.id}: {outcome.check}")
    finally:
        logging.getLogger().setLevel(level)
    failed = [one for one in found if one.state == "failed"]
    unchecked = [one for one in found if one.state == "not checked"]
    code = 1 if failed else 3 if unchecked else 0
    ctx.call_on_close(lambda: _end_despite_threads(code))
    if as_json:
        from zoo.schema import plain

        print_json([plain(one) for one in found])
        ctx.exit(code)
    if os.isatty(2):
        rewrite_line("")
    left_out = [one for one in found if one.state == "excused" and one.problem == NO_TRAININGS]
    notable = [one for one in found if (one.state in ("failed", "excused") or one.note) and one not in left_out]
    _print_table(found if everything else notable)
    counts = Counter(one.state for one in found if one not in left_out)
    echo(", ".join(f"{counts[state]} {state}" for state in _STATES if counts[state]))
    if left_out:
        echo(f"Left out by --no-trainings: {', '.join(dict.fromkeys(one.check for one in left_out))}")
    for one in unchecked:
        echo(f"Not checked: {one.id}. {one.problem} {one.hint}", err=True)
    if failed:
        again = _command(host, failed[0].id, settings=settings, simulator=simulator, data=data)
        echo(f"Why, and how to test it: docs/plugins.md; one thing alone: {again}", err=True)
    ctx.exit(code)


def _end_despite_threads(code: int) -> None:
    """End the process where a plugin has left a thread that would keep it from ending."""
    others = [one for one in threading.enumerate() if one is not threading.main_thread() and not one.daemon]
    if any(one.is_alive() for one in others):
        sys.stdout.flush()
        os._exit(code)


def _command(host: Host, name: str, *, settings: Sequence[str], simulator: str, data: str) -> str:
    """Return the command that checks one plugin or id in the same way."""
    from zoo.testing.kit import params_of

    record = host.records[name.partition("/")[0]]
    words = ["zoo", *(["--plugin", record.distribution] if record.version == "file" else []), "check", name]
    spec = next((specs[name] for specs in host.specs.values() if name in specs), None)
    for text in settings:
        param = text.partition("=")[0].strip().removeprefix("data.").removeprefix("model.")
        if spec is None or param in params_of(spec):
            words += ["--set", text]
    words += [*(["--simulator", simulator] if simulator else []), *(["--data", data] if data else []), "--all"]
    return shlex.join(words)


def _print_table(shown: list[Outcome]) -> None:
    if not shown:
        return
    rows = [("id", "check", "state", "what, where, next")]
    for one in shown:
        place = f" ({one.where})" if one.where else ""
        rows.append((one.id, one.check, one.state, f"{one.problem or one.note or one.holds}{place} {one.hint}".strip()))
    print_aligned(rows)


def _reasons(texts: tuple[str, ...]) -> dict[str, str]:
    """Return CHECK=REASON texts as a dictionary.

    Raises:
        UsageError: A text is not of this form.
    """
    pairs = [text.partition("=") for text in texts]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise UsageError(f"--excuse {wrong[0]}: expected CHECK=REASON.")
    return {name.strip(): reason for name, _, reason in pairs}
