"""Pictures are complete, named after their runs, and not drawn again without a change."""

from __future__ import annotations

import numpy as np
import pytest
import reportdata
from msgspec.structs import replace

from zoo.report import plots
from zoo.report.plots import draw_all, draw_roc
from zoo.results.store import PREDICTIONS

good, bad, stored = reportdata.good, reportdata.bad, reportdata.stored


@pytest.fixture
def results(tmp_path):
    return [stored(tmp_path / "store", good(0.9 - 0.1 * seed, seed=seed)) for seed in range(2)]


def contents(paths):
    return {path: path.stat().st_mtime_ns for path in paths}


@pytest.mark.slow
def test_pictures_are_complete_pngs(results, tmp_path):
    from matplotlib import pyplot

    paths, left_out = draw_all([*results, bad("no such luck")], tmp_path / "figures")
    assert left_out == []
    assert [path.name.split("-")[0] for path in paths] == ["roc", "images"]
    assert sorted((tmp_path / "figures").iterdir()) == sorted(paths)
    for path in paths:
        picture = pyplot.imread(path)
        assert picture.shape[0] > 300
        assert picture.shape[1] > 300
        assert picture[..., :3].std() > 0.02
    assert pyplot.get_fignums() == []


def test_lines_of_one_network_have_one_colour_and_all_their_seeds(results, tmp_path, monkeypatch):
    from matplotlib import pyplot

    drawn = []
    monkeypatch.setattr(plots, "_save", lambda figure, path, close: drawn.append(figure))
    others = [stored(tmp_path / "store", good(0.89, model="toyzoo/other", training=own)) for own in ({}, {"lr": 1.0})]
    draw_roc([others[0], *results[::-1], others[1]], tmp_path / "roc.png")
    lines = [line for line in drawn[0].axes[0].get_lines() if not line.get_label().startswith("_")]
    names = [line.get_label().rsplit("  ", 1)[0] for line in lines]
    assert sorted(names[:2]) == ["toyzoo/other", "toyzoo/other (lr 1.0)"]
    assert names[2:] == ["toyzoo/tiny (seed 0)", "toyzoo/tiny (seed 1)"]
    styles = [(line.get_color(), line.get_linestyle(), line.get_alpha()) for line in lines]
    assert len(set(styles)) == 4
    assert styles[2][:2] == styles[3][:2]
    assert len({style[0] for style in styles}) == 3
    pyplot.close(drawn[0])


@pytest.mark.slow
def test_pictures_are_redrawn_only_on_request(results, tmp_path, monkeypatch):
    folder = tmp_path / "figures"
    first, _ = draw_all(results, folder)
    before = contents(first)
    with monkeypatch.context() as patch:
        patch.setattr(plots, "_pyplot", lambda: pytest.fail("drawn again"))
        assert draw_all(results, folder, again=False) == (first, [])
    assert contents(first) == before
    first[1].unlink()
    assert draw_all(results, folder, again=False) == (first, [])
    assert contents(first[:1]) == contents([first[0]])
    assert first[0].stat().st_mtime_ns == before[first[0]]
    draw_all(results, folder)
    assert first[0].stat().st_mtime_ns != before[first[0]]


def test_other_runs_make_other_pictures(results, tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "draw_roc", lambda results, path, tasks: path.write_text(str(len(results))))
    monkeypatch.setattr(plots, "draw_examples", lambda run_dir, path, title: path.write_text(title))
    (both, _), (one, _) = draw_all(results, tmp_path), draw_all(results[:1], tmp_path)
    assert not set(both) & set(one)
    assert draw_all(results[::-1], tmp_path) == (both, [])
    other = stored(tmp_path / "store", good(0.7, data="toyzoo/dots"))
    assert len(draw_all([*results, other], tmp_path)[0]) == 4
    assert (both[0].read_text(), one[0].read_text()) == ("2", "1")


def test_a_run_that_was_repeated_has_another_picture(results, tmp_path):
    """A command that is interrupted after `--force` leaves pictures of the earlier predictions."""
    before, _ = draw_all(results[:1], tmp_path, again=False)
    repeated = replace(results[0], files={**results[0].files, PREDICTIONS: "0" * 64})
    after, _ = draw_all([repeated], tmp_path, again=False)
    assert after
    assert {path.name for path in before}.isdisjoint(path.name for path in after)


def test_without_successful_runs_nothing_is_drawn(tmp_path):
    assert draw_all([bad("no such luck")], tmp_path / "figures") == ([], [])
    assert not (tmp_path / "figures").exists()


def test_a_run_with_damaged_files_is_left_out_of_the_pictures_and_named(results, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "draw_roc", lambda results, path, tasks: (drawn.extend(results), path.touch()))
    monkeypatch.setattr(plots, "draw_examples", lambda result, path, title: path.touch())
    (results[0].run_dir / PREDICTIONS).unlink()
    paths, [sentence] = draw_all(results, tmp_path / "figures")
    assert [path.name.split("-")[0] for path in paths] == ["roc", "images"]
    assert drawn == results[1:]
    assert sentence.startswith(f"{results[0].run_id} is left out of the pictures: ")
    assert f"{PREDICTIONS} is gone" in sentence
    (results[1].run_dir / PREDICTIONS).unlink()
    (tmp_path / "figures" / paths[0].name).unlink()
    again, left_out = draw_all(results, tmp_path / "figures")
    assert (again, len(left_out)) == (paths[1:], 2)  # the examples are there


def test_texts_are_drawn_as_they_are(results, tmp_path):
    """A dollar sign begins no formula: this one has no end, and matplotlib would refuse the picture of a whole run."""
    from matplotlib import pyplot

    text = "$\\frac$ ${x}$ \x1b[2J"
    images = np.zeros((2, 1, 8, 8), np.float32)
    labels = np.arange(2)
    path = plots.draw_images(images, labels, [text, "b"], tmp_path / "a.png", title=text, captions=[text, text])
    names = dict(zip(results[0].classes, [text, *results[0].classes[1:]], strict=True))
    auc = {names.get(name, name): value for name, value in results[0].test.auc.items()}
    changed = replace(results[0], classes=tuple(names.values()), test=replace(results[0].test, auc=auc))
    assert [path.exists(), plots.draw_roc([changed], tmp_path / "b.png").exists()] == [True, True]
    figure, axis = pyplot.subplots()
    axis.set(xlabel=text)
    assert plots.with_plain_texts(figure) is figure
    assert axis.get_xlabel() == "$\\frac$ ${x}$ \\x1b[2J"
    pyplot.close(figure)
