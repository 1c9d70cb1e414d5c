"""Answers of `zoo predict` as lines of a table, CSV or JSON, printed one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.cli.context import echo
from zoo.escaping import csv_line, visible

if TYPE_CHECKING:
    from zoo.inference.answer import Prediction
    from zoo.inference.read import Skipped
    from zoo.models.about import About

_INTERVALS, _INTERVAL = ("68 %", "95 %"), len("0.012345 to 0.012345")
Show = Callable[["Prediction | Skipped"], None]


SHARE, CLOSER = "share_of_validation_below", "share_of_validation_closer"


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Numbers of an answer.

    Args:
        names: Their names: classes, or "score" and the share of validation images below it, or truths and the ends of
            their intervals.
        classes: Whether they are probabilities of classes, of which the highest is named.
        calibrated: Whether these probabilities are calibrated.
        detects: Whether the weights have a detector of images unlike the training images.
        truths: Names of the truths that are estimated, whose value and ends of intervals `names` holds.
    """

    names: tuple[str, ...]
    classes: bool
    calibrated: bool = False
    detects: bool = False
    truths: tuple[str, ...] = ()

    def numbers(self, row: dict[str, Any]) -> list[float]:
        """Return the numbers of an answer in this order."""
        values = row["probabilities"] if self.classes else row
        return [values[name] for name in self.names]


def columns_of(about: About, *, detects: bool = False) -> Columns:
    """Return what the answers of some weights hold."""
    if about.outputs is None:
        calibrated = about.temperature is not None
        return Columns(names=about.classes, classes=True, calibrated=calibrated, detects=detects)
    if about.targets:
        from zoo.inference.estimates import estimate_names

        truths = tuple(target.name for target in about.targets)
        return Columns(names=estimate_names(about.targets), classes=False, truths=truths)
    scores = ("score",) if about.outputs == 1 else tuple(f"output_{k}" for k in range(about.outputs))
    return Columns(names=(*scores, *([SHARE] if about.reference and about.outputs == 1 else [])), classes=False)


def _row(item: Prediction | Skipped, columns: Columns) -> dict[str, Any]:
    from zoo.inference.answer import NONE_OF_THESE
    from zoo.inference.read import Skipped
    from zoo.scores.unlike import UNLIKE

    if isinstance(item, Skipped):
        return {"image": item.name, "error": item.reason}
    notes = [*item.notes, *(["pixels far outside the training images"] if item.unusual else [])]
    notes += [f"darkest corner {item.corner:.2g} times the noise"] if item.with_sky else []
    rest = {"peak": item.peak, "noise": item.noise, "notes": notes}
    answers = item.estimates or item.probabilities
    numbers = {name: float(value) for name, value in zip(columns.names, answers, strict=False)}
    if columns.classes:
        detected = {}
        if item.closer is not None:
            detected = {CLOSER: item.closer, "unlike_training_images": item.unlike}
        if item.unlike:
            notes.append(f"unlike the training images: more so than {UNLIKE:.1%} of the validation images")
        return {
            "image": item.name,
            "class": NONE_OF_THESE if item.unlike else columns.names[int(item.probabilities.argmax())],
            "probabilities": numbers,
            "calibrated": columns.calibrated,
            **detected,
            **rest,
        }
    if item.share_below is not None:
        numbers[SHARE] = item.share_below
    return {"image": item.name, **numbers, **rest}


@contextmanager
def as_table(columns: Columns) -> Iterator[Show]:
    """Print lines as they come: names stand last, so that no column needs all of them."""
    shown = [visible(name) for name in columns.names]
    if columns.truths:
        shown = [words for name in columns.truths for words in (visible(name), *_INTERVALS)]
    widths = [max(6, len(name)) for name in shown]
    if columns.truths:
        widths = [max(width, _INTERVAL if name in _INTERVALS else 0) for name, width in zip(shown, widths, strict=True)]
    heading = "  ".join(name.rjust(width) for name, width in zip(shown, widths, strict=True))
    echo(f"{heading}  {'class':{max(widths)}}  image" if columns.classes else f"{heading}  image")

    def show(item: Prediction | Skipped) -> None:
        row = _row(item, columns)
        if "error" in row:
            echo(f"left out: {row['image']}: {row['error']}", err=True)
            return
        form = ".4f" if columns.classes else ".5g"
        values = [f"{value:{form}}" for value in columns.numbers(row)]
        if columns.truths:  # a value and two intervals of each
            pairs = [values[at : at + 5] for at in range(0, len(values), 5)]
            values = [text for value, *ends in pairs for text in (value, " to ".join(ends[:2]), " to ".join(ends[2:]))]
        numbers = "  ".join(f"{value:>{width}}" for value, width in zip(values, widths, strict=True))
        notes = f"  ({'; '.join(row['notes'])})" if row["notes"] else ""
        best = f"{visible(row['class']):{max(widths)}}  " if columns.classes else ""
        echo(f"{numbers}  {best}{row['image']}{notes}")

    yield show


@contextmanager
def as_csv(columns: Columns) -> Iterator[Show]:
    def write(*values: str) -> None:
        echo(csv_line(values), nl=False)

    own = ["class", *(f"p_{name}" for name in columns.names)] if columns.classes else list(columns.names)
    stated = [*([CLOSER] if columns.detects else []), *(["calibrated"] if columns.classes else [])]
    write("image", *own, "peak", "noise", "notes", "error", *stated)

    def show(item: Prediction | Skipped) -> None:
        row = _row(item, columns)
        if "error" in row:
            write(row["image"], *[""] * (len(own) + 3), row["error"], *("" for _ in stated))
            return
        form = ".6f" if columns.classes else ".8g"
        numbers = [*([row["class"]] if columns.classes else []), *(f"{value:{form}}" for value in columns.numbers(row))]
        peak_and_noise = [f"{row['peak']:.6g}", f"{row['noise']:.6g}"]
        closer = [f"{row[CLOSER]:.6g}"] if columns.detects else []
        calibrated = ["yes" if columns.calibrated else "no"] if columns.classes else []
        write(row["image"], *numbers, *peak_and_noise, "; ".join(row["notes"]), "", *closer, *calibrated)

    yield show


@contextmanager
def as_json(columns: Columns) -> Iterator[Show]:
    """Print one list, entry by entry."""
    begun = False

    def show(item: Prediction | Skipped) -> None:
        nonlocal begun
        echo(("," if begun else "[") + "\n  " + json.dumps(_row(item, columns)), nl=False)
        begun = True

    yield show
    echo("\n]" if begun else "[]")
