"""Workers of a study that a launcher starts: no trial is lost or done twice, whatever becomes of their machines."""

from __future__ import annotations

import sys
from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState
from zoo_optuna import search, trials, workers
from zoo_optuna.journal import count_deaths, open_study
from zoo_optuna.trials import run_trials
from zoo_optuna.workers import WorkerWork, resolved_launch, run_on_launcher, run_worker

from zoo.cli import main
from zoo.errors import DataError, Interrupted
from zoo.host import load_plugins
from zoo.run import job_queue, queued
from zoo.run.launch import LOCAL, Launch
from zoo.run.launcher import Job, JobState
from zoo.run.submission import JOB
from zoo.specs import LauncherSpec

pytestmark = pytest.mark.slow  # searches

FILE = """
from zoo import LauncherSpec, hookimpl

@hookimpl
def zoo_launchers():
    return [LauncherSpec(id="crews/machines", target="crews:Machines", summary="a crew of machines", outlives=True)]
"""


@pytest.fixture(scope="session")
def crews(host, tmp_path_factory):
    path = tmp_path_factory.mktemp("plugin") / "crews.py"
    path.write_text(FILE)
    return load_plugins(files=[*host.files, path], environment={})


class Machines:
    """A launcher whose workers run in this process, one word of their script at each poll.

    Args:
        host: The plugins.
        scripts: Words of the first attempt of each worker, then of the second, and so on; the last one repeats.
        idle: Workers that wait for a node for ever.
    """

    def __init__(self, host, *scripts, idle=()):
        self.idle, self.host, self.scripts = idle, host, scripts
        self.jobs, self.words, self.cancelled = [], {}, []

    def submit(self, jobs):
        handles = []
        for job in jobs:
            attempt = sum(one.run_dir == job.run_dir for one in self.jobs)
            self.jobs.append(job)
            handles.append(f"{len(self.jobs) - 1}")
            script = self.scripts[min(attempt, len(self.scripts) - 1)]
            self.words[handles[-1]] = ["waiting"] if int(job.command[-1]) in self.idle else list(script)
        return handles

    def poll(self, handles):
        return [self.state(handle) for handle in handles]

    def state(self, handle):
        words = self.words[handle]
        word = words.pop(0) if len(words) > 1 else words[0]
        if word in ("waiting", "running", "lost"):
            return word
        job = self.jobs[int(handle)]
        wanted = int(job.command[job.command.index("--trials") + 1])
        number = int(job.command[-1])
        try:
            with pytest.MonkeyPatch.context() as patch:
                if word != "works":
                    patch.setattr(trials, "fit", dying(trials.fit))
                run_worker(self.host, job.run_dir.parent, number, trials=wanted, device="cpu")
        except Interrupted:
            return JobState(kind="ended", reason=word, detail="killed on n3")
        except DataError:
            return JobState(kind="ended", reason="failed", detail="exit code 1")
        return JobState(kind="ended", reason="ok")

    def cancel(self, handles):
        self.cancelled += handles


def dying(fit):
    """Return a training whose process dies after its first epoch."""

    def die(prepared, cell, run_dir, *, epoch_ended):
        def ended(entry):
            epoch_ended(entry)
            raise Interrupted

        return fit(prepared, cell, run_dir, epoch_ended=ended)

    return die


@pytest.fixture
def go(crews, monkeypatch):
    monkeypatch.setattr(queued, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(job_queue, "MOST_SECONDS", 0.01)
    load = queued.registry.load_target

    def go(engine, study, *, wanted=3, workers=2, retries=2, **options):
        def target(spec):
            return (lambda **_: engine) if isinstance(spec, LauncherSpec) else load(spec)

        monkeypatch.setattr(queued.registry, "load_target", target)
        launch = Launch(launcher="crews/machines", retries=retries)
        resolved, device = resolved_launch(crews, launch, device="cpu", workers=workers)
        return run_on_launcher(
            crews, *study, trials=wanted, workers=workers, launch=resolved, device=device, **options
        )  # fmt: skip

    return go


@pytest.fixture
def whole(start, crews):
    """The trials of one process, as `of` returns them."""
    study = start(store="whole")
    run_trials(crews, study[1], trials=3, device="cpu")
    return of(study)


def of(study):
    """Return the settings, curve and value of each trial."""
    found = open_study(study[1], study[0]).get_trials(deepcopy=False)
    return [(trial.number, trial.params, trial.intermediate_values, trial.value) for trial in found]


def test_workers_run_the_trials_of_one_process(go, start, crews, whole):
    study, engine, seen = start(), Machines(crews, ["waiting", "running", "works"]), []
    assert go(engine, study, watch=seen.append) == []
    assert of(study) == whole
    assert [len(state.trials) for state in (seen[0], seen[-1])] == [0, 3]
    assert [job.label for job in engine.jobs] == [f"worker {number} of study s" for number in range(2)]
    for number, job in enumerate(engine.jobs):
        assert job.run_dir == study[1] / f"worker-000{number}"
        assert job.command[:5] == (sys.executable, "-m", "zoo", "run-trials", str(study[1]))
        assert all(str(file) in job.env["ZOO_PLUGIN_FILES"] for file in crews.files)
        assert not (job.run_dir / JOB).exists()
    again = Machines(crews, ["works"])
    assert go(again, study) == []
    assert again.jobs == []
    # A larger number of trials goes on; no more workers are submitted than there are trials.
    assert go(again, study, wanted=4, workers=3) == []
    assert (len(again.jobs), len(of(study))) == (1, 4)


@pytest.mark.parametrize("reason", ["node", "preempted"])
def test_a_worker_whose_machine_dies_is_given_out_again_and_its_trial_goes_on(go, start, crews, whole, reason, caplog):
    study = start()
    built, fit = [], trials.fit

    def counting(prepared, cell, run_dir, **rest):
        built.append((run_dir.name, (run_dir / "checkpoint.safetensors").exists()))
        return fit(prepared, cell, run_dir, **rest)

    engine = Machines(crews, [reason], ["works"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "fit", counting)
        # Progress, so that the number of attempts does not end it.
        assert go(engine, study, workers=1, retries=1) == []
    assert of(study) == whole
    assert built == [("0000", False), ("0000", True), ("0001", False), ("0002", False)]
    assert "worker 0 of study s has not ended (killed on n3); it is submitted again" in caplog.text


def test_a_trial_that_kills_its_process_twice_fails_and_the_worker_goes_on(go, start, crews, whole):
    study, engine = start(), Machines(crews, ["failed"], ["failed"], ["works"])
    assert go(engine, study, workers=1, retries=1) == []
    first, *others = open_study(study[1], study[0]).get_trials(deepcopy=False)
    assert (first.state, first.user_attrs["deaths"]) == (TrialState.FAIL, 2)
    assert first.user_attrs["error"] == "its process died 2 times, last with killed on n3"
    assert of(study)[1:] == whole[1:]
    assert [trial.state for trial in others] == [TrialState.COMPLETE] * 2


def test_two_commands_that_wait_count_a_death_once(start, crews):
    study = start()
    engine, ended = Machines(crews, ["failed"]), JobState(kind="ended", reason="failed")
    work = WorkerWork(study=open_study(study[1], study[0]), folder=study[1], number=0, complete=lambda: False)
    other = replace(work, study=open_study(study[1], study[0]))
    job = Job(run_dir=work.run_dir, command=("--trials", "3", "0"), cwd=study[1])
    for deaths, state in ((1, TrialState.RUNNING), (2, TrialState.FAIL)):
        engine.poll(engine.submit([job]))
        assert [one.goes_on(ended) for one in (work, other)] == [True, True]
        first = open_study(study[1], study[0]).get_trials(deepcopy=False)[0]
        assert (first.user_attrs["deaths"], first.state) == (deaths, state)
        assert work.has_advanced(0.0)  # also a trial without a process


def test_a_trial_that_another_worker_has_taken_is_not_charged_with_a_death(start):
    definition, folder = start()
    study = open_study(folder, definition)

    def take(worker):
        return trials._next_trial(study, folder, trials=1, worker=worker)

    with take("n1/7"):
        pass  # its process dies, and another one is quicker than the command that started it
    with take("n2/8") as trial:
        assert count_deaths(study, "n1/7", cause="status -9") == 1
        assert count_deaths(study, "n3/9", cause="status -9") == 0  # it had not begun
        [now] = study.get_trials(deepcopy=False)
        assert (now.number, now.state, "deaths" in now.user_attrs) == (trial.number, TrialState.RUNNING, False)


def test_workers_that_cannot_work_are_returned_and_the_same_command_goes_on(go, start, crews, whole, monkeypatch):
    study = start()
    monkeypatch.setattr(workers, "check_versions", lambda *_: (_ for _ in ()).throw(DataError("another zoo")))
    failed = go(Machines(crews, ["works"]), study)
    assert [(one.worker, one.error) for one in failed] == [(0, "another zoo"), (1, "another zoo")]
    monkeypatch.undo()
    lost = go(Machines(crews, ["lost"]), study, retries=0)
    assert all("Its process ended without a result" in one.error for one in lost)
    assert go(Machines(crews, ["works"]), study) == []
    assert of(study) == whole


@pytest.mark.parametrize(("stop", "cancelled"), [(Interrupted, 0), (KeyboardInterrupt, 2)])
def test_a_second_command_attaches_and_submits_nothing_twice(go, start, crews, whole, stop, cancelled):
    study, engine = start(), Machines(crews, ["waiting", "waiting", "works"])

    def leave(state):
        raise stop

    with pytest.raises(stop):
        go(engine, study, watch=leave)
    assert len(engine.cancelled) == cancelled
    if cancelled:
        engine = Machines(crews, ["works"])
    assert go(engine, study) == []
    assert len(engine.jobs) == 2
    assert of(study) == whole


def test_workers_that_still_wait_are_cancelled_when_the_study_is_complete(go, start, crews, whole):
    study, engine = start(), Machines(crews, ["running", "works"], idle=[0, 2])
    assert go(engine, study, workers=3) == []
    assert of(study) == whole
    assert engine.cancelled == ["0", "2"]
    assert not list(study[1].glob(f"*/{JOB}"))


def test_looking_at_a_study_does_not_grow_with_its_trials(go, start, crews, monkeypatch):
    def looks(name, ended):
        monkeypatch.setattr(workers, "POLL_SECONDS", 0.0)  # each look reads
        study, calls = start(name), []
        journal = open_study(study[1], study[0])
        for _ in range(ended):
            journal.add_trial(optuna.create_trial(value=0.5))
        for module, function in ((search, "locked"), (search, "read_progress"), (workers, "read_json")):
            original = getattr(module, function)
            monkeypatch.setattr(module, function, lambda *words, f=original: calls.append(1) or f(*words))
        assert go(Machines(crews, ["running", "running", "works"]), study, wanted=ended + 1, watch=str) == []
        monkeypatch.undo()
        return len(calls)

    assert looks("none", 0) == looks("many", 50) > 0


def test_a_worker_of_this_machine_runs_in_a_process_of_its_own(host, start, whole):
    study = start()
    resolved, device = resolved_launch(host, Launch(launcher=LOCAL), device="cpu", workers=3)
    assert resolved.options["jobs"] == 3
    assert run_on_launcher(host, *study, trials=1, workers=3, launch=resolved, device=device) == []
    assert of(study) == whole[:1]
    assert [path.name for path in study[1].glob("worker-*")] == ["worker-0000"]  # there was one trial


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--launcher", "core/locl"], "Unknown launcher 'core/locl'"),
        (["--launcher", LOCAL, "--launcher-set", "jbs=2"], "core/local has no option 'jbs'"),
        (["--launcher", LOCAL, "--retries", "-1"], "--retries -1 must be"),
        (["--launcher-set", "jobs=2"], "--launcher-set is an option of a launcher, and no --launcher is given"),
    ],
)
def test_impossible_launchers_are_refused_before_a_study_is_made(words, message, tmp_path, capsys):
    asked = ["tune", "--model", "p4m", "--data", "rotmnist5k", "--study", "s", "--store", str(tmp_path / "store")]
    with pytest.raises(SystemExit) as ended:
        main([*asked, *words])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "store").exists()
