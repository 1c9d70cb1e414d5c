"""The file of a suite: models, data, seeds, budgets and settings in TOML, and what they are expected to score.

title = "Which networks separate the substructures of Model A and Model B?"
models = ["p4m", "timm/resnet18"]
data = ["modelA", "modelB"]
seeds = [0, 1, 2]
budget = "laptop"                # or several: ["smoke", "laptop"]

[settings]                       # as --set; [[settings]], several times, makes a variant of each
"data.snr" = 30

[[expected]]
model = "p4m"
data = "modelB"
auc = 0.964                      # macro, mean over the seeds
within = 0.01
minutes = 6                      # a run
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import Meta

from zoo.errors import UsageError, nearest
from zoo.paths import regular_file
from zoo.plan.request import Request, is_place
from zoo.schema import Record


class Expected(Record, frozen=True):
    """Expected scores that a suite states.

    Args:
        model, data: Names.
        auc: Macro AUC, mean over seeds.
        within: Largest difference from it that is as expected.
        minutes: Time of a run, on the machine that the file names.
    """

    model: str
    data: str
    auc: Annotated[float, Meta(ge=0, le=1)]
    within: Annotated[float, Meta(ge=0)]
    minutes: Annotated[float, Meta(ge=0)] = 0.0


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The content of a suite's file, with what the command line has replaced.

    Args:
        path: The file.
        request: Request of the first budget and variant; where it runs is not part of the file.
        budgets: Names of budgets; empty for the one that suits the device.
        variants: Settings; each of them is run.
        expected: Expected scores, in the order of the file.
        title: Title for readers.
        listed: All models that the file names, whether or not they are run.
        overridden: Names of the settings that the command line states.
    """

    path: Path
    request: Request
    budgets: Sequence[str] = ()
    variants: Sequence[Mapping[str, Any]] = ({},)
    expected: Sequence[Expected] = ()
    title: str = ""
    listed: Sequence[str] = ()
    overridden: Collection[str] = ()


def _file_fields() -> dict[str, tuple[Any, Any]]:
    """Return key -> type and default of a suite's file: the fields of a request that set what is run."""
    own: dict[str, Any] = {
        "models": list[str],
        "data": list[str],
        "seeds": list[int],
        "budget": str | list[str],
        "settings": dict[str, Any] | list[dict[str, Any]],
    }
    hints = get_type_hints(Request)
    keys: dict[str, tuple[Any, Any]] = {"title": (str, "")}
    for one in fields(Request):
        if not is_place(one):
            default = None if one.name in own or one.default is MISSING else one.default
            keys[one.name] = (own.get(one.name, hints[one.name]), default)
    return keys | {"expected": (list[Expected], None)}


_FILE = _file_fields()
KEYS = tuple(_FILE)
_Content = msgspec.defstruct(
    "Content",
    [(name, kind if default is not None else kind | None, default) for name, (kind, default) in _FILE.items()],
    bases=(Record,),
)
_WORDS: dict[Any, str] = {
    str: "a text",
    float: "a number",
    bool: "true or false",
    list[str]: "a list of texts",
    list[int]: "a list of whole numbers",
    str | list[str]: "a text or a list of texts",
    dict[str, Any] | list[dict[str, Any]]: "a table [settings], or several [[settings]]",
    list[Expected]: "tables [[expected]]",
}


def read_suite(path: Path) -> Suite:
    """Return the suite in a TOML file.

    Raises:
        UsageError: The file is missing, or a key or value is invalid; the error names line and key.
    """
    try:
        text = regular_file(path).read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"The suite {path} cannot be read: {getattr(error, 'strerror', None) or error}.",
            hint="A suite is a TOML file, as benchmarks/classify_ab.toml is; without one: zoo bench --model M --data D",
        ) from error
    try:
        content = tomllib.loads(text)
    except RecursionError as error:
        raise _too_deep(path) from error
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        number = int(found.group(1)) if found else text.count("\n") + 1
        lines = text.splitlines()
        shown = lines[number - 1].strip() if number <= len(lines) else ""
        key, assigned, _ = shown.partition("=")
        where = f"line {number}, key '{key.strip()}'" if assigned else f"line {number}" if shown else "end of the file"
        raise UsageError(f"{path}, {where}: not TOML: {error}{f': {shown!r}' if shown else ''}.") from error
    try:
        read: Any = msgspec.convert(content, _Content)
    except RecursionError as error:
        raise _too_deep(path) from error
    except msgspec.ValidationError as error:
        raise _explain(path, text, content, str(error)) from error
    for name in ("models", "data"):
        if not getattr(read, name):
            raise UsageError(f"{path} names no {name}.", hint=f'Write: {name} = ["..."]')
    settings = read.settings or {}
    variants = [_dotted(variant) for variant in (settings if isinstance(settings, list) else [settings])]
    budget = [] if read.budget is None else read.budget
    given = {name: getattr(read, name) for name in KEYS if name in content and name in Request.__dataclass_fields__}
    return Suite(
        path=path,
        request=Request(**given | {"budget": None, "settings": variants[0]}),
        budgets=[budget] if isinstance(budget, str) else budget,
        variants=variants,
        expected=read.expected or [],
        title=read.title,
        listed=read.models,
    )


def changed(suite: Suite, **values: Any) -> Suite:
    """Return a suite with other values for fields of it or of its request.

    Where this changes the scores, nothing is expected of it.
    """
    harmless = {"models", "data", "seeds", "baselines", "device", "images", "store"}
    expected = suite.expected if set(values) <= harmless else ()
    own = {name: value for name, value in values.items() if name in Suite.__dataclass_fields__}
    options = {name: value for name, value in values.items() if name not in own}
    return replace(suite, **{"request": replace(suite.request, **options), "expected": expected, **own})


def place_of_setting(suite: Suite, message: str) -> str:
    """Return the path of a suite, with the line of the setting that an error names (`--set NAME`, `NAME=VALUE`).

    The line is left out where the command line states the setting, and where several tables do.
    """
    named = re.match(r"--set ([^\s:=]+)|([^\s:=]+)=", message)
    name = (named.group(1) or named.group(2)) if named else ""
    path = suite.path
    try:
        lines = regular_file(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):  # changed since it was read
        return str(path)
    found, prefix = [], None
    for number, line in enumerate(lines, start=1):
        if heading := re.match(r"\s*\[{1,2}([^\]]+)\]", line):
            table = heading.group(1).replace('"', "").replace("'", "").strip()
            prefix = table.removeprefix("settings").lstrip(".") if table.partition(".")[0] == "settings" else None
        elif prefix is not None and (assigned := re.match(r"\s*([^=#]+?)\s*=", line)):
            key = assigned.group(1).replace('"', "").replace("'", "")
            found += [number] if ".".join(filter(None, (prefix, key))) == name else []
    return f"{path}, line {found[0]}" if len(found) == 1 and name not in suite.overridden else str(path)


def _dotted(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a table's values by dotted name: `data.snr = 30` is a table inside of one to TOML."""
    values: dict[str, Any] = {}
    for name, value in table.items():
        values |= _dotted(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return values


def _too_deep(path: Path) -> UsageError:
    return UsageError(f"{path}: its arrays or tables are nested too deeply.", hint="A suite needs three levels.")


def _explain(path: Path, text: str, content: Mapping[str, Any], message: str) -> UsageError:
    """Return the error for what msgspec has refused, with line, key, the allowed values and the nearest key."""
    inside = re.search(r"\$\.expected\[(\d+)\]", message)
    index = int(inside.group(1)) if inside else 0
    table, keys, values = ("", {name: kind for name, (kind, _) in _FILE.items()}, content)
    if inside and isinstance(content["expected"], list) and isinstance(content["expected"][index], dict):
        table, keys, values = "expected", get_type_hints(Expected), content["expected"][index]
    unknown, missing = re.search(r"unknown field `(.*?)`", message), re.search(r"required field `(.*?)`", message)
    found = re.search(r"\$\.(?:expected\[\d+\]\.)?(\w+)", message)
    name = unknown.group(1) if unknown else "expected" if missing or not found else found.group(1)
    line = _line_of(text, "" if missing else name, table=table, index=index)
    where = f"{path}, line {line}, key '{name}'"
    if unknown:
        known = ", ".join(keys)
        return UsageError(f"{where} is not a key of a suite.{nearest(name, keys)}", hint=f"Known: {known}")
    if missing:
        return UsageError(f"{where}: '{missing.group(1)}' is missing.")
    if name not in keys:
        return UsageError(f"{where}: {message}.")
    return UsageError(f"{where}: {values[name]!r} must be {_WORDS.get(keys[name], 'of another type')}.")


def _line_of(text: str, key: str, *, table: str = "", index: int = 0) -> int:
    """Return the line of a key, or of the table's header where the key is not found in it.

    Args:
        text: Text of the file.
        key: Last part of the key.
        table: The table that it stands in; "" for the top of the file, where a table is a key too.
        index: Number of the table among those of this name.
    """
    current, seen, header = "", -1, 1
    for number, line in enumerate(text.splitlines(), start=1):
        heading = re.match(r"\s*\[{1,2}\s*\"?([^\]\"]+?)\"?\s*\]", line)
        if heading:
            current = heading.group(1)
            seen += current == table
            if not table and current.partition(".")[0] == key:
                return number
            if current == table and seen == index:
                header = number
        elif (current == table and (not table or seen == index)) and re.match(
            rf"\s*[\"']?{re.escape(key)}[\"']?\s*[.=]", line
        ):
            return number
    return header
