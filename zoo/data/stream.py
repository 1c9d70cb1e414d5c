"""The endless stream: training images that are rendered as they are needed, never the same twice, none kept."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from zoo.data.loader import ahead
from zoo.data.part import BatchPart
from zoo.data.question import Question
from zoo.data.simulate import Simulation
from zoo.data.split import Split

STREAM = "stream"
FIRST_IMAGES = 1024
"""Largest number of images for the normalisation: the error of their mean is 1 % of a pixel's standard deviation."""
IMAGES_AT_A_TIME = {"cpu": 1, "cuda": 512}
"""Images that are rendered in one call, in whole batches: a GPU needs many to be busy, a CPU none beyond the batch."""


class Stream:
    """Batches of images that are made while the network trains.

    Image k depends on the recipe and k alone. An epoch of n images holds the images from (epoch - 1) n on, in an order
    of its own; so a training that goes on in epoch e sees what an uninterrupted one does.

    Beside a network on a GPU, a thread renders a bounded number of images ahead, on a CUDA stream of its own; images
    that are rendered on the GPU never leave it. Beside a network on the CPU nothing is rendered ahead: there is no
    idle core to gain, and two sets of threads on the same cores hinder each other.

    Args:
        simulation: Simulation that makes the images.
        images: Number of images in an epoch.
        device: Device that receives the batches.
        question: Labels of the images; None keeps all classes apart.
        threaded: Whether images are rendered ahead in a thread; None decides by the device.
        earlier: Last epoch of each earlier phase, and the simulation of its images.
    """

    resident = False

    def __init__(
        self,
        simulation: Simulation,
        *,
        images: int,
        device: torch.device,
        question: Question | None = None,
        threaded: bool | None = None,
        earlier: Sequence[tuple[int, Simulation]] = (),
    ) -> None:
        self.simulation, self.device, self._images = simulation, device, images
        self._earlier = tuple(earlier)
        own = tuple(range(len(simulation.classes)))
        self.question = question or Question(classes=simulation.classes, merged=own)
        self._threaded = device.type != "cpu" if threaded is None else threaded
        self._cuda = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.made, self.seconds = 0, 0.0

    def __len__(self) -> int:
        """The images of an epoch."""
        return self._images

    def first(self) -> Split:
        """Return the first images, in memory, as the last phase has them: the normalisation is computed from them."""
        index = np.arange(min(len(self), FIRST_IMAGES))
        arrays = self.simulation.arrays(STREAM, index)
        split = Split(
            name=STREAM,
            classes=self.simulation.classes,
            chunks=[arrays["image"]],
            labels=arrays["label"],
            ids=[f"{STREAM}-{k:09d}" for k in index],
        )
        return self.question.apply(split)

    def epoch(
        self,
        number: int,
        batch_size: int,
        *,
        shuffle: torch.Generator | None = None,
        part: BatchPart | None = None,
        skip: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the images [n, C, H, W] and labels [n] of an epoch in full batches, on the device.

        Args:
            number: Number of the epoch, from 1.
            batch_size: Number of images in a batch; at most those of an epoch.
            shuffle: CPU generator of the order; None keeps it.
            part: Part of each batch that is rendered and yielded.
            skip: Number of batches at the start that are left out.
        """
        count = len(self) - len(self) % batch_size
        order = torch.arange(len(self)) if shuffle is None else torch.randperm(len(self), generator=shuffle)
        wanted = (number - 1) * len(self) + order[skip * batch_size : count]
        if part is not None:
            wanted = wanted.view(-1, batch_size)[:, part.start : part.stop].flatten()
            batch_size = len(part)
        batches = max(1, IMAGES_AT_A_TIME.get(self.simulation.device, 1) // batch_size)
        rendered_together = wanted.split(batches * batch_size)
        simulation = next((made for last, made in self._earlier if number <= last), self.simulation)
        render = self.render
        if simulation is not self.simulation:
            render = functools.partial(self.render, simulation=simulation)
        made = ahead(render, rendered_together, depth=2) if self._threaded else map(render, rendered_together)
        for images, labels in made:
            if self._cuda is not None:
                # They were allocated on the other stream, which must not reuse their memory too early.
                for tensor in (images, labels):
                    tensor.record_stream(torch.cuda.current_stream(self.device))
            yield from zip(images.split(batch_size), labels.split(batch_size), strict=True)

    def image_at(self, number: int, position: int, *, shuffle: torch.Generator) -> str:
        """Return the name of an image by its position in an epoch; see `zoo.data.loader.Batches.image_at`."""
        return f"{STREAM}-{(number - 1) * len(self) + int(torch.randperm(len(self), generator=shuffle)[position]):09d}"

    def render(self, index: Tensor, *, simulation: Simulation | None = None) -> tuple[Tensor, Tensor]:
        """Return images [n, C, H, W] and labels [n] on the device, finished.

        Args:
            index: [n] numbers of images in the stream, on the CPU.
            simulation: Simulation of an earlier phase; None for that of the last one.
        """
        started = time.perf_counter()
        with torch.cuda.stream(self._cuda) if self._cuda is not None else contextlib.nullcontext():
            of_phase = simulation or self.simulation
            scenes, observed = of_phase.expose(STREAM, index.numpy())
            images = of_phase.with_channels(observed.image[:, None]).to(self.device)
            labels = torch.as_tensor(self.question.labels(scenes.label)).to(self.device)
            if self._cuda is not None:
                self._cuda.synchronize()
        self.made += len(index)
        self.seconds += time.perf_counter() - started
        return images, labels
