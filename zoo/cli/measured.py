"""Tables of `zoo simulate --compare` and `zoo simulate --accuracy`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.cli.context import console, echo, print_json
from zoo.plurals import counted

if TYPE_CHECKING:
    from zoo.data.accuracy import Accuracy
    from zoo.data.compare import SimulatorDifference


def print_difference(difference: SimulatorDifference, *, as_json: bool) -> None:
    """Print the difference of two simulators as a table, or as JSON."""
    if as_json:
        print_json(difference.to_json())
        return
    from rich.table import Table

    first, second = difference.simulators
    scenes = counted(difference.images, "scene")
    table = Table(
        title=f"{first} and {second} on {scenes} of {difference.dataset}, before the noise",
        title_justify="left", header_style="bold",
    )  # fmt: skip
    rows = difference.rows()
    for heading in rows[0]:
        table.add_column(heading, justify="left" if heading in ("light", "class") else "right")
    for row in rows:
        table.add_row(*(f"{value:.1e}" if isinstance(value, float) else str(value) for value in row.values()))
    console().print(table)
    for name, seconds in zip(difference.simulators, difference.seconds_per_image, strict=True):
        echo(f"{name}: {1e3 * seconds:,.1f} ms an image")


def print_accuracy(measured: Accuracy, *, as_json: bool) -> None:
    """Print the error of images over their noise as a table, or as JSON."""
    if as_json:
        print_json(measured.to_json())
        return
    from rich.table import Table

    from zoo.data.accuracy import LARGEST_ALLOWED, MOST_ALLOWED

    table = Table(
        title=f"Error over the noise of each pixel: {measured.dataset}, {measured.simulator}, over-sampling "
        f"{measured.over_sampling} against {measured.reference_over_sampling}",
        title_justify="left", header_style="bold",
    )  # fmt: skip
    rows = measured.rows()
    for heading in rows[0]:
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for row in rows:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()))
    console().print(table)
    bounds = f"99 % of the pixels below {MOST_ALLOWED:g} and all below {LARGEST_ALLOWED:g}"
    if measured.accurate:
        echo(f"accurate: {bounds}")
    else:
        echo(f"not accurate: the bounds are {bounds}; more rays: --set data.over_sampling=...")
