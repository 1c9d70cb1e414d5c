"""Specs of this plugin: one simulator."""

from zoo.hookspecs import hookimpl
from zoo.specs import SimulatorSpec

_CARD = """\
The default simulator. The formulas are those of caustics (Stone et al. 2024, arXiv:2406.15542): isothermal
ellipsoid, external shear, point masses, Sersic light. Where a run is long enough, the same formulas, arranged for
it, are compiled into one loop over the rays, in C++ for a CPU and with `torch.compile` for a CUDA device, and compared
with caustics' own before they are used. An image does not depend on the batch that it is rendered in, nor on the number
of threads.
"""


@hookimpl
def zoo_simulators() -> list[SimulatorSpec]:
    """Return the simulator."""
    return [
        SimulatorSpec(
            id="caustics/caustics",
            target="zoo_caustics.simulator:render",
            version=3,
            summary="caustics' physics, batched and compiled, on CPU and CUDA",
            device="any",
            masses=("multipoles", "truncated_haloes"),
            requires=("caustics",),
            tags=("fast",),
            default=True,
            card=_CARD,
        )
    ]
