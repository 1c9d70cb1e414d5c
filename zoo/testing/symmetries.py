"""Checks of the symmetry that a model declares: measured under its group, exact or approximate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.testing.networks import Case, ModelSubject
from zoo.testing.outcome import NotApplicable, case, require

if TYPE_CHECKING:
    from torch import nn

LARGEST_APPROXIMATE = 0.7
"""Largest error of an approximate symmetry, where pixels move onto pixels; of c5 and the like, at its angles."""
SMOOTH_IMAGES = 8


def equivariance_before_training(subject: ModelSubject) -> str | None:
    """An untrained network keeps the declared symmetry: exact to rounding, approximate within 0.7."""
    found = []
    for one in subject.accepted():
        try:
            network = subject.build(one)
        except Exception:
            raise NotApplicable("it cannot be built, see the check 'builds'") from None
        with case(str(one)):
            found.append(require_equivariance(subject, network, one))
    measured = [errors for errors in found if errors]
    if not measured:
        return None
    on_pixels, between = (max(errors) for errors in zip(*measured, strict=True))
    angles = f", {between:.1e} at other angles" if between else ""
    return f"Declared approximate; measured error {on_pixels:.1e} where pixels move onto pixels{angles}."


def equivariance_after_step(subject: ModelSubject) -> None:
    """A network keeps the declared symmetry after a training step, too."""
    for one, network, _ in subject.each():
        require_equivariance(subject, network, one)


def require_equivariance(subject: ModelSubject, network: nn.Module, one: Case) -> tuple[float, float] | None:
    """Measure a network under its declared group: on noise where it is exact, else on smooth images.

    Returns:
        errors of a symmetry that is declared approximate: where pixels move onto pixels, and at the group's other
        angles, 0 without any; None of an exact one.

    Raises:
        NotApplicable: No symmetry is declared, or nothing can be measured.
        ConformanceError: The network is not invariant.
    """
    from zoo.models.classifier import Classifier
    from zoo.scores.equivariance import blob_images, declared_symmetry, measure_equivariance

    group, kind = declared_symmetry(subject.spec, network)
    if kind is None:
        raise NotApplicable("no symmetry is declared" if group is None else "its group is stated without equivariance")
    require(group is not None, f"It is declared {kind}, but no group is.", hint='State it: group="c8"')
    shape = one.shape
    images = subject.images(one) if kind == "exact" else blob_images(SMOOTH_IMAGES, shape.channels, shape.size)
    measured = measure_equivariance(Classifier(network, channels=shape.channels), images, group, angles_degrees=())
    on_pixels, between = measured.declared, measured.rotations
    if on_pixels is None or on_pixels.error is None:
        raise NotApplicable("its predictions are the same for all images")
    if kind == "exact":
        require(
            on_pixels.error <= subject.tolerance,
            f"It is declared exact under {group}, and has a measured error of {on_pixels.error:.1e}.",
            hint='Mend the layer that zoo equivariance shows, or declare equivariance="approximate".',
        )
        return None
    errors = on_pixels.error, (between and between.error) or 0.0
    decisive = errors[0] if on_pixels.elements > 1 else errors[1]
    require(
        decisive <= LARGEST_APPROXIMATE,
        f"It is declared approximate under {group}, and has a measured error of {decisive:.1e}, more than "
        f"{LARGEST_APPROXIMATE}; answers without any relation have 1.4.",
        hint="Mend the layer that zoo equivariance shows, or leave out equivariance=.",
    )
    return errors
