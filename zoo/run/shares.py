"""Shares of a split as jobs of a launcher. Each writes its part of the manifest; at the end the parts are joined."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo import provenance, registry
from zoo.data.folder import fill_folder
from zoo.data.folder_recipe import check_folder, claim_folder
from zoo.data.manifest import record_split, unstated_shards
from zoo.data.open import Dataset
from zoo.data.recipe import Recipe
from zoo.data.shards import SHARD_SIZE, shard_count, shard_name
from zoo.data.share import SHARE, Share, shard_sizes
from zoo.data.space import check_disk
from zoo.devices import resolve_device
from zoo.errors import LauncherError, UsageError
from zoo.paths import absolute_variables, make_dir
from zoo.plan.unchanged import check_versions
from zoo.plurals import counted
from zoo.progress import read_progress
from zoo.results.store import PROGRESS
from zoo.run.job_queue import Entry
from zoo.run.launch import Launch
from zoo.run.launcher import Job
from zoo.run.queued import make_job, make_queue, wait_for
from zoo.run.share_work import ShareEnd, ShareFile, ShareWork, share_at_work
from zoo.specs import DatasetSpec

if TYPE_CHECKING:
    from zoo.host import Host


@dataclass(frozen=True, kw_only=True)
class SharesEnd:
    """Result of `run_shares`.

    Args:
        made: Number of images made by this call.
        found: Number of images that were there before.
        complete: Whether the split is in the manifest.
        failed: Shares that have failed.
        lacking: Number of shards that are missing, or that neither the manifest nor a part states.
    """

    made: int
    found: int
    complete: bool
    failed: tuple[ShareEnd, ...]
    lacking: int

    def check(self) -> None:
        """Refuse a split that is not complete.

        Raises:
            LauncherError: A share has failed, or files are missing.
        """
        if self.complete:
            return
        found = f"{counted(self.lacking, 'file')} missing or without a checksum"
        if self.failed:
            first = self.failed[0]
            many, share = counted(len(self.failed), "share"), first.share
            found = f"{many} of {share.of} failed; share {share.machine}: {first.error}"
        raise LauncherError(f"The images are not complete: {found}", hint="The same call goes on with what is missing.")


def run_shares(
    host: Host,
    recipe: Recipe,
    split: str,
    images: int,
    *,
    folder: Path,
    shares: int,
    launch: Launch,
    watch: Callable[[int, int], None] | None = None,
    submitted: Callable[[], bool | None] = lambda: False,
) -> SharesEnd:
    """Make what is missing of a split through a launcher, and join the parts of the manifest.

    A job that an earlier call has submitted and that still waits or runs is not submitted again. The share of a machine
    that dies is submitted again; the shards that it has made stay.

    Args:
        host: The plugins.
        recipe: Recipe of the images.
        split: "train", "val" or "test".
        images: Number of images that the split is to have.
        folder: Folder of the shards of all splits.
        shares: Number of shares.
        launch: Launcher, its options, and the resources of each share.
        watch: Function called several times a second with the images that are there, and those of the whole split.
        submitted: Function called when all shares have been given to the launcher; if it returns True, this function
            returns what there is, and the jobs go on.

    Raises:
        UsageError: The launcher or an option is unknown, shares outnumber shards, or the folder holds another recipe.
        MissingError: This machine lacks what the launcher needs.
        LauncherError: The launcher cannot be started, or does not know whether jobs submitted earlier still wait.
        DataError: The folder cannot be written, or the disk is too small.
        KeyboardInterrupt: After the running jobs have been stopped.
    """
    check_shares(shares, images)
    folder = folder.absolute()
    resolved = launch.resolved(host, (), gpus=int(recipe.device_type == "cuda"))
    check_folder(folder, recipe)
    spec = registry.find(host, DatasetSpec, recipe.dataset)
    lacking = unstated_shards(folder, recipe, split, images)
    works = [
        ShareWork(share=Share(machine=machine, of=shares), recipe=recipe, split=split, images=images, folder=folder)
        for machine in range(shares)
    ]
    sizes = shard_sizes(folder / split)
    missing = {work.share: _missing(work, sizes) for work in works}
    todo = [work for work in works if not lacking.isdisjoint(work.share.numbers(images))]
    entries: list[Entry[ShareEnd]] = [Entry(work=work) for work in todo]
    if entries:
        absolute_variables()
        simulation = Dataset(host, recipe, {}).simulation(expected_images=images)
        check_disk(simulation, folder / split, sum(missing.values()))

        def job(entry: Entry[ShareEnd]) -> Job:
            command = (sys.executable, "-m", "zoo", "run-share", str(entry.run_dir / SHARE))
            return make_job(entry.run_dir, command, files=host.files, resources=resolved.basis, label=entry.work.label)

        queue = make_queue(resolved, entries, job=job)
        claim_folder(folder, recipe)
        make_dir(folder / split)
        versions = provenance.installed_versions(host, *recipe.plugins)
        for work in todo:
            work.prepare(versions)
        left = {work.run_dir: missing[work.share] * SHARD_SIZE for work in works}
        total = shard_count(images) * SHARD_SIZE

        def look() -> None:
            if watch is not None:
                for entry in entries:
                    left[entry.run_dir] = _left(entry, before=left[entry.run_dir])
                watch(total - sum(left.values()), total)

        wait_for(queue, look=look, submitted=submitted)
    failed = tuple(entry.result for entry in entries if entry.result is not None and entry.result.error)
    complete = not failed and record_split(folder, recipe, split, images, classes=spec.classes, read=False)
    before, now = sum(missing.values()), shard_sizes(folder / split)
    return SharesEnd(
        made=SHARD_SIZE * (before - sum(_missing(work, now) for work in works)),
        found=SHARD_SIZE * (shard_count(images) - before),
        complete=complete,
        failed=failed,
        lacking=0 if complete else len(unstated_shards(folder, recipe, split, images)),
    )


def check_shares(shares: int, images: int) -> None:
    """Refuse shares without a shard.

    Raises:
        UsageError: There are more shares than shards.
    """
    files = shard_count(images)
    if shares > files:
        raise UsageError(
            f"--shards {shares}: {counted(images, 'image')} make {counted(files, 'file')} of {SHARD_SIZE}, and each "
            "share needs at least one.",
            hint=f"At most: --shards {files}",
        )


def make_share(host: Host, path: Path) -> None:
    """Make a share in this process; its end goes beside its file.

    Args:
        host: The plugins.
        path: Path of share.json.

    Raises:
        BusyError: Another process makes the share.
        ZooError: The share cannot be made.
    """
    with share_at_work(path, ShareFile) as (asked, run_dir, progress):
        recipe, share = asked.recipe, Share(machine=asked.machine, of=asked.of)
        check_versions(host, asked.versions, *recipe.plugins)
        resolve_device(recipe.device_type)
        fill_folder(
            Dataset(host, recipe, {}).simulation(expected_images=asked.images),
            asked.split,
            asked.images,
            folder=run_dir.parents[3],  # as `Share.folder` puts it there
            share=share,
            part=True,
            progress=lambda done, total: progress.report(f"simulate {asked.split}", done, total),
        )


def _missing(work: ShareWork, sizes: Mapping[str, int]) -> int:
    """Return how many shards of a share are not there."""
    return sum(shard_name(number) not in sizes for number in work.share.numbers(work.images))


def _left(entry: Entry[ShareEnd], *, before: int) -> int:
    """Return how many images of a share are still to be made."""
    if entry.result is not None:
        return before if entry.result.error else 0
    progress = read_progress(entry.run_dir / PROGRESS) if entry.state in ("running", "elsewhere") else None
    return before if progress is None else round(progress.total - progress.done)
