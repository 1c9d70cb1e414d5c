"""Options of `zoo bench` and arguments of `zoo.bench`, before any name is looked up.

The function `option` makes a field that the command line offers. The options of `zoo bench`, keys of a suite and the
fields of a study's best trial are made from these fields; `zoo.bench` has a parameter for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field
from pathlib import Path
from typing import Any

from zoo.budgets import BUDGET_NAMES


def option(
    default: Any,
    text: str,
    *,
    flag: str = "",
    metavar: str | None = None,
    complete: str = "",
    place: bool = False,
    shown: Any = None,
    remote: bool = False,
) -> Any:
    """Return a dataclass field that is an option of the command line, too.

    Args:
        default: Value without the option; `MISSING` for a field that must be given, `dict` for an empty dictionary.
        text: Help text of the option.
        flag: Name of the option; default: made from the field's name.
        metavar: Name of the value in the help.
        complete: Kind of names that the shell completes, a key of `zoo.cli.complete.COMPLETE`; "" completes nothing.
        place: Whether the field sets where a run happens, not what is run; it is then not a key of a suite.
        shown: Default of the option where it is a text that the command parses into the field's value.
        remote: Whether a path may be an address such as s3://bucket/folder (`zoo.remote`).
    """
    about = {
        "help": text, "flag": flag, "metavar": metavar, "complete": complete, "place": place, "shown": shown,
        "remote": remote,
    }  # fmt: skip
    if default is dict:
        return field(default_factory=dict, metadata=about)
    return field(metadata=about) if default is MISSING else field(default=default, metadata=about)


def is_place(one: Field[Any]) -> bool:
    """Return whether a field sets where a run happens, not what is run."""
    return bool(one.metadata.get("place"))


@dataclass(frozen=True, kw_only=True)
class Request:
    """Options of `zoo bench` and arguments of `zoo.bench`.

    Args:
        models, data: Names, comma lists, wildcards.
        seeds: Seeds, each for one cell.
        data_seeds: Whether each seed has training images of its own; validation and test images stay the same.
        budget: "smoke", "laptop", "evening", "paper", or None for the one that suits the device.
        simulator: Id or name; "" for the default one.
        device: "auto", "cpu", "cuda" or "mps".
        render_on: Device that renders the images: "auto" is that of `device`, "cpu" gives the images of a CPU anywhere.
        images: Folder that holds the simulated images; default: the cache, which is filled.
        precision: "auto" (`zoo.devices.resolve_precision`), "fp32", "tf32" or "bf16".
        rule: Rule that selects the epoch whose weights are kept; "" for that of the task.
        task: Task, such as "anomaly", or grouping of the classes; "" is classification of all classes.
        baselines: Whether the baselines of the data sets are added, see `zoo.plan.baselines`.
        settings: Name -> value, as given by --set: training settings, model hyper-parameters, "data.NAME",
            "train_images", "val_images", "test_images"; "MODEL.NAME", with a name or wildcard of models, for these.
        match: "params", "macs" or "time": scale widths until every network costs what the first does; see
            `zoo.plan.match`.
        store: Store in which the setting `init` finds runs and matched widths are kept.
    """

    models: Sequence[str] = option(
        MISSING,
        "Train these models: comma-separated ids, names, wildcards or FILE.py:CLASS.",
        flag="--model",
        complete="models",
    )
    data: Sequence[str] = option(
        MISSING, "Use these data sets: comma-separated ids, names or wildcards.", complete="datasets"
    )
    seeds: Sequence[int] = option(
        (0,), "Train once with each of these seeds: 0,1,2, or a range such as 0-4.", shown="0"
    )
    data_seeds: bool = option(False, "Draw new training images for each seed; test images stay the same.")
    budget: str | None = option(
        None,
        f"Set the problem size: {BUDGET_NAMES}; default: laptop (GPU: paper).",
        complete="budgets",
    )
    simulator: str = option(
        "", "Render the images with this simulator; default: see zoo list-simulators.", complete="simulators"
    )
    device: str = option("auto", "Compute on this device: auto, cpu, cuda or mps.", place=True, complete="devices")
    render_on: str = option(
        "auto", "Render the images on this device: auto (--device, if the simulator can) or cpu.", complete="rendering"
    )
    precision: str = option("auto", "Train with this precision: auto, fp32, tf32 or bf16.", complete="precisions")
    rule: str = option("", "Choose the epoch to keep: val_auc (anomaly, regress: val_loss) or last.", complete="rules")
    task: str = option(
        "", "Choose the task: anomaly, regress:NAME or substructure (none or any); default: all classes.",
        metavar="NAME", complete="tasks",
    )  # fmt: skip
    match: str = option(
        "", "Scale widths to match the first model's cost: params, macs or time.", metavar="BY", complete="matches"
    )
    baselines: bool = option(True, "Add the baselines that the data sets declare.", flag="--baselines/--no-baselines")
    settings: Mapping[str, Any] = option(
        dict, "Change a setting: lr=3e-4, model.width=8, data.snr=50, ...", flag="--set", metavar="NAME=VALUE"
    )
    images: Path | None = option(None, "Read images made by zoo simulate.", metavar="DIR", place=True, remote=True)
    store: str | Path = option(Path("results"), "Store the results in this folder.", place=True, complete="folder")
