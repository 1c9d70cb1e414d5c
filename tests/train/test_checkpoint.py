"""State of an optimiser after a resume: flags on the CPU, the rest beside the parameters."""

from __future__ import annotations

import torch

from zoo.train.average import MovingAverage
from zoo.train.checkpoint import Checkpoint, TrainingState, take_checkpoint, weights_of


def test_flags_stay_on_the_cpu_and_masks_do_not():
    network = torch.nn.Linear(2, 3, device="meta")
    average = MovingAverage(network, decay=0.5)
    optimizer = torch.optim.SGD(network.parameters())
    states = {
        "step": torch.tensor(7.0), "use_muon": torch.tensor(True), "mask": torch.ones(3, 2, dtype=torch.bool),
        "momentum_buffer": torch.ones(3, 2),
    }  # fmt: skip
    tensors = weights_of(network, average) | {f"optimizer.0.{name}": value for name, value in states.items()}
    take_checkpoint(Checkpoint(TrainingState(), tensors, {}), network, average, [optimizer])
    found = {name: value.device.type for name, value in optimizer.state[network.weight].items()}
    assert found == {"step": "cpu", "use_muon": "cpu", "mask": "meta", "momentum_buffer": "meta"}
