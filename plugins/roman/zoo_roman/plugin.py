"""Register the data set roman/challenge and the command `zoo roman-submit`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.hookspecs import hookimpl
from zoo.specs import DatasetSpec

if TYPE_CHECKING:
    from click import Command

_CARD = """\
Labelled files of the Roman Strong Lens Data Challenge (roman-data-challenge.readthedocs.io): simulated images of the
Wide Field Instrument in three bands, 91 x 91 pixels of 0.11 arcsec, with real sources and the light of the lens. Rung 1
asks for substructure, a population of cold-dark-matter haloes whose mean mass a negative sheet compensates; Rung 0
asks for the Einstein radius.

    zoo bench --model p4m --data roman/challenge --set data.file=roman_data_challenge_rung_1_v_3_0.h5
    zoo bench --model p4m --data roman/challenge --set data.file=RUNG_0.h5 \\
        --task regress:theta_e,classes=no_substructure
    zoo roman-submit RUN roman_data_challenge_rung_1_unlabeled_v_3_0.h5 --out team_rung1_submission1.csv

The layout is that of the challenge's public pages and of the program that writes the files:

    images/strong_lens_<uid>                          attributes: uid, substructure, theta_e, ... (value, description)
    images/strong_lens_<uid>/exposure_<uid>_F106      also F129, F158; pixels as they are stored, in the file's unit

The reader was built from these descriptions and tested on files that the tests write. It has never been tried on the
challenge's own files.

Each lens is read once into a file of the cache: 10.7 GB for the 107,507 lenses of Rung 1 in three bands. Every
attribute that is a number for all lenses is a stored truth, such as theta_e, z_lens and main_halo_mass; a value that is
missing is NaN. A hash of the uid decides the split. Weights are for files of the same unit (Rung 0: DN/s, Rung 1:
MJy/sr).
"""


@hookimpl
def zoo_datasets() -> list[DatasetSpec]:
    """Return the data set."""
    return [
        DatasetSpec(
            id="roman/challenge",
            target="zoo_roman.images:build",
            check="zoo_roman.images:check",
            version=2,
            changes={"2": "the images of a split are in the order of a hash and not of their file"},
            summary="labelled files of the Roman Strong Lens Data Challenge: --set data.file=FILE",
            classes=("no_substructure", "substructure"),
            normal=("no_substructure",),
            params={"file": None, "bands": "F106,F129,F158"},
            meanings={"file": "labelled HDF5 file of the challenge", "bands": "bands to use, in this order"},
            required=("file",),
            paths=("file",),
            requires=("h5py",),
            tags=("lens", "files"),
            card=_CARD,
        )
    ]


@hookimpl
def zoo_commands() -> list[Command]:
    """Return the command."""
    from zoo_roman.command import roman_submit

    return [roman_submit]
