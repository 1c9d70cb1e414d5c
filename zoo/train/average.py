"""An exponential moving average of a module's weights, which is what is validated, tested and saved."""

from __future__ import annotations

import torch
from torch import nn

from zoo.models.copies import copy_of


class MovingAverage:
    """Keep `module`, an average of another module over its training steps.

    torch's own `AveragedModel` asks the device for its step count at every update, which makes the processor
    wait for the GPU; here the step is given.

    Args:
        module: Module to be averaged; it is put into training mode and copied.
        decay: Decay of the average; 0 keeps the latest weights.
    """

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        # In training mode, as the module is: a layer may keep tensors in evaluation mode that it computed from weights.
        self.module = copy_of(module.train()).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, module: nn.Module, *, step: int) -> None:
        """Take in the weights after a step, counted from 1.

        The decay of step t is min(decay, t / (9 + t)): a fixed decay would keep the random initial weights
        for 1 / (1 - decay) steps, longer than a short training lasts. Batch norm's running statistics are
        averaged too; counters are copied.
        """
        averaged, current = list(_tensors(self.module)), list(_tensors(module))
        weight = 1 - min(self.decay, step / (9 + step)) if self.decay else 1.0
        floats = [index for index, tensor in enumerate(averaged) if tensor.is_floating_point()]
        torch._foreach_lerp_([averaged[i] for i in floats], [current[i] for i in floats], weight)
        others = [index for index, tensor in enumerate(averaged) if not tensor.is_floating_point()]
        if others:
            torch._foreach_copy_([averaged[i] for i in others], [current[i] for i in others])


def _tensors(module: nn.Module) -> list[torch.Tensor]:
    return [*module.parameters(), *module.buffers()]
