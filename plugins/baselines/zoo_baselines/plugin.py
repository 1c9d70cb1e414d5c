"""Registers the baselines with `zoo`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo import ChannelSpec, ModelSpec, hookimpl

_SCALARS = """
The scalars are those of `zoo.scores.scalars`: flux, radius, width, offset, azimuthal moments of the light and of the
ring, asymmetry, Gini coefficient, Laplacian, bands of spatial frequency and others, 64 in all. They do not change where
an image is turned by 90 degrees or mirrored. `zoo data probe` prints the AUC of each of them alone.
"""

_FITTED_LENS = """
An isothermal halo (a sphere, or an ellipsoid where the population has some), external shear and an elliptical Sersic
source are fitted to each image without knowledge of its truth, by Levenberg-Marquardt steps from four starts. The
camera is that of the data set, and exposure and sky are those stored with the images; where one of them differs between
images, it is measured in the residuals. A multinomial logistic regression sees 32 numbers: chi square, residuals, the
gain by one added point mass, and the fitted parameters. The multiply-accumulates are unknown: the number of steps
differs. A fit that fails is counted and noted with the result; its numbers are those of an image without a lens.
"""

_FLEXIBLE = """
The halo is an ellipsoid with multipoles of orders 3 and 4 around its centre, expected within 2 %, and the width of the
PSF, where that is a Gaussian, is fitted to each image. So multipoles of that size and a wrong width of the PSF do not
look like substructure; in turn the fit imitates a part of the substructure, and takes about twice as long.
"""

_SHAPELETS = """
The source is the Sersic ellipse and a sum of shapelets (Refregier 2003, astro-ph/0105178; as the source of a lens:
Birrer, Amara & Refregier 2015, arXiv:1504.07629) around its centre, of orders up to `shapelets` and of a free width, 66
coefficients at order 10. So it describes galaxies that differ from a Sersic ellipse, such as those of `real_sources`.
"""

_WIDTH = (
    "The width of an answer is the root mean square error on the validation images, the same for every image. "
    "Quantiles and flows are those of the normal distribution."
)
_TREES = "scikit-learn's histogram gradient boosting, evaluated in torch"
_LIMIT = "It is fitted to the first {:,} training images, where there are more (`most_images`)."
_SCORE = (
    "With `score=chi_square` the score is the logarithm of chi square per pixel, with `score=gain` of the decrease of "
    "chi square by one added point mass. No image is trained on."
)

_ENDS_ELSEWHERE = {"turns-with-the-image": "the fit of a turned image may end elsewhere"}
ZOO_EXCUSED_CHECKS = {
    f"baselines/{name}": _ENDS_ELSEWHERE
    for name in ("residual", "residual_centred", "residual_flexible", "residual_shapelets")
}


@hookimpl
def zoo_models() -> list[ModelSpec]:
    """Return the baselines."""
    return [
        ModelSpec(
            id="baselines/scalars_linear",
            target="zoo_baselines.linear:scalars_linear",
            summary="logistic regression on 64 scalars of the image",
            tags=("baseline",),
            requires=("scikit-learn:sklearn",),
            parameters=195,
            defaults={"strength": 1.0, "most_images": 100_000},
            search_space={"strength": {"low": 1e-3, "high": 1e3, "log": True}},
            fits_itself=True,
            card=f"A multinomial logistic regression.\n{_SCALARS}\n{_LIMIT.format(100_000)}",
        ),
        ModelSpec(
            id="baselines/scalars_boosted",
            version=2,
            target="zoo_baselines.boosted:scalars_boosted",
            summary="gradient-boosted trees on 64 scalars of the image",
            tags=("baseline",),
            requires=("scikit-learn:sklearn",),
            parameters=52_200,
            defaults={"trees": 300, "leaves": 15, "rate": 0.05, "most_images": 20_000},
            search_space={
                "trees": [100, 300, 600],
                "leaves": [4, 8, 15, 31],
                "rate": {"low": 0.02, "high": 0.3, "log": True},
            },
            fits_itself=True,
            card=f"{_TREES}.\n{_SCALARS}\n{_LIMIT.format(20_000)}",
        ),
        ModelSpec(
            id="baselines/scalars_ridge",
            target="zoo_baselines.regression:scalars_ridge",
            summary="ridge regression on 64 scalars of the image",
            tags=("baseline",),
            parameters=64,
            defaults={"strength": 1.0, "most_images": 100_000},
            search_space={"strength": {"low": 1e-3, "high": 1e3, "log": True}},
            fits_itself=True,
            tasks=("regress",),
            card=f"A linear regression with a penalty of squared weights. {_WIDTH}\n{_SCALARS}\n"
            f"{_LIMIT.format(100_000)}",
        ),
        ModelSpec(
            id="baselines/scalars_boosted_regression",
            version=2,
            target="zoo_baselines.regression:scalars_boosted_regression",
            summary="gradient-boosted regression trees on 64 scalars of the image",
            tags=("baseline",),
            requires=("scikit-learn:sklearn",),
            parameters=17_400,
            defaults={"trees": 300, "leaves": 15, "rate": 0.05, "most_images": 20_000},
            search_space={
                "trees": [100, 300, 600],
                "leaves": [4, 8, 15, 31],
                "rate": {"low": 0.02, "high": 0.3, "log": True},
            },
            fits_itself=True,
            tasks=("regress",),
            card=f"{_TREES}. {_WIDTH}\n{_SCALARS}\n{_LIMIT.format(20_000)}",
        ),
        ModelSpec(
            id="baselines/pca_linear",
            target="zoo_baselines.linear:pca_linear",
            summary="logistic regression on 64 principal components of the pixels",
            tags=("baseline",),
            requires=("scikit-learn:sklearn",),
            parameters=64 * 150 * 150 + 195,
            defaults={"components": 64, "strength": 1.0, "most_images": 20_000},
            search_space={"components": [16, 32, 64, 128], "strength": {"low": 1e-3, "high": 1e3, "log": True}},
            fits_itself=True,
            card="A multinomial logistic regression on the first principal components of the pixels, found by a "
            f"randomised singular value decomposition.\n\n{_LIMIT.format(20_000)}",
        ),
        _classifier(
            "fitted_lens", "a smooth lens fitted to each image, logistic regression on what it leaves", "",
            version=2, defaults={"halo": "auto"},
        ),
        _detector(
            "fitted_lens", "chi square of a smooth lens fitted to each image", " ",
            defaults={"halo": "auto", "score": "chi_square"},
        ),
        _classifier(
            "flexible_lens", "fitted_lens whose halo has multipoles and whose PSF has a free width", _FLEXIBLE,
            arguments={"flexible": True},
        ),
        _detector(
            "flexible_lens", "gain by one mass added to a fit with multipoles and a free PSF width", f"\n{_FLEXIBLE}\n",
            arguments={"flexible": True}, defaults={"score": "gain"},
        ),
        _classifier(
            "shapelet_lens", "fitted_lens whose source has shapelets: for real galaxies", _SHAPELETS,
            defaults={"halo": "auto", "shapelets": 10}, search={"shapelets": _ORDERS},
        ),
        _detector(
            "shapelet_lens", "gain by one mass added to a fit whose source has shapelets", f"\n{_SHAPELETS}\n",
            defaults={"halo": "auto", "shapelets": 10, "score": "gain"}, search={"shapelets": _ORDERS},
        ),
    ]  # fmt: skip


_ORDERS = [4, 6, 8, 10, 12]


def _classifier(
    name: str,
    summary: str,
    told: str,
    *,
    version: int = 1,
    arguments: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
    search: Mapping[str, Any] | None = None,
) -> ModelSpec:
    """Return a classifier of what the fit of a lens leaves; `told` is the part of its card on this lens."""
    return ModelSpec(
        id=f"baselines/{name}",
        version=version,
        target="zoo_baselines.fitted_lens:fitted_lens",
        summary=summary,
        tags=("baseline", "physics"),
        requires=("scikit-learn:sklearn",),
        parameters=99,
        arguments=dict(arguments or {}),
        defaults={**(defaults or {}), "strength": 0.3, "most_images": 2048},
        search_space={**(search or {}), "strength": {"low": 1e-3, "high": 1e2, "log": True}},
        fits_itself=True,
        card=f"{_FITTED_LENS}{told}\n{_LIMIT.format(2048)}",
    )


def _detector(
    name: str,
    score: str,
    told: str,
    *,
    arguments: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any],
    search: Mapping[str, Any] | None = None,
) -> ModelSpec:
    """Return a detector by what the fit of a lens leaves; `told` is the part of its card on this lens."""
    return ModelSpec(
        id=f"baselines/{name}_residual",
        target="zoo_baselines.fitted_lens:fitted_lens_residual",
        summary=f"anomaly score: {score}",
        tags=("baseline", "physics"),
        parameters=0,
        arguments=dict(arguments or {}),
        defaults=dict(defaults),
        search_space={**(search or {}), "score": ["chi_square", "gain"]},
        fits_itself=True,
        tasks=("anomaly",),
        card=f"The fits are those of `baselines/{name}`.{told}{_SCORE}",
    )


_RESIDUAL = """
A halo, external shear and a Sersic source are fitted to each image without knowledge of its truth; the channel is the
image minus this lens over the noise of each pixel. Camera, exposure and kind of halo are those of the data set. The
images must be simulated ones.
"""
_SERSIC_ONLY = """
Their sources must be Sersic ellipses: what the model cannot describe, such as a real galaxy, looks like substructure.
"""


@hookimpl
def zoo_channels() -> list[ChannelSpec]:
    """Return the channels that are computed from a fitted smooth lens."""
    return [
        ChannelSpec(
            id="baselines/residual",
            target="zoo_baselines.residual_channel:residual",
            summary="image minus a smooth lens fitted to it, over the noise",
            tags=("physics",),
            arguments={"free_centre": True},
            card=f"{_RESIDUAL}{_SERSIC_ONLY}\nThe halo's centre is fitted, too.",
        ),
        ChannelSpec(
            id="baselines/residual_centred",
            target="zoo_baselines.residual_channel:residual",
            summary="image minus a smooth lens fixed in its middle, over the noise",
            tags=("physics",),
            arguments={"free_centre": False},
            limits="On lenses that are not in the middle of the image, networks with this channel take nearly every "
            "smooth lens for one with substructure.",
            card=f"{_RESIDUAL}{_SERSIC_ONLY}\nThe halo's centre is the middle of the image, as in Models A and B: a "
            "shift of the light, which substructure causes there, stays in the residual. For lenses that lie "
            "elsewhere, take `baselines/residual`.",
        ),
        ChannelSpec(
            id="baselines/residual_flexible",
            target="zoo_baselines.residual_channel:residual",
            summary="image minus a smooth lens with multipoles and a free PSF width, over the noise",
            tags=("physics",),
            arguments={"free_centre": True, "flexible": True},
            card=f"{_RESIDUAL}{_SERSIC_ONLY}\nThe halo's centre is fitted, too.{_FLEXIBLE}",
        ),
        ChannelSpec(
            id="baselines/residual_shapelets",
            target="zoo_baselines.residual_channel:residual",
            summary="image minus a smooth lens whose source has shapelets, over the noise",
            tags=("physics",),
            arguments={"free_centre": True, "shapelets": 10},
            card=f"{_RESIDUAL}\nThe halo's centre is fitted, too.{_SHAPELETS}",
        ),
    ]
