"""Outcome of a comparison of two variants, and its sentence for readers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["higher", "trainings differ", "trainings alike", "too few trainings", "too few images", "none found"]
"""Outcome of a comparison.

"higher": the first network is better, beyond chance. "trainings differ" and "trainings alike": a network has a single
training, so trainings are compared and not the networks; of the other network the mean, where it has several. "too few
trainings" and "too few images": nothing was found, and a difference that matters would not have been found. "none
found": nothing was found, and it would have been.
"""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A pair of variants on the same test images.

    Args:
        first, second: Their names; the first has the higher area.
        score: "macro", for the score that ranks networks, or another score, such as a class for its area.
        label: Name of the score for readers, such as "macro AUC".
        difference: Difference of the scores, averaged over seeds; first less second.
        low, high: 95 % interval of the difference, not corrected; over images and the trainings of a variant that has
            several.
        p: Two-sided p value of the networks; None where a variant has one seed.
        corrected: P after Holm, over all pairs of the table; None where a variant has one seed.
        verdict: Outcome.
        detectable: Difference that would be found four times in five, corrected for all pairs of the table.
        seeds: Numbers of seeds of first and second.
        better: Direction of a plugin's metric, by which the first network is the better one; None for areas.
        corrected_away: Whether the interval excludes 0, but not beyond chance in a table of as many pairs.
        over: What the interval is over: "images" or "groups of images".
    """

    first: str
    second: str
    score: str
    label: str
    difference: float
    low: float
    high: float
    p: float | None
    corrected: float | None
    verdict: Verdict
    detectable: float
    seeds: tuple[int, int]
    better: Literal["higher", "lower"] | None = None
    corrected_away: bool = False
    over: str = "images"

    @property
    def found(self) -> bool:
        """Whether there is a difference beyond chance, of the networks or, with one seed, of the trainings."""
        return self.verdict in ("higher", "trainings differ")

    @property
    def one_and_several(self) -> bool:
        """Whether a single training is compared with the mean of several."""
        return min(self.seeds) == 1 < max(self.seeds)

    @property
    def chance(self) -> str:
        """The corrected p value as a text; "" where the networks are not compared."""
        if self.corrected is None:
            return ""
        return "< 0.001" if self.corrected < 0.001 else f"= {self.corrected:.3f}"

    def in_words(self) -> str:
        """Return a sentence for a reader."""
        direction, side = ("lower", "below") if self.better == "lower" else ("higher", "above")
        over = f" over {self.over}" if self.corrected is None else ""
        over += f" and {max(self.seeds)} trainings" if self.one_and_several else ""
        numbers = f"{self.difference:+.4f}, 95 %{over} {self.low:+.4f} to {self.high:+.4f}"
        numbers += f", corrected p {self.chance}" if self.chance else ""
        numbers += "; not beyond chance, corrected for all pairs of the table" if self.corrected_away else ""
        if self.verdict.startswith("too few"):
            numbers += f"; a difference below {self.detectable:.4f} would often be missed"
        first, second = self.first, self.second
        sentences = _SENTENCES
        if self.one_and_several:
            first, second = (
                f"{name} ({'one training' if count == 1 else f'mean of {count}'})"
                for name, count in zip((first, second), self.seeds, strict=True)
            )
            sentences = _ONE_AND_SEVERAL
        sentence = sentences[self.verdict].format(
            first=first, second=second, what=self.label, direction=direction, side=side
        )
        return f"{sentence}: {numbers}"


_SENTENCES: dict[Verdict, str] = {
    "higher": "{first} has a {direction} {what} than {second}",
    "trainings differ": "Two trainings differ in {what}, {first} {side} {second}; one training does not rank a network",
    "trainings alike": "{first} and {second} cannot be told apart in {what} by single trainings",
    "too few trainings": "Too few trainings to tell {first} and {second} apart in {what}",
    "too few images": "Too few test images to tell {first} and {second} apart in {what}",
    "none found": "No difference found in {what} between {first} and {second}",
}
_ONE_AND_SEVERAL: dict[Verdict, str] = {
    "trainings differ": "{first} {side} {second} in {what}; one training does not rank a network",
    "trainings alike": "{first} and {second} cannot be told apart in {what}",
}
"""Sentences on a single training and the mean of several."""
