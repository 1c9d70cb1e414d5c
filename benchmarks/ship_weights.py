"""Copy the best stored weights of some networks into their plugins' packages, with cards and scores.

    uv run zoo bench --model p4m --data modelA,modelB --seeds 0-2
    uv run python benchmarks/ship_weights.py p4m

The best run is the one with the highest validation AUC; test scores are not used. Three files are written to the
package: NAME.DATA.safetensors, .md (the card) and .json (scores and settings of the run). The first one is listed in
`weights` of the spec; a test scores it on newly simulated images.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from zoo import registry
from zoo.host import load_plugins
from zoo.results import store
from zoo.results.schema import Finished
from zoo.specs import ModelSpec
from zoo.weights.card import make_card

ROOT = Path(__file__).resolve().parents[1]
LARGEST_BYTES = 6_000_000
KEPT = ("run_id", "cell", "classes", "test", "val", "cost", "equivariance", "environment", "data")


def main() -> None:
    """Copy the weights, and print the paths of the copies.

    Raises:
        SystemExit: A file is too large, or a run was not found.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="Copy the weights of these models (ids or names).")
    parser.add_argument("--store", type=Path, default=Path("results"))
    options = parser.parse_args()
    host = load_plugins()
    chosen = {spec.id: spec for spec in registry.match(host, ModelSpec, options.models)}
    best: dict[tuple[str, str], Finished] = {}
    for result in store.results(options.store):
        if result.status != "ok" or result.cell.model not in chosen:
            continue
        key = (result.cell.model, result.cell.data)
        if key not in best or result.val.auc > best[key].val.auc:
            best[key] = result
    if not best:
        sys.exit(f"{options.store} contains no run of {', '.join(options.models)}.")
    for (model, data), result in sorted(best.items()):
        spec, run_dir = chosen[model], result.run_dir
        weights = run_dir / store.WEIGHTS
        if weights.stat().st_size > LARGEST_BYTES:
            sys.exit(f"{weights} has {weights.stat().st_size:,} bytes; the limit for a package is {LARGEST_BYTES:,}.")
        package = spec.target.partition(":")[0].partition(".")[0]
        [folder] = ROOT.glob(f"plugins/*/{package}")
        name = f"{spec.name}.{data.partition('/')[2]}"
        target = folder / "weights" / f"{name}.safetensors"
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(weights, target)
        target.with_suffix(".md").write_text(make_card(host, run_dir, name=name), encoding="utf-8")
        content = store.plain_result(result)
        scores = {key: content[key] for key in KEPT}
        scores["environment"].pop("platform", None)  # the build of the kernel does not affect the scores
        target.with_suffix(".json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
        print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes, validation AUC {result.val.auc:.4f}")


if __name__ == "__main__":
    main()
