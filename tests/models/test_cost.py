"""Multiply-accumulates against counts by hand; what cannot be counted is unknown and not free."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo.models.classifier import Classifier
from zoo.models.cost import count_cost

TOKENS, WIDTH, HIDDEN = 36, 16, 32


class Rows(nn.Module):
    """Apply a layer to the image [1, 1, 36, 16] as 36 tokens."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = images[:, 0]
        if isinstance(self.layer, nn.MultiheadAttention):
            return self.layer(tokens, tokens, tokens)[0]
        if isinstance(self.layer, nn.Bilinear):
            return self.layer(tokens, tokens)
        out = self.layer(tokens)
        return out[0] if isinstance(out, tuple) else out


class Function(nn.Module):
    """A network that is one function of tokens and a weight."""

    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.randn(WIDTH, WIDTH))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.function(images[0, 0], self.weight)


# Query, key, value and output; scores and their sum of values.
ATTENTION = 4 * TOKENS * WIDTH**2 + 2 * TOKENS**2 * WIDTH
ENCODER = ATTENTION + 2 * TOKENS * WIDTH * HIDDEN


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        (nn.Linear(WIDTH, 5), TOKENS * WIDTH * 5),
        (nn.MultiheadAttention(WIDTH, 2, batch_first=True), ATTENTION),
        (nn.TransformerEncoderLayer(WIDTH, 2, HIDDEN, batch_first=True), ENCODER),
        (nn.TransformerEncoderLayer(WIDTH, 4, HIDDEN, batch_first=True, norm_first=True), ENCODER),
        (nn.TransformerEncoder(nn.TransformerEncoderLayer(WIDTH, 2, HIDDEN, batch_first=True), 3), 3 * ENCODER),
        (nn.GRU(WIDTH, 8, batch_first=True), TOKENS * 3 * 8 * (WIDTH + 8)),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("training", [True, False])
def test_counts_by_hand(layer, macs, training):
    network = Rows(layer).train(training)
    assert count_cost(network, torch.randn(1, 1, TOKENS, WIDTH)).macs == macs
    assert network.training == training
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize(
    "network",
    [
        Rows(nn.LSTM(WIDTH, 8, batch_first=True)),
        Rows(nn.Bilinear(WIDTH, WIDTH, 3)),
        Function(lambda tokens, weight: tokens @ weight[0]),
        Function(lambda tokens, weight: torch.fft.fft2(tokens).real @ weight),
        Function(lambda tokens, weight: (tokens[:, :, None] * weight).sum(1)),
    ],
    ids=["lstm", "bilinear", "matrix times vector", "fft", "products and a sum"],
)
def test_what_cannot_be_counted_is_unknown(network):
    assert count_cost(network, torch.randn(1, 1, TOKENS, WIDTH)).macs is None


@pytest.mark.parametrize(
    ("function", "named", "level"),
    [
        (lambda tokens, weight: torch.fft.fft2(tokens * torch.fft.fftfreq(WIDTH)), "aten._fft_c2c", "INFO"),
        (lambda tokens, weight: tokens @ weight[0], "aten.mv", "WARNING"),
        (lambda tokens, weight: torch.fft.fftshift(tokens) @ weight, "", ""),
    ],
)
def test_only_products_are_named_and_only_unusual_ones_are_warned_of(function, named, level, caplog):
    with caplog.at_level("INFO"):
        count_cost(Function(function), torch.randn(1, 1, TOKENS, WIDTH))
    assert [record.levelname for record in caplog.records] == [level] * bool(named)
    assert f"the multiply-accumulates of {named} cannot" in caplog.text or not named


def test_a_network_may_state_that_its_work_cannot_be_counted():
    network = nn.Sequential(nn.Flatten(), nn.Linear(36 * 16, 3))
    images = torch.zeros(1, 1, 36, 16)
    assert count_cost(Classifier(network, channels=1), images).macs == 36 * 16 * 3
    network.counts_macs = False
    assert count_cost(Classifier(network, channels=1), images).macs is None


def test_a_count_that_fails_is_unknown(caplog):
    def fails(tokens, weight):
        raise RuntimeError("no such luck")

    cost = count_cost(Function(fails), torch.randn(1, 1, TOKENS, WIDTH))
    assert (cost.parameters, cost.macs) == (WIDTH**2, None)
    assert "no such luck" in caplog.text


def test_bilinear_interpolation_is_not_mistaken_for_a_product():
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Upsample(scale_factor=2, mode="bilinear"))
    assert count_cost(network, torch.randn(1, 1, 8, 8)).macs == 2 * 9 * 64
