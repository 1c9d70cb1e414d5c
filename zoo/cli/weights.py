"""`zoo weights list`, `zoo weights push`, `zoo card` and `zoo export`: what can be done with trained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from zoo.cli.complete import COMPLETE
from zoo.cli.context import echo, host_of, print_json
from zoo.cli.listing import print_aligned
from zoo.cli.options import PATH, STORE
from zoo.errors import UsageError, ZooError, nearest
from zoo.isolation import printing_to_stderr
from zoo.models.weights_file import read_header
from zoo.paths import write_text
from zoo.schema import plain

_LICENCE = click.option("--licence", default="mit", show_default=True, help="Set the licence of the weights.")


@click.group()
def weights() -> None:
    """List and share trained weights."""


@weights.command("list")
@STORE
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_weights(ctx: click.Context, store: Path, as_json: bool) -> None:
    """List bundled weights and the weights in a store.

    Their names are those that zoo.load and the commands accept.
    """
    from zoo.weights.find import packaged_weights, stored_weights

    rows: list[dict[str, Any]] = []
    for entry in [*packaged_weights(host_of(ctx)), *stored_weights(store)]:
        place = {"name": entry.name, "source": entry.source, "path": str(entry.path)}
        try:
            header = read_header(entry.path)
            rows.append({**place, **plain(header.about), "sha256": header.sha256, "values": header.values})
        except ZooError as error:
            rows.append({**place, "error": str(error.args[0])})
    if as_json:
        print_json(rows)
        return
    if not rows:
        echo(f"No plugin ships weights, and there are none in {store}.", err=True)
        return
    lines = [("name", "source", "image", "values with buffers", "SHA-256", "model and data")]
    for row in rows:
        if "error" in row:
            lines.append((row["name"], row["source"], "", "", "", f"error: {row['error']}"))
            continue
        scale = f' at {row["pixel_scale"]:g}"' if row["pixel_scale"] else ""
        shape = "x".join(map(str, row["image_shape"])) + scale
        trained = f"{row['model']} on {row['recipe']['dataset']}"
        lines.append((row["name"], row["source"], shape, f"{row['values']:,}", row["sha256"][:12], trained))
    print_aligned(lines, right={3})


@weights.command()
@click.argument("run", shell_complete=COMPLETE["runs"])
@click.argument("address", metavar="hf://OWNER/NAME")
@STORE
@_LICENCE
@click.option("--private", is_flag=True, help="Make a new repository private.")
@click.pass_context
def push(ctx: click.Context, run: str, address: str, store: Path, licence: str, private: bool) -> None:
    """Upload a run's weights, card and result to a Hugging Face hub."""
    from zoo.results.find import find_run
    from zoo.weights.hub import push as push_run

    run_dir = find_run(run, store=store)
    echo(push_run(host_of(ctx), run_dir, address, private=private, licence=licence))


@click.command()
@click.argument("run", shell_complete=COMPLETE["runs"])
@STORE
@_LICENCE
@click.option("--out", metavar="FILE", type=PATH, help="Write the card to this file; default: stdout.")
@click.pass_context
def card(ctx: click.Context, run: str, store: Path, licence: str, out: Path | None) -> None:
    """Write the model card of a run.

    A card states data, recipe, scores and limits, and how to load the weights.

    RUN is a folder, the first digits of a run id, or weights that a plugin ships, such as p4m.modelA.
    """
    from zoo.results.find import find_run, means_run
    from zoo.weights.card import make_card
    from zoo.weights.find import packaged_as, shipped_card, unknown_weights

    host = host_of(ctx)
    text = shipped_card(host, run)
    if text is None:
        if not means_run(run, store=store):
            if packaged_as(host, run):
                raise UsageError(f"The weights '{run}' came without a card.", hint="See: zoo weights list")
            raise unknown_weights(host, run, store=store, files=False)
        text = make_card(host, find_run(run, store=store), licence=licence)
    elif ctx.get_parameter_source("licence") is not click.core.ParameterSource.DEFAULT:
        raise UsageError(
            f"The card of {run} came with its weights and is given as it is: --licence is for cards of your own runs."
        )
    if out is None:
        echo(text, nl=False)
        return
    write_text(out, text)
    echo(f"wrote {out}", err=True)


@click.command()
@click.argument("weights", metavar="WEIGHTS", shell_complete=COMPLETE["weights"])
@click.option(
    "--format",
    "kind",
    default="onnx",
    show_default=True,
    help="Write this format: onnx or torch-export.",
    shell_complete=COMPLETE["formats"],
)
@click.option("--out", metavar="FILE", type=PATH, help="Write this file; default: MODEL-RUN.onnx or .pt2.")
@STORE
@click.pass_context
def export(ctx: click.Context, weights: str, kind: str, out: Path | None, store: Path) -> None:
    """Write trained weights as an ONNX or torch.export file.

    The outputs of the file are compared with those of the network before it is written.
    """
    from zoo.weights.find import find_weights

    host = host_of(ctx)
    path = find_weights(host, weights, store=store)
    from zoo.models.export import SUFFIXES, TOLERANCE
    from zoo.models.export import export as write
    from zoo.models.load import load_weights

    if kind not in SUFFIXES:
        raise UsageError(f"format '{kind}' is not one of {', '.join(SUFFIXES)}.{nearest(kind, SUFFIXES)}")
    with printing_to_stderr():
        trained = load_weights(host, path)
        about = trained.about
        out = out or Path(f"{about.model.replace('/', '.')}-{about.run_id}{SUFFIXES[kind]}")
        error = write(trained, out, kind=kind)
    echo(f"logits differ from those of the network by {error:.1e} of the largest (allowed: {TOLERANCE:g})", err=True)
    echo(out)
