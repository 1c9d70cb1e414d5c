"""The answer for one image, and remarks on all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zoo.inference.read import Skipped
from zoo.models.pixels import FAR
from zoo.plurals import counted
from zoo.scores.unlike import UNLIKE

if TYPE_CHECKING:
    from zoo.models.trained import TrainedClassifier

NONE_OF_THESE = "none of these"
"""Class of an image that is unlike the training images."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The answer for one image.

    Args:
        name: Name of the image, as in `Picture`.
        probabilities: [K]; of a task other than classification, what the network answers.
        peak, noise: Brightest pixel and noise of the image as the network saw it.
        unusual: Whether one of them lies far outside the training images.
        corner: Level of its darkest corner over its noise, or over that of the least noisy training images if that is
            more; None where it was not measured.
        with_sky: Whether that is far from the level of the training images, as where a sky was not subtracted.
        scale_assumed: Whether the pixel scale of the training images was assumed, because no other was stated.
        scale_unused: Whether the image states a pixel scale and the training images have none.
        seen: Whether it was simulated as a training or validation image of the data set that the weights were trained
            on.
        resampled_from: Pixel scale in arcsec that the image was resampled from; None where it was not resampled.
        notes: Further remarks on the image.
        share_below: Share of the validation images with a lower answer, of a task with one number for an image.
        estimates: Values and intervals of the truths that the network estimates; see `zoo.inference.estimates`.
        closer: Share of the validation images that are closer to the training images; None for weights without a
            detector (`zoo.scores.unlike`).
    """

    name: str
    probabilities: NDArray[np.float32]
    peak: float
    noise: float
    unusual: bool
    scale_assumed: bool
    corner: float | None = None
    with_sky: bool = False
    scale_unused: bool = False
    seen: bool = False
    resampled_from: float | None = None
    notes: tuple[str, ...] = ()
    share_below: float | None = None
    estimates: tuple[float, ...] = ()
    closer: float | None = None

    @property
    def unlike(self) -> bool:
        """Whether the image is unlike the training images, so that none of the classes describes it."""
        return self.closer is not None and self.closer >= UNLIKE


class Summary:
    """Remarks that are printed once, after all answers.

    Args:
        trained: The classifier.
    """

    def __init__(self, trained: TrainedClassifier) -> None:
        self.trained = trained
        self.predicted = self.skipped = self.unusual = self.assumed = self.unlike = self.unchecked = 0
        self.unused = self.seen = 0
        self._scales: list[float] = []
        self._corners: list[float] = []
        self._peaks: list[float] = []
        self._noises: list[float] = []

    def add(self, item: Prediction | Skipped) -> None:
        """Take in one answer."""
        if isinstance(item, Skipped):
            self.skipped += 1
            return
        self.predicted += 1
        self.unusual += item.unusual
        self.unlike += item.unlike
        self.assumed += item.scale_assumed
        self.unused += item.scale_unused
        self.seen += item.seen
        self.unchecked += item.corner is None
        if item.resampled_from is not None:
            self._scales.append(item.resampled_from)
        if item.with_sky and item.corner is not None:
            self._corners.append(item.corner)
        if item.unusual:
            self._peaks.append(item.peak)
            self._noises.append(item.noise)

    def notes(self) -> list[str]:
        """Return what was done with pixel scales, and what could not be checked.

        Weights that do not state their sky have a note of their own, and none here.
        """
        about, lines = self.trained.about, []
        if self.unused:
            lines.append(
                f"the pixel scale of {self.unused:,} of {counted(self.predicted, 'image')} is stated, but not used, "
                "since these weights have none: images are cut or padded, not resampled. To use it, give the data set "
                f"{about.recipe.dataset} a parameter pixel_scale and train again"
            )
        if self._scales:
            low, high = (f"{scale:.4g}" for scale in (min(self._scales), max(self._scales)))
            lines.append(
                f"{counted(len(self._scales), 'image')} {'was' if len(self._scales) == 1 else 'were'} resampled from "
                f"{low if low == high else f'scales between {low} and {high}'} to {about.pixel_scale:.4g} arcsec per "
                "pixel"
            )
        if self.unchecked and about.pixels.corner is not None:
            lines.append(
                f"the sky of {self.unchecked:,} of {counted(self.predicted, 'image')} could not be checked: all "
                "corners are padding, or have equal pixels as where an image is masked or was rotated"
            )
        return lines

    def warnings(self) -> list[str]:
        """Return what a reader must know to judge the answers."""
        about = self.trained.about
        lines = []
        if self.seen:
            lines.append(
                f"{self.seen:,} of {counted(self.predicted, 'image')} {'was' if self.seen == 1 else 'were'} simulated "
                f"as training or validation images of {about.recipe.dataset}, and these weights may have been trained "
                "or chosen on them: the answers do not show how well other images are classified. zoo simulate "
                "--split test makes test images"
            )
        if self.assumed:
            lines.append(
                f"the pixel scale of {self.assumed:,} of {counted(self.predicted, 'image')} is not stated; that of the "
                f"training images, {about.pixel_scale:g} arcsec, is assumed (--pixel-scale overrides it)"
            )
        if self.unlike:
            lines.append(
                f"the class of {self.unlike:,} of {counted(self.predicted, 'image')} is given as '{NONE_OF_THESE}': "
                f"further from the training images than {UNLIKE:.1%} of the validation images"
            )
        if self._corners and about.pixels.corner is not None:
            low, _, high = about.pixels.corner
            brighter = [each for each in self._corners if each > high]
            darker = [each for each in self._corners if each < low]
            for found, side, advice in (
                (brighter, "above", "Subtract the sky and the light of the lens"),
                (darker, "below", "Too much sky is subtracted, or pixels are bad"),
            ):
                if found:
                    lines.append(
                        f"the darkest corner of {len(found):,} of {counted(self.predicted, 'image')} is far {side} "
                        "that of the training images, where its scores do not hold: median "
                        f"{np.median(found):.2g} times the noise of a pixel, in training {low:.2g} to {high:.2g}. "
                        f"{advice}"
                    )
        if self.unusual:
            low, middle, high = about.pixels.peak
            noise_low, noise_middle, noise_high = about.pixels.noise
            lines.append(
                f"the pixels of {self.unusual:,} of {counted(self.predicted, 'image')} are far (more than a factor of "
                f"{FAR:g}) outside those of the training images, where its scores do not hold: brightest pixel, median "
                f"{np.median(self._peaks):.3g}, in training {middle:.3g} ({low:.3g} to {high:.3g}); noise, median "
                f"{np.median(self._noises):.3g}, in training {noise_middle:.3g} ({noise_low:.3g} to {noise_high:.3g}). "
                "Check the unit: --factor F multiplies every pixel, --match-scale scales each image's peak"
            )
        return lines
