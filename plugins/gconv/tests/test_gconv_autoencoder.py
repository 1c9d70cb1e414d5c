"""The auto-encoder on p4m: its reconstruction turns with the image, its score does not change, and it learns."""

import copy

import pytest
import torch
from zoo_gconv.autoencoder import build
from zoo_gconv.sampling import downsample, upsample

from zoo.errors import UsageError

TURNS = [(k, flip) for k in range(4) for flip in (False, True)]


def make(*, image_size=32, in_chans=1, trained=False, **hparams):
    torch.manual_seed(0)
    network = build(model="p4m_ae", in_chans=in_chans, num_classes=3, image_size=image_size, **hparams)
    if trained:
        optimizer = torch.optim.AdamW(network.train().parameters(), lr=1e-2)
        for _ in range(3):
            optimizer.zero_grad()
            network.loss(blobs(8, image_size, channels=in_chans).float(), None).backward()
            optimizer.step()
    return network.eval()


def blobs(count, size, *, channels=1, spot=0.0, seed=0):
    """Return smooth images in noise, float64, with a sharp spot where `spot` is set."""
    generator = torch.Generator().manual_seed(1000 * size + seed)
    coarse = torch.randn(count, channels, 2, 2, generator=generator, dtype=torch.float64)
    images = 0.5 * torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    images = images + 0.1 * torch.randn(images.shape, generator=generator, dtype=torch.float64)
    images[..., size // 3 : size // 3 + 3, size // 4 : size // 4 + 3] += spot
    return images


def moved(images, k, flip):
    turned = images.rot90(k, (-2, -1))
    return turned.flip(-1) if flip else turned


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize(
    ("size", "trained"),
    [(17, True), (22, True), (32, True), (33, False), pytest.param(64, False, marks=pytest.mark.slow)],
)
def test_the_score_is_invariant_and_the_reconstruction_equivariant(size, trained, dtype, tolerance):
    network = make(image_size=size, trained=trained).to(dtype)
    images = blobs(2, size).to(dtype)
    with torch.no_grad():
        score, whole = network(images), network.reconstruct(images)
        for turn in TURNS:
            torch.testing.assert_close(network(moved(images, *turn)), score, rtol=tolerance, atol=0)
            found = network.reconstruct(moved(images, *turn))
            assert (found - moved(whole, *turn)).abs().max() <= tolerance * whole.abs().max()


def test_the_same_check_fails_for_a_transposed_convolution():
    plain = torch.nn.ConvTranspose2d(1, 1, 3, stride=2, padding=1, output_padding=1).double()
    with torch.no_grad():
        plain.weight.copy_(torch.ones(3, 3))  # a filter that is symmetric itself
    code = blobs(1, 16)
    found, expected = plain(moved(code, 1, False)), moved(plain(code), 1, False)
    assert (found - expected).abs().max() > 1e-3


@pytest.mark.parametrize("size", [6, 7, 32, 33])
def test_up_sampling_commutes_with_the_group_and_undoes_down_sampling_of_constants(size):
    maps = torch.randn(2, 3, (size + 1) // 2, (size + 1) // 2, dtype=torch.float64)
    large = upsample(maps, (size, size))
    assert large.shape[-2:] == (size, size)
    for turn in TURNS:
        torch.testing.assert_close(upsample(moved(maps, *turn), (size, size)), moved(large, *turn), rtol=0, atol=1e-12)
    torch.testing.assert_close(large[..., ::2, ::2], maps, rtol=0, atol=1e-12)
    inner = (..., slice(1, -1), slice(1, -1))  # outside an odd image are zeros
    even = torch.ones_like(maps)
    torch.testing.assert_close(downsample(upsample(even, (size, size)))[inner], even[inner])


def test_up_sampling_to_another_size_is_refused():
    with pytest.raises(ValueError, match=r"maps of \(4, 4\) pixels are not half of \(9, 9\)"):
        upsample(torch.zeros(1, 1, 4, 4), (9, 9))


@pytest.mark.parametrize("image_size", [32, 64, pytest.param(150, marks=pytest.mark.slow)])
def test_shapes(image_size):
    network = make(image_size=image_size, in_chans=2)
    images = blobs(3, image_size, channels=2).float()
    with torch.no_grad():
        assert network.reconstruct(images).shape == images.shape
        assert network(images).shape == (3,)
        torch.testing.assert_close(network(images[:1]), network(images)[:1])
        assert network.encode(images).shape == (3, 16, *[-(-image_size // 16)] * 2)


def test_gradients_reach_every_parameter():
    network = make().train()
    network.loss(blobs(4, 32).float(), None).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad.abs().sum() > 0, key


@pytest.mark.slow
def test_an_obvious_anomaly_is_found_and_smooth_light_reconstructed():
    torch.manual_seed(0)
    network = make(image_size=16, widths=[3, 4, 4]).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-2)
    for step in range(40):
        optimizer.zero_grad()
        network.loss(blobs(16, 16, seed=step).float(), None).backward()
        optimizer.step()
    network.eval()
    plain, odd = (blobs(40, 16, seed=99, spot=spot).float() for spot in (0.0, 4.0))
    with torch.no_grad():
        assert (network(odd)[:, None] > network(plain)).float().mean() > 0.95
        assert ((network.reconstruct(plain) - plain) ** 2).mean() < 0.6 * plain.var()


def test_state_copies_and_precision(tmp_path):
    network, images = make(trained=True), blobs(2, 32).float()
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    other = make()
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    with torch.no_grad():
        assert torch.equal(other(images), network(images))
        assert torch.equal(copy.deepcopy(network)(images), network(images))
    with torch.autocast("cpu", torch.bfloat16):
        score, loss = network(images), network.loss(images, None)
    loss.backward()
    assert (score.dtype, loss.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(score.detach(), network(images).detach(), rtol=0.05, atol=0)


@pytest.mark.parametrize(
    ("hparams", "message"),
    [
        ({"latent": 0}, "gconv/p4m_ae: latent is 0, but must be a whole number"),
        ({"widths": []}, r"widths is \[\]"),
        ({"kernel_size": 4}, "kernel_size is 4, but must be odd"),
        ({"image_size": 15}, "image_size is 15, but must be 16 or more"),
        ({"residual": "none"}, "residual='none' must be one of"),
        ({"widht": [4]}, "no hyper-parameter 'widht'.*Did you mean 'widths'"),
    ],
)
def test_impossible_values_are_refused(hparams, message):
    with pytest.raises(UsageError, match=message):
        make(**hparams)
