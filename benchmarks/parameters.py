"""Print the number of parameters of every registered model, which plugins state as `ModelSpec.parameters`.

uv run python benchmarks/parameters.py [PATTERN]
"""

from __future__ import annotations

import sys

from zoo import registry
from zoo.host import load_plugins
from zoo.models.cost import count_parameters
from zoo.models.network import build_network
from zoo.specs import REFERENCE_SHAPE, ModelSpec


def main(pattern: str = "*") -> None:
    """Print one line for each model: id, count, and the number in its spec if it differs."""
    for spec in registry.listed(load_plugins(), ModelSpec, pattern=pattern):
        network = build_network(spec, **REFERENCE_SHAPE, hparams={})
        count = count_parameters(network)
        note = "" if count == spec.parameters else f"  (its spec states {spec.parameters})"
        print(f"{spec.id:<28} {count:>12_}{note}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
