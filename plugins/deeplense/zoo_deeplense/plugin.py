"""The populations that this plugin offers, each a table of priors."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from zoo.hookspecs import hookimpl
from zoo.specs import DatasetSpec
from zoo_deeplense import tables
from zoo_deeplense.meanings import MEANINGS

CLASSES = ("no_substructure", "subhalo", "vortex")
NORMAL = ("no_substructure",)
"""Classes that are not anomalies."""
TASKS = {"substructure": {"no_substructure": ["no_substructure"], "substructure": ["subhalo", "vortex"]}}

_CARD = """\
Strong-lens images in three classes: a smooth halo, a halo with sub-haloes (point masses, a toy; `subhalo_profile`
`tnfw` makes them truncated NFW haloes), and a halo with a superfluid vortex (a straight string of equal point masses).
With `conserve_mass` `ring` halo and substructure together have the same mass inside the Einstein radius in every class.
With `components` the sum of all masses is the same, and the ring of a lens with substructure is 1 to 2 % larger; with
`none` substructure is added on top of the halo, and the ring is 3 to 4 % larger (Model A, published masses). `zoo data
probe` measures how much of the class this reveals.

{source}
`mass_scale` multiplies every substructure mass; it is 1 at every budget. Trainings of the budgets in `budget_phases`
begin on larger masses and end on the published ones, since a short training on these alone may not begin to learn.
"""
_P1 = "Parameters: Alexander et al. 2019 (arXiv:1909.07346), Table I. Mass is added; images contain the lens's light."
_P2 = "Parameters: Alexander et al. 2020 (arXiv:2008.12731), checked against the released images."
_SIM = (
    "Parameters: DeepLenseSim (github.com/mwt5345/DeepLenseSim), with noise once, the mass inside the ring "
    "conserved, and Einstein radii from angular diameter distances; `legacy` brings the released sets' luminosity "
    "distances back."
)
_REAL = (
    "Parameters of Model B; the source is a galaxy cut out of the Hubble eXtreme Deep Field as scikit-image ships it "
    "(NASA, public domain), or out of `pictures`, a .npy file. It takes the place, half-light radius and light that "
    "the table draws. Every fourth galaxy is kept for the test split."
)
_VARIANTS = {
    "multipoles": "elliptical haloes and multipoles m = 3 and 4 of 1 % in every class",
    "lens_light": "the light of the lens galaxy",
    "tnfw": "truncated NFW haloes in place of point masses as sub-haloes",
    "beta19": "sub-haloes of slope -1.9: few heavy ones, a hundredth of the mass",
    "offcentre": "lenses up to 0.05 arcsec from the middle of the image along each axis",
}
_FOLDER = """\
Images that exist already, in any of the layouts in which DeepLense's sets were released:

    {train,val}/{no,sphere,vort}/*.npy                 common test, Model A and B (images_f, images_j)
    Model_I/{no_sub,cdm,axion}/*.npy, Model_I_test/... Model I to IV
    {train,val}/{no,sphere,vort}/*.png                 pictures of 8 or 16 bits, with the levels that they store
    images.npy [N, 1, H, W], labels.npy [N]            also x_train.npy, y_train.npy, and batches [B, N, 1, H, W]
    axion/images.npy, axion/masses.npy                 axion masses; also beside an image in its own file

Write `--set data.root=DIR`. Folders named train, val or test are kept; where there is no test folder, val is the test
split and validation images are taken from train; where there is no split at all, a hash of the path decides. Pickled
arrays are read without running code in them; pickled data loaders are refused. `data.skip_broken=true` leaves out files
that cannot be read, and lists them; `data.scaling=minmax` maps each image to [0, 1]. `data.pixel_scale=0.05` states the
arcsec per pixel, to which networks trained on the files resample images of other scales.
"""


def _population(
    name: str,
    params: Mapping[str, Any],
    source: str,
    summary: str,
    *,
    version: int = 2,
    earlier: Mapping[str, Any] = MappingProxyType({}),
    changes: Mapping[str, str] = MappingProxyType({}),
    target: str = "zoo_deeplense.population:build",
    requires: tuple[str, ...] = (),
    paths: tuple[str, ...] = (),
    image_groups: str = "",
) -> DatasetSpec:
    return DatasetSpec(
        id=f"deeplense/{name}",
        target=target,
        requires=requires,
        paths=paths,
        summary=summary,
        classes=CLASSES,
        tasks=TASKS,
        normal=NORMAL,
        params=params,
        meanings=_meanings(params),
        budgets=tables.budgets_of(name),
        budget_notes=tables.BUDGET_NOTES,
        budget_phases=tables.PHASES,
        yields=tables.YIELDS,
        shown=tables.SHOWN,
        added=tables.ADDED,
        switch=tables.SWITCH,
        switch_values=tables.SWITCH_VALUES,
        version=version,
        earlier={"1": {**earlier.get("2", {}), **_version_1(params)}, **earlier} if version > 1 else {},
        changes={**tables.CHANGES, **changes} if version > 1 else {},
        captions=tables.CAPTIONS,
        slices=tables.SLICES,
        image_groups=image_groups,
        baselines=tables.BASELINES,
        simulated=True,
        tags=("lens",),
        card=_CARD.format(source=source),
    )


def _variants(start: str, params: Mapping[str, Any]) -> list[DatasetSpec]:
    """Return the populations that change one thing of Model A or B."""
    return [
        _population(
            f"{start}_{name}",
            {**params, **tables.VARIANTS[name]},
            f"{start} with {text}.",
            f"{start} with {text}",
            version=1,
        )
        for name, text in _VARIANTS.items()
    ]


def _version_1(params: Mapping[str, Any]) -> dict[str, Any]:
    return {**tables.VERSION_1, "conserve_mass": params["conserve_mass"] != "none"}


def _meanings(params: Mapping[str, Any]) -> dict[str, str]:
    return {name: MEANINGS[name] for name in params}


@hookimpl
def zoo_datasets() -> list[DatasetSpec]:
    """Return all populations, and the reader of released files."""
    return [
        _population(
            "modelA", tables.MODEL_A, _P2, "the easy one: fixed redshifts, peak SNR 34 (DeepLense's files 'f')"
        ),
        _population(
            "modelB", tables.MODEL_B, _P2, "the hard one: redshifts, sky and peak SNR 10 to 30 vary (files 'j')"
        ),
        *_variants("modelA", tables.MODEL_A),
        *_variants("modelB", tables.MODEL_B),
        _population("published", tables.PUBLISHED, _P2, "modelB oriented and scaled like the released images"),
        _population(
            "model_2019_ideal",
            tables.MODEL_2019_IDEAL,
            _P1,
            "1909.07346 VI.A: lens light, equal sub-haloes, 1 %",
            version=3,
            earlier=tables.MODEL_2019_EARLIER,
            changes=tables.MODEL_2019_CHANGES,
        ),
        _population(
            "model_2019_representative",
            tables.MODEL_2019_REPRESENTATIVE,
            _P1,
            "1909.07346 VI.B: lens light, equal sub-haloes, 1 %, all varies",
            version=3,
            earlier=tables.MODEL_2019_EARLIER,
            changes=tables.MODEL_2019_CHANGES,
        ),
        _population("model1", tables.MODEL_1, _SIM, "DeepLenseSim's Model I: SIE, axion-mass dependent vortex"),
        _population(
            "model2",
            tables.MODEL_2,
            _SIM,
            "DeepLenseSim's Model II: Model I through Euclid's VIS",
            version=3,
            earlier=tables.MODEL_2_EARLIER,
            changes=tables.MODEL_2_CHANGES,
        ),
        _population(
            "model3",
            tables.MODEL_3,
            _SIM,
            "DeepLenseSim's Model III: Model I through Hubble's F160W",
            version=3,
            earlier=tables.MODEL_3_EARLIER,
            changes=tables.MODEL_3_CHANGES,
        ),
        _population(
            "real_sources",
            tables.MODEL_B | {"pictures": None},
            _REAL,
            "modelB with real galaxies from the Hubble deep field for sources",
            target="zoo_deeplense.real_sources:build",
            requires=("scikit-image:skimage",),
            paths=("pictures",),
            image_groups="galaxy",
        ),
        DatasetSpec(
            id="deeplense/deeplense-folder",
            target="zoo_deeplense.folder:build",
            check="zoo_deeplense.folder:check",
            version=2,
            changes={"2": "the images of a split are in the order of a hash and not of their file"},
            summary="DeepLense's released files, every layout: --set data.root=DIR",
            classes=CLASSES,
            tasks=TASKS,
            normal=NORMAL,
            params={"root": None, "scaling": "none", "skip_broken": False, "pixel_scale": None},
            added=("pixel_scale",),
            meanings=_meanings({"root": None, "scaling": "none", "skip_broken": False, "pixel_scale": None}),
            required=("root",),
            paths=("root",),
            baselines=tables.BASELINES,
            tags=("lens", "files"),
            card=_FOLDER,
        ),
    ]
