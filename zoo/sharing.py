"""Public Python functions that simulate and predict, in this process or in shares that a launcher starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.api import default_host
from zoo.errors import UsageError, nearest
from zoo.host import Host
from zoo.paths import user_path
from zoo.plain_values import check_seed

if TYPE_CHECKING:
    from zoo.inference.answer import Prediction
    from zoo.inference.read import Skipped
    from zoo.inference.share_jobs import Joined


def simulate(
    dataset: str,
    images: int,
    *,
    out: str | Path | None = None,
    split: str = "train",
    simulator: str | None = None,
    seed: int = 0,
    device: str = "cpu",
    launcher: str | None = None,
    shards: int | None = None,
    launcher_settings: Sequence[str] | Mapping[str, Any] = (),
    jobs: int | None = None,
    gpus: str = "",
    retries: int = 2,
    host: Host | None = None,
    **params: Any,
) -> Path:
    """Make what is missing of a split of a data set, and return its folder; see `zoo simulate --help`.

    Args:
        dataset: Id or bare name, such as "modelB".
        images: Number of images that the split is to have.
        out: Folder of the images; default: the cache, in which `zoo bench` and `open_dataset` look for them.
        split: "train", "val" or "test".
        simulator: Id or name; default: the one that `zoo list-simulators` marks.
        seed: Another seed gives other images of the same kind.
        device: "auto", "cpu" or "cuda".
        launcher: Id or name of a launcher that starts the processes of shares; default: this process.
        shards: Number of shares.
        launcher_settings, jobs, gpus, retries: Options of the launcher, as in `zoo.bench`.
        host: The plugins; default: all installed ones.
        params: Parameters and priors that differ from the defaults; see `zoo show NAME`.

    Raises:
        UsageError: An unknown name or parameter, or an impossible value.
        MissingError: A plugin or library that is needed is absent.
        DataError: The folder cannot be written, or the disk is too small.
        LauncherError: A share has failed; the same call goes on with what is missing.
    """
    from zoo.data.folder import cache_folder, fill_folder
    from zoo.data.open import Dataset
    from zoo.data.recipe import MOST_IMAGES, SPLITS
    from zoo.plan.recipes import plan_images
    from zoo.run.launch import device_for, launch_of_call
    from zoo.run.shares import run_shares

    host = host or default_host()
    launch = launch_of_call(
        launcher, shards, launcher_settings=launcher_settings, jobs=jobs, gpus=gpus, retries=retries
    )
    if split not in SPLITS:
        raise UsageError(f"split '{split}' is not one of {', '.join(SPLITS)}.{nearest(split, SPLITS)}")
    if type(images) is not int or not 1 <= images <= MOST_IMAGES:
        raise UsageError(f"images={images!r} must be a whole number from 1 to {MOST_IMAGES:,}.")
    check_seed(seed)
    settings = {f"data.{name}": value for name, value in params.items()}
    device = device_for(host, launch, device)
    _, recipe = plan_images(host, dataset, settings=settings, simulator=simulator or "", device=device, seed=seed)
    folder = cache_folder(recipe) if out is None else user_path(out)
    if launch is None or shards is None:
        simulation = Dataset(host, recipe, {}).simulation(expected_images=images)
        fill_folder(simulation, split, images, folder=folder)
    else:
        run_shares(host, recipe, split, images, folder=folder, shares=shards, launch=launch).check()
    return folder


def predict(
    weights: str | Path,
    files: str | Path | Sequence[str | Path],
    *,
    average: str = "none",
    pixel_scale: float | None = None,
    factor: float = 1.0,
    match_scale: bool = False,
    batch_size: int = 64,
    device: str = "cpu",
    store: str | Path = "results",
    launcher: str | None = None,
    shards: int | None = None,
    launcher_settings: Sequence[str] | Mapping[str, Any] = (),
    jobs: int | None = None,
    gpus: str = "",
    retries: int = 2,
    host: Host | None = None,
) -> Iterator[Prediction | Skipped]:
    """Return an iterator over the answers for the images of files, in their order; see `zoo predict --help`.

    An image that cannot be used is a `Skipped` with the reason. For arrays: `load(weights).predict_proba`.

    Args:
        weights: Weights, in any form that `load` accepts.
        files: Files and folders.
        average: "none", "p4" or "d4".
        pixel_scale: Pixel scale of all images in arcsec, in place of their headers.
        factor: Factor of every pixel, such as 1 / exposure time for counts.
        match_scale: Whether each image is scaled to the median peak of the training images.
        batch_size: Number of images at a time.
        device: "auto", "cpu", "cuda" or "mps".
        store: Store that is searched for run ids, and that keeps the answers of shares until all have been read.
        launcher: Id or name of a launcher that starts the processes of shares; default: this process.
        shards: Number of shares.
        launcher_settings, jobs, gpus, retries: Options of the launcher, as in `zoo.bench`.
        host: The plugins; default: all installed ones.

    Raises:
        UsageError: An unknown name or an impossible value, or no files.
        DataError: The weights are damaged.
        MissingError: A plugin or library that is needed is absent.
        LauncherError: A share has failed; the same call goes on with what is missing.
    """
    from zoo.inference.files import predict_files
    from zoo.inference.predict_shares import run_predictions
    from zoo.inference.prepare import Preparation, check_scale
    from zoo.inference.read import expand, require_files
    from zoo.models.load import load_weights
    from zoo.models.trained import AVERAGES
    from zoo.run.launch import device_for, launch_of_call
    from zoo.weights.find import find_weights

    host, store = host or default_host(), user_path(store)
    launch = launch_of_call(
        launcher, shards, launcher_settings=launcher_settings, jobs=jobs, gpus=gpus, retries=retries
    )
    if average not in AVERAGES:
        raise UsageError(f"average '{average}' is not one of {', '.join(AVERAGES)}.{nearest(average, AVERAGES)}")
    if type(batch_size) is not int or batch_size < 1:
        raise UsageError(f"batch_size={batch_size!r} must be a whole number, 1 or more.")
    preparation = Preparation(pixel_scale=pixel_scale, factor=factor, match_scale=match_scale)
    device = device_for(host, launch, device)
    path = find_weights(host, str(weights), store=store)
    named = [files] if isinstance(files, (str, Path)) else list(files)
    if not all(isinstance(file, (str, Path)) for file in named):
        raise UsageError("files must be paths.", hint="Arrays: zoo.load(weights).predict_proba(images)")
    names = list(map(str, named))
    paths = list(require_files(expand(names, stdin=()), names))
    trained = load_weights(host, path)
    check_scale(preparation, trained.about)  # before shares are started
    if launch is None or shards is None:
        return predict_files(
            trained.to(device), paths, preparation=preparation, average=average, batch_size=batch_size
        )  # fmt: skip
    joined = run_predictions(
        host, path, paths, model=trained.about.model, preparation=preparation, average=average, batch_size=batch_size,
        device=device, store=store, shares=shards, launch=launch,
    )  # fmt: skip
    joined.check()
    return _read_once(joined)


def _read_once(joined: Joined) -> Iterator[Prediction | Skipped]:
    """Yield the answers of all shares, and delete their files at the end."""
    from zoo.inference.predict_shares import joined_predictions

    yield from joined_predictions(joined)
    joined.forget()
