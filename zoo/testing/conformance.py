"""Deprecated names of the conformance kit; `zoo.testing` has their successors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo.deprecation import deprecated
from zoo.testing.kit import Options, check
from zoo.testing.outcome import ConformanceError, require_passed

if TYPE_CHECKING:
    from zoo.host import Host

__all__ = ["ConformanceError", "check_channel", "check_dataset", "check_model", "check_simulator"]


def check_model(host: Host, name: str, *, image_sizes: Sequence[int] = (64, 65), tolerance: float = 1e-4) -> None:
    """Check a model without training it; use `zoo.testing.check`.

    Raises:
        ConformanceError: A contract is broken; the message names all failures.
        UsageError: The model is unknown.
    """
    deprecated("zoo.testing.conformance.check_model", successor="zoo.testing.check", removed_in="0.3")
    options = Options(sizes=image_sizes, channels=(1,), classes=(3,), trainings=False, tolerance=tolerance)
    require_passed(check(host, name, options=options))


def check_dataset(host: Host, name: str) -> None:
    """Check a data set; use `zoo.testing.check`.

    Raises:
        ConformanceError: A contract is broken; the message names all failures.
    """
    deprecated("zoo.testing.conformance.check_dataset", successor="zoo.testing.check", removed_in="0.3")
    require_passed(check(host, name))


def check_channel(host: Host, name: str, dataset: str) -> None:
    """Check a derived channel with images of a data set; use `zoo.testing.check`.

    Raises:
        ConformanceError: A contract is broken; the message names all failures.
    """
    deprecated("zoo.testing.conformance.check_channel", successor="zoo.testing.check", removed_in="0.3")
    require_passed(check(host, name, options=Options(data=dataset)))


def check_simulator(host: Host, name: str, dataset: str) -> None:
    """Check a simulator with scenes of a data set; use `zoo.testing.check`.

    Raises:
        ConformanceError: A contract is broken; the message names all failures.
    """
    deprecated("zoo.testing.conformance.check_simulator", successor="zoo.testing.check", removed_in="0.3")
    require_passed(check(host, name, options=Options(data=dataset)))
