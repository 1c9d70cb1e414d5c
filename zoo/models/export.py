"""Exports a trained classifier to ONNX or torch.export; nothing appears under its name before it answers as eager."""

from __future__ import annotations

import json
import logging
import math
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.errors import MissingError, UsageError, ZooError, nearest
from zoo.paths import make_dir, written_whole

if TYPE_CHECKING:
    from zoo.models.trained import TrainedClassifier

SUFFIXES = {"onnx": ".onnx", "torch-export": ".pt2"}
TOLERANCE = 1e-4
"""Largest difference of a logit, as a share of the largest (or of 1). float32 in another order of sums: some 1e-6."""
_BATCHES = (1, 2, 5)

Answer = Callable[[Tensor], Tensor]


class ExportError(ZooError):
    """The network cannot be exported to this format, or its predictions differ there."""


def export(trained: TrainedClassifier, out: Path, *, kind: str) -> float:
    """Write a network from raw images [N, C, H, W] (any N) to logits [N, K]; normalisation is inside.

    Args:
        trained: Classifier on the CPU.
        out: Path of the file to be written.
        kind: "onnx" or "torch-export".

    Returns:
        The largest difference of a logit from eager, as a share of the largest logit, over batches of 1, 2 and 5.

    Raises:
        UsageError: An unknown format.
        MissingError: A library that the format needs is absent.
        ExportError: The format cannot express the network, or the exported network gives other logits.
        DataError: The file cannot be written.
    """
    if kind not in SUFFIXES:
        raise UsageError(f"format '{kind}' is not one of {', '.join(SUFFIXES)}.{nearest(kind, SUFFIXES)}")
    write, read = {"onnx": (_write_onnx, _read_onnx), "torch-export": (_write_program, _read_program)}[kind]
    make_dir(out.absolute().parent)
    trained.eval()
    with written_whole(out) as temporary:
        try:
            write(trained, temporary)
            error = _compare(trained, read(temporary))
        except ZooError:
            raise
        except Exception as problem:
            text = (str(problem).strip().splitlines() or [""])[0]
            raise ExportError(
                f"{trained.about.model} cannot be exported as {kind}: {type(problem).__name__}: {text}",
                hint=f"Try the other format: --format {next(name for name in SUFFIXES if name != kind)}",
            ) from problem
        if not error <= TOLERANCE:
            raise ExportError(
                f"{trained.about.model} exported as {kind} gives other logits: they differ by {error:.1e} of the "
                f"largest, allowed are {TOLERANCE:g}. Nothing was written."
            )
    return error


def _compare(trained: TrainedClassifier, answer: Answer) -> float:
    """Return the largest relative difference over random images as bright as the training images."""
    generator = torch.Generator().manual_seed(0)
    largest, scale = 0.0, 1.0
    for count in _BATCHES:
        noise = torch.randn(count, *trained.image_shape, generator=generator)
        images = trained.mean + trained.std * noise
        with torch.no_grad():
            expected = trained(images)
            difference = float((answer(images) - expected).abs().max())
        # max() would drop a NaN.
        largest = max(largest, difference if math.isfinite(difference) else math.inf)
        scale = max(scale, float(expected.abs().max()))
    return largest / scale


def _example(trained: TrainedClassifier) -> tuple[Tensor, Any]:
    """Return a batch to trace with, and the description of its shape: any number of images."""
    # Not 1: torch takes a length of 1 for a constant.
    return torch.zeros(2, *trained.image_shape), {"images": {0: torch.export.Dim("images")}}


def _facts(trained: TrainedClassifier) -> dict[str, str]:
    about = trained.about
    return {
        "classes": json.dumps(about.classes),
        "model": about.model,
        "run_id": about.run_id,
        "pixel_scale": json.dumps(about.pixel_scale),
    }


def _write_program(trained: TrainedClassifier, path: Path) -> None:
    images, shapes = _example(trained)
    program = torch.export.export(trained, (images,), dynamic_shapes=shapes)
    # torch writes to files that end in .pt2; a stream has no name.
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={"zoo.json": json.dumps(_facts(trained))})


def _read_program(path: Path) -> Answer:
    with path.open("rb") as file:
        module = torch.export.load(file).module()
    return lambda images: module(images)


def _write_onnx(trained: TrainedClassifier, path: Path) -> None:
    _need("onnx", "onnxscript", "onnxruntime")
    images, shapes = _example(trained)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about itself
        program = torch.onnx.export(
            trained,
            (images,),
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=["images"],
            output_names=["logits"],
            external_data=False,
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props.update(_facts(trained))
    # One file: weights beside it would be lost when it is moved.
    program.save(os.fspath(path), external_data=False)


def _read_onnx(path: Path) -> Answer:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def _need(*modules: str) -> None:
    import importlib.util

    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingError(
            f"--format onnx needs {', '.join(missing)}, which is not installed.",
            hint="Install what it needs: pip install 'lens-zoo[onnx]', or use --format torch-export",
        )
