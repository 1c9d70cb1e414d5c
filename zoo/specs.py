"""Specs, which plugins register: frozen, JSON-plain descriptions that name code without loading it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from zoo.base_spec import GROUP_PATTERN, GROUPS, ID_PATTERN, TARGET_PATTERN
from zoo.base_spec import Spec as Spec  # also from here, beside the specs that derive from it
from zoo.errors import UsageError
from zoo.part_specs import AugmentationSpec as AugmentationSpec
from zoo.part_specs import ChannelSpec as ChannelSpec
from zoo.part_specs import LossSpec as LossSpec
from zoo.part_specs import OptimizerSpec as OptimizerSpec
from zoo.phase_text import read_phases

CLASSIFY = "classify"
"""Name of the task that models and metrics answer where they state none."""
REFERENCE_SHAPE = {"in_chans": 1, "num_classes": 3, "image_size": 150}
"""Images and classes for which a spec states its number of parameters: those of the published lens data sets."""
SHAPE_ARGUMENTS = ("in_chans", "num_classes", "image_size")
EQUIVARIANCES = ("exact", "approximate")
DEVICES = ("cpu", "any")
BF16_DEVICES = ("cpu", "cuda")
DIRECTIONS = ("higher", "lower")
OPTIONAL_MASSES = ("multipoles", "truncated_haloes")
"""Fields of `zoo.lensing.scenes.Scenes` that deflect light and that a simulator need not render."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec(Spec):
    """A network. Its target is called as

    `build(*, in_chans: int, num_classes: int, image_size: int, **arguments, **hparams) -> torch.nn.Module`

    and the module maps float images [N, C, H, W] to predictions [N, num_classes]: logits of the classes, or what its
    task takes. For a task with one number for an image, `num_classes` is 1 and the module may return [N].

    Args:
        arguments: Fixed keyword arguments of the target, so that one builder serves several specs; no setting changes
            them, and they are not part of a run's id: a change of them needs a new `version`.
        group: Symmetry group: "p4", "p4m", "cN" and "dN" such as "c8" and "d8", "so2", "o2" or None.
        equivariance: "exact" or "approximate"; None where it is measured under the group and claims nothing.
        defaults: Hyper-parameters and their values; `--set` may change only these.
        search_space: Search space of `zoo tune`: name -> list of choices, or {"low", "high", "log"}.
        weights: Name -> file of trained weights, relative to the plugin's package; see docs/weights.md.
        initialisers: Hyper-parameters that only choose the initial weights, each with the value that leaves them to
            chance, such as {"pretrained": False}: a network that is loaded from a file is built with these.
        parameters: Number of parameters, frozen ones too, with the defaults, for images of
            `REFERENCE_SHAPE`; None where it is not known. The conformance kit compares it with the network.
        training: Training settings that suit this model where the user sets none (lr, weight_decay, ...).
        paths: Hyper-parameters that are paths of files or folders where their value is a text. A run is identified by
            the content of the files, and a path is made absolute.
        twins: Ids of the plain networks that a comparison of this network needs: with as many parameters, with as many
            multiply-accumulates. A table that lacks them names the command that adds them.
        bf16_devices: Devices, "cpu" and "cuda", on which `--precision auto` may train it in bf16; leave out those on
            which bf16 is slower or makes its training fail. Its scores are computed in float32 in any case.
        cuda_graphs: Whether training on a GPU may replay the network's kernels as CUDA graphs: every batch of a shape
            is computed by the same operations, whatever its values, and random numbers are only torch's, of the
            device. Small networks train several times as fast. Not for networks with a loss of their own.
        fits_itself: Whether the module has a method `fit_splits` (`zoo.models.own_fit`), which replaces the training
            loop. No training setting applies to it then.
        truths: Hyper-parameters of a network that fits itself, whose values are lists of names of stored truths; its
            fit reads them (`zoo.models.own_fit.ImagesToFit.truths`).
        tasks: Names of the tasks that it answers, such as "classify" and "anomaly"; a task of a plugin by its full id.
    """

    kind: ClassVar[str] = "model"

    arguments: Mapping[str, Any] = field(default_factory=dict)
    group: str | None = None
    equivariance: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    search_space: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    initialisers: Mapping[str, Any] = field(default_factory=dict)
    parameters: int | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    paths: tuple[str, ...] = ()
    twins: tuple[str, ...] = ()
    bf16_devices: tuple[str, ...] = BF16_DEVICES
    cuda_graphs: bool = False
    fits_itself: bool = False
    truths: tuple[str, ...] = ()
    tasks: tuple[str, ...] = (CLASSIFY,)

    def __post_init__(self) -> None:
        super().__post_init__()
        if wrong := [twin for twin in self.twins if not ID_PATTERN.fullmatch(twin) or twin == self.id]:
            raise ValueError(f"{self.id}: twins name {wrong[0]!r}, which is not the id of another model")
        if wrong := [device for device in self.bf16_devices if device not in BF16_DEVICES]:
            allowed = ", ".join(BF16_DEVICES)
            raise ValueError(f"{self.id}: bf16_devices has {wrong[0]!r}; known are {allowed}")
        if self.fits_itself and self.training:
            raise ValueError(f"{self.id}: it fits itself, so it cannot have training settings")
        if self.truths and not self.fits_itself:
            raise ValueError(f"{self.id}: truths are those of a fit; it does not state fits_itself=True")
        if unknown := [name for name in self.truths if name not in self.defaults]:
            raise ValueError(f"{self.id}: truths name {unknown[0]!r}, which is not one of its defaults")
        if unknown := [name for name in self.paths if name not in self.defaults]:
            raise ValueError(f"{self.id}: paths name {unknown[0]!r}, which is not one of its defaults")
        if self.group is not None and not GROUP_PATTERN.fullmatch(self.group):
            raise ValueError(f"{self.id}: group must be one of {GROUPS}, not {self.group!r}")
        if self.equivariance not in (None, *EQUIVARIANCES):
            allowed = ", ".join(EQUIVARIANCES)
            raise ValueError(f"{self.id}: equivariance must be one of {allowed} or None, not {self.equivariance!r}")
        for given, names in (("arguments", self.arguments), ("defaults", self.defaults)):
            if taken := [name for name in names if name in SHAPE_ARGUMENTS]:
                raise ValueError(f"{self.id}: {given} contain {taken[0]!r}, which the images decide")
        if both := [name for name in self.arguments if name in self.defaults]:
            raise ValueError(f"{self.id}: {both[0]!r} is both a fixed argument and a hyper-parameter")
        if unknown := [name for name in self.initialisers if name not in self.defaults]:
            raise ValueError(f"{self.id}: initialisers name {unknown[0]!r}, which is not one of its defaults")


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Spec):
    """A data set. Its target is called as `build(**params)` and returns a population, which the core
    simulates (`zoo.lensing.population.Population`), or images that exist (`zoo.data.images.ImageSet`).

    Args:
        classes: The labels' names in label order.
        required: Parameters that have no default worth the name: a plan without them is refused.
        added: Parameters that the data set did not have from the beginning of its version, and whose default leaves the
            images as they were. A recipe leaves them out at their default, so that recipes made before stay the same.
        paths: Parameters that are paths of files or folders where their value is a text. Images are identified by the
            content of the files, and a path is made absolute.
        tasks: Groupings of the classes: name -> {new class: [classes that it takes together]}, with every class once;
            `--task NAME` selects one of them.
        normal: Classes that are not anomalies: `--task anomaly` trains on these only.
        simulated: Whether the target returns a population, so that a simulator is needed.
        check: For images that exist, "module:attribute" of a function that is called as `check(**params)` while a plan
            is made. It reads no image, and raises `zoo.errors.UsageError` or ValueError for values that the target
            refuses. It may return the names of the images (`zoo.data.images.ListedImages`): the plan then states how
            many there are.
        params: Every parameter and prior with its default; `--set data.NAME=VALUE` may change only these.
        meanings: Parameter -> what it is, with its unit, for `zoo show`.
        budgets: Budget -> {parameter: value}: values that make the problem fit a budget; `--set` overrides them. A
            budget that is not among them leaves all parameters as they are.
        budget_notes: Budget -> what these values change, for readers of the scores.
        budget_phases: Budget -> phases of a training of that budget, written as for `--set train.phases`, such as
            "depth=4*2, depth=U(1, 4)*2, depth=1*6". Their epochs are proportions: they are scaled to the training's
            number of epochs. The phases hold where the request states no `train.` setting, and where the parameters
            that they change, and those that state the same in another way (`yields`), have the budget's values.
        yields: Parameter -> list of parameters that state the same in another way. A value that a budget sets for the
            first is left out where a user sets one of the others.
        shown: Parameters that stand beside scores, whatever their values; changed ones always do.
        switch: Parameter that `zoo data probe` measures at each of `switch_values`.
        switch_values: Values of that parameter.
        earlier: Earlier version, as text -> {parameter: default of that version}; parameters that it did not have
            are there with the value that leaves its images as they were.
        changes: Version, as text -> sentence on what it changed; stands beside results of earlier versions.
        captions: Column of the stored parameters -> text for pictures, such as "SNR {:.0f}"; default: the first four.
        baselines: Ids of models that `zoo bench` adds to every plan on this data set: what a network has to beat.
        slices: Column of the stored parameters -> label with its unit; the page of results shows scores in slices of
            each; default: the first four that vary.
        image_groups: Column of the stored parameters that images which are not independent share, such as the number of
            the galaxy that they show: intervals and comparisons of scores are over its values, not over images.
    """

    kind: ClassVar[str] = "data set"

    classes: tuple[str, ...]
    simulated: bool = False
    check: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    meanings: Mapping[str, str] = field(default_factory=dict)
    tasks: Mapping[str, Any] = field(default_factory=dict)
    normal: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    budgets: Mapping[str, Any] = field(default_factory=dict)
    budget_notes: Mapping[str, str] = field(default_factory=dict)
    budget_phases: Mapping[str, str] = field(default_factory=dict)
    yields: Mapping[str, Any] = field(default_factory=dict)
    shown: tuple[str, ...] = ()
    switch: str | None = None
    switch_values: tuple[Any, ...] = (True, False)
    earlier: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, str] = field(default_factory=dict)
    captions: Mapping[str, str] = field(default_factory=dict)
    slices: Mapping[str, str] = field(default_factory=dict)
    baselines: tuple[str, ...] = ()
    image_groups: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.check is not None and (self.simulated or not TARGET_PATTERN.fullmatch(self.check)):
            raise ValueError(f"{self.id}: check {self.check!r} must be module:attribute, and only of existing images")
        if wrong := [name for name in self.baselines if not ID_PATTERN.fullmatch(name)]:
            raise ValueError(f"{self.id}: baselines name {wrong[0]!r}, which is not of the form namespace/name")
        for name, groups in self.tasks.items():
            taken = [old for group in groups.values() for old in group] if isinstance(groups, Mapping) else []
            if sorted(taken) != sorted(self.classes) or len(groups) < 2:
                raise ValueError(f"{self.id}: task {name!r} must put every class into one of at least two groups, once")
        if unknown := [name for name in self.normal if name not in self.classes]:
            raise ValueError(f"{self.id}: normal names {unknown[0]!r}, which is not one of its classes")
        if self.normal and set(self.normal) == set(self.classes):
            raise ValueError(f"{self.id}: normal holds all classes, so that no image is an anomaly")
        for budget, values in self.budgets.items():
            if not isinstance(values, Mapping):
                raise ValueError(f"{self.id}: budgets[{budget!r}] must be a mapping from parameters to values")
            self._check_params(f"budgets[{budget!r}]", values)
        for budget, text in self.budget_phases.items():
            self._check_phases(f"budget_phases[{budget!r}]", text)
        for name, others in self.yields.items():
            if not isinstance(others, (list, tuple)):  # a text here is a forgotten comma
                raise ValueError(f"{self.id}: yields[{name!r}] must be a list of parameters, not {others!r}")
            self._check_params("yields", [name, *others])
        self._check_params("shown", self.shown)
        self._check_params("added", self.added)
        self._check_params("paths", self.paths)
        self._check_params("switch", [] if self.switch is None else [self.switch])
        for version, values in self.earlier.items():
            if not isinstance(values, Mapping):
                raise ValueError(f"{self.id}: earlier[{version!r}] must be a mapping from parameters to values")
            self._check_params(f"earlier[{version!r}]", values)
        for name, text in self.captions.items():
            try:
                text.format(1.0)
            except (ValueError, LookupError) as error:
                raise ValueError(f"{self.id}: captions[{name!r}] cannot format a number: {text!r}: {error}") from error

    def _check_phases(self, where: str, text: str) -> None:
        """Refuse phases that cannot be read, of unknown parameters, of paths, and of images that are not simulated.

        Raises:
            ValueError: The text is not that of phases of this data set.
        """
        if not self.simulated:
            raise ValueError(f"{self.id}: {where} needs a simulated data set")
        if not text.strip(" ,"):
            raise ValueError(f"{self.id}: {where} is empty")
        try:
            phases = read_phases(text, of=where)
        except UsageError as error:
            raise ValueError(f"{self.id}: {error}") from error
        self._check_params(where, [name for phase in phases for name in phase.params])
        if paths := [name for phase in phases for name in phase.params if name in self.paths]:
            raise ValueError(f"{self.id}: {where} changes the path {paths[0]!r}")

    def _check_params(self, where: str, names: Iterable[str]) -> None:
        """Refuse names that are not parameters.

        Raises:
            ValueError: A name is not in `params`.
        """
        if unknown := [name for name in names if name not in self.params]:
            raise ValueError(f"{self.id}: {where} names {unknown[0]!r}, which is not one of its params")


@dataclass(frozen=True, kw_only=True)
class SimulatorSpec(Spec):
    """A lens simulator. Its target is called as

    `render(scenes, instrument, *, device, expected_images) -> zoo.lensing.observe.Rendered`

    and returns noiseless, PSF-convolved images; noise is added by the core.

    Args:
        device: Device that it can run on: "cpu" or "any".
        masses: Parts of scenes that it renders beside halo, shear and point masses, of those in
            `OPTIONAL_MASSES`. Scenes that hold another one are refused before they are rendered.
        default: Whether it renders where a user names none; of several, the one of this project's plugins.
    """

    kind: ClassVar[str] = "simulator"

    device: str = "cpu"
    masses: tuple[str, ...] = ()
    default: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.device not in DEVICES:
            raise ValueError(f"{self.id}: device must be one of {', '.join(DEVICES)}, not {self.device!r}")
        for name in self.masses:
            if name not in OPTIONAL_MASSES:
                raise ValueError(f"{self.id}: masses has {name!r}; known are {', '.join(OPTIONAL_MASSES)}")


@dataclass(frozen=True, kw_only=True)
class LauncherSpec(Spec):
    """A way to run cells. Its target is called as `launcher(**options)` and returns a `zoo.run.launcher.Launcher`.

    Args:
        options: Every option with its default; `--launcher-set NAME=VALUE` may change only these.
        meanings: Option -> what it is, with its unit, for `zoo show`.
        outlives: Whether its jobs go on, those that wait included, when the process that submitted them has ended.
    """

    kind: ClassVar[str] = "launcher"

    options: Mapping[str, Any] = field(default_factory=dict)
    meanings: Mapping[str, str] = field(default_factory=dict)
    outlives: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := [name for name in self.meanings if name not in self.options]:
            raise ValueError(f"{self.id}: meanings name {unknown[0]!r}, which is not one of its options")


@dataclass(frozen=True, kw_only=True)
class MetricSpec(Spec):
    """One more score. Its target is called as `metric(probabilities [N, K], labels [N]) -> dict of floats`.

    Args:
        tasks: Names of the tasks whose predictions it takes. Of others than classification, it gets the predictions
            [N, K] as the task states them in place of probabilities, and truths [N, T] in place of labels.
        better: Name of a value -> "higher" or "lower", whichever is better. Values that are named here have a column in
            tables and are compared; the others are stored.
    """

    kind: ClassVar[str] = "metric"

    tasks: tuple[str, ...] = (CLASSIFY,)
    better: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, direction in self.better.items():
            if direction not in DIRECTIONS:
                allowed = " or ".join(DIRECTIONS)
                raise ValueError(f"{self.id}: better[{name!r}] must be {allowed}, not {direction!r}")


@dataclass(frozen=True, kw_only=True)
class TaskSpec(Spec):
    """A question about the images of data sets. Its target is a subclass of `zoo.tasks.task.Task`.

    Args:
        networks_of: Tasks whose networks answer this one, too, with another number of outputs; not those that fit
            themselves.
    """

    kind: ClassVar[str] = "task"

    networks_of: tuple[str, ...] = ()
