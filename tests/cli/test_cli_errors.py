"""User errors on the command line: exit codes, messages, and no side effects."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from zoo.cli import main

TOY = Path(__file__).parents[1] / "toys" / "toyzoo.py"


@pytest.fixture(autouse=True)
def no_processes(surroundings, monkeypatch):
    """Let no command start a process."""
    monkeypatch.setattr("zoo.run.local._start", lambda job, **_: pytest.fail(f"started {job.command}"))


@pytest.fixture
def fail(capsys, tmp_path):
    """Run zoo, which must fail cleanly; return what it says on stderr."""

    def run(*words, code=2):
        with pytest.raises(SystemExit) as exit_request:
            main([str(word) for word in words])
        told = capsys.readouterr()
        assert exit_request.value.code == code, told.err
        assert told.out == ""
        assert "Traceback" not in told.err
        assert not (tmp_path / "results").exists()
        assert not (tmp_path / "cache").exists()
        return told.err

    return run


def bench(*words, model="toyzoo/tiny", data="modelB"):
    return ("bench", "--model", model, "--data", data, "--device", "cpu", "--budget", "smoke", *words)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (bench(model="gconv/p4n"), 2, ["Unknown model 'gconv/p4n'", "Did you mean 'gconv/p4", "zoo list-models"]),
        (bench(model="zzz*"), 2, ["No model matches 'zzz*'", "zoo list-models"]),
        (bench(model=","), 2, ["No model is named"]),
        (bench(data="modelC"), 2, ["Unknown data set 'modelC'", "Did you mean 'model", "zoo list-datasets"]),
        (bench("--simulator", "causticz"), 2, ["Unknown simulator 'causticz'", "'caustics'", "zoo list-simulators"]),
        (bench("--launcher", "locale"), 2, ["Unknown launcher 'locale'", "'local'", "zoo list-launchers"]),
        (bench("--launcher", "locale", "--dry-run"), 2, ["Unknown launcher 'locale'"]),
        (bench("--budget", "smok"), 2, ["budget 'smok'", "smoke, laptop, evening, paper", "Did you mean 'smoke'?"]),
        (bench("--device", "cude"), 2, ["device 'cude'", "auto, cpu, cuda, mps", "Did you mean 'cuda'"]),
        (bench("--render-on", "cpy"), 2, ["--render-on cpy", "auto, cpu", "Did you mean 'cpu'"]),
        (bench("--render-on", "cpu", "--images", "some"), 2, ["--render-on and --images", "Leave out --render-on"]),
        (bench("--precision", "fp31"), 2, ["precision 'fp31'", "auto, fp32, tf32, bf16", "Did you mean 'fp32'"]),
        (bench("--rule", "val_auk"), 2, ["rule 'val_auk'", "val_auc, last", "Did you mean 'val_auc'?"]),
        (("bnech",), 2, ["Command 'bnech' was not found", "Did you mean 'bench'?", "zoo --help"]),
        (("bench", "--modle", "p4m"), 2, ["No such option", "--modle", "--model"]),
        (("bench", "--data", "modelB"), 2, ["Missing option '--model'"]),
        (("bench", "--model"), 2, ["--model", "requires an argument"]),
        (("list-models", "a", "b"), 2, ["unexpected extra argument"]),
        (("list-models", "p5*"), 2, ["No model fits 'p5*'", "zoo list-models"]),
        (("list-models", "--group", "e8"), 2, ["group 'e8'"]),
        (("list-datasets", "--tag", "nothing"), 2, ["tag 'nothing'"]),
        (("show", "p4mm"), 2, ["Did you mean", "p4m"]),
        (("show", "p4m.modelB"), 2, ["'p4m.modelB' names weights.", "zoo card p4m.modelB"]),
        (("show",), 2, ["Missing argument 'ID'"]),
        (("show", "zzzzzz"), 2, ["Nothing is named 'zzzzzz'.", "zoo list-models"]),
        (("show", "p4n.modelB"), 2, ["Weights 'p4n.modelB'", "Did you mean 'p4m.modelB'", "zoo weights list"]),
        (("show", "gconv/p4m.modelC"), 2, ["Weights 'gconv/p4m.modelC'", "'gconv/p4m.modelB'"]),
        (("card", "p4n.modelB"), 2, ["Weights 'p4n.modelB'", "Did you mean 'p4m.modelB'", "zoo weights list"]),
        (("card", "p4m"), 2, ["'p4m' is a model and not weights.", "p4m.modelA"]),
        (("card", "zzzzzz"), 2, ["'zzzzzz' were not found: not a run in results or weights of a plugin."]),
        (("report",), 2, ["No results were found in results", "zoo bench"]),
        (("report", "--md", "--json"), 2, ["--md, --csv and --json exclude each other"]),
        (("--plugin", "absent.py", "list-models"), 2, ["absent.py", "file not found"]),
        (("run-cell", "absent/cell.json"), 1, ["Cannot read a cell from absent/cell.json", "No such file"]),
    ],
)
def test_user_errors_are_reported(fail, words, code, said):
    told = fail(*words, code=code)
    for word in said:
        assert word in told


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("lr", ["not of the form NAME=VALUE", "--set lr=3e-4"]),
        ("=3", ["not of the form NAME=VALUE"]),
        ("epoch=3", ["no setting of toyzoo/tiny or deeplense/modelB has this name", "Did you mean 'epochs'"]),
        ("model.widht=3", ["Did you mean 'model.width'", "See: zoo show toyzoo/tiny"]),
        ("data.image_sise=32", ["Did you mean 'data.image_size'", "See: zoo show deeplense/modelB"]),
        ("snr=20", ["a parameter of the data", "Write: --set data.snr=..."]),
        ("lr=NaN", ["not a finite number"]),
        ("lr=Infinity", ["not a finite number"]),
        ("lr=1e999", ["not a finite number"]),
        ("model.width=[1, NaN]", ["not a finite number"]),
        ("lr=abc", ["lr='abc' must be a number"]),
        ("lr=true", ["lr=True must be a number"]),
        ("lr=-1", ["lr=-1 must be a number from 0"]),
        ("lr=", ["lr='' must be a number"]),
        ("epochs=2.5", ["epochs=2.5 must be a whole number"]),
        ("epochs=-3", ["epochs=-3 must be a whole number from 1"]),
        ("batch_size=0", ["batch_size=0 must be"]),
        ("ema=1", ["ema=1 must be"]),
        ("augment=rotated", ["augment='rotated' is not one of d4, none, rotate", "Did you mean 'rotate'"]),
        ("schedule=one_cycle", ["Did you mean 'one-cycle'"]),
        ("train_images=0", ["train_images=0 must be a whole number of images"]),
        ("test_images=1.5", ["test_images=1.5 must be"]),
        ("val_images=many", ["val_images='many' must be"]),
        ("data.image_size=5", ["deeplense/modelB", "image_size=5", "8 to 4096"]),
        ("data.image_size=big", ["image_size='big' must be a whole number"]),
        ("data.image_size=[32]", ["image_size=[32]"]),
        ("data.snr=-3", ["snr", "-3", "0.1"]),
        ("data.snr=U(3)", ["snr='U(3)'"]),
        ("data.snr=Uniform(1, 2)", ["unknown prior 'Uniform'"]),
        ("data.snr=1" + "0" * 400, ["cannot be drawn", "zoo show deeplense/modelB"]),
        ("data.mass_fraction=5", ["mass_fraction", "0.99"]),
        ("data.psf=moffat", ["psf='moffat' is not one of"]),
        ("data.lens_redshift=3", ["source_redshift must lie above lens_redshift"]),
    ],
)
def test_an_impossible_setting_stops_the_plan(fail, pair, said):
    told = fail(*bench("--set", pair))
    for word in said:
        assert word in told


def test_a_setting_given_twice_is_refused(fail):
    assert "--set lr is given twice" in fail(*bench("--set", "lr=1e-3", "--set", "lr=1e-4"))
    told = fail(*bench("--set", "width=2", "--set", "model.width=3"))
    assert "width and --set model.width are the same hyper-parameter" in told


@pytest.mark.parametrize("seeds", ["", "a", "1.5", "-1", "3-1", "0-", "0,,1", "0-99999999999999999999", "0-10000"])
def test_invalid_seeds_are_refused(fail, seeds):
    assert f"--seeds {seeds!r}" in fail(*bench("--seeds", seeds))


def test_a_seed_that_is_too_large_is_refused(fail):
    assert "from 0 to 2147483647" in fail(*bench("--seeds", "2147483648"))


def test_an_absent_device_is_reported(fail, monkeypatch):
    absent = SimpleNamespace(is_available=lambda: False)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=absent))  # importing the real one takes seconds
    told = fail("bench", "--model", "toyzoo/tiny", "--data", "modelB", "--device", "cuda", code=3)
    assert "'cuda' is not available" in told
    assert "--device cpu" in told


def test_a_folder_that_cannot_be_meant_by_its_name_is_not_suggested(fail, tmp_path):
    folder = tmp_path / "there" / "data" / "model" / "other"
    folder.mkdir(parents=True)
    (folder / "cell.json").write_text("{")
    said = fail("logs", "other", "--store", tmp_path / "there")
    assert "Did you mean" not in said
    assert "zoo status --store" in said


def test_an_unwritable_store_is_reported(fail, tmp_path):
    (tmp_path / "file").write_text("in the way")
    told = fail(*bench("--store", tmp_path / "file" / "results"), code=1)
    assert "Cannot create the folder" in told
    assert "--store DIR" in told
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_broken_plugin_is_named_and_does_not_stop_others(tmp_path, monkeypatch, capsys):
    bad = tmp_path / "badzoo[red].py"
    bad.write_text("import no_such_module_anywhere\n")
    monkeypatch.setenv("ZOO_PLUGINS", f"core,toyzoo,{bad.stem}")  # --errors imports the targets of all plugins
    with pytest.raises(SystemExit) as exit_request:
        main(["--plugin", str(bad), "list-models"])
    told = capsys.readouterr()
    assert exit_request.value.code == 0
    assert "toyzoo/tiny" in told.out
    assert "broken plugin badzoo[red]" in told.err
    with pytest.raises(SystemExit):
        main(["--plugin", str(bad), "plugins", "--errors"])
    shown = capsys.readouterr().out
    assert "No module named 'no_such_module_anywhere'" in shown
    assert "badzoo[red]" in shown.replace("\n", "")


def test_a_file_without_hooks_registers_nothing(tmp_path, capsys):
    (tmp_path / "emptyzoo.py").write_text("")
    with pytest.raises(SystemExit) as exit_request:
        main(["--plugin", "emptyzoo.py", "plugins", "--json"])
    assert exit_request.value.code == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["emptyzoo"]["state"], rows["emptyzoo"]["specs"]) == ("ok", 0)


@pytest.fixture
def cell_file(tmp_path, capsys):
    """A folder of a cell as a launcher finds it."""
    with pytest.raises(SystemExit):
        main([*bench("--dry-run", "--json", data="toyzoo/stripes")])
    [content] = json.loads(capsys.readouterr().out)
    path = tmp_path / "cell.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda cell: {**cell, "seed": 7}, "has been altered"),
        (lambda cell: {**cell, "hparams": {"width": 400}}, "has been altered"),
        (lambda cell: {**cell, "schema": 99}, "schema 99 cannot be read"),
        (lambda cell: {key: value for key, value in cell.items() if key != "seed"}, "missing required field `seed`"),
        (lambda cell: {**cell, "colour": "red"}, "unknown field colour"),
        (lambda cell: [cell], "Not a cell: list"),
        (lambda cell: 5, "Not a cell: int"),
    ],
)
def test_run_cell_refuses_invalid_cells(fail, cell_file, change, said):
    cell_file.write_text(json.dumps(change(json.loads(cell_file.read_text()))))
    assert said in fail("run-cell", cell_file, code=1)
    assert [path.name for path in cell_file.parent.iterdir()] == ["cell.json"]


def test_run_cell_refuses_invalid_json(fail, cell_file):
    cell_file.write_bytes(b"\xff{")
    assert "Cannot read a cell" in fail("run-cell", cell_file, code=1)


def test_run_cell_of_an_impossible_model_fails_with_its_cause(tmp_path, capsys, monkeypatch):
    sizes = [word for split in ("train", "val", "test") for word in ("--set", f"{split}_images=60")]
    with pytest.raises(SystemExit):
        main([*bench("--set", "width=-1", *sizes, "--dry-run", "--json", data="toyzoo/stripes")])
    [content] = json.loads(capsys.readouterr().out)
    (tmp_path / "cell.json").write_text(json.dumps(content))
    with pytest.raises(SystemExit) as exit_request:
        main(["run-cell", str(tmp_path / "cell.json"), "--device", "cpu"])
    assert exit_request.value.code == 1
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["status"] == "failed"
    assert "toyzoo/tiny cannot be built" in result["error"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("rerun", "3f2a", "--tolerance", "nan"), "--tolerance nan must be 0 or more"),
        (("rerun", "3f2a", "--tolerance", "-1"), "--tolerance -1 must be 0 or more"),
        (("equivariance", "p4m", "--seed", "18446744073709551616"), "is not in the range"),
        (("equivariance", "p4m.modelA", "-n", "99999999999"), "is not in the range"),
        (
            ("equivariance", "p4m", "--set", "model.widths=[99999999,99999999,8,10,10,14]"),
            "has more than 1,073,741,824",
        ),
        (("evaluate", "p4m.modelA", "--seed", "9999999999999999999"), "from 0 to 9,223,372,036,854,775,807"),
        (("check", "p4m", "--data", "nope"), "Unknown data set 'nope'"),
        (("check", "p4m", "--simulator", "nope"), "Unknown simulator 'nope'"),
        (("tune", "--show", "a", "--trials", "3"), "--show runs nothing, so --trials has no effect"),
    ],
)
def test_impossible_values_are_refused_before_anything_runs(zoo, words, said):
    assert said in zoo(*words, code=2)[1]
