"""Networks that benchmarks/gconv.py compares with the group networks: ordinary layers, escnn and e2cnn."""

from __future__ import annotations

from typing import Any


def plain_of(name: str, image_size: int) -> Any:
    """Return gconv/p4m or gconv/p4 with every group layer replaced by the ordinary one of the same planar shape."""
    from torch import nn
    from zoo_gconv import models
    from zoo_gconv.layers import GroupBatchNorm, GroupConv, LiftingConv

    network = models.build(model=name, in_chans=1, num_classes=3, image_size=image_size)
    layers: list[nn.Module] = []
    for layer in network.trunk:
        if isinstance(layer, LiftingConv | GroupConv):
            order_in = 1 if isinstance(layer, LiftingConv) else layer.group.order
            # At stride 2 and even size the window of two pixels makes the planar filter one larger.
            kernel_size = layer.kernel_size + layer.stride - 1
            channels = layer.in_features * order_in, layer.out_features * layer.group.order
            padding = layer.kernel_size // 2
            layers.append(nn.Conv2d(*channels, kernel_size, stride=layer.stride, padding=padding, bias=False))
        elif isinstance(layer, GroupBatchNorm):
            layers += [nn.BatchNorm2d(layer.num_features * layer.order), nn.ReLU(inplace=True)]
    head = nn.Linear(network.classifier.in_features * network.order, network.classifier.out_features)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


def steerable(library_name: str, image_size: int) -> Any:
    """Return gconv/p4m's architecture in escnn or e2cnn, with their own layers, for regular fields of D4."""
    from torch import nn
    from zoo_gconv import models
    from zoo_gconv.layers import GroupConv, LiftingConv
    from zoo_steerable import libraries

    library = libraries.load(library_name)
    enn = library.nn
    space = library.gspaces.flipRot2dOnR2(4) if library_name == "escnn" else library.gspaces.FlipRot2dOnR2(4)
    network = models.build(model="p4m", in_chans=1, num_classes=3, image_size=image_size)
    fields = enn.FieldType(space, [space.trivial_repr])
    image_type = fields
    layers: list[nn.Module] = []
    for layer in network.trunk:
        if not isinstance(layer, LiftingConv | GroupConv):
            continue
        after = enn.FieldType(space, layer.out_features * [space.regular_repr])
        k = layer.kernel_size
        layers += [enn.R2Conv(fields, after, k, padding=k // 2, stride=layer.stride, bias=False)]
        layers += [enn.InnerBatchNorm(after), enn.ReLU(after, inplace=True)]
        fields = after
    layers.append(enn.GroupPooling(fields))

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = nn.Sequential(*layers)
            self.classifier = nn.Linear(network.classifier.in_features, 3)

        def forward(self, images: Any) -> Any:
            maps = self.trunk(enn.GeometricTensor(images, image_type)).tensor
            return self.classifier(maps.mean((-2, -1)))

    return Network()


def one_stage(name: str, channels: int, image_size: int) -> Any:
    """Return gconv/octic or gconv/p4m_convnext with one stage of two blocks."""
    from zoo_gconv import convnext

    return convnext.build(
        model=name, in_chans=1, num_classes=3, image_size=image_size, widths=[channels // 8], blocks=[2]
    )


def plain_stage(channels: int, image_size: int) -> Any:
    """Return the plain counterpart of `one_stage`: same channels, kernels and map sizes."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    class Rows(nn.Module):
        """x + rest(depthwise(x)), or without the sum; the input of `rest` is channels-last."""

        def __init__(self, depthwise: nn.Module, rest: nn.Module, *, before: nn.Module | None = None) -> None:
            super().__init__()
            self.depthwise, self.rest, self.before = depthwise, rest, before

        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            if self.before is not None:
                normed = self.before(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
                return self.rest(self.depthwise(normed).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            return maps + self.rest(self.depthwise(maps).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            # 5 and 3 wide filters, one wider at stride 2 and even size, as in the group network.
            self.stem = nn.Conv2d(1, channels, 6, stride=2, padding=2)
            halving = nn.Conv2d(channels, channels, 4, stride=2, padding=1, groups=channels)
            blocks = [
                Rows(
                    nn.Conv2d(channels, channels, 7, padding=3, groups=channels),
                    nn.Sequential(
                        nn.LayerNorm(channels),
                        nn.Linear(channels, 4 * channels),
                        nn.GELU(),
                        nn.Linear(4 * channels, channels),
                    ),
                )
                for _ in range(2)
            ]
            first = Rows(halving, nn.Linear(channels, channels), before=nn.LayerNorm(channels))
            self.stages = nn.Sequential(first, *blocks)
            self.head = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, 3))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            maps = F.gelu(self.stem(images)).contiguous(memory_format=torch.channels_last)
            return self.head(self.stages(maps).mean((-2, -1)))

    return Plain()
