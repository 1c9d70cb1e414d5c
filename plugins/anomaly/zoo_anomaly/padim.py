"""PaDiM by anomalib: a normal distribution of the features of a planar network at each place of the image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.errors import MissingError, UsageError
from zoo.models.own_fit import SplitsToFit
from zoo_anomaly.fitting import check_most_images, first_images

LAYERS = ("layer1", "layer2", "layer3")
BATCH = 64
CHANNELS = 3


class Padim(nn.Module):
    """Score images by the largest Mahalanobis distance of their features from those of normal images at that place.

    The features are those of a ResNet-18 that sees the image, standardised, in each of its three channels. Lenses lie
    in the middle of their images, so that places can be compared.

    Source: Defard et al. 2021, arXiv:2011.08785; Akcay et al. 2022, arXiv:2202.08341 (anomalib).

    Args:
        in_chans: C, 1 or 3.
        image_size: H and W.
        features: Number of features, a random but fixed choice of 448.
        most_images: Largest number of training images; their features are held in memory, 0.1 MB for an image of 64
            pixels and 100 features.
        pretrained: Whether the network has timm's weights, from the hub or its cache; else they are random.

    Raises:
        UsageError: An argument is out of range.
        MissingError: The weights cannot be fetched.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, *, in_chans: int, image_size: int, features: int, most_images: int, pretrained: bool) -> None:
        from anomalib.models.image.padim.torch_model import PadimModel

        super().__init__()
        if in_chans not in (1, CHANNELS):
            raise UsageError(f"anomaly/padim takes images of 1 or {CHANNELS} channels, not {in_chans}.")
        if image_size < 32:
            raise UsageError(f"anomaly/padim takes images of 32 pixels or more, not {image_size}.")
        if type(pretrained) is not bool:
            raise UsageError(f"pretrained={pretrained!r} must be true or false.")
        if type(features) is not int or not 1 <= features <= 448:
            raise UsageError(f"features={features!r} must be a whole number from 1 to 448.")
        check_most_images(most_images)
        self.most_images = most_images
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)  # the chosen features, and random weights, are part of the method
                self.padim = PadimModel(
                    backbone="resnet18", layers=list(LAYERS), pre_trained=pretrained, n_features=features
                )
        except (OSError, RuntimeError) as error:
            raise MissingError(
                f"The weights of timm/resnet18 cannot be fetched: {error}",
                hint="Fetch them where there is a network; or leave model.pretrained out",
            ) from error
        self.requires_grad_(False)
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))
        self.eval()
        with torch.no_grad():
            maps = self.padim.feature_extractor(torch.zeros(1, CHANNELS, image_size, image_size))
        places = maps[LAYERS[0]][0, 0].numel()
        # anomalib makes them in its fit; here their shapes are known before the weights are loaded.
        self.padim.gaussian.mean = torch.zeros(features, places)
        self.padim.gaussian.inv_covariance = torch.eye(features).expand(places, -1, -1).contiguous()

    def forward(self, images: Tensor) -> Tensor:
        """Return the anomaly score [n] of images [n, C, H, W]."""
        self.padim.eval()
        score: Tensor = self.padim(self._standardised(images)).pred_score
        return score.flatten().float()

    def fit_splits(self, splits: SplitsToFit) -> None:
        """Fit the normal distributions to the features of the training images."""
        total, done = min(self.most_images, len(splits.train)), 0
        images = torch.cat(list(first_images(splits.train, most=self.most_images)))
        self.centre.copy_(images.mean())
        self.spread.copy_(images.std().clamp_min(1e-12))
        self.padim.memory_bank.clear()
        for some in images.split(BATCH):
            maps = self.padim.feature_extractor(self._standardised(some))
            self.padim.memory_bank.append(self.padim.generate_embedding(maps))
            done += len(some)
            splits.progress(done, total, "features")
        with torch.no_grad():
            self.padim.fit()

    def _standardised(self, images: Tensor) -> Tensor:
        standard = (images - self.centre) / self.spread
        return standard.expand(-1, CHANNELS, -1, -1)


def build_padim(
    *, in_chans: int, num_classes: int, image_size: int, features: int, most_images: int, pretrained: bool
) -> Padim:
    """Build PaDiM."""
    return Padim(
        in_chans=in_chans, image_size=image_size, features=features, most_images=most_images, pretrained=pretrained
    )
