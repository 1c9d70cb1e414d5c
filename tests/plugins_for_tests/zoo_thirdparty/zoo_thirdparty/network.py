"""A perceptron of one hidden layer."""

from torch import nn


def perceptron(*, in_chans: int, num_classes: int, image_size: int, width: int = 16, dropout: float = 0.0) -> nn.Module:
    """Return the network."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(in_chans * image_size**2, width),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(width, num_classes),
    )
