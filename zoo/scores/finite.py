"""Check that logits are finite; the error names the first image with other logits."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from zoo.errors import TrainingError
from zoo.plurals import counted


def not_finite(logits: Tensor, image: Callable[[int], str]) -> str:
    """Return in words which logits are not finite numbers, or "".

    Args:
        logits: [N, K].
        image: Function from a row to the name of its image.
    """
    bad = (~logits.isfinite().all(1)).nonzero().flatten().tolist()
    if not bad:
        return ""
    values = ", ".join(f"{value:g}" for value in logits[bad[0]].tolist())
    share = f"{len(bad)} of {counted(len(logits), 'image')}"
    return f"the logits of {share} are not finite; the first is image {image(bad[0])}: {values}"


def require_finite(logits: Tensor, image: Callable[[int], str], *, when: str, hint: str = "") -> None:
    """Check that every logit is a finite number: areas and intervals of others look like scores and mean nothing.

    Args:
        logits: [N, K].
        image: Function from a row to the name of its image.
        when: Images and time for the message, such as "Test images after the training".
        hint: Next step for the reader.

    Raises:
        TrainingError: Logits are not finite; the error states the first image, its logits, and the number of images.
    """
    if words := not_finite(logits, image):
        raise TrainingError(f"{when}: {words}.", hint=hint)
