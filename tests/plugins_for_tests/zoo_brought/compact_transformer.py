"""A compact transformer (Hassani et al. 2021, arXiv:2104.05704) with its own head, as a plugin."""

from zoo import ModelSpec, hookimpl


@hookimpl
def zoo_models():
    return [
        ModelSpec(
            id="compact_transformer/cct",
            target="compact_transformer:build",
            summary="tokens from two convolutions, two transformer layers, pooling of the sequence",
            defaults={"width": 32, "depth": 2},
        )
    ]


def build(*, in_chans, num_classes, image_size, width, depth=2):
    import torch
    from torch import nn

    def halved(channels, kernel_size):
        convolution = nn.Conv2d(channels, width, kernel_size, padding=kernel_size // 2)
        return nn.Sequential(convolution, nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1))

    class CompactTransformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = nn.Sequential(halved(in_chans, 5), halved(width, 3))
            side = -(-image_size // 4)  # each of the two poolings rounds up
            self.positions = nn.Parameter(0.02 * torch.randn(side**2, width))
            layer = nn.TransformerEncoderLayer(
                width, nhead=4, dim_feedforward=2 * width, activation="gelu", batch_first=True, norm_first=True
            )
            self.encoder = nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)
            self.importance = nn.Linear(width, 1)
            self.classify = nn.Linear(width, num_classes)

        def forward(self, images):
            tokens = self.encoder(self.tokens(images).flatten(2).mT + self.positions)
            share = self.importance(tokens).softmax(1)  # the head: a weighted mean of all tokens, no class token
            return self.classify((share * tokens).sum(1))

    return CompactTransformer()
