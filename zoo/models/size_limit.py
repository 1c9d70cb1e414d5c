"""Limit of the memory that building a network may take, where nobody asked for a large one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from zoo.errors import UsageError

MOST_NUMBERS = 2**30
"""Numbers that a network's tensors may have in all: 4 GiB in float32, eight times the largest of this project."""


class _Counted(TorchDispatchMode):
    """Counts the numbers of new tensors, and refuses the one that is too many before memory is taken for it."""

    def __init__(self, name: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's has no annotation
        self.name, self.numbers = name, 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if args and isinstance(args[0], (list, tuple)) and all(type(size) is int for size in args[0]):  # a new tensor
            self.numbers += math.prod(args[0])
            if self.numbers > MOST_NUMBERS:
                raise UsageError(
                    f"{self.name} has more than {MOST_NUMBERS:,} numbers with these hyper-parameters.",
                    hint=f"See: zoo show {self.name}",
                )
        return func(*args, **(kwargs or {}))


@contextmanager
def size_limit(name: str) -> Iterator[None]:
    """Refuse a network whose tensors hold more than `MOST_NUMBERS` numbers while it is built.

    Args:
        name: Id of the model, for the message.

    Raises:
        UsageError: The network is larger.
    """
    with _Counted(name):
        yield
