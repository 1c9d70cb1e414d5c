"""The methods of this plugin as plain data. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo import ModelSpec

ANOMALY = ("anomaly",)
PAPER = "Alexander et al. 2020, *Decoding Dark Matter Substructure without Supervision*, arXiv:2008.12731"

LAYERS: dict[str, Any] = {
    "widths": [16, 32, 64], "kernel_sizes": [5, 5, 5], "strides": [2, 2, 2], "paddings": [2, 2, 2],
}  # fmt: skip
PUBLISHED_LAYERS: dict[str, Any] = {
    "widths": [16, 32, 64], "kernel_sizes": [7, 7, 7], "strides": [3, 3, 1], "paddings": [1, 1, 0], "latent": 1000,
}  # fmt: skip
WIDTHS: dict[str, Any] = {"widths": [[8, 16, 32], [16, 32, 64], [24, 48, 96]]}

_SMALL = """
Three convolutions of stride 2, a linear map to a code of {latent} numbers, and back by transposed convolutions, for
images of any size. Loss and score are the residual's: with `residual=chi_square` in units of the noise
(`zoo.models.residual`), with `mean_square` the plain mean square.
"""
_PUBLISHED = f"""
Layers, loss and score of {PAPER}, from its public code: at 150 pixels, convolutions leave 9 x 9 pixels of 64
channels, a linear map makes 1,000 numbers of them, and transposed convolutions go back, up to a hyperbolic tangent.
Each image is stretched from its lowest to its highest pixel to [0, 1] in 255 steps. The score is the mean square of
the residual. Filters that are larger than the map of a small image shrink to it.

As published, with `--budget paper`: 50 epochs in batches of 100, the last epoch kept (`--set epochs=50 --set
batch_size=100`). Here the images are those of the data set, and the epoch with the lowest loss on normal validation
images is kept.
"""
_OWN_FIT = "It is fitted to the first {:,} training images, where there are more (`most_images`)."


def _autoencoder(
    name: str, kind: str, *, summary: str, card: str, parameters: int, published: bool = False, **others: Any
) -> ModelSpec:
    defaults = {**PUBLISHED_LAYERS, "residual": "mean_square"} if published else {
        **LAYERS, "latent": 64, "residual": "chi_square",
    }  # fmt: skip
    training: Mapping[str, Any] = {"lr": 2e-3, "weight_decay": 1e-5}
    if published:  # neither augmentation nor an average of the weights
        training = {**training, "augment": "none", "ema": 0.0, "clip": 0.0}
    return ModelSpec(
        id=f"anomaly/{name}",
        target=f"zoo_anomaly.autoencoders:build_{kind}",
        arguments={"published": published},
        summary=summary,
        tags=("convolutional", "from-scratch", *(("published", "large") if published else ())),
        tasks=ANOMALY,
        parameters=parameters,
        card=card,
        defaults={**defaults, **others.pop("defaults", {})},
        training={**training, **others.pop("training", {})},
        search_space={
            **WIDTHS,
            "latent": [250, 500, 1000] if published else [16, 32, 64, 128],
            **others.pop("search_space", {}),
        },
        **others,
    )


def _own_fit(
    name: str,
    target: str,
    *,
    most: int,
    card: str,
    tags: tuple[str, ...] = ("closed-form",),
    requires: tuple[str, ...] = ("scikit-learn:sklearn",),
    **others: Any,
) -> ModelSpec:
    return ModelSpec(
        id=f"anomaly/{name}",
        target=f"zoo_anomaly.{target}",
        tags=tags,
        tasks=ANOMALY,
        requires=requires,
        fits_itself=True,
        card=f"{card}\n\n{_OWN_FIT.format(most)}",
        defaults={"most_images": most, **others.pop("defaults", {})},
        **others,
    )


VAE_BODY = """
The code of an image is a normal distribution, drawn from in training, its mean in evaluation. The loss is the
negative evidence lower bound: to the residual's loss comes the Kullback-Leibler divergence of the codes from a
standard normal distribution, times `beta`; with `chi_square` and `beta=1` it is the bound itself.

Kingma & Welling 2014, arXiv:1312.6114.
"""
AAE_BODY = """
A discriminator learns to tell codes from draws of a normal distribution of standard deviation `spread`, and the
encoder, at a tenth of the learning rate, to make them alike.

Makhzani et al. 2015, arXiv:1511.05644.
"""
NO_DIVERGENCE = """
The published code multiplies the divergence with `beta=0`: it is an auto-encoder with noise in its code, and so it is
here by default. Its published score is that of one noisy code; here it is that of the mean, as a stored prediction
must come out the same again.
"""

MODELS = [
    _autoencoder(
        "ae",
        "ae",
        summary="convolutional auto-encoder, residual in units of the noise",
        card=_SMALL.format(latent=64),
        parameters=3_109_442,
    ),
    _autoencoder(
        "vae",
        "vae",
        summary="variational auto-encoder with its divergence, residual in units of the noise",
        card=f"{_SMALL.format(latent=64)}\n{VAE_BODY}",
        parameters=4_588_162,
        defaults={"beta": 1.0},
        search_space={"beta": {"low": 0.1, "high": 10.0, "log": True}},
    ),
    _autoencoder(
        "aae",
        "aae",
        summary="adversarial auto-encoder, residual in units of the noise",
        card=f"{_SMALL.format(latent=64)}\n{AAE_BODY}",
        parameters=3_192_131,
        defaults={"spread": 5.0, "hidden": 256},
    ),
    _autoencoder(
        "ae_published",
        "ae",
        published=True,
        summary="auto-encoder of arXiv:2008.12731, mean square",
        card=_PUBLISHED,
        parameters=10_628_585,
    ),
    _autoencoder(
        "vae_published",
        "vae",
        published=True,
        summary="'VAE' of arXiv:2008.12731, mean square, without divergence",
        card=f"{_PUBLISHED}\n{NO_DIVERGENCE}",
        parameters=15_811_585,
        defaults={"beta": 0.0},
    ),
    _autoencoder(
        "aae_published",
        "aae",
        published=True,
        summary="adversarial auto-encoder of arXiv:2008.12731, mean square",
        card=f"{_PUBLISHED}\n{AAE_BODY}",
        parameters=10_948_890,
        defaults={"spread": 5.0, "hidden": 256},
        training={"lr": 1e-3, "weight_decay": 0.0, "schedule": "constant"},
        search_space={"weight_decay": [0.0, 1e-6, 1e-5, 1e-4]},
    ),
    ModelSpec(
        id="anomaly/deep_svdd",
        target="zoo_anomaly.deep_svdd:build_deep_svdd",
        summary="deep SVDD: distance of features from one point",
        tags=("convolutional", "from-scratch"),
        tasks=ANOMALY,
        parameters=803_728,
        card="""
Three convolutions of stride 2 with batch norm, and a linear map to 32 features, none with a constant: the features of
normal images gather around the mean of the first batch's features. The score is the mean squared distance from it.

Ruff et al. 2018, *Deep One-Class Classification*, ICML.
""",
        defaults={**LAYERS, "latent": 32},
        training={"lr": 1e-3, "weight_decay": 1e-6},
        search_space={**WIDTHS, "latent": [8, 16, 32, 64]},
    ),
    _own_fit(
        "pca_residual",
        "closed:build_pca_residual",
        most=20_000,
        summary="residual of 256 principal components, in units of the noise",
        card="What the first principal components of normal images leave of an image.",
        parameters=256 * 150 * 150 + 1,
        defaults={"components": 256, "residual": "chi_square"},
        search_space={"components": [64, 128, 256, 512], "residual": ["chi_square", "mean_square"]},
    ),
    _own_fit(
        "mahalanobis_pixels",
        "closed:build_mahalanobis_pixels",
        most=20_000,
        summary="Mahalanobis distance of pixels under 256 principal components and noise",
        card="The covariance of the pixels is that of probabilistic principal components (Tipping & Bishop 1999): the "
        "components' own, and one variance in all other directions.",
        parameters=256 * 150 * 150,
        defaults={"components": 256},
        search_space={"components": [64, 128, 256, 512]},
    ),
    _own_fit(
        "mahalanobis_scalars",
        "closed:build_mahalanobis_scalars",
        most=100_000,
        summary="Mahalanobis distance of 64 scalars of the image: what to beat",
        card="The scalars are those of `zoo.scores.scalars`, on which a data set's own baseline classifies: a detector "
        "that does not beat this one has learnt nothing that they miss.",
        parameters=0,
    ),
    _own_fit(
        "mahalanobis_features",
        "features:build_mahalanobis_features",
        most=20_000,
        summary="Mahalanobis distance of features of an encoder that was trained on normal images",
        card="A variational auto-encoder, as anomaly/vae, is trained within the fit. The features are its code, and "
        "mean and standard deviation of each channel after each convolution. Lee et al. 2018, arXiv:1807.03888.",
        parameters=4_588_162,
        defaults={**LAYERS, "latent": 64, "passes": 8},
        search_space={**WIDTHS, "latent": [16, 32, 64], "passes": [4, 8, 16]},
    ),
    _own_fit(
        "mahalanobis_truths",
        "features:build_mahalanobis_truths",
        most=20_000,
        summary="Mahalanobis distance of features of a network that estimates truths of normal images",
        card="Three convolutions of stride 2 and a hidden layer are trained within the fit to estimate stored truths "
        "of the normal images (`truths`; by default SNR, Einstein radius and shear; those that are undefined, or the "
        "same, for all of them are left out). The features are the hidden layer, and mean and standard deviation of "
        "each channel after each convolution. Lee et al. 2018, arXiv:1807.03888.",
        parameters=1_543_232,
        defaults={
            **LAYERS,
            "latent": 64,
            "passes": 8,
            "truths": ["exposure.snr", "total_einstein_radius", "shear"],
        },
        truths=("truths",),
        search_space={**WIDTHS, "latent": [16, 32, 64], "passes": [4, 8, 16]},
    ),
    _own_fit(
        "pyod",
        "pyod_detectors:build_pyod",
        most=4_000,
        tags=(),
        requires=("pyod",),
        summary="a detector of PyOD on 64 scalars of the image: --set model.detector=iforest, knn, lof, ...",
        card="`detector` is one of gmm, hbos, iforest, inne, kde, knn, lof and ocsvm, with PyOD's defaults (gmm: 8 "
        "components). ECOD and COPOD are left out: their score of an image depends on the other images. The weights "
        "hold the scalars of the training images, and the detector is fitted to them again when weights are loaded. "
        "Zhao, Nasrullah & Li 2019, JMLR 20(96), 1.",
        parameters=0,
        defaults={"detector": "iforest"},
        search_space={"detector": ["gmm", "hbos", "iforest", "inne", "kde", "knn", "lof", "ocsvm"]},
    ),
    _own_fit(
        "padim",
        "padim:build_padim",
        most=2_000,
        tags=("convolutional",),
        requires=("anomalib", "timm"),
        summary="PaDiM of anomalib: distance of a ResNet-18's features at each place",
        card="`--set model.pretrained=true` takes timm's weights of ResNet-18, from the hub or its cache. Features of "
        "the default's random weights mean less. The inverse covariances are most of the weights: 10 MB at 64 pixels, "
        "59 MB at 150. Defard et al. 2021, arXiv:2011.08785.",
        parameters=2_782_784,
        defaults={"features": 100, "pretrained": False},
        initialisers={"pretrained": False},
        search_space={"features": [50, 100, 200]},
    ),
]
