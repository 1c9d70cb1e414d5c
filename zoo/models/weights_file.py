"""The file of trained weights: one safetensors file with a description and checksums, readable without torch.

Tensors named `golden.*` are images and the logits that these weights gave for them when they were written; those named
`detector.*` compare an image with the training images (`zoo.scores.unlike`). All others are the state dict of a
`zoo.models.classifier.Classifier`. The header's entry "zoo" is JSON: the fields of `About`, the format's number, the
SHA-256 of all tensors, and that of all the rest of this entry. It is one entry, since the safetensors library writes
several in any order, and equal weights are to be equal files.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zoo.errors import DataError
from zoo.models.about import About, Sha256
from zoo.paths import parse_json, regular_file, written_whole
from zoo.schema import json_text, plain, read_record

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
GOLDEN, DETECTOR = "golden.", "detector."
_ENTRY, _ENTRY_SHA256 = "zoo", "entry_sha256"
_LARGEST_HEADER = 100_000_000  # the safetensors library's own limit


@dataclass(frozen=True, kw_only=True)
class Header:
    """Description of a weights file.

    Args:
        about: Description of the network and its training.
        sha256: SHA-256 of all tensors, 64 hex digits.
        values: Number of values in the state dict: parameters and buffers, such as the running means of batch norm.
    """

    about: About
    sha256: str
    values: int


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The content of a file of weights.

    Args:
        path: Path of the file.
        header: Description of the file.
        state: State dict of the classifier: name -> tensor.
        golden: "images" [n, C, H, W] and "logits" [n, K].
        detector: Tensors of the detector of images unlike the training images; empty in files of earlier versions.
    """

    path: Path
    header: Header
    state: dict[str, Tensor]
    golden: dict[str, Tensor] = field(default_factory=dict)
    detector: dict[str, Tensor] = field(default_factory=dict)


def write_weights(
    path: Path,
    state: Mapping[str, Tensor],
    *,
    about: About,
    golden: Mapping[str, Tensor],
    detector: Mapping[str, Tensor] = MappingProxyType({}),
) -> str:
    """Write a file of weights, whole or not at all, and return the SHA-256 of its tensors.

    Args:
        path: Path of the file.
        state: State dict of the classifier.
        about: Description.
        golden: "images" and "logits"; see `Weights`.
        detector: Tensors of `zoo.scores.unlike.Detector`; empty for weights without one.

    Raises:
        DataError: The file cannot be written, or its description holds a value that the reader refuses.
    """
    from safetensors.torch import save

    from zoo.models.copies import tensors_for_file

    tensors = {**state, **{GOLDEN + name: tensor for name, tensor in golden.items()}}
    tensors |= {DETECTOR + name: tensor for name, tensor in detector.items()}
    on_cpu = tensors_for_file(tensors)
    entries, start = _parse(data := save(on_cpu), path)
    digest = _digest(entries, memoryview(data)[start:])
    content = json.loads(json_text({"format": FORMAT, "sha256": digest, **plain(about)}, what=path.name))
    described = {name: value for name, value in content.items() if name not in ("format", "sha256")}
    read_record(described, About, what=f"{path}: its header")  # what the reader refuses is not written
    entry = json.dumps({**content, _ENTRY_SHA256: _entry_sha256(content)}, sort_keys=True)
    with written_whole(path) as temporary:
        temporary.write_bytes(save(on_cpu, metadata={_ENTRY: entry}))
    return digest


def read_header(path: Path) -> Header:
    """Return the description of a file; its tensors are neither read nor checked.

    Raises:
        DataError: The file was not found, is damaged or altered, or is not a weights file of zoo.
    """
    try:
        with regular_file(path).open("rb") as file:
            start = file.read(8)
            content = start + file.read(min(int.from_bytes(start, "little"), _LARGEST_HEADER))
    except OSError as error:
        raise DataError(f"Cannot read the weights {path}: {error.strerror or error}.") from error
    return _header(_parse(content, path)[0], path)


def read_weights(path: Path) -> Weights:
    """Return the content of a file whose tensors fit their SHA-256.

    Raises:
        DataError: The file was not found, is damaged or altered, or is not a weights file of zoo.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    header = read_header(path)
    if (found := digest_of(path)) != header.sha256:
        raise DataError(
            f"{path} has been altered or damaged: its tensors have the SHA-256 {found[:16]}..., "
            f"its header states {header.sha256[:16]}...",
            hint="Copy it again, or train again: zoo rerun RUN",
        )
    try:
        tensors = load_file(regular_file(path))
    except (OSError, SafetensorError, ValueError) as error:
        raise DataError(f"{path} cannot be read as weights: {error}.") from error
    return Weights(
        path=path,
        header=header,
        state={name: tensor for name, tensor in tensors.items() if not name.startswith((GOLDEN, DETECTOR))},
        golden=_below(GOLDEN, tensors),
        detector=_below(DETECTOR, tensors),
    )


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def digest_of(path: Path) -> str:
    """Return the SHA-256 over names, types, shapes and bytes of all tensors, whatever their order in the file.

    Raises:
        DataError: The file was not found, or is damaged.
    """
    try:
        with regular_file(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
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
        entries = parse_json(content[8 : 8 + length])
        if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
            raise ValueError("its header is not a JSON object")
        for name, entry in entries.items():
            if name != "__metadata__" and not _is_tensor(entry):
                raise ValueError(f"its header lacks the type, shape or offsets of {name}")
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is not a safetensors file, or is damaged: {error}.",
            hint="zoo reads the weights.safetensors of its own runs; commands name the weights before other files: "
            "zoo predict WEIGHTS FILES...",
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
        DataError: The file comes from another program or version, was altered, or has impossible values.
    """
    text = entries.get("__metadata__", {}).get(_ENTRY)
    if text is None:
        raise DataError(
            f"{path} is not a weights file of zoo: its header does not name a network.",
            hint="Weights of other programs: zoo show MODEL lists the hyper-parameter that loads them, if any.",
        )
    try:
        content = dict(parse_json(text))
        stated = content.pop(_ENTRY_SHA256, None)
        found = _entry_sha256(content)
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: its header is damaged: {error}.") from error
    number, sha256 = content.pop("format", None), content.pop("sha256", None)
    if number != FORMAT:
        raise DataError(
            f"{path} was written by another zoo: its format is {number}; this one reads format {FORMAT}.",
            hint="Train again with this version: zoo rerun RUN --store DIR",
        )
    if stated != found:
        raise DataError(
            f"{path} has been altered or damaged: its header has the SHA-256 {found[:16]}..., the file "
            f"states {str(stated)[:16]}...",
            hint="Copy it again, or train again: zoo rerun RUN",
        )
    about = read_record(content, About, what=f"{path}: its header")
    sha256 = read_record(sha256, Sha256, what=f"{path}: the SHA-256 in its header")
    if problem := _golden_problem(entries, about):
        raise DataError(f"{path} is damaged: {problem}.")
    shapes = [
        entry["shape"] for name, entry in entries.items() if not name.startswith((GOLDEN, DETECTOR, "__metadata__"))
    ]
    return Header(about=about, sha256=sha256, values=sum(map(math.prod, shapes)))


def _golden_problem(entries: Mapping[str, Any], about: About) -> str:
    """Return in words why the golden tensors do not match the rest, or "". Missing ones are reported elsewhere.

    Their shapes are under the tensors' SHA-256, so they also say what the number of classes and the image shape are.
    """
    images, logits = (entries.get(GOLDEN + name) for name in ("images", "logits"))
    if images is None or logits is None:
        return ""
    count = max([1, *images["shape"][:1]])
    expected = [count, *about.image_shape], [count, about.columns]
    if (images["shape"], logits["shape"]) == expected and images["dtype"] == logits["dtype"] == "F32":
        return ""
    return (
        f"its golden images and logits are {images['dtype']} {images['shape']} and {logits['dtype']} "
        f"{logits['shape']}; by its header they are F32 [n, {', '.join(map(str, about.image_shape))}] and "
        f"[n, {about.columns}], at least one"
    )


def _entry_sha256(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
