"""The card of a trained model: a README that states what it is, and nothing that the store does not hold."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.data.about import budget_note, version_note
from zoo.errors import MissingError, UsageError
from zoo.models.pixels import FAR
from zoo.models.weights_file import Header, read_header
from zoo.results.find import good_result
from zoo.results.schema import Finished
from zoo.results.store import WEIGHTS, split_sizes
from zoo.specs import DatasetSpec, ModelSpec

if TYPE_CHECKING:
    from zoo.host import Host

_CHANGED_ONLY = ("clip", "ema", "label_smoothing", "patience", "init")


def make_card(host: Host, run_dir: Path, *, licence: str = "mit", name: str = "") -> str:
    """Return a card in Markdown, with the header that a Hugging Face hub reads.

    Args:
        host: the plugins; what they say of the network and the data is quoted where they are installed.
        run_dir: folder of a run that ended well.
        licence: of the weights, as their owner decides.
        name: what `zoo.load` is to be called with; default: the run id.

    Raises:
        DataError: the run failed, is not done, or its weights cannot be read.
    """
    result = good_result(run_dir)
    header = read_header(run_dir / WEIGHTS)
    model, data = _spec(host, ModelSpec, header.about.model), _spec(host, DatasetSpec, header.about.recipe.dataset)
    return _card(result, header, model, data, licence=licence, name=name)


def _card(
    result: Finished,
    header: Header,
    model: ModelSpec | None,
    data: DatasetSpec | None,
    *,
    licence: str,
    name: str,
) -> str:
    sections = {
        "": _opening(result, header, model),
        "What it is": model.card.strip() if model is not None else "",
        "Classes and input": _input(header),
        "Training data": _data(result, data),
        "Training": _training(result, header),
        "Scores": _scores(result),
        "Equivariance": _equivariance(result),
        "Cost": _cost(result),
        "Limits": _limits(result, header, data),
        "How to load": _loading(header, name or result.run_id),
        "Licence": _licence(result, licence),
    }
    parts = [f"## {title}\n\n{text}" if title else text for title, text in sections.items() if text]
    return _front_matter(result, header, licence) + "\n\n".join(parts) + "\n"


def _spec(host: Host, kind: Any, name: str) -> Any:
    try:
        return registry.find(host, kind, name)
    except (UsageError, MissingError):
        return None


def _front_matter(result: Finished, header: Header, licence: str) -> str:
    about = header.about
    tags = ["strong-lensing", "dark-matter", about.model.replace("/", "-"), *([about.group] if about.group else [])]
    lines = ["---", f"license: {licence}", "library_name: lens-zoo", "pipeline_tag: image-classification", "tags:"]
    return "\n".join([*lines, *(f"- {tag}" for tag in tags), "---", "", ""])


def _opening(result: Finished, header: Header, model: ModelSpec | None) -> str:
    about, test = header.about, result.test
    low, high = test.intervals["auc.macro"]
    summary = f" ({model.summary})" if model is not None and model.summary else ""
    return (
        f"# {about.model} on {about.recipe.dataset}\n\n"
        f"`{about.model}`{summary}, trained to tell {_words(about.classes)} apart in strong-lens images. "
        f"Macro AUC {test.macro:.4f} (95 %: {low:.4f} to {high:.4f}) on {test.images:,} test images."
    )


def _input(header: Header) -> str:
    about = header.about
    channels, height, width = about.image_shape
    scale = "" if about.pixel_scale is None else f" of {about.pixel_scale:g} arcsec"
    lines = [
        f"Logits, in this order: {', '.join(f'`{name}`' for name in about.classes)}.",
        "",
        f"Images of {height} x {width} pixels{scale}, {channels} channel{'s' if channels > 1 else ''}, float32, in the "
        "unit of the training images (simulated sets: counts per second, mean sky subtracted). Normalisation is part "
        "of the weights.",
    ]
    lines += ["", "| training images | 1 % | median | 99 % |", "| --- | ---: | ---: | ---: |"]
    lines += [
        f"| {label} | " + " | ".join(f"{value:.4g}" for value in quantiles) + " |"
        for label, quantiles in (("brightest pixel", about.pixels.peak), ("noise, rms of a pixel", about.pixels.noise))
    ]
    return "\n".join(lines)


def _data(result: Finished, data: DatasetSpec | None) -> str:
    cell = result.cell
    recipe, sizes = cell.recipe, split_sizes(result)
    defaults = data.params if data is not None else {}
    simulator = f", rendered by `{recipe.simulator}`" if recipe.simulator else ""
    summary = f" ({data.summary})" if data is not None and data.summary else ""
    trained_on = f"{sizes['train']:,} images for training"
    if result.stream is not None:
        trained_on = f"{result.stream.images:,} images for training, streamed, none of them twice"
    lines = [
        f"`{recipe.dataset}`{summary}, version {recipe.dataset_version}{simulator}; recipe "
        f"`{result.data.recipe_hash}`, image seed {recipe.seed}. {trained_on}, "
        f"{sizes['val']:,} for validation, {sizes['test']:,} for testing; the test images were opened after the "
        "weights had been written.",
    ]
    if recipe.params:
        lines += ["", "| parameter | value | published or default |", "| --- | --- | --- |"]
        for name, value in sorted(recipe.params.items()):
            default = defaults.get(name)
            lines.append(f"| {name} | {value} | {'the same' if value == default or data is None else default} |")
    return "\n".join(lines)


def _training(result: Finished, header: Header) -> str:
    cell = result.cell
    training = cell.training
    hparams = ", ".join(f"{name}={value}" for name, value in cell.hparams.items()) or "none"
    shown = ", ".join(f"{name} {value}" for name, value in training.items() if name not in _CHANGED_ONLY or value)
    lines = [
        f"- AdamW: {shown}.",
        f"- Hyper-parameters: {hparams}.",
        f"- Weights of epoch {result.val.epoch} by the rule `{cell.rule}` (validation AUC "
        f"{result.val.auc:.4f}); seed {cell.seed}, precision {cell.precision}, budget {cell.budget}.",
        f"- Made with {', '.join(f'{name} {version}' for name, version in cell.versions.items())}.",
        f"- Run `{result.run_id}`, tensors SHA-256 `{header.sha256}`.",
    ]
    if header.about.init:
        start = header.about.init
        lines.append(f"- Started from the weights of {start.model}, run `{start.run_id}`.")
    return "\n".join(lines)


def _scores(result: Finished) -> str:
    test = result.test
    intervals = test.intervals
    rows = [
        *((f"AUC {name}, one against the rest", test.auc[name], f"auc.{name}") for name in result.classes),
        ("AUC, mean over classes", test.macro, "auc.macro"),
        ("accuracy", test.accuracy, "accuracy"),
        ("log-loss", test.log_loss, ""),
        ("expected calibration error", test.ece, ""),
    ]
    lines = ["| score | value | 95 % interval |", "| --- | ---: | --- |"]
    for label, value, key in rows:
        interval = f"{intervals[key][0]:.4f} to {intervals[key][1]:.4f}" if key in intervals else ""
        lines.append(f"| {label} | {value:.4f} | {interval} |")
    lines += [
        "",
        "Intervals: bootstrap over the test images. They do not hold the spread between training seeds.",
        "",
        "| true \\ predicted | " + " | ".join(result.classes) + " |",
        "| --- |" + " ---: |" * len(result.classes),
        *(
            f"| {name} | " + " | ".join(map(str, row)) + " |"
            for name, row in zip(result.classes, test.confusion, strict=True)
        ),
    ]
    return "\n".join(lines)


def _equivariance(result: Finished) -> str:
    measured = result.equivariance
    trained = measured.trained
    errors = f"{trained.error:.1e} of the largest logit under {trained.elements} symmetries of the square"
    declared = f"is declared {measured.declared} under {measured.group}" if measured.group else "declares no symmetry"
    return (
        f"The network {declared}. Measured on validation images: the logits change by at most {errors}; "
        f"{trained.flips:.1%} of the images change their class under one of them."
    )


def _cost(result: Finished) -> str:
    cost, environment = result.cost, result.environment
    where = environment.gpu if result.device.startswith("cuda") else environment.processor
    return (
        f"{cost.parameters:,} parameters, {cost.macs / 1e6:,.1f} million multiply-accumulates an image. On "
        f"{where or result.device} ({result.device}): {cost.train_images_per_second:,.0f} images/s in "
        f"training, {cost.inference_images_per_second:,.0f} in inference, {cost.train_seconds / 60:.1f} minutes "
        "of training."
    )


def _limits(result: Finished, header: Header, data: DatasetSpec | None) -> str:
    cell = result.cell
    lines = []
    if cell.recipe.simulator:
        lines.append(
            "- Trained on simulated images only. Real images differ in PSF, noise, lens light and neighbours; no score "
            "above says what it does on them."
        )
    if cell.budget != "paper" and (note := budget_note(cell.budget, data)):
        lines.append(f"- {note[:1].upper()}{note[1:]}.")
    if old := version_note(data, cell.recipe.dataset_version):
        lines.append(f"- Trained and scored on images {old}.")
    lines.append(
        "- The probabilities hold for classes as frequent as in training "
        f"({_frequencies(result)}); where substructure is rarer, so are its true positives."
    )
    lines.append(
        f"- `zoo predict` warns where an image is more than {FAR:g} times brighter, fainter or noisier than nearly all "
        "training images."
    )
    lines.append("- One seed: another training of the same network differs; compare over several.")
    return "\n".join(lines)


def _frequencies(result: Finished) -> str:
    of_splits = result.data.counts
    counts = of_splits.get("train", of_splits["val"])  # a stream is not counted; its classes are as frequent
    total = max(1, sum(counts))
    return ", ".join(f"{name} {count / total:.0%}" for name, count in zip(result.classes, counts, strict=False))


def _loading(header: Header, name: str) -> str:
    # A plugin that is a file has no package.
    distributions = " ".join(each for each in header.about.versions if not each.endswith(".py"))
    return (
        f"```bash\npip install {distributions}\nzoo predict {name} image.fits more/*.npy\n```\n\n"
        f'```python\nimport zoo\n\nmodel = zoo.load("{name}")\n'
        "probabilities = model.predict_proba(images)  # [N, H, W] to [N, K]\n```"
    )


def _licence(result: Finished, licence: str) -> str:
    codes = [f"{name} {_licence_of(name)}" for name in result.cell.versions]
    return f"Weights: {licence}. Code: {'; '.join(codes)}."


def _licence_of(distribution: str) -> str:
    try:
        metadata = importlib.metadata.metadata(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed here: its licence is not known)"
    stated = metadata.json  # its get() is no part of the type
    return str(stated.get("license_expression") or stated.get("license") or "(states no licence)")


def _words(names: tuple[str, ...]) -> str:
    plain = [name.replace("_", " ") for name in names]
    return " and ".join([", ".join(plain[:-1]), plain[-1]] if len(plain) > 1 else plain)
