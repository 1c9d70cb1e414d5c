"""Batches that are replayed, and those that take the usual way; the graphs need a GPU: tests/test_cuda.py."""

import pytest
import torch
from torch import nn

from zoo.models.classifier import Classifier
from zoo.train.cuda_graphs import GraphedForward
from zoo.train.fabric import make_fabric


class Counting(nn.Module):
    """Network with a buffer that a forward pass changes."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 3)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, images):
        self.calls += 1
        return self.linear(images.flatten(1))


class Recorder:
    """Stand-in for `torch.cuda.make_graphed_callables`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.captured, self.replayed = error, 0, 0

    def __call__(self, module, sample, **options):
        module(*sample)  # warms up
        self.captured += 1
        if self.error is not None:
            raise self.error

        def replay(images):
            self.replayed += 1
            return module(images)

        return replay


def graphed(recorder: Recorder, *, allowed: bool = True):
    classifier = Classifier(Counting(), channels=1)
    fabric = make_fabric(torch.device("cpu"), "fp32")
    module = fabric.setup(classifier)
    return GraphedForward(module, classifier, fabric, allowed=lambda: allowed, capture=recorder), classifier


def test_batches_of_the_first_shape_are_replayed():
    recorder = Recorder()
    forward, classifier = graphed(recorder)
    images = torch.randn(8, 1, 4, 4)
    for _ in range(3):
        assert torch.equal(forward(images), classifier(images))
    assert forward(images[:5]).shape == (5, 3)  # of a batch that was split, for example
    assert (recorder.captured, recorder.replayed) == (1, 3)


@pytest.mark.parametrize("error", [RuntimeError("operation not permitted when stream is capturing"), AssertionError()])
def test_a_network_that_cannot_be_captured_takes_the_usual_way(error):
    recorder = Recorder(error)
    forward, classifier = graphed(recorder)
    for calls in range(1, 4):
        forward(torch.randn(8, 1, 4, 4))
        assert int(classifier.network.calls) == calls  # the capture left no trace
    assert (recorder.captured, recorder.replayed) == (1, 0)


def test_nothing_is_captured_beside_a_thread_that_uses_the_gpu():
    recorder = Recorder()
    forward, _ = graphed(recorder, allowed=False)
    forward(torch.randn(8, 1, 4, 4))
    assert recorder.captured == 0
