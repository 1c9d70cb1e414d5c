"""The populations that this plugin offers, each a table of priors."""

from zoo.hookspecs import hookimpl
from zoo.specs import DatasetSpec
from zoo_deeplense.tables import MODEL_A, MODEL_B

CLASSES = ("no_substructure", "subhalo", "vortex")

_CARD = """\
Strong-lens images in three classes: a smooth halo, a halo with sub-haloes (point masses), and a halo with a
superfluid vortex (a straight string of equal point masses). Halo and substructure together hold the same mass in
every class: substructure is not added on top, which would make the ring larger and give the class away.

The parameters are those of Alexander et al. 2020 (arXiv:2008.12731), checked against the released images.
`mass_scale` multiplies every substructure mass: small networks on few images need 4, large ones decide at 1.
"""


@hookimpl
def zoo_datasets() -> list[DatasetSpec]:
    """Return Model A and Model B."""
    return [
        DatasetSpec(
            id="deeplense/modelA",
            target="zoo_deeplense.population:build",
            summary="the easy one: fixed redshifts, peak SNR 34 (DeepLense's files 'f')",
            classes=CLASSES,
            params=MODEL_A,
            simulated=True,
            tags=("lens",),
            card=_CARD,
        ),
        DatasetSpec(
            id="deeplense/modelB",
            target="zoo_deeplense.population:build",
            summary="the hard one: redshifts, sky and peak SNR 10 to 30 vary (DeepLense's files 'j')",
            classes=CLASSES,
            params=MODEL_B,
            simulated=True,
            tags=("lens",),
            card=_CARD,
        ),
    ]
