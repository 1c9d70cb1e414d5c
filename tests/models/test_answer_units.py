"""Units of a regression's answers: the network trains as with standardised truths, and its file states the units."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo.models.answer_units import AnswerUnits, targets_of, widened
from zoo.models.classifier import Classifier
from zoo.models.target import Target
from zoo.scores.distributions import FORMS, LEVELS

TARGETS = (Target(name="a", centre=5.0, scale=100.0), Target(name="b", centre=-1.0, scale=1e-3, spread=2.0))


@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
def test_gradients_are_those_of_standardised_truths(form):
    targets = [Target(name="a", centre=5.0, scale=100.0), Target(name="b", centre=-1.0, scale=1e-3)]
    same = [Target(name=one.name, centre=0.0, scale=1.0) for one in targets]
    centre, scale = (
        torch.tensor([getattr(one, name) for one in targets], dtype=torch.float64) for name in ("centre", "scale")
    )
    truth = torch.randn(7, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gradients = []
    for units, true, of in (
        (targets, centre + scale * truth, scale),
        (same, truth, torch.ones(2, dtype=torch.float64)),
    ):
        torch.manual_seed(0)
        answers = torch.randn(7, 2 * form.columns, dtype=torch.float64).requires_grad_()
        found = AnswerUnits(units, standardised=True).double()(answers).reshape(7, 2, -1)
        form.loss(found, true, of).backward()
        gradients.append(answers.grad)
    assert torch.allclose(*gradients, rtol=1e-3, atol=1e-5)


def test_means_widths_and_spread_have_the_units_of_the_truth():
    found = AnswerUnits(TARGETS, standardised=True)(torch.tensor([[1.0, -1.0, 0.0, -1.0]])).reshape(2, 2)
    assert found[:, 0].tolist() == pytest.approx([105.0, -1.0])
    ratio = (found[1, 1] - found[0, 1]).exp().item()
    assert ratio == pytest.approx(2.0 * 1e-3 / 100.0, rel=1e-4)


def test_widths_are_bounded_and_never_lose_their_gradient():
    answers = torch.tensor([[0.0, 30.0], [0.0, -30.0]]).requires_grad_()
    found = AnswerUnits([Target(name="a", centre=0.0, scale=1.0)], standardised=True)(answers)
    assert -7.1 < found[1, 1].item() < -6.9
    assert 1.9 < found[0, 1].item() < 2.1


def test_answers_of_a_network_that_fits_itself_are_in_units_of_the_truth_already():
    found = AnswerUnits(TARGETS, standardised=False)(torch.tensor([[7.0, 3.0, 8.0, 4.0]]))
    assert found[0, :3].tolist() == [7.0, 3.0, 8.0]
    assert found[0, 3].item() == pytest.approx(4 + 0.6931, abs=1e-3)


def test_quantiles_never_cross_and_widen_about_their_median():
    wide = Target(name="a", centre=10.0, scale=2.0, spread=3.0)
    found = AnswerUnits([wide], standardised=True)(torch.randn(5, len(LEVELS)))
    assert (found.diff(dim=1) >= 0).all()
    plain = AnswerUnits([Target(name="a", centre=10.0, scale=2.0)], standardised=True)
    torch.manual_seed(1)
    answers = torch.randn(5, len(LEVELS))
    again = widened(plain(answers)[:, None], torch.tensor([[3.0]]))
    assert torch.allclose(AnswerUnits([wide], standardised=True)(answers), again.flatten(1))


def test_units_are_no_part_of_the_state_dict():
    classifier = Classifier(nn.Flatten(), channels=1)
    before = classifier.state_dict().keys()
    classifier.estimate(TARGETS, standardised=True)
    assert classifier.state_dict().keys() == before
    assert classifier(torch.zeros(1, 1, 2, 2)).shape == (1, 4)
    classifier.estimate((), standardised=True)
    assert classifier.units is None


def test_targets_state_mean_and_deviation_and_refuse_a_constant():
    [found] = targets_of(["a"], torch.tensor([[1.0], [3.0]]))
    assert (found.centre, found.scale) == (2.0, 1.0)
    with pytest.raises(ValueError, match="b"):
        targets_of(["a", "b"], torch.tensor([[1.0, 2.0], [3.0, 2.0]]))
