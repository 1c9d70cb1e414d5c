"""Text of the phases of a training, as `--set train.phases` and `DatasetSpec.budget_phases` have it.

A phase is written NAME=VALUE*EPOCHS, or NAME=VALUE NAME=VALUE*EPOCHS, or EPOCHS alone for images as validation and test
images are. Commas separate phases: "snr=U(10, 90)*3, snr=30*6".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from zoo.errors import UsageError
from zoo.plain_values import parse_value
from zoo.plurals import counted

NO_PHASES = ("", "none", None)
"""Values of `train.phases` that switch the phases of the budget off; an empty list does so, too."""
_EXAMPLE = "For example: --set 'train.phases=snr=U(10,90)*3, snr=30*6'"


class PhaseText(NamedTuple):
    """A phase as it is written.

    Args:
        epochs: Number of epochs.
        params: Value of each parameter that the phase names.
        pairs: Text of the parameters.
    """

    epochs: int
    params: Mapping[str, Any]
    pairs: str


def read_phases(value: Any, *, of: str) -> list[PhaseText]:
    """Return the phases in a text, or in a list of texts, one for each phase.

    Args:
        value: Text or list.
        of: Name of the setting or field for an error.

    Raises:
        UsageError: A phase cannot be read.
    """
    texts = [str(each) for each in value] if isinstance(value, (list, tuple)) else _split(str(value), ",")
    return [_read_phase(text.strip(), of=of) for text in texts]


def scale_phases(text: str, epochs: int) -> str:
    """Return the text of phases with another number of epochs in all, in the same proportions.

    The last phase keeps at least one epoch, the others share the rest by largest remainder, and phases without an epoch
    are left out.

    Args:
        text: Text of the phases.
        epochs: Number of epochs in all, 1 or more.
    """
    phases = read_phases(text, of="phases")
    weights = [phase.epochs for phase in phases]
    counts = _shares(weights, epochs)
    if not counts[-1]:
        counts = [*_shares(weights[:-1], epochs - 1), 1]
    return ", ".join(f"{phase.pairs}*{count}" for phase, count in zip(phases, counts, strict=True) if count)


def _shares(weights: list[int], total: int) -> list[int]:
    """Return whole numbers in proportion to the weights that add up to a total, by largest remainder."""
    counts = [weight * total // sum(weights) for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda index: -(weights[index] * total % sum(weights)))
    for index in by_remainder[: total - sum(counts)]:
        counts[index] += 1
    return counts


def _read_phase(text: str, *, of: str) -> PhaseText:
    """Return the phase that "NAME=VALUE NAME=VALUE*EPOCHS" describes."""
    if len(re.findall(r"[(\[]", text)) != len(re.findall(r"[)\]]", text)):
        raise UsageError(f"{of}: {text!r} has a bracket too many or too few.", hint=_EXAMPLE)
    given, _, count = text.rpartition("*")
    switched_off = of == "train.phases" and text.lower() in ("none", "null", "false", "off")
    hint = f"Without phases: --set {of}=none" if switched_off else _EXAMPLE
    if not re.fullmatch(r"\s*[1-9]\d{0,5}\s*", count):
        raise UsageError(f"{of}: {text!r} does not end with its number of epochs, such as *3.", hint=hint)
    params: dict[str, Any] = {}
    pairs = _split(re.sub(r"\s*=\s*", "=", given), " ")
    for pair in pairs:
        name, equals, of_name = pair.partition("=")
        if not equals or not name or not of_name:
            raise UsageError(f"{of}: {pair!r} is not of the form NAME=VALUE.", hint=_EXAMPLE)
        if name in params:
            raise UsageError(f"{of}: {name} is given twice for {counted(int(count), 'epoch')}.", hint=_EXAMPLE)
        params[name] = parse_value(of_name, of=f"{of}: {name}")
    return PhaseText(int(count), params, " ".join(pair.strip() for pair in pairs))


def _split(text: str, separator: str) -> list[str]:
    """Return the parts of a text between separators outside of brackets, without empty ones."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part for part in parts if part.strip()]
