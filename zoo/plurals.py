"""A number with its noun: "1 image", "2,048 images"."""

from __future__ import annotations

_IRREGULAR = {
    "class": "classes",
    "process": "processes",
    "mass": "masses",
    "loss": "losses",
    "entry": "entries",
    "galaxy": "galaxies",
    "pass": "passes",
    "lens": "lenses",
}


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, which is singular for 1 only.

    Args:
        number: Whole number; thousands are separated by commas.
        noun: Singular of the noun, with its adjectives: "image", "GPU", "parallel process".
    """
    return f"{number:,} {noun if number == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """Return the plural of a noun with its adjectives, of which the last word changes."""
    before, blank, last = noun.rpartition(" ")
    return f"{before}{blank}{_IRREGULAR.get(last, f'{last}s')}"
