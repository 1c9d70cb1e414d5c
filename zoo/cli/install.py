"""`zoo install` and `zoo uninstall`: plugins of the environment that this zoo runs in, and of no other."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shlex
import shutil
import site
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from zoo.cli.complete import COMPLETE
from zoo.cli.context import echo, host_of
from zoo.errors import DataError, MissingError, UsageError, ZooError, nearest
from zoo.host import Host
from zoo.packages import CORE, first_party
from zoo.paths import parse_json, regular_file, user_path
from zoo.plurals import counted

_PROJECT = ("pyproject.toml", "setup.py")
_DISTRIBUTION = re.compile(
    r"(?P<name>[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)"
    r"(?P<rest>(?:\[[a-z0-9._, -]*\])?(?: *(?:===?|~=|!=|<=?|>=?) *v?\d[a-z0-9.*+!_-]* *,?)*)",
    re.IGNORECASE,
)
"""A distribution with extras and versions, as installers read it; without a URL and without markers."""
_ELSEWHERE = re.compile(r"(PIP|UV)_(TARGET|PREFIX|ROOT|USER|PYTHON|SYSTEM_PYTHON|DRY_RUN|REQUIRE_VIRTUALENV)")
"""Variables that direct an installer to another place, or to none."""


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("-U", "--upgrade", is_flag=True, help="Allow newer versions in place of installed ones.")
@click.option("-e", "--editable", is_flag=True, help="Use folders in place: changes of their code take effect at once.")
@click.option("--dry-run", is_flag=True, help="Print the command without running it.")
@click.pass_context
def install(ctx: click.Context, names: Sequence[str], upgrade: bool, editable: bool, dry_run: bool) -> None:
    """Install plugins into the environment of this zoo.

    NAME is a plugin of this project, such as gconv, a distribution (also NAME==VERSION), a folder or a URL.
    """
    wanted = [_requirement(name, editable=editable) for name in names]
    words = installer("install") + (["--upgrade"] if upgrade else [])
    for one in wanted:
        words += ["-e", one] if editable else [one]
    before = {record.distribution: _installation(record.distribution) for record in host_of(ctx).records.values()}
    named = filter(None, map(_DISTRIBUTION.fullmatch, names))
    hint = "".join(nearest(match["name"], first_party()) for match in named).strip()
    if not _run(words, what=f"Install {', '.join(wanted)} into {sys.prefix}", dry_run=dry_run, hint=hint):
        return
    for one in wanted:
        if (match := _DISTRIBUTION.fullmatch(one)) and not _is_installed(match["name"]):
            raise DataError(
                f"The command ended well, but {one} is not in {sys.prefix}: its configuration may name another place.",
                hint="See: pip config list",
            )
    _print_changes(before)


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=COMPLETE["plugins"])
@click.option("-y", "--yes", is_flag=True, help="Run the command without a question.")
@click.option("--dry-run", is_flag=True, help="Print the command without running it.")
@click.pass_context
def uninstall(ctx: click.Context, names: Sequence[str], yes: bool, dry_run: bool) -> None:
    """Uninstall plugins from the environment of this zoo.

    NAME is a plugin or its distribution. Libraries that it required stay.
    """
    host = host_of(ctx)
    distributions = list(dict.fromkeys(_distribution_of(host, name) for name in names))
    gone = [record.name for record in host.records.values() if record.distribution in distributions]
    words = installer("uninstall")
    words += [*(["-y"] if "-m" in words else []), *distributions]  # uv does not ask
    plugins = f"{counted(len(gone), 'plugin')}: {', '.join(gone)}"
    what = f"Uninstall {', '.join(distributions)} from {sys.prefix}, with {plugins}"
    if not _run(words, what=what, dry_run=dry_run, confirm=not yes):
        return
    if kept := [one for one in distributions if _is_installed(one)]:
        raise DataError(f"The command ended well, but {', '.join(kept)} is still there.", hint="See: zoo plugins")


def installer(verb: str) -> list[str]:
    """Return the words of the command that changes the environment of this process.

    Args:
        verb: "install" or "uninstall".

    Raises:
        MissingError: Neither pip nor uv is there.
    """
    # `uv run` names its program; an environment that uv made has no pip unless somebody installed it.
    uv, pip = os.environ.get("UV") or shutil.which("uv"), importlib.util.find_spec("pip")
    if uv and (pip is None or _made_by_uv()):
        return [uv, "pip", verb, "--python", sys.executable]
    if pip is not None:
        return [sys.executable, "-m", "pip", verb]
    raise MissingError(
        f"Neither pip nor uv is there to change {sys.prefix}.", hint=f"Install pip: {sys.executable} -m ensurepip"
    )


def _made_by_uv() -> bool:
    try:
        text = regular_file(Path(sys.prefix, "pyvenv.cfg")).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    return any(line.partition("=")[0].strip() == "uv" for line in text.splitlines())


def _requirement(name: str, *, editable: bool) -> str:
    """Return what the installer understands.

    Raises:
        UsageError: It is an option, a path at which nothing is, or no folder where one is needed.
    """
    if name.startswith("-"):
        raise UsageError(f"'{name}' is not the name of a plugin.")
    if "://" in name and not editable:  # the installer reads addresses
        return name
    is_path = os.sep in name or name == "."
    if not is_path and not editable and any(os.path.isfile(user_path(name) / file) for file in _PROJECT):
        raise UsageError(
            f"'{name}' may be the folder here or a package of the index.", hint=f"For the folder: zoo install ./{name}"
        )
    if editable or (is_path and os.path.isdir(user_path(name))):
        folder = user_path(name).absolute()
        if not folder.is_dir():
            raise UsageError(f"--editable needs a folder; {folder} is not a folder.")
        if not any(os.path.isfile(folder / file) for file in _PROJECT):
            raise UsageError(f"{folder} is no project of a plugin: it has no {' or '.join(_PROJECT)}.")
        return str(folder)
    if is_path and not user_path(name).exists():
        raise UsageError(f"{user_path(name).absolute()} does not exist.", hint="A distribution has no '/' in its name.")
    if is_path:
        return name
    if (match := _DISTRIBUTION.fullmatch(name.strip())) is None:
        raise UsageError(
            f"'{name}' is not the name of a plugin or of a distribution.", hint="Write NAME, or NAME==VERSION."
        )
    return first_party().get(match["name"].lower(), match["name"]) + match["rest"]


def _distribution_of(host: Host, name: str) -> str:
    """Return the distribution of an installed plugin.

    Raises:
        UsageError: It is not that of a plugin, is zoo itself, or lies outside of the environment.
    """
    installed = [record for record in host.records.values() if record.version != "file"]
    found = [one.distribution for one in installed if name.lower() in (one.name, one.distribution.lower())]
    if not found:
        known = [text for record in installed for text in (record.name, record.distribution)]
        raise UsageError(f"No plugin '{name}' is installed.{nearest(name, known)}", hint="See: zoo plugins")
    if found[0] == CORE:
        raise UsageError(f"{name} is a part of zoo itself.", hint=f"Uninstall zoo: pip uninstall {CORE}")
    place = getattr(importlib.metadata.distribution(found[0]), "_path", None)
    own = [sys.prefix, *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    if place is None or not any(Path(place).resolve().is_relative_to(Path(one).resolve()) for one in own):
        raise UsageError(
            f"{found[0]} lies in {place and Path(place).parent}, which is not in the environment {sys.prefix}.",
            hint=f"To leave it out here: zoo disable {name}",
        )
    return found[0]


def _is_installed(distribution: str) -> bool:
    return _installation(distribution) is not None


def _installation(distribution: str) -> tuple[str, int] | None:
    """Return version and time of an installation, or None where there is none."""
    importlib.invalidate_caches()
    try:
        found = importlib.metadata.distribution(distribution)
        return found.version, os.stat(getattr(found, "_path", "")).st_mtime_ns
    except importlib.metadata.PackageNotFoundError:
        return None
    except (OSError, TypeError):  # not in a folder
        return found.version, 0


def _run(words: Sequence[str], *, what: str, dry_run: bool, confirm: bool = False, hint: str = "") -> bool:
    """Describe a command and run it; return whether it ran.

    Raises:
        ZooError: It failed.
        DataError: The environment cannot be changed.
        UsageError: The user does not confirm it.
    """
    echo(f"{what}:\n  {shlex.join(words)}", err=True)
    if dry_run:
        return False
    place = sysconfig.get_path("purelib")
    if sys.prefix != sys.base_prefix and not os.access(place, os.W_OK):  # outside of environments, pip has a way out
        raise DataError(
            f"Nothing was changed: {place} is not writable.",
            hint="Without installing: zoo --plugin FILE.py; to leave a plugin out: ZOO_DISABLE_PLUGINS=NAME",
        )
    if confirm:
        try:
            click.confirm("Run this command?", abort=True, err=True)
        except click.Abort as error:
            raise UsageError("It was not confirmed; nothing was changed.", hint="Without a question: --yes") from error
    done = subprocess.run(words, env=_environment(os.environ), check=False)
    if done.returncode:
        raise ZooError(f"The command failed with exit status {done.returncode}.", hint=hint)
    return True


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if not _ELSEWHERE.fullmatch(name)}


def _print_changes(before: Mapping[str, tuple[str, int] | None]) -> None:
    """Print the plugins of new, changed and reinstalled distributions, as a fresh process finds them."""
    done = subprocess.run([sys.executable, "-m", "zoo", "plugins", "--json"], stdout=subprocess.PIPE, check=False)
    rows = parse_json(done.stdout) if done.returncode == 0 else []
    found = [row for row in rows if row["version"] != "file"]
    changed = [
        row for row in found
        if row["distribution"] not in before or before[row["distribution"]] != _installation(row["distribution"])
    ]  # fmt: skip
    for row in changed:
        about = "; ".join(filter(None, [", ".join(row["brings"]), row["error"], *row["notes"]]))
        echo(f"{row['name']} ({row['distribution']} {row['version']}) is {row['state']}: {about}")
    if not changed:
        echo("No plugin was added, and none was changed. See: zoo plugins", err=True)
