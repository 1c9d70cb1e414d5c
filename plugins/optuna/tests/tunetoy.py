"""A plugin file for the tests of tuning: a network that may be constant, slow or fatal, and records each build."""

import os
import signal
import time

from zoo.hookspecs import hookimpl
from zoo.specs import ModelSpec


@hookimpl
def zoo_models():
    return [
        ModelSpec(
            id="tunetoy/eye",
            target="tunetoy:eye",
            defaults={"widths": [4], "blind": False, "pause": 0.0, "deadly": False, "notes": ""},
            search_space={
                "widths": [[2], [4], [6]],
                "blind": [False, True],
                "lr": {"low": 0.003, "high": 0.03, "log": True},
            },
            training={"lr": 0.01},
        ),
        ModelSpec(id="tunetoy/odd", target="tunetoy:eye", search_space={"widht": [1, 2]}, defaults={"width": 1}),
        ModelSpec(id="tunetoy/plain", target="tunetoy:eye", defaults={"width": 1}),
    ]  # fmt: skip


def eye(*, in_chans, num_classes, image_size, widths, blind, pause, deadly, notes):
    import torch
    from torch import nn

    if notes:
        with open(notes, "a") as file:
            file.write(f"{os.getpid()}\n")
    if deadly:
        os.kill(os.getpid(), signal.SIGKILL)

    class Eye(nn.Module):
        def __init__(self):
            super().__init__()
            self.see = nn.Conv2d(in_chans, widths[0], 3, padding=1)
            self.tell = nn.Linear(widths[0] * 16, num_classes)

        def forward(self, images):
            if self.training:
                time.sleep(pause)
            seen = nn.functional.adaptive_avg_pool2d(self.see(images).relu(), 4).flatten(1)
            return self.tell(torch.zeros_like(seen) if blind else seen)

    return Eye()
