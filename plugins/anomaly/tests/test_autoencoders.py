"""Auto-encoders: the published layers, their losses against independent ones, and what training gives."""

import copy

import pytest
import torch
from zoo_anomaly.autoencoders import build_aae, build_ae, build_vae, divergence, stretched

from zoo.errors import UsageError
from zoo.models.cost import count_cost

BUILDERS = {
    "ae": (build_ae, {}),
    "vae": (build_vae, {"beta": 1.0}),
    "aae": (build_aae, {"spread": 5.0, "hidden": 32}),
}
names = pytest.mark.parametrize("name", BUILDERS)
forms = pytest.mark.parametrize("published", [False, True], ids=["small", "published"])


def build(name, *, published=False, image_size=24, in_chans=1, **hparams):
    torch.manual_seed(0)
    builder, others = BUILDERS[name]
    shape = {"in_chans": in_chans, "num_classes": 3, "image_size": image_size}
    residual = "mean_square" if published else "chi_square"
    return builder(**shape, published=published, **{"residual": residual, **others, **hparams})


@pytest.mark.parametrize("image_size", [32, 33, 64, 65, 150])
@forms
@names
def test_shapes(name, published, image_size):
    method = build(name, published=published, image_size=image_size, in_chans=2).eval()
    images = torch.randn(3, 2, image_size, image_size)
    with torch.no_grad():
        assert method.reconstruct(images).shape == images.shape
        assert method(images).shape == (3,)
        assert method.loss(images, torch.zeros(3)).shape == ()
        torch.testing.assert_close(method(images[:1]), method(images)[:1])


@names
def test_the_score_is_the_mean_square_of_the_residual_over_the_noise_that_a_report_shows(name):
    method = build(name, image_size=32).eval()
    images = torch.randn(3, 1, 32, 32)
    with torch.no_grad():
        rebuilt, over_noise = method.residual_maps(images)
        torch.testing.assert_close(rebuilt, method.reconstruct(images))
        torch.testing.assert_close(over_noise.square().mean((1, 2, 3)), method(images))


def test_published_layers_have_the_published_sizes():
    """At 150 pixels, by hand.

    Parameters: 16x1x49+16, 32x16x49+32, 64x32x49+64 (convolutions); 5184x1000+1000, 1000x5184+5184 (linear maps);
    2x1000 (batch norm); 64x32x49+32, 32x16x49+16, 16x1x36+1 (transposed convolutions).
    Multiply-accumulates: 49x49 pixels x 16x1x49, 15x15 x 32x16x49, 9x9 x 64x32x49; two linear maps of 5184x1000; a
    transposed convolution multiplies at each pixel of its input: 9x9 x 64x32x49, 15x15 x 32x16x49, 49x49 x 16x1x36.
    """
    method = build("ae", published=True, image_size=150)
    parameters = 800 + 25_120 + 100_416 + 5_185_000 + 5_189_184 + 2_000 + 100_384 + 25_104 + 577
    macs = 1_882_384 + 5_644_800 + 8_128_512 + 2 * 5_184_000 + 8_128_512 + 5_644_800 + 1_382_976
    cost = count_cost(method, torch.rand(1, 1, 150, 150))
    assert (cost.parameters, cost.macs) == (parameters, macs) == (10_628_585, 41_179_984)
    assert method.decoder.shape == (64, 9, 9)
    kinds = [type(layer).__name__ for layer in method.modules() if not list(layer.children())]
    assert [kind for kind in kinds if kind != "Identity"] == [
        *("Conv2d", "ReLU", "Conv2d", "ReLU", "Conv2d", "Linear", "BatchNorm1d", "Linear"),
        *("ConvTranspose2d", "ReLU", "ConvTranspose2d", "ReLU", "ConvTranspose2d", "Tanh", "Residual"),
    ]


def test_published_variational_and_adversarial_layers():
    """Two linear maps to the code; a discriminator 1000-256-256-1; no batch norm, and a ReLU more."""
    without_norm = 10_628_585 - 2_000
    vae, aae = build("vae", published=True, image_size=150), build("aae", published=True, image_size=150, hidden=256)
    assert count_cost(vae, torch.rand(1, 1, 150, 150)).parameters == without_norm + 5_185_000
    discriminator = 1000 * 256 + 256 + 256 * 256 + 256 + 256 + 1
    assert count_cost(aae, torch.rand(1, 1, 150, 150)).parameters == without_norm + discriminator


@names
def test_published_images_are_stretched_in_255_steps(rings, name):
    images = rings(4)
    prepared = stretched(images)
    assert torch.equal(prepared.amin((1, 2, 3)), torch.zeros(4))
    assert torch.equal(prepared.amax((1, 2, 3)), torch.ones(4))
    torch.testing.assert_close(prepared * 255, (prepared * 255).round())
    assert stretched(torch.ones(2, 1, 4, 4)).abs().max() == 0
    published = build(name, published=True).eval()
    with torch.no_grad():
        torch.testing.assert_close(published(5 * images - 2), published(images), rtol=0.02, atol=0)
        difference = published.prepared(images) - published.reconstruct(published.prepared(images))
        torch.testing.assert_close(published(images), (difference**2).mean((1, 2, 3)))


@names
def test_gradients_reach_every_parameter(rings, name):
    method, images = build(name).train(), rings(4)
    # Codes of a batch norm need several images; the residual's photon noise needs light.
    turns = range(method.TURNS) if name == "aae" else [None]
    for turn in turns:
        loss = method.loss(images, None) if turn is None else method.training_losses(images, None, turn)
        loss.backward()
    for key, parameter in method.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().sum() > 0, key


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "published", "least"),
    [("ae", False, 0.95), ("vae", False, 0.95), ("aae", False, 0.95), ("ae", True, 0.8), ("aae", True, 0.8)],
)
def test_an_obvious_anomaly_is_found(auc_of, train, name, published, least):
    """The published VAE takes hundreds of steps to learn codes that its noise does not drown."""
    method = train(build(name, published=published, **({"latent": 16} if published else {})))
    assert auc_of(method) > least


@pytest.mark.parametrize("name", ["ae", "vae"])
def test_the_published_optimiser_is_adam(rings, name):
    method = build(name, published=True)
    (optimizer,) = method.optimizers(2e-3, 1e-5)
    assert type(optimizer) is torch.optim.Adam
    assert {key: optimizer.defaults[key] for key in ("lr", "weight_decay")} == {"lr": 2e-3, "weight_decay": 1e-5}
    assert len(optimizer.param_groups[0]["params"]) == len(list(method.parameters()))
    method.eval()
    assert torch.equal(method.training_losses(rings(3), None, 0), method.loss(rings(3), None))
    assert not hasattr(build(name), "optimizers")


@pytest.mark.slow
def test_the_published_variational_auto_encoder_learns(rings, train):
    method, images = build("vae", published=True, latent=16, beta=0), rings(32, seed=7)
    before = method.eval().loss(images, None)
    after = train(method, steps=20).loss(images, None)
    assert after < 0.5 * before
    torch.testing.assert_close(after, method(images).mean())  # no divergence


@pytest.mark.slow
def test_a_trained_auto_encoder_reconstructs(rings, train):
    images = rings(32, seed=7)
    untrained = build("ae").eval()
    method = train(build("ae"))
    with torch.no_grad():
        before, after = (((images - one.reconstruct(images)) ** 2).mean() for one in (untrained, method))
    assert after < 0.3 * before
    assert after < 0.3 * images.var()


def test_the_divergence_is_that_of_torch_distributions():
    mean, log_variance = torch.randn(5, 7), torch.randn(5, 7)
    normal = torch.distributions.Normal(mean, (log_variance / 2).exp())
    standard = torch.distributions.Normal(torch.zeros(7), torch.ones(7))
    expected = torch.distributions.kl_divergence(normal, standard).sum(1)
    torch.testing.assert_close(divergence(mean, log_variance), expected)


def test_beta_multiplies_the_divergence_per_pixel(rings):
    images = rings(3)
    losses = {beta: build("vae", beta=beta).eval().loss(images, None) for beta in (0, 1.0, 3.0)}
    method = build("vae").eval()
    own = divergence(*method.distribution(images)).mean() / images[0].numel()
    torch.testing.assert_close(losses[1.0] - losses[0], own, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(losses[3.0] - losses[0], 3 * own, rtol=1e-3, atol=1e-6)


def test_codes_are_drawn_in_training_only(rings):
    method, images = build("vae"), rings(3)
    assert not torch.equal(method.train().loss(images, None), method.loss(images, None))
    assert torch.equal(method.eval().loss(images, None), method.loss(images, None))


def test_a_code_of_huge_variance_gives_a_finite_loss(rings):
    method = build("vae").eval()
    with torch.no_grad():
        method.code.bias.fill_(1e4)
    assert method.loss(rings(2), None).isfinite()


def test_the_adversarial_losses_are_those_of_binary_cross_entropy(rings):
    method, images = build("aae").eval(), rings(4)
    codes = method.encode(images)
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    torch.manual_seed(3)
    found = method.training_losses(images, None, 1)
    torch.manual_seed(3)
    drawn = method.spread * torch.randn_like(codes)
    of_drawn, of_codes = method.discriminator(drawn), method.discriminator(codes)
    torch.testing.assert_close(found, bce(of_drawn, torch.ones(4, 1)) + bce(of_codes, torch.zeros(4, 1)))
    torch.testing.assert_close(method.training_losses(images, None, 2), bce(of_codes, torch.ones(4, 1)))
    torch.testing.assert_close(method.training_losses(images, None, 0), method.loss(images, None))


def test_each_adversarial_turn_moves_its_own_weights(rings):
    parts = {0: {"encoder", "code", "decoder", "residual"}, 1: {"discriminator"}, 2: {"encoder", "code"}}
    for turn, expected in parts.items():
        method = build("aae")
        optimizers = method.optimizers(1e-3, 0.0)
        assert [group["lr"] for one in optimizers for group in one.param_groups] == pytest.approx([1e-3, 1e-3, 1e-4])
        before = copy.deepcopy(method.state_dict())
        method.training_losses(rings(4), None, turn).backward()
        optimizers[turn].step()
        moved = {key.split(".")[0] for key, value in method.state_dict().items() if not torch.equal(value, before[key])}
        assert moved == expected


@pytest.mark.slow
def test_adversarial_codes_approach_the_prior(rings, train):
    method = build("aae", latent=4)
    with torch.no_grad():
        before = method.eval().encode(rings(64)).std()
    train(method, steps=60)
    with torch.no_grad():
        after = method.encode(rings(64)).std()
    assert abs(after - 5) < abs(before - 5)


@forms
@names
def test_state_copies_and_precision(rings, tmp_path, name, published):
    method, images = build(name, published=published).eval(), rings(2)
    torch.save(method.state_dict(), tmp_path / "weights.pt")
    other = build(name, published=published).eval()
    torch.nn.init.zeros_(next(other.parameters()))
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    with torch.no_grad():
        score = method(images)
        assert torch.equal(other(images), score)
        assert torch.equal(copy.deepcopy(method)(images), score)
        assert copy.deepcopy(method).double()(images.double()).dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        rough = method(images)
        loss = method.loss(images, None)
    loss.backward()
    assert (rough.dtype, loss.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(rough, score, rtol=0.05, atol=0)


@pytest.mark.parametrize(
    ("hparams", "message"),
    [
        ({"widths": []}, r"widths=\[\] must have one number for each"),
        ({"widths": [4, "8", 8]}, r"widths=.* must be a list of whole numbers"),
        ({"strides": [2, 2]}, r"strides=\[2, 2\] must have one number for each of widths"),
        ({"last_kernel": 0}, "last_kernel=0 must be a whole number"),
        ({"latent": 0}, "latent=0 must be a whole number"),
        ({"residual": "square"}, "residual='square' must be one of"),
    ],
)
def test_impossible_values_are_refused(hparams, message):
    with pytest.raises(UsageError, match=message):
        build("ae", **hparams)


@pytest.mark.parametrize(
    ("name", "hparams"),
    [("vae", {"beta": -1}), ("vae", {"beta": True}), ("aae", {"spread": 0}), ("aae", {"hidden": 0})],
)
def test_impossible_factors_are_refused(name, hparams):
    with pytest.raises(UsageError, match=f"{next(iter(hparams))}="):
        build(name, **hparams)
