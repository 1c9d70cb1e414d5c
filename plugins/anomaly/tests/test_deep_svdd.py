"""Deep SVDD: features gather around a centre that is set once, and do not all become the same."""

import copy

import pytest
import torch
from zoo_anomaly.deep_svdd import SMALLEST_CENTRE, build_deep_svdd


def build(*, image_size=24, in_chans=1, **hparams):
    torch.manual_seed(0)
    return build_deep_svdd(in_chans=in_chans, num_classes=3, image_size=image_size, **hparams)


@pytest.mark.parametrize("image_size", [32, 33, 64, 150])
def test_shapes(image_size):
    method = build(image_size=image_size, in_chans=2).eval()
    images = torch.randn(3, 2, image_size, image_size)
    with torch.no_grad():
        assert method.features(images).shape == (3, 32)
        assert method(images).shape == (3,)
        torch.testing.assert_close(method(images[:1]), method(images)[:1], rtol=1e-4, atol=1e-5)


def test_no_layer_can_give_all_images_the_same_features():
    method = build()
    assert [name for name, _ in method.named_parameters() if not name.endswith("weight")] == []
    assert all(parameter.ndim > 1 for parameter in method.parameters())  # no factors of a batch norm
    with torch.no_grad():
        assert method.eval().features(torch.zeros(2, 1, 24, 24)).abs().max() == 0


def test_the_centre_is_the_mean_of_the_first_batch_kept_away_from_zero(rings):
    method = build().train()
    with torch.no_grad():
        expected = copy.deepcopy(method).features(rings(16)).mean(0)
    method.loss(rings(16), None)
    centre = method.centre.clone()
    far = expected.abs() >= SMALLEST_CENTRE
    torch.testing.assert_close(centre[far], expected[far])
    assert (centre.abs() >= SMALLEST_CENTRE).all()
    method.loss(rings(16, seed=5), None)
    method.eval().loss(rings(16, seed=6), None)
    assert torch.equal(method.centre, centre)
    assert int(method.batches) == 2


def test_the_centre_goes_on_with_the_weights(rings):
    method = build().train()
    method.loss(rings(16), None)
    other = build().train()
    other.load_state_dict(method.state_dict())
    other.loss(rings(16, seed=5), None)
    assert torch.equal(other.centre, method.centre)


def test_the_loss_is_the_mean_score(rings):
    method, images = build().train(), rings(8)
    method.loss(images, None)
    method.eval()
    torch.testing.assert_close(method.loss(images, None), method(images).mean())
    torch.testing.assert_close(method(images), ((method.features(images) - method.centre) ** 2).mean(1))


def test_gradients_reach_every_parameter(rings):
    method = build().train()
    method.loss(rings(8), None).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in method.parameters())


@pytest.mark.slow
def test_an_obvious_anomaly_is_found_and_the_sphere_does_not_collapse(rings, auc_of, train):
    method = train(build(), lr=1e-3)
    assert auc_of(method) > 0.9
    with torch.no_grad():
        features = method.features(rings(60, seed=9))
    assert features.std(0).mean() > 1e-3 * features.abs().mean()


def test_copies_and_precision(rings):
    method, images = build().train(), rings(4)
    method.loss(images, None)
    method.eval()
    score = method(images)
    assert torch.equal(copy.deepcopy(method)(images), score)
    with torch.autocast("cpu", torch.bfloat16):
        rough, loss = method(images), method.loss(images, None)
    loss.backward()
    assert (rough.dtype, loss.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(rough, score, rtol=0.1, atol=1e-2)
    assert method.double()(images.double()).dtype == torch.float64
