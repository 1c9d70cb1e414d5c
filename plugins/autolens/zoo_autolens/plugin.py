"""Specs of this plugin: PyAutoLens in two modes."""

from zoo.hookspecs import hookimpl
from zoo.specs import SimulatorSpec

_CARD = """\
PyAutoLens (Nightingale et al. 2021, JOSS 6, 2825; Nightingale, Dye & Massey 2018, arXiv:1708.07377): `Galaxy`,
`Tracer`, `mp.*`, `lp.Sersic`, `Convolver`; one scene at a time on a CPU. It is here to check the default simulator:
images agree to 1e-5 of their peak in float64, to 1e-4 in float32.
"""


@hookimpl
def zoo_simulators() -> list[SimulatorSpec]:
    """Return the simulators."""
    return [
        SimulatorSpec(
            id="autolens/autolens",
            target="zoo_autolens.simulator:render",
            summary="PyAutoLens, rays computed once for all scenes; for checks",
            device="cpu",
            masses=("multipoles", "truncated_haloes"),
            requires=("autolens",),
            tags=("reference",),
            card=_CARD + "\nThe rays are computed once and traced through a `Tracer` for every scene.\n",
        ),
        SimulatorSpec(
            id="autolens/simulator_imaging",
            target="zoo_autolens.imaging:render",
            summary="PyAutoLens through its own SimulatorImaging, without noise; slow, for checks",
            device="cpu",
            masses=("multipoles", "truncated_haloes"),
            requires=("autolens",),
            tags=("reference",),
            card=_CARD + "\nEvery scene is rendered by `SimulatorImaging.via_tracer_from`, without its noise.\n",
        ),
    ]
