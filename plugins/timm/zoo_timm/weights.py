"""Load trained weights into a timm network, completely or not at all.

Only two things may differ between the weights and the network: the number of input channels (timm sums the
kernels of the first convolution for one channel) and the number of classes (the head is then initialised at
random, with a log message). timm resamples the position embeddings of transformers to the network's image size.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import DataError, MissingError, UsageError
from zoo.models.weights_file import DETECTOR, GOLDEN
from zoo.paths import regular_file, user_path
from zoo_timm.architectures import has_weights, import_timm, weight_tags

logger = logging.getLogger(__name__)

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
HUB_TIMEOUT_SECONDS = 5.0
# The weights file of a run has prefixes of wrappers, and also contains the constants that normalise images.
_WRAPPERS = ("module.", "network.")
_NORMALISATION = frozenset({"mean", "std"})


def load_network(
    architecture: str,
    source: bool | str,
    *,
    create: Callable[..., nn.Module],
    blueprint: nn.Module,
    in_chans: int,
    num_classes: int,
) -> nn.Module:
    """Return a network with trained weights.

    Args:
        architecture: Name of the architecture in timm.
        source: True for the weights that timm provides, or the path of a file.
        create: Function that builds the network from `num_classes` and further arguments of `timm.create_model`.
        blueprint: The requested network, on the meta device.
        in_chans: Number of input channels of the network.
        num_classes: Number of classes K.

    Raises:
        UsageError: The file or weights do not exist or do not fit; the message lists the keys.
        MissingError: The hub cannot be reached.
        DataError: The file is damaged.
    """
    path = fetch_from_hub(architecture) if source is True else user_path(str(source))
    state = read_state(path)
    heads = layer_names(blueprint, "classifier")
    classes_in_file = next((len(state[f"{h}.weight"]) for h in heads if f"{h}.weight" in state), 0)
    channels_in_file = _channels(state, blueprint, in_chans=in_chans, path=path)
    _, *height_and_width = timm_config(blueprint)["input_size"]
    # timm does not load strictly if the numbers of classes differ. So the network is built for the classes of the file,
    # loaded strictly, and its head is replaced afterwards.
    arguments: dict[str, Any] = {
        "num_classes": classes_in_file,
        "pretrained": True,
        "pretrained_cfg_overlay": {
            "state_dict": state,
            "num_classes": classes_in_file,
            "label_offset": 0,
            "input_size": (channels_in_file, *height_and_width),
            "custom_load": False,
        },
    }
    expected = {key: tuple(value.shape) for key, value in blueprint.state_dict().items()}
    adapted = {f"{name}.weight" for name in layer_names(blueprint, "first_conv")}
    headless = {key for head in heads for key in (f"{head}.weight", f"{head}.bias")}
    try:
        try:
            network = create(**arguments, pretrained_strict=True)
        except TypeError as error:
            # Some architectures set `strict` themselves, so the keys are compared here.
            if "pretrained_strict" not in str(error):
                raise
            if set(state) - headless != set(expected) - headless:
                raise KeyError("the keys differ") from None
            network = create(**arguments)
    except Exception as error:
        raise UsageError(
            f"{path} does not fit timm/{architecture}: "
            + _differences(state, expected, ignore=adapted | headless, error=error),
            hint="Use a weights file of this architecture, or set pretrained=false.",
        ) from error
    # timm stores its arguments in the network; without this, the weights would stay in memory twice.
    timm_config(network).pop("state_dict", None)

    if channels_in_file != in_chans:
        logger.info("%s: first layer adapted from %d to %d channels", path.name, channels_in_file, in_chans)
    if classes_in_file != num_classes:
        network.reset_classifier(num_classes)  # type: ignore[operator]
        logger.warning(
            "%s: head %s for %d classes not loaded; the head for %d classes is initialised at random",
            path.name,
            " and ".join(heads),
            classes_in_file,
            num_classes,
        )
    return network


def timm_config(network: nn.Module) -> dict[str, Any]:
    """Return the configuration that timm attaches to each of its networks."""
    config: Any = network.pretrained_cfg
    return config


def layer_names(network: nn.Module, role: str) -> tuple[str, ...]:
    """Return the names of the layers that timm calls "first_conv" or "classifier" of a network."""
    named = timm_config(network).get(role)
    return (named,) if isinstance(named, str) else tuple(named or ())


def read_state(path: Path, *, setting: str = "pretrained") -> dict[str, Tensor]:
    """Read a weights file and remove wrapper prefixes from its keys.

    Args:
        path: Path of a .safetensors file, or of a file by torch.save with a state dict, possibly under "state_dict" or
            "model".
        setting: Hyper-parameter that holds the path, for errors.

    Raises:
        UsageError: The file does not exist or has another suffix.
        DataError: The file is damaged, contains other values than weights, or contains no weights.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{setting}={str(path)!r}: the file must end in {', '.join(SUFFIXES)}.")
    if not os.path.isfile(path):  # Path.is_file raises where a name is too long
        raise UsageError(f"{setting}={str(path)!r}: file not found.")
    content: Any
    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            content = load_file(regular_file(path))
        else:
            # Without weights_only, loading a file could execute arbitrary code.
            content = torch.load(regular_file(path), map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).strip().splitlines() or [""]
        raise DataError(
            f"{path} cannot be read as weights: {type(error).__name__}: {reason[0]}",
            hint="Save plain weights: torch.save(model.state_dict(), FILE)",
        ) from error
    for name in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping) or not content:
        raise DataError(f"{path} contains no weights.")
    if not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()):
        raise DataError(f"{path} contains other values than named weights.")
    return _unwrapped(dict(content))


def fetch_from_hub(architecture: str, *, setting: str = "pretrained", random: str = "false") -> Path:
    """Return the file of timm's weights, from the hub's cache on disk or else from the hub.

    Args:
        architecture: Name of the architecture in timm.
        setting: Hyper-parameter that asked for the weights, for errors.
        random: Value of this hyper-parameter for random weights.

    Raises:
        UsageError: Timm has no weights for the architecture.
        MissingError: The hub cannot be reached or does not provide the file.
    """
    if not has_weights(architecture):
        tags = weight_tags(architecture)
        raise UsageError(
            f"timm has no weights for '{architecture}'." + (f" Available tags: {', '.join(tags)}." if tags else ""),
            hint=f"Set {setting}={random} to train from random weights, or {setting}=FILE to load a file.",
        )
    config = import_timm().models.get_pretrained_cfg(architecture)
    if not config.hf_hub_id:
        raise MissingError(
            f"The weights of timm/{architecture} are not on the hub but at {config.url}.",
            hint=f"Download that file and set {setting}=FILE.",
        )
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repository, _, revision = config.hf_hub_id.partition("@")
    names = [config.hf_hub_filename] if config.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]
    for name in names:
        try:
            return Path(
                huggingface_hub.hf_hub_download(repository, name, revision=revision or None, local_files_only=True)
            )
        except LocalEntryNotFoundError:
            continue

    hint = f"Use a local file: --set {setting}=FILE, or random weights: --set {setting}={random}"
    _reach_hub(architecture, hint=hint)
    for name in names:
        try:
            return Path(huggingface_hub.hf_hub_download(repository, name, revision=revision or None))
        except Exception as error:
            # The file may have the other name; a lost connection also raises a kind of EntryNotFoundError.
            if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
                continue
            raise MissingError(
                f"Cannot download the weights of timm/{architecture}: {type(error).__name__}: {error}",
                hint=hint,
            ) from error
    raise MissingError(f"{repository} on the hub has no {' and no '.join(names)}.", hint=hint)


def _reach_hub(architecture: str, *, hint: str) -> None:
    """Test the connection once: the hub's client would retry for most of a minute.

    Raises:
        MissingError: The hub does not respond, or HF_HUB_OFFLINE is set.
    """
    from huggingface_hub import constants, get_session

    reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else ""
    if not reason:
        try:
            get_session().head(constants.ENDPOINT, timeout=HUB_TIMEOUT_SECONDS)
            return
        except Exception as error:  # the client is httpx in newer releases and requests in older ones
            reason = f"{type(error).__name__}: {error}"
    raise MissingError(
        f"The pretrained weights of timm/{architecture} are not in the local hub cache, and the hub cannot be reached "
        f"at {constants.ENDPOINT} ({reason}).",
        hint=hint,
    )


def _unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove the wrappers' prefixes, and all entries outside the network: constants, golden predictions, detector."""
    state = {key: value for key, value in state.items() if not key.startswith((GOLDEN, DETECTOR))}
    for prefix in _WRAPPERS * 2:
        network = {key: value for key, value in state.items() if key not in _NORMALISATION}
        if network and all(key.startswith(prefix) for key in network):
            state = {key.removeprefix(prefix): value for key, value in network.items()}
    return state


def _channels(state: Mapping[str, Tensor], blueprint: nn.Module, *, in_chans: int, path: Path) -> int:
    """Return the input channels that the weights were trained for.

    Raises:
        UsageError: The weights cannot be adapted, because the first layer is not a convolution.
    """
    for name in layer_names(blueprint, "first_conv"):
        key = f"{name}.weight"
        layer = blueprint.get_submodule(name)
        if key not in state:
            continue
        weight = state[key]
        if isinstance(layer, nn.Conv2d) and weight.ndim == 4:
            # Stems that fold pixels into channels have several input channels for each image channel.
            return max(1, weight.shape[1] * layer.groups * in_chans // layer.in_channels)
        if weight.shape != layer.weight.shape:
            raise UsageError(
                f"{path}: the first layer {name} is not a convolution; it cannot be adapted to {in_chans} channels."
            )
        return in_chans
    return int(timm_config(blueprint)["input_size"][0])


def _differences(
    state: Mapping[str, Tensor],
    expected: Mapping[str, tuple[int, ...]],
    *,
    ignore: Iterable[str],
    error: Exception,
) -> str:
    """Return one line with the missing keys, the unexpected keys and the keys of another shape."""
    ignored = set(ignore)
    lists = {
        "missing": [key for key in expected if key not in state and key not in ignored],
        "unexpected": [key for key in sorted(state) if key not in expected and key not in ignored],
        "of another shape": [
            f"{key} {tuple(state[key].shape)} for {shape}"
            for key, shape in expected.items()
            if key in state and key not in ignored and tuple(state[key].shape) != shape
        ],
    }
    parts = [
        f"{len(keys)} {what} ({', '.join(keys[:4])}{', ...' if len(keys) > 4 else ''})"
        for what, keys in lists.items()
        if keys
    ]
    return "; ".join(parts) if parts else f"{type(error).__name__}: {str(error)[:300]}"
