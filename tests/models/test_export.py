"""Exported files answer as the network does, for any number of images; others do not appear."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner

import zoo
from zoo.cli import cli
from zoo.errors import DataError, UsageError, ZooError
from zoo.models import export

pytestmark = pytest.mark.slow  # exports


@pytest.fixture
def model(run_dir, host):
    return zoo.load(run_dir, host=host)


@pytest.fixture
def images():
    return torch.randn(7, 1, 12, 12, generator=torch.Generator().manual_seed(1))


def test_torch_export(model, images, tmp_path):
    path = tmp_path / "model.pt2"
    assert export.export(model, path, kind="torch-export") < export.TOLERANCE
    facts = {"zoo.json": ""}
    program = torch.export.load(path, extra_files=facts).module()
    assert torch.allclose(program(images), model(images), atol=1e-5)
    assert json.loads(json.loads(facts["zoo.json"])["classes"]) == ["a", "b", "c"]


def test_onnx(model, images, tmp_path):
    path = tmp_path / "model.onnx"
    assert export.export(model, path, kind="onnx") < export.TOLERANCE
    assert [each.name for each in tmp_path.glob("model*")] == ["model.onnx"]
    [logits] = onnxruntime.InferenceSession(path).run(["logits"], {"images": images.numpy()})
    assert np.allclose(logits, model(images).detach().numpy(), atol=1e-5)
    facts = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert facts["run_id"] == model.about.run_id


def test_nothing_appears_that_answers_otherwise(model, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_write_program", lambda trained, path: path.write_bytes(b"program"))
    monkeypatch.setattr(export, "_read_program", lambda path: lambda images: model(images) * 1.01)
    with pytest.raises(export.ExportError, match="gives other logits"):
        export.export(model, tmp_path / "model.pt2", kind="torch-export")
    monkeypatch.setattr(export, "_read_program", lambda path: lambda images: model(images) * torch.nan)
    with pytest.raises(export.ExportError, match="gives other logits"):
        export.export(model, tmp_path / "model.pt2", kind="torch-export")
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_a_folder_is_no_file_to_export_to(run_dir, host, tmp_path):
    for out in (".", str(tmp_path)):
        done = CliRunner().invoke(cli, ["export", str(run_dir), "--out", out], obj=host)
        assert isinstance(done.exception, DataError)
        assert f"Cannot write {out}: it is a folder." in str(done.exception)


def test_a_network_that_cannot_be_traced_is_named(model, tmp_path):
    class Undecided(torch.nn.Module):
        def forward(self, images):
            return images.mean((2, 3)) if images.sum() > 0 else images.amax((2, 3))

    model.network = Undecided()
    with pytest.raises(export.ExportError, match="toyzoo/tiny cannot be exported as torch-export"):
        export.export(model, tmp_path / "model.pt2", kind="torch-export")


def test_what_is_missing_is_named(model, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ZooError, match="onnx, onnxscript, onnxruntime, which is not installed"):
        export.export(model, tmp_path / "model.onnx", kind="onnx")
    with pytest.raises(UsageError, match="Did you mean 'onnx'"):
        export.export(model, tmp_path / "model.onnx", kind="onx")
