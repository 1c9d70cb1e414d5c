"""Description of trained weights, as their file holds it: network, classes, images, training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from msgspec import Meta

from zoo.data.channels import Camera
from zoo.data.phases import Phase
from zoo.data.recipe import Recipe
from zoo.models.target import Answer, Finite, Positive, Target
from zoo.schema import Record

Length: TypeAlias = Annotated[int, Meta(gt=0)]
RunId: TypeAlias = Annotated[str, Meta(pattern=r"\A[0-9a-f]{16}\Z")]
Sha256: TypeAlias = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Quantiles: TypeAlias = tuple[Finite, Finite, Finite]
Classes: TypeAlias = Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(min_length=1)]


class Pixels(Record):
    """Brightness and noise of the training images.

    Args:
        peak: Quantiles 0.01, 0.5 and 0.99 of the brightest pixel of an image.
        noise: Noise of the training images, rms of a pixel.
        images: Size of the sample.
        corner: Level of the darkest corner of an image, in units of its noise; None in weights of earlier versions.
    """

    peak: Quantiles
    noise: Quantiles
    images: Length
    corner: Quantiles | None = None


class Init(Record):
    """Weights that a training started from.

    Args:
        sha256: SHA-256 of their tensors.
        model: Id of the network that they belong to.
        run_id: Run that trained them.
        new: Tensors that started at random instead.
    """

    sha256: Sha256
    model: str
    run_id: RunId
    new: tuple[str, ...]


class About(Record, omit_defaults=True):
    """Everything that is needed to build the classifier again and to judge its predictions.

    Args:
        model: Id of the network.
        model_version: Version of its spec at that time.
        group: Symmetry group of its spec at that time.
        hparams: Resolved hyper-parameters of the model.
        classes: Names of the K classes in the order of the logits.
        image_shape: Channels, height, width.
        pixel_scale: Arcsec per pixel of the training images; None where the data set states none.
        pixels: Brightness and noise of the training images.
        recipe: Recipe of the images: data set, parameters, simulator.
        run_id: Run that trained it.
        versions: Distribution -> version, of the core and of the plugins that took part.
        init: Weights that the training started from; None for a random start.
        phases: Phases of the training, whose images have other parameters than the recipe.
        temperature: Number that logits are divided by for calibrated probabilities; None in files of earlier versions.
        task: Task of the training, as in `Cell.task`.
        trained_on: Classes whose images alone the training saw; empty for all.
        outputs: Numbers that the network answers for an image; None where they are the logits of the classes.
        reference: Quantiles, at equal steps from 0 to 1, of the answers for the validation images, to place an answer
            among them; empty for classification.
        targets: Stored truths that the network estimates, with the units of its answers; empty in other tasks.
        camera: Camera that derived channels (`recipe.channels`) are computed for; None without them.
    """

    model: str
    model_version: int
    group: str | None
    hparams: Mapping[str, Any]
    classes: Classes
    image_shape: tuple[Length, Length, Length]
    pixel_scale: Positive | None
    pixels: Pixels
    recipe: Recipe
    run_id: RunId
    versions: Mapping[str, str]
    init: Init | None
    phases: tuple[Phase, ...] = ()
    temperature: Positive | None = None
    task: str = ""
    trained_on: tuple[str, ...] = ()
    outputs: Length | None = None
    reference: tuple[Answer, ...] = ()
    targets: tuple[Target, ...] = ()
    camera: Camera | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the plugins among `versions` that are files and cannot be installed by name."""
        return tuple(name for name in self.versions if name.endswith(".py"))

    @property
    def columns(self) -> int:
        """Numbers that the network answers for an image."""
        return self.outputs or len(self.classes)

    def __post_init__(self) -> None:
        if self.recipe.channels and (self.camera is None or self.image_shape[0] <= len(self.recipe.channels)):
            raise ValueError("it has derived channels without a camera, or without an image")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes names one of {', '.join(self.classes)} twice")
