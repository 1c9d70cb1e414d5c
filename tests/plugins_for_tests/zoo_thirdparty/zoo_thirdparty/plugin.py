"""Specs and hooks of a third party. One of its event hooks always raises an exception."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zoo.hookspecs import hookimpl
from zoo.specs import DatasetSpec, MetricSpec, ModelSpec

ZOO_API_VERSION = 1
print("a plugin that prints while it is imported")  # noqa: T201


@hookimpl
def zoo_models() -> list[ModelSpec]:
    """Return a network with two hyper-parameters, and one with the name of a first-party network."""
    return [
        ModelSpec(
            id="thirdparty/perceptron",
            target="zoo_thirdparty.network:perceptron",
            summary="two linear layers",
            tags=("small",),
            defaults={"width": 16, "dropout": 0.0},
            training={"lr": 0.02},
        ),
        ModelSpec(id="thirdparty/p4m", target="zoo_thirdparty.network:perceptron", defaults={"width": 4}),
    ]


@hookimpl
def zoo_datasets() -> list[DatasetSpec]:
    """Return images of two classes that lie in memory."""
    return [
        DatasetSpec(
            id="thirdparty/gradients",
            target="zoo_thirdparty.images:gradients",
            classes=("rising", "falling"),
            params={"image_size": 8, "noise": 0.5},
        )
    ]


@hookimpl
def zoo_metrics() -> list[MetricSpec]:
    """Return the mean probability of the true class, and a metric that fails."""
    return [
        MetricSpec(id="thirdparty/confidence", target="zoo_thirdparty.metrics:confidence"),
        MetricSpec(id="thirdparty/fails", target="zoo_thirdparty.metrics:fails"),
    ]


@hookimpl
def zoo_commands() -> list[Any]:
    """Return the command `zoo greet`."""
    from zoo_thirdparty.command import greet

    return [greet]


@hookimpl
def zoo_run_started(cell: dict[str, Any], run_dir: Path) -> None:
    """Write down which model starts."""
    (run_dir / "thirdparty-started.txt").write_text(cell["model"])


@hookimpl
def zoo_epoch_ended(epoch: int) -> None:
    """Fail in every epoch."""
    raise RuntimeError(f"thirdparty cannot stand epoch {epoch}")


@hookimpl
def zoo_run_finished(result: dict[str, Any], run_dir: Path) -> None:
    """Write down how it ended."""
    (run_dir / "thirdparty-finished.json").write_text(json.dumps({"status": result["status"]}))
