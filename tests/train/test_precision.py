"""Precision of a training: chosen for each network and processor; whatever it is, scores are computed in float32."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from smallrun import SMALL, TOY

from zoo import devices
from zoo.devices import in_float32, note_on_precision, resolve_precision
from zoo.errors import TrainingError
from zoo.host import load_plugins
from zoo.models.trial import try_classifier, try_network
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.results import store
from zoo.run.cell import run_cell
from zoo.run.where import Where

NETS = """
import torch
from zoo.hookspecs import hookimpl
from zoo.specs import ModelSpec

@hookimpl
def zoo_models():
    return [
        ModelSpec(id="halfnets/willing", target="halfnets:build"),
        ModelSpec(id="halfnets/declines", target="halfnets:build", bf16_devices=("cuda",)),
        ModelSpec(id="halfnets/nowhere", target="halfnets:build", bf16_devices=()),
        ModelSpec(id="halfnets/alone", target="halfnets:build", fits_itself=True),
    ]

class Net(torch.nn.Module):
    seen = []

    def __init__(self, in_chans, num_classes, image_size):
        super().__init__()
        self.layer = torch.nn.Linear(in_chans * image_size**2, num_classes)

    def forward(self, images):
        logits = self.layer(images.flatten(1))
        self.seen.append((self.training, logits.dtype, torch.get_float32_matmul_precision()))
        return logits

def build(**sizes):
    return Net(**sizes)
"""


@pytest.fixture(scope="session")
def host(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugin") / "halfnets.py"
    path.write_text(NETS)
    return load_plugins(files=[TOY, path], environment={})


def precisions(host, *, device="cpu", precision="auto"):
    names = ["willing", "declines", "nowhere", "alone"]
    cells = make_plan(
        host,
        Request(
            models=[f"halfnets/{name}" for name in names],
            data=["stripes"],
            budget="smoke",
            device=device,
            precision=precision,
        ),
    )
    return [cell.precision for cell in cells]


def test_each_network_has_its_precision_on_each_processor(host, monkeypatch):
    monkeypatch.setattr(devices, "has_fast_bf16", lambda: False)
    assert precisions(host) == ["fp32"] * 4
    # The last one fits itself: its run id is that of its images, which are stored here.
    assert precisions(host, device="cuda") == ["bf16", "bf16", "fp32", "fp32"]
    monkeypatch.setattr(devices, "has_fast_bf16", lambda: True)
    assert precisions(host) == ["bf16", "fp32", "fp32", "fp32"]
    assert precisions(host, precision="fp32") == ["fp32"] * 4
    assert precisions(host, precision="bf16") == ["bf16"] * 4
    assert resolve_precision("auto", "mps") == "fp32"


def test_a_plan_states_where_tf32_changes_nothing(host):
    for device, words, precision in (("cpu", ["on the device cpu, it is fp32"], "fp32"), ("cuda", [], "tf32")):
        notes = []
        request = Request(
            models=["halfnets/willing"], data=["stripes"], budget="smoke", device=device, precision="tf32"
        )
        assert make_plan(host, request, note=notes.append)[0].precision == precision
        assert [note.rpartition(": ")[2] for note in notes] == words


def test_a_plan_states_the_processors_that_it_is_for(monkeypatch):
    monkeypatch.setattr(devices, "_surely_no_gpu", lambda: True)
    monkeypatch.setattr(devices, "has_fast_bf16", lambda: True)
    assert note_on_precision("cuda", ["bf16"]) == note_on_precision("cpu", ["fp32"]) == ""
    assert "for processors with avx512_bf16 or amx" in note_on_precision("auto", ["fp32", "bf16"])
    monkeypatch.setattr(devices, "has_fast_bf16", lambda: False)
    assert "the plan is in float32" in note_on_precision("cpu", ["fp32"])


def test_a_plan_of_networks_that_fit_themselves_states_that_they_have_no_precision(host):
    for precision, words in (("bf16", "do not train with a precision: bf16 has no use"), ("auto", "")):
        request = Request(
            models=["halfnets/alone"], data=["stripes"], budget="smoke", device="cpu", precision=precision
        )
        notes = Where(device="cpu").notes(make_plan(host, request))
        assert len(notes) == bool(words)
        assert all(note.endswith(words) for note in notes)
    assert Where(device="cpu").notes([]) == []


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_only_the_steps_of_a_training_have_its_precision(host, tmp_path, monkeypatch, precision):
    """Validation, test, golden predictions and equivariance are in float32 with all digits."""
    import sys

    monkeypatch.setattr("zoo.run.cell.inference_rate", lambda *_: 1.0)  # measures for a second
    request = Request(
        models=["halfnets/willing"],
        data=["stripes"],
        budget="smoke",
        device="cpu",
        settings={**SMALL, "epochs": 1},
    )
    cell = replace(make_plan(host, request)[0], precision=precision)  # a plan for the CPU has no tf32
    fused = []
    adam = torch.optim.AdamW

    def remember(*arguments, **options):
        fused.append(options.get("fused"))
        return adam(*arguments, **options)

    monkeypatch.setattr("torch.optim.AdamW", remember)
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    net = sys.modules["halfnets"].Net

    def tried(*arguments, **options):
        found = try_classifier(*arguments, **options)
        net.seen.clear()
        return found

    monkeypatch.setattr("zoo.train.fit.try_classifier", tried)
    try:
        result = run_cell(host, cell, store.prepare_run(tmp_path, cell), device="cpu")
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
    assert result.status == "ok", result.error
    assert fused == [True if precision == "bf16" else None]  # bits of float32 stay
    evaluated = {seen[1:] for seen in net.seen if not seen[0]}
    trained = {seen[1:] for seen in net.seen if seen[0]}
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    assert evaluated == {(torch.float32, "highest")}
    assert trained == {(kind, "high" if precision == "tf32" else "highest")}


def test_float32_with_all_digits_ends_with_its_block():
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
        with in_float32():
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cudnn.allow_tf32
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("high", True)
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


class NoHalves(torch.nn.Module):
    """A network that adds the output of a layer, bf16 under autocast, to a tensor of float32."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(16, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        found = self.layer(images.flatten(1))
        return torch.zeros(found.shape).index_add(0, torch.arange(len(found)), found)


def test_a_network_without_bf16_is_refused_before_it_is_trained():
    def attempt(precision):
        try_network(NoHalves(), torch.randn(2, 1, 4, 4), classes=3, build=NoHalves, name="it", precision=precision)

    attempt("fp32")
    with pytest.raises(TrainingError, match=r"it fails on images .* in training in bf16") as raised:
        attempt("bf16")
    assert "--precision fp32" in str(raised.value)


def test_the_networks_that_bf16_slows_down_decline_it():
    host = load_plugins(environment={})
    from zoo import registry
    from zoo.specs import ModelSpec

    declining = {spec.id for spec in registry.listed(host, ModelSpec) if "cpu" not in spec.bf16_devices}
    assert {"gconv/octic", "gconv/octic_small", "gconv/p4m_convnext", "timm/convnext_atto"} <= declining
    assert not declining & {"gconv/p4m", "gconv/p4m_resnet18", "timm/resnet18"}
