"""The smallest plugin, for tests of loading."""

from __future__ import annotations

from zoo.host import Host

NETWORK = """
from zoo import ModelSpec, hookimpl

@hookimpl
def zoo_models():
    return [ModelSpec(id="{name}/net", target="torch.nn:Identity")]
"""


def states(host: Host) -> dict[str, str]:
    """Return name -> state of every plugin."""
    return {name: record.state for name, record in host.records.items()}
