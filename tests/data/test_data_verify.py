"""`zoo data verify`: whatever is done to a folder is found, and what it says mends it."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from zoo.cli import main
from zoo.data.shards import shard_path, write_shard
from zoo.data.verify import verify_folder

SIMULATE = "simulate toysky/discs --simulator toysky/painter --set data.image_size=9 --device cpu"


@pytest.fixture(scope="module", autouse=True)
def plugin():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_PLUGIN_FILES", str(Path(__file__).parents[1] / "toys" / "toysky.py"))
        yield


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as exit_request:
        main(words)
    return int(exit_request.value.code or 0), capsys.readouterr().out


@pytest.fixture(scope="module")
def good(plugin, tmp_path_factory) -> Path:
    """A folder with three shards of train and one of val."""
    folder = tmp_path_factory.mktemp("images") / "good"
    for words in (["-n", "600"], ["-n", "90", "--split", "val"]):
        with pytest.raises(SystemExit) as exit_request:
            main([*shlex.split(SIMULATE), *words, "--out", str(folder)])
        assert exit_request.value.code == 0
    return folder


@pytest.fixture
def folder(good, tmp_path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "copy"))


def test_a_good_folder(folder, capsys):
    code, said = run(["data", "verify", str(folder)], capsys)
    assert code == 0
    assert "train: 600 images in 3 shards: 200 a, 200 b, 200 c" in said
    assert said.endswith("No problems found.\n")
    code, said = run(["data", "verify", str(folder), "--json"], capsys)
    report = json.loads(said)
    assert (code, report["problems"], report["mend"]) == (0, [], [])
    assert report["recipe_hash"] == json.loads((folder / "manifest.json").read_text())["recipe_hash"]


def flip(folder: Path) -> None:
    path = shard_path(folder / "train", 1)
    content = bytearray(path.read_bytes())
    content[-9] ^= 4
    path.write_bytes(content)


def truncate(folder: Path) -> None:
    path = shard_path(folder / "train", 0)
    path.write_bytes(path.read_bytes()[:-100])


def swap(folder: Path) -> None:
    first, second = (shard_path(folder / "train", number) for number in (0, 1))
    first.rename(folder / "aside")
    second.rename(first)
    (folder / "aside").rename(second)


def exchange(folder: Path) -> None:
    """A whole shard with other content."""
    path = shard_path(folder / "train", 1)
    arrays = safetensors.numpy.load(path.read_bytes())
    identity = f"{json.loads((folder / 'manifest.json').read_text())['recipe_hash']}/train/1"
    write_shard(path, arrays | {"image": np.zeros_like(arrays["image"])}, identity=identity)


def edit_manifest(folder, **values):
    content = json.loads((folder / "manifest.json").read_text())
    content["splits"]["val"] |= values
    (folder / "manifest.json").write_text(json.dumps(content))


def edit_counts(folder: Path) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    content["splits"]["val"]["counts"]["a"] += 1
    (folder / "manifest.json").write_text(json.dumps(content))


def edit_manifest_recipe(folder: Path) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    content["recipe"]["params"]["snr"], content["recipe_hash"] = 50.0, "0" * 16
    (folder / "manifest.json").write_text(json.dumps(content))


DAMAGES = {
    "flip": (flip, ["train/000001.safetensors is damaged: its checksum does not fit"]),
    "truncate": (truncate, ["train/000000.safetensors is damaged"]),
    "swap": (swap, ["000000.safetensors is damaged: it is another shard", "000001.safetensors is damaged"]),
    "gap": (lambda folder: shard_path(folder / "train", 1).unlink(), ["train lacks 1 shard: 000001"]),
    "last": (lambda folder: shard_path(folder / "train", 2).unlink(), ["train lacks 1 shard: 000002"]),
    "all of val": (lambda folder: shutil.rmtree(folder / "val"), ["val lacks 1 shard: 000000"]),
    "exchange": (exchange, ["000001.safetensors is whole, but not the file that manifest.json names"]),
    "no manifest": (
        lambda folder: (folder / "manifest.json").unlink(),
        ["train is not complete", "val is not complete"],
    ),
    "broken manifest": (
        lambda folder: (folder / "manifest.json").write_text('{"schema": 1}'), ["manifest.json is damaged", "recipe"],
    ),
    "manifest of other types": (
        lambda folder: edit_manifest(folder, images="many"), ["manifest.json is damaged", "$.splits[...].images"],
    ),
    "counts": (edit_counts, ["val has {", "but manifest.json states {"]),
    "recipe": (edit_manifest_recipe, ["are of different recipes: snr is 20.0 there, 50.0 requested"]),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named_and_the_commands_mend_it(damage, good, folder, capsys):
    action, words = DAMAGES[damage]
    action(folder)
    code, said = run(["data", "verify", str(folder)], capsys)
    assert code == 1
    for word in words:
        assert word in said
    _, found = run(["data", "verify", str(folder), "--json"], capsys)
    mend = json.loads(found)["mend"]
    assert mend
    assert all(command in said for command in mend)
    for command in mend:
        verb, *rest = shlex.split(command)
        if verb == "rm":
            Path(*rest).unlink()
        else:
            assert run(rest, capsys)[0] == 0
    assert run(["data", "verify", str(folder)], capsys)[0] == 0
    # How many images were asked for is known from the manifest alone; without it, all that are there are counted.
    lost = damage in ("no manifest", "broken manifest", "manifest of other types", "recipe")
    assert read_files(folder, manifest=not lost) == read_files(good, manifest=not lost)
    counted = 768 if lost else 600
    assert json.loads((folder / "manifest.json").read_text())["splits"]["train"]["images"] == counted


def read_files(folder: Path, *, manifest: bool) -> dict[Path, bytes]:
    paths = [path for path in folder.rglob("[!.]*") if path.is_file() and (manifest or path.name != "manifest.json")]
    return {path.relative_to(folder): path.read_bytes() for path in paths}


def test_a_set_in_the_making_is_not_complete_and_a_larger_one_is_noted(folder, capsys):
    half = [*shlex.split(SIMULATE), "-n", "1500", "--shard", "1:2", "--out", str(folder)]
    assert run(half, capsys)[0] == 0
    report = verify_folder(folder)
    assert report.problems == []
    assert report.notes == ["train has 2 shards more than the manifest names: a larger set was begun."]
    (folder / "manifest.json").unlink()
    (lacking, *_) = [problem.text for problem in verify_folder(folder).problems if "lacks" in problem.text]
    assert lacking == "train lacks 1 shard: 000004."


def test_a_folder_without_shards_is_wrong_and_has_no_command_that_mends_it(folder, capsys):
    for path in [*folder.rglob("*.safetensors"), folder / "manifest.json"]:
        path.unlink()
    code, said = run(["data", "verify", str(folder)], capsys)
    assert code == 1
    assert said.endswith("wrong: The list of shards is empty.\n")


@pytest.mark.parametrize("content", [None, "", "[]", '{"colour": 1}'])
def test_no_such_folder(tmp_path, content, capsys):
    if content is not None:
        (tmp_path / "recipe.json").write_text(content)
    with pytest.raises(SystemExit) as exit_request:
        main(["data", "verify", str(tmp_path)])
    assert exit_request.value.code == 1
    assert "is not a folder of simulated images" in capsys.readouterr().err
