"""What people of PyTorch write first: it works, or says in one sentence how it is done here."""

from __future__ import annotations

import copy
import json
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from draw import normal

import minigan as mg
from minigan import Generator, Tensor, nn
from minigan.tensor import GraphError


def rng() -> Generator:
    return Generator(0, "familiar")


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 3, rng=rng()), nn.ReLU(), nn.Linear(3, 1, rng=rng()))


X = Tensor(np.ones((2, 4), np.float32))


# --- Layers ----------------------------------------------------------------------------------


def options(layer: Any) -> tuple[Any, ...]:
    return (*layer.options.values(), layer.bias is not None)


def test_arguments_by_position_have_the_order_of_pytorch() -> None:
    conv = nn.Conv2d(4, 6, 3, 2, 1, 2, 2, False, rng=rng())
    assert options(conv) == (2, 1, 2, 2, False)
    up = nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, 2, False, 2, rng=rng())
    assert options(up) == (2, 1, 1, 2, 2, False)
    assert nn.Linear(4, 3, False, rng=rng()).bias is None
    named = nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2, bias=False, rng=rng())
    np.testing.assert_array_equal(conv.weight.data, named.weight.data)
    assert (conv.in_channels, conv.out_channels, up.in_channels, up.out_channels) == (4, 6, 4, 6)


def test_arguments_by_pytorch_s_names() -> None:
    assert nn.BatchNorm2d(num_features=3).beta.shape == (3,)
    assert nn.InstanceNorm2d(num_features=3).beta.shape == (3,)
    assert nn.LayerNorm(normalized_shape=(2, 3)).beta.shape == (2, 3)
    assert nn.Embedding(num_embeddings=5, embedding_dim=2, rng=rng()).weight.shape == (5, 2)
    assert nn.LeakyReLU(negative_slope=0.2, inplace=False).slope == 0.2
    assert nn.ReLU(False).slope == 0
    norm = nn.BatchNorm2d(3, 0.8, 0.2)
    assert (norm.eps, norm.momentum) == (0.8, 0.2)


@pytest.mark.parametrize("kernel", [1, 2, 3, (4, 5), (2, 7)])
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_padding_keeps_height_and_width(kernel: Any, dilation: int) -> None:
    layer = nn.Conv2d(2, 3, kernel, padding="same", dilation=dilation, rng=rng())
    x = normal(2, 2, 7, 6, dtype=np.float32)
    assert layer(x).shape == (2, 3, 7, 6)
    both = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    total = [dilation * (k - 1) for k in both]
    width = ((0, 0), (0, 0), *((n // 2, n - n // 2) for n in total))
    bare = mg.conv2d(np.pad(x, width), layer.weight, layer.bias, dilation=dilation)
    np.testing.assert_allclose(layer(x).data, bare.data, rtol=1e-5, atol=1e-6)
    assert "padding" in repr(layer) or both == (1, 1)


def test_valid_padding_is_none() -> None:
    assert nn.Conv2d(1, 1, 3, 2, "valid", rng=rng())(normal(1, 1, 5, 5)).shape == (1, 1, 2, 2)


MISFITS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "channels": (
        lambda: nn.Conv2d(3, 8, 3, rng=rng()), (2, 1, 8, 8),
        r"Conv2d takes images of 3 channels, \(N, 3, H, W\), but x has shape \(2, 1, 8, 8\)$",
    ),
    "one image": (
        lambda: nn.Conv2d(3, 8, 3, rng=rng()), (3, 8, 8),
        r"but x has shape \(3, 8, 8\); one image is x\[None\]$",
    ),
    "groups": (lambda: nn.Conv2d(4, 8, 3, groups=2, rng=rng()), (2, 2, 8, 8), r"\(N, 4, H, W\)"),
    "same": (lambda: nn.Conv2d(3, 8, 2, padding="same", rng=rng()), (3, 8), r"\(N, 3, H, W\)"),
    "transposed": (
        lambda: nn.ConvTranspose2d(3, 8, 4, rng=rng()), (2, 8, 4, 4),
        r"ConvTranspose2d takes images of 3 channels, \(N, 3, H, W\), but x has shape \(2, 8, 4",
    ),
    "features": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(10, 1, rng=rng())), (2, 3, 4),
        r"^Linear takes 10 features, but x has 12 in its last axis, of shape \(2, 12\)$",
    ),
    "features of vectors": (
        lambda: nn.Linear(10, 1, rng=rng()), (4,), r"has 4 in its last axis, of shape \(4,\)$"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISFITS)
def test_a_shape_that_does_not_fit_is_said_by_the_layer(name: str) -> None:
    make, shape, words = MISFITS[name]
    with pytest.raises(GraphError, match=words):
        make()(np.ones(shape, np.float32))


# --- Sequential ------------------------------------------------------------------------------


def test_a_sequence_of_a_list_and_of_names() -> None:
    layers = list(net())
    listed = nn.Sequential(layers)
    assert list(listed) == layers
    assert list(listed.parameters()) == list(net().parameters())
    named = nn.Sequential(OrderedDict(zip(["fc", "act", "out"], layers, strict=True)))
    assert list(named) == layers
    assert list(named.parameters()) == [
        "layers.fc.weight", "layers.fc.bias", "layers.out.weight", "layers.out.bias",
    ]  # fmt: skip
    assert (len(named), named[0], named[-1], named["act"]) == (3, *layers[::2], layers[1])
    for sequence in (listed, named):
        np.testing.assert_array_equal(sequence(X).data, net()(X).data)
        part = sequence.eval()[1:]
        assert (list(part), part.training) == (layers[1:], False)
    assert list(named[:1].parameters()) == ["layers.fc.weight", "layers.fc.bias"]
    assert "layers.act: ReLU()" in repr(named)
    assert "layers.f: relu" in repr(nn.Sequential({"f": mg.relu}))
    assert list(copy.deepcopy(named).state()) == list(pickle.loads(pickle.dumps(named)).state())


def test_a_sequence_grows_and_changes() -> None:
    a, b, c, d = nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.Flatten()
    sequence = nn.Sequential(a).append(b).extend([d]).insert(1, c)
    assert list(sequence) == [a, c, b, d]
    sequence[0] = d
    del sequence[-1]
    assert list(sequence) == [d, c, b]
    named = nn.Sequential({"a": a}).append(b)
    named["a"] = c
    named[-1] = d
    assert named.layers == {"a": c, "1": d}
    del named[0]
    assert named.layers == {"1": d}
    with pytest.raises(TypeError, match="fixed places"):
        named.insert(0, a)
    with pytest.raises(KeyError):
        named["other"] = a
    with pytest.raises(TypeError, match=r"not classes: write Tanh\(\.\.\.\)"):
        sequence.append(nn.Tanh)


# --- Methods of a module ---------------------------------------------------------------------


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = [nn.Linear(4, 4, rng=rng()), nn.Sequential(nn.Linear(4, 4, rng=rng()))]
        self.head = nn.Linear(4, 1, rng=rng())
        self.register_buffer("count", np.zeros(1))
        self.register_buffer("mean", Tensor([1.0]))
        self.register_parameter("scale", nn.Parameter(1.0))
        self.add_module("last", nn.Tanh())


def test_pairs_of_names_and_values() -> None:
    own = Own()
    assert dict(own.named_parameters()) == dict(own.parameters())
    assert [name for name, _ in own.named_buffers()] == ["count", "mean"]
    assert next(iter(own.named_modules())) == ("", own)
    assert [name for name, _ in own.named_children()] == ["blocks.0", "blocks.1", "head", "last"]
    assert list(own.children()) == [*own.blocks, own.head, own.last]
    assert "scale" in own.parameters()
    with pytest.raises(TypeError, match="every buffer is saved"):
        own.register_buffer("cache", np.zeros(1), persistent=False)
    with pytest.raises(TypeError, match="a buffer is an array, not a float"):
        own.register_buffer("one", 1.0)


def test_a_function_is_applied_to_parts_first() -> None:
    own, seen = Own(), list[Any]()
    assert own.apply(seen.append) is own
    assert seen == [
        own.blocks[0], own.blocks[1][0], own.blocks[1], own.head, own.last, own,
    ]  # fmt: skip


def test_a_module_is_moved_and_converted() -> None:
    one = net()
    for call in (one.cpu, lambda: one.to("cpu"), lambda: one.to("cpu:0"), one.float):
        assert call() is one
        assert one[0].weight.dtype == np.float32
    for call in (one.double, lambda: one.to(np.float64), lambda: one.to("float64")):
        assert call()[0].weight.dtype == np.float64
        one.float()
    with pytest.raises(ValueError, match=r"to 'cpu' or 'cuda', or converted to a dtype, not 'mps'"):
        one.to("mps")
    with pytest.raises(ValueError, match="floating-point"):
        one.to(np.int64)
    with pytest.raises(ValueError, match=r"'cuda:1' is .* by CUDA_VISIBLE_DEVICES=1; then say 'cu"):
        one.to("cuda:1")


def test_a_module_is_moved_to_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    class Gpu:
        def put(self, array: np.ndarray) -> np.ndarray:
            return array + 0

    def device(name: str) -> Gpu:
        opened.append(name)
        return Gpu()

    monkeypatch.setattr("minigan.device.cuda.device", device)
    one = net()
    before = one.arrays()
    assert one.cuda() is one.to("cuda") is one.to("cuda:0") is one
    assert opened == ["cuda"] * 3
    assert all(array is not before[name] for name, array in one.arrays().items())


def test_what_is_on_a_gpu_is_fetched() -> None:
    class OnGpu:
        __cuda_array_interface__ = None

        def get(self) -> np.ndarray:
            return np.ones(3, np.float32)

    one: Any = nn.Module()
    one.count = OnGpu()
    one.cpu()
    np.testing.assert_array_equal(one.count, np.ones(3))


WORDS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "zero_grad": (lambda n: n.zero_grad(), r"no zero_grad: .* minigan\.grad\(loss, net\.par"),
    "requires_grad_": (lambda n: n.requires_grad_(False), "give its parameters to no optimizer"),
    "hook": (lambda n: n.register_forward_hook(print), r"with nn\.watching\(f\): \.\.\. calls f"),
    "half": (lambda n: n.half(), "on a GPU --precision says how they multiply"),
    "numel": (
        lambda n: sum(p.numel() for p in n.parameters()),
        r"'layers\.0\.weight' is the name .* and has no numel: .* net\.parameters\(\)\.values\(\)",
    ),
    "data": (lambda n: [p.data for p in n.parameters()], r"no data: parameters\(\) is a dict"),
    "freeze": (
        lambda n: [setattr(p, "requires_grad", False) for p in n.parameters()],
        "no requires_grad:",
    ),
    "normal_": (
        lambda n: nn.init.normal_(n[0].weight, 0.0, 0.02),  # type: ignore[attr-defined]
        r"no normal_: .* init=nn\.init\.normal\(0\.02\)\)",
    ),
    "xavier": (lambda n: nn.init.xavier_uniform_, r"init=nn\.init\.glorot\(\)"),  # type: ignore[attr-defined]
}


@pytest.mark.parametrize("name", WORDS)
def test_what_is_done_otherwise_says_how(name: str) -> None:
    use, words = WORDS[name]
    with pytest.raises(AttributeError, match=words):
        use(net())


def test_hints_are_no_attributes() -> None:
    one = net()
    for name in ("zero_grad", "half", "register_forward_hook"):
        assert not hasattr(one, name)
        assert not hasattr(nn.Linear, name)
        assert name not in dir(one)
    assert {"parameters", "layers", "named_parameters", "forward"} <= {*dir(one)}
    one.half = lambda: 3  # type: ignore[assignment, method-assign]
    assert one.half() == 3


def test_a_name_is_a_string_to_everybody_else() -> None:
    names = list(net().parameters())
    assert json.dumps(names) == json.dumps([str(name) for name in names])
    assert dict.fromkeys(names, 1)["layers.0.bias"] == 1
    for twin in (copy.deepcopy(names), pickle.loads(pickle.dumps(names))):
        assert twin == names
        assert type(twin[0]) is str
    assert all(type(name) is str for name in net().parameters().keys())  # noqa: SIM118
    gradients = mg.grad(net()(X).sum(), (parameters := net().parameters()), allow_unused=True)
    assert all(type(name) is str for name in gradients)
    assert np.array(names).dtype.kind == "U"
    assert len(parameters) == 4


# --- To look at ------------------------------------------------------------------------------


def test_a_description_is_short() -> None:
    layers: dict[str, Any] = {
        "Conv2d(3, 64, kernel_size=4, stride=2, padding=1)": nn.Conv2d(3, 64, 4, 2, 1, rng=rng()),
        "Conv2d(2, 4, kernel_size=(1, 3), dilation=2, groups=2, bias=False)": nn.Conv2d(
            2, 4, (1, 3), dilation=2, groups=2, bias=False, rng=rng()
        ),
        "Conv2d(1, 1, kernel_size=2, padding='same')": nn.Conv2d(1, 1, 2, 1, "same", rng=rng()),
        "ConvTranspose2d(8, 4, kernel_size=4, stride=2)": nn.ConvTranspose2d(8, 4, 4, 2, rng=rng()),
        "Linear(4, 3, activation=ReLU())": nn.Linear(4, 3, activation=nn.ReLU(), rng=rng()),
        "LeakyReLU(slope=0.2)": nn.LeakyReLU(0.2),
        "BatchNorm1d(3, eps=0.1, momentum=0.5, learn_scale=False)": nn.BatchNorm1d(
            3, eps=0.1, momentum=0.5, learn_scale=False
        ),
        "InstanceNorm2d(3)": nn.InstanceNorm2d(3),
        "LayerNorm((2, 3), eps=0.1)": nn.LayerNorm((2, 3), eps=0.1),
        "Embedding(5, 2)": nn.Embedding(5, 2, rng=rng()),
        "WeightNormLinear(5, 2)": nn.WeightNormLinear(5, 2, rng=rng()),
        "Dropout(p=0.3)": nn.Dropout(0.3, rng=rng()),
    }
    for text, layer in layers.items():
        assert repr(layer) == text

    class Told(nn.Module):
        def __init__(self) -> None:
            self.part = nn.Tanh()

        def extra_repr(self) -> str:
            return "words"

    assert repr(Told()) == "Told(words\n  part: Tanh()\n)"


def test_a_network_in_a_notebook_is_escaped() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            self.name = "<b>"
            self.part = net()

    page = Own()._repr_html_()
    assert "Own: 19 parameters" in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "part.layers.0" not in page
    rows = nn.summary(Own().part, X)
    rows[0] = rows[0]._replace(name="<i>")
    table = rows._repr_html_()
    assert table.count("<tr>") == len(rows) + 2
    assert "&lt;i&gt;" in table
    assert "<i>" not in table
    assert ">19</td>" in table


def test_a_summary_of_a_shape() -> None:
    conv = nn.Sequential(nn.Conv2d(3, 8, 3, rng=rng()), nn.Flatten(), nn.Linear(288, 1, rng=rng()))
    of_one = nn.summary(conv, (3, 8, 8))
    assert [row.output for row in of_one] == [(1, 8, 6, 6), (1, 288), (1, 1)]
    assert of_one == nn.summary(conv, (1, 3, 8, 8)) == nn.summary(conv, np.zeros((1, 3, 8, 8)))
    assert [row.output for row in nn.summary(conv, (5, 3, 8, 8))][-1] == (5, 1)
    assert nn.summary(net(), (4,))[-1].output == (1, 1)
    joined = nn.Joined(nn.Linear(4, 2, rng=rng()), nn.Linear(3, 2, rng=rng()), nn.Tanh())
    assert nn.summary(joined, (4,), (3,))[-1].output == (1, 4)
    with pytest.raises(ValueError, match=r"of 3 channels, .* x has shape \(1, 1, 8, 8\)"):
        nn.summary(conv, (1, 8, 8))


def test_a_layer_that_is_added_takes_no_others_name() -> None:
    layers = nn.Sequential({"1": nn.Tanh()}).append(nn.ReLU())
    assert [type(layer) for layer in layers] == [nn.Tanh, nn.ReLU]
    layers = nn.Sequential({"0": nn.Tanh(), "1": nn.Tanh(), "2": nn.Sigmoid()})
    del layers["0"]
    assert [type(layer) for layer in layers.append(nn.ReLU())] == [nn.Tanh, nn.Sigmoid, nn.ReLU]


def test_children_whose_names_begin_alike() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            self.of = {"a": nn.Sequential(nn.Tanh()), "a.b": nn.ReLU()}

    assert [name for name, _ in Own().named_children()] == ["of.a", "of.a.b"]


def test_a_buffer_that_is_registered_is_a_copy() -> None:
    given, module = Tensor([1.0, 2.0]), nn.Identity()
    module.register_buffer("place", given)
    module.load_state_dict({"place": np.float32([5, 6])})
    np.testing.assert_array_equal(given.numpy(), [1, 2])


def test_padding_of_the_same_size_is_said_once() -> None:
    assert repr(nn.Conv2d(3, 8, 4, padding="same", rng=rng())).count("padding") == 1


def test_a_group_norm_without_affine_has_no_state() -> None:
    plain, usual = nn.GroupNorm(2, 4, affine=False), nn.GroupNorm(2, 4)
    assert not plain.state_dict("pytorch")
    plain.load_state_dict({})
    x = np.random.default_rng(0).standard_normal((3, 4, 5))
    np.testing.assert_array_equal(plain(x).numpy(), usual.astype(np.float64)(Tensor(x)).numpy())
    assert "GroupNorm(2, 4, affine=False)" in repr(plain)
