"""Counts the parameters and the multiply-accumulates of a network."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from zoo.models.copies import copy_of

logger = logging.getLogger(__name__)

_PRODUCTS = {
    "addmv", "addr", "attention", "cdist", "conv", "convolution", "dot", "fft", "gru", "linalg", "linear", "lstm",
    "matmul", "mha", "mm", "mv", "rnn", "transformer", "trilinear", "vdot",
}  # fmt: skip
"""Words in the names of torch's operations that multiply and accumulate."""
_TABLES = {"fftfreq", "rfftfreq", "fftshift", "ifftshift"}
"""Words in the names of those among them that only make or order a table."""


@dataclass(frozen=True, kw_only=True)
class NetworkCost:
    """Cost of a network, apart from time.

    Args:
        parameters: Parameters of the network.
        macs: Multiply-accumulates of one forward pass of one image; None where they cannot be counted.
    """

    parameters: int
    macs: int | None


def count_cost(classifier: nn.Module, image: Tensor) -> NetworkCost:
    """Return what a network costs; the network itself is left as it is.

    Args:
        classifier: Classifier on the device of the image.
        image: [1, C, H, W].
    """
    return NetworkCost(
        parameters=count_parameters(classifier),
        macs=_count_macs(classifier, image),
    )


def count_parameters(classifier: nn.Module) -> int:
    """Return the number of parameters of a network."""
    return sum(parameter.numel() for parameter in classifier.parameters())


def _count_macs(classifier: nn.Module, image: Tensor) -> int | None:
    """Return the multiply-accumulates of one forward pass, or None; the log holds the reason.

    None also for a network with `counts_macs = False`: one whose work cannot be followed, such as that of its threads.
    """
    if not getattr(getattr(classifier, "network", classifier), "counts_macs", True):
        return None
    try:
        macs, uncounted = count_macs(classifier, image)
    except Exception as error:  # a cost must not end a run
        logger.warning("the multiply-accumulates cannot be counted: %s: %s", type(error).__name__, error)
        return None
    if uncounted:
        # The author of a network with an FFT expects this, and its only effect is an empty place in the table.
        level = logging.INFO if all("fft" in name for name in uncounted) else logging.WARNING
        logger.log(level, "the multiply-accumulates of %s cannot be counted", ", ".join(uncounted))
        return None
    return macs or None  # a network of element-wise products only has some, too


def count_macs(classifier: nn.Module, image: Tensor) -> tuple[int, list[str]]:
    """Return the multiply-accumulates of one forward pass, and the products that torch has no formula for.

    Whatever the network raises is raised: it may refuse to be followed.
    """
    counter = _Counter()
    network = copy_of(classifier).eval()
    with torch.random.fork_rng(devices=[]), torch.no_grad(), _separate_operations(), counter:
        network(image)
    return counter.flops // 2, sorted(counter.uncounted)


class _Counter(TorchDispatchMode):
    """Add up the floating-point operations that torch's own formulas give, and note products without a formula.

    torch's `FlopCounterMode` counts the same, but takes an operation without a formula for free; and it follows the
    modules with hooks, which fail for modules that return something other than tensors.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's has no annotation
        self.flops = 0
        self.uncounted: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count it, or the operations that it consists of."""
        kwargs = kwargs or {}
        operation = func._overloadpacket
        if operation in flop_registry:
            out = func(*args, **kwargs)
            self.flops += flop_registry[operation](*args, **kwargs, out_val=out)
            return out
        with self:
            out = func.decompose(*args, **kwargs)
        if out is not NotImplemented:
            return out
        known = func.namespace in ("aten", "prim", "prims")
        words = set(operation.__name__.split("_"))
        if not known or (words & _PRODUCTS and not words & _TABLES):
            self.uncounted.add(str(operation))
        return func(*args, **kwargs)


@contextlib.contextmanager
def _separate_operations() -> Iterator[None]:
    """Compute attention with ordinary matrix products: the fused layers hide theirs."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
