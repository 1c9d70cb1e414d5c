"""Measures how far a classifier is from invariant: under pixel symmetries, and at angles in between."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.base_spec import GROUP_PATTERN, GROUPS
from zoo.data.rotation import rotate_smooth, transform_d4
from zoo.devices import in_float32
from zoo.errors import UsageError
from zoo.models.in_parts import forward_in_parts
from zoo.scores.finite import require_finite
from zoo.scores.schema import Change, Invariance, Rotation, Rotations
from zoo.specs import ModelSpec

SQUARE = tuple(range(8))
"""Symmetries of the square, d4: the group that every network is measured under; the first is the identity."""
SHOWN_ANGLES_DEGREES = (17.0, 45.0)
"""Rotations that every network is measured at, whatever its group."""
# Multiples of 90 degrees are measured without interpolation; these lie between, and differ modulo 90 degrees.
FREE_ANGLES_DEGREES = (15.0, 35.0, 55.0, 70.0, 110.0, 145.0, 200.0, 310.0)
FIRST_STEP_DEGREES = 23.0
"""First of the two steps whose difference from one step is the floor; not one of the angles."""
ROTATED_IMAGES = 16
LEAST_SPREAD = 1e-6
"""Spread of the logits over the images, relative to the largest logit, below which it is rounding."""
_BLUR_PIXELS = 1.5
Logits = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Symmetries:
    """The elements of a group under which a network is measured.

    Args:
        exact: Elements of `zoo.data.rotation.transform_d4`, which move pixels onto pixels; the first is the identity.
        angles_degrees: Rotations that need interpolation; empty if the group has none.
        mirrors: Whether the rotations are also tried after a mirror.
    """

    exact: tuple[int, ...]
    angles_degrees: tuple[float, ...] = ()
    mirrors: bool = False


def symmetries(group: str | None) -> Symmetries:
    """Return what there is to measure of a group.

    Args:
        group: "p4", "p4m", "c8", "d8", "so2", "o2", ...; None means all symmetries of the square.

    Raises:
        UsageError: The group is unknown.
    """
    match = GROUP_PATTERN.fullmatch(group or "p4m")
    if match is None:
        raise UsageError(f"The symmetry group '{group}' is unknown.", hint=f"Known are {GROUPS}")
    if group == "p4":
        return Symmetries(exact=(0, 1, 2, 3))
    if group in ("so2", "o2"):
        mirrors = group == "o2"
        return Symmetries(tuple(range(8 if mirrors else 4)), FREE_ANGLES_DEGREES, mirrors)
    if match[1] is None:
        return Symmetries(exact=tuple(range(8)))
    mirrors, order = match[1] == "d", int(match[2])
    quarters = tuple(quarter for quarter in range(4) if quarter * order % 4 == 0)
    angles = tuple(360 * k / order for k in range(order) if 4 * k % order)
    return Symmetries(quarters + (tuple(4 + q for q in quarters) if mirrors else ()), angles, mirrors)


def declared_symmetry(spec: ModelSpec, network: nn.Module) -> tuple[str | None, str | None]:
    """Return the declared symmetry group of a network and its quality: "exact", "approximate" or None.

    Hyper-parameters may decide either, such as the order of a group or a head that forgets nothing; such a network has
    the attributes `symmetry_group` and `equivariance`; for all others the spec declares both.
    """
    return (
        getattr(network, "symmetry_group", spec.group),
        getattr(network, "equivariance", spec.equivariance),
    )


@torch.inference_mode()
@in_float32()
def measure_equivariance(
    classifier: nn.Module,
    images: Tensor,
    group: str | None,
    *,
    when: str = "Images for the equivariance error",
    name: Callable[[int], str] = str,
    classes: bool = True,
    angles_degrees: Sequence[float] = SHOWN_ANGLES_DEGREES,
) -> Invariance:
    """Return how far a network's answers are from invariant: under d4, under its own group, and at some other angles.

    Softmax ignores a constant that is added to all logits of an image, so the logits are centred: their mean over the
    classes is subtracted. The scale is their spread, the standard deviation over the images, which a constant of one
    class does not change either. An error of 0 is an invariant network; one whose answers for an image and for the
    turned image are unrelated has the error 1.4.

    Args:
        classifier: Classifier in float32.
        images: [n, C, H, W], square, n of 2 or more.
        group: Symmetry group of the model, as for `symmetries`; None if it has none.
        when: Images and time for the message of an error.
        name: Function from a row to the name of its image.
        classes: Whether the answers are logits of classes. Those of a regression have units of their own: each column
            is divided by its spread over the images, and none is subtracted from another.
        angles_degrees: Angles of any network, beside those of its group.

    Raises:
        TrainingError: A logit is not finite.
    """

    def answers(of: Tensor) -> Tensor:
        found = forward_in_parts(classifier, of).double().cpu()
        require_finite(found, name, when=when)
        return found

    classifier.eval()
    logits = answers if classes else _in_units_of_spread(answers, answers(images))
    reference = logits(images)
    scale = _scale(reference)
    squares, flipped = {}, {}
    for element in SQUARE[1:]:
        changed = logits(transform_d4(images, element))
        squares[element] = _mean_square(changed - reference)
        flipped[element] = changed.argmax(1) != reference.argmax(1)
    has_classes = reference.shape[1] > 1

    def change(elements: tuple[int, ...]) -> Change:
        if scale is None:
            return Change(error=None, flips=None, elements=len(elements))
        some = [flipped[element] for element in elements[1:]]
        return Change(
            error=_over([squares[element] for element in elements[1:]], scale) if some else 0.0,
            flips=(float(torch.stack(some).any(0).double().mean()) if some else 0.0) if has_classes else None,
            elements=len(elements),
        )

    found = symmetries(group)
    smooth = smooth_disc(images[:ROTATED_IMAGES])
    smooth_reference = logits(smooth)
    return Invariance(
        square=change(SQUARE),
        declared=change(found.exact) if group else None,
        angles={f"{angle:g}": _rotation(logits, smooth, smooth_reference, angle=angle) for angle in angles_degrees},
        rotations=_rotations(logits, smooth, smooth_reference, found) if found.angles_degrees else None,
    )


def _in_units_of_spread(answers: Logits, reference: Tensor) -> Logits:
    """Return a regression's answers as single numbers [n K, 1]: each column less its mean, over its spread; or 0."""
    spread = reference.std(0, correction=0)
    unit = torch.where(spread > LEAST_SPREAD * reference.abs().max(0).values, spread, torch.inf)
    return lambda of: ((answers(of) - reference.mean(0)) / unit).reshape(-1, 1)


def _scale(logits: Tensor) -> float | None:
    """Return the spread of the centred logits over the images; None where the answer does not depend on the image."""
    centred = _centred(logits)
    spread = math.sqrt(float(centred.var(0, correction=0).mean()))
    return spread if spread > LEAST_SPREAD * float(logits.abs().max()) else None


def _mean_square(difference: Tensor) -> float:
    """Return the mean square of a difference of logits [n, K] once its mean over the classes is subtracted."""
    return float(_centred(difference).square().mean())


def _centred(logits: Tensor) -> Tensor:
    """Return logits [n, K] less their mean over the classes; a single number of an image is not a logit, and stays."""
    return logits - logits.mean(1, keepdim=True) if logits.shape[1] > 1 else logits


def _over(squares: Sequence[float], scale: float) -> float:
    return math.sqrt(sum(squares) / len(squares)) / scale


def _rotation(logits: Logits, smooth: Tensor, reference: Tensor, *, angle: float) -> Rotation:
    """Return error, floor and flips at one angle, for smooth images and the logits of these."""
    found = _rotations(logits, smooth, reference, Symmetries(exact=(), angles_degrees=(angle,)))
    return Rotation(error=found.error, floor=found.floor, flips=found.flips)


def _rotations(logits: Logits, smooth: Tensor, reference: Tensor, found: Symmetries) -> Rotations:
    """Return how far the answers are from invariant at angles that need interpolation.

    Interpolation changes an image, and so the logits of a perfectly invariant network, too. To keep this small, images
    are smoothed first and cut to a disc, so that corners do not leave the frame. The remaining error is measured: each
    image is rotated in one step and in two. An error near the floor is due to interpolation alone. (A rotation and its
    inverse would not show this error, because their shears cancel.)

    Args:
        logits: Function from images to their logits.
        smooth: Images from `smooth_disc`.
        reference: Their logits.
        found: Angles to measure at.

    Returns:
        Errors as in `measure_equivariance`; `floor` is the same for one step and two.
    """
    scale = _scale(reference)
    squares, floors, flips = [], [], []
    for angle in found.angles_degrees:
        for mirror in (False, True) if found.mirrors else (False,):
            changed = logits(rotate_smooth(smooth.flip(-1) if mirror else smooth, -angle))
            squares.append(_mean_square(changed - reference))
            flips.append(float((changed.argmax(1) != reference.argmax(1)).double().mean()))
            if not mirror:
                in_two_steps = rotate_smooth(rotate_smooth(smooth, -FIRST_STEP_DEGREES), FIRST_STEP_DEGREES - angle)
                floors.append(_mean_square(logits(in_two_steps) - changed))
    return Rotations(
        error=None if scale is None else _over(squares, scale),
        floor=None if scale is None else _over(floors, scale),
        flips=None if scale is None or reference.shape[1] == 1 else sum(flips) / len(flips),
        angles_degrees=found.angles_degrees,
        mirrors=found.mirrors,
    )


def smooth_disc(images: Tensor) -> Tensor:
    """Return square images [N, C, H, W] that interpolation hardly changes: blurred, and cut to the inscribed disc.

    The mean at the rim is taken off, so that the disc ends without an edge in the zeros that rotation fills in.
    """
    size = images.shape[-1]
    channels = images.shape[1]
    reach = min(math.ceil(3 * _BLUR_PIXELS), (size - 1) // 2)
    x = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    window = (-(x**2) / (2 * _BLUR_PIXELS**2)).exp()
    window = window / window.sum()
    padded = F.pad(images, (reach,) * 4, mode="reflect")
    kernel = torch.outer(window, window).expand(channels, 1, -1, -1)
    blurred = F.conv2d(padded, kernel, groups=channels)
    line = torch.linspace(-1, 1, size, dtype=images.dtype, device=images.device) * (size - 1) / size
    radius = (line[:, None] ** 2 + line**2).sqrt()
    # 1 up to 0.7 of the radius, then a cosine to 0 at 0.95.
    inside = 0.5 + 0.5 * (((radius - 0.7) / 0.25).clamp(0, 1) * math.pi).cos()
    rim = ((radius > 0.85) & (radius < 1)).to(images)
    # Rotation fills with zeros, so the value outside must be zero.
    level = (blurred * rim).sum((-2, -1), keepdim=True) / rim.sum()
    return (blurred - level) * inside


def blob_images(count: int, channels: int, size: int, *, seed: int = 0) -> Tensor:
    """Return smooth random images [count, channels, size, size], of mean 0 and deviation 1: blobs of some pixels."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, channels, max(4, size // 6), max(4, size // 6), generator=generator)
    images = F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False)
    return (images - images.mean()) / images.std()
