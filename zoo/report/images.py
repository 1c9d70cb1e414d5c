"""Training images, mistakes and largest errors of a problem, for the template of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from numpy.typing import NDArray

from zoo.data.truth import Arrays
from zoo.errors import DataError
from zoo.paths import parse_json
from zoo.report.figures import words
from zoo.report.thumbnails import data_address, residual_address
from zoo.results.comparison import Variant
from zoo.results.files import read_file
from zoo.results.store import EXAMPLES, MISTAKES
from zoo.scores.distributions import form_of


def examples(variants: Sequence[Variant]) -> list[dict[str, Any]]:
    """Return a few training images of each class, of the first run that has them."""
    for result in [result for variant in variants for result in variant.results]:
        try:
            arrays, metadata = read_file(result, EXAMPLES)
            return [
                {
                    "name": words(name),
                    "images": [data_address(image[0]) for image in arrays["images"][arrays["labels"] == k]],
                }
                for k, name in enumerate(parse_json(metadata["classes"]))
                if (arrays["labels"] == k).any()
            ]
        except (DataError, KeyError, ValueError):
            continue
    return []


def mistakes(best: Variant) -> list[dict[str, Any]]:
    """Return the test images whose true class the best network gave the lowest probability.

    Of a task with one number for an image: the images with the highest numbers.
    """
    try:
        arrays, metadata = read_file(best.results[0], MISTAKES)
        classes, ids = parse_json(metadata["classes"]), parse_json(metadata["ids"])
        shown = partial(_shown, arrays, classes, ids)
        if "truth" in arrays:
            return [shown(index, verdict) for index, verdict in enumerate(_errors_in_words(arrays))]
        if "predictions" in arrays:
            scores = arrays["predictions"].reshape(len(ids), -1)[:, 0]
            return [shown(index, f"score {scores[index]:.4g}", maps=_maps(arrays, index)) for index in range(len(ids))]
        order = arrays["probabilities"][range(len(ids)), arrays["labels"]].argsort()
        found = []
        for index in order:
            truth, guess = arrays["labels"][index], arrays["probabilities"][index].argmax()
            verdict = "correct" if truth == guess else f"classified as {words(classes[guess])}"
            found.append(shown(index, verdict, given=_percent(arrays["probabilities"][index][truth])))
        return found
    except (DataError, KeyError, ValueError, IndexError):
        return []


def _maps(arrays: Mapping[str, NDArray[Any]], index: int) -> list[tuple[str, str]]:
    """Return name and source of the reconstruction of an image and of its residual, of the first channel."""
    if not {"reconstructions", "residuals"} <= arrays.keys():
        return []
    return [
        ("reconstruction", data_address(arrays["reconstructions"][index][0])),
        ("residual over noise, -5 to 5", residual_address(arrays["residuals"][index][0])),
    ]


def _shown(
    arrays: Arrays,
    classes: Sequence[str],
    ids: Sequence[str],
    index: int,
    verdict: str,
    *,
    given: str = "",
    maps: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Return a test image for the page, with what the network answered."""
    return {
        "image": data_address(arrays["images"][index][0]),
        "truth": words(classes[arrays["labels"][index]]),
        "verdict": verdict,
        "given": given,
        "id": ids[index],
        "maps": maps,
    }


def _errors_in_words(arrays: Arrays) -> list[str]:
    """Return truth and estimate of the first target of each test image of a regression."""
    each = arrays["predictions"].reshape(*arrays["truth"].shape, -1)
    middle = form_of(each.shape[2]).middle(each)[:, 0]
    return [f"true {true[0]:.4g}, estimated {found:.4g}" for true, found in zip(arrays["truth"], middle, strict=True)]


def _percent(share: float) -> str:
    """Return a share with as many digits as it deserves: 12 %, 0.3 %, below 0.01 %."""
    if share < 1e-4:
        return "below 0.01 %"
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.1g} %"
