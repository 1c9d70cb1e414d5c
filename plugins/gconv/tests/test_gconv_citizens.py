"""Every network works with the tools of torch: files, processes, compilers, and weights of other networks."""

import copy
import multiprocessing
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file
from zoo_gconv.plugin import zoo_models

from zoo.errors import UsageError
from zoo.models.network import build_network

pytestmark = pytest.mark.slow  # exports

# Narrow shapes of every network: the wide ones are the same code.
NARROW = {
    "p4": {},
    "p4m": {},
    "z2": {},
    "z2_p4_macs": {"widths": [3] * 6},
    "z2_p4m_macs": {"widths": [3] * 6},
    "p4_resnet18": {"widths": [2, 3, 4, 5]},
    "p4m_resnet18": {"widths": [2, 3, 4, 5]},
    "p4m_convnext": {"widths": [2, 3], "blocks": [1, 1]},
    "octic": {"widths": [2, 3], "blocks": [1, 1]},
    "octic_small": {"widths": [2, 3], "blocks": [1, 1]},
    "p4cnn": {"width": 3},
    "p4mcnn": {"width": 3},
    "p4cnn_pooled": {"width": 3},
    "z2cnn": {"width": 3},
}
SPECS = {spec.name: spec for spec in zoo_models() if spec.tasks == ("classify",)}
names = pytest.mark.parametrize("name", NARROW)


def build(name, *, image_size=33, channels=1, **hparams):
    torch.manual_seed(0)
    hparams = {**NARROW[name], **hparams}
    return build_network(SPECS[name], in_chans=channels, num_classes=3, image_size=image_size, hparams=hparams)


def images(size=33):
    return torch.randn(2, 1, size, size, generator=torch.Generator().manual_seed(1))


def test_every_network_is_registered():
    assert {name.removesuffix("_wide") for name in SPECS} == set(NARROW)


@names
def test_state_dict_is_the_same_in_both_modes_and_survives_safetensors(name, tmp_path):
    network = build(name).train()
    network(images())  # running statistics leave their start
    keys = list(network.state_dict())
    with torch.no_grad():
        expected = network.eval()(images())
    assert list(network.state_dict()) == keys
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    other = build(name)
    torch.nn.init.zeros_(next(other.parameters()))
    other.load_state_dict(load_file(tmp_path / "w.safetensors"))
    with torch.no_grad():
        assert torch.equal(other.eval()(images()), expected)


def test_networks_reach_a_spawned_process():
    """One process for all: starting it costs more than the networks."""
    networks = torch.nn.ModuleDict({name: build(name).eval() for name in NARROW})
    with torch.no_grad():
        expected = [network(images()) for network in networks.values()]
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=all_logits, args=(networks, there))
    process.start()
    received = here.recv() if here.poll(120) else []
    process.join(30)
    for theirs, ours in zip(received, expected, strict=True):
        torch.testing.assert_close(torch.tensor(theirs), ours)


def all_logits(networks, channel):
    torch.set_num_threads(1)
    with torch.no_grad():
        channel.send([network(images()).tolist() for network in networks.values()])


@names
def test_autocast_trains_and_agrees_roughly(name):
    network = build(name, dropout=0.0)
    with torch.no_grad():
        expected = copy.deepcopy(network).train()(images())
    with torch.autocast("cpu", torch.bfloat16):
        logits = network.train()(images())
    logits.float().square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())
    assert (logits.float() - expected).abs().max() <= 0.1 * expected.abs().max() + 0.05


# Between them, every kind of layer.
@pytest.mark.parametrize("name", ["p4", "p4_resnet18", "p4m_convnext", "octic", "p4mcnn", "p4cnn_pooled"])
def test_exported_program_gives_the_eager_logits(name):
    network = build(name).eval()
    with torch.no_grad():
        program = torch.export.export(network, (images(),), dynamic_shapes={"images": {0: torch.export.Dim("images")}})
        more = torch.cat([images(), images() + 1, images()[:1]])
        torch.testing.assert_close(program.module()(more), network(more), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["p4m", "octic"])
def test_dynamo_takes_the_whole_network(name):
    """One graph without a break, forward and backward; the compiler behind it is torch's own matter and slow."""
    network = build(name, **({"widths": [2], "blocks": [1]} if name == "octic" else {})).train()
    twin = copy.deepcopy(network)
    compiled = torch.compile(twin, fullgraph=True, backend="aot_eager")
    for module in (network, compiled):
        module(images()).square().sum().backward()
    torch.testing.assert_close(
        [parameter.grad for parameter in twin.parameters()],
        [parameter.grad for parameter in network.parameters()],
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.parametrize("name", ["p4_resnet18", "octic"])  # between them, every kind of layer
def test_onnx_gives_the_eager_logits(name, tmp_path):
    size = 32  # even, where the strides of each element differ
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    network = build(name).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (images(size),), tmp_path / "n.onnx", dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "n.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: images(size).numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(logits), network(images(size)), rtol=1e-3, atol=1e-4)


MESSAGES = {
    ("p4", "p4m"): "Weights of p4m, version 1 cannot be loaded into a network of p4, version 1",
    ("p4m_resnet18", "p4_resnet18"): "Weights of p4, version 1 .* into a network of p4m",
    # The same names and shapes.
    ("z2cnn", "p4cnn_pooled"): "Weights of p4, version 1 .* into a network of z2",
    ("octic", "p4m_convnext"): r"do not fit this GroupConvNeXt of p4m.* missing \(.*scalars.* unexpected",
    ("p4m_convnext", "octic"): "do not fit this GroupConvNeXt of p4m",
}


def assert_refused_whole(network, state, message):
    before = copy.deepcopy(network.state_dict())
    for strict in (True, False):
        with pytest.raises(UsageError, match=message):
            network.load_state_dict(state, strict=strict)
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize(("mine", "theirs"), MESSAGES)
def test_weights_of_another_network_are_refused_whole(mine, theirs):
    assert_refused_whole(build(mine), build(theirs).state_dict(), MESSAGES[mine, theirs])


def test_weights_of_another_version_or_width_are_refused_whole():
    state = build("p4m").state_dict()
    assert_refused_whole(
        build("p4m"), {**state, "identity": state["identity"] + torch.tensor([0, 1])}, "p4m, version 2"
    )
    wider = build("p4m", widths=[7, 6, 8, 10, 10, 14])
    assert_refused_whole(wider, state, r"trunk.0.weight \(6, 1, 5, 5\) for \(7, 1, 5, 5\)")
    assert_refused_whole(build("p4m"), {"trunk.0.weight": state["trunk.0.weight"]}, "missing")


def test_refusal_reaches_through_wrappers():
    """The harness holds a network inside a module with the constants that normalise its images."""
    wrapped, foreign = torch.nn.Sequential(build("p4")), torch.nn.Sequential(build("p4m"))
    with pytest.raises(UsageError, match="Weights of p4m"):
        wrapped.load_state_dict(foreign.state_dict())
    wrapped.load_state_dict(torch.nn.Sequential(build("p4")).state_dict())
