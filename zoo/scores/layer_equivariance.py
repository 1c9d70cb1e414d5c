"""Equivariance error of each layer of a network: where a symmetry is lost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from zoo.data.rotation import rotate, rotate_smooth, transform_d4
from zoo.devices import in_float32
from zoo.scores.equivariance import smooth_disc, symmetries
from zoo.scores.schema import LayerError


@torch.inference_mode()
@in_float32()
def measure_layers(network: nn.Module, images: Tensor, group: str | None) -> list[LayerError]:
    """Return the error of every layer that puts out a map or a vector.

    A group acts on a layer's map by turning it and by mixing its channels in a way that is specific to the layer; but
    permutations and irreps keep the length of the vector at a point. So the map of lengths is compared with the turned
    map of lengths. An equivariant layer has error 0; so would one whose lengths are right and whose channels are mixed
    wrongly, so the logits have the last word. Vectors [N, F] are compared as they are.

    Args:
        network: Network in float32, which is put into evaluation mode.
        images: [n, C, H, W], square.
        group: Symmetry group, as for `zoo.scores.equivariance.symmetries`.

    Returns:
        One entry for each module that holds no other with an entry, in the order in which they run; errors are root
        mean squares over that of the layer's own output.
    """
    network.eval()
    found = symmetries(group)
    smooth = smooth_disc(images)
    reference = _outputs(network, images)
    smooth_reference = _outputs(network, smooth) if found.angles_degrees else {}
    exact: dict[str, list[float | None]] = {name: [] for name in reference}
    for element in found.exact[1:]:
        for name, (_, output) in _outputs(network, transform_d4(images, element)).items():
            exact[name].append(_difference(reference[name][1], output, partial(transform_d4, element=element)))
    turned: dict[str, list[float | None]] = {name: [] for name in reference}
    for angle in found.angles_degrees:
        # Bicubic: layers have few pixels and are full of edges.
        rotated = partial(rotate, angle=-math.radians(angle), interpolation="bicubic")
        for name, (_, output) in _outputs(network, rotate_smooth(smooth, -angle)).items():
            turned[name].append(_difference(smooth_reference[name][1], output, rotated, disc=True))
    return [
        LayerError(
            name=name,
            kind=kind,
            shape=tuple(output.shape[1:]),
            exact=_mean_root(exact[name]) if exact[name] else 0.0,
            rotations=_mean_root(turned[name]) if turned[name] else None,
        )
        for name, (kind, output) in reference.items()
    ]


def _mean_root(errors: Sequence[float | None]) -> float | None:
    """Return the root of the mean square; None where one error is unknown."""
    known = [error for error in errors if error is not None]
    return math.sqrt(sum(error**2 for error in known) / len(known)) if len(known) == len(errors) else None


def _outputs(network: nn.Module, images: Tensor) -> dict[str, tuple[str, Tensor]]:
    """Return module name -> (class, output) of every module that puts out maps or vectors, and holds none that does."""
    outputs: dict[str, tuple[str, Tensor]] = {}
    handles = []
    for name, module in network.named_modules():
        inside = f"{name}." if name else ""

        def keep(module: nn.Module, _: object, output: object, name: str = name, inside: str = inside) -> None:
            output = getattr(output, "tensor", output)  # e2cnn and escnn put out a GeometricTensor
            if any(inner.startswith(inside) for inner in outputs):
                return
            if isinstance(output, Tensor) and output.dim() in (2, 4):
                # A later layer may work in place.
                outputs[name] = type(module).__name__, output.clone()

        handles.append(module.register_forward_hook(keep))
    try:
        network(images)
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def _difference(
    reference: Tensor, transformed: Tensor, act: Callable[[Tensor], Tensor], *, disc: bool = False
) -> float | None:
    """Return the relative difference between a layer's output for turned images and its turned output.

    None where the output is 0 everywhere or not finite.
    """
    if reference.dim() == 4 and reference.shape[-1] == reference.shape[-2]:
        lengths, expected = (maps.norm(dim=1, keepdim=True) for maps in (transformed, reference))
        expected = act(expected)
        if disc:
            size = lengths.shape[-1]
            line = (torch.arange(size, device=lengths.device) - (size - 1) / 2) / (size / 2)
            inside = (line[:, None] ** 2 + line**2 < 0.9**2).to(lengths)
            lengths, expected = lengths * inside, expected * inside
    else:
        lengths, expected = transformed, reference
    scale = float(expected.double().square().mean().sqrt())
    difference = float((lengths - expected).double().square().mean().sqrt())
    return difference / scale if scale and math.isfinite(difference / scale) else None
