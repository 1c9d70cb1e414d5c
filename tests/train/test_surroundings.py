"""One device inside of a Slurm batch script, and plans for devices that this machine does not have."""

from pathlib import Path

import pytest
import torch

from zoo import devices
from zoo.devices import device_here, note_on_auto, note_on_processes, planned_device, resolve_device
from zoo.errors import MissingError, UsageError
from zoo.train import fabric as fabric_module
from zoo.train.fabric import make_fabric
from zoo.train.team import Team

SLURM = {
    "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "batch.sh", "SLURM_NTASKS": "2", "SLURM_NNODES": "1", "SLURM_NODEID": "0",
    "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_JOB_NODELIST": "node1",
}  # fmt: skip


@pytest.mark.parametrize(
    "variables",
    [
        SLURM,
        SLURM | {"SLURM_NTASKS_PER_NODE": "2"},
        SLURM | {"SLURM_NTASKS": "8", "SLURM_NNODES": "4"},
        {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "x"},
    ],
)
def test_one_device_does_not_guess_an_environment_from_variables(variables, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    fabric = make_fabric(torch.device("cpu"), "fp32")
    assert (fabric.world_size, fabric.global_rank, str(fabric.device)) == (1, 0, "cpu")


class Unconnected:
    """In place of Fabric: compares its arguments with the variables as Fabric does, and connects nothing."""

    def __init__(self, *, devices, num_nodes, plugins, **_):
        self.place = plugins[0]
        self.place.validate_settings(devices, num_nodes)

    def launch(self):
        pass


@pytest.mark.parametrize("tasks_per_node", [None, "4"])
def test_a_step_of_slurm_is_what_counts_and_not_what_its_job_asked_for(tasks_per_node, monkeypatch):
    for name, value in (SLURM | {"SLURM_NNODES": "2", "SLURM_PROCID": "1", "SLURM_NODEID": "1"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", tasks_per_node or "")  # restored after the test
    if tasks_per_node is None:
        monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    monkeypatch.setattr(fabric_module, "Fabric", Unconnected)
    made = make_fabric(torch.device("cpu"), "fp32", Team(devices=1, num_nodes=2, rank=1, started_by="slurm"))
    assert (made.place.world_size(), made.place.global_rank(), made.place.node_rank()) == (2, 1, 1)


@pytest.fixture
def no_gpu(monkeypatch):
    """Hide the GPUs of the machine."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(devices, "_surely_no_gpu", lambda: True)


def test_a_device_that_is_named_is_planned_for_wherever_it_is(monkeypatch):
    monkeypatch.setattr(devices, "_surely_no_gpu", lambda: True)
    assert [planned_device(name) for name in ("auto", "cpu", "cuda", "mps")] == ["cpu", "cpu", "cuda", "mps"]
    with pytest.raises(UsageError, match="Did you mean 'cuda'"):
        planned_device("cudaa")
    assert "plan is for the CPU" in note_on_auto("auto")
    assert note_on_auto("cpu") == note_on_auto("cuda") == ""
    assert note_on_processes("cpu", 4) == note_on_processes("cuda", 4) == note_on_processes("auto", 1) == ""


def test_a_login_node_without_a_gpu_plans_for_one_and_refuses_only_to_train_on_it(
    no_gpu, tmp_path, monkeypatch, capsys
):
    from zoo.cli import main

    def run(*words):
        with pytest.raises(SystemExit) as ended:
            main(["bench", "--model", "p4m", "--data", "modelA", "--store", str(tmp_path / "store"), *words])
        return ended.value.code, capsys.readouterr()

    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    code, printed = run("--device", "cuda", "--dry-run", "--json")
    assert code == 0
    assert '"budget": "paper"' in printed.out
    assert '"precision": "bf16"' in printed.out
    assert "plan is for the CPU" not in printed.err
    code, printed = run("--dry-run", "--json")
    assert code == 0
    assert '"budget": "laptop"' in printed.out
    assert "note: no GPU was found on this machine, so the plan is for the CPU" in printed.err
    team = "note: no GPU was found: 4 processes on CPU cores train each network\n"
    assert team not in printed.err
    assert team in run("--devices", "4", "--dry-run")[1].err
    assert team not in run("--devices", "4", "--dry-run", "--device", "cpu")[1].err
    code, printed = run("--device", "cuda", "--match", "time", "--dry-run")
    assert code == 3
    assert "device 'cuda' is not available" in printed.err
    code, printed = run("--device", "cuda")
    assert code == 3
    assert "device 'cuda' is not available" in printed.err
    assert not list((tmp_path / "store").glob("*/*"))


def test_only_a_launcher_of_this_machine_needs_its_devices(no_gpu, host):
    from zoo.run.where import Where

    assert Where(device="cuda").resolved(host, here=False).device == "cuda"
    with pytest.raises(MissingError):
        Where(device="cuda").resolved(host)
    assert resolve_device("cpu") == "cpu"
    assert (device_here("cuda"), device_here("cpu")) == ("cpu", "cpu")  # for what any device does
    assert Where().command(Path("a/cell.json"))[4] == str(Path("a/cell.json").absolute())
