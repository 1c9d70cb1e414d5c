"""`zoo equivariance`: how far a network is from invariant, trained or untrained, and layer by layer."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from zoo.cli.complete import COMPLETE
from zoo.cli.context import console, echo, host_of, print_json
from zoo.cli.options import DEVICE, RUNS_IN
from zoo.devices import resolve_device
from zoo.errors import UsageError, nearest
from zoo.isolation import printing_to_stderr
from zoo.plain_values import MOST_SEED
from zoo.plan.overrides import parse_settings
from zoo.schema import plain
from zoo.specs import ModelSpec

if TYPE_CHECKING:
    from zoo.host import Host
    from zoo.inference.equivariance import Measured

_MOST_IMAGES = 10_000  # all of them are in memory, and turned in many ways
_OF_UNTRAINED = {"sizes": "--image-size", "pairs": "--set", "seed": "--seed"}
_OF_TRAINED = {"files": "--images", "number": "-n", "device": "--device"}


@click.command()
@click.argument("name", metavar="MODEL|WEIGHTS", shell_complete=COMPLETE["networks"])
@click.option(
    "--image-size",
    "sizes",
    default="64,65,75",
    show_default=True,
    help="Measure an untrained network at these sizes in pixels, separated by commas.",
)
@click.option(
    "--set",
    "pairs",
    multiple=True,
    metavar="model.NAME=VALUE",
    help="Set a hyper-parameter of an untrained network, such as model.widths=[4,8].",
)
@click.option(
    "--seed",
    type=click.IntRange(0, MOST_SEED),
    default=0,
    show_default=True,
    help="Draw the weights and the images of an untrained network with this seed.",
)
@click.option(
    "--images",
    "files",
    multiple=True,
    metavar="FILE",
    shell_complete=COMPLETE["file"],
    help="Measure weights on these images; default: the test images of their data set.",
)
@click.option(
    "-n",
    "number",
    type=click.IntRange(2, _MOST_IMAGES),
    default=64,
    show_default=True,
    help="Measure weights on this number of test images.",
)
@click.option("--group", help="Measure also under this group, such as p4m, d8 or o2; default: the network's own.")
@click.option("--layers/--no-layers", default=True, show_default=True, help="Measure also layer by layer.")
@DEVICE
@RUNS_IN
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def equivariance(
    ctx: click.Context,
    name: str,
    sizes: str,
    pairs: tuple[str, ...],
    seed: int,
    files: tuple[str, ...],
    number: int,
    group: str | None,
    layers: bool,
    device: str,
    store: Path,
    as_json: bool,
) -> None:
    """Measure how far a network is from invariant.

    \b
    zoo equivariance p4m                          untrained, on random images
    zoo equivariance p4m.modelA                   on test images
    zoo equivariance 3f2a --images image.fits     of a run, on images of files

    Every network is measured under the eight symmetries of the square (d4) and at rotations by 17 and 45 degrees, and
    apart under its own group. The error is the root mean square change of the centred logits over their spread
    between images: 0 for an invariant network. Rotations between pixels need interpolation, whose share is the floor.
    """
    host = host_of(ctx)
    spec, weights = _find(host, name, store=store)
    _refuse(ctx, _OF_TRAINED if weights is None else _OF_UNTRAINED, weights is not None)
    if weights is None:
        assert spec is not None
        from zoo.inference.equivariance import measure_untrained

        hparams = _hparams(spec, pairs)
        measured = [
            measure_untrained(host, spec, hparams, size=size, group=group, seed=seed, layers=layers)
            for size in _sizes(sizes)
        ]
    else:
        measured = [
            _measure_weights(
                host, weights, files, number=number, group=group, layers=layers, device=resolve_device(device)
            )
        ]
    if as_json:
        print_json([plain(each) for each in measured])
    else:
        _print(measured)


def _find(host: Host, name: str, *, store: Path) -> tuple[ModelSpec | None, Path | None]:
    """Return the model that a name means, or the file of the weights.

    Raises:
        UsageError: The name is unknown or ambiguous.
    """
    from zoo import registry
    from zoo.weights.find import find_weights

    try:
        return registry.find(host, ModelSpec, name), None
    except UsageError as no_model:
        try:
            return None, find_weights(host, name, store=store)
        except UsageError as no_weights:
            # Bundled weights are called MODEL.DATA.
            raise no_weights if "." in name else no_model from None


def _refuse(ctx: click.Context, options: Mapping[str, str], trained: bool) -> None:
    """Refuse options that belong to the other kind of network.

    Raises:
        UsageError: Such an option was stated.
    """
    for parameter, flag in options.items():
        if ctx.get_parameter_source(parameter) is ParameterSource.COMMANDLINE:
            kind, other = ("weights", "an untrained network") if trained else ("an untrained network", "weights")
            raise UsageError(f"{flag} is for {other}; {ctx.params['name']} is {kind}.")


def _hparams(spec: ModelSpec, pairs: Sequence[str]) -> dict[str, Any]:
    hparams = dict(spec.defaults)
    for name, value in parse_settings(list(pairs)).items():
        short = name.removeprefix("model.")
        if short not in hparams:
            raise UsageError(f"{spec.id} has no hyper-parameter '{short}'.{nearest(short, hparams)}")
        hparams[short] = value
    return hparams


def _sizes(text: str) -> list[int]:
    sizes = [part.strip() for part in text.split(",") if part.strip()]
    if not sizes or not all(part.isdecimal() and 1 <= int(part) <= 4096 for part in sizes):
        raise UsageError(
            f"--image-size {text!r} must be whole numbers from 1 to 4096 separated by commas, such as 64,65."
        )
    return [int(part) for part in sizes]


def _measure_weights(
    host: Host, path: Path, files: Sequence[str], *, number: int, group: str | None, layers: bool, device: str
) -> Measured:
    """Return what is measured of trained weights; files that cannot be read are named and left out."""
    from zoo.cli.watch import CountBar
    from zoo.inference.equivariance import images_of_files, measure_trained, own_test_images
    from zoo.inference.read import expand, read_pictures, require_files
    from zoo.models.load import load_weights

    with printing_to_stderr(), CountBar("simulate test") as bar:  # plugins may print
        trained = load_weights(host, path).to(device)
        if files:
            paths = require_files(expand(files, stdin=sys.stdin), files)
            images, skipped = images_of_files(trained, read_pictures(paths, channels=trained.stored_channels))
            about = f"images of {', '.join(files)}"
            for item in skipped:
                echo(f"left out: {item.name}: {item.reason}", err=True)
        else:
            images, about = own_test_images(
                host, trained, number, device=device, progress=lambda split, done, total: bar.show(done, total)
            )
        return measure_trained(host, trained, images, about=about, group=group, layers=layers)


def _print(measured: Sequence[Measured]) -> None:
    from rich.table import Table

    from zoo.cli.terminal import styled

    out = console()
    first = measured[0]
    turned = first.error.rotations is not None
    state = f"run {first.run_id[:8]}" if first.run_id else "untrained"
    declared = f"declared {first.quality}" if first.quality else "not the one that the network declares"
    group = f"group {first.group}, {declared}" if first.group else "no group declared"
    out.print(styled(first.model, "bold"), f", {state}; {first.number} {first.images}; {group}\n", sep="")
    table = Table(box=None, header_style="bold", pad_edge=False)
    own = [f"under {first.group}"] if first.group else []
    angles = [word for angle in first.error.angles for word in (f"{angle} degrees", "floor")]
    for heading in (
        "image size", "d4", "class flips", *own, *angles, *(("other angles", "floor") if turned else ()),
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for each in measured:
        found = each.error
        flips = found.square.flips
        cells = [str(each.image_size), _error(found.square.error), "-" if flips is None else f"{flips:.1%}"]
        cells += [_error(found.declared.error)] if found.declared else []
        for rotation in (*found.angles.values(), *((found.rotations,) if found.rotations else ())):
            cells += [_error(rotation.error), _error(rotation.floor)]
        table.add_row(*cells)
    out.print(table)
    if any(each.error.square.error is None for each in measured):
        out.print("-: the logits are the same for all images, so the error is undefined", style="dim")
    if first.layers:
        out.print()
        out.print(_layer_table(measured, turned=turned))


def _layer_table(measured: Sequence[Measured], *, turned: bool) -> Any:
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(f"layer, under {measured[0].group or 'd4'}")
    for each in measured:
        table.add_column(f"{each.image_size} px", justify="right")
        if turned:
            table.add_column("angles", justify="right")
    for place, layer in enumerate(measured[0].layers):
        cells = [f"{layer.name} {layer.kind}"]
        for each in measured:
            entry = each.layers[place]
            cells += [_error(entry.exact), *([_error(entry.rotations)] if turned else [])]
        table.add_row(*cells)
    return table


def _error(value: float | None) -> str:
    """Return an error for the table; a dash where it is unknown."""
    return "-" if value is None else f"{value:.1e}"
