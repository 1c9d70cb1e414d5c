"""Names of variants: the settings in which trainings of one model differ, in short form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from zoo.data.channels import describe_channels
from zoo.data.phases import describe_params, describe_phases
from zoo.data.recipe import canonical_json, short_hash
from zoo.results.cell import SCHEMA, Cell

_PHASES = "trained on"
"""Name of the phases of a training among the settings that distinguish variants."""
_NAMES = {"recipe.device_type": "rendered on"}
"""Settings that go by another name than the last part of their own."""


def variant_keys(cells: Iterable[Cell], *, any_train_size: bool = False) -> list[str]:
    """Return a text for each cell that is equal for those which differ in nothing but the seed.

    A simulated training without `--data-seeds` is also the one with the seed of the data set among others that have
    training images of their own.

    Args:
        cells: Cells of results.
        any_train_size: Whether the number of training images may differ, as along a learning curve.
    """
    cells = list(cells)
    seeds: dict[str, set[int]] = {}
    for cell in cells:
        seeds.setdefault(_key(cell), set()).add(cell.seed)
    return [_key(_with_own_images(cell, seeds), any_train_size) for cell in cells]


def _with_own_images(cell: Cell, seeds: Mapping[str, set[int]]) -> Cell:
    """Return a training as one with images of its own where it is one of the seeds that have some; else as it is.

    Args:
        cell: Any cell.
        seeds: Key of a training -> seeds of the trainings with this key.
    """
    if cell.train_seed is not None or not cell.recipe.simulator or cell.seed != cell.recipe.seed:
        return cell
    own = replace(cell, train_seed=cell.seed)
    beside = seeds.get(_key(own), {cell.seed})
    return own if cell.seed not in beside and seeds[_key(cell)] == {cell.seed} else cell


def distinguish(variants: Sequence[Sequence[Cell]], *, any_train_size: bool = False) -> list[list[str]]:
    """Return the settings of each variant in which it differs from the others, in short form.

    Args:
        variants: Cells of each variant of one model.
        any_train_size: Whether the number of training images may differ, as along a learning curve.
    """
    named = [next((cell for cell in cells if cell.train_seed is not None), cells[0]) for cells in variants]
    shared = {_key(cell, any_train_size) for cell in named if cell.train_seed is None}
    # Of one seed there is nothing to say about the images of each, unless a variant differs in nothing else. Nor is
    # there beside single trainings with the seed of the data set, whose training images are their own, too.
    without = [replace(cell, train_seed=None) for cell in named]
    own = [
        (cells, other)
        for cells, cell, other in zip(variants, named, without, strict=True)
        if cell.train_seed is not None
    ]
    others = [cells for cells, cell in zip(variants, named, strict=True) if cell.train_seed is None]
    of_one_seed = all(len({cell.seed for cell in cells}) == 1 for cells, _ in own)
    firsts = all(cell.recipe.simulator and cell.seed == cell.recipe.seed for cells in others for cell in cells)
    alone = (of_one_seed or firsts) and all(_key(other, any_train_size) not in shared for _, other in own)
    named = without if alone else named
    several = have_other_phases(named)
    settings = [_settings(cell, any_train_size) for cell in named]
    return [
        [
            phases_in_words(cell, several=several)
            if name == _PHASES
            else f"{_NAMES.get(name, _short(name))} {in_words(value)}"
            for name, value in own.items()
            if _differs(name, value, settings)
        ]
        for cell, own in zip(named, settings, strict=True)
    ]


def with_settings(name: str, settings: Sequence[str]) -> str:
    """Return a name with settings in brackets, or the name alone without any."""
    return f"{name} ({', '.join(settings)})" if settings else name


def have_other_phases(cells: Iterable[Cell]) -> bool:
    """Return whether trainings in several phases are among these cells which differ in them."""
    return len({describe_phases(cell.phases) for cell in cells if len(cell.phases) > 1}) > 1


def phases_in_words(cell: Cell, *, several: bool) -> str:
    """Return the phases of a training as names hold them: "trained on depth 4" for one, "phases" for more.

    Args:
        cell: Cell with phases; without any, the text is empty.
        several: Whether other trainings of its model have other phases. Digits of a hash then tell them apart; a note
            of the table states the phases in full.
    """
    if len(cell.phases) < 2:
        return "".join(f"{_PHASES} {describe_params(phase.params)}" for phase in cell.phases)
    return f"phases {short_hash(describe_phases(cell.phases))[:4]}" if several else "phases"


def in_words(value: Any) -> Any:
    """Return a setting as names of variants hold it: of a digest, such as that of initial weights, its first digits."""
    if value == "":
        return "none"
    return value[:15] if isinstance(value, str) and value.startswith("sha256:") else value


def _differs(name: str, value: Any, settings: Sequence[Mapping[str, Any]]) -> bool:
    # What another one does without, such as the plugin of a channel, is named by other settings.
    absent = value if name.startswith("versions.") else None
    return any(other.get(name, absent) != value for other in settings)


def _short(name: str) -> str:
    """Return the last part of a dotted name; that of a distribution may hold dots."""
    return name.removeprefix("versions.") if name.startswith("versions.") else name.rpartition(".")[2]


def _key(cell: Cell, any_train_size: bool = False) -> str:
    return canonical_json(_decided(cell, any_train_size))


def _decided(cell: Cell, any_train_size: bool) -> dict[str, Any]:
    """Return a cell without its seeds, and without its training size where that may differ."""
    content = {"schema": SCHEMA, **{name: value for name, value in cell.identity().items() if name != "seed"}}
    if content.pop("train_seed", None) is not None:
        content["training images"] = "of each seed"
    content.pop("predictions", None)  # a method that was trained several times elsewhere, each with its seed
    content["recipe"] = cell.recipe.of_image_alone.identity()
    if channels := describe_channels(cell.recipe.channels):
        content["channels"] = channels
    if content.pop("phases", None):
        content[_PHASES] = describe_phases(cell.phases)
    if any_train_size:
        for field in ("sizes", "images"):
            content[field] = {name: value for name, value in content.get(field, {}).items() if name != "train"}
    return content


def _settings(cell: Cell, any_train_size: bool) -> dict[str, Any]:
    """Return the leaves of a cell without its seed, by dotted name."""
    leaves: dict[str, Any] = {}
    for name, value in _decided(cell, any_train_size).items():
        leaves |= {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
    return leaves
