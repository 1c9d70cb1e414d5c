"""`zoo equivariance`: how far a network is from invariant, for each image size and layer by layer."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.complete import COMPLETE
from zoo.cli.context import console, host_of, print_json
from zoo.errors import TrainingError, UsageError, nearest
from zoo.plan.overrides import parse_settings
from zoo.schema import plain
from zoo.specs import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.host import Host
    from zoo.specs import ModelSpec

_IMAGES = 8


@click.command()
@click.argument("model", metavar="MODEL", shell_complete=COMPLETE["models"])
@click.option(
    "--image-size",
    "sizes",
    default="64,65,75",
    show_default=True,
    help="Measure at these sizes in pixels, separated by commas.",
)
@click.option(
    "--set",
    "pairs",
    multiple=True,
    metavar="model.NAME=VALUE",
    help="Set a hyper-parameter, such as model.widths=[4,8].",
)
@click.option("--group", help="Measure under this group, such as p4m, d8 or o2; default: the model's own.")
@click.option("--seed", default=0, show_default=True, help="Draw the weights and the test images with this seed.")
@click.option("--layers/--no-layers", default=True, show_default=True, help="Measure also layer by layer.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def equivariance(
    ctx: click.Context,
    model: str,
    sizes: str,
    pairs: tuple[str, ...],
    group: str | None,
    seed: int,
    layers: bool,
    as_json: bool,
) -> None:
    """Measure how far an untrained network is from invariant under its group.

    Each size is tried with smooth random images. "pixel symmetries" are the rotations by 90 degrees and the mirrors
    that the group holds: an exact network has rounding errors there. "other angles" need interpolation; its own
    share is the floor.
    """
    from zoo import registry

    host = host_of(ctx)
    spec = registry.find(host, ModelSpec, model)
    hparams = dict(spec.defaults)
    for name, value in parse_settings(list(pairs)).items():
        short = name.removeprefix("model.")
        if short not in hparams:
            raise UsageError(f"{spec.id} has no hyper-parameter '{short}'.{nearest(short, hparams)}")
        hparams[short] = value
    measured = [
        _measure(host, spec, hparams, size=size, group=group, seed=seed, layers=layers) for size in _sizes(sizes)
    ]
    if as_json:
        print_json(measured)
    else:
        _print(spec, measured)


def _sizes(text: str) -> list[int]:
    sizes = [part.strip() for part in text.split(",") if part.strip()]
    if not sizes or not all(part.isdecimal() and 1 <= int(part) <= 4096 for part in sizes):
        raise UsageError(
            f"--image-size {text!r} must be whole numbers from 1 to 4096 separated by commas, such as 64,65."
        )
    return [int(part) for part in sizes]


def _measure(
    host: Host, spec: ModelSpec, hparams: dict[str, Any], *, size: int, group: str | None, seed: int, layers: bool
) -> dict[str, Any]:
    """Return what is measured at one image size."""
    import torch

    from zoo.models.classifier import build_classifier
    from zoo.scores.equivariance import blob_images, declared_symmetry, measure_equivariance, measure_layers

    torch.manual_seed(seed)
    classifier = build_classifier(host, spec.id, hparams, image_shape=(1, size, size), num_classes=3)
    own_group, declared = declared_symmetry(spec, classifier.network)
    group = group or own_group
    images = blob_images(_IMAGES, 1, size, seed=seed)
    try:
        with torch.no_grad():
            classifier.eval()(images[:1])
    except Exception as error:  # the network's own code
        raise TrainingError(
            f"{spec.id} cannot take images of {size} x {size} pixels: {type(error).__name__}: {error}"
        ) from error
    content: dict[str, Any] = {
        "model": spec.id,
        "image_size": size,
        "group": group,
        "declared": declared if group == own_group else None,
        **plain(measure_equivariance(classifier, images, group)),
    }
    if layers:
        content["layers"] = [asdict(layer) for layer in measure_layers(classifier.network, images, group)]
    return content


def _print(spec: ModelSpec, measured: Sequence[dict[str, Any]]) -> None:
    from rich.table import Table

    from zoo.cli.terminal import styled

    out = console()
    first = measured[0]
    turned = "rotations" in first
    out.print(
        styled(spec.id, "bold"),
        f", untrained; group {first['group'] or 'none, so all symmetries of the square'}; "
        f"declared {first['declared'] or 'nothing'}\n",
        sep="",
    )
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("image size", "pixel symmetries", *(("other angles", "floor") if turned else ())):
        table.add_column(heading, justify="right")
    for content in measured:
        cells = [str(content["image_size"]), _error(content["error"])]
        if turned:
            cells += [_error(content["rotations"][name]) for name in ("error", "floor")]
        table.add_row(*cells)
    out.print(table)
    if "layers" not in first:
        return
    out.print()
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("layer")
    for content in measured:
        table.add_column(f"{content['image_size']} px", justify="right")
        if turned:
            table.add_column("angles", justify="right")
    for place, layer in enumerate(first["layers"]):
        cells = [f"{layer['name']} {layer['kind']}"]
        for content in measured:
            entry = content["layers"][place]
            cells += [_error(entry["exact"]), *([_error(entry["rotations"])] if turned else [])]
        table.add_row(*cells)
    out.print(table)


def _error(value: float | None) -> str:
    """Return an error for the table; a dash if the output is 0 everywhere."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.1e}"
