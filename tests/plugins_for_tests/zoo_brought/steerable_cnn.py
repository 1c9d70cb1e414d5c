"""The steerable network for rotated digits of Weiler & Cesa (2019, arXiv:1911.08251), with e2cnn, as a plugin."""

from zoo import ModelSpec, hookimpl


@hookimpl
def zoo_models():
    return [
        ModelSpec(
            id="steerable_cnn/c8",
            target="steerable_cnn:build",
            summary="six steerable convolutions under rotations by 45 degrees",
            group="c8",
            equivariance="approximate",
            defaults={"widths": [24, 48, 48, 96, 96, 64]},
            requires=("e2cnn",),
            bf16_devices=(),
        )
    ]


def build(*, in_chans, num_classes, image_size, widths):
    from torch import nn
    from zoo_steerable.libraries import load  # e2cnn 0.2.3 does not run with numpy 2 without the patches in here

    from zoo.errors import UsageError

    if image_size < 29:
        raise UsageError(f"steerable_cnn/c8 takes images of 29 x 29 pixels or more, not {image_size} x {image_size}.")
    e2cnn = load("e2cnn")
    layers, space = e2cnn.nn, e2cnn.gspaces.Rot2dOnR2(8)
    of_image = layers.FieldType(space, in_chans * [space.trivial_repr])
    fields = [layers.FieldType(space, width * [space.regular_repr]) for width in widths]
    pooled = {1: 2, 3: 2, 5: 1}  # after these convolutions, with this stride

    class SteerableCNN(nn.Module):
        def __init__(self):
            super().__init__()
            parts = [layers.MaskModule(of_image, image_size, margin=1)]
            for i, (before, after) in enumerate(zip([of_image, *fields], fields, strict=False)):
                kernel, padding = (7, 1) if i == 0 else (5, 1 if i == 5 else 2)
                parts += [
                    layers.R2Conv(before, after, kernel_size=kernel, padding=padding, bias=False),
                    layers.InnerBatchNorm(after),
                    layers.ReLU(after, inplace=True),
                ]
                if i in pooled:
                    padding = 0 if i == 5 else None
                    parts += [layers.PointwiseAvgPoolAntialiased(after, 0.66, stride=pooled[i], padding=padding)]
            self.maps = nn.Sequential(*parts, layers.GroupPooling(fields[-1]))
            self.pool = nn.AdaptiveAvgPool2d(1)  # one pixel is left of the published images, 29 x 29
            self.head = nn.Sequential(
                nn.Linear(widths[-1], 64), nn.BatchNorm1d(64), nn.ELU(inplace=True), nn.Linear(64, num_classes)
            )

        def forward(self, images):
            maps = self.maps(layers.GeometricTensor(images, of_image)).tensor
            return self.head(self.pool(maps).flatten(1))

    return SteerableCNN()
