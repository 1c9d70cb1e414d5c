"""Trained weights are loaded completely, with an adapted first layer and a replaced head, or not at all."""

import logging
import time
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from zoo_timm import weights
from zoo_timm.models import build

from zoo.errors import DataError, MissingError, UsageError

ARCHITECTURE = "resnet18"


def built(**arguments: Any) -> torch.nn.Module:
    good = {"in_chans": 1, "num_classes": 3, "image_size": 64, "architecture": ARCHITECTURE}
    return build(**{**good, **arguments})


@pytest.fixture(scope="module")
def rgb_state() -> dict[str, torch.Tensor]:
    """Weights as timm would give them: three channels, 1000 classes."""
    torch.manual_seed(7)
    return dict(timm.create_model(ARCHITECTURE).state_dict())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_rgb_weights_are_summed_and_the_head_replaced(
    suffix: str, rgb_state: dict[str, torch.Tensor], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"rgb{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": rgb_state}, path)
    else:
        save_file(rgb_state, path)
    with caplog.at_level(logging.INFO, logger="zoo_timm"):
        network = built(pretrained=str(path))
    loaded = {key.removeprefix("network."): value for key, value in network.state_dict().items()}
    kernel = rgb_state["conv1.weight"]
    assert torch.allclose(loaded["conv1.weight"][:, 0], kernel[:, 0] + kernel[:, 1] + kernel[:, 2])
    # Grey images in three equal channels and the same images in one must look alike to the first layer.
    grey = torch.randn(1, 1, 16, 16)
    assert torch.allclose(
        torch.conv2d(grey, loaded["conv1.weight"]),
        torch.conv2d(grey.expand(-1, 3, -1, -1), kernel),
        atol=1e-4,
    )
    for key in rgb_state.keys() - {"conv1.weight", "fc.weight", "fc.bias"}:
        assert torch.equal(loaded[key], rgb_state[key]), key
    assert loaded["fc.weight"].shape[0] == 3
    assert "head fc for 1000 classes not loaded" in caplog.text
    assert "from 3 to 1 channels" in caplog.text


def test_weights_of_an_earlier_run_keep_their_head(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(1)
    trained = built()
    # As the harness stores them: the network inside a classifier, beside normalisation, golden predictions, detector.
    state = {f"network.{key}": value for key, value in trained.state_dict().items()}
    path = tmp_path / "weights.safetensors"
    golden = {"golden.images": torch.zeros(1, 1, 64, 64), "golden.logits": torch.zeros(1, 3)}
    golden["detector.mean"] = torch.zeros(5)
    save_file({**state, **golden, "mean": torch.zeros(1, 1, 1), "std": torch.ones(1, 1, 1)}, path)
    torch.manual_seed(2)
    copy = built(pretrained=str(path))
    images = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(trained.eval()(images), copy.eval()(images))
    assert "not loaded" not in caplog.text


@pytest.mark.slow
def test_position_tables_follow_the_image_size(tmp_path: Path) -> None:
    vit: dict[str, Any] = {"architecture": "vit_tiny_patch16_224"}
    path = tmp_path / "vit.safetensors"
    save_file(built(**vit, image_size=96).network.state_dict(), path)  # type: ignore[union-attr,operator,arg-type]
    network = built(**vit, image_size=64, pretrained=str(path))
    assert network.eval()(torch.randn(1, 1, 64, 64)).shape == (1, 3)


@pytest.mark.parametrize("architecture", ["resnet18", "dla34"])
def test_a_missing_key_is_named(architecture: str, tmp_path: Path) -> None:
    # dla34 is one of the architectures that timm itself would load in part without an error.
    state = dict(timm.create_model(architecture).state_dict())
    key = next(key for key in list(state)[20:] if key.endswith("weight"))
    del state[key]
    path = tmp_path / "partial.safetensors"
    save_file(state, path)
    with pytest.raises(UsageError, match="1 missing") as caught:
        built(architecture=architecture, pretrained=str(path))
    assert key in str(caught.value)


def test_a_file_of_another_network_is_refused(rgb_state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "resnet18.safetensors"
    save_file(rgb_state, path)
    with pytest.raises(UsageError, match="does not fit timm/densenet121") as caught:
        built(architecture="densenet121", pretrained=str(path))
    assert "features.conv0" not in str(caught.value)
    assert "missing (features.norm0" in str(caught.value)
    assert "unexpected (bn1.bias" in str(caught.value)


class Harmful:
    """Stands for code that unpickling would run."""


def test_files_without_weights_are_refused(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"not a tensor in sight")
    code = tmp_path / "code.pth"
    torch.save({"model": Harmful()}, code)
    for path, error in (
        (tmp_path / "absent.pth", UsageError),
        (tmp_path / "weights.npz", UsageError),
        (damaged, DataError),
        (code, DataError),
    ):
        with pytest.raises(error, match=path.name):
            built(pretrained=str(path))


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever this machine has downloaded before, the hub's cache is empty."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path), raising=False)


@pytest.mark.usefixtures("empty_cache")
def test_offline_mode_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingError, match="HF_HUB_OFFLINE") as caught:
        built(pretrained=True)
    assert caught.value.exit_code == 3
    assert "pretrained=FILE" in str(caught.value)


@pytest.mark.usefixtures("empty_cache")
def test_an_unreachable_hub_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # Port 9 of this machine: nobody listens.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(MissingError, match="the hub cannot be reached") as caught:
        built(pretrained=True)
    assert time.monotonic() - started < weights.HUB_TIMEOUT_SECONDS + 5
    assert "pretrained=FILE" in str(caught.value)


def test_cached_hub_weights_need_no_network(
    monkeypatch: pytest.MonkeyPatch, rgb_state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    save_file(rgb_state, path)
    asked: list[tuple[str, str]] = []

    def from_cache(repository: str, name: str, **options: Any) -> str:
        asked.append((repository, name))
        assert options["local_files_only"]
        return str(path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", from_cache)
    network = built(pretrained=True)
    assert asked == [("timm/resnet18.a1_in1k", "model.safetensors")]
    assert torch.equal(network.state_dict()["network.bn1.weight"], rgb_state["bn1.weight"])


@pytest.mark.slow
def test_an_architecture_without_weights_is_refused() -> None:
    bare = next(name for name in timm.list_models("vit_*") if not weights.has_weights(name))
    with pytest.raises(UsageError, match="has no weights for"):
        built(architecture=bare, pretrained=True)
