"""CUDA graphs of the forward and backward pass of a network, which one launch replays.

A training step of a small network is hundreds of kernels of a few microseconds each, and the processor needs longer to
launch them than the GPU to run them: on an H100, a step of gconv/p4m took 10.1 ms, of which the GPU worked 1.7 ms.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from zoo.train.few_channels import FewChannelsInPieces

logger = logging.getLogger(__name__)

Capture = Callable[..., Any]


class GraphedForward:
    """Forward pass in training mode: captured at the first batch, replayed for all batches of that shape.

    The captured pass does what the first batch did, so it suits only networks whose spec states that every batch is
    computed alike (`ModelSpec.cuda_graphs`). Other shapes, and all batches where the capture fails, take the usual way.

    During the capture no other thread may call the GPU, such as one that fetches the next images.

    Args:
        module: Module as Fabric set it up: the usual way.
        classifier: Classifier inside it.
        fabric: Precision of the training.
        allowed: Function that is asked at the first batch whether no other thread uses the GPU.
        capture: Function that captures a module; torch's own, except in tests.
    """

    def __init__(
        self,
        module: nn.Module,
        classifier: nn.Module,
        fabric: Fabric,
        *,
        allowed: Callable[[], bool],
        capture: Capture | None = None,
    ) -> None:
        self._module, self._fabric, self._allowed = module, fabric, allowed
        self._pass = _Pass(classifier)
        self._capture: Capture = capture or torch.cuda.make_graphed_callables
        self._captured: Callable[[Tensor], Tensor] | None = None
        self._shape: torch.Size | None = None

    def __call__(self, images: Tensor) -> Tensor:
        """Return predictions [N, K] for images [N, C, H, W]; the next call may overwrite them."""
        if self._shape is None:
            self._shape = images.shape
            self._captured = self._try_capture(images) if self._allowed() else None
        if self._captured is None or images.shape != self._shape:
            predictions: Tensor = self._module(images)
            return predictions
        return self._captured(images)

    def _try_capture(self, images: Tensor) -> Callable[[Tensor], Tensor] | None:
        """Return the captured pass, or None. Buffers and random numbers are left as they were."""
        buffers = {name: buffer.clone() for name, buffer in self._pass.named_buffers()}
        states = torch.cuda.get_rng_state(images.device) if images.is_cuda else None
        with self._fabric.autocast():
            enabled = torch.is_autocast_enabled(images.device.type)
            dtype = torch.get_autocast_dtype(images.device.type)
        captured: Callable[[Tensor], Tensor] | None = None
        try:
            # A cache of converted weights would be filled during the capture, and never again.
            with torch.autocast(images.device.type, dtype, enabled, cache_enabled=False), FewChannelsInPieces():
                captured = self._capture(self._pass, (images.clone(),), allow_unused_input=True)
        except (RuntimeError, AssertionError) as error:
            logger.info("no CUDA graph: %s: %s", type(error).__name__, str(error).partition("\n")[0])
            if images.is_cuda:
                torch.cuda.empty_cache()
        else:
            _allow_gradients_of_another_stream()
        with torch.no_grad():
            for name, buffer in self._pass.named_buffers():
                buffer.copy_(buffers[name])
        if states is not None:
            torch.cuda.set_rng_state(states, images.device)
        return captured


class _Pass(nn.Module):
    """Module of its own around a classifier: torch replaces the `forward` of the module that it captures."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Any:
        """Return the predictions."""
        return self.classifier(images)


def _allow_gradients_of_another_stream() -> None:
    """Silence torch's warning that gradients are computed on another stream than the capture; newer torch has one."""
    allow = getattr(torch.autograd.graph, "set_warn_on_accumulate_grad_stream_mismatch", None)
    if allow is not None:
        allow(False)
