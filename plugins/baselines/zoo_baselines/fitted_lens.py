"""A classifier of what a fitted smooth lens leaves: blind fit, features, multinomial logistic regression."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zoo.errors import UsageError, ZooError
from zoo.lensing.instrument import PSFS, Instrument
from zoo.models.own_fit import SplitsToFit
from zoo.paths import cache_dir, regular_file, written_whole
from zoo_baselines.columns import first_images
from zoo_baselines.lens_features import FEATURES, features_of, prepare
from zoo_baselines.lens_fit import Effort, fit_smooth_lens
from zoo_baselines.lens_noise import observed
from zoo_baselines.lens_pixels import Grid, grids
from zoo_baselines.linear import Linear
from zoo_baselines.smooth_lens import Kind

_CHECKSUM = 32
"""Bytes of a SHA-256."""
HALOES = ("auto", "sphere", "ellipsoid")
_ON_A_GPU = 256
"""Images of a batch on a GPU. A CPU fits them one by one, in as many threads as torch has: an image's rays fit into a
processor's cache, and an image does not depend on others at all."""


class FittedLens(nn.Module):
    """Fit a smooth lens to each image and classify what is left.

    Args:
        classes: K.
        image_size: Pixels per side.
        halo: One of HALOES; "auto" chooses the sphere where the data set's parameters make all haloes spheres.
        strength: Inverse of the regularisation of the logistic regression.
        most_images: Largest number of training images.
    """

    camera: Tensor
    noise: Tensor
    parts: Tensor

    def __init__(self, classes: int, *, image_size: int, halo: str, strength: float, most_images: int) -> None:
        super().__init__()
        if halo not in HALOES:
            raise UsageError(f"halo={halo!r} is not one of {', '.join(HALOES)}.")
        self.image_size, self.halo, self.most_images = image_size, halo, most_images
        self.register_buffer("camera", torch.tensor([6.4 / image_size, 0.0, 0.1], dtype=torch.float64))
        self.register_buffer("noise", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("parts", torch.tensor([float(halo == "ellipsoid"), 0.0]))
        self.linear = Linear(len(FEATURES), classes, strength=strength)
        self._grids: dict[tuple[Any, ...], tuple[Grid, Grid]] = {}

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [n, K] of images [n, C, H, W]."""
        logits: Tensor = self.linear(self.features(images))
        return logits.float()

    def features(self, images: Tensor) -> Tensor:
        """Return features [n, len(FEATURES)] in float64 of images [n, C, H, W], each by itself."""
        cuda = images.device.type == "cuda"
        # In float64 on a GPU, out of reach of the settings (TF32) that training may put on float32.
        mono = images.mean(1).to(torch.float64 if cuda else torch.float32)
        mono = mono if cuda else mono.cpu()
        seconds, sky = self.noise.tolist()
        kind, both = self._kind(), self._grids_for(mono)

        def fit(some: Tensor) -> Tensor:
            with torch.no_grad(), torch.autocast(some.device.type, enabled=False):
                seen = observed(some, seconds=seconds, sky=sky)
                return features_of(seen, fit_smooth_lens(seen, both, kind, Effort()), both[1], kind)

        if cuda:
            return torch.cat([fit(some) for some in mono.split(_ON_A_GPU)])
        threads = torch.get_num_threads()
        prepare(both[1], dtype=mono.dtype, device=mono.device)
        try:
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                return torch.cat(list(pool.map(fit, mono.split(1)))).to(images.device)
        finally:
            torch.set_num_threads(threads)  # the last number that any thread sets is that of every new thread

    def fit_splits(self, splits: SplitsToFit) -> None:
        """Fit the logistic regression to the features of the training images.

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
        self.noise.copy_(torch.tensor(known_noise(splits.params, instrument), dtype=torch.float64))
        ellipsoid = self.halo == "ellipsoid" or (self.halo == "auto" and splits.params.get("halo_axis_ratio", 1) != 1)
        self.parts.copy_(torch.tensor([ellipsoid, bool(splits.params.get("lens_light"))]))
        total, done = min(self.most_images, len(splits.train)), 0
        columns, all_labels = [], []
        for images, labels in first_images(splits.train, most=self.most_images):
            columns.append(self._cached(images, partial(self._report, splits, done, total)))
            all_labels.append(labels)
            done += len(images)
        self.linear.fit(torch.cat(columns), torch.cat(all_labels))

    @staticmethod
    def _report(splits: SplitsToFit, before: int, total: int, new: int) -> None:
        splits.progress(before + new, total, "fit lenses")

    def _cached(self, images: Tensor, progress: Callable[[int], None]) -> Tensor:
        """Return the features of images, from the cache if they were fitted before in the same way."""
        pixels = images.float().cpu().contiguous().numpy()
        settings = [_code(), FEATURES, self.camera.tolist(), self.noise.tolist(), self.parts.tolist(), pixels.shape]
        digest = hashlib.sha256(json.dumps([*settings, images.device.type]).encode())
        digest.update(pixels.data)
        path = cache_dir() / "fitted_lens" / f"{digest.hexdigest()[:32]}.features"
        stored = _read(path)
        if stored is not None and stored.shape == (len(images), len(FEATURES)):
            progress(len(images))
            return torch.from_numpy(stored).to(images.device)
        found, done = [], 0
        for some in images.split(_ON_A_GPU if images.device.type == "cuda" else max(16, 4 * torch.get_num_threads())):
            found.append(self.features(some))
            done += len(some)
            progress(done)
        features = torch.cat(found)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = features.cpu().numpy().astype("<f8").tobytes()
        with written_whole(path) as temporary:
            temporary.write_bytes(content + hashlib.sha256(content).digest())
        return features

    def _kind(self) -> Kind:
        ellipsoid, lens_light = self.parts.bool().tolist()
        return Kind(ellipsoid=ellipsoid, lens_light=lens_light)

    def _grids_for(self, images: Tensor) -> tuple[Grid, Grid]:
        pixel_scale, psf, psf_width = self.camera.tolist()
        key = (pixel_scale, psf, psf_width, images.device, images.dtype)
        if key not in self._grids:
            camera = Instrument(
                image_size=self.image_size, pixel_scale=pixel_scale, psf=PSFS[int(psf)], psf_width=psf_width
            )
            self._grids = {key: grids(camera, dtype=images.dtype, device=images.device)}
        return self._grids[key]


def _read(path: Path) -> NDArray[np.float64] | None:
    """Return cached features, or None where there are none or the SHA-256 at the end of the file does not fit."""
    try:
        content = regular_file(path).read_bytes()
    except (OSError, ZooError):
        return None
    content, checksum = content[:-_CHECKSUM], content[-_CHECKSUM:]
    if hashlib.sha256(content).digest() != checksum:
        return None
    return np.frombuffer(content, "<f8").reshape(-1, len(FEATURES)).copy()


@functools.cache
def _code() -> str:
    """Return a digest of the code that decides the features: of this package and the version of torch."""
    digest = hashlib.sha256(torch.__version__.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(regular_file(path).read_bytes())
    return digest.hexdigest()


def known_noise(params: Mapping[str, Any], instrument: Instrument) -> tuple[float, float]:
    """Return exposure in seconds and sky in counts per second and pixel; 0 where they differ between images.

    Args:
        params: Parameters of the data set; a text is a prior, whose value for an image is not used.
        instrument: Camera, whose pixels collect the sky that is stated for a reference pixel.
    """

    def number(name: str) -> float:
        value = params.get(name)
        return float(value) if isinstance(value, (int, float)) and value > 0 else 0.0

    if params.get("scaling", "none") != "none":
        return 0.0, 0.0
    other = any(params.get(name) is not None for name in ("sky_magnitude", "background_rms", "read_noise"))
    sky = 0.0 if other else number("sky") * instrument.area_in_reference_pixels
    return number("exposure_seconds"), sky


def fitted_lens(
    *, in_chans: int, num_classes: int, image_size: int, halo: str, strength: float, most_images: int
) -> FittedLens:
    """Return a classifier of what a fitted smooth lens leaves.

    Raises:
        UsageError: Images of several channels, whose noise the fit does not know.
    """
    if in_chans != 1:
        raise UsageError(f"A smooth lens is fitted to images of one channel, not {in_chans}.")
    return FittedLens(num_classes, image_size=image_size, halo=halo, strength=strength, most_images=most_images)
