"""Pages of the documentation site that stand elsewhere in the repository, or are written from the code.

A hook of MkDocs (mkdocs.yml). README.md, CONTRIBUTING.md, CHANGELOG.md, benchmarks/results and the pages of the plugins
become pages of the site; the catalogue lists what is registered; the reference has a page for each public module. Links
between them are those of the repository, so that the same files are read on both.
"""

from __future__ import annotations

import ast
import io
import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from zoo.api import PUBLIC_MODULES, default_host
from zoo.budgets import BUDGETS
from zoo.data.open import Dataset
from zoo.host import Host
from zoo.models.weights_file import read_header
from zoo.plan.overrides import data_params
from zoo.plan.recipes import make_recipe
from zoo.registry import listed
from zoo.specs import DatasetSpec, ModelSpec, SimulatorSpec
from zoo.weights.find import packaged_weights

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")
FENCE = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)
ABROAD = ("http://", "https://", "mailto:", "#")


def outside() -> dict[str, str]:
    """Return the pages that stand outside of docs/: path in the repository -> path on the site."""
    found = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
    for path in sorted((ROOT / "benchmarks/results").glob("*.md")):
        found[f"benchmarks/results/{path.name}"] = f"results/{'index.md' if path.stem == 'README' else path.name}"
    for path in sorted((ROOT / "plugins").glob("*/README.md")):
        found[f"plugins/{path.parent.name}/README.md"] = f"packages/{path.parent.name}.md"
    return found


PAGES = outside()
PLACES = {there: here for here, there in PAGES.items()}
"""Path on the site -> path in the repository, of the pages that stand outside of docs/."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that docs/ does not hold."""
    pages = {place: (ROOT / path).read_text(encoding="utf-8") for path, place in PAGES.items()}
    pages |= dict(reference())
    pages |= dict(catalogue())
    for place, text in pages.items():
        files.append(File.generated(config, place, content=text))
    for place, picture in pictures():
        files.append(File.generated(config, place, content=picture))
    return files


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Replace each folder in the navigation by its pages."""
    places = [*PLACES, *(place for place, _ in reference()), *(f"networks/{path.name}" for path in _networks())]

    def whole(entry: Any) -> Any:
        if isinstance(entry, list):
            return [whole(one) for one in entry]
        if isinstance(entry, dict):
            return {name: whole(value) for name, value in entry.items()}
        if isinstance(entry, str) and entry.endswith("/"):
            inside = [place for place in places if place.startswith(entry)]
            return sorted(inside, key=lambda place: (not place.endswith("/index.md"), place.removesuffix(".md")))
        return entry

    config.nav = whole(config.nav)
    return config


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return a page whose links to files of the repository lead to their pages on the site."""
    here = page.file.src_uri
    folder = posixpath.dirname(PLACES.get(here, f"docs/{here}"))

    def led(match: re.Match[str]) -> str:
        picture, text, link = match.groups()
        if link.startswith(ABROAD):
            return match[0]
        target, _, anchor = link.partition("#")
        path = posixpath.normpath(posixpath.join(folder, target))
        place = PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else "")
        if path in ("docs/networks", "benchmarks/results", "plugins"):
            place = {"docs/networks": "networks/p4.md", "plugins": "packages/gconv.md"}.get(path, "results/index.md")
        if not place or (not picture and files.get_file_from_path(place) is None):
            return text  # a file that the site does not hold, such as a module
        relative = posixpath.relpath(place, posixpath.dirname(here) or ".")
        return f"{picture}[{text}]({relative}{'#' + anchor if anchor else ''})"

    parts = FENCE.split(markdown)
    return "".join(part if part.startswith("```") else LINK.sub(led, part) for part in parts)


def _networks() -> list[Path]:
    return sorted((ROOT / "docs/networks").glob("*.md"))


def reference() -> Iterator[tuple[str, str]]:
    """Yield a page for each public module, and their list."""
    lines = [
        "# API reference",
        "",
        "Modules that plugins and scripts may import. All others change without notice.",
        "",
    ]
    for name in PUBLIC_MODULES:
        place = f"{name}.md"
        lines.append(f"- [`{name}`]({place}): {_summary(name)}")
        yield f"reference/{place}", f"# {name}\n\n::: {name}\n"
    yield "reference/index.md", "\n".join(lines) + "\n"


def _summary(module: str) -> str:
    """Return the first line of a module's docstring, without importing the module."""
    path = ROOT.joinpath(*module.split("."))
    source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def catalogue() -> Iterator[tuple[str, str]]:
    """Yield the pages that list what the plugins of this repository register, and the weights that they ship."""
    host = default_host()
    models = [
        (
            f"`{one.id}`",
            one.summary,
            f"{one.parameters:,}" if one.parameters else "-",
            one.group or "-",
            ", ".join(one.tags),
        )
        for one in listed(host, ModelSpec)
    ]
    heads = ["id", "what it is", "parameters", "group", "tags"]
    yield "catalogue/models.md", _page("Networks", "zoo list-models", heads, models)
    drawn = {one.id for one in _drawn()}
    datasets = [
        (
            f"`{one.id}`", one.summary,
            f"![An image of each class]({_picture(one)})" if one.id in drawn else "from files",
            ", ".join(one.classes),
        )
        for one in listed(host, DatasetSpec)
    ]  # fmt: skip
    heads = ["id", "what it is", "images", "classes, of which an image each is shown"]
    yield "catalogue/datasets.md", _page("Data sets", "zoo list-datasets", heads, datasets)
    simulators = [(f"`{one.id}`", one.summary) for one in listed(host, SimulatorSpec)]
    yield "catalogue/simulators.md", _page("Simulators", "zoo list-simulators", ["id", "what it is"], simulators)
    heads = ["name", "image", "training images", "macro AUC (95 %)", "accuracy", "calibration error"]
    yield "catalogue/weights.md", _page("Weights", "zoo weights list", heads, list(_weights(host)))


def _weights(host: Host) -> Iterator[tuple[str, ...]]:
    """Yield a row for each file of weights that a plugin ships, with the scores of its run."""
    for one in packaged_weights(host):
        about = read_header(one.path).about
        result = json.loads(one.path.with_suffix(".json").read_text(encoding="utf-8"))
        test, sizes = result["test"], result["cell"]["sizes"]
        low, high = test["intervals"]["auc.macro"]
        channels, height, width = about.image_shape
        yield (
            f"`{one.name}`", f"{channels} x {height} x {width}", f"{sizes['train']:,}",
            f"{test['auc']['macro']:.4f} ({low:.4f} to {high:.4f})", f"{test['accuracy']:.4f}", f"{test['ece']:.4f}",
        )  # fmt: skip


def _drawn() -> list[DatasetSpec]:
    """Return the data sets whose images can be simulated without a file of the user."""
    return [one for one in listed(default_host(), DatasetSpec) if one.simulated and not one.required]


def _picture(spec: DatasetSpec) -> str:
    return f"{spec.id.replace('/', '-')}.png"


def pictures() -> Iterator[tuple[str, bytes]]:
    """Yield a picture of each simulated data set: an image of each class, as budget smoke has them."""
    import matplotlib.image
    import numpy as np

    for spec in _drawn():
        params = data_params(spec, BUDGETS["smoke"], {})
        recipe = make_recipe(default_host(), spec, params=params, simulator="", device="cpu")
        dataset = Dataset(default_host(), recipe, {"train": 12, "val": 1, "test": 1})
        simulation = dataset.simulation(expected_images=len(spec.classes))
        labels = simulation.population.sample(np.arange(24), recipe.stream("train")).label
        chosen = np.array([np.argmax(labels == k) for k in range(len(spec.classes))])
        shown = simulation.arrays("train", chosen)["image"][:, 0]
        scaled = [np.kron((one - one.min()) / (one.max() - one.min()), np.ones((2, 2))) for one in shown]
        file = io.BytesIO()
        matplotlib.image.imsave(file, np.concatenate(scaled, axis=1), cmap="inferno", vmin=0, vmax=1, format="png")
        yield f"catalogue/{_picture(spec)}", file.getvalue()


def _page(title: str, command: str, heads: list[str], rows: list[tuple[str, ...]]) -> str:
    """Return a page with one table."""
    lines = [f"# {title}", "", f"Registered by the packages of this repository, as `{command}` lists them.", ""]
    lines += [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    lines += [f"| {' | '.join(' '.join(cell.split()).replace('|', '/') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"
