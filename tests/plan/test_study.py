"""The plan of a study's best trial: the search is recorded where its settings are."""

from __future__ import annotations

import pytest

from zoo.errors import DataError
from zoo.host import load_plugins
from zoo.plan.bench import plan_bench
from zoo.plan.request import Request
from zoo.plan.study import Best, read_best, study_folder, write_best


@pytest.fixture(scope="module")
def host():
    return load_plugins(environment={})


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, ""),
        ({"data.snr": 50, "train_images": 100}, ""),
        ({"new_noise": True}, ""),  # as the search had it
        ({"new_noise": False}, "new_noise"),
        ({"new_noise": False, "data.scaling": "minmax"}, "new_noise"),  # impossible with what the search had
        ({"train.snr": 50}, "train.phases"),
    ],
)
def test_a_search_is_recorded_with_its_settings_only(host, tmp_path, settings, names):
    found = Request(
        models=["gconv/z2"], data=["deeplense/modelB"], budget="smoke", settings={"new_noise": True, "epochs": 2}
    )
    folder = study_folder(tmp_path, "s")
    folder.mkdir(parents=True)
    write_best(folder, Best(study="s", trial=0, val_auc=0.7, trials=3, request=found))
    stated = Request(models=[], data=[], settings=settings, baselines=False, store=tmp_path, device="cpu")
    notes: list[str] = []
    plan = plan_bench(host, stated, study="s", given=["settings", "baselines", "store", "device"], note=notes.append)
    assert [cell.search is None for cell in plan.cells] == [bool(names)]
    told = [note for note in notes if "the search of s is not recorded" in note]
    assert len(told) == bool(names)
    assert all(f"since {names} differs" in note for note in told)


def test_the_file_of_another_study_is_refused(tmp_path):
    found = Request(models=["gconv/z2"], data=["deeplense/modelB"], budget="smoke")
    folder = study_folder(tmp_path, "first")
    folder.mkdir(parents=True)
    write_best(folder, Best(study="s", trial=0, val_auc=0.7, trials=3, request=found))
    with pytest.raises(DataError, match=r"best\.json belongs to another study, 's'"):
        read_best(tmp_path, "first")
