"""Preparation of images for a network, and checks of its answers: `zoo.inference.predict` from Python."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.inference.answer import Summary
from zoo.inference.predict import predict
from zoo.inference.prepare import Preparation
from zoo.inference.read import Picture, Skipped


def lenses(count=4, size=12, seed=0):
    return np.random.default_rng(seed).normal(size=(count, size, size)).astype(np.float32)


def test_thousands_of_images_are_not_held(model):
    """The stream is read no further than the batch that is being answered."""
    read = 0

    def pictures():
        nonlocal read
        for i in range(5000):
            read += 1
            yield Skipped(name=str(i), reason="x") if i % 3 == 0 else Picture(name=str(i), pixels=lenses(1, seed=i))

    answers = predict(model, pictures(), batch_size=8)
    names = []
    for _ in range(40):
        names.append(next(answers).name)
        assert read <= len(names) + 4 * 8
    assert names == [str(i) for i in range(40)]


def test_small_and_dark_images(model):
    pictures = [
        Picture(name="small", pixels=lenses(1, 9)),
        Picture(name="speck", pixels=lenses(1, 8)),
        Picture(name="dark", pixels=-1 - lenses(1) ** 2),
        Picture(name="huge", pixels=np.linspace(2e38, 3e38, 144, dtype=np.float32).reshape(1, 12, 12)),
    ]
    small, speck, dark, _ = predict(model, pictures, preparation=Preparation(match_scale=True))
    assert small.notes == ("44% padded",)
    assert "8 x 8 pixels are too few: 56% of what the network sees would be padding" in speck.reason
    assert "no pixel is positive" in dark.reason
    *_, huge = predict(model, pictures[3:], preparation=Preparation(factor=10.0))
    assert "too large" in huge.reason
    summary = Summary(model)
    for item in (small, speck):
        summary.add(item)
    assert (summary.predicted, summary.skipped) == (1, 1)


def broken(value, row, column, *, size=30, dtype=np.float64):
    """Return an image with one bad pixel."""
    image = lenses(1, size)[0].astype(dtype)
    image[row, column] = value
    return image


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (broken(np.nan, 8, 15), None),
        (broken(np.inf, 15, 21), None),
        (broken(1e200, 0, 0), None),
        (broken(np.nan, 9, 15), "1 of 144 pixels that the network sees are NaN or infinite"),
        (broken(-np.inf, 15, 20), "1 of 144 pixels that the network sees are NaN or infinite"),
        (broken(1e200, 15, 15), "1 of 144 pixels that the network sees are too large for single precision"),
        (broken(np.nan, 0, 0, size=10), "1 of 100 pixels that the network sees are NaN or infinite"),
    ],
)
def test_only_pixels_that_the_network_sees_must_be_finite(model, image, reason):
    """At 0.1 arcsec the network sees rows and columns 9 to 20 of 30."""
    [answer] = predict(model, [Picture(name="x", pixels=image[None])])
    if reason:
        assert answer.reason == reason
    else:
        assert answer.probabilities == pytest.approx(model.predict_proba(image[9:21, 9:21])[0], abs=1e-6)
        assert answer.notes == ("the middle 16 % of the image",)


@pytest.mark.parametrize(
    ("shape", "notes"),
    [
        ((12, 12), ()), ((24, 24), ()), ((25, 24), ("the middle 24 % of the image",)),
        ((380, 380), ("the middle 0.1 % of the image",)), ((12, 144), ("the middle 8.3 % of the image",)),
        ((12, 10), ("17% padded",)), ((8, 100), ("33% padded", "the middle 12 % of the image")),
    ],
)  # fmt: skip
def test_crops_and_padding_are_noted(model, shape, notes):
    [answer] = predict(model, [Picture(name="x", pixels=np.indices((1, *shape)).sum(0).astype(np.uint8))])
    assert answer.notes == notes


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("value", [0, 3])
@pytest.mark.parametrize("shape", [(12, 12), (40, 40), (12, 10)])
def test_an_image_of_equal_pixels_is_not_classified(model, shape, value, dtype):
    image = np.full((1, *shape), value, dtype)
    image[:, 0, 0] += 40 in shape  # the network sees the middle only
    [answer] = predict(model, [Picture(name="x", pixels=image)])
    assert answer.reason == "all pixels that the network sees are equal; nothing to classify"


def test_scores_of_answers_that_are_not_finite_are_refused(model, host, monkeypatch):
    from zoo.errors import DataError
    from zoo.inference.evaluate import evaluate

    answer = type(model).answers

    def spoiled(self, images, **options):
        found = answer(self, images, **options)
        found[3] = np.nan
        return found

    monkeypatch.setattr(type(model), "answers", spoiled)
    with pytest.raises(DataError, match=r"the logits of 1 of 90 images are not finite; the first is image"):
        evaluate(host, model, model.about.recipe, images=90)


def test_images_of_any_byte_order_are_classified_from_python(model):
    expected = model.predict_proba(lenses())
    for dtype in (">f4", ">f8", "<f8"):
        assert model.predict_proba(lenses().astype(dtype)) == pytest.approx(expected, abs=1e-6)
