"""What `zoo bench` and `zoo.bench` are asked for, before any name in it is looked up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEFAULT_SIMULATOR = ""  # the one that is declared so: `zoo.registry.find_simulator`


@dataclass(frozen=True, kw_only=True)
class Request:
    """What `zoo bench` and `zoo.bench` are asked for.

    Args:
        models, data: names, comma lists, wildcards.
        seeds: one cell for each.
        budget: "smoke", "laptop", "paper", or None for the one that suits the device.
        simulator: id or name; "" for the default one.
        device: "auto", "cpu", "cuda" or "mps".
        images: folder that holds the simulated images; default: the cache, which is filled.
        precision: "auto" (bf16 on CUDA, else fp32), "fp32", "tf32" or "bf16".
        rule: which epoch's weights are kept.
        task: which classes are one; "" tells all of them apart.
        settings: name -> value, as given by --set: training settings, model hyper-parameters, "data.NAME",
            "train_images", "val_images", "test_images"; "MODEL.NAME", with a name or wildcard of models, for these.
        match: "params", "macs" or "time": scale widths until every network costs what the first does; see
            `zoo.plan.match`.
        store: where the setting `init` looks for runs, and where matched widths are kept.
    """

    models: Sequence[str]
    data: Sequence[str]
    seeds: Sequence[int] = (0,)
    budget: str | None = None
    simulator: str = DEFAULT_SIMULATOR
    device: str = "auto"
    images: Path | None = None
    precision: str = "auto"
    rule: str = "val_auc"
    task: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    match: str = ""
    store: str | Path = "results"
