"""The card of a trained model: a README made from what the store holds about its run."""

from __future__ import annotations

import importlib.metadata
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.data.about import budget_note, portable, shows_lenses, version_note
from zoo.errors import MissingError, UsageError
from zoo.escaping import markdown_cell, one_line, visible
from zoo.models.about import About
from zoo.models.pixels import FAR
from zoo.models.weights_file import Header, read_header
from zoo.plurals import counted
from zoo.registry import channel_limits
from zoo.results.convergence import describe_plateau
from zoo.results.declared import with_declared
from zoo.results.find import good_result
from zoo.results.schema import Finished
from zoo.results.store import split_sizes
from zoo.scores.schema import AnyScores, Measures, Scores
from zoo.specs import DatasetSpec, ModelSpec
from zoo.weights.find import weights_of

if TYPE_CHECKING:
    from jinja2 import Template

    from zoo.host import Host

_TEMPLATES = Path(__file__).with_name("templates")
_CHANGED_ONLY = ("clip", "ema", "label_smoothing", "patience", "init")


def make_card(host: Host, run_dir: Path, *, licence: str = "mit", name: str = "") -> str:
    """Return a card in Markdown, with the header that a Hugging Face hub reads.

    Args:
        host: The plugins; summaries and cards of the network and the data set are quoted where they are installed.
        run_dir: Folder of a run that ended well.
        licence: Licence of the weights, as their owner decides.
        name: Argument of `zoo.load` in the examples; default: the run id.

    Raises:
        DataError: The run failed or has not ended, or its weights cannot be read.
    """
    result = good_result(run_dir)
    header = read_header(weights_of(run_dir))
    about, cell, recipe = header.about, result.cell, result.cell.recipe
    model, data = _spec(host, ModelSpec, about.model), _spec(host, DatasetSpec, about.recipe.dataset)
    data = data or with_declared({}, [result]).get(cell.data)
    sizes = split_sizes(result)
    hardware = result.environment.gpu if result.device.startswith("cuda") else result.environment.processor
    simulated = recipe.simulator is not None
    note = ""
    if cell.budget != "paper":
        note = budget_note(cell.budget, data, recipe.params, sizes=[cell.sizes], simulated=simulated)
    lenses = shows_lenses(data, simulated=simulated)
    settings = {key: value for key, value in cell.training.items() if key not in _CHANGED_ONLY or value}
    return _template().render(
        front_matter=_front_matter(result, header, licence, lenses=lenses),
        result=result,
        cell=cell,
        recipe=recipe,
        test=result.test,
        confusion=result.test.confusion if isinstance(result.test, Scores) else (),
        purpose=_purpose(about),
        lenses=lenses,
        headline=result.test.headline.label[:1].upper() + result.test.headline.label[1:],
        selected="" if result.val is None else result.val.in_words().removeprefix("validation "),
        cost=result.cost,
        about=about,
        sha256=header.sha256,
        model_summary="" if model is None else model.summary,
        model_card="" if model is None else visible(model.card.strip()),
        data_summary="" if data is None else data.summary,
        params=list(_params(result, data)),
        classes=_listed([markdown_cell(name.replace("_", " ")) for name in about.classes]),
        sizes=sizes,
        streamed=result.stream is not None,
        plateau=describe_plateau(cell, data, epochs=result.not_begun) if result.not_begun else "",
        train_images=sizes["train"] if result.stream is None else result.stream.images,
        settings=", ".join(f"{key} {value}" for key, value in settings.items()),
        hparams=", ".join(f"{key}={portable(value, cell.content.get(key, ''))}" for key, value in cell.hparams.items())
        or "none",
        versions=", ".join(f"{key} {version}" for key, version in cell.versions.items()),
        scores=list(_scores(result)),
        hardware=hardware or result.device,
        note=note[:1].upper() + note[1:],
        old_version=version_note(data, recipe.dataset_version),
        frequencies=_frequencies(result),
        far=FAR,
        channel_limits=channel_limits(host, recipe.channels),
        distributions=[each for each in about.versions if each not in about.files],
        options=[word for file in about.files for word in ("--plugin", file)],
        name=name or result.run_id,
        licence=licence,
        codes="; ".join(f"{each} {_licence_of(each)}" for each in cell.versions),
    )


def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # Markdown has no escaping that fits everywhere: the template chooses `plain` or `code` for each value.
    engine = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    engine.filters |= {
        "counted": counted,
        "plain": lambda value: markdown_cell(str(value)),
        "code": _code,
        "in_brackets": lambda text: f" ({markdown_cell(text)})" if text else "",
        "number": _number,
        "error": lambda value: "-" if value is None else f"{value:.1e}",
        "words": lambda words: one_line(shlex.join(words)),
        "interval": lambda interval: f"{interval[0]:.4f} to {interval[1]:.4f}",
    }
    return engine.get_template("card.md")


def _code(text: str) -> str:
    """Return a text as code inside a line; a backtick would end it."""
    return f"`{one_line(text).replace('`', chr(39))}`"


def _number(value: float, digits: int = 0) -> str:
    return f"{value:,.{digits}f}"


def _spec(host: Host, kind: Any, name: str) -> Any:
    try:
        return registry.find(host, kind, name)
    except (UsageError, MissingError):
        return None


def _front_matter(result: Finished, header: Header, licence: str, *, lenses: bool) -> str:
    """Return the fields that a hub reads, as YAML."""
    from huggingface_hub import EvalResult, ModelCardData

    about, recipe, test = header.about, result.cell.recipe, result.test
    scored = [
        EvalResult(
            task_type=_hub_task(test),
            dataset_type=recipe.dataset,
            dataset_name=f"{recipe.dataset}, version {recipe.dataset_version}",
            dataset_split="test",
            metric_type=kind,
            metric_name=label,
            metric_value=value,
        )
        for kind, label, value, _ in _scores(result)
    ]
    content = ModelCardData(
        license=licence,
        library_name="lens-zoo",
        pipeline_tag=_hub_task(test),
        tags=[
            *(["strong-lensing", "dark-matter"] if lenses else []),
            about.model.replace("/", "-"),
            *([about.group] if about.group else []),
        ],
        model_name=f"{about.model} on {recipe.dataset}",
        eval_results=scored,
    )
    return visible(content.to_yaml().strip())


def _purpose(about: About) -> str:
    """Return what the weights were trained for."""
    classes = _listed([markdown_cell(name.replace("_", " ")) for name in about.classes])
    if about.outputs is None:
        return f"trained to distinguish {classes}"
    normal = _listed([markdown_cell(name.replace("_", " ")) for name in about.trained_on]) or classes
    return f"trained for the task {_code(about.task)} on images of {normal}"


def _hub_task(test: AnyScores) -> str:
    """Return the hub's name of the task."""
    return "image-classification" if isinstance(test, Scores) else "other"


def _params(result: Finished, data: DatasetSpec | None) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, value and default of each parameter of the images; equal defaults are not repeated."""
    for name, value in sorted(result.cell.recipe.params.items()):
        default = "unknown" if data is None else data.params.get(name, "unknown")
        if data is not None and name in data.required:
            default = "none: it is required"
        shown = portable(value, result.cell.recipe.content.get(name, ""))
        yield name, shown, "the same" if value == default else default


def _scores(result: Finished) -> Iterator[tuple[str, str, float, Sequence[float] | None]]:
    """Yield kind (as a hub names it), label, value and interval of each score, the headline score first."""
    yield from _own_scores(result)
    for metric, values in result.test.extra.items():
        ends = result.test.extra_intervals.get(metric, {})
        yield from ((metric, f"{metric} {name}", value, ends.get(name)) for name, value in values.items())


def _own_scores(result: Finished) -> Iterator[tuple[str, str, float, Sequence[float] | None]]:
    """Yield the same of the scores that are not of plugins' metrics."""
    test = result.test
    if isinstance(test, Measures):
        yield from ((name, one.label, one.value, one.interval) for name, one in test.in_order.items())
        return
    yield "roc_auc", "AUC, mean over classes", test.macro, test.intervals.get("auc.macro")
    for name in result.classes:
        yield "roc_auc", f"AUC {name}, one against the rest", test.auc[name], test.intervals.get(f"auc.{name}")
    yield "accuracy", "accuracy", test.accuracy, test.intervals.get("accuracy")
    yield "log_loss", "log-loss", test.log_loss, None
    if test.brier is not None:
        yield "brier_score", "Brier score, summed over classes", test.brier, None
    yield "expected_calibration_error", "expected calibration error", test.ece, None


def _frequencies(result: Finished) -> str:
    of_splits = result.data.counts
    counts = of_splits.get("train", of_splits["val"])  # a stream is not counted; its classes are as frequent
    total = max(1, sum(counts))
    return ", ".join(f"{name} {count / total:.0%}" for name, count in zip(result.classes, counts, strict=False))


def _licence_of(distribution: str) -> str:
    if distribution.endswith(".py"):
        return "(a file, without a licence of its own here)"
    try:
        metadata = importlib.metadata.metadata(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed here, so its licence is unknown)"
    stated = metadata.json  # its get() is not part of the type
    return str(stated.get("license_expression") or stated.get("license") or "(no licence stated)")


def _listed(names: Sequence[str]) -> str:
    """Return "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
