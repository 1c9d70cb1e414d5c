"""Training images, mistakes and largest errors of a problem, for the template of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        if "truth" in arrays:
            return _largest_errors(arrays, classes, ids)
        if "predictions" in arrays:
            return [
                {
                    "image": data_address(arrays["images"][index][0]),
                    "truth": words(classes[arrays["labels"][index]]),
                    "verdict": f"score {arrays['predictions'][index].ravel()[0]:.4g}",
                    "given": "",
                    "id": ids[index],
                    "maps": _maps(arrays, index),
                }
                for index in range(len(ids))
            ]
        order = arrays["probabilities"][range(len(ids)), arrays["labels"]].argsort()
        found = []
        for index in order:
            truth, guess = arrays["labels"][index], arrays["probabilities"][index].argmax()
            found.append(
                {
                    "image": data_address(arrays["images"][index][0]),
                    "truth": words(classes[truth]),
                    "verdict": "correct" if truth == guess else f"classified as {words(classes[guess])}",
                    "given": _percent(arrays["probabilities"][index][truth]),
                    "id": ids[index],
                    "maps": [],
                }
            )
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


def _largest_errors(arrays: Arrays, classes: Sequence[str], ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return the test images of a regression with the truth and the estimate of its first target."""
    each = arrays["predictions"].reshape(*arrays["truth"].shape, -1)
    middle = form_of(each.shape[2]).middle(each)[:, 0]
    return [
        {
            "image": data_address(arrays["images"][index][0]),
            "truth": words(classes[arrays["labels"][index]]),
            "verdict": f"true {arrays['truth'][index][0]:.4g}, estimated {middle[index]:.4g}",
            "given": "",
            "id": ids[index],
            "maps": [],
        }
        for index in range(len(ids))
    ]


def _percent(share: float) -> str:
    """Return a share with as many digits as it deserves: 12 %, 0.3 %, below 0.01 %."""
    if share < 1e-4:
        return "below 0.01 %"
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.1g} %"
