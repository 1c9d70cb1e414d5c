"""Blind fits of a smooth lens: a logistic regression on what they leave, and an anomaly score."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.lensing.instrument import PSFS, Instrument
from zoo.models.own_fit import SplitsToFit
from zoo_baselines.columns import checked_most, first_images, images_to_fit
from zoo_baselines.fit_cache import InMemory, file_of, image_keys, read, write
from zoo_baselines.lens_features import FEATURES, features_of, prepare
from zoo_baselines.lens_fit import Effort, fit_smooth_lens, in_threads
from zoo_baselines.lens_noise import observed
from zoo_baselines.lens_pixels import Grid, grids, grids_with_fewer_rays
from zoo_baselines.linear import Linear
from zoo_baselines.shapelets import HIGHEST_ORDER
from zoo_baselines.smooth_lens import Kind

HALOES = ("auto", "sphere", "ellipsoid")
SCORES = {"chi_square": "log_chi_square", "gain": "log_gain"}
"""Anomaly score -> feature: the logarithm of chi square per pixel, or of its decrease by one added point mass."""
_ON_A_GPU = 256
"""Images of a batch on a GPU. A CPU fits them one by one, in as many threads as torch has: an image's rays fit into a
processor's cache, and an image does not depend on others at all."""


class LensFits(nn.Module):
    """Fit a smooth lens to each image, blind, and keep what is left as features.

    Args:
        image_size: Pixels per side.
        halo: One of HALOES; "auto" chooses the ellipsoid where a training image has one.
        flexible: Whether the halo is an ellipsoid with multipoles of orders 3 and 4, whatever `halo`, and the width of
            a Gaussian PSF is fitted to each image, too. Other PSFs are known.
        shapelets: Highest order of the shapelets that the source has beside its Sersic ellipse; None: no shapelets.

    Raises:
        UsageError: `halo` is not one of HALOES, or there are no shapelets of this order.
    """

    camera: Tensor
    noise: Tensor
    parts: Tensor
    counts_macs = False
    """The fits take most of the work, in threads and in a number of steps that differs from image to image."""

    def __init__(
        self, *, image_size: int, halo: str = "auto", flexible: bool = False, shapelets: int | None = None
    ) -> None:
        super().__init__()
        if halo not in HALOES:
            raise UsageError(f"halo={halo!r} is not one of {', '.join(HALOES)}.")
        if shapelets not in (None, *range(HIGHEST_ORDER + 1)):
            raise UsageError(f"shapelets={shapelets!r} is not an order from 0 to {HIGHEST_ORDER}.")
        self.image_size, self.halo, self.flexible = image_size, halo, flexible
        self.shapelets = None if shapelets is None else int(shapelets)
        self.register_buffer("camera", torch.tensor([6.4 / image_size, 0.0, 0.1], dtype=torch.float64))
        self.register_buffer("noise", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("parts", torch.tensor([float(halo == "ellipsoid"), 0.0]))
        self._grids: dict[tuple[Any, ...], tuple[Grid, ...]] = {}
        self._known = InMemory()

    def features(self, images: Tensor) -> Tensor:
        """Return features [n, len(FEATURES)] in float64 of images [n, C, H, W], each by itself.

        An image that the network has seen before, in its fit or in another call, is not fitted again.
        """
        return self._rows(_mono(images))[:, : len(FEATURES)].to(images.device)

    def fit_notes(self) -> list[str]:
        """Return what was not fitted: images, and the width of a PSF."""
        notes = []
        if self.flexible and not self._kind().psf_width:
            notes.append("The PSF is not a Gaussian, so the fits took its width as known.")
        if self._known.failed:
            notes.append(
                f"Fits that failed: {self._known.failed:,} of {self._known.fitted:,}, over all splits and turned "
                "images; these have the features of an image without a lens."
            )
        return notes

    def _rows(self, mono: Tensor) -> Tensor:
        """Return features and whether the fit failed, [n, len(FEATURES) + 1] on the CPU, of images [n, H, W]."""
        keys = self._keys(mono)
        if missing := self._known.missing(keys):
            self._known.put([keys[place] for place in missing], self._fit(mono[missing]).cpu().numpy())
        return torch.from_numpy(self._known.take(keys).reshape(len(keys), len(FEATURES) + 1).copy())

    def _keys(self, mono: Tensor) -> list[bytes]:
        made_by: list[object] = [FEATURES, self.camera.tolist(), self.noise.tolist(), self.parts.tolist()]
        if self.flexible:
            made_by.append("flexible")
        if self.shapelets is not None:
            made_by.append(f"shapelets {self.shapelets}")
        return image_keys(mono, made_by)

    def _fit(self, mono: Tensor) -> Tensor:
        """Fit a lens to images [n, H, W] and return what `_rows` returns, in float64."""
        seconds, sky = self.noise.tolist()
        kind, levels = self._kind(), self._grids_for(mono)

        def fit(some: Tensor) -> Tensor:
            with torch.no_grad(), torch.autocast(some.device.type, enabled=False):
                seen = observed(some, seconds=seconds, sky=sky)
                fitted = fit_smooth_lens(seen, levels, kind, Effort())
                return torch.cat([features_of(seen, fitted, levels[-1], kind), fitted.failed[:, None].double()], 1)

        if mono.device.type == "cuda":
            together = _ON_A_GPU if self.shapelets is None else _ON_A_GPU // 8
            return torch.cat([fit(some) for some in mono.split(together)])
        prepare(levels[-1], dtype=mono.dtype, device=mono.device)
        return in_threads(fit, mono)

    def learn_camera(self, splits: SplitsToFit) -> None:
        """Take pixels, PSF and noise from the data set.

        Raises:
            UsageError: The camera of the images is unknown.
        """
        instrument = splits.instrument
        if instrument is None:
            raise UsageError(
                "A smooth lens can be fitted only to images whose pixel scale and PSF are known: simulated ones.",
                hint="Use other baselines: zoo list-models 'baselines/*'",
            )
        camera = [instrument.pixel_scale, PSFS.index(instrument.psf), instrument.psf_width]
        self.camera.copy_(torch.tensor(camera, dtype=torch.float64))
        common = splits.common
        noise = [common.exposure_seconds or 0.0, common.sky or 0.0]
        self.noise.copy_(torch.tensor(noise, dtype=torch.float64))
        ellipsoid = self.halo == "ellipsoid" or (self.halo == "auto" and common.round_haloes is False)
        self.parts.copy_(torch.tensor([ellipsoid, bool(common.lens_light)]))
        self._known = InMemory()

    @staticmethod
    def _report(splits: SplitsToFit, before: int, total: int, new: int) -> None:
        splits.progress(before + new, total, "fit lenses")

    def _cached(self, images: Tensor, progress: Callable[[int], None]) -> Tensor:
        """Return the features of training images, from the disk if they were fitted before in the same way."""
        mono = _mono(images)
        keys = self._keys(mono)
        path = file_of(keys)
        if (stored := read(path, rows=len(keys))) is not None:
            self._known.put(keys, stored)
        found, done = [], 0
        for some in mono.split(_ON_A_GPU if mono.is_cuda else max(16, 4 * torch.get_num_threads())):
            found.append(self._rows(some))
            done += len(some)
            progress(done)
        rows = torch.cat(found)
        if stored is None:
            write(path, rows.numpy())
        return rows[:, : len(FEATURES)].to(images.device)

    def _kind(self) -> Kind:
        ellipsoid, lens_light = self.parts.bool().tolist()
        gaussian = PSFS[int(self.camera[1])] == "gaussian"
        return Kind(
            ellipsoid=ellipsoid or self.flexible, lens_light=lens_light, multipoles=self.flexible,
            psf_width=self.flexible and gaussian, shapelets=self.shapelets,
        )  # fmt: skip

    def _grids_for(self, images: Tensor) -> tuple[Grid, ...]:
        pixel_scale, psf, psf_width = self.camera.tolist()
        key = (pixel_scale, psf, psf_width, images.device, images.dtype)
        if key not in self._grids:
            camera = Instrument(
                image_size=self.image_size, pixel_scale=pixel_scale, psf=PSFS[int(psf)], psf_width=psf_width
            )
            make = grids if self.shapelets is None else grids_with_fewer_rays  # their steps take several times as long
            self._grids = {key: make(camera, dtype=images.dtype, device=images.device)}
        return self._grids[key]


class FittedLens(LensFits):
    """Classify what fits of a smooth lens leave.

    Args:
        classes: K.
        image_size, halo, flexible, shapelets: Arguments of `LensFits`.
        strength: Inverse of the regularisation of the logistic regression.
        most_images: Largest number of training images.
    """

    def __init__(self, classes: int, *, strength: float, most_images: int, **lens: Any) -> None:
        super().__init__(**lens)
        self.most_images = checked_most(most_images)
        self.linear = Linear(len(FEATURES), classes, strength=strength)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [n, K] of images [n, C, H, W]."""
        logits: Tensor = self.linear(self.features(images))
        return logits.float()

    def fit_splits(self, splits: SplitsToFit) -> None:
        """Fit the logistic regression to the features of the training images.

        Raises:
            UsageError: The camera of the images is unknown.
        """
        self.learn_camera(splits)
        total, done = images_to_fit(splits.train, most=self.most_images), 0
        columns, all_labels = [], []
        for images, labels in first_images(splits.train, most=self.most_images):
            columns.append(self._cached(images, partial(self._report, splits, done, total)))
            all_labels.append(labels)
            done += len(images)
        self.linear.fit(torch.cat(columns), torch.cat(all_labels))


class FittedLensResidual(LensFits):
    """Anomaly score from fits of a smooth lens; nothing is learned but the camera.

    Args:
        image_size, halo, flexible, shapelets: Arguments of `LensFits`.
        score: One of SCORES.
    """

    def __init__(self, *, score: str, **lens: Any) -> None:
        super().__init__(**lens)
        if score not in SCORES:
            raise UsageError(f"score={score!r} is not one of {', '.join(SCORES)}.")
        self._column = FEATURES.index(SCORES[score])

    def forward(self, images: Tensor) -> Tensor:
        """Return scores [n] of images [n, C, H, W]."""
        return self.features(images)[:, self._column].float()

    def fit_splits(self, splits: SplitsToFit) -> None:
        """Take the camera of the images, and raise what `learn_camera` raises."""
        self.learn_camera(splits)


def _mono(images: Tensor) -> Tensor:
    """Return images [n, C, H, W] as they are fitted, [n, H, W].

    In float64 on a GPU, out of reach of the settings (TF32) that training may put on float32.
    """
    mono = images.mean(1)
    return mono.double() if images.is_cuda else mono.float().cpu()


def fitted_lens(*, in_chans: int, num_classes: int, strength: float, most_images: int, **lens: Any) -> FittedLens:
    """Return a classifier of what a fitted smooth lens leaves.

    Args:
        in_chans: Must be 1.
        num_classes: K.
        strength, most_images: See `FittedLens`.
        lens: Arguments of `LensFits`.

    Raises:
        UsageError: Images of several channels, whose noise is unknown to the fit.
    """
    _one_channel(in_chans)
    return FittedLens(num_classes, strength=strength, most_images=most_images, **lens)


def fitted_lens_residual(*, in_chans: int, num_classes: int, score: str, **lens: Any) -> FittedLensResidual:
    """Return a detector of images that no smooth lens describes.

    Args:
        in_chans: Must be 1.
        num_classes: Ignored: an anomaly score is one number.
        score: See `FittedLensResidual`.
        lens: Arguments of `LensFits`.

    Raises:
        UsageError: Images of several channels, whose noise is unknown to the fit.
    """
    _one_channel(in_chans)
    return FittedLensResidual(score=score, **lens)


def _one_channel(in_chans: int) -> None:
    if in_chans != 1:
        raise UsageError(f"A smooth lens is fitted to images of one channel, not {in_chans}.")
