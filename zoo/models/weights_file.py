"""The file of trained weights: one safetensors file that says what it is and checks itself. No torch is needed to ask.

Tensors named `golden.*` are images and the logits that these weights gave for them when they were written; all others
are the state dict of a `zoo.models.classifier.Classifier`. The header's entry "zoo" is JSON: the fields of `About`,
the format's number, the SHA-256 of all tensors, and that of all the rest of this entry, which older files lack. It is
one entry, since the safetensors library writes several in any order, and equal weights are to be equal files.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import DataError
from zoo.paths import written_whole

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
GOLDEN = "golden."
_ENTRY, _ENTRY_SHA256 = "zoo", "entry_sha256"
_LARGEST_HEADER = 100_000_000  # the safetensors library's own limit


@dataclass(frozen=True, kw_only=True)
class About:
    """What must be known to build the classifier again and to judge its answers.

    Args:
        model, model_version, group: the network's id, and its spec's version and symmetry group at that time.
        hparams: its resolved hyper-parameters.
        classes: names of the K classes in the order of the logits.
        image_shape: channels, height, width.
        pixel_scale: arcsec per pixel of the training images, or None where the data set states none.
        pixels: see `zoo.models.pixels.summary`.
        recipe: of the training images (`Recipe.to_json()`): data set, parameters, simulator.
        run_id: of the run that trained it.
        versions: distribution -> version, of the core and of the plugins that took part.
        init: what the training started from ("sha256", "model", "run_id"), or None: at random.
    """

    model: str
    model_version: int
    group: str | None
    hparams: Mapping[str, Any]
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    pixel_scale: float | None
    pixels: Mapping[str, Any]
    recipe: Mapping[str, Any]
    run_id: str
    versions: Mapping[str, str]
    init: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file of weights says of itself.

    Args:
        about: see `About`.
        sha256: of all tensors, 64 hex digits.
        parameters: numbers in the state dict, buffers included.
    """

    about: About
    sha256: str
    parameters: int


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The content of a file of weights.

    Args:
        path: of the file.
        header: what it says of itself.
        state: name -> tensor of the classifier's state dict.
        golden: "images" [n, C, H, W] and "logits" [n, K].
    """

    path: Path
    header: Header
    state: dict[str, Tensor]
    golden: dict[str, Tensor] = field(default_factory=dict)


def write_weights(path: Path, state: Mapping[str, Tensor], *, about: About, golden: Mapping[str, Tensor]) -> str:
    """Write a file of weights, whole or not at all, and return the SHA-256 of its tensors.

    Raises:
        DataError: the file cannot be written.
    """
    from safetensors.torch import save

    tensors = {**state, **{GOLDEN + name: tensor for name, tensor in golden.items()}}
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    entries, start = _parse(data := save(plain), path)
    digest = _digest(entries, memoryview(data)[start:])
    content = json.loads(json.dumps({"format": FORMAT, "sha256": digest, **asdict(about)}))
    entry = json.dumps({**content, _ENTRY_SHA256: _entry_sha256(content)}, sort_keys=True)
    with written_whole(path) as temporary:
        temporary.write_bytes(save(plain, metadata={_ENTRY: entry}))
    return digest


def read_header(path: Path) -> Header:
    """Return what a file says of itself; its tensors are neither read nor checked.

    Raises:
        DataError: there is no such file, it is damaged, its header was altered, or it is not one that zoo wrote.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
            content = start + file.read(min(int.from_bytes(start, "little"), _LARGEST_HEADER))
    except OSError as error:
        raise DataError(f"Cannot read the weights {path}: {error.strerror or error}.") from error
    return _header(_parse(content, path)[0], path)


def read_weights(path: Path) -> Weights:
    """Return the content of a file whose tensors fit their SHA-256.

    Raises:
        DataError: there is no such file, it is damaged or altered, or it is not one that zoo wrote.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    header = read_header(path)
    if (found := digest_of(path)) != header.sha256:
        raise DataError(
            f"{path} has been altered or damaged: its tensors have the SHA-256 {found[:16]}..., "
            f"its header says {header.sha256[:16]}...",
            hint="Copy it again, or train again: zoo rerun RUN",
        )
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise DataError(f"{path} cannot be read as weights: {error}.") from error
    return Weights(
        path=path,
        header=header,
        state={name: tensor for name, tensor in tensors.items() if not name.startswith(GOLDEN)},
        golden={name.removeprefix(GOLDEN): tensor for name, tensor in tensors.items() if name.startswith(GOLDEN)},
    )


def digest_of(path: Path) -> str:
    """Return the SHA-256 over names, types, shapes and bytes of all tensors, whatever their order in the file.

    Raises:
        DataError: there is no such file, or it is damaged.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            length = int.from_bytes(content[:8], "little")
            entries, start = _parse(content[: 8 + length], path)
            with memoryview(content) as view, view[start:] as data:
                return _digest(entries, data, path)
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read the weights {path}: {error}.") from error


def _parse(content: bytes, path: Path) -> tuple[dict[str, Any], int]:
    """Return a safetensors file's header and where its data begin: 8 bytes of length, JSON, then the data."""
    length = int.from_bytes(content[:8], "little")
    try:
        if len(content) < 8 or length > len(content) - 8:
            raise ValueError("it ends before its header does")
        entries = json.loads(content[8 : 8 + length])
        if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
            raise ValueError("its header is none")
        for name, entry in entries.items():
            if name != "__metadata__" and not _is_tensor(entry):
                raise ValueError(f"its header says no type, shape or place of {name}")
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is no safetensors file, or is damaged: {error}.",
            hint="zoo reads the weights.safetensors of its own runs.",
        ) from error
    return entries, 8 + length


def _is_tensor(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of a header has the form of a tensor's; whether it fits the data is for the library."""
    lists = [entry.get("shape"), entry.get("data_offsets")]
    return (
        isinstance(entry.get("dtype"), str)
        and all(isinstance(numbers, list) and all(type(n) is int and n >= 0 for n in numbers) for numbers in lists)
        and len(entry["data_offsets"]) == 2
    )


def _digest(entries: Mapping[str, Any], data: memoryview, path: Path | None = None) -> str:
    digest = hashlib.sha256()
    for name in sorted(entries.keys() - {"__metadata__"}):
        entry = entries[name]
        start, stop = entry["data_offsets"]
        if stop > len(data):
            raise DataError(f"{path} is damaged: the tensor {name} is cut.")
        digest.update(json.dumps([name, entry["dtype"], entry["shape"]]).encode())
        digest.update(data[start:stop])
    return digest.hexdigest()


def _header(entries: Mapping[str, Any], path: Path) -> Header:
    """Return the header as objects.

    Raises:
        DataError: another program wrote it, or an older or newer zoo; names what is missing. Or it was altered, or says
            what cannot be.
    """
    text = entries.get("__metadata__", {}).get(_ENTRY)
    if text is None:
        raise DataError(
            f"{path} holds no weights of zoo: its header does not say which network they belong to.",
            hint="Planar weights of other programs: zoo show MODEL says which hyper-parameter takes them, if any.",
        )
    try:
        content = dict(json.loads(text))
        stated = content.pop(_ENTRY_SHA256, None)
        found = _entry_sha256(content)
        number, sha256 = content.pop("format", 0), content.pop("sha256", "")
        missing = [each.name for each in fields(About) if each.name not in content]
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: its header is damaged: {error}.") from error
    if number != FORMAT or missing or not sha256:
        what = f"it lacks {', '.join(missing)}" if missing else f"its format is {number}"
        raise DataError(
            f"{path} was written by another zoo: {what}; this one reads format {FORMAT}.",
            hint="Train again with this version: zoo rerun RUN --store DIR",
        )
    if stated not in (None, found):
        raise DataError(
            f"{path} has been altered or damaged: its header has the SHA-256 {found[:16]}..., the file says "
            f"{str(stated)[:16]}...",
            hint="Copy it again, or train again: zoo rerun RUN",
        )
    values = {each.name: content[each.name] for each in fields(About)}
    if wrong := [name for name, fits in _FORMS.items() if not fits(values[name])]:
        raise DataError(f"{path}: its header is damaged: {wrong[0]} is {str(values[wrong[0]])[:60]}.")
    if problem := _golden_problem(entries, values):
        raise DataError(f"{path} is damaged: {problem}.")
    values |= {name: tuple(values[name]) for name in ("classes", "image_shape")}
    shapes = [entry["shape"] for name, entry in entries.items() if not name.startswith((GOLDEN, "__metadata__"))]
    return Header(about=About(**values), sha256=str(sha256), parameters=sum(map(_product, shapes)))


def _golden_problem(entries: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """Return in words why the golden tensors do not fit the rest, or "". Whoever needs them says that they are absent.

    Their shapes are under the tensors' SHA-256, so they also say what the number of classes and the image shape are.
    """
    images, logits = (entries.get(GOLDEN + name) for name in ("images", "logits"))
    if images is None or logits is None:
        return ""
    count = max([1, *images["shape"][:1]])
    expected = [count, *values["image_shape"]], [count, len(values["classes"])]
    if (images["shape"], logits["shape"]) == expected and images["dtype"] == logits["dtype"] == "F32":
        return ""
    return (
        f"its golden images and logits are {images['dtype']} {images['shape']} and {logits['dtype']} "
        f"{logits['shape']}; by its header they are F32 [n, {', '.join(map(str, values['image_shape']))}] and "
        f"[n, {len(values['classes'])}], at least one"
    )


def _entry_sha256(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _is_number(value: Any, *, above: float) -> bool:
    # The bounds are far beyond any image; they keep out infinities, and whole numbers that no float can hold.
    return type(value) in (int, float) and above < value < _HUGE


def _is_quantiles(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(_is_number(number, above=-_HUGE) for number in value)


def _is_classes(value: Any) -> bool:
    texts = isinstance(value, list) and all(isinstance(name, str) and name for name in value)
    return texts and 0 < len(value) == len(set(value))


_HUGE = 1e30

# Files come from anywhere, and what they say ends up in file names and in networks to be built.
_FORMS: dict[str, Callable[[Any], bool]] = {
    "model": lambda value: isinstance(value, str),
    "model_version": lambda value: type(value) is int,
    "group": lambda value: value is None or isinstance(value, str),
    "hparams": lambda value: isinstance(value, dict),
    "classes": _is_classes,
    "image_shape": lambda value: (
        isinstance(value, list) and len(value) == 3 and all(type(n) is int and n > 0 for n in value)
    ),
    "pixel_scale": lambda value: value is None or _is_number(value, above=0),
    "pixels": lambda value: isinstance(value, dict) and all(_is_quantiles(value.get(key)) for key in ("peak", "noise")),
    "recipe": lambda value: (
        isinstance(value, dict) and isinstance(value.get("dataset"), str) and isinstance(value.get("params"), dict)
    ),
    "run_id": lambda value: isinstance(value, str) and re.fullmatch("[0-9a-f]{16}", value) is not None,
    "versions": lambda value: isinstance(value, dict),
    "init": lambda value: value is None or (isinstance(value, dict) and {"model", "run_id"} <= value.keys()),
}


def _product(shape: list[int]) -> int:
    product = 1
    for length in shape:
        product *= length
    return product
