"""Priors as short texts: "U(0.4, 0.6)", "Normal(0, 0.5)", "LogU(1e-24, 1e-22)", "Poisson(25)" or a number.

They stand in a spec's `params`, on the command line (`--set data.snr="U(10, 30)"`) and in the stored recipe.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zoo.errors import UsageError, nearest
from zoo.lensing.draws import Draws
from zoo.plurals import counted

_FORM = re.compile(r"\s*([A-Za-z]+)\s*\(([^()]*)\)\s*")
_ARGUMENTS = {"U": 2, "LogU": 2, "Normal": 2, "Poisson": 1}


@dataclass(frozen=True, kw_only=True)
class Prior:
    """A distribution of one number per image.

    Args:
        form: "Fixed", "U", "LogU", "Normal" or "Poisson".
        arguments: Numbers by kind of prior: value; low, high; low, high; mean, standard deviation; mean.
    """

    form: str
    arguments: tuple[float, ...]

    def __str__(self) -> str:
        """Return the text of the prior, such as "U(0,0.5)"."""
        return f"{self.form}({','.join(map(_shortest, self.arguments))})"

    def draw(self, draws: Draws, name: str, *, slots: int = 1) -> NDArray[np.float64]:
        """Return [n, slots] independent values of the quantity `name`."""
        first, last = self.arguments[0], self.arguments[-1]
        if self.form == "Fixed":
            return np.full((len(draws), slots), first)
        if self.form == "Normal":  # Box-Muller
            unit = draws.unit(name, slots=2 * slots)
            normal: NDArray[np.float64] = np.sqrt(-2 * np.log(unit[:, ::2])) * np.cos(2 * np.pi * unit[:, 1::2])
            return first + last * normal
        unit = draws.unit(name, slots=slots)
        if self.form == "U":
            return first + (last - first) * unit
        if self.form == "LogU":
            return np.exp(math.log(first) + (math.log(last) - math.log(first)) * unit)
        return np.searchsorted(_poisson_cumulative(first), unit).astype(np.float64)


def _poisson_cumulative(mean: float) -> NDArray[np.float64]:
    """Return P(N <= k) for k from 0 to far beyond any draw."""
    k = np.arange(int(mean + 12 * math.sqrt(mean) + 30))
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(k[1:]))])
    return np.cumsum(np.exp(k * math.log(mean) - mean - log_factorial))


def _shortest(number: float) -> str:
    """Return the shortest text of a number that is read as the same number."""
    return short if float(short := f"{number:g}") == number else repr(number)


def parse_prior(value: object, *, name: str) -> Prior:
    """Read a prior.

    Args:
        value: Number, or text such as "U(0, 1)"; "0:1" is short for "U(0, 1)".
        name: Name of the parameter, for the message.

    Raises:
        UsageError: The text is not a prior, or its arguments are impossible.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _checked("Fixed", (float(value),), name=name)
    text = str(value)
    try:
        numbers = tuple(float(part) for part in text.split(":"))
    except ValueError:
        numbers = ()
    if len(numbers) in (1, 2):
        return _checked("Fixed" if len(numbers) == 1 else "U", numbers, name=name)
    match = _FORM.fullmatch(text)
    forms = ", ".join(f"{form}({'a, b' if count == 2 else 'a'})" for form, count in _ARGUMENTS.items())
    if match is None:
        raise UsageError(f"{name}={text!r} is not a number or a prior.", hint=f"Priors are: {forms}, or low:high.")
    form = {known.lower(): known for known in _ARGUMENTS}.get(match[1].lower())
    if form is None:
        raise UsageError(
            f"{name}={text!r}: unknown prior {match[1]!r}.{nearest(match[1], _ARGUMENTS)}",
            hint=f"Priors are: {forms}.",
        )
    try:
        numbers = tuple(float(part) for part in match[2].split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != _ARGUMENTS[form]:
        takes = counted(_ARGUMENTS[form], "number")
        raise UsageError(f"{name}={text!r}: {form} takes {takes}.", hint=f"Priors are: {forms}.")
    return _checked(form, numbers, name=name)


def _checked(form: str, arguments: tuple[float, ...], *, name: str) -> Prior:
    wrong = ""
    if not all(math.isfinite(number) for number in arguments):
        wrong = "must be finite"
    elif form in ("U", "LogU") and arguments[0] > arguments[1]:
        wrong = "has its lower end above its upper end"
    elif form == "LogU" and arguments[0] <= 0:
        wrong = "must be positive"
    elif form == "Normal" and arguments[1] < 0:
        wrong = "has a negative width"
    elif form == "Poisson" and not 0 < arguments[0] <= 10_000:
        wrong = "needs a mean above 0 and at most 10000"
    if wrong:
        raise UsageError(f"{name}: {form}({', '.join(f'{number:g}' for number in arguments)}) {wrong}.")
    return Prior(form=form, arguments=arguments)
