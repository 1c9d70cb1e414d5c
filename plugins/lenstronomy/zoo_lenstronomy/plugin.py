"""Specs of this plugin: one simulator."""

from zoo.hookspecs import hookimpl
from zoo.specs import SimulatorSpec

_CARD = """\
lenstronomy (Birrer & Amara 2018, arXiv:1803.09746; Birrer et al. 2021, JOSS 6, 3283), one scene at a time on a CPU.
It is here to check the default simulator. Images of Models A and B agree to 2e-3 of their peak, nearly all of which is
lenstronomy's own constant of the Sersic law, b_n = 1.9992 n - 0.3271; with the same b_n they agree to 1e-8.
"""


@hookimpl
def zoo_simulators() -> list[SimulatorSpec]:
    """Return the simulator."""
    return [
        SimulatorSpec(
            id="lenstronomy/lenstronomy",
            target="zoo_lenstronomy.simulator:render",
            summary="lenstronomy, one scene at a time; for checks",
            device="cpu",
            masses=("multipoles", "truncated_haloes"),
            requires=("lenstronomy",),
            tags=("reference",),
            card=_CARD,
        )
    ]
