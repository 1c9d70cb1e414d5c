"""Copy the best stored weights of some networks into their plugins' packages, with cards and scores.

    uv run zoo bench --model p4m --data modelA,modelB --seeds 0-2
    uv run python benchmarks/ship_weights.py p4m
    uv run python benchmarks/ship_weights.py p4m --add-detector    # to the files in the package
    uv run python benchmarks/ship_weights.py p4m --add-corner

The best run is the one with the highest validation AUC; test scores are not used. Three files are written to the
package: NAME.DATA.safetensors, .md (the card) and .json (scores and settings of the run). Runs with derived channels
are a choice of their own, NAME.DATA_CHANNEL. The first file is listed in `weights` of the spec; a test scores it on
newly simulated images.

--add-detector trains nothing: it renders the first training and validation images of the run again and adds what runs
of earlier versions lack: the detector of images unlike the training images (`zoo.scores.unlike`) and the temperature.
--add-corner adds the level of the darkest corner of the training images (`zoo.models.pixels.corner_level`) in the same
way. Weights of images of an earlier version are left as they are.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from msgspec.structs import replace as struct_replace

from zoo import provenance, registry
from zoo.data.open import Dataset
from zoo.host import Host, load_plugins
from zoo.models.load import load_weights
from zoo.models.pixels import summary
from zoo.models.weights_file import read_weights, write_weights
from zoo.results import store
from zoo.results.schema import Finished
from zoo.scores.calibration import fit_temperature
from zoo.scores.score import score
from zoo.scores.unlike import TRAIN_IMAGES, fit_detector
from zoo.specs import DatasetSpec, ModelSpec
from zoo.weights.card import make_card

ROOT = Path(__file__).resolve().parents[1]
LARGEST_BYTES = 6_000_000
LARGEST_DIFFERENCE = 5e-3  # of the validation AUC of a run on a GPU, whose noise is another draw
WITHOUT_AND_WITH_SKY = (
    "noisier than nearly all training images.\n",
    "noisier than nearly all training images, or its darkest corner is far from theirs, as where a sky was not "
    "subtracted.\n",
)
"""The warnings of `zoo predict` in a card, of weights that do not state the darkest corner and of those that do."""
KEPT = ("run_id", "cell", "classes", "test", "val", "cost", "equivariance", "environment", "data")


def main() -> None:
    """Copy the weights, and print the paths of the copies.

    Raises:
        SystemExit: A file is too large, or a run was not found.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="Copy the weights of these models (ids or names).")
    parser.add_argument("--store", type=Path, default=Path("results"))
    parser.add_argument("--add-detector", action="store_true", help="Add the detector to the files in the package.")
    parser.add_argument("--add-corner", action="store_true", help="Add the level of the darkest corner to the files.")
    options = parser.parse_args()
    host = load_plugins()
    chosen = {spec.id: spec for spec in registry.match(host, ModelSpec, options.models)}
    if options.add_detector or options.add_corner:
        for spec in chosen.values():
            for file in spec.weights.values():
                if options.add_detector:
                    add_detector(host, folder_of(spec) / file)
                if options.add_corner:
                    add_corner(host, folder_of(spec) / file)
        return
    best: dict[tuple[str, str], Finished] = {}
    for result in store.results(options.store):
        if result.status != "ok" or result.cell.model not in chosen:
            continue
        channels = [channel.rpartition("/")[2] for channel in result.cell.recipe.channels]
        key = (result.cell.model, "_".join([result.cell.data.partition("/")[2], *channels]))
        if key not in best or result.val.auc > best[key].val.auc:
            best[key] = result
    if not best:
        sys.exit(f"{options.store} contains no run of {', '.join(options.models)}.")
    for (model, data), result in sorted(best.items()):
        spec, run_dir = chosen[model], result.run_dir
        weights = run_dir / store.WEIGHTS
        if weights.stat().st_size > LARGEST_BYTES:
            sys.exit(f"{weights} has {weights.stat().st_size:,} bytes; the limit for a package is {LARGEST_BYTES:,}.")
        name = f"{spec.name}.{data}"
        target = folder_of(spec) / "weights" / f"{name}.safetensors"
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(weights, target)
        target.with_suffix(".md").write_text(make_card(host, run_dir, name=name), encoding="utf-8")
        content = store.plain_result(result)
        scores = {key: content[key] for key in KEPT}
        scores["environment"].pop("platform", None)  # the build of the kernel does not affect the scores
        target.with_suffix(".json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
        print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes, validation AUC {result.val.auc:.4f}")


def folder_of(spec: ModelSpec) -> Path:
    """Return the folder of the package that registers a network."""
    package = spec.target.partition(":")[0].partition(".")[0]
    [folder] = ROOT.glob(f"plugins/*/{package}")
    return folder


def add_detector(host: Host, path: Path) -> None:
    """Add the detector and the temperature to a file of weights, fitted on images of its own run.

    Raises:
        SystemExit: The validation AUC is not that of the run, so these are not its images.
    """
    weights = read_weights(path)
    about, recipe = weights.header.about, weights.header.about.recipe
    spec = registry.find(host, DatasetSpec, recipe.dataset)
    if weights.detector or recipe.dataset_version != spec.version:
        print(f"{path.name}: {'has a detector' if weights.detector else 'its images are of an earlier version'}")
        return
    run = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    code = provenance.image_code(host, recipe.dataset, recipe.simulator)
    recipe = replace(recipe, code=code, device_type="cpu")
    data = Dataset(host, recipe, {"train": TRAIN_IMAGES, "val": run["cell"]["sizes"]["val"], "test": 1})
    train, val = data.split("train"), data.split("val")
    trained = load_weights(host, path).eval()
    with torch.inference_mode():
        logits = torch.cat([trained(torch.from_numpy(np.array(images))) for images in val.chunks])
    labels = torch.as_tensor(val.labels)
    auc = score(logits, labels, about.classes).macro
    if abs(auc - run["val"]["auc"]) > LARGEST_DIFFERENCE:
        sys.exit(f"{path.name}: macro AUC {auc:.4f} on validation images rendered now, {run['val']['auc']:.4f} stored.")
    found = fit_detector(train, val, channels=trained.stored_channels).tensors()
    temperature = fit_temperature(logits, labels)
    about = struct_replace(about, temperature=temperature)
    digest = write_weights(path, weights.state, about=about, golden=weights.golden, detector=found)
    card = path.with_suffix(".md")
    note = (
        f"- Added after the run, from its first {TRAIN_IMAGES:,} training and {len(labels):,} validation lenses, "
        f"rendered again on a CPU (validation AUC {auc:.4f}): the detector of images unlike them, and the temperature "
        f"{temperature:.3f}, which the logits are divided by for calibrated probabilities."
    )
    stated = f"tensors SHA-256 `{weights.header.sha256}`."
    text = card.read_text(encoding="utf-8").replace(stated, f"tensors SHA-256 `{digest}`.\n{note}")
    card.write_text(text, encoding="utf-8")
    print(f"{path.name}: validation AUC {auc:.4f}, temperature {temperature:.3f}, {path.stat().st_size:,} bytes")


def add_corner(host: Host, path: Path) -> None:
    """Add the level of the darkest corner of the training images to a file of weights, from its first training images.

    Raises:
        SystemExit: Brightness and noise of these images are not those of the run.
    """
    weights = read_weights(path)
    about = weights.header.about
    recipe = about.recipe.of_image_alone
    spec = registry.find(host, DatasetSpec, recipe.dataset)
    if about.pixels.corner is not None or recipe.dataset_version != spec.version:
        print(f"{path.name}: {'has it' if about.pixels.corner is not None else 'its images are of an earlier version'}")
        return
    code = provenance.image_code(host, recipe.dataset, recipe.simulator)
    recipe = replace(recipe, code=code, device_type="cpu")
    train = Dataset(host, recipe, {"train": TRAIN_IMAGES, "val": 1, "test": 1}).split("train")
    found = summary(train.images_at(np.arange(TRAIN_IMAGES)))
    for old, new in ((about.pixels.peak, found.peak), (about.pixels.noise, found.noise)):
        if not np.allclose(old, new, rtol=0.2):
            sys.exit(f"{path.name}: the images rendered now have the quantiles {new}, those of the run {old}.")
    about = struct_replace(about, pixels=struct_replace(about.pixels, corner=found.corner))
    write_weights(path, weights.state, about=about, golden=weights.golden, detector=weights.detector)
    card = path.with_suffix(".md")
    card.write_text(card.read_text(encoding="utf-8").replace(*WITHOUT_AND_WITH_SKY), encoding="utf-8")
    print(f"{path.name}: darkest corner {found.corner}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
