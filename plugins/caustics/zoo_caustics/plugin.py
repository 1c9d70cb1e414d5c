"""Specs of this plugin: one simulator."""

from zoo.hookspecs import hookimpl
from zoo.specs import SimulatorSpec

_CARD = """\
The default simulator. The formulas are those of caustics (Stone et al. 2024, arXiv:2406.15542): isothermal
ellipsoid, external shear, point masses, Sersic light. One scene is traced at a time on a CPU, many at a time
on a CUDA device; where a run is long enough, the same formulas, arranged for it, are compiled into one loop over
the rays with `torch.compile`, and compared with caustics' own before they are used. An image does not depend on
the batch that it is rendered in.
"""


@hookimpl
def zoo_simulators() -> list[SimulatorSpec]:
    """Return the simulator."""
    return [
        SimulatorSpec(
            id="caustics/caustics",
            target="zoo_caustics.simulator:render",
            version=2,
            summary="caustics' physics, batched and compiled, on CPU and CUDA",
            device="any",
            masses=("multipoles", "truncated_haloes"),
            requires=("caustics",),
            tags=("fast",),
            default=True,
            card=_CARD,
        )
    ]
