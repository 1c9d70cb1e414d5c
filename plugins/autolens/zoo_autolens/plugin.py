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
            summary="PyAutoLens with its rays made once; a check on the others",
            device="cpu",
            requires=("autolens",),
            tags=("reference",),
            card=_CARD + "\nThe rays are made once and traced through a `Tracer` for every scene.\n",
        ),
        SimulatorSpec(
            id="autolens/simulator_imaging",
            target="zoo_autolens.imaging:render",
            summary="PyAutoLens through its SimulatorImaging, noise off; the slow way, as its users go",
            device="cpu",
            requires=("autolens",),
            tags=("reference",),
            card=_CARD + "\nEvery scene goes whole through `SimulatorImaging.via_tracer_from`, with its noise off.\n",
        ),
    ]
