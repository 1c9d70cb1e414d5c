"""The launcher of Slurm with pretended commands: what it asks, what it makes of the answers, what it refuses."""

from __future__ import annotations

import json

import pytest
from fake_slurm import FakeSlurm
from zoo_submitit.ending import Ending, write_ending
from zoo_submitit.limits import read_nodes
from zoo_submitit.processes import ProcessLauncher
from zoo_submitit.slurm import SlurmLauncher

from zoo.errors import LauncherError, MissingError, UsageError
from zoo.run.launcher import Job, Resources


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    (tmp_path / "slurm").mkdir()
    fake = FakeSlurm(tmp_path / "slurm")
    monkeypatch.setenv("PATH", fake.path)
    return fake


@pytest.fixture
def job(tmp_path):
    def job(name="a", **resources):
        run_dir = tmp_path / "store" / "data" / "model" / name
        run_dir.mkdir(parents=True, exist_ok=True)
        return Job(run_dir=run_dir, command=("true",), cwd=tmp_path, resources=Resources(**resources))

    return job


def test_jobs_that_need_the_same_are_one_array(slurm, job, tmp_path):
    jobs = [job("a"), job("b", gpus=1), job("c"), job("d", gpus=1), job("e")]
    folder = tmp_path / "store" / "submitit"
    handles = SlurmLauncher(array_parallelism=2).submit(jobs)
    assert handles == [f"{one} {folder}" for one in ("100_0", "200_0", "100_1", "200_1", "100_2")]
    assert len(slurm.calls("sbatch")) == 2
    assert "#SBATCH --array=0-2%2" in slurm.script(1)
    assert "#SBATCH --gpus-per-node=1" in slurm.script(2)
    assert SlurmLauncher().submit([]) == []


def test_options_reach_the_script(slurm, job):
    options = {"partition": "gpu", "account": "lens", "qos": "long", "constraint": "a100|v100"}
    launcher = SlurmLauncher(
        **options, signal_seconds=33, sbatch="--exclude=n1 --exclusive", setup="module load x; export A=1"
    )
    launcher.submit([job(gpus=2, cpus=3, memory_gb=1.5, minutes=90.4, nodes=2, tasks_per_node=4)])
    script = slurm.script()
    for line in (
        *(f"--{name}={value}" if "|" not in value else f"--{name}='{value}'" for name, value in options.items()),
        "--gpus-per-node=2", "--cpus-per-task=3", "--mem=1536M", "--time=90", "--nodes=2", "--ntasks-per-node=4",
        "--signal=USR2@33", "--exclude=n1", "--exclusive", "--requeue",
    ):  # fmt: skip
        assert f"#SBATCH {line}\n" in script
    assert script.index("module load x; export A=1\n") < script.index("srun ")
    assert "srun --unbuffered" in script
    assert "--cpus-per-task=3 " in script.split("srun ")[1]  # srun does not take it from its surroundings


def test_what_is_not_asked_for_is_left_to_the_cluster(slurm, job):
    SlurmLauncher().submit([job()])
    for name in ("time", "mem", "cpus-per-task", "gpus", "partition", "account", "qos", "constraint", "wckey"):
        assert f"--{name}" not in slurm.script()


@pytest.mark.parametrize(
    ("row", "kind", "reason", "words"),
    [
        ("PENDING||Priority", "waiting", "unknown", "higher priority"),
        ("PENDING||(QOSMaxJobsPerUserLimit)", "waiting", "unknown", "your limit of jobs"),
        ("PENDING||ReqNodeNotAvail, UnavailableNodes:n1", "waiting", "unknown", "down or reserved"),
        ("PENDING||SomethingNew", "waiting", "unknown", "SomethingNew"),
        ("REQUEUED||None", "waiting", "unknown", "requeued"),
        ("RUNNING|n1|None", "running", "unknown", "n1"),
        ("COMPLETING|n1|None", "running", "unknown", "n1"),
        ("COMPLETED|n1|None", "ended", "ok", "n1"),
        ("TIMEOUT|n1|TimeLimit", "ended", "timeout", "minutes=NUMBER on n1"),
        ("OUT_OF_MEMORY|n1|None", "ended", "oom", "memory_gb=NUMBER"),
        ("NODE_FAIL|n1|None", "ended", "node", "its node failed on n1"),
        ("PREEMPTED|n1|None", "ended", "preempted", "preempted"),
        ("CANCELLED by 1000|n1|None", "ended", "cancelled", "cancelled in Slurm"),
        ("FAILED|n1|NonZeroExitCode", "ended", "failed", "must be on a shared disk"),
        ("NEW_STATE|n1|None", "ended", "unknown", "NEW_STATE"),
    ],
)
def test_states_have_reasons_in_words(slurm, tmp_path, row, kind, reason, words):
    slurm.says("squeue", f"7_3|{row}\n8|RUNNING|n2|None\n")
    found, other = SlurmLauncher().poll([f"7_3 {tmp_path}", f"8 {tmp_path}"])
    assert (found.kind, found.reason) == (kind, reason)
    assert words in found.detail
    assert other.kind == "running"


def test_states_of_500_jobs_are_one_question(slurm, tmp_path):
    slurm.says("squeue", "".join(f"7_{n}|RUNNING|n1|None\n" for n in range(500)))
    states = SlurmLauncher().poll([f"7_{n} {tmp_path}" for n in range(500)])
    assert {state.kind for state in states} == {"running"}
    assert slurm.calls("squeue") == ["squeue --noheader --array --states=all --jobs=7 --format=%i|%T|%N|%r"]
    assert slurm.calls("sacct") == []


def test_jobs_that_left_the_queue_are_looked_for_in_files_and_then_in_sacct(slurm, tmp_path):
    slurm.says("squeue", "7_0|RUNNING|n1|None\n7_1|FAILED|n1|NonZeroExitCode\n7_2|TIMEOUT|n1|TimeLimit\n")
    slurm.says("sacct", "7_4|NODE_FAIL|n1|None\n")
    for number, code in enumerate((75, 75, 75, 3)):
        write_ending(tmp_path, f"7_{number}", Ending(code=code, host="n1"))
    launcher = SlurmLauncher()
    states = launcher.poll([f"7_{number} {tmp_path}" for number in range(6)])
    assert [(state.kind, state.reason) for state in states] == [
        ("running", "unknown"),  # whatever an earlier start has left
        ("ended", "preempted"),
        ("ended", "timeout"),  # Slurm knows better why it was stopped
        ("ended", "failed"),
        ("ended", "node"),
        ("lost", "unknown"),
    ]
    assert "exit code 3 on n1" in states[3].detail
    assert slurm.calls("sacct")[0].endswith("--jobs=7_4,7_5")


def test_without_accounting_sacct_is_asked_once(slurm, tmp_path, caplog):
    slurm.fails("sacct", "Slurm accounting storage is disabled\n")
    slurm.fails("squeue", "slurm_load_jobs error: Invalid job id specified\n")
    launcher = SlurmLauncher()
    for _ in range(3):
        assert launcher.poll([f"7 {tmp_path}"])[0].kind == "lost"
    assert len(slurm.calls("sacct")) == 1
    assert "accounting storage is disabled" in caplog.text


def test_a_controller_that_is_down_is_an_error_and_no_lost_job(slurm, tmp_path):
    slurm.fails("squeue", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n")
    with pytest.raises(LauncherError, match="Unable to contact"):
        SlurmLauncher().poll([f"7 {tmp_path}"])


@pytest.mark.parametrize("text", ["", "never given", "7", "-u root /tmp", "7_x /tmp", "7 relative", "7;8 /tmp"])
def test_texts_that_are_no_handles_reach_no_command(slurm, text):
    launcher = SlurmLauncher()
    assert launcher.poll([text])[0].kind == "lost"
    launcher.cancel([text])
    assert launcher.log(text) == ""
    assert slurm.calls("squeue") == slurm.calls("scancel") == []


def test_jobs_are_cancelled_by_one_command(slurm, tmp_path):
    SlurmLauncher().cancel([f"7_{number} {tmp_path}" for number in range(3)])
    assert slurm.calls("scancel") == ["scancel --quiet 7_0 7_1 7_2"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"code": "0", "host": "", "detail": ""}', '{"code": 0}'])
def test_damaged_endings_are_not_believed(slurm, tmp_path, content):
    (tmp_path / "7_end.json").write_text(content)
    assert SlurmLauncher().poll([f"7 {tmp_path}"])[0].kind == "lost"


def test_the_log_is_that_of_the_job(slurm, tmp_path):
    (tmp_path / "7_1_0_log.out").write_text("one\ntwo\n")
    assert SlurmLauncher().log(f"7_1 {tmp_path}") == "one\ntwo"
    assert SlurmLauncher().log(f"8 {tmp_path}") == ""


@pytest.mark.parametrize(
    ("options", "resources", "words"),
    [
        ({"partition": "gpus"}, {}, "no partition 'gpus'. Did you mean 'gpu'?"),
        ({"partition": "gpu", "constraint": "a10"}, {}, "feature 'a10'. Did you mean 'a100'?"),
        ({}, {"gpus": 1}, "gpus=1: the largest node of partition debug has 0"),
        ({"partition": "gpu"}, {"gpus": 5}, "gpus=5: the largest node of partition gpu has 4"),
        ({"partition": "debug"}, {"cpus": 3, "tasks_per_node": 3}, "cpus=9 for 3 tasks"),
        ({}, {"memory_gb": 64}, "memory_gb=64: the largest node of partition debug has 31.25"),
        ({"partition": "gpu"}, {"gpus": 4, "memory_gb": 400}, "No single node of partition gpu has gpus=4, cpus=1"),
        ({"partition": "gpu"}, {"nodes": 6}, "nodes=6: partition gpu has 5"),
        ({"partition": "gpu"}, {"minutes": 721}, "minutes=721: partition gpu allows 720"),
    ],
)  # fmt: skip
def test_what_the_partition_does_not_have_is_refused(slurm, job, options, resources, words):
    with pytest.raises(UsageError) as refused:
        SlurmLauncher(**options).check([job(), job("b", **resources)])
    assert words in str(refused.value)
    assert not any("--test-only" not in call for call in slurm.calls("sbatch"))


def test_a_default_partition_of_two_kinds_of_nodes_is_named_once(slurm, job):
    slurm.says("sinfo", "debug*|infinite|1|8|32000|(null)|slow\ndebug*|infinite|1|16|32000|(null)|fast\n")
    with pytest.raises(UsageError, match="cpus=17: the largest node of partition debug has 16"):
        SlurmLauncher().check([job(cpus=17)])


def test_what_the_partition_has_is_accepted(slurm, job):
    launcher = SlurmLauncher(partition="debug,gpu", constraint="[a100*2|v100]")
    launcher.check([job(gpus=4, cpus=8, memory_gb=250, minutes=1440, nodes=3, tasks_per_node=4)])
    assert "--gpus-per-node=4" in slurm.calls("sbatch")[0]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("sbatch: error: Invalid account or account/partition combination specified", "account=NAME"),
        ("allocation failure: Invalid qos specification", "qos=NAME"),
        ("allocation failure: Job violates accounting/QOS policy (job submit limit)", "your account"),
        ("sbatch: unrecognized option '--nonsense=1'", "sbatch --help"),
    ],
)  # fmt: skip
def test_what_sbatch_would_refuse_is_refused_before(slurm, job, error, words):
    slurm.fails("sbatch.test", error)
    with pytest.raises(UsageError) as refused:
        SlurmLauncher().check([job()])
    assert words in str(refused.value)


def test_a_slurm_that_answers_nothing_is_named_and_an_error_that_may_pass_refuses_nothing(slurm, job):
    slurm.fails("sbatch.test", "allocation failure: Socket timed out on send/recv operation")
    slurm.fails("sinfo", "slurm_load_partitions: Unable to contact slurm controller (connect failure)")
    SlurmLauncher(partition="unheard").check([job()])
    slurm.fails("squeue", "squeue: fatal: Could not establish a configuration source")
    with pytest.raises(MissingError, match=r"Slurm does not answer: .*Could not establish"):
        SlurmLauncher().check([job()])


def test_a_failed_submission_has_the_words_of_sbatch(slurm, job):
    slurm.fails("sbatch", "sbatch: error: Batch job submission failed: Invalid qos specification\n")
    with pytest.raises(LauncherError, match=r"Invalid qos specification.*qos=NAME"):
        SlurmLauncher().submit([job(), job("b")])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"array_parallelism": 0}, "array_parallelism=0 must be 1 or more"),
        ({"requeues": -1}, "requeues=-1 must be 0 or more"),
        ({"sbatch": "exclude=n1"}, "'exclude=n1' is not of the form --NAME=VALUE"),
        ({"sbatch": "--x='"}, "No closing quotation"),
    ],
)
def test_impossible_options_are_refused(slurm, options, words):
    with pytest.raises(UsageError, match=words):
        SlurmLauncher(**options)


@pytest.mark.parametrize("launcher", [SlurmLauncher, ProcessLauncher])
def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_queued(slurm, job, tmp_path, launcher):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"--launcher-set folder=.*file/jobs: Cannot create the folder") as caught:
        launcher(folder=str(tmp_path / "file" / "jobs")).check([job()])
    assert "--store" not in str(caught.value)
    launcher(folder=str(tmp_path / "jobs")).check([job()])


def test_a_machine_without_slurm_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", FakeSlurm(tmp_path, without=("sbatch",)).path)
    with pytest.raises(MissingError, match="Slurm's command sbatch"):
        SlurmLauncher()


def test_lines_of_sinfo_in_another_form_are_left_out():
    text = "a|b\n\nx*|infinite|n/a|2|3|(null)|(null)\ndebug|UNLIMITED|2|8+|32000+|gpu:2,gpu:a:1,mps:9|(null)\n"
    (one,) = read_nodes(text)
    assert (one.partition, one.cpus, one.gpus, one.minutes, one.features) == ("debug", 8, 3, None, ())


def test_endings_are_json(tmp_path):
    write_ending(tmp_path, "7", Ending(code=-11, host="n1"))
    assert json.loads((tmp_path / "7_end.json").read_text())["code"] == -11
    assert "SIGSEGV on n1" in Ending(code=-11, host="n1").state().detail
    assert "memory_gb" in Ending(code=-9).state().detail
